//! What this node has under way: requests to other nodes, reads of the store, and surveys.

pub(super) mod asks;
pub(super) mod found;
pub(super) mod stored;
pub(super) mod survey;
