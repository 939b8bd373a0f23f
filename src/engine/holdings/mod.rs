//! What this node holds of each topic, as plain state: nothing here knows the engine.

pub(super) mod early;
pub(super) mod ledger;
pub(super) mod log;
pub(super) mod placement;
pub(super) mod proofs;
pub(super) mod sweep;
pub(super) mod topic;
