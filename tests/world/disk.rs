//! The disk of a node: what is flushed, what is not yet, and what a fault makes of it.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    engine::{Damage, Early, Log, Part, Parts, Recovered, Write, WriteNumber},
    model::{Batch, Compacted, Hash, Incarnation, LogId, SignedHeader, TopicId},
    wire::{Checked, CheckedBatch, LogRange, Page},
};

use crate::world::shelf::{self, Place, TopicShelf};

/// What a disk holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) batches: BTreeMap<Place, Batch>,
    /// What compaction left of others.
    pub(crate) compacted: BTreeMap<Place, Compacted>,
    /// Batches whose bytes have changed: they are not read any more.
    pub(crate) damaged: BTreeSet<Place>,
    /// Of batches that retention let go.
    pub(crate) headers: BTreeMap<Place, SignedHeader>,
    /// Everything but batches.
    pub(crate) tables: Recovered,
    /// The incarnations that a clean stop left to be continued. A copy of the directory is not
    /// the directory, so it goes with every copy.
    pub(crate) stopped: BTreeSet<Incarnation>,
}

/// The disk of a node.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What the disk says is flushed.
    pub(crate) image: Image,
    /// What really is, while the disk lies about it.
    pub(crate) honest: Option<Image>,
    /// What is written and not flushed.
    pub(crate) pending: Vec<(WriteNumber, Write)>,
    /// Up to where the flush under way goes.
    pub(crate) flushing: Option<WriteNumber>,
    /// An old copy of the disk, for a fault to bring back.
    pub(crate) backup: Option<Image>,
    /// How much longer than usual a flush takes.
    pub(crate) slowness: u32,
    /// Whether the next flush fails.
    pub(crate) failing: bool,
    /// Whether there is no room for records.
    pub(crate) full: bool,
}

impl Image {
    /// The batches that can be read.
    pub(crate) fn readable(&self) -> BTreeSet<Hash> {
        let readable = self.batches.iter().filter(|(place, _)| !self.damaged.contains(*place));
        readable.map(|(_, batch)| batch.hash()).collect()
    }

    /// Whether a batch can be read.
    pub(crate) fn holds(&self, batch: &Batch) -> bool {
        let place = place_of(batch);
        let held = self.batches.get(&place);
        held.is_some_and(|held| held == batch) && !self.damaged.contains(&place)
            || !self.tables.forks.is_empty() && self.is_filed(batch)
    }

    /// Whether a batch can be read under whatever log.
    pub(crate) fn is_filed(&self, batch: &Batch) -> bool {
        let mut held = self.batches.iter();
        held.any(|(place, held)| held == batch && !self.damaged.contains(place))
    }

    /// Whether a batch is here and cannot be read.
    pub(crate) fn is_damaged(&self, batch: &Batch) -> bool {
        self.damaged.iter().any(|place| self.batches.get(place) == Some(batch))
    }

    /// Carries a write out; the batches that it removed.
    pub(crate) fn apply(&mut self, write: &Write) -> Vec<Batch> {
        self.tables.apply(write);
        match write {
            Write::Append { batch, .. } => {
                let place = place_of(batch);
                self.damaged.remove(&place);
                self.batches.insert(place, batch.clone());
            }
            Write::Drop { topic, log_id, from, to, log } => {
                let range = LogRange { log: *log_id, from: *from, to: *to };
                return self.drop_records(*topic, range, log.as_ref());
            }
            Write::Compact { topic, part, .. } => {
                let (batches, compacted) = (&mut self.batches, &mut self.compacted);
                let removed = shelf::compact(batches, compacted, *topic, part);
                self.damaged.retain(|place| self.batches.contains_key(place));
                return removed;
            }
            Write::Quarantine { damage, .. } => {
                let place = (damage.topic, damage.log, damage.first);
                // If it can be read after all, it stays.
                if self.damaged.remove(&place) {
                    self.batches.remove(&place);
                }
            }
            Write::Subscription { .. }
            | Write::Descriptor(..)
            | Write::Step { .. }
            | Write::Outbox { .. }
            | Write::Fork(_)
            | Write::Statement { .. }
            | Write::Contact(_)
            | Write::Forget(_) => {}
        }
        Vec::new()
    }

    /// Removes batches; of those that retention let go the headers stay.
    fn drop_records(&mut self, topic: TopicId, range: LogRange, log: Option<&Log>) -> Vec<Batch> {
        let places = (topic, range.log, range.from)..(topic, range.log, range.to);
        let within = |(_, batch): &(&Place, &Batch)| batch.header().next() <= range.to;
        let gone = self.batches.range(places).filter(within);
        let gone: Vec<_> = gone.map(|(place, _)| *place).collect();
        let mut removed = Vec::new();
        for place in gone {
            let is_damaged = self.damaged.remove(&place);
            let batch = self.batches.remove(&place);
            let header = batch.as_ref().filter(|_| !is_damaged).map(SignedHeader::of);
            self.headers.extend(header.map(|header| (place, header)));
            removed.extend(batch);
        }
        shelf::drop_parts(&mut self.compacted, topic, &range);
        let is_kept = |next| log.is_some_and(|log| log.keeps_header(next));
        self.drop_headers(topic, range.log, is_kept);
        removed
    }

    /// Removes the headers of a log that are not kept: those before and after one range of it.
    fn drop_headers(&mut self, topic: TopicId, log: LogId, is_kept: impl Fn(u64) -> bool) {
        let of_log = (topic, log, 0)..(topic, log, u64::MAX);
        let is_gone = |(place, header): (&Place, &SignedHeader)| {
            (!is_kept(header.header().next())).then_some(*place)
        };
        while let Some(place) = self.headers.range(of_log.clone()).next().and_then(is_gone) {
            self.headers.remove(&place);
        }
        while let Some(place) = self.headers.range(of_log.clone()).next_back().and_then(is_gone) {
            self.headers.remove(&place);
        }
    }

    /// What is to be told of a damaged batch.
    pub(crate) fn damage(&self, place: &Place) -> Option<Damage> {
        let batch = self.batches.get(place)?;
        let (topic, log, first) = *place;
        let before =
            self.batches.range((topic, log, 0)..*place).next_back().map(|(_, before)| before);
        let before = before.filter(|before| before.header().next() == first);
        let part = self.compacted.range((topic, log, 0)..*place).next_back();
        let part = part.map(|(_, part)| part).filter(|part| part.next == first);
        let previous = before
            .map(|before| (before.hash(), before.header().stamp))
            .or_else(|| part.map(|part| (part.head, part.stamp)));
        let (next, hash) = (batch.header().next(), batch.hash());
        Some(Damage { topic, log, first, next, hash, previous })
    }

    /// The damaged batches that a read of these ranges comes upon.
    pub(crate) fn damaged_in(&self, topic: TopicId, ranges: &[LogRange]) -> Vec<Damage> {
        let mut found = Vec::new();
        for range in ranges {
            let log = (topic, range.log, 0)..(topic, range.log, range.to);
            let first = self.damaged.range(log).find(|place| {
                self.batches.get(place).is_some_and(|batch| range.from < batch.header().next())
            });
            found.extend(first.and_then(|place| self.damage(place)));
        }
        found
    }

    /// Reads ranges of logs, merged by stamp; a log ends at its first hole.
    pub(crate) fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Page {
        self.shelf(topic).read(ranges, early, bytes_max)
    }

    pub(crate) fn shelf(&self, topic: TopicId) -> TopicShelf<'_> {
        let Self { batches, compacted, damaged, headers, .. } = self;
        TopicShelf { topic, batches, compacted, damaged, headers }
    }

    /// What is there of a range, as a check of the disk tells it.
    pub(crate) fn check(&self, topic: TopicId, range: &LogRange) -> Checked {
        let log = (topic, range.log, 0)..(topic, range.log, range.to);
        let held = self.batches.range(log).filter(|(_, batch)| range.from < batch.header().next());
        let compacted = self.shelf(topic).compacted_in(range);
        let mut checked = Checked { to: range.to, compacted, ..Checked::default() };
        for (place, batch) in held {
            let (first, next, hash) = (place.2, batch.header().next(), batch.hash());
            if self.damaged.contains(place) {
                checked.damaged.push(LogRange { log: range.log, from: first, to: next });
            } else {
                checked.batches.push(CheckedBatch { first, next, hash });
            }
        }
        checked
    }

    /// How much there is of parts of logs.
    pub(crate) fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Vec<Part> {
        let mut parts = Parts::default();
        for range in ranges {
            let held =
                self.batches.range((topic, range.log, range.from)..(topic, range.log, range.to));
            held.for_each(|(_, batch)| parts.push(Part::of(batch)));
        }
        parts.into_vec()
    }

    /// What an engine is started with.
    pub(crate) fn recover(&self) -> Recovered {
        self.tables.clone()
    }
}

impl Disk {
    /// What a store does when it is opened.
    pub(crate) fn open(&mut self) {
        self.pending.clear();
        self.flushing = None;
        self.failing = false;
    }
}

/// Where a batch stands.
pub(crate) fn place_of(batch: &Batch) -> Place {
    (batch.header().topic, batch.log(), batch.header().first)
}
