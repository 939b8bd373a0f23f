//! What compaction leaves of the batches that it deleted.

use std::{collections::BTreeMap, fmt};

use minicbor::{Decode, Encode};

use super::{Batch, Hash, LogId, Stamp};
use crate::limits::COMPACTED_HASHES_MAX;

/// A range of a log without its batches: all of their records have a newer record of the same key.
/// It counts as held. The batch that follows stays, and names the end of the range, so the chain of
/// the log continues over it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Compacted {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// Sequence number of its first record.
    #[n(1)]
    pub first: u64,
    /// Sequence number after its last record.
    #[n(2)]
    pub next: u64,
    /// The batch before it; none at the start of the log.
    #[n(3)]
    pub base: Option<Hash>,
    /// Its last batch.
    #[n(4)]
    pub head: Hash,
    /// When its last batch was sealed.
    #[n(5)]
    pub stamp: Stamp,
    /// The names of its newest batches, up to [`COMPACTED_HASHES_MAX`], the last one at the end. A
    /// node that still has one of them recognises it by its name.
    #[n(6)]
    #[cbor(decode_with = "hashes")]
    pub batches: Vec<ShortHash>,
}

/// The first bytes of a batch's hash. They distinguish it from a batch that a cloned key, or
/// chance, has put in its place. Nobody can make another batch that has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct ShortHash(#[cbor(with = "minicbor::bytes")] [u8; 16]);

impl ShortHash {
    /// Bytes of one.
    pub const BYTES: usize = 16;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// From the bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for ShortHash {
    fn from(hash: Hash) -> Self {
        let (start, _) = hash.0.split_first_chunk().expect("32 bytes are more than 16");
        Self(*start)
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// At most [`COMPACTED_HASHES_MAX`] of them.
fn hashes<C>(
    decoder: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<Vec<ShortHash>, minicbor::decode::Error> {
    match decoder.array()? {
        Some(length) if length <= COMPACTED_HASHES_MAX as u64 => {
            (0..length).map(|_| ShortHash::decode(decoder, context)).collect()
        }
        Some(_) | None => Err(minicbor::decode::Error::message("more batches than are told of")),
    }
}

impl fmt::Debug for Compacted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, first, next, base, head, batches, .. } = self;
        let named = batches.len();
        write!(formatter, "{log:?}[{first}..{next}] {base:?} to {head:?}, {named} named")
    }
}

impl Compacted {
    /// Ranges by their log and the record that follows them.
    pub fn by_end(parts: &[Self]) -> BTreeMap<(LogId, u64), &Self> {
        parts.iter().map(|part| ((part.log, part.next), part)).collect()
    }

    /// Both as one range, if one follows the other.
    #[must_use]
    pub fn joined(&self, after: &Self) -> Option<Self> {
        let follows =
            self.log == after.log && self.next == after.first && after.base == Some(self.head);
        follows.then(|| {
            let mut joined = Self { first: self.first, base: self.base, ..after.clone() };
            joined.batches.clear();
            joined.name(self.batches.iter().chain(&after.batches).copied());
            joined
        })
    }

    /// Adds names of batches, behind those that it has. Of too many, the newest stay.
    fn name(&mut self, batches: impl IntoIterator<Item = ShortHash>) {
        self.batches.extend(batches);
        let too_many = self.batches.len().saturating_sub(COMPACTED_HASHES_MAX);
        self.batches.drain(..too_many);
    }

    /// The same range in the place of batches and smaller ranges, whose names are given in order.
    /// Where there was nothing, it keeps the names that it had.
    #[must_use]
    pub fn in_place_of(&self, names: Vec<ShortHash>) -> Self {
        if names.is_empty() {
            return self.clone();
        }
        let mut part = self.unnamed();
        part.name(names);
        part
    }

    /// The same without the names of its batches.
    #[must_use]
    pub fn unnamed(&self) -> Self {
        Self { batches: Vec::new(), ..self.clone() }
    }

    /// Whether a batch is named: it was compacted here.
    pub fn names(&self, batch: Hash) -> bool {
        batch == self.head || self.batches.contains(&batch.into())
    }

    /// Whether a batch may have been compacted here: it is named, or there were more than can be
    /// named.
    pub fn may_hold(&self, batch: Hash) -> bool {
        self.batches.len() >= COMPACTED_HASHES_MAX || self.names(batch)
    }

    /// Whether a batch follows it, and names its last batch.
    pub fn precedes(&self, batch: &Batch) -> bool {
        let header = batch.header();
        self.first < self.next
            && (self.log, self.next) == (batch.log(), header.first)
            && header.previous.is_some_and(|previous| previous.hash == self.head)
    }

    /// Whether a record lies in it.
    pub fn covers(&self, log: &LogId, at: u64) -> bool {
        self.log == *log && self.first <= at && at < self.next
    }
}
