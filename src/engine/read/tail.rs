//! The newest batches of a topic that is being followed, so that live readers are served from
//! memory.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    limits::TAIL_BYTES_MAX,
    model::{Batch, LogId},
};

/// Recent batches, the oldest first.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tail {
    batches: VecDeque<Batch>,
    index: BTreeMap<(LogId, u64), Batch>,
    bytes: usize,
}

impl Tail {
    /// Takes a batch in, and lets the oldest ones go; whether it is new.
    pub(in crate::engine) fn push(&mut self, batch: &Batch) -> bool {
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
    pub(in crate::engine) fn keep(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.bytes().len();
            self.index.remove(&(oldest.log(), oldest.header().first));
        }
    }

    /// Lets the batches of a log go that come after `to`.
    pub(in crate::engine) fn end_at(&mut self, log: LogId, to: u64) {
        let goes = |batch: &Batch| batch.log() == log && batch.header().next() > to;
        self.batches.retain(|batch| !goes(batch));
        self.index.retain(|_, batch| !goes(batch));
        self.bytes = self.batches.iter().map(|batch| batch.bytes().len()).sum();
    }

    /// The batches from the one that holds record `from`, up to `to` and without a hole.
    pub(in crate::engine) fn run(&self, log: LogId, from: u64, to: u64) -> Vec<Batch> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Draft, Hash, Incarnation, NodeKey, Previous, ProducerId, Realm, Record, Run, Stamp,
        TopicId, WallClock, encode_record,
    };

    fn batch(number: u64) -> Batch {
        let key = NodeKey::from_secret(&[1; 32]);
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
        let incarnation = Incarnation(1);
        let previous = Previous { incarnation, next: number, hash: Hash([7; 32]) };
        let draft = Draft {
            topic: TopicId::derive(&Realm::default(), &"t".parse().unwrap()),
            incarnation,
            previous: (number > 0).then_some(previous),
            stamp: Stamp::default(),
            runs: vec![Run { producer: ProducerId([1; 16]), first: number, count: 1 }],
        };
        draft.seal(&body.into(), &key)
    }

    #[test]
    fn the_oldest_go_first_and_what_is_left_is_found() {
        let mut tail = Tail::default();
        let batches = [0, 1, 2].map(batch);
        assert!(batches.iter().all(|batch| tail.push(batch)));
        assert!(!tail.push(&batches[1]), "it is known");
        let log = batches[0].log();
        let newer = batches[1].bytes().len() + batches[2].bytes().len();
        tail.keep(newer);
        assert_eq!(tail.run(log, 0, 3), []);
        assert_eq!(tail.run(log, 1, 3), batches[1..]);
        tail.keep(newer - 1);
        assert_eq!(tail.run(log, 2, 3), batches[2..]);
        tail.keep(0);
        assert_eq!((tail.run(log, 2, 3), tail.bytes), (Vec::new(), 0));
    }
}
