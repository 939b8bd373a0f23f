//! What is read back: pages, checks, and the slow walk over all that is stored.
//!
//! Each batch is checked twice when it is read: its frame against the checksum, which covers the
//! signature too, and header and body against the hashes that the writer signed. The index says
//! everything about a compacted range but the names of its batches.

use std::io;

use antiphon::{
    engine::{Damage, Early, Log, Part, Parts, Stored},
    model::{Batch, Position, TopicId},
    wire::{Checked, CheckedBatch, LogRange},
};
use bytes::Bytes;

use super::{
    SegmentStore,
    files::io_error,
    frame::{HEAD_BYTES, Head, Kind},
    index::{Batches, Index, malformed},
    record::{BATCH_START_BYTES, decode_compacted},
};
use crate::store::{
    Checking, Reading, ScrubPosition, Scrubbed, StoreError,
    keys::{self, Entry, Place},
    merge::{Loaded, Walk, merge},
};

/// Bytes of the frame of the largest batch. An index that says more is not believed.
pub(super) const FRAME_BYTES_MAX: usize =
    HEAD_BYTES + BATCH_START_BYTES + antiphon::limits::BATCH_BYTES_MAX;

/// How often a batch that was moved meanwhile is looked up again.
pub(super) const ATTEMPTS_MAX: usize = 4;

impl SegmentStore {
    pub(super) fn read_page(
        &self,
        index: &Index,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Result<Reading, StoreError> {
        let mut logs = Vec::with_capacity(ranges.len());
        for range in ranges {
            logs.push((*range, self.walk(index, topic, range)?));
        }
        let mut reading = merge(logs, early, bytes_max)?;
        reading.page.headers = self.read_headers(index, topic, ranges)?;
        Ok(reading)
    }

    fn walk<'a>(
        &'a self,
        index: &'a Index,
        topic: TopicId,
        range: &LogRange,
    ) -> Result<SegmentWalk<'a>, StoreError> {
        let start = index.last_batch_at(topic, range.log, range.from)?;
        let first = start.map_or(range.from, |(place, _)| place.first);
        let rest = index.batches_from(topic, range.log, first);
        Ok(SegmentWalk { store: self, index, rest, last: None })
    }

    pub(super) fn check_range(
        &self,
        index: &Index,
        topic: TopicId,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Checking, StoreError> {
        let mut walk = self.walk(index, topic, range)?;
        let mut checking = Checking {
            checked: Checked { to: range.from, ..Checked::default() },
            damages: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(Stored { part, .. }) = walk.next()? {
            if part.first >= range.to {
                break;
            }
            if part.next <= range.from {
                continue;
            }
            if bytes >= bytes_max && bytes > 0 {
                return Ok(checking);
            }
            bytes += walk.length();
            let checked = &mut checking.checked;
            match walk.load()? {
                Loaded::Batch(batch) => checked.batches.push(CheckedBatch {
                    first: part.first,
                    next: part.next,
                    hash: batch.hash(),
                }),
                Loaded::Compacted(part) => checked.compacted.push(part),
                Loaded::Gone => {}
                Loaded::Damaged(damage) => {
                    let (log, from, to) = (damage.log, damage.first, damage.next);
                    checked.damaged.push(LogRange { log, from, to });
                    checking.damages.push(damage);
                }
            }
            checking.checked.to = part.next;
        }
        checking.checked.to = checking.checked.to.max(range.to);
        Ok(checking)
    }

    pub(super) fn scrub_on(
        &self,
        index: &Index,
        after: Option<ScrubPosition>,
        bytes_max: usize,
    ) -> Result<Scrubbed, StoreError> {
        let mut scrubbed = Scrubbed { next: None, bytes: 0, damages: Vec::new() };
        for batch in index.batches_behind(after.as_ref().map(|position| &position.0)) {
            let (place, entry) = batch?;
            scrubbed.bytes += entry.length as usize;
            if let Loaded::Damaged(damage) = self.load(index, &place, entry)? {
                scrubbed.damages.push(damage);
            }
            if scrubbed.bytes >= bytes_max {
                scrubbed.next = Some(ScrubPosition(place));
                break;
            }
        }
        Ok(scrubbed)
    }

    /// Reads a batch that the index lists, or a compacted range.
    pub(super) fn load(
        &self,
        index: &Index,
        place: &Place,
        mut entry: Entry,
    ) -> Result<Loaded, StoreError> {
        let mut reason = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.load_at(place, &entry)? {
                Ok(loaded) => return Ok(loaded),
                Err(why) => reason = why,
            }
            // It may have been moved, or removed, and its segment deleted.
            match index.entry(place)? {
                None => return Ok(Loaded::Gone),
                Some(now) if now == entry => break,
                Some(now) => entry = now,
            }
        }
        let path = self.files.path(entry.segment);
        tracing::warn!(path = %path.display(), offset = entry.offset, log = ?place.log, at = place.first, reason, "a damaged batch is not served");
        let first = held_from(index, place, &entry)?;
        let previous = match first.checked_sub(1) {
            Some(before) => index.last_batch_at(place.topic, place.log, before)?,
            None => None,
        };
        let previous = previous.filter(|(previous, _)| previous.next == first);
        Ok(Loaded::Damaged(Damage {
            topic: place.topic,
            log: place.log,
            first,
            next: place.next,
            hash: entry.hash,
            previous: previous.map(|(previous, entry)| (entry.hash, previous.stamp)),
        }))
    }

    /// Reads a batch at its place, or says what is wrong with the bytes there.
    fn load_at(&self, place: &Place, entry: &Entry) -> Result<Result<Loaded, String>, StoreError> {
        let length = entry.length as usize;
        if !(HEAD_BYTES + BATCH_START_BYTES..=FRAME_BYTES_MAX).contains(&length) {
            return Ok(Err("the index gives it a length that no batch has".to_owned()));
        }
        let bytes = match self.files.read(entry.segment, entry.offset.into(), length) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if is_missing(&error) => return Ok(Err(error.to_string())),
            Err(error) => return Err(io_error("reading a batch", &error)),
        };
        let payload = bytes.slice(HEAD_BYTES..);
        let is_whole = Head::decode(&bytes, self.salt).is_some_and(|head| {
            head.kind == if entry.is_compacted { Kind::Compacted } else { Kind::Batch }
                && head.segment == entry.segment
                && head.fits(&payload, self.salt)
        });
        if !is_whole {
            return Ok(Err("its frame is damaged".to_owned()));
        }
        if entry.is_compacted {
            let expected = (place.topic, entry.stored(place).part);
            return Ok(match decode_compacted(&payload) {
                Some((topic, part)) if (topic, part.unnamed()) == expected => {
                    Ok(Loaded::Compacted(part))
                }
                _ => Err("another part is in its place".to_owned()),
            });
        }
        Ok(match Batch::restore(payload.slice(BATCH_START_BYTES..), entry.hash) {
            // The place says where it is filed.
            Ok(batch) => match batch.filed(place.log.incarnation) {
                batch if Place::of(&batch) == *place => Ok(Loaded::Batch(batch)),
                _ => Err("another batch is in its place".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        })
    }
}

/// Whether bytes are gone, and not out of reach for now. A bad sector, or one that fails the file
/// system's own checksum, shows as an I/O error of the device.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Goes through one log by the index.
struct SegmentWalk<'a> {
    store: &'a SegmentStore,
    index: &'a Index,
    rest: Batches,
    /// The batch that was told last.
    last: Option<(Place, Entry)>,
}

impl SegmentWalk<'_> {
    /// Bytes of the batch that was told last.
    fn length(&self) -> usize {
        self.last.map_or(0, |(_, entry)| entry.length as usize)
    }
}

impl Walk for SegmentWalk<'_> {
    fn next(&mut self) -> Result<Option<Stored>, StoreError> {
        self.last = self.rest.next().transpose()?;
        Ok(self.last.map(|(place, entry)| entry.stored(&place)))
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let (place, entry) = self.last.expect("a batch is loaded after it was told");
        self.store.load(self.index, &place, entry)
    }
}

/// From which record on a batch or a range counts: retention may have cut a compacted range in two.
fn held_from(index: &Index, place: &Place, entry: &Entry) -> Result<u64, StoreError> {
    if !entry.is_compacted {
        return Ok(place.first);
    }
    let log = index.get(&keys::log_key(place.topic, place.log))?;
    let log = log.map(|log| minicbor::decode::<Log>(&log).map_err(|_malformed| malformed()));
    let low = log.transpose()?.map_or(0, |log| log.low);
    Ok(if low < place.next { place.first.max(low) } else { place.first })
}

/// How much is stored of ranges of logs, by the index alone.
pub(super) fn measure_on(
    index: &Index,
    topic: TopicId,
    ranges: &[LogRange],
) -> Result<Vec<Part>, StoreError> {
    let mut parts = Parts::default();
    for range in ranges {
        let places =
            Place::floor(topic, range.log, range.from)..=Place::floor(topic, range.log, range.to);
        for batch in index.batches(places) {
            let (place, entry) = batch?;
            parts.push(Part {
                log: range.log,
                first: place.first,
                end: Position { next: place.next, head: Some(entry.hash) },
                bytes: u64::from(entry.length),
                records: place.next.saturating_sub(place.first),
                stamp: place.stamp,
            });
        }
    }
    Ok(parts.into_vec())
}
