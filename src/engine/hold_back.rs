//! Order across the restarts of a writer: the beginning of a new log waits for the end of the one
//! before, as long as that comes from somewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, read::Job, view::not_shown};
use crate::{
    model::{Batch, LogId, Position},
    wire::LogRange,
};

impl Engine {
    /// Takes out what must wait for what its writer wrote before its restart; whether anything
    /// was.
    pub(super) fn hold_back(&mut self, number: u64, batches: &mut Vec<Batch>) -> bool {
        let Some(job) = self.reads.jobs.things.get(&number) else {
            return false;
        };
        let topic = job.topic;
        let lacking = batches.iter().filter_map(|batch| not_shown(&job.after, batch));
        let mut lacking: Vec<(LogId, Position)> = lacking.collect();
        // What retention let go comes no more.
        let mut gone = BTreeSet::new();
        lacking.retain(|(log, position)| {
            let is_gone = self.known_low(topic, log) >= position.next;
            if is_gone {
                gone.insert(*log);
            }
            !is_gone
        });
        let Some(job) = self.reads.jobs.things.get(&number) else {
            return false;
        };
        let comes: BTreeSet<LogId> = lacking
            .iter()
            .filter(|(log, position)| self.comes(job, *log, position.next))
            .map(|(log, _)| *log)
            .collect();
        let mut at = job.after.clone();
        let Some(view) = self.reads.views.get_mut(&job.topic) else {
            return false;
        };
        let mut waiting = BTreeSet::new();
        batches.retain(|batch| {
            let before = not_shown(&at, batch).filter(|(before, _)| !gone.contains(before));
            let held_back = if let Some((before, _)) = before {
                let comes = comes.contains(&before);
                view.holds_back(self.now.elapsed, batch, before, comes)
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
        !waiting.is_empty()
    }

    /// Whether a read gives more of a log, now or when it is asked again.
    fn comes(&self, job: &Job, log: LogId, to: u64) -> bool {
        let to = job.until.as_ref().map_or(to, |until| until.next(&log).min(to));
        let mut ranges = vec![self.readable(job.topic, log, job.after.next(&log), to)];
        self.pass_holes(job.topic, &mut ranges);
        let gives = |range: &LogRange| {
            self.source_for(job.topic, *range, &job.failed, &BTreeMap::new()).is_some()
        };
        ranges.iter().any(|range| range.from < range.to && gives(range))
    }
}
