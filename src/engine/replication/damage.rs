//! What this node's disk has lost: batches that were flushed and can no longer be read.
//!
//! Such a batch no longer counts as held. The log gets a gap, which every answer of this node shows
//! from then on, and repair closes it like any other. The log is never cut off at damage, because
//! what follows is as good as before.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{
        Engine,
        holdings::Damage,
        ids::WriteNumber,
        output::{Report, Write},
    },
    model::{Batch, LogId, TopicId},
};

/// Batches that are remembered as damaged; of the others a late report is believed.
const REMEMBERED_MAX: usize = 1_024;

/// For how long after a batch was stored again reports are still expected that speak of what was
/// there before: they may wait behind other inputs.
const LATE_REPORT: Duration = Duration::from_secs(10);

/// A batch that was damaged.
#[derive(Debug, Default)]
struct Damaged {
    /// The write that stores it again.
    again: Option<WriteNumber>,
    /// When that was flushed.
    flushed_at: Option<Duration>,
}

/// What is remembered of damage.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    places: BTreeMap<(TopicId, LogId, u64), Damaged>,
}

impl Engine {
    /// A batch is stored that was perhaps damaged before.
    pub(in crate::engine) fn stored_again(&mut self, batch: &Batch, number: WriteNumber) {
        if self.replication.damage.places.is_empty() {
            return;
        }
        let header = batch.header();
        if let Some(place) =
            self.replication.damage.places.get_mut(&(header.topic, batch.log(), header.first))
        {
            *place = Damaged { again: Some(number), flushed_at: None };
        }
    }

    /// Something was flushed.
    pub(in crate::engine) fn damage_flushed(&mut self) {
        let (now, durable) = (self.core.now.elapsed, self.core.durable);
        self.replication.damage.places.retain(|_, place| {
            if place.again.is_some_and(|again| again <= durable) {
                let since = *place.flushed_at.get_or_insert(now);
                return now.saturating_sub(since) < LATE_REPORT;
            }
            true
        });
    }

    /// Whether a report speaks of what was there before the batch was stored again. If it does not,
    /// nothing is lost by waiting: whatever reads the batch next reports it once more.
    fn is_late_report(&mut self, damage: &Damage) -> bool {
        self.damage_flushed();
        let places = &mut self.replication.damage.places;
        let key = (damage.topic, damage.log, damage.first);
        let late = places.get(&key).is_some_and(|place| place.again.is_some());
        if !late && places.len() < REMEMBERED_MAX {
            places.insert(key, Damaged::default());
        }
        late
    }

    pub(in crate::engine) fn damaged(&mut self, damage: Damage) {
        if self.is_late_report(&damage) {
            return;
        }
        let Some(topic) = self.core.topics.get_mut(&damage.topic) else {
            return;
        };
        // It was trimmed or stored again meanwhile.
        let Some(log) = topic.lose(&damage) else {
            return;
        };
        self.core.write(Write::Quarantine { damage, log });
        self.core.report(Report::Damaged(damage));
        self.forget_own_receipt(damage.topic, damage.hash);
        self.repair_soon();
    }
}
