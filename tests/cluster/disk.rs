//! What a node has on its disk, as data.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    engine::{Early, Part, Parts, Recovered, Write},
    model::{Batch, Compacted, LogId, SignedHeader, TopicId},
    wire::{Checked, CheckedBatch, LogRange, Page},
};

use crate::shelf::{self, Place, TopicShelf};

/// What a node has on its disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) batches: BTreeMap<Place, Batch>,
    pub(crate) compacted: BTreeMap<Place, Compacted>,
    /// Of batches that retention let go.
    pub(crate) headers: BTreeMap<Place, SignedHeader>,
    /// Everything but batches.
    pub(crate) tables: Recovered,
}

impl Disk {
    pub(crate) fn apply(&mut self, write: &Write) {
        self.tables.apply(write);
        match write {
            Write::Append { batch, .. } => {
                let place = (batch.header().topic, batch.log(), batch.header().first);
                self.batches.insert(place, batch.clone());
            }
            Write::Drop { topic, log_id, from, to, log } => {
                let (topic, log_id, from, to) = (*topic, *log_id, *from, *to);
                let of_log = (topic, log_id, 0)..(topic, log_id, u64::MAX);
                let gone = self.batches.extract_if(of_log.clone(), |(.., first), batch| {
                    from <= *first && batch.header().next() <= to
                });
                let range = LogRange { log: log_id, from, to };
                shelf::drop_parts(&mut self.compacted, topic, &range);
                self.headers.extend(gone.map(|(place, it)| (place, SignedHeader::of(&it))));
                let is_kept = |next| log.as_ref().is_some_and(|log| log.keeps_header(next));
                let gone = |header: &SignedHeader| !is_kept(header.header().next());
                self.headers.extract_if(of_log, |_, header| gone(header)).for_each(drop);
            }
            Write::Compact { topic, part, .. } => {
                shelf::compact(&mut self.batches, &mut self.compacted, *topic, part);
            }
            Write::Quarantine { damage, .. } => {
                self.batches.remove(&(damage.topic, damage.log, damage.first));
            }
            Write::Subscription { .. }
            | Write::Descriptor(..)
            | Write::Step { .. }
            | Write::Outbox { .. }
            | Write::Fork(_)
            | Write::Contact(_)
            | Write::Forget(_) => {}
        }
    }

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
        const WHOLE: &BTreeSet<Place> = &BTreeSet::new();
        let Self { batches, compacted, headers, .. } = self;
        TopicShelf { topic, batches, compacted, damaged: WHOLE, headers }
    }

    /// What is there of a range, as a check of the disk tells it.
    pub(crate) fn check(&self, topic: TopicId, range: &LogRange) -> Checked {
        let held = self.batches.range((topic, range.log, 0)..(topic, range.log, range.to));
        let held = held.map(|(_, batch)| batch).filter(|batch| range.from < batch.header().next());
        let batches = held.map(|batch| CheckedBatch {
            first: batch.header().first,
            next: batch.header().next(),
            hash: batch.hash(),
        });
        let compacted = self.shelf(topic).compacted_in(range);
        Checked { batches: batches.collect(), damaged: Vec::new(), to: range.to, compacted }
    }

    /// Takes over what another disk holds of a topic.
    pub(crate) fn take_topic(&mut self, topic: TopicId, other: &Self) {
        self.batches.retain(|(of, ..), _| *of != topic);
        let theirs = other.batches.iter().filter(|((of, ..), _)| *of == topic);
        self.batches.extend(theirs.map(|(place, batch)| (*place, batch.clone())));
        self.compacted.retain(|(of, ..), _| *of != topic);
        let theirs = other.compacted.iter().filter(|((of, ..), _)| *of == topic);
        self.compacted.extend(theirs.map(|(place, part)| (*place, part.clone())));
        self.headers.retain(|(of, ..), _| *of != topic);
        let theirs = other.headers.iter().filter(|((of, ..), _)| *of == topic);
        self.headers.extend(theirs.map(|(place, header)| (*place, header.clone())));
        self.tables.logs.remove(&topic);
        self.tables.logs.extend(other.tables.logs.get(&topic).map(|logs| (topic, logs.clone())));
    }

    /// How much there is of parts of logs.
    pub(crate) fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Vec<Part> {
        let mut parts = Parts::default();
        for range in ranges {
            let places = (topic, range.log, range.from)..(topic, range.log, range.to);
            self.batches.range(places).for_each(|(_, batch)| parts.push(Part::of(batch)));
        }
        parts.into_vec()
    }

    pub(crate) fn recover(&self, catalogue: TopicId) -> Recovered {
        let of_catalogue = |((topic, _, _), batch): (&(TopicId, LogId, u64), &Batch)| {
            (*topic == catalogue).then(|| batch.clone())
        };
        let catalogue = self.batches.iter().filter_map(of_catalogue).collect();
        Recovered { catalogue, ..self.tables.clone() }
    }
}
