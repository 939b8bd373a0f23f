//! Order across the restarts of a writer: the beginning of a new log waits for the end of the one
//! before, while that still comes from somewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::view::not_shown;
use crate::{
    engine::{Engine, ids::ReadId},
    model::{Batch, LogId, Position},
    wire::LogRange,
};

impl Engine {
    /// Takes out what must wait for what its writer wrote before its restart; of which logs that
    /// was.
    pub(in crate::engine) fn hold_back(
        &mut self,
        number: ReadId,
        batches: &mut Vec<Batch>,
    ) -> BTreeSet<LogId> {
        let mut waiting = BTreeSet::new();
        let Some(job) = self.read.jobs.get(number) else {
            return waiting;
        };
        let topic = job.topic;
        let lacking = batches.iter().filter_map(|batch| not_shown(&job.after, batch));
        let mut lacking: Vec<(LogId, Position)> = lacking.collect();
        // What retention let go comes no more.
        let mut gone = BTreeSet::new();
        let mut lows = BTreeMap::new();
        lacking.retain(|(log, position)| {
            let low = self.known_low(topic, log);
            let is_gone = low >= position.next;
            if is_gone {
                gone.insert(*log);
            }
            lows.insert(*log, low);
            !is_gone
        });
        let Some(job) = self.read.jobs.get(number) else {
            return waiting;
        };
        let rest = |(log, position): &(LogId, Position)| {
            let until = job.until.as_ref().map_or(u64::MAX, |until| until.next(log));
            let from = job.after.next(log).max(lows[log]);
            self.readable(topic, *log, from, until.min(position.next))
        };
        let mut comes: Vec<LogRange> = lacking.iter().map(rest).collect();
        let (mut at, met) = (job.after.clone(), job.met.clone());
        // Only what the read gives, now or when it is asked again.
        comes.retain_mut(|range| {
            let chosen = BTreeMap::new();
            let passed = &mut Vec::new();
            self.pass_over(topic, range, &met, &chosen, passed).is_some()
        });
        let comes: BTreeSet<LogId> = comes.into_iter().map(|range| range.log).collect();
        let Some(view) = self.read.views.get_mut(&topic) else {
            return waiting;
        };
        batches.retain(|batch| {
            let before = not_shown(&at, batch).filter(|(before, _)| !gone.contains(before));
            let held_back = if let Some((before, _)) = before {
                let comes = comes.contains(&before);
                view.holds_back(self.core.now.elapsed, batch, before, comes)
            } else {
                view.lets_through(batch);
                false
            };
            let waits = held_back || waiting.contains(&batch.log());
            if waits {
                waiting.insert(batch.log());
            } else {
                at.advance(batch);
            }
            !waits
        });
        waiting
    }
}
