//! Named subscriptions: where they stand, who reads under their names, and groups.

pub(super) mod group;
pub(super) mod listing;
pub(super) mod position;
pub(super) mod readers;

/// Positions, who reads under a name, and groups.
#[derive(Debug, Default)]
pub(super) struct State {
    positions: position::State,
    readers: readers::State,
    pub(super) groups: group::State,
}
