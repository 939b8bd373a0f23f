//! What a member has done and its group was not told yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    limits::{GROUP_RANGES_MAX, REASON_BYTES_MAX},
    model::LogId,
    wire::{LogRange, Rejection, Settlement},
};

use super::work::ranges;

/// How many records a member was given since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupCounts {
    /// Records that were handed out.
    pub records: u64,
    /// How many of them had been delivered before, to this member or another.
    pub redelivered: u64,
    /// Records that were delivered too often, and that this member moved to `TOPIC.dead`.
    pub dead_lettered: u64,
}

/// What the group was not told yet.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    acknowledged: BTreeSet<(LogId, u64)>,
    returned: BTreeSet<(LogId, u64)>,
    rejected: BTreeMap<(LogId, u64), Rejection>,
    extended: BTreeSet<(LogId, u64)>,
    /// Since when something waits to be told.
    pub(super) since: Option<Duration>,
}

impl Unsettled {
    pub(super) fn acknowledge(&mut self, place: (LogId, u64)) {
        self.acknowledged.insert(place);
    }

    pub(super) fn give_back(&mut self, place: (LogId, u64)) {
        self.returned.insert(place);
    }

    pub(super) fn reject(&mut self, place: (LogId, u64), reason: &str, delay: Duration) {
        let (log, number) = place;
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        let range = LogRange { log, from: number, to: number + 1 };
        let delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self.rejected.insert(place, Rejection { range, reason, delay_ms });
    }

    pub(super) fn extend(&mut self, place: (LogId, u64)) {
        self.extended.insert(place);
    }

    /// Records that wait to be told.
    pub(super) fn len(&self) -> usize {
        self.acknowledged.len() + self.returned.len() + self.rejected.len()
    }

    pub(super) fn settlement(&self) -> Settlement {
        Settlement {
            acknowledged: ranges(self.acknowledged.iter().copied()),
            returned: ranges(self.returned.iter().copied()),
            rejected: self.rejected.values().take(GROUP_RANGES_MAX).cloned().collect(),
            extended: ranges(self.extended.iter().copied()),
        }
    }
}
