//! What members may do, and where.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::model::{SubscriberName, TopicName, TopicPattern};

/// A set of rights. A right that only a newer program knows is kept, and means nothing here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Rights(#[n(0)] u32);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// To read records, and to follow and move one's subscriptions.
    pub const READ: Self = Self(1);
    /// To publish.
    pub const WRITE: Self = Self(2);
    /// To create topics.
    pub const CREATE: Self = Self(4);
    /// To alter and delete topics, to import, and to say where a former writer's logs end.
    pub const MANAGE: Self = Self(8);
    /// To make nodes leave, declare others lost, and repair.
    pub const OPERATE: Self = Self(16);
    /// To hold topics, and to say what one node says to another one.
    pub const HOLD: Self = Self(32);

    /// All rights that this program knows, and their names.
    pub const NAMED: [(Self, &'static str); 6] = [
        (Self::READ, "read"),
        (Self::WRITE, "write"),
        (Self::CREATE, "create"),
        (Self::MANAGE, "manage"),
        (Self::OPERATE, "operate"),
        (Self::HOLD, "hold"),
    ];

    /// The rights of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of these are among them.
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// `read,write`
impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMED.iter().filter(|(right, _)| self.has(*right)).map(|(_, name)| *name);
        formatter.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} ({})", self.0)
    }
}

/// Rights in the topics and the subscriptions of two patterns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Grant {
    /// What may be done.
    #[n(0)]
    pub rights: Rights,
    /// In which topics. Names of Antiphon's own are in no grant.
    #[n(1)]
    pub topics: TopicPattern,
    /// With which subscriptions and groups of these topics; all if there is no pattern.
    #[n(2)]
    pub subscriptions: Option<TopicPattern>,
}

impl Grant {
    /// Whether it gives a right in a topic.
    pub fn gives(&self, right: Rights, topic: &TopicName) -> bool {
        self.rights.has(right) && !topic.is_reserved() && self.topics.matches(topic)
    }

    /// Whether it gives a right to a subscription or a group of a topic.
    pub fn gives_with(&self, right: Rights, topic: &TopicName, name: &SubscriberName) -> bool {
        let covers = |pattern: &TopicPattern| pattern.matches_text(name.as_str());
        self.gives(right, topic) && self.subscriptions.as_ref().is_none_or(covers)
    }
}

/// `read,write sensors.>` and `read jobs with workers.*`
impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.rights, self.topics)?;
        match &self.subscriptions {
            Some(subscriptions) => write!(formatter, " with {subscriptions}"),
            None => Ok(()),
        }
    }
}

/// A text that is no grant.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GrantError {
    /// The parts are missing, or there are too many.
    #[error(
        "a grant is RIGHTS TOPICS, or RIGHTS TOPICS with SUBSCRIPTIONS: `read,write sensors.>`"
    )]
    Parts,
    /// No such right.
    #[error("there is no right `{0}`; there are read, write, create, manage, operate and hold")]
    Right(String),
    /// Not a pattern.
    #[error("`{0}` is no pattern: {1}")]
    Pattern(String, #[source] crate::model::TopicPatternError),
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (rights, topics, subscriptions) = match *parts.as_slice() {
            [rights, topics] => (rights, topics, None),
            [rights, topics, "with", subscriptions] => (rights, topics, Some(subscriptions)),
            _ => return Err(GrantError::Parts),
        };
        let pattern =
            |text: &str| text.parse().map_err(|error| GrantError::Pattern(text.to_owned(), error));
        let rights = rights.split(',').try_fold(Rights::NONE, |rights, name| {
            let named = Rights::NAMED.iter().find(|(_, known)| *known == name);
            let (right, _) = named.ok_or_else(|| GrantError::Right(name.to_owned()))?;
            Ok(rights.and(*right))
        })?;
        let subscriptions = subscriptions.map(pattern).transpose()?;
        Ok(Self { rights, topics: pattern(topics)?, subscriptions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_its_text() {
        for text in ["read sensors.>", "read,write,create >", "read jobs with workers.*", "hold >"]
        {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
        }
        assert_eq!("read".parse::<Grant>(), Err(GrantError::Parts));
        assert_eq!("read a b".parse::<Grant>(), Err(GrantError::Parts));
        assert_eq!("fly >".parse::<Grant>(), Err(GrantError::Right("fly".into())));
        assert!(matches!("read a.>.b".parse::<Grant>(), Err(GrantError::Pattern(..))));
        assert!(matches!("read _antiphon.x".parse::<Grant>(), Err(GrantError::Pattern(..))));
    }

    #[test]
    fn a_grant_covers_its_topics_and_no_reserved_name() {
        let grant: Grant = "read,write sensors.> with ops.*".parse().unwrap();
        let (inside, outside) = ("sensors.roof".parse().unwrap(), "orders".parse().unwrap());
        assert!(grant.gives(Rights::READ, &inside) && grant.gives(Rights::WRITE, &inside));
        assert!(!grant.gives(Rights::MANAGE, &inside) && !grant.gives(Rights::READ, &outside));
        let (own, other) = ("ops.night".parse().unwrap(), "billing".parse().unwrap());
        assert!(grant.gives_with(Rights::READ, &inside, &own));
        assert!(!grant.gives_with(Rights::READ, &inside, &other));
        let all: Grant = "read >".parse().unwrap();
        assert!(all.gives(Rights::READ, &outside));
        assert!(!all.gives(Rights::READ, &TopicName::catalogue()));
    }

    #[test]
    fn an_unknown_right_is_kept_and_gives_nothing() {
        let newer = Rights(1 << 20);
        let bytes = crate::model::encode_to_bytes(&newer.and(Rights::READ));
        let read: Rights = minicbor::decode(&bytes).unwrap();
        assert!(read.has(Rights::READ) && !read.has(Rights::WRITE) && read.has(newer));
        assert_eq!(read.to_string(), "read");
    }
}
