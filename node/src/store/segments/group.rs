//! The frames of one group, laid out for one write.
//!
//! A group is closed by a `Commit` frame: number of the group's first frame 8, offset of that
//! frame 4, 2 if the group is a checkpoint and else 1.

use antiphon::model::{Batch, Compacted, SignedHeader, TopicId};
use bytes::Bytes;

use super::{
    files::Part,
    frame::{HEAD_BYTES, Head, Kind},
    record::{BATCH_START_BYTES, encode_compacted},
};
use crate::store::keys::{Entry, take};

/// Batches up to this many bytes are copied: a slice of its own costs more.
const COPIED_BYTES_MAX: usize = 2 * 1024;

/// Bytes of the frame that closes a group.
pub(super) const COMMIT_BYTES: usize = HEAD_BYTES + COMMIT_PAYLOAD_BYTES;

const COMMIT_PAYLOAD_BYTES: usize = 13;

/// What the closing frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Number of the group's first frame.
    pub(super) first: u64,
    /// Where that frame is.
    pub(super) offset: u32,
    /// Whether the group is a checkpoint.
    pub(super) is_checkpoint: bool,
}

impl Commit {
    fn encode(self) -> [u8; COMMIT_PAYLOAD_BYTES] {
        let mut payload = [0; COMMIT_PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&self.first.to_be_bytes());
        payload[8..12].copy_from_slice(&self.offset.to_be_bytes());
        payload[12] = 1 + u8::from(self.is_checkpoint);
        payload
    }

    pub(super) fn decode(mut payload: &[u8]) -> Option<Self> {
        let first = u64::from_be_bytes(take(&mut payload)?);
        let offset = u32::from_be_bytes(take(&mut payload)?);
        let [is_checkpoint] = take(&mut payload)?;
        payload.is_empty().then_some(Self { first, offset, is_checkpoint: is_checkpoint == 2 })
    }
}

/// Frames that are written and flushed together.
#[derive(Debug)]
pub(super) struct Group {
    salt: u64,
    segment: u32,
    /// Where the first frame will be.
    offset: usize,
    /// Its number, and the next one's.
    first: u64,
    next: u64,
    bytes: usize,
    /// All but the bodies.
    pub(super) own: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

impl Group {
    pub(super) fn new(salt: u64, segment: u32, offset: usize, first: u64) -> Self {
        let (own, parts) = (Vec::new(), Vec::new());
        Self { salt, segment, offset, first, next: first, bytes: 0, own, parts }
    }

    /// Adds a frame; where it will be.
    pub(super) fn push(&mut self, kind: Kind, payload: &[&[u8]]) -> usize {
        let offset = self.head(kind, payload);
        for part in payload {
            self.own.extend_from_slice(part);
        }
        offset
    }

    /// Adds a frame of which the second part may be large and is not copied then.
    pub(super) fn push_shared(&mut self, kind: Kind, start: &[u8], rest: &Bytes) -> usize {
        if rest.len() <= COPIED_BYTES_MAX {
            return self.push(kind, &[start, rest]);
        }
        let offset = self.head(kind, &[start, rest]);
        self.own.extend_from_slice(start);
        self.parts.push(Part::Own(self.own.len()));
        self.parts.push(Part::Shared(rest.clone()));
        offset
    }

    fn head(&mut self, kind: Kind, payload: &[&[u8]]) -> usize {
        let head = Head::new(kind, self.segment, self.next, self.salt, payload);
        self.own.extend_from_slice(&head.encode(self.salt));
        self.next += 1;
        let offset = self.end();
        self.bytes += head.frame_bytes();
        offset
    }

    /// Closes it.
    pub(super) fn close(&mut self, is_checkpoint: bool) {
        let offset = u32::try_from(self.offset).expect("a segment is smaller than 4 GiB");
        let commit = Commit { first: self.first, offset, is_checkpoint };
        self.push(Kind::Commit, &[&commit.encode()]);
        self.parts.push(Part::Own(self.own.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The entry of a batch whose frame is at an offset.
    pub(super) fn entry(&self, offset: usize, batch: &Batch) -> Entry {
        let length = HEAD_BYTES + BATCH_START_BYTES + batch.bytes().len();
        Entry::of(batch, self.segment, offset, length)
    }

    /// The entry of a header whose frame is at an offset.
    pub(super) fn header_entry(&self, offset: usize, header: &SignedHeader) -> Entry {
        let length = HEAD_BYTES + BATCH_START_BYTES + header.bytes().len();
        Entry::of_header(header, self.segment, offset, length)
    }

    /// Adds what keeps the place of a compacted part; its entry.
    pub(super) fn push_compacted(&mut self, topic: TopicId, part: &Compacted) -> Entry {
        let payload = encode_compacted(topic, part);
        let offset = self.push(Kind::Compacted, &[&payload]);
        Entry::of_part(part, self.segment, offset, HEAD_BYTES + payload.len())
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The offset behind its last frame.
    pub(super) fn end(&self) -> usize {
        self.offset + self.bytes
    }

    /// The number that the next frame has.
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}
