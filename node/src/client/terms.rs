//! The terms of topics: how many replicas there are, and what they keep.

use std::{num::NonZeroU64, time::Duration};

use antiphon::{
    model::{self, DescriptorError, LimitChange, RetentionChange, TopicName},
    wire::{Alter, Create},
};

use super::{Refusal, TopicSummary};

/// The terms of a new topic: how many replicas there are, and what they keep. A term that is not
/// set has its default. [`Topic::create_with`](super::Topic::create_with) takes them.
///
/// ```
/// use std::time::Duration;
///
/// use antiphon_node::client::TopicOptions;
///
/// let options = TopicOptions::new()
///     .replicas(5)
///     .max_age(Duration::from_hours(7 * 24))
///     .max_bytes(1_000_000_000);
/// # assert_eq!(options.retention.max_bytes, Some(1_000_000_000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TopicOptions {
    /// How many replicas the topic has, 1 to 32; 3 by default. A network with fewer nodes holds one
    /// at each.
    pub replicas: Option<u16>,
    /// The smallest number of flushed copies with which a record is acknowledged, 1 to `replicas`.
    /// By default this follows the network: 2 while three or more nodes belong to it, else 1. Nodes
    /// that are away belong to it until they are forgotten.
    pub min_copies: Option<u16>,
    /// How long records are kept; for ever by default.
    pub retention: Retention,
    /// Whether a topic that exists already is no error. It then keeps the terms that it has.
    pub if_missing: bool,
}

/// How long a topic keeps its records. None in a field means that there is no such limit. A limit
/// of zero is refused when the topic is created.
///
/// A replica deletes its oldest records as soon as any limit is exceeded. It deletes whole batches,
/// which are the records that were written together. It keeps at least the limit, and at most 1/32
/// and one batch more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retention {
    /// The greatest age, counted from when the replica received the record. Parts of a millisecond
    /// are left out.
    pub max_age: Option<Duration>,
    /// Bytes that each replica keeps, as they are stored (compressed).
    pub max_bytes: Option<u64>,
    /// Records that each replica keeps.
    pub max_records: Option<u64>,
    /// If this is set, the topic is compacted: it keeps the newest record of each key, and may
    /// delete the earlier ones. A record with a key and no payload (a tombstone) deletes its key.
    /// It is itself deleted when this time has passed since it was published.
    pub tombstones: Option<Duration>,
}

impl TopicOptions {
    /// The defaults: three replicas that keep all records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many replicas the topic has, 1 to 32.
    #[must_use]
    pub fn replicas(self, replicas: u16) -> Self {
        Self { replicas: Some(replicas), ..self }
    }

    /// Sets the smallest number of flushed copies with which a record is acknowledged, 1 to
    /// `replicas`.
    #[must_use]
    pub fn min_copies(self, copies: u16) -> Self {
        Self { min_copies: Some(copies), ..self }
    }

    /// Sets the age after which records are deleted.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.retention.max_age = Some(age);
        self
    }

    /// Sets how many bytes each replica keeps.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.retention.max_bytes = Some(bytes);
        self
    }

    /// Sets how many records each replica keeps.
    #[must_use]
    pub fn max_records(mut self, records: u64) -> Self {
        self.retention.max_records = Some(records);
        self
    }

    /// Makes the topic a compacted one: it keeps the newest record of each key, and may delete the
    /// earlier ones. Readers may see earlier ones, and always get the newest.
    ///
    /// A record with a key and no payload (a tombstone) deletes its key. It is itself deleted when
    /// `tombstones` has passed since it was published. Choose more time than any reader or node is
    /// away: later they do not learn of the deletion.
    #[must_use]
    pub fn compacted(mut self, tombstones: Duration) -> Self {
        self.retention.tombstones = Some(tombstones);
        self
    }

    /// Makes it no error that the topic exists already. It then keeps the terms that it has.
    #[must_use]
    pub fn if_missing(self) -> Self {
        Self { if_missing: true, ..self }
    }

    pub(super) fn into_request(self, name: TopicName) -> Create {
        let Self { replicas, min_copies, retention, if_missing } = self;
        let (retention, if_not_exists) = (retention.into(), if_missing);
        Create { replicas, min_copies, retention, if_not_exists, ..Create::new(name) }
    }
}

/// The outcome of [`Topic::create`](super::Topic::create): the topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The topic and its terms.
    pub topic: TopicSummary,
    /// Whether this request created it. Otherwise it existed before, maybe with other terms.
    pub is_new: bool,
}

/// Changes of a topic's terms. A term that is not set stays as it is.
/// [`Topic::alter`](super::Topic::alter) takes them.
///
/// A limit is a value, or `None` to take it away. A limit of zero is refused when the topic is
/// altered, because the topic would keep nothing.
///
/// ```
/// use std::time::Duration;
///
/// use antiphon_node::client::TopicChanges;
///
/// // At most a day, and as many bytes as there are.
/// let changes = TopicChanges::new().max_age(Duration::from_hours(24)).max_bytes(None);
/// # assert_ne!(changes, TopicChanges::new());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "changes do nothing until a topic is altered"]
pub struct TopicChanges {
    replicas: Option<u16>,
    min_copies: Option<u16>,
    /// Whether the floor is to follow the number of nodes.
    floor_follows: bool,
    age_ms: Limit,
    bytes: Limit,
    records: Limit,
    tombstones_ms: Option<u64>,
}

/// What becomes of a limit, as the program says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Limit {
    #[default]
    Keep,
    Remove,
    Set(u64),
}

impl From<Option<u64>> for Limit {
    fn from(limit: Option<u64>) -> Self {
        limit.map_or(Self::Remove, Self::Set)
    }
}

impl Limit {
    /// The same as the protocol says it, where zero takes a limit away.
    fn checked(self) -> Result<LimitChange, Refusal> {
        match self {
            Self::Keep => Ok(LimitChange::Keep),
            Self::Remove => Ok(LimitChange::Remove),
            Self::Set(limit) => match NonZeroU64::new(limit) {
                Some(limit) => Ok(LimitChange::Set(limit)),
                None => Err(Refusal::Invalid(DescriptorError::Retention.to_string())),
            },
        }
    }
}

impl TopicChanges {
    /// Nothing changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes how many replicas the topic has, 1 to 32.
    pub fn replicas(self, replicas: u16) -> Self {
        Self { replicas: Some(replicas), ..self }
    }

    /// Changes the smallest number of flushed copies with which a record is acknowledged, 1 to the
    /// number of replicas. With `None` it follows the number of nodes, as by default.
    pub fn min_copies(self, copies: impl Into<Option<u16>>) -> Self {
        let min_copies = copies.into();
        Self { min_copies, floor_follows: min_copies.is_none(), ..self }
    }

    /// Changes the age after which records are deleted. `None` takes the limit away.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.age_ms = age.into().map(milliseconds).into();
        self
    }

    /// Changes how many bytes each replica keeps. `None` takes the limit away.
    pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.bytes = bytes.into().into();
        self
    }

    /// Changes how many records each replica keeps. `None` takes the limit away.
    pub fn max_records(mut self, records: impl Into<Option<u64>>) -> Self {
        self.records = records.into().into();
        self
    }

    /// Makes the topic a compacted one, or changes after which time tombstones are deleted; see
    /// [`TopicOptions::compacted`]. A topic that is compacted stays so.
    pub fn compacted(mut self, tombstones: Duration) -> Self {
        self.tombstones_ms = Some(milliseconds(tombstones));
        self
    }

    pub(super) fn into_request(self, name: TopicName) -> Result<Alter, Refusal> {
        let Self { replicas, min_copies, floor_follows, .. } = self;
        let retention = RetentionChange {
            age_ms: self.age_ms.checked()?,
            bytes: self.bytes.checked()?,
            records: self.records.checked()?,
            tombstones_ms: self.tombstones_ms,
        };
        Ok(Alter { name, replicas, min_copies, retention, floor_follows })
    }
}

impl From<Retention> for model::Retention {
    fn from(retention: Retention) -> Self {
        Self {
            age_ms: retention.max_age.map(milliseconds),
            bytes: retention.max_bytes,
            records: retention.max_records,
            tombstones_ms: retention.tombstones.map(milliseconds),
        }
    }
}

impl From<model::Retention> for Retention {
    fn from(retention: model::Retention) -> Self {
        Self {
            max_age: retention.age_ms.map(Duration::from_millis),
            max_bytes: retention.bytes,
            max_records: retention.records,
            tombstones: retention.tombstones_ms.map(Duration::from_millis),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_say_which_limits_stay_and_which_go() {
        let name: TopicName = "t".parse().unwrap();
        let nothing = TopicChanges::new().into_request(name.clone()).unwrap();
        assert_eq!(nothing.retention, RetentionChange::default());
        assert_eq!((nothing.replicas, nothing.min_copies), (None, None));
        let changes = TopicChanges::new().max_age(Duration::from_secs(1)).max_bytes(None);
        let asked = changes.min_copies(None).into_request(name.clone()).unwrap();
        let age_ms = LimitChange::Set(NonZeroU64::new(1_000).unwrap());
        let bytes = LimitChange::Remove;
        let expected = RetentionChange { age_ms, bytes, ..RetentionChange::default() };
        assert_eq!((asked.retention, asked.floor_follows), (expected, true));
        let short = TopicChanges::new().max_age(Duration::from_millis(1)).min_copies(2);
        let asked = short.into_request(name).unwrap();
        let shortest = LimitChange::Set(NonZeroU64::MIN);
        assert_eq!((asked.retention.age_ms, asked.min_copies), (shortest, Some(2)));
        assert!(!asked.floor_follows);
    }

    #[test]
    fn a_topic_is_not_altered_to_keep_nothing() {
        let changes = TopicChanges::new;
        let nothing = [changes().max_age(Duration::ZERO), changes().max_bytes(0)];
        for changes in nothing.into_iter().chain([changes().max_records(0)]) {
            let refused = changes.clone().into_request("t".parse().unwrap());
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{changes:?}");
        }
        let later = changes().max_bytes(0).max_bytes(1).into_request("t".parse().unwrap());
        assert!(later.is_ok(), "the last word counts");
    }
}
