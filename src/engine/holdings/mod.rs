//! What this node holds of each topic, as plain state: nothing here knows the engine.

pub(super) mod early;
mod ending;
pub(super) mod held;
pub(super) mod ledger;
pub(super) mod log;
pub(super) mod placement;
pub(super) mod proofs;
pub(super) mod statements;
pub(super) mod sweep;
pub(super) mod topic;
pub(super) mod topics;

use minicbor::{Decode, Encode};

use crate::model::{Hash, LogId, Stamp, TopicId, WallClock};

/// A batch that a disk held and can no longer read. Who holds it otherwise is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The topic.
    pub topic: TopicId,
    /// The log.
    pub log: LogId,
    /// Sequence number of its first record.
    pub first: u64,
    /// Sequence number after its last record.
    pub next: u64,
    /// The hash that it was stored under.
    pub hash: Hash,
    /// The stored batch that ends at `first`, where there is one: its hash and its stamp.
    pub previous: Option<(Hash, Stamp)>,
}

/// From where on records of a log were told to be pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pending {
    /// Sequence number of the first of them.
    #[n(0)]
    pub first: u64,
    /// When it was written, by the wall clock of its writer.
    #[n(1)]
    pub since: WallClock,
}
