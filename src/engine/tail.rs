//! The newest batches of a topic that is being followed, so that live readers are served from
//! memory.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    limits::TAIL_BYTES_MAX,
    model::{Batch, LogId},
};

/// Recent batches, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Tail {
    batches: VecDeque<Batch>,
    index: BTreeMap<(LogId, u64), Batch>,
    bytes: usize,
}

impl Tail {
    /// Takes a batch in, and lets the oldest ones go; whether it is new.
    pub(super) fn push(&mut self, batch: &Batch) -> bool {
        let key = (batch.log(), batch.header().first);
        if self.index.contains_key(&key) {
            return false;
        }
        self.index.insert(key, batch.clone());
        self.batches.push_back(batch.clone());
        self.bytes += batch.bytes().len();
        while self.bytes > TAIL_BYTES_MAX && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes().len();
            self.index.remove(&(oldest.log(), oldest.header().first));
        }
        true
    }

    /// Lets the oldest batches go, as far as it takes.
    pub(super) fn keep(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.bytes().len();
            self.index.remove(&(oldest.log(), oldest.header().first));
        }
    }

    /// The batches from the one that holds record `from`, up to `to` and without a hole.
    pub(super) fn run(&self, log: LogId, from: u64, to: u64) -> Vec<Batch> {
        let mut run = Vec::new();
        let holder = self.index.range((log, 0)..=(log, from)).next_back();
        let mut at = match holder {
            Some((_, batch)) if from < batch.header().next() => batch.header().first,
            Some(_) | None => return run,
        };
        while at < to {
            let Some(batch) = self.index.get(&(log, at)) else {
                break;
            };
            at = batch.header().next();
            run.push(batch.clone());
        }
        run
    }
}
