//! Headers of trimmed batches.
//!
//! A header is no batch. No answer counts it as held. It is read for one purpose, to compare
//! chains, and a damaged one is forgotten. In the index it has the entry that its batch had, in a
//! table of its own. The entry points to the batch's frame first. When the segment is compacted,
//! the header is copied without its body.
//!
//! Which headers are kept follows from what is held of their log, see [`Log::keeps_header`], and
//! checkpoints have that. So a rebuilt index has the same headers.
//!
//! [`Log::keeps_header`]: antiphon::engine::Log::keeps_header

use antiphon::{
    limits::HEADERS_PER_PAGE_MAX,
    model::{Batch, LogId, SignedHeader, TopicId},
    wire::LogRange,
};
use bytes::Bytes;

use super::{
    SegmentStore,
    active::Writer,
    changes::Applier,
    files::io_error,
    frame::{Frame, HEAD_BYTES, Head},
    index::Index,
    reading::{ATTEMPTS_MAX, FRAME_BYTES_MAX, is_missing},
    record::Record,
};
use crate::store::{
    StoreError,
    keys::{Entry, Place},
};

impl SegmentStore {
    /// The kept headers of the batches that had certain records: of those ranges that are a single
    /// one.
    pub(super) fn read_headers(
        &self,
        index: &Index,
        topic: TopicId,
        ranges: &[LogRange],
    ) -> Result<Vec<SignedHeader>, StoreError> {
        let mut headers: Vec<SignedHeader> = Vec::new();
        for range in ranges {
            let Some(at) = range.as_position() else { continue };
            if headers.len() >= HEADERS_PER_PAGE_MAX {
                break;
            }
            let is_told =
                |told: &SignedHeader| told.log() == range.log && told.header().next() > at;
            // Of neighbours that one batch had it is told once.
            if !headers.last().is_some_and(is_told) {
                headers.extend(self.header_at(index, topic, range.log, at)?);
            }
        }
        Ok(headers)
    }

    fn header_at(
        &self,
        index: &Index,
        topic: TopicId,
        log: LogId,
        at: u64,
    ) -> Result<Option<SignedHeader>, StoreError> {
        // It may be moved while it is read.
        for _ in 0..ATTEMPTS_MAX {
            let found = index.last_header_at(topic, log, at)?;
            let Some((place, entry)) = found.filter(|(place, _)| place.next > at) else {
                return Ok(None);
            };
            if let Some(header) = self.load_header(&place, &entry)? {
                return Ok(Some(header));
            }
        }
        tracing::warn!(?log, at, "the header of a batch that was let go cannot be read any more");
        Ok(None)
    }

    /// Reads a header where its entry says, if it is there.
    fn load_header(
        &self,
        place: &Place,
        entry: &Entry,
    ) -> Result<Option<SignedHeader>, StoreError> {
        let length = entry.length as usize;
        if length > FRAME_BYTES_MAX {
            return Ok(None);
        }
        let bytes = match self.files.read(entry.segment, entry.offset.into(), length) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(io_error("reading a header", &error)),
        };
        let whole = Head::decode(&bytes, self.salt).and_then(|head| {
            let payload = bytes.get(HEAD_BYTES..)?;
            let is_there = head.segment == entry.segment && head.fits(payload, self.salt);
            is_there.then_some(Frame { head, offset: entry.offset as usize, payload })
        });
        let header = whole.and_then(|frame| header_in(&bytes, &frame));
        Ok(header
            .filter(|header| header.hash() == entry.hash && Place::of_header(header) == *place))
    }
}

/// The header that a frame has, of a batch or alone.
pub(super) fn header_in(bytes: &Bytes, frame: &Frame<'_>) -> Option<SignedHeader> {
    match Record::decode(frame)? {
        Record::Batch { hash, filed, bytes: payload } => {
            let batch = Batch::restore(bytes.slice_ref(payload), hash).ok()?;
            Some(SignedHeader::of(&batch.filed(filed)))
        }
        Record::Header { hash, filed, bytes: payload } => {
            let header = SignedHeader::restore(bytes.slice_ref(payload), hash).ok()?;
            Some(header.filed(filed))
        }
        Record::State(_)
        | Record::Drop { .. }
        | Record::Quarantine { .. }
        | Record::Checkpoint(_)
        | Record::Compacted { .. }
        | Record::Mark => None,
    }
}

/// Forgets the headers of a segment that could not be moved: they are damaged, and nobody misses
/// them. Only after damage, for the index is gone through.
pub(super) fn forget_headers_in(
    writer: &mut Writer,
    index: &Index,
    salt: u64,
    segment: u32,
) -> Result<(), StoreError> {
    let position = writer.position(salt);
    let mut applier = Applier::new(index, &mut writer.usage);
    for header in index.all_headers() {
        let (place, entry) = header?;
        if entry.segment == segment {
            applier.remove_header(&place)?;
        }
    }
    applier.finish(position)
}
