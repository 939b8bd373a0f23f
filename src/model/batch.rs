//! Batches: the unit of signing, storing and sending.
//!
//! A batch is a CBOR array of three byte strings: the header as it was signed, the signature,
//! the body. These bytes are made once, by the writer, and are the same on the wire, on the
//! disk, in gossip and at the reader.
//!
//! A [`Batch`] has been verified. There are two ways to make one from bytes. [`Batch::verify`]
//! checks everything. [`Batch::restore`] checks the hashes of what this node verified before it
//! stored it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    Blob, Compression, Hash, Incarnation, LogId, NodeId, NodeKey, ProducerId, RecordError,
    RecordId, Records, Signature, Stamp, TopicId, decode_exact, encode_to_bytes, newer,
    validate_records,
};
use crate::limits::{
    BATCH_BODY_BYTES_MAX, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCH_RUNS_MAX, HEADER_BYTES_MAX,
    SEQUENCE_MAX,
};

/// The batch before this one. These links make a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Previous {
    /// The incarnation that it belongs to: an earlier one if this batch is the first of its own.
    #[n(0)]
    pub incarnation: Incarnation,
    /// The sequence number after its last record.
    #[n(1)]
    pub next: u64,
    /// Its hash.
    #[n(2)]
    pub hash: Hash,
}

/// Consecutive records of one producer within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    /// Who published them.
    #[n(0)]
    pub producer: ProducerId,
    /// The producer's number of the first one.
    #[n(1)]
    pub first: u64,
    /// How many there are.
    #[n(2)]
    pub count: u32,
}

/// What a writer signs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "super::Share")]
pub struct Header {
    /// Version of this encoding.
    #[n(0)]
    pub version: u8,
    /// The topic.
    #[n(1)]
    pub topic: TopicId,
    /// Who signs.
    #[n(2)]
    pub writer: NodeId,
    /// The writer's incarnation.
    #[n(3)]
    pub incarnation: Incarnation,
    /// Sequence number of the first record.
    #[n(4)]
    pub first: u64,
    /// Number of records, at least one.
    #[n(5)]
    pub count: u32,
    /// The batch before; none for the first batch that the writer knows.
    #[n(6)]
    pub previous: Option<Previous>,
    /// When it was sealed.
    #[n(7)]
    pub stamp: Stamp,
    /// Who published the records, in their order.
    #[n(8)]
    pub runs: Vec<Run>,
    /// BLAKE3 of the body as it is stored.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub body_hash: [u8; 32],
    /// Bytes of the body as it is stored.
    #[n(10)]
    pub body_bytes: u32,
    /// How the body is compressed.
    #[n(11)]
    pub compression: Compression,
    /// Id of the key that payloads are encrypted with; none if they are not.
    #[n(12)]
    pub encryption_key: Option<Blob>,
}

impl Header {
    /// The version of headers that this program writes.
    pub const VERSION: u8 = 1;

    /// The log that the batch belongs to.
    pub fn log(&self) -> LogId {
        LogId { writer: self.writer, incarnation: self.incarnation }
    }

    /// Sequence number after the last record.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The names of the records, in order.
    pub fn record_ids(&self) -> impl Iterator<Item = RecordId> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..u64::from(run.count)).map(move |offset| RecordId {
                producer: run.producer,
                number: run.first.saturating_add(offset),
            })
        })
    }

    /// Checks that a header agrees with itself.
    fn check(&self) -> Result<(), BatchError> {
        if self.count == 0 || self.count > BATCH_RECORDS_MAX {
            return Err(BatchError::Malformed("record count"));
        }
        if self.first > SEQUENCE_MAX || self.next() > SEQUENCE_MAX {
            return Err(BatchError::Malformed("sequence number"));
        }
        let named: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        let overflows =
            self.runs.iter().any(|run| run.first.checked_add(u64::from(run.count)).is_none());
        if self.runs.len() > BATCH_RUNS_MAX || named != u64::from(self.count) || overflows {
            return Err(BatchError::Malformed("producers"));
        }
        let chained = match self.previous {
            Some(previous) if previous.incarnation == self.incarnation => {
                previous.next == self.first
            }
            Some(_) | None => self.first == 0,
        };
        if chained { Ok(()) } else { Err(BatchError::Malformed("link to the batch before")) }
    }
}

/// Why bytes are no batch. Such bytes change nothing at the node that receives them.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BatchError {
    /// More bytes than any batch has.
    #[error("a batch of {0} bytes, more than the limit of {BATCH_BYTES_MAX}")]
    TooLarge(usize),
    /// Written by a newer program.
    #[error("a batch of version {0}, which this program does not know")]
    Version(u8),
    /// It has something that only a newer program knows.
    #[error("a batch with a {0} that this program does not know")]
    Newer(&'static str),
    /// The encoding, or what a field says, is wrong.
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
    /// A record in the body is wrong.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The body is not the one that was signed.
    #[error("the body of the batch is damaged")]
    Body,
    /// The body was signed and does not expand to what fits in a batch.
    #[error("the body of the batch is not compressed as it says")]
    Compression,
    /// The header is not the one that was stored.
    #[error("the header of the batch is damaged")]
    Header,
    /// The signature is not the writer's.
    #[error("the signature of the batch is not its writer's")]
    Signature,
}

impl BatchError {
    /// Whether a newer program may have made the batch, which this one does not understand.
    pub fn is_of_newer(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Newer(_))
    }
}

/// A verified batch. Cloning it copies a pointer.
///
/// It is filed under the log that its header names. If that log has forked, it is filed under the
/// log of its branch ([`Incarnation::of_branch`](super::Incarnation::of_branch)). The signed bytes
/// stay the same; the encoding names the branch beside them.
#[derive(Clone)]
pub struct Batch {
    parts: Arc<Parts>,
    /// The incarnation that it is filed under.
    filed: Incarnation,
}

struct Parts {
    header: Header,
    hash: Hash,
    bytes: Bytes,
    body: Bytes,
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "super::Share")]
pub(super) struct Envelope {
    #[n(0)]
    header: Blob,
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: Signature,
    #[n(2)]
    pub(super) body: Blob,
}

impl Envelope {
    pub(super) fn decode(bytes: &Bytes) -> Result<(Self, Header), BatchError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLarge(bytes.len()));
        }
        let envelope: Self =
            decode_exact(bytes).map_err(|_malformed| BatchError::Malformed("envelope"))?;
        if envelope.header.len() > HEADER_BYTES_MAX {
            return Err(BatchError::Malformed("header too large"));
        }
        let header = decode_exact(&envelope.header);
        // Most headers are read once: the second look is for what the first one cannot see.
        if !header.as_ref().is_ok_and(|header| newer::is_plain(&envelope.header, header)) {
            newer::check(&envelope.header)?;
        }
        let header: Header = header.map_err(|_malformed| BatchError::Malformed("header"))?;
        header.check()?;
        Ok((envelope, header))
    }

    /// The identity of the batch.
    pub(super) fn hash(&self) -> Hash {
        Hash(blake3::hash(&self.header).into())
    }

    pub(super) fn check_signature(&self, writer: NodeId) -> Result<(), BatchError> {
        if writer.verify(&signing_input(&self.header), &self.signature) {
            Ok(())
        } else {
            Err(BatchError::Signature)
        }
    }

    fn check_body(&self, header: &Header) -> Result<(), BatchError> {
        let length = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
        if self.body.len() != length || self.body.len() > BATCH_BODY_BYTES_MAX {
            return Err(BatchError::Malformed("body length"));
        }
        if *blake3::hash(&self.body).as_bytes() == header.body_hash {
            Ok(())
        } else {
            Err(BatchError::Body)
        }
    }
}

fn signing_input(header: &[u8]) -> Vec<u8> {
    [b"antiphon/batch/1\0", header].concat()
}

impl Batch {
    fn of(parts: Parts) -> Self {
        Self { filed: parts.header.incarnation, parts: Arc::new(parts) }
    }

    /// The same batch, filed under this incarnation.
    #[must_use]
    pub fn filed(mut self, incarnation: Incarnation) -> Self {
        self.filed = incarnation;
        self
    }

    /// The log that it is filed under.
    pub fn log(&self) -> LogId {
        LogId { writer: self.header().writer, incarnation: self.filed }
    }

    /// Whether it is part of a branch: its log has forked.
    pub fn is_of_branch(&self) -> bool {
        self.filed != self.header().incarnation
    }

    /// Whether it is the first batch of the branch that it is filed under.
    pub fn is_root(&self) -> bool {
        self.is_of_branch() && self.filed == Incarnation::of_branch(self.hash())
    }

    /// Signs a header that agrees with the body, which is compressed as the header says.
    pub(super) fn sign(header: Header, body: &Bytes, key: &NodeKey) -> Self {
        header.check().expect("a writer makes well-formed headers");
        let encoded = encode_to_bytes(&header);
        assert!(encoded.len() <= HEADER_BYTES_MAX, "a header is within its limit");
        let hash = Hash(blake3::hash(&encoded).into());
        let signature = key.sign(&signing_input(&encoded));
        let bytes = encode_to_bytes(&Envelope {
            header: Blob(encoded),
            signature,
            body: Blob(body.clone()),
        });
        // The body that is kept is the part of the batch, so that it is in memory once.
        let body = bytes.slice(bytes.len() - body.len()..);
        Self::of(Parts { header, hash, bytes, body })
    }

    /// Decodes a batch that came from elsewhere and checks all of it: bounds, signature, body
    /// and each record.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn verify(bytes: Bytes) -> Result<Self, BatchError> {
        let (envelope, header) = Envelope::decode(&bytes)?;
        envelope.check_body(&header)?;
        envelope.check_signature(header.writer)?;
        let records = header.compression.expand(&envelope.body).ok_or(BatchError::Compression)?;
        if validate_records(&records)? != header.count {
            return Err(BatchError::Malformed("record count"));
        }
        let hash = envelope.hash();
        Ok(Self::of(Parts { header, hash, bytes, body: envelope.body.0 }))
    }

    /// Decodes a batch that this node verified before it stored it under `hash`. The hashes of
    /// header and body show whether it is unchanged; the signature is not checked again.
    ///
    /// # Errors
    /// When the bytes have changed.
    pub fn restore(bytes: Bytes, hash: Hash) -> Result<Self, BatchError> {
        let (envelope, header) = Envelope::decode(&bytes)?;
        if envelope.hash() != hash {
            return Err(BatchError::Header);
        }
        envelope.check_body(&header)?;
        Ok(Self::of(Parts { header, hash, bytes, body: envelope.body.0 }))
    }

    /// What was signed.
    pub fn header(&self) -> &Header {
        &self.parts.header
    }

    /// The batch's identity: the hash of its encoded header.
    pub fn hash(&self) -> Hash {
        self.parts.hash
    }

    /// The batch as its writer encoded it.
    pub fn bytes(&self) -> &Bytes {
        &self.parts.bytes
    }

    /// The records as they were published, one after the other. A compressed body is expanded at
    /// each call, so that memory holds no more than the disk.
    pub fn records_bytes(&self) -> Bytes {
        let expanded = self.header().compression.expand(&self.parts.body);
        expanded.expect("a verified body is what its writer made")
    }

    /// The records.
    pub fn records(&self) -> Records {
        Records::new(self.records_bytes())
    }

    /// The records with their names and their sequence numbers.
    pub fn numbered_records(
        &self,
    ) -> impl Iterator<Item = (u64, RecordId, Result<super::Record, RecordError>)> + '_ {
        let numbers = self.header().first..;
        numbers
            .zip(self.header().record_ids())
            .zip(self.records())
            .map(|((number, id), record)| (number, id, record))
    }

    /// The header and its signature without the body. A large batch is gossiped like this.
    pub fn announcement(&self) -> Bytes {
        let envelope: Envelope =
            decode_exact(&self.parts.bytes).expect("a verified batch is well-formed");
        encode_to_bytes(&Envelope { body: Blob::default(), ..envelope })
    }
}

/// Decoding verifies, so that no code behind it meets an unverified batch.
impl<C: super::Share> Decode<'_, C> for Batch {
    fn decode(
        decoder: &mut minicbor::Decoder<'_>,
        source: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let (bytes, filed) = decode_filed(decoder, source)?;
        let batch = Self::verify(bytes.0).map_err(minicbor::decode::Error::custom)?;
        Ok(match filed {
            Some(incarnation) => batch.filed(incarnation),
            None => batch,
        })
    }
}

/// What was signed, and the incarnation of the branch if it is filed under one.
pub(super) fn decode_filed<C: super::Share>(
    decoder: &mut minicbor::Decoder<'_>,
    source: &mut C,
) -> Result<(Blob, Option<Incarnation>), minicbor::decode::Error> {
    let is_filed = decoder.datatype()? == minicbor::data::Type::Array;
    if is_filed && decoder.array()? != Some(2) {
        return Err(minicbor::decode::Error::message("a batch and where it is filed"));
    }
    let bytes = Blob::decode(decoder, source)?;
    let filed = is_filed.then(|| Incarnation::decode(decoder, source)).transpose()?;
    Ok((bytes, filed))
}

pub(super) fn encode_filed<C, W: minicbor::encode::Write>(
    bytes: &Bytes,
    filed: Option<Incarnation>,
    encoder: &mut minicbor::Encoder<W>,
    context: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    if let Some(incarnation) = filed {
        encoder.array(2)?.bytes(bytes)?;
        return incarnation.encode(encoder, context);
    }
    encoder.bytes(bytes)?.ok()
}

impl<C> Encode<C> for Batch {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let filed = self.is_of_branch().then_some(self.filed);
        encode_filed(self.bytes(), filed, encoder, context)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header();
        write!(formatter, "{:?}[{}..{}]", self.log(), header.first, header.next())
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Batch {}

/// A verified announcement: a batch exists, and this is its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// What was signed.
    pub header: Header,
    /// The batch's identity.
    pub hash: Hash,
}

impl Announcement {
    /// Decodes an announcement and checks its bounds and its signature.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn verify(bytes: &Bytes) -> Result<Self, BatchError> {
        let (envelope, header) = Envelope::decode(bytes)?;
        envelope.check_signature(header.writer)?;
        Ok(Self { hash: envelope.hash(), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Draft, Record, WallClock, encode_record};

    fn key() -> NodeKey {
        NodeKey::from_secret(&[1; 32])
    }

    fn sealed(first: u64, payloads: &[&str]) -> Batch {
        let mut body = Vec::new();
        for payload in payloads {
            encode_record(&Record::new(WallClock(1), payload.as_bytes().to_vec()), &mut body)
                .unwrap();
        }
        let count = u32::try_from(payloads.len()).unwrap();
        let incarnation = Incarnation(5);
        let previous =
            (first > 0).then_some(Previous { incarnation, next: first, hash: Hash([9; 32]) });
        let draft = Draft {
            topic: TopicId::from_bytes([2; 32]),
            incarnation,
            previous,
            stamp: Stamp::at(WallClock(3)),
            runs: vec![Run { producer: ProducerId([4; 16]), first: 10, count }],
        };
        draft.seal(&body.into(), &key())
    }

    #[test]
    fn sealed_batches_verify_and_keep_their_records() {
        let batch = sealed(7, &["a", "", "c"]);
        let back = Batch::verify(batch.bytes().clone()).unwrap();
        assert_eq!(back.header(), batch.header());
        assert_eq!(back.hash(), batch.hash());
        let records: Vec<_> = back
            .numbered_records()
            .map(|(number, id, record)| (number, id.number, record.unwrap().payload))
            .collect();
        let expected = [(7, 10, "a"), (8, 11, ""), (9, 12, "c")]
            .map(|(number, id, payload)| (number, id, Bytes::from(payload)));
        assert_eq!(records, expected);
        assert_eq!(Batch::restore(batch.bytes().clone(), batch.hash()).unwrap(), batch);
    }

    #[test]
    fn every_changed_bit_is_found() {
        every_changed_bit_of(&sealed(0, &["abc", "d"]));
        let compressed = sealed(0, &["0123456789abcdefghijklmnopqrstuvwxyz"; 15]);
        assert_eq!(compressed.header().compression, Compression::Lz4);
        every_changed_bit_of(&compressed);
    }

    fn every_changed_bit_of(batch: &Batch) {
        for position in 0..batch.bytes().len() {
            for bit in 0..8 {
                let mut damaged = batch.bytes().to_vec();
                damaged[position] ^= 1 << bit;
                let damaged = Bytes::from(damaged);
                let place = format!("byte {position} bit {bit}");
                assert!(Batch::verify(damaged.clone()).is_err(), "{place}");
                // The signature was checked before the batch was stored, and is not again.
                let restored = Batch::restore(damaged, batch.hash());
                assert!(
                    restored.is_err() || restored.unwrap().records().eq(batch.records()),
                    "{place}"
                );
            }
        }
        for length in 0..batch.bytes().len() {
            assert!(Batch::verify(batch.bytes().slice(..length)).is_err());
        }
    }

    #[test]
    fn a_compressed_batch_is_what_it_was() {
        let payloads: Vec<_> = (0..100).map(|number| format!("temperature {number}")).collect();
        let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
        let batch = sealed(0, &payloads);
        assert_eq!(batch.header().compression, Compression::Lz4);
        assert!(batch.bytes().len() < batch.records_bytes().len() / 2);
        let back = Batch::verify(batch.bytes().clone()).unwrap();
        assert!(back.records().map(|record| record.unwrap().payload).eq(payloads));
        let restored = Batch::restore(batch.bytes().clone(), batch.hash()).unwrap();
        assert_eq!(restored.records_bytes(), batch.records_bytes());
    }

    #[test]
    fn a_signed_body_that_does_not_expand_is_refused() {
        let header = Header { compression: Compression::Lz4, ..sealed(0, &["a"]).header().clone() };
        for body in [&b""[..], b"abc", &[0xff; 100]] {
            let header = Header {
                body_hash: blake3::hash(body).into(),
                body_bytes: u32::try_from(body.len()).unwrap(),
                ..header.clone()
            };
            let encoded = encode_to_bytes(&header);
            let signature = key().sign(&signing_input(&encoded));
            let body = Blob(Bytes::copy_from_slice(body));
            let envelope = Envelope { header: Blob(encoded), signature, body };
            let refused = Batch::verify(encode_to_bytes(&envelope)).unwrap_err();
            assert_eq!(refused, BatchError::Compression);
        }
    }

    #[test]
    fn a_batch_that_is_filed_elsewhere_says_so_beside_its_bytes() {
        let batch = sealed(7, &["a"]);
        let branch = Incarnation::of_branch(batch.hash());
        let filed = batch.clone().filed(branch);
        assert!(filed.is_root() && !batch.is_root());
        assert_eq!(filed.log(), LogId { incarnation: branch, ..batch.log() });
        let bytes = encode_to_bytes(&filed);
        let back: Batch = decode_exact(&bytes).unwrap();
        assert_eq!((back.log(), back.bytes()), (filed.log(), batch.bytes()));
        let back: Batch = decode_exact(&encode_to_bytes(&batch)).unwrap();
        assert_eq!(back.log(), batch.header().log());
    }

    #[test]
    fn announcements_carry_the_header_only() {
        let batch = sealed(7, &["a"]);
        let announcement = Announcement::verify(&batch.announcement()).unwrap();
        assert_eq!(announcement.header, *batch.header());
        assert_eq!(announcement.hash, batch.hash());
        assert!(Batch::verify(batch.announcement()).is_err());
    }

    #[test]
    fn the_chain_is_part_of_what_is_checked() {
        let header = sealed(7, &["a"]).header().clone();
        let cut = Header { previous: None, ..header.clone() };
        assert_eq!(cut.check(), Err(BatchError::Malformed("link to the batch before")));
        let previous = Previous { next: 6, ..header.previous.unwrap() };
        let gap = Header { previous: Some(previous), ..header.clone() };
        assert_eq!(gap.check(), Err(BatchError::Malformed("link to the batch before")));
        let empty = Header { count: 0, runs: vec![], ..header };
        assert_eq!(empty.check(), Err(BatchError::Malformed("record count")));
    }
}
