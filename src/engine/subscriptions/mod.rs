//! Named subscriptions: where they stand, who reads under their names, and groups.

pub(super) mod group;
pub(super) mod listing;
pub(super) mod position;
pub(super) mod readers;
