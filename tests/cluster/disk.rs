//! What a node has on its disk, as data.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    engine::{Early, Log, Part, Parts, Pending, Recovered, Step, Write},
    model::{
        Batch, Compacted, ForkProof, LogId, NodeId, SignedDescriptor, SignedHeader, SubscriberName,
        Subscription, TopicId,
    },
    wire::{Checked, CheckedBatch, Contact, LogRange, Page},
};

use crate::shelf::{self, Place, TopicShelf};

/// What a node has on its disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) batches: BTreeMap<Place, Batch>,
    pub(crate) compacted: BTreeMap<Place, Compacted>,
    /// Of batches that retention let go.
    pub(crate) headers: BTreeMap<Place, SignedHeader>,
    logs: BTreeMap<TopicId, BTreeMap<LogId, Log>>,
    pub(crate) subscriptions: BTreeMap<(TopicId, SubscriberName), Subscription>,
    descriptors: BTreeMap<TopicId, SignedDescriptor>,
    contacts: BTreeMap<NodeId, Contact>,
    pub(crate) forks: Vec<ForkProof>,
    steps: BTreeMap<TopicId, BTreeMap<u64, Step>>,
    pub(crate) outbox: BTreeMap<TopicId, BTreeMap<LogId, Pending>>,
}

impl Disk {
    pub(crate) fn apply(&mut self, write: Write) {
        match write {
            Write::Append { batch, log } => {
                let header = batch.header();
                let (topic, id, first) = (header.topic, batch.log(), header.first);
                self.logs.entry(topic).or_default().insert(id, log);
                self.batches.insert((topic, id, first), batch);
            }
            Write::Drop { topic, log_id, from, to, log } => {
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
                let logs = self.logs.entry(topic).or_default();
                match log {
                    Some(log) => logs.insert(log_id, log),
                    None => logs.remove(&log_id),
                };
            }
            Write::Compact { topic, part, log } => {
                self.logs.entry(topic).or_default().insert(part.log, log);
                shelf::compact(&mut self.batches, &mut self.compacted, topic, &part);
            }
            Write::Quarantine { damage, log } => {
                self.logs.entry(damage.topic).or_default().insert(damage.log, log);
                self.batches.remove(&(damage.topic, damage.log, damage.first));
            }
            Write::Subscription { topic, name, subscription } => {
                match subscription {
                    Some(kept) => self.subscriptions.insert((topic, name), kept),
                    None => self.subscriptions.remove(&(topic, name)),
                };
            }
            Write::Descriptor(topic, descriptor) => {
                self.descriptors.insert(topic, descriptor);
            }
            Write::Fork(proof) => {
                if !self.forks.contains(&proof) {
                    self.forks.push(proof);
                }
            }
            Write::Step { topic, number, step } => {
                let steps = self.steps.entry(topic).or_default();
                match step {
                    Some(step) => steps.insert(number, step),
                    None => steps.remove(&number),
                };
            }
            Write::Outbox { topic, log, pending } => {
                let logs = self.outbox.entry(topic).or_default();
                match pending {
                    Some(pending) => logs.insert(log, pending),
                    None => logs.remove(&log),
                };
                if logs.is_empty() {
                    self.outbox.remove(&topic);
                }
            }
            Write::Contact(contact) => {
                self.contacts.insert(contact.node, contact);
            }
            Write::Forget(node) => {
                self.contacts.remove(&node);
            }
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
        self.logs.remove(&topic);
        self.logs.extend(other.logs.get(&topic).map(|logs| (topic, logs.clone())));
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
        Recovered {
            logs: self.logs.clone(),
            catalogue: self.batches.iter().filter_map(of_catalogue).collect(),
            descriptors: self.descriptors.values().cloned().collect(),
            subscriptions: self.subscriptions.clone(),
            contacts: self.contacts.values().cloned().collect(),
            forks: self.forks.clone(),
            steps: self.steps.clone(),
            outbox: self.outbox.clone(),
        }
    }
}
