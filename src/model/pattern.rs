//! Patterns: sets of topics, by their names.
//!
//! Dots divide a name into parts. In a pattern the part `*` stands for any one part, and `>` at the
//! end for one part or more. Nothing else is special, and no name has such a part.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    TopicName, TopicNameError,
    topic::{DIVIDER, ONE, RESERVED_PREFIX, REST, check_name, has_open_part},
};

/// A pattern that matches the names of topics. Dots divide a name into parts. In a pattern:
///
/// - `*` stands for any one part: `sensors.*.cellar`;
/// - `>` at the end stands for one part or more: `sensors.>`;
/// - any other part stands for itself. A plain name is a pattern too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct TopicPattern(#[cbor(decode_with = "decode_pattern")] String);

fn decode_pattern<C>(
    decoder: &mut minicbor::Decoder<'_>,
    _: &mut C,
) -> Result<String, minicbor::decode::Error> {
    let pattern = decoder.str()?.parse::<TopicPattern>();
    let pattern =
        pattern.map_err(|_malformed| minicbor::decode::Error::message("not a topic pattern"))?;
    Ok(pattern.0)
}

/// Why a text is no pattern of topics.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TopicPatternError {
    /// Without its `*` and `>`, it breaks a rule for names. No name could match it.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// Something follows `>`.
    #[error("`{REST}` stands for the rest of a name, and nothing follows it")]
    AfterRest,
}

impl TopicPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a plain name, which matches one topic.
    pub fn is_literal(&self) -> bool {
        !has_open_part(&self.0)
    }

    /// The name, if it is a plain name.
    pub fn to_name(&self) -> Option<TopicName> {
        self.0.parse().ok()
    }

    /// Whether it matches a topic of this name.
    pub fn matches(&self, name: &TopicName) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether every name that `other` matches is matched by this.
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.0.split(DIVIDER);
        for own in self.0.split(DIVIDER) {
            match (own, theirs.next()) {
                (REST, Some(_)) => return true,
                (ONE, Some(part)) if part != REST => {}
                (own, Some(part)) if own == part => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether it matches a name of another kind, such as that of a subscription.
    pub(crate) fn matches_text(&self, name: &str) -> bool {
        let mut parts = name.split(DIVIDER);
        for wanted in self.0.split(DIVIDER) {
            let Some(part) = parts.next() else {
                return false;
            };
            match wanted {
                REST => return true,
                ONE => {}
                _ if wanted == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<&str> for TopicPattern {
    type Error = TopicPatternError;

    fn try_from(name: &str) -> Result<Self, TopicPatternError> {
        name.parse()
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = TopicPatternError;

    fn try_from(name: String) -> Result<Self, TopicPatternError> {
        name.parse()
    }
}

impl From<&Self> for TopicPattern {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl FromStr for TopicPattern {
    type Err = TopicPatternError;

    fn from_str(pattern: &str) -> Result<Self, TopicPatternError> {
        check_name(pattern)?;
        if pattern.starts_with(RESERVED_PREFIX) {
            return Err(TopicNameError::Reserved.into());
        }
        let before_last = pattern.rsplit(DIVIDER).skip(1);
        if before_last.into_iter().any(|part| part == REST) {
            return Err(TopicPatternError::AfterRest);
        }
        Ok(Self(pattern.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{encode_to_bytes, encoding::decode_exact};

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_covers_those_that_match_nothing_else() {
        let covered = [
            (">", ">"),
            (">", "a.*"),
            ("a.>", "a.>"),
            ("a.>", "a.b"),
            ("a.>", "a.*.c"),
            ("*", "a"),
            ("*.b", "*.b"),
            ("a", "a"),
        ];
        let others = [
            ("a.>", ">"),
            ("a.>", "a"),
            ("a.>", "*.b"),
            ("*", ">"),
            ("*", "a.b"),
            ("a.*", "a.>"),
            ("a", "*"),
            ("a.b", "a"),
        ];
        for (wide, narrow) in covered {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} and {narrow}");
        }
        for (wide, narrow) in others {
            assert!(!pattern(wide).covers(&pattern(narrow)), "{wide} and {narrow}");
        }
    }

    #[test]
    fn a_star_is_one_part_and_the_rest_one_or_more() {
        let names = ["a", "b", "a.b", "a.c", "a.b.c", "a.b.b.c", "b.a", "a.", "a..c", "ab", "a*"];
        let matching = |text: &str| {
            let pattern = pattern(text);
            let matches = |name: &&&str| pattern.matches(&name.parse().unwrap());
            names.iter().filter(matches).copied().collect::<Vec<_>>()
        };
        assert_eq!(matching("a"), ["a"]);
        assert_eq!(matching("*"), ["a", "b", "ab", "a*"]);
        assert_eq!(matching("a.*"), ["a.b", "a.c", "a."]);
        assert_eq!(matching("*.b"), ["a.b"]);
        assert_eq!(matching("a.*.c"), ["a.b.c", "a..c"]);
        assert_eq!(matching("a.>"), ["a.b", "a.c", "a.b.c", "a.b.b.c", "a.", "a..c"]);
        assert_eq!(matching("*.b.>"), ["a.b.c", "a.b.b.c"]);
        assert_eq!(matching(">"), names);
        assert_eq!(matching("a*"), ["a*"], "a star within a part is a star");
    }

    #[test]
    fn what_no_name_could_match_is_no_pattern() {
        let error = |text: &str| text.parse::<TopicPattern>().unwrap_err();
        assert_eq!(error("a.>.b"), TopicPatternError::AfterRest);
        assert_eq!(error(">.>"), TopicPatternError::AfterRest);
        assert_eq!(error(""), TopicNameError::Empty.into());
        assert_eq!(error("a.*\n"), TopicNameError::Control.into());
        assert_eq!(error("_antiphon.*"), TopicNameError::Reserved.into());
        assert_eq!(error(&"*.".repeat(128)), TopicNameError::TooLong(256).into());
        let open = encode_to_bytes(&"a.>.b".to_owned());
        assert!(decode_exact::<TopicPattern>(&open).is_err());
        let open = pattern("a.>");
        assert_eq!(decode_exact::<TopicPattern>(&encode_to_bytes(&open)).unwrap(), open);
    }

    #[test]
    fn patterns_are_no_names() {
        for text in ["*", ">", "a.*", "*.b", "a.>", "a.*.c"] {
            assert_eq!(text.parse::<TopicName>(), Err(TopicNameError::Wildcard), "{text}");
            let bytes = encode_to_bytes(&text.to_owned());
            assert!(decode_exact::<TopicName>(&bytes).is_err(), "{text}");
            assert!(!pattern(text).is_literal() && pattern(text).to_name().is_none(), "{text}");
        }
        for text in ["a", "a.b", "a*", "*a.b", "a.>b", "→.地震"] {
            let name: TopicName = text.parse().unwrap();
            assert_eq!(decode_exact::<TopicName>(&encode_to_bytes(&name)).unwrap(), name);
            assert!(pattern(text).is_literal() && pattern(text).to_name() == Some(name));
        }
    }

    /// The same by trying out every way in which parts can stand for each other.
    fn matches_slowly(wanted: &[&str], parts: &[&str]) -> bool {
        match (wanted, parts) {
            ([], []) | ([">"], [_, ..]) => true,
            ([first, wanted @ ..], [part, parts @ ..]) => {
                (*first == "*" || first == part) && matches_slowly(wanted, parts)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_part_by_part(
            wanted in prop::collection::vec("[ab*]", 1..5),
            rest in any::<bool>(),
            parts in prop::collection::vec("[ab]", 1..6),
        ) {
            let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            wanted.extend(rest.then_some(">"));
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name: TopicName = parts.join(".").parse().unwrap();
            let expected = matches_slowly(&wanted, &parts);
            prop_assert_eq!(pattern(&wanted.join(".")).matches(&name), expected);
        }
    }
}
