//! Sweeps: what compaction may take away of a topic.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use antiphon::{
    engine::{Shelf, Stored, Sweep},
    limits::COMPACTED_HASHES_MAX,
    model::{Batch, Compacted, ShortHash, TopicId},
    wire::LogRange,
};

use super::{SegmentStore, index::Index};
use crate::store::{
    StoreError, Sweeping,
    keys::Place,
    merge::Loaded,
    sweep::{Damages, Interruption, go_on, outcome},
};

/// Bytes after which a sweep pauses, so that others get their turn at the disk.
const PACE_BYTES: u64 = 1024 * 1024;

/// That pause. A sweep reads less than 100 MB/s with it, and a stop waits for one pause at most.
const PAUSE: Duration = Duration::from_millis(10);

/// Entries of the index that are read at a time, 200 bytes each. The index is not locked while
/// batches are read: one that fails is rebuilt meanwhile.
const ENTRIES_MAX: usize = 256;

/// A topic in a store.
struct SegmentShelf<'a> {
    store: &'a SegmentStore,
    topic: TopicId,
    stop: &'a AtomicBool,
    /// Bytes that were read since the last pause.
    read: Cell<u64>,
    damages: RefCell<Damages>,
}

impl SegmentStore {
    pub(super) fn run_sweep(
        &self,
        topic: TopicId,
        sweep: &Sweep,
        stop: &AtomicBool,
    ) -> Result<Sweeping, StoreError> {
        let (read, damages) = (Cell::default(), RefCell::default());
        let shelf = SegmentShelf { store: self, topic, stop, read, damages };
        let swept = sweep.run(&shelf);
        outcome(swept, shelf.damages.into_inner())
    }
}

impl SegmentStore {
    /// A range as it will be stored: it names the batches that it replaces, and those that smaller
    /// ranges within it name.
    pub(super) fn naming(
        &self,
        index: &Index,
        topic: TopicId,
        part: &Compacted,
    ) -> Result<Compacted, StoreError> {
        let start = Place::floor(topic, part.log, part.first);
        let mut newest_first: Vec<ShortHash> = Vec::new();
        for entry in index.batches(start..=Place::floor(topic, part.log, part.next)).rev() {
            let (place, entry) = entry?;
            if newest_first.len() >= COMPACTED_HASHES_MAX {
                break;
            }
            if !entry.is_compacted {
                newest_first.push(entry.hash.into());
            } else if let Loaded::Compacted(within) = self.load(index, &place, entry)? {
                newest_first.extend(within.batches.iter().rev());
            }
        }
        newest_first.reverse();
        Ok(part.in_place_of(newest_first))
    }
}

impl SegmentShelf<'_> {
    fn pace(&self, bytes: u64) {
        let read = self.read.get().saturating_add(bytes);
        if read < PACE_BYTES {
            self.read.set(read);
        } else {
            self.read.set(0);
            thread::sleep(PAUSE);
        }
    }
}

impl Shelf for SegmentShelf<'_> {
    type Error = Interruption;

    fn walk(
        &self,
        range: &LogRange,
        visit: &mut dyn FnMut(&Stored) -> Result<(), Interruption>,
    ) -> Result<(), Interruption> {
        let end = Place::floor(self.topic, range.log, range.to);
        let mut from = range.from;
        loop {
            let start = Place::floor(self.topic, range.log, from);
            let entries: Vec<_> = self.store.ask(|index| {
                index.batches(start..=end).take(ENTRIES_MAX).collect::<Result<_, _>>()
            })?;
            for (place, entry) in &entries {
                go_on(self.stop)?;
                visit(&entry.stored(place))?;
            }
            match entries.last() {
                Some((last, _)) if entries.len() == ENTRIES_MAX => {
                    from = last.first.saturating_add(1);
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn load(&self, stored: &Stored) -> Result<Option<Batch>, Interruption> {
        go_on(self.stop)?;
        self.pace(stored.bytes.unwrap_or(0));
        let place = Place::of_part(self.topic, &stored.part);
        let loaded = self.store.ask(|index| match index.entry(&place)? {
            Some(entry) => self.store.load(index, &place, entry),
            None => Ok(Loaded::Gone),
        })?;
        Ok(match loaded {
            Loaded::Batch(batch) => Some(batch),
            Loaded::Compacted(_) | Loaded::Gone => None,
            Loaded::Damaged(damage) => {
                self.damages.borrow_mut().add(damage);
                None
            }
        })
    }
}
