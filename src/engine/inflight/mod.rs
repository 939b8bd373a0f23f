//! What this node has under way: requests to other nodes, and reads of the store.

pub(super) mod asks;
pub(super) mod found;
pub(super) mod stored;
