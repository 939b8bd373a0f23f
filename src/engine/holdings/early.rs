//! Batches whose stamps lie in the future, or once did.
//!
//! A signed batch cannot be stamped again, and an acknowledged one is kept. So such a batch is
//! stored like any other, and its stamp counts for nothing: readers are shown it before others, and
//! it is the newest of no key, also when its time has come.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::model::{LogId, Stamp, WallClock};

/// A part of a log whose stamps lay in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct EarlyPart {
    /// Sequence number of its first record.
    #[n(0)]
    pub first: u64,
    /// Sequence number after its last record.
    #[n(1)]
    pub next: u64,
    /// All of it was stored here at this time, by this node's clock.
    #[n(2)]
    pub since: WallClock,
}

/// Which batches of a topic are stamped too early to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Early {
    /// What is stamped after this lies in the future.
    pub after: Stamp,
    /// Parts that are known to have lain there.
    pub parts: BTreeMap<LogId, Vec<EarlyPart>>,
}

impl Early {
    /// All stamps are believed.
    pub fn none() -> Self {
        Self { after: Stamp::MAX, parts: BTreeMap::new() }
    }

    /// Whether a batch is one of them, by the number of its first record and its stamp.
    pub fn has(&self, log: &LogId, first: u64, stamp: Stamp) -> bool {
        stamp > self.after || self.part(log, first).is_some()
    }

    /// The known part that holds a record.
    pub fn part(&self, log: &LogId, at: u64) -> Option<EarlyPart> {
        let parts = self.parts.get(log)?;
        let at = |part: &&EarlyPart| part.first <= at && at < part.next;
        parts.iter().find(at).copied()
    }

    /// The stamp by which readers are shown a batch.
    pub fn order(&self, log: &LogId, first: u64, stamp: Stamp) -> Stamp {
        if self.has(log, first, stamp) { Stamp::default() } else { stamp }
    }
}
