//! Named subscriptions: a cursor with a name, kept on a topic's home replicas.

use minicbor::{Decode, Encode};

use super::{Cursor, TopicNameError, check_name};

/// The name of a subscription: 1 to 255 bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct SubscriberName(#[cbor(decode_with = "super::topic::decode_name")] String);

impl SubscriberName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SubscriberName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::str::FromStr for SubscriberName {
    type Err = TopicNameError;

    fn from_str(name: &str) -> Result<Self, TopicNameError> {
        check_name(name).map(|()| Self(name.to_owned()))
    }
}

/// Where a named subscription stands.
///
/// Copies at different replicas merge without coordination: within a generation a position only
/// moves forward; setting it back on purpose opens a new generation, which outranks the old.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscription {
    /// Counts how often the position was set on purpose.
    #[n(0)]
    pub generation: u64,
    /// The position.
    #[n(1)]
    pub cursor: Cursor,
}

impl Subscription {
    /// Takes over what `other` knows; whether that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        if other.generation < self.generation {
            return false;
        }
        let before = self.clone();
        if other.generation > self.generation {
            *self = other.clone();
        } else {
            self.cursor.join(&other.cursor);
        }
        *self != before
    }
}
