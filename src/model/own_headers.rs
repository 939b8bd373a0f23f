//! Headers that only Antiphon sets.
//!
//! Dedup ids, and the origins of dead letters, are in headers whose names begin with `antiphon-`.
//! Readers rely on them, so a node accepts them only if they are true:
//! - the record's name must be made of the id;
//! - a dead letter must go to the topic that is named after the one where it comes from.

use super::{GIVEN_ID_HEADER, Record, RecordError, RecordId, TopicName};

/// What the names of these headers begin with, in upper or lower case.
pub const OWN_HEADER_PREFIX: &str = "antiphon-";

/// The ending of the name of a topic for dead letters.
pub const DEAD_LETTER_SUFFIX: &str = ".dead";

/// Where a dead letter comes from.
pub const DEAD_LETTER_TOPIC: &str = "antiphon-topic";

/// The headers of a dead letter: where it comes from, and why.
const DEAD_LETTER_HEADERS: [&str; 5] = [
    DEAD_LETTER_TOPIC,
    "antiphon-group",
    "antiphon-record",
    "antiphon-deliveries",
    "antiphon-reason",
];

/// Whether a header of this name is Antiphon's own.
pub fn is_own_header(name: &str) -> bool {
    let prefix = name.as_bytes().get(..OWN_HEADER_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(OWN_HEADER_PREFIX.as_bytes()))
}

/// Checks the headers of a record that a user publishes.
///
/// # Errors
/// When one of them is Antiphon's own.
pub fn check_user_headers(record: &Record) -> Result<(), RecordError> {
    match record.headers.iter().find(|(name, _)| is_own_header(name)) {
        Some((name, _)) => Err(RecordError::OwnHeader { name: name.clone() }),
        None => Ok(()),
    }
}

/// Checks the headers of a record that a node receives for a topic, under this name.
pub(super) fn check_given_headers(
    topic: &TopicName,
    id: RecordId,
    headers: &[(&str, &[u8])],
) -> Result<(), RecordError> {
    let wrong = |(name, value): &&(&str, &[u8])| {
        if !is_own_header(name) || is_dead_letter(topic, headers) && is_known(name) {
            return false;
        }
        let text = std::str::from_utf8(value).ok();
        let named = text.and_then(|text| RecordId::given(topic, text).ok());
        *name != GIVEN_ID_HEADER || named != Some(id)
    };
    match headers.iter().find(wrong) {
        Some((name, _)) => Err(RecordError::OwnHeader { name: (*name).to_owned() }),
        None => Ok(()),
    }
}

fn is_known(name: &str) -> bool {
    name == GIVEN_ID_HEADER || DEAD_LETTER_HEADERS.contains(&name)
}

/// Whether a record says that it comes from the topic that this one is named after.
fn is_dead_letter(topic: &TopicName, headers: &[(&str, &[u8])]) -> bool {
    topic.as_str().strip_suffix(DEAD_LETTER_SUFFIX).is_some_and(|of| {
        headers.iter().any(|(name, value)| *name == DEAD_LETTER_TOPIC && *value == of.as_bytes())
    })
}

impl Record {
    /// The record for a dead letter, without headers that a node would refuse there.
    #[must_use]
    pub fn to_dead_letter(&self) -> Self {
        let mut record = self.clone();
        record.headers.retain(|(name, _)| !is_own_header(name) || is_known(name));
        record
    }

    /// The same record without the headers that Antiphon set, so that it can be published again.
    /// This takes off the id that it was published under, too.
    #[must_use]
    pub fn without_own_headers(mut self) -> Self {
        self.headers.retain(|(name, _)| !is_own_header(name));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProducerId, WallClock};

    fn check(topic: &str, id: RecordId, headers: &[(&str, &str)]) -> bool {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        check_given_headers(&topic.parse().unwrap(), id, &headers).is_ok()
    }

    #[test]
    fn an_id_is_that_of_the_record() {
        let any = RecordId { producer: ProducerId([1; 16]), number: 0 };
        let seven = RecordId::given(&"t".parse().unwrap(), "7").unwrap();
        assert!(check("t", seven, &[("a", "1"), ("antiphon-id", "7")]));
        assert!(check("t", any, &[("a", "1"), ("antiphon", "7")]));
        assert!(!check("t", any, &[("antiphon-id", "7")]), "its name is not made of it");
        assert!(!check("u", seven, &[("antiphon-id", "7")]), "it is another topic's");
        assert!(!check("t", seven, &[("antiphon-id", "7"), ("antiphon-id", "8")]));
    }

    #[test]
    fn unknown_ones_and_other_ways_to_write_them_are_refused() {
        let any = RecordId { producer: ProducerId([1; 16]), number: 0 };
        let reserved = ["antiphon-expires", "antiphon-replaces", "antiphon-fence"];
        for name in ["antiphon-", "Antiphon-Id", "ANTIPHON-TOPIC"].into_iter().chain(reserved) {
            assert!(!check("t", any, &[(name, "")]), "{name}");
            assert!(!check("t.dead", any, &[("antiphon-topic", "t"), (name, "")]), "{name}");
        }
    }

    #[test]
    fn a_dead_letter_comes_from_the_topic_that_its_own_is_named_after() {
        let any = RecordId { producer: ProducerId([1; 16]), number: 3 };
        let marks = [("antiphon-id", "7"), ("antiphon-topic", "t"), ("antiphon-reason", "no")];
        assert!(check("t.dead", any, &marks));
        assert!(!check("t", any, &marks));
        assert!(!check("u.dead", any, &marks));
        // One that could not be delivered there either has the marks of both.
        let twice = [&marks[..], &[("antiphon-topic", "t.dead")]].concat();
        assert!(check("t.dead.dead", any, &twice));
    }

    #[test]
    fn users_set_none() {
        let record = Record::new(WallClock(1), "x").with_header("a", "1");
        assert_eq!(check_user_headers(&record), Ok(()));
        let forged = record.clone().with_header("antiphon-id", "7");
        let name = "antiphon-id".to_owned();
        assert_eq!(check_user_headers(&forged), Err(RecordError::OwnHeader { name }));
        assert_eq!(forged.clone().without_own_headers(), record);
        let odd = forged.clone().with_header("antiphon-other", "");
        assert_eq!(odd.to_dead_letter(), forged);
    }
}
