//! Writers and batches for tests.

use std::ops::Range;

use antiphon::{
    engine::{Damage, Log, Write},
    model::{
        Batch, Compacted, Draft, Incarnation, LogId, NodeKey, ProducerId, Record, Run, Stamp,
        TopicId, WallClock, encode_record,
    },
    wire::LogRange,
};

pub(in crate::store) fn topic() -> TopicId {
    TopicId::from_bytes([7; 32])
}

pub(in crate::store) fn catalogue() -> TopicId {
    TopicId::from_bytes([8; 32])
}

/// A writer and all that was ever held of its log in one topic.
pub(in crate::store) struct Author {
    key: NodeKey,
    topic: TopicId,
    incarnation: Incarnation,
    pub(in crate::store) log: Log,
    pub(in crate::store) batches: Vec<Batch>,
}

impl Author {
    pub(in crate::store) fn new(secret: u8, topic: TopicId) -> Self {
        let key = NodeKey::from_secret(&[secret; 32]);
        Self { key, topic, incarnation: Incarnation(5), log: Log::default(), batches: Vec::new() }
    }

    pub(in crate::store) fn log_id(&self) -> LogId {
        LogId { writer: self.key.node(), incarnation: self.incarnation }
    }

    pub(in crate::store) fn range(&self, from: u64, to: u64) -> LogRange {
        LogRange { log: self.log_id(), from, to }
    }

    /// Seals the next batch: `count` records of `bytes` bytes, at a wall time.
    pub(in crate::store) fn seal(&mut self, time: u64, count: u32, bytes: usize) -> Batch {
        // Noise, so that nothing may be shared or compressed away.
        let mut random = fastrand::Rng::with_seed(self.batches.len() as u64);
        let records: Vec<_> = (0..count)
            .map(|_| {
                let payload: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
                Record::new(WallClock(time), payload)
            })
            .collect();
        self.seal_records(time, &records)
    }

    /// Seals the next batch, of these records.
    pub(in crate::store) fn seal_records(&mut self, time: u64, records: &[Record]) -> Batch {
        let mut body = Vec::new();
        for record in records {
            encode_record(record, &mut body).unwrap();
        }
        let count = u32::try_from(records.len()).unwrap();
        let previous = self.batches.last().map(|batch| antiphon::model::Previous {
            incarnation: self.incarnation,
            next: batch.header().next(),
            hash: batch.hash(),
        });
        let first = previous.map_or(0, |previous| previous.next);
        let draft = Draft {
            topic: self.topic,
            incarnation: self.incarnation,
            previous,
            stamp: Stamp::at(WallClock(time)),
            runs: vec![Run { producer: ProducerId([4; 16]), first, count }],
        };
        let batch = draft.seal(&body.into(), &self.key);
        self.batches.push(batch.clone());
        batch
    }

    /// The write that stores a batch of this writer.
    pub(in crate::store) fn store(&mut self, batch: Batch) -> Write {
        self.log.add(&batch).unwrap();
        Write::Append { batch, log: self.log.clone() }
    }

    /// Seals the next batch, of three small records, and stores it.
    pub(in crate::store) fn append(&mut self, time: u64) -> Write {
        let batch = self.seal(time, 3, 10);
        self.store(batch)
    }

    /// The write that removes what ends at or before `to`, where the batch `last` ends.
    pub(in crate::store) fn drop_to(&mut self, last: &Batch) -> Write {
        let to = last.header().next();
        self.log.forget(to, Some(last.hash()));
        self.log.low = to;
        let log = Some(self.log.clone());
        Write::Drop { topic: self.topic, log_id: self.log_id(), from: 0, to, log }
    }

    /// Some of the batches as a compacted part.
    pub(in crate::store) fn part(&self, batches: Range<usize>) -> Compacted {
        let batches = &self.batches[batches];
        let (first, last) = (batches.first().unwrap().header(), batches.last().unwrap());
        let header = last.header();
        let base = first.previous.map(|previous| previous.hash);
        let (log, head, stamp) = (self.log_id(), last.hash(), header.stamp);
        let names = batches.iter().map(|batch| batch.hash().into()).collect();
        let (first, next) = (first.first, header.next());
        Compacted { log, first, next, base, head, stamp, batches: names }
    }

    /// The write that takes away some of the batches.
    pub(in crate::store) fn compact(&mut self, batches: Range<usize>) -> Write {
        let part = self.part(batches);
        self.log.fill(&part).unwrap();
        Write::Compact { topic: self.topic, part, log: self.log.clone() }
    }

    /// The write with which retention trims what ends at or before `to`, where `last` ends.
    pub(in crate::store) fn let_go_to(&mut self, last: &Batch) -> Write {
        let to = last.header().next();
        assert!(self.log.cut(to, Some(last.hash())));
        let log = Some(self.log.clone());
        Write::Drop { topic: self.topic, log_id: self.log_id(), from: 0, to, log }
    }

    /// The write with which a topic's deletion removes all.
    pub(in crate::store) fn delete(&mut self) -> Write {
        self.log = Log::default();
        Write::Drop { topic: self.topic, log_id: self.log_id(), from: 0, to: u64::MAX, log: None }
    }

    /// Each record of a part of the log, by itself.
    pub(in crate::store) fn positions(&self, from: u64, to: u64) -> Vec<LogRange> {
        (from..to).map(|at| LogRange::position(self.log_id(), at)).collect()
    }

    /// What a read says of a batch of this writer that is damaged.
    pub(in crate::store) fn damage(&self, batch: &Batch) -> Damage {
        let header = batch.header();
        let ends_before = |other: &&Batch| other.header().next() == header.first;
        let previous = self.batches.iter().find(ends_before);
        Damage {
            topic: self.topic,
            log: self.log_id(),
            first: header.first,
            next: header.next(),
            hash: batch.hash(),
            previous: previous.map(|previous| (previous.hash(), previous.header().stamp)),
        }
    }

    /// The write with which the engine answers.
    pub(in crate::store) fn quarantine(&mut self, damage: &Damage) -> Write {
        let Damage { first, next, hash, previous, .. } = *damage;
        assert!(self.log.lose(first, next, hash, previous));
        Write::Quarantine { damage: *damage, log: self.log.clone() }
    }
}
