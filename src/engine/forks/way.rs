//! The way along a chain of batches to a part that nothing here connects.

use crate::model::{Hash, LogId};

/// The chain of a branch as others give it, up to a part that is held here.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Way {
    /// The first record of the part, and the batch that it follows.
    pub(super) to: u64,
    pub(super) base: Hash,
    /// Branches that were not tried yet.
    pub(super) left: Vec<LogId>,
    pub(super) branch: LogId,
    pub(super) next: u64,
    pub(super) head: Option<Hash>,
    pub(super) found: bool,
}

impl Way {
    /// The way to a part of a branch, where it is known that it leads there.
    pub(in crate::engine) fn found(branch: LogId, to: u64, base: Hash) -> Self {
        Self { to, base, left: Vec::new(), branch, next: to, head: Some(base), found: true }
    }
}
