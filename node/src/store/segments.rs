//! The store of a node: segments of signed batches, and an index of them.
//!
//! The segments are the truth: files of frames to which groups are appended, each with one write
//! and one flush. The index says where each batch lies, and can be rebuilt from the segments at any
//! time. The reason: if a database is the only copy of its data, it decides what a flipped bit
//! costs. The answers are a refused start, or the silent loss of everything that follows. Here
//! damage costs the batches that it hit, and repair brings them back.
//!
//! - `frame`, `record`: the bytes
//! - `group`, `active`, `files`, `space`: how they are written, and room for them
//! - `index`, `changes`: the index, and how it follows
//! - `checkpoint`, `compaction`, `squeeze`: how space comes back, and dropped batches do not
//! - `headers`: what stays of trimmed batches
//! - `opening`, `recovery`: what a start makes of it
//! - `reading`, `sweeping`: reads, checks, scrub, and the sweeps of compacted topics
//!
//! **What fails how.** A failed write or flush latches the store. A full disk shows where space is
//! set aside, before anything is written: the commit is refused with [`StoreError::Full`], nothing
//! has changed, and it may be tried again. An index that fails, at a start or later, is thrown away
//! and rebuilt. Nothing else is ever thrown away because it looks wrong.

mod active;
mod changes;
mod checkpoint;
mod compaction;
mod files;
mod frame;
mod group;
mod headers;
mod index;
mod opening;
mod reading;
mod record;
mod recovery;
mod roll;
mod space;
mod squeeze;
mod sweeping;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon::{
    engine::{Damage, Early, Part, Recovered, Sweep, Write},
    limits::COMPACTED_BYTES_MAX,
    model::{Batch, ForkProof, SignedDescriptor, Subscription, TopicId, roster::Statement},
    wire::{Contact, LogRange},
};

use self::{
    active::Writer,
    changes::Applier,
    files::Files,
    frame::{HEAD_BYTES, Kind},
    group::{COMMIT_BYTES, Group},
    index::{Index, malformed},
    reading::measure_on,
    record::{BATCH_START_BYTES, OPENING_BYTES, StateEntry},
    space::{FileSystem, Free, Space},
};
use super::{
    Checking, Level, Reading, Room, ScrubPosition, Scrubbed, Store, StoreError, Sweeping, Upkeep,
    keys::{self, Entry, Place, Table},
    merge::Loaded,
    placed::{self, Placed},
    writer::{BACKLOG_BYTES_HIGH, GROUP_BYTES_MAX},
};

/// Bytes of a segment. Larger ones would make an idle node large and hold dead bytes longer;
/// smaller ones would make more files and checkpoints.
const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that are always set aside, so that what the engine has accepted already finds room after
/// it was told that there is none.
const RESERVE_BYTES: usize = BACKLOG_BYTES_HIGH + GROUP_BYTES_MAX + 4 * 1024 * 1024;

/// Spare segments that are left to compaction, so that space comes back on a full disk.
const UPKEEP_SPARES: usize = 1;

/// Bytes that must be free on the disk beside that, for the index, before records are taken in.
const FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// What a store is opened with.
#[derive(Debug, Clone)]
struct Options {
    segment_bytes: usize,
    /// Segments that are set aside.
    spares: usize,
    /// Bytes that must be free beside them.
    free_bytes_min: u64,
    space: Arc<dyn Space>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            spares: RESERVE_BYTES.div_ceil(SEGMENT_BYTES) + UPKEEP_SPARES,
            free_bytes_min: FREE_BYTES_MIN,
            space: Arc::new(FileSystem),
        }
    }
}

/// A store in a directory.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    directory: PathBuf,
    catalogue: TopicId,
    options: Options,
    files: Files,
    /// The seed of all checksums, see `frame`.
    salt: u64,
    /// None while it is lost and could not be rebuilt. Only the writer writes to it; the lock is
    /// for the moment in which another one takes its place.
    index: RwLock<Option<Index>>,
    /// Set by a read to which the index was damaged.
    is_index_damaged: AtomicBool,
    writer: Mutex<Writer>,
    /// Set by the first failed write and never cleared.
    latched: AtomicBool,
    /// Damage that was found by neither read nor scrub, and is not told yet.
    found: Mutex<Vec<Damage>>,
    /// What must stay at its name beside the segments and the index, the outermost first.
    placed: Vec<Placed>,
    /// The lock goes with the file.
    _lock: File,
}

impl SegmentStore {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a write, unless an earlier one failed.
    fn latching(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.latched.load(Ordering::Acquire) {
            return Err(StoreError::Latched);
        }
        write().inspect_err(|_| self.latched.store(true, Ordering::Release))
    }

    /// Closes a group, and makes it durable: flushed, in the file that a start will find.
    fn write_flushed(&self, writer: &mut Writer, mut group: Group) -> Result<(), StoreError> {
        group.close(false);
        self.latching(|| {
            writer.write(&group)?;
            writer.flush()?;
            // The path leads through all directories, so this one question is about them as well.
            let active = writer.active.as_ref().expect("something was written");
            placed::check("the segment", &active.path, &active.file, active.bytes as u64)
        })
    }

    /// Whether all files that are open are where a start would look for them.
    fn check_places(&self) -> Result<(), StoreError> {
        self.placed.iter().try_for_each(Placed::check)?;
        self.files.check_place()?;
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map_or(Ok(()), Index::check_place)
    }

    /// The outermost cause of an error: where a directory is gone, nothing in it can be written.
    fn explained(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Io { .. } | StoreError::Index { .. } | StoreError::Displaced { .. } => {
                self.check_places().err().unwrap_or(error)
            }
            other => other,
        }
    }

    /// Asks the index something. If it is damaged, it will be rebuilt.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = index.as_ref() else {
            return Err(StoreError::Index {
                action: "reading",
                reason: "it is being made anew".to_owned(),
            });
        };
        question(index).inspect_err(|error| {
            if matches!(error, StoreError::Index { .. }) {
                self.is_index_damaged.store(true, Ordering::Release);
            }
        })
    }

    /// The next group of the active segment.
    fn group(&self, writer: &Writer) -> Group {
        let (segment, at) =
            writer.active.as_ref().map_or((0, 0), |active| (active.segment, active.at));
        Group::new(self.salt, segment, at, writer.next_number)
    }

    /// Makes sure that the active segment has room for this many bytes, which may need the next
    /// one. Leaves this many spare ones.
    fn make_room(
        &self,
        writer: &mut Writer,
        index: &Index,
        bytes: usize,
        spares_left: usize,
    ) -> Result<(), StoreError> {
        if writer.active.as_ref().is_some_and(|active| active.rest() >= bytes) {
            return Ok(());
        }
        self.begin_next(writer, bytes, spares_left)?;
        let is_due =
            writer.since_checkpoint >= writer.checkpoint_bytes.saturating_mul(checkpoint::SPACING);
        if is_due { self.write_checkpoint(writer, index, bytes) } else { Ok(()) }
    }

    /// Begins the next segment, which has room for this many bytes.
    fn begin_next(
        &self,
        writer: &mut Writer,
        bytes: usize,
        spares_left: usize,
    ) -> Result<(), StoreError> {
        let bytes = OPENING_BYTES + COMMIT_BYTES + bytes;
        writer.advance(&self.files, &self.options, bytes, spares_left)?;
        let active = writer.active.as_mut().expect("it was just taken");
        let opening = record::opening(active.segment, self.salt);
        self.latching(|| {
            files::write_parts(&active.file, &opening, &[files::Part::Own(opening.len())], 0)
                .map_err(|error| files::io_error("writing", &error))
        })?;
        active.at = opening.len();
        Ok(())
    }

    /// Writes the small state, and leaves this many bytes of the segment for what follows. It is
    /// flushed together with that.
    fn write_checkpoint(
        &self,
        writer: &mut Writer,
        index: &Index,
        bytes: usize,
    ) -> Result<(), StoreError> {
        let mut group = self.group(writer);
        let (at, rest) = writer.active.as_ref().map_or((0, 0), |active| (active.at, active.rest()));
        let bytes_max = at + rest.saturating_sub(bytes + 2 * COMMIT_BYTES + HEAD_BYTES);
        if checkpoint::write(index, &mut group, bytes_max)?.is_none() {
            tracing::warn!("a segment has no room for a checkpoint, so old ones cannot be deleted");
            return Ok(());
        }
        self.latching(|| writer.write(&group))?;
        writer.checkpoint_bytes = group.end() - at;
        writer.since_checkpoint = 0;
        writer.checkpoints = [group.segment(), writer.checkpoints[0]];
        Ok(())
    }

    /// Commits all writes, in as many groups as the segments make of them.
    fn commit_on(
        &self,
        writer: &mut Writer,
        index: &Index,
        mut writes: &[Write],
    ) -> Result<(), StoreError> {
        while let Some(next) = writes.first() {
            self.make_room(writer, index, bytes_bound(next) + COMMIT_BYTES, UPKEEP_SPARES)?;
            let (count, frames) = self.write_group(writer, index, writes)?;
            let (done, rest) = writes.split_at(count);
            let position = writer.position(self.salt);
            let mut applier = Applier::new(index, &mut writer.usage);
            for (write, frame) in done.iter().zip(frames) {
                apply(&mut applier, write, frame)?;
            }
            applier.finish(position)?;
            writes = rest;
        }
        Ok(())
    }

    /// Writes and flushes as many as find room and may be in one group, at least one.
    fn write_group(
        &self,
        writer: &mut Writer,
        index: &Index,
        writes: &[Write],
    ) -> Result<(usize, Vec<Framed>), StoreError> {
        let mut group = self.group(writer);
        let end = writer.active.as_ref().map_or(0, |active| active.bytes);
        let mut frames = Vec::with_capacity(writes.len());
        for write in writes {
            // Whether a damaged batch can be read after all is asked when what stands before is
            // in the index.
            let is_question = matches!(write, Write::Quarantine { .. }) && !group.is_empty();
            if is_question || group.end() + bytes_bound(write) + COMMIT_BYTES > end {
                break;
            }
            frames.push(self.frame(index, &mut group, write)?);
        }
        assert!(!frames.is_empty(), "there was room for the first one");
        self.write_flushed(writer, group)?;
        Ok((frames.len(), frames))
    }

    fn frame(&self, index: &Index, group: &mut Group, write: &Write) -> Result<Framed, StoreError> {
        Ok(match write {
            Write::Append { batch, log } => {
                let start = record::batch_start(batch);
                let offset = group.push_shared(Kind::Batch, &start, batch.bytes());
                if batch.is_of_branch() {
                    // Where a branch begins its batches do not say.
                    let key = keys::log_key(batch.header().topic, batch.log());
                    let state = (key, Some(keys::encode(log)));
                    let (kind, payload) = record::encode_state(&state);
                    group.push(kind, &[&payload]);
                }
                Framed::Stored(group.entry(offset, batch))
            }
            Write::Compact { topic, part, .. } => {
                Framed::Stored(group.push_compacted(*topic, &self.naming(index, *topic, part)?))
            }
            Write::Quarantine { damage, log } => {
                let found = self.quarantined(index, damage)?;
                let is_removed = found.is_some();
                let place =
                    found.unwrap_or_else(|| Place::floor(damage.topic, damage.log, damage.first));
                let payload = record::encode_quarantine(&place, is_removed, log);
                group.push(Kind::Quarantine, &[&payload]);
                Framed::Quarantine(found)
            }
            Write::Drop { topic, log_id, from, to, log } => {
                let payload = record::encode_drop(*topic, *log_id, *from..*to, log.as_ref());
                group.push(Kind::Drop, &[&payload]);
                Framed::Drop
            }
            Write::Subscription { .. }
            | Write::Step { .. }
            | Write::Outbox { .. }
            | Write::Descriptor(..)
            | Write::Fork(_)
            | Write::Statement { .. }
            | Write::Contact(_)
            | Write::Forget(_) => {
                let state = record::state_entry(write);
                let (kind, payload) = record::encode_state(&state);
                group.push(kind, &[&payload]);
                Framed::State(state)
            }
        })
    }

    /// The batch that a quarantine removes; none when it can be read after all, or is gone.
    fn quarantined(&self, index: &Index, damage: &Damage) -> Result<Option<Place>, StoreError> {
        let found = index.last_batch_at(damage.topic, damage.log, damage.first)?;
        let is_meant = |(place, entry): &(Place, Entry)| {
            let is_cut = entry.is_compacted && place.first < damage.first;
            place.next == damage.next && (place.first == damage.first || is_cut)
        };
        let Some((place, entry)) = found.filter(is_meant) else {
            return Ok(None);
        };
        Ok(match self.load(index, &place, entry)? {
            Loaded::Damaged(_) => Some(place),
            Loaded::Batch(_) | Loaded::Compacted(_) | Loaded::Gone => None,
        })
    }

    /// Writes with an index that works: if it fails, with a rebuilt one.
    fn with_index(
        &self,
        writer: &mut Writer,
        mut write: impl FnMut(&mut Writer, &Index) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.latched.load(Ordering::Acquire) {
            return Err(StoreError::Latched);
        }
        if !self.is_index_damaged.load(Ordering::Acquire) {
            match self.ask(|index| write(writer, index)) {
                Err(StoreError::Index { action, reason }) => {
                    tracing::warn!(action, reason, "the index failed");
                }
                outcome => return outcome,
            }
        }
        // What was flushed already is found in the segments, and written once more after that.
        self.renew_index(writer)?;
        self.ask(|index| write(writer, index))
    }

    /// Asks the index what a start needs; of a new index where it fails.
    fn ask_for_start<T>(
        &self,
        question: impl Fn(&Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.ask(&question) {
            Err(StoreError::Index { action, reason }) => {
                tracing::warn!(action, reason, "the index failed");
                self.renew_index(&mut self.writer())?;
                self.ask(&question)
            }
            outcome => outcome,
        }
    }

    fn recover_from(&self, index: &Index) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        for entry in index.entries(Table::Logs) {
            let (key, value) = entry?;
            let (topic, log) = keys::parse_log_key(&key).ok_or_else(malformed)?;
            recovered.logs.entry(topic).or_default().insert(log, decode(&value)?);
        }
        for entry in index.entries(Table::Subscriptions) {
            let (key, value) = entry?;
            let name = keys::parse_subscription_key(&key).ok_or_else(malformed)?;
            recovered.subscriptions.insert(name, decode::<Subscription>(&value)?);
        }
        for entry in index.entries(Table::Steps) {
            let (key, value) = entry?;
            let (topic, number) = keys::parse_step_key(&key).ok_or_else(malformed)?;
            recovered.steps.entry(topic).or_default().insert(number, decode(&value)?);
        }
        for entry in index.entries(Table::Outbox) {
            let (key, value) = entry?;
            let (topic, log) = keys::parse_log_key(&key).ok_or_else(malformed)?;
            recovered.outbox.entry(topic).or_default().insert(log, decode(&value)?);
        }
        for entry in index.entries(Table::Descriptors) {
            let (key, value) = entry?;
            let topic = keys::parse_topic(&key).ok_or_else(malformed)?;
            let descriptor = SignedDescriptor::verify(value.into());
            recovered.descriptors.insert(topic, descriptor.map_err(|_malformed| malformed())?);
        }
        for entry in index.entries(Table::Forks) {
            let proof = ForkProof::verify(&entry?.1.into());
            recovered.forks.push(proof.map_err(|_malformed| malformed())?);
        }
        for entry in index.entries(Table::Roster) {
            let (key, value) = entry?;
            let kind = *key.first().ok_or_else(malformed)?;
            // One of a kind or a version that only a newer program knows has no meaning here.
            recovered.roster.extend(Statement::verify(kind, value.into()).ok());
        }
        for entry in index.entries(Table::Contacts) {
            let contact = decode::<Contact>(&entry?.1)?;
            recovered.contacts.insert(contact.node, contact);
        }
        recovered.catalogue = self.recover_catalogue(index)?;
        Ok(recovered)
    }

    fn recover_catalogue(&self, index: &Index) -> Result<Vec<Batch>, StoreError> {
        let (mut batches, mut damages) = (Vec::new(), Vec::new());
        for batch in index.batches_of(self.catalogue) {
            let (place, entry) = batch?;
            match self.load(index, &place, entry)? {
                Loaded::Batch(batch) => batches.push(batch),
                Loaded::Compacted(_) | Loaded::Gone => {}
                Loaded::Damaged(damage) => damages.push(damage),
            }
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = damages;
        Ok(batches)
    }

    /// Sets aside what is missing of the reserve. How much room there is then.
    fn reserve(&self, writer: &mut Writer) -> Room {
        while writer.spares.len() < self.options.spares {
            match writer.add_spare(&self.files, &self.options, self.options.segment_bytes) {
                Ok(()) => {}
                Err(StoreError::Full) => break,
                Err(error) => {
                    tracing::warn!(%error, "no space can be set aside");
                    break;
                }
            }
        }
        let missing = self.options.spares.saturating_sub(writer.spares.len());
        let needed = (missing * self.options.segment_bytes) as u64 + self.options.free_bytes_min;
        let path = self.directory.parent().unwrap_or(&self.directory).to_owned();
        let free = self.options.space.free(self.files.directory()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the free space is not known");
            Free { bytes: u64::MAX, total: u64::MAX, is_quota: false }
        });
        let Free { bytes, total, is_quota } = free;
        writer.level = if missing > 0 || bytes < self.options.free_bytes_min {
            Level::Full
        } else {
            Room::level_of(bytes, total, writer.level)
        };
        Room { level: writer.level, path, is_quota, free: bytes, needed, total }
    }
}

impl Store for SegmentStore {
    fn recover(&self) -> Result<Recovered, StoreError> {
        self.ask_for_start(|index| self.recover_from(index))
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let outcome =
            self.with_index(&mut writer, |writer, index| self.commit_on(writer, index, writes));
        writer.is_short |= outcome == Err(StoreError::Full);
        outcome.map_err(|error| self.explained(error))
    }

    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Result<Reading, StoreError> {
        self.ask(|index| self.read_page(index, topic, ranges, early, bytes_max))
    }

    fn check(
        &self,
        topic: TopicId,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Checking, StoreError> {
        self.ask(|index| self.check_range(index, topic, range, bytes_max))
    }

    fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Result<Vec<Part>, StoreError> {
        self.ask(|index| measure_on(index, topic, ranges))
    }

    fn sweep(
        &self,
        topic: TopicId,
        sweep: &Sweep,
        stop: &AtomicBool,
    ) -> Result<Sweeping, StoreError> {
        self.run_sweep(topic, sweep, stop)
    }

    fn scrub(
        &self,
        after: Option<ScrubPosition>,
        bytes_max: usize,
    ) -> Result<Scrubbed, StoreError> {
        self.ask(|index| self.scrub_on(index, after, bytes_max))
    }

    fn maintain(&self) -> Result<Upkeep, StoreError> {
        let mut writer = self.writer();
        let damages =
            std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        if self.latched.load(Ordering::Acquire) {
            let room = Room { level: Level::Full, ..Room::ample() };
            return Ok(Upkeep { room, busy: false, damages });
        }
        self.in_place()?;
        let mut busy = false;
        let outcome = self.with_index(&mut writer, |writer, index| {
            busy = self.delete_unused(writer, index)? || self.compact(writer, index)?;
            Ok(())
        });
        let was_short = writer.is_short;
        let room = self.reserve(&mut writer);
        writer.is_short = room.is_full();
        match outcome {
            Ok(()) => {
                let busy = busy || (writer.is_short && !was_short);
                Ok(Upkeep { room, busy, damages })
            }
            Err(StoreError::Full | StoreError::Index { .. }) => {
                writer.is_short = true;
                Ok(Upkeep { room: Room { level: Level::Full, ..room }, busy: false, damages })
            }
            Err(error) => Err(self.explained(error)),
        }
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.latching(|| self.check_places())
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask_for_start(|index| index.get(&keys::index_key(Table::Facts, name.as_bytes())))
    }

    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let key = keys::index_key(Table::Facts, name.as_bytes());
        let state = (key, Some(value.to_vec()));
        let (kind, payload) = record::encode_state(&state);
        let mut writer = self.writer();
        let outcome = self.with_index(&mut writer, |writer, index| {
            let bytes = HEAD_BYTES + payload.len() + COMMIT_BYTES;
            self.make_room(writer, index, bytes, UPKEEP_SPARES)?;
            let mut group = self.group(writer);
            group.push(kind, &[&payload]);
            self.write_flushed(writer, group)?;
            let position = writer.position(self.salt);
            let mut applier = Applier::new(index, &mut writer.usage);
            applier.set(&state.0, state.1.as_deref())?;
            applier.finish(position)
        });
        writer.is_short |= outcome == Err(StoreError::Full);
        outcome.map_err(|error| self.explained(error))
    }
}

/// What the index must know of a write's frame.
#[derive(Debug)]
enum Framed {
    /// Of a batch or a compacted range.
    Stored(Entry),
    Quarantine(Option<Place>),
    Drop,
    State(StateEntry),
}

fn apply(applier: &mut Applier<'_>, write: &Write, framed: Framed) -> Result<(), StoreError> {
    match (write, framed) {
        (Write::Append { batch, log }, Framed::Stored(entry)) => {
            let place = Place::of(batch);
            applier.insert(&place, &entry)?;
            applier.set_log(place.topic, place.log, Some(log));
        }
        (Write::Compact { topic, part, log }, Framed::Stored(entry)) => {
            applier.compact(&Place::of_part(*topic, part), &entry)?;
            applier.set_log(*topic, part.log, Some(log));
        }
        (Write::Drop { topic, log_id, from, to, log }, Framed::Drop) => {
            applier.set_log(*topic, *log_id, log.as_ref());
            applier.drop_records(*topic, *log_id, *from..*to, log.as_ref())?;
        }
        (Write::Quarantine { damage, log }, Framed::Quarantine(removed)) => {
            if let Some(place) = removed {
                applier.remove(&place)?;
            }
            applier.set_log(damage.topic, damage.log, Some(log));
        }
        (_, Framed::State((key, value))) => applier.set(&key, value.as_deref())?,
        (write, framed) => unreachable!("{write:?} has no {framed:?}"),
    }
    Ok(())
}

/// At least as many bytes as the frame of a write has.
fn bytes_bound(write: &Write) -> usize {
    /// Key, numbers and a log with all the spans that it may have.
    const OTHERS: usize = 12 * 1024;
    let payload = match write {
        Write::Append { batch, .. } if batch.is_of_branch() => {
            BATCH_START_BYTES + batch.bytes().len() + HEAD_BYTES + OTHERS
        }
        Write::Append { batch, .. } => BATCH_START_BYTES + batch.bytes().len(),
        Write::Fork(proof) => OTHERS + proof.bytes().len(),
        Write::Descriptor(_, descriptor) => OTHERS + descriptor.bytes().len(),
        Write::Statement { statement, .. } => {
            OTHERS + statement.as_ref().map_or(0, |statement| statement.bytes().len())
        }
        Write::Subscription { subscription, .. } => {
            OTHERS + subscription.as_ref().map_or(0, |kept| keys::encode(kept).len())
        }
        Write::Step { step, .. } => {
            OTHERS + step.as_ref().map_or(0, |step| keys::encode(step).len())
        }
        Write::Contact(contact) => OTHERS + keys::encode(contact).len(),
        Write::Compact { .. } => OTHERS + COMPACTED_BYTES_MAX,
        Write::Drop { .. } | Write::Quarantine { .. } | Write::Outbox { .. } | Write::Forget(_) => {
            OTHERS
        }
    };
    HEAD_BYTES + payload
}

fn decode<T: for<'b> minicbor::Decode<'b, ()>>(value: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(value).map_err(|_malformed| malformed())
}

const _: () = {
    assert!(SEGMENT_BYTES > 4 * antiphon::limits::BATCH_BYTES_MAX, "a batch fits any segment");
    assert!(SEGMENT_BYTES < recovery::SEGMENT_BYTES_MAX, "a segment is read whole");
};
