//! A store without a disk: for tests of clusters, and for what other stores are compared with.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use antiphon::{
    engine::{Log, Part, Parts, Pending, Recovered, Step, Write},
    limits::HEADERS_PER_PAGE_MAX,
    model::{
        Batch, ForkProof, LogId, NodeId, SignedDescriptor, SignedHeader, SubscriberName,
        Subscription, TopicId,
    },
    wire::{Checked, CheckedBatch, Contact, LogRange},
};

use super::{
    Checking, Reading, ScrubPosition, Scrubbed, Store, StoreError, Upkeep,
    keys::Place,
    merge::{Loaded, Walk, merge},
};

/// Keeps everything in ordered maps. "Flushed" means that it survives a restart of the node, as
/// long as the store itself is not dropped.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    catalogue: TopicId,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    batches: BTreeMap<Place, Batch>,
    /// Of batches that retention let go.
    headers: BTreeMap<Place, SignedHeader>,
    logs: BTreeMap<TopicId, BTreeMap<LogId, Log>>,
    subscriptions: BTreeMap<(TopicId, SubscriberName), Subscription>,
    descriptors: BTreeMap<TopicId, SignedDescriptor>,
    contacts: BTreeMap<NodeId, Contact>,
    forks: Vec<ForkProof>,
    steps: BTreeMap<TopicId, BTreeMap<u64, Step>>,
    outbox: BTreeMap<TopicId, BTreeMap<LogId, Pending>>,
    facts: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    /// An empty store. `catalogue` is the topic whose batches are recovered.
    pub(crate) fn new(catalogue: TopicId) -> Self {
        Self { catalogue, content: Mutex::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Append { batch, log } => {
                let place = Place::of(&batch);
                self.batches.insert(place, batch);
                self.logs.entry(place.topic).or_default().insert(place.log, log);
            }
            Write::Drop { topic, log_id, from, to, log } => {
                let start = Place::floor(topic, log_id, from)..Place::floor(topic, log_id, to);
                let gone = |place: &Place| place.next <= to;
                let gone = self.batches.extract_if(start, |place, _| gone(place));
                self.headers.extend(gone.map(|(place, it)| (place, SignedHeader::of(&it))));
                let places = Place::floor(topic, log_id, 0)..Place::floor(topic, log_id, u64::MAX);
                let is_kept = |next| log.as_ref().is_some_and(|log| log.keeps_header(next));
                let gone = |place: &Place| !is_kept(place.next);
                self.headers.extract_if(places, |place, _| gone(place)).for_each(drop);
                let logs = self.logs.entry(topic).or_default();
                match log {
                    Some(log) => logs.insert(log_id, log),
                    None => logs.remove(&log_id),
                };
                if logs.is_empty() {
                    self.logs.remove(&topic);
                }
            }
            // Memory is never damaged.
            Write::Quarantine { damage, log } => {
                self.logs.entry(damage.topic).or_default().insert(damage.log, log);
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
                if steps.is_empty() {
                    self.steps.remove(&topic);
                }
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
}

impl Store for MemoryStore {
    fn recover(&self) -> Result<Recovered, StoreError> {
        let content = self.content();
        let of_catalogue = |(place, batch): (&Place, &Batch)| {
            (place.topic == self.catalogue).then(|| batch.clone())
        };
        Ok(Recovered {
            logs: content.logs.clone(),
            catalogue: content.batches.iter().filter_map(of_catalogue).collect(),
            descriptors: content.descriptors.values().cloned().collect(),
            subscriptions: content.subscriptions.clone(),
            contacts: content.contacts.values().cloned().collect(),
            forks: content.forks.clone(),
            steps: content.steps.clone(),
            outbox: content.outbox.clone(),
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut content = self.content();
        writes.iter().cloned().for_each(|write| content.apply(write));
        Ok(())
    }

    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        bytes_max: usize,
    ) -> Result<Reading, StoreError> {
        let content = self.content();
        let walk = |range: &LogRange| {
            let LogRange { log, from, .. } = *range;
            let before = Place::floor(topic, log, 0)..=Place::ceiling(topic, log, from);
            let start = content.batches.range(before).next_back().map(|(place, _)| *place);
            let start = start.unwrap_or_else(|| Place::floor(topic, log, from));
            let rest = content.batches.range(start..=Place::ceiling(topic, log, u64::MAX));
            (*range, MemoryWalk { content: &content, rest })
        };
        let mut reading = merge(ranges.iter().map(walk).collect(), bytes_max)?;
        let header = |range: &LogRange| {
            let at = range.as_position()?;
            let before = Place::floor(topic, range.log, 0)..=Place::ceiling(topic, range.log, at);
            let (place, header) = content.headers.range(before).next_back()?;
            (place.next > at).then(|| header.clone())
        };
        reading.page.headers = ranges.iter().filter_map(header).collect();
        reading.page.headers.dedup();
        reading.page.headers.truncate(HEADERS_PER_PAGE_MAX);
        Ok(reading)
    }

    fn check(
        &self,
        topic: TopicId,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Checking, StoreError> {
        let content = self.content();
        let mut checked = Checked { to: range.from, ..Checked::default() };
        let mut bytes = 0;
        let end = Place::floor(topic, range.log, range.to);
        for (place, batch) in content.batches.range(Place::floor(topic, range.log, 0)..end) {
            if place.next <= range.from {
                continue;
            }
            if bytes >= bytes_max && bytes > 0 {
                return Ok(Checking { checked, damages: Vec::new() });
            }
            let (first, next, hash) = (place.first, place.next, batch.hash());
            checked.batches.push(CheckedBatch { first, next, hash });
            bytes += batch.bytes().len();
            checked.to = place.next;
        }
        checked.to = checked.to.max(range.to);
        Ok(Checking { checked, damages: Vec::new() })
    }

    fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Result<Vec<Part>, StoreError> {
        let content = self.content();
        let mut parts = Parts::default();
        for range in ranges {
            let places = Place::floor(topic, range.log, range.from)
                ..Place::floor(topic, range.log, range.to);
            content.batches.range(places).for_each(|(_, batch)| parts.push(Part::of(batch)));
        }
        Ok(parts.into_vec())
    }

    fn scrub(&self, _: Option<ScrubPosition>, _: usize) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed { next: None, bytes: 0, damages: Vec::new() })
    }

    fn maintain(&self) -> Result<Upkeep, StoreError> {
        Ok(Upkeep { room: true, busy: false, damages: Vec::new() })
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.content().facts.get(name).cloned())
    }

    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.content().facts.insert(name.to_owned(), value.to_vec());
        Ok(())
    }
}

struct MemoryWalk<'a> {
    content: &'a Content,
    rest: std::collections::btree_map::Range<'a, Place, Batch>,
}

impl Walk for MemoryWalk<'_> {
    fn next(&mut self) -> Result<Option<Place>, StoreError> {
        Ok(self.rest.next().map(|(place, _)| *place))
    }

    fn load(&mut self, place: &Place) -> Result<Loaded, StoreError> {
        let batch = self.content.batches.get(place).cloned();
        Ok(batch.map_or(Loaded::Gone, Loaded::Batch))
    }
}
