//! Named subscriptions: a cursor with a name, kept on a topic's home replicas.

use std::cmp::Ordering;

use minicbor::{Decode, Encode};

use super::{
    Cursor, Position, Progress, TopicId, TopicNameError, WallClock, check_name,
    clock::steps_within_reach,
};

/// The name of a subscription or a group: 1 to 255 bytes of UTF-8 without control characters. Each
/// topic has names of its own.
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

impl TryFrom<&str> for SubscriberName {
    type Error = TopicNameError;

    fn try_from(name: &str) -> Result<Self, TopicNameError> {
        name.parse()
    }
}

impl TryFrom<String> for SubscriberName {
    type Error = TopicNameError;

    fn try_from(name: String) -> Result<Self, TopicNameError> {
        name.parse()
    }
}

impl From<&Self> for SubscriberName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

/// One run of a subscriber, drawn at random when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct SessionId(pub u64);

/// Where a named subscription stands.
///
/// Copies at different replicas merge without coordination. Within a generation a position only
/// moves forward. A reset or a deletion opens a new generation, which outranks the old one. So a
/// node that was away brings back neither.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscription {
    /// Counts resets and deletions.
    #[n(0)]
    pub generation: u64,
    /// The position; none if the subscription was deleted in this generation.
    #[n(1)]
    pub cursor: Option<Cursor>,
    /// For a group: what the members have done after the position.
    #[n(2)]
    pub group: Option<Box<Progress>>,
}

impl Subscription {
    /// A subscription of one reader.
    pub fn new(generation: u64, cursor: Option<Cursor>) -> Self {
        Self { generation, cursor, group: None }
    }

    /// Merges what `other` knows. Returns whether that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        match other.generation.cmp(&self.generation) {
            Ordering::Less => return false,
            Ordering::Greater => *self = other.clone(),
            Ordering::Equal => self.join(other),
        }
        *self != before
    }

    fn join(&mut self, other: &Self) {
        let (Some(mine), Some(theirs)) = (&mut self.cursor, &other.cursor) else {
            (self.cursor, self.group) = (None, None);
            return;
        };
        mine.join(theirs);
        match (&mut self.group, &other.group) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (None, Some(theirs)) => self.group = Some(theirs.clone()),
            (_, None) => {}
        }
        if let Some(group) = &mut self.group {
            group.settle(mine);
        }
    }

    /// Moves back to `end` in every log where it stands after it: those records do not exist yet.
    pub fn limit(&mut self, end: &Cursor) {
        if let Some(cursor) = &mut self.cursor {
            cursor.limit(end);
        }
        if let Some(group) = &mut self.group {
            group.limit(end);
        }
    }

    /// The same in those logs that `end` names: how far others go is not known.
    pub fn limit_known(&mut self, end: &Cursor) {
        let mut end = end.clone();
        let named = self.cursor.iter().flat_map(|cursor| cursor.logs.keys());
        let named = named.chain(self.group.iter().flat_map(|group| group.logs()));
        for log in named {
            end.logs.entry(*log).or_insert(Position { next: u64::MAX, head: None });
        }
        self.limit(&end);
    }

    /// Whether it was reset and deleted no more often than it can have been by `now`.
    pub fn is_within_reach(&self, now: WallClock) -> bool {
        self.generation <= steps_within_reach(0, WallClock(0), now)
    }

    /// Whether one from another node belongs to this topic, and is within limits.
    pub fn is_well_formed(&self, topic: TopicId) -> bool {
        let fits = |cursor: &Cursor| cursor.topic == topic && cursor.is_well_formed();
        self.cursor.as_ref().is_none_or(fits)
            && self.group.as_ref().is_none_or(|group| group.is_well_formed())
    }
}
