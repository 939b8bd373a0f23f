//! Space comes back.
//!
//! A segment of which nothing is used any more is deleted. A segment that is less than half used is
//! compacted; so is any other one if there is no room for records, see `squeeze`. What is used is
//! copied to the end of the store, as new frames of the same bytes. The index then points there,
//! and nothing of the old segment is used any more.
//!
//! - Only segments before the older one of the two newest checkpoints are deleted, see
//!   `checkpoint`.
//! - The copies are flushed before the index points to them. After a crash in between there are
//!   two copies, and the later one counts.
//! - The index is flushed before a segment is deleted, so it never comes back to a state that
//!   needs the frames of that segment.
//! - Compacted ranges are copied as batches are.
//! - Each batch is checked before it is copied. A damaged one stays where it is, and the segment
//!   with it, until it is quarantined. A damaged header is forgotten.
//! - Of a trimmed batch only the header is copied, so its body is deleted.

use antiphon::model::{Batch, Compacted, SignedHeader, TopicId};
use bytes::Bytes;

use super::{
    SegmentStore,
    active::{Active, Writer},
    changes::Applier,
    frame::{Found, Frame, HEAD_BYTES, Kind, Scan},
    group::COMMIT_BYTES,
    headers::{forget_headers_in, header_in},
    index::Index,
    record::{BATCH_START_BYTES, OPENING_BYTES, Record, batch_start, header_start},
    recovery::SEGMENT_BYTES_MAX,
};
use crate::store::{
    StoreError,
    keys::{Entry, Place},
};

/// A segment is compacted when less than this part of it is used: one half.
const USED_PART: u64 = 2;

/// The part of a segment that is gone through at a time: one or two flushes.
const STEP_PART: usize = 16;

/// A compaction that is under way. It has the segment in memory; there is one at a time.
#[derive(Debug)]
pub(super) struct Compaction {
    pub(super) segment: u32,
    pub(super) bytes: Bytes,
    at: usize,
    last: u64,
}

/// What of a segment is of use.
#[derive(Debug)]
pub(super) enum Used {
    Batch(Place, Batch),
    Header(Place, SignedHeader),
    Compacted(TopicId, Compacted),
}

impl Used {
    /// Bytes of the frame of its copy, where `frame` is that of the original.
    pub(super) fn frame_bytes(&self, frame: &Frame<'_>) -> usize {
        match self {
            Self::Header(_, header) => HEAD_BYTES + BATCH_START_BYTES + header.bytes().len(),
            Self::Batch(..) | Self::Compacted(..) => frame.head.frame_bytes(),
        }
    }
}

/// What of a frame the index still points to.
pub(super) fn used(
    index: &Index,
    bytes: &Bytes,
    frame: &Frame<'_>,
) -> Result<Option<Used>, StoreError> {
    let is_here = |entry: Option<Entry>| {
        let here = (frame.head.segment, frame.offset);
        entry.is_some_and(|entry| (entry.segment, entry.offset as usize) == here)
    };
    let record = Record::decode(frame);
    if let Some(Record::Compacted { topic, part }) = record {
        let is_used = is_here(index.entry(&Place::of_part(topic, &part))?);
        return Ok(is_used.then_some(Used::Compacted(topic, part)));
    }
    if let Some(Record::Batch { hash, filed, bytes: payload }) = record
        && let Ok(batch) = Batch::restore(bytes.slice_ref(payload), hash)
        && let batch = batch.filed(filed)
        && let place = Place::of(&batch)
        && is_here(index.entry(&place)?)
    {
        return Ok(Some(Used::Batch(place, batch)));
    }
    let Some(header) = header_in(bytes, frame) else {
        return Ok(None);
    };
    let place = Place::of_header(&header);
    Ok(is_here(index.header(&place)?).then_some(Used::Header(place, header)))
}

impl SegmentStore {
    /// Deletes what is not used any more. Whether anything was.
    pub(super) fn delete_unused(
        &self,
        writer: &mut Writer,
        index: &Index,
    ) -> Result<bool, StoreError> {
        let oldest_needed = writer.checkpoints[1];
        let unused = writer.usage.range(..oldest_needed).filter(|(_, live)| **live == 0);
        let unused: Vec<_> = unused.map(|(segment, _)| *segment).collect();
        if unused.is_empty() {
            return Ok(false);
        }
        index.flush()?;
        let position = writer.position(self.salt);
        let mut applier = Applier::new(index, &mut writer.usage);
        let mut is_any = false;
        for segment in unused {
            match self.files.remove(segment) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(segment, %error, "a segment that is not used cannot be deleted");
                }
                Ok(()) | Err(_) => {
                    applier.forget_segment(segment);
                    is_any = true;
                }
            }
        }
        applier.finish(position)?;
        let Writer { ends, usage, .. } = writer;
        ends.retain(|segment, _| usage.contains_key(segment));
        Ok(is_any)
    }

    /// Does a bounded part of a compaction. Whether there is more to do.
    pub(super) fn compact(&self, writer: &mut Writer, index: &Index) -> Result<bool, StoreError> {
        if writer.is_short {
            return self.squeeze(writer, index);
        }
        let Some(compaction) = writer.compaction.take().or_else(|| self.begin(writer)) else {
            return Ok(false);
        };
        // Without room the rest waits, and is begun anew.
        if let Some(rest) = self.step(writer, index, compaction)? {
            writer.compaction = Some(rest);
        }
        Ok(true)
    }

    /// Chooses the segment of which least is used.
    fn begin(&self, writer: &Writer) -> Option<Compaction> {
        let size = self.options.segment_bytes as u64;
        let sealed = writer.usage.range(..writer.checkpoints[1]);
        let little = sealed.filter(|(segment, live)| {
            **live > 0 && **live * USED_PART < size && writer.stuck.get(segment) != Some(live)
        });
        let (segment, _) = little.min_by_key(|(_, live)| **live)?;
        Some(self.begin_with(*segment))
    }

    pub(super) fn begin_with(&self, segment: u32) -> Compaction {
        let bytes = match self.files.read_all(segment, SEGMENT_BYTES_MAX) {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                tracing::warn!(segment, %error, "a segment cannot be compacted");
                Bytes::new()
            }
        };
        Compaction { segment, bytes, at: OPENING_BYTES, last: 0 }
    }

    /// Moves the next part of what is used; what is left to do.
    pub(super) fn step(
        &self,
        writer: &mut Writer,
        index: &Index,
        mut compaction: Compaction,
    ) -> Result<Option<Compaction>, StoreError> {
        let Compaction { segment, ref bytes, at, last } = compaction;
        let mut moving = Vec::new();
        let step_bytes = self.options.segment_bytes / STEP_PART;
        let (mut frames_bytes, mut room) = (COMMIT_BYTES, 0);
        let mut is_through = true;
        for found in Scan::new(bytes, self.salt, segment, at, last) {
            let frame = match found {
                Found::Damaged(range) => {
                    compaction.at = range.end;
                    continue;
                }
                Found::Frame(frame) => frame,
            };
            if let Some(used) = used(index, bytes, &frame)? {
                let length = used.frame_bytes(&frame);
                if moving.is_empty() {
                    self.make_room(writer, index, COMMIT_BYTES + length, 0)?;
                    room = writer.active.as_ref().map_or(0, Active::rest);
                }
                if frames_bytes + length > room {
                    is_through = false;
                    break;
                }
                frames_bytes += length;
                moving.push(used);
            }
            (compaction.at, compaction.last) = (frame.end(), frame.head.number);
            if compaction.at - at >= step_bytes {
                is_through = false;
                break;
            }
        }
        if !moving.is_empty() {
            self.copy(writer, index, moving)?;
        }
        if !is_through {
            return Ok(Some(compaction));
        }
        let live = |writer: &Writer| writer.usage.get(&segment).copied().unwrap_or_default();
        if live(writer) > 0 {
            forget_headers_in(writer, index, self.salt, segment)?;
        }
        let live = live(writer);
        if live > 0 {
            tracing::warn!(path = %self.files.path(segment).display(), live, "a segment has batches that cannot be moved");
            writer.stuck.insert(segment, live);
        }
        Ok(None)
    }

    fn copy(
        &self,
        writer: &mut Writer,
        index: &Index,
        moving: Vec<Used>,
    ) -> Result<(), StoreError> {
        let mut group = self.group(writer);
        let (mut batches, mut headers) = (Vec::new(), Vec::new());
        for used in moving {
            match used {
                Used::Batch(place, batch) => {
                    let start = batch_start(&batch);
                    let offset = group.push_shared(Kind::Batch, &start, batch.bytes());
                    batches.push((place, group.entry(offset, &batch)));
                }
                Used::Compacted(topic, part) => {
                    let entry = group.push_compacted(topic, &part);
                    batches.push((Place::of_part(topic, &part), entry));
                }
                Used::Header(place, header) => {
                    let start = header_start(&header);
                    let offset = group.push_shared(Kind::Header, &start, header.bytes());
                    headers.push((place, group.header_entry(offset, &header)));
                }
            }
        }
        self.write_flushed(writer, group)?;
        let position = writer.position(self.salt);
        let mut applier = Applier::new(index, &mut writer.usage);
        for (place, entry) in batches {
            applier.insert(&place, &entry)?;
        }
        for (place, entry) in headers {
            applier.insert_header(&place, &entry)?;
        }
        applier.finish(position)
    }
}
