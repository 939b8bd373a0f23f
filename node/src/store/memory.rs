//! A store without a disk: for tests of clusters, and for what other stores are compared with.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use antiphon::{
    engine::{Early, Part, Parts, Recovered, Shelf, Stored, Sweep, Write},
    limits::HEADERS_PER_PAGE_MAX,
    model::{Batch, Compacted, LogId, Position, ShortHash, SignedHeader, TopicId},
    wire::{Checked, CheckedBatch, LogRange},
};

use super::{
    Checking, Reading, Room, ScrubPosition, Scrubbed, Store, StoreError, Sweeping, Upkeep,
    keys::Place,
    merge::{Loaded, Walk, merge},
    sweep::{Damages, Interruption, go_on, outcome},
};

/// Bytes of a compacted part, as a disk has them.
const PART_BYTES: usize = 200;

/// Keeps everything in ordered maps. "Flushed" means that it survives a restart of the node, as
/// long as the store itself is not dropped.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    catalogue: TopicId,
    content: Mutex<Content>,
}

/// What is in a place.
#[derive(Debug)]
enum Kept {
    Batch(Batch),
    Compacted(Compacted),
}

impl Kept {
    fn batch(&self) -> Option<&Batch> {
        match self {
            Self::Batch(batch) => Some(batch),
            Self::Compacted(_) => None,
        }
    }

    fn stored(&self) -> Stored {
        match self {
            Self::Batch(batch) => {
                let (log, header) = (batch.log(), batch.header());
                let base = header.previous.map(|previous| previous.hash);
                let (first, next, head) = (header.first, header.next(), batch.hash());
                let (stamp, batches) = (header.stamp, Vec::new());
                let part = Compacted { log, first, next, base, head, stamp, batches };
                Stored { part, bytes: Some(batch.bytes().len() as u64) }
            }
            Self::Compacted(part) => Stored { part: part.unnamed(), bytes: None },
        }
    }

    fn bytes(&self) -> usize {
        self.batch().map_or(PART_BYTES, |batch| batch.bytes().len())
    }
}

#[derive(Debug, Default)]
struct Content {
    batches: BTreeMap<Place, Kept>,
    /// Headers of trimmed batches.
    headers: BTreeMap<Place, SignedHeader>,
    /// Everything but batches.
    tables: Recovered,
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
    /// Removes what lies within a range; the names of the batches that it was.
    fn remove_within(&mut self, topic: TopicId, log: LogId, from: u64, to: u64) -> Vec<ShortHash> {
        let start = Place::floor(topic, log, from)..Place::floor(topic, log, to);
        let gone = self.batches.extract_if(start, |place, _| place.next <= to);
        let names = |kept| match kept {
            Kept::Batch(batch) => vec![batch.hash().into()],
            Kept::Compacted(part) => part.batches,
        };
        gone.flat_map(|(_, kept)| names(kept)).collect()
    }

    fn apply(&mut self, write: &Write) {
        self.tables.apply(write);
        match write {
            Write::Append { batch, .. } => {
                self.batches.insert(Place::of(batch), Kept::Batch(batch.clone()));
            }
            Write::Drop { topic, log_id, from, to, log } => {
                let (topic, log_id) = (*topic, *log_id);
                let start = Place::floor(topic, log_id, *from)..Place::floor(topic, log_id, *to);
                let gone = self.batches.extract_if(start, |place, _| place.next <= *to);
                let header =
                    |(place, kept): (Place, Kept)| Some((place, SignedHeader::of(kept.batch()?)));
                self.headers.extend(gone.filter_map(header));
                let places = Place::floor(topic, log_id, 0)..Place::floor(topic, log_id, u64::MAX);
                let is_kept = |next| log.as_ref().is_some_and(|log| log.keeps_header(next));
                let gone = |place: &Place| !is_kept(place.next);
                self.headers.extract_if(places, |place, _| gone(place)).for_each(drop);
            }
            Write::Compact { topic, part, .. } => {
                let gone = self.remove_within(*topic, part.log, part.first, part.next);
                let part = part.in_place_of(gone);
                self.batches.insert(Place::of_part(*topic, &part), Kept::Compacted(part));
            }
            // Memory is never damaged.
            Write::Quarantine { .. }
            | Write::Subscription { .. }
            | Write::Descriptor(..)
            | Write::Step { .. }
            | Write::Outbox { .. }
            | Write::Fork(_)
            | Write::Statement { .. }
            | Write::Contact(_)
            | Write::Forget(_) => {}
        }
    }
}

impl Store for MemoryStore {
    fn recover(&self) -> Result<Recovered, StoreError> {
        let content = self.content();
        let of_catalogue = |(place, kept): (&Place, &Kept)| {
            kept.batch().filter(|_| place.topic == self.catalogue).cloned()
        };
        let catalogue = content.batches.iter().filter_map(of_catalogue).collect();
        Ok(Recovered { catalogue, ..content.tables.clone() })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut content = self.content();
        for write in writes {
            content.apply(write);
        }
        Ok(())
    }

    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Result<Reading, StoreError> {
        let content = self.content();
        let walk = |range: &LogRange| {
            let LogRange { log, from, .. } = *range;
            let before = Place::floor(topic, log, 0)..=Place::ceiling(topic, log, from);
            let start = content.batches.range(before).next_back().map(|(place, _)| *place);
            let start = start.unwrap_or_else(|| Place::floor(topic, log, from));
            let rest = content.batches.range(start..=Place::ceiling(topic, log, u64::MAX));
            (*range, MemoryWalk { rest, last: None })
        };
        let mut reading = merge(ranges.iter().map(walk).collect(), early, bytes_max)?;
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
        for (place, kept) in content.batches.range(Place::floor(topic, range.log, 0)..end) {
            if place.next <= range.from {
                continue;
            }
            if bytes >= bytes_max && bytes > 0 {
                return Ok(Checking { checked, damages: Vec::new() });
            }
            let Compacted { first, next, head: hash, .. } = kept.stored().part;
            match kept {
                Kept::Batch(_) => checked.batches.push(CheckedBatch { first, next, hash }),
                Kept::Compacted(part) => checked.compacted.push(part.clone()),
            }
            bytes += kept.bytes();
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
            for (_, kept) in content.batches.range(places) {
                let Compacted { log, first, next, head, stamp, .. } = kept.stored().part;
                let (end, bytes) = (Position { next, head: Some(head) }, kept.bytes() as u64);
                parts.push(Part { log, first, end, bytes, records: next - first, stamp });
            }
        }
        Ok(parts.into_vec())
    }

    fn sweep(
        &self,
        topic: TopicId,
        sweep: &Sweep,
        stop: &AtomicBool,
    ) -> Result<Sweeping, StoreError> {
        let content = self.content();
        let swept = sweep.run(&MemoryShelf { content: &content, topic, stop });
        outcome(swept, Damages::default())
    }

    fn scrub(&self, _: Option<ScrubPosition>, _: usize) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed { next: None, bytes: 0, damages: Vec::new() })
    }

    fn maintain(&self) -> Result<Upkeep, StoreError> {
        Ok(Upkeep { room: Room::ample(), busy: false, damages: Vec::new() })
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
    rest: std::collections::btree_map::Range<'a, Place, Kept>,
    last: Option<&'a Kept>,
}

impl Walk for MemoryWalk<'_> {
    fn next(&mut self) -> Result<Option<Stored>, StoreError> {
        self.last = self.rest.next().map(|(_, kept)| kept);
        Ok(self.last.map(Kept::stored))
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(match self.last {
            Some(Kept::Batch(batch)) => Loaded::Batch(batch.clone()),
            Some(Kept::Compacted(part)) => Loaded::Compacted(part.clone()),
            None => Loaded::Gone,
        })
    }
}

struct MemoryShelf<'a> {
    content: &'a Content,
    topic: TopicId,
    stop: &'a AtomicBool,
}

impl Shelf for MemoryShelf<'_> {
    type Error = Interruption;

    fn walk(
        &self,
        range: &LogRange,
        visit: &mut dyn FnMut(&Stored) -> Result<(), Interruption>,
    ) -> Result<(), Interruption> {
        let floor = |at| Place::floor(self.topic, range.log, at);
        for (_, kept) in self.content.batches.range(floor(range.from)..floor(range.to)) {
            go_on(self.stop)?;
            visit(&kept.stored())?;
        }
        Ok(())
    }

    fn load(&self, stored: &Stored) -> Result<Option<Batch>, Interruption> {
        go_on(self.stop)?;
        let place = Place::of_part(self.topic, &stored.part);
        Ok(self.content.batches.get(&place).and_then(Kept::batch).cloned())
    }
}
