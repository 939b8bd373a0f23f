//! A record of a group that is not acknowledged.

use std::time::Duration;

use crate::model::{Hash, LogId, MemberId};

/// A record that is not acknowledged.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) log: LogId,
    pub(super) number: u64,
    /// The batch that holds the record before it; none before the first one.
    pub(super) before: Option<Hash>,
    /// What stands for its key.
    pub(super) key: Option<u64>,
    pub(super) bytes: usize,
    /// How often it was given to a member.
    pub(super) deliveries: u32,
    /// Why the last delivery came to nothing.
    pub(super) why: Option<String>,
    pub(super) with: With,
}

/// Whom a record is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// It can be given out.
    Nobody,
    /// A member, until it is taken back. Which of its questions it was given for; none where
    /// another coordinator gave it.
    Member { member: MemberId, turn: Option<u64>, until: Duration },
    /// Nobody: it is not to be tried again before that.
    Delayed { until: Duration },
    /// Perhaps with a member, who has not said so to the coordinator of now.
    Missing { until: Duration },
}

impl With {
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Self::Nobody => None,
            Self::Member { until, .. } | Self::Delayed { until } | Self::Missing { until } => {
                Some(until)
            }
        }
    }

    pub(super) fn member(self) -> Option<MemberId> {
        match self {
            Self::Member { member, .. } => Some(member),
            Self::Nobody | Self::Delayed { .. } | Self::Missing { .. } => None,
        }
    }

    pub(super) fn is_member(self, member: MemberId) -> bool {
        self.member() == Some(member)
    }
}

/// What stands for a key: two keys that share it are only given to one member together.
pub(super) fn hash_of(key: &[u8]) -> u64 {
    let hash = blake3::hash(key);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
