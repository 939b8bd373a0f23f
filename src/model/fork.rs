//! Proof that a writer's log has forked.
//!
//! The proof is two headers that one writer signed for one position of one incarnation, on top of
//! the same batch. It needs no trust in a node. It shows that the log has two branches, and where
//! they part.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    Announcement, Batch, BatchError, Blob, Hash, Incarnation, LogId, SignedHeader, TopicId,
    decode_exact, encode_to_bytes,
};
use crate::limits::FORK_PROOF_BYTES_MAX;

/// Why two headers prove no fork.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ForkError {
    /// More bytes than any proof has.
    #[error("a proof of {0} bytes, more than the limit of {FORK_PROOF_BYTES_MAX}")]
    TooLarge(usize),
    /// It is not a list of two headers.
    #[error("malformed proof")]
    Malformed,
    /// One of the headers is none, or is not signed by its writer.
    #[error(transparent)]
    Header(#[from] BatchError),
    /// They belong to different logs or positions, or have different batches before them. So they
    /// do not exclude each other here.
    #[error("the headers do not exclude each other")]
    Unrelated,
    /// The smaller hash must come first.
    #[error("the headers of the proof are in the wrong order")]
    Order,
}

/// A verified proof that a log has forked. Cloning it copies a pointer.
#[derive(Clone)]
pub struct ForkProof(Arc<Parts>);

struct Parts {
    topic: TopicId,
    log: LogId,
    at: u64,
    previous: Option<Hash>,
    roots: [Hash; 2],
    bytes: Bytes,
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "super::Share")]
struct Envelope {
    #[n(0)]
    one: Blob,
    #[n(1)]
    other: Blob,
}

impl ForkProof {
    /// The proof that two batches make.
    ///
    /// # Errors
    /// When they do not exclude each other right here.
    pub fn of(one: &Batch, other: &Batch) -> Result<Self, ForkError> {
        Self::of_headers(&SignedHeader::of(one), &SignedHeader::of(other))
    }

    /// The same of two headers; a proof does not need the bodies.
    ///
    /// # Errors
    /// When they do not exclude each other right here.
    pub fn of_headers(one: &SignedHeader, other: &SignedHeader) -> Result<Self, ForkError> {
        let (one, other) = if one.hash() < other.hash() { (one, other) } else { (other, one) };
        let envelope =
            Envelope { one: Blob(one.bytes().clone()), other: Blob(other.bytes().clone()) };
        let told =
            |it: &SignedHeader| Announcement { header: it.header().clone(), hash: it.hash() };
        Self::check(&told(one), &told(other), encode_to_bytes(&envelope))
    }

    /// Decodes a proof that came from elsewhere and checks all of it.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub fn verify(bytes: &Bytes) -> Result<Self, ForkError> {
        if bytes.len() > FORK_PROOF_BYTES_MAX {
            return Err(ForkError::TooLarge(bytes.len()));
        }
        let Envelope { one, other } =
            decode_exact(bytes).map_err(|_malformed| ForkError::Malformed)?;
        let (one, other) = (Announcement::verify(&one)?, Announcement::verify(&other)?);
        // Of its own, so that it keeps no larger message in memory.
        Self::check(&one, &other, Bytes::copy_from_slice(bytes))
    }

    fn check(one: &Announcement, other: &Announcement, bytes: Bytes) -> Result<Self, ForkError> {
        let (header, second) = (&one.header, &other.header);
        let together = header.topic == second.topic
            && header.log() == second.log()
            && header.first == second.first
            // An incarnation starts once, whatever came before it.
            && (header.first == 0 || header.previous == second.previous);
        if !together {
            return Err(ForkError::Unrelated);
        }
        if one.hash >= other.hash {
            return Err(ForkError::Order);
        }
        let previous = header.previous.filter(|_| header.first > 0);
        Ok(Self(Arc::new(Parts {
            topic: header.topic,
            log: header.log(),
            at: header.first,
            previous: previous.map(|previous| previous.hash),
            roots: [one.hash, other.hash],
            bytes,
        })))
    }

    /// The proof that another batch, at the same place, is a branch as well.
    ///
    /// # Errors
    /// When it is none.
    pub fn with(&self, batch: &Batch) -> Result<Self, ForkError> {
        let Envelope { one, other } =
            decode_exact(&self.0.bytes).map_err(|_malformed| ForkError::Malformed)?;
        let known = if self.0.roots.first() == Some(&batch.hash()) { other } else { one };
        let known = (Announcement::verify(&known)?, known);
        let told = Announcement { header: batch.header().clone(), hash: batch.hash() };
        let told = (told, Blob(batch.announcement()));
        let (one, other) = if known.0.hash < told.0.hash { (known, told) } else { (told, known) };
        let envelope = Envelope { one: one.1, other: other.1 };
        Self::check(&one.0, &other.0, encode_to_bytes(&envelope))
    }

    /// The topic.
    pub fn topic(&self) -> TopicId {
        self.0.topic
    }

    /// The log that has forked.
    pub fn log(&self) -> LogId {
        self.0.log
    }

    /// The sequence number at which the branches part.
    pub fn at(&self) -> u64 {
        self.0.at
    }

    /// The last batch that both have; none if they part at the start.
    pub fn previous(&self) -> Option<Hash> {
        self.0.previous
    }

    /// The first batch of each branch, the smaller hash first.
    pub fn roots(&self) -> [Hash; 2] {
        self.0.roots
    }

    /// The logs that the branches are filed under.
    pub fn branches(&self) -> [LogId; 2] {
        self.0.roots.map(|root| LogId { incarnation: Incarnation::of_branch(root), ..self.0.log })
    }

    /// The proof as it is stored and sent.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

impl fmt::Debug for ForkProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "fork of {:?} at {}: {:?}", self.log(), self.at(), self.roots())
    }
}

impl PartialEq for ForkProof {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for ForkProof {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Draft, NodeKey, Previous, ProducerId, Record, Run, Stamp, WallClock, encode_record,
    };

    fn sealed(key: u8, first: u64, before: u8, payload: &str) -> Batch {
        let key = NodeKey::from_secret(&[key; 32]);
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), payload.to_owned()), &mut body).unwrap();
        let incarnation = Incarnation(5);
        let previous = Previous { incarnation, next: first, hash: Hash([before; 32]) };
        let draft = Draft {
            topic: TopicId::from_bytes([2; 32]),
            incarnation,
            previous: (first > 0).then_some(previous),
            stamp: Stamp::at(WallClock(3)),
            runs: vec![Run { producer: ProducerId([4; 16]), first: 10, count: 1 }],
        };
        draft.seal(&body.into(), &key)
    }

    #[test]
    fn a_proof_comes_back_and_is_the_same_whoever_finds_it() {
        let (one, other) = (sealed(1, 7, 9, "one"), sealed(1, 7, 9, "other"));
        let proof = ForkProof::of(&one, &other).unwrap();
        assert_eq!(ForkProof::of(&other, &one).unwrap(), proof);
        assert_eq!((proof.log(), proof.at()), (one.header().log(), 7));
        assert!(proof.roots().is_sorted());
        assert_eq!(ForkProof::verify(proof.bytes()).unwrap(), proof);
        assert!(proof.bytes().len() <= FORK_PROOF_BYTES_MAX);
    }

    #[test]
    fn what_does_not_exclude_itself_is_no_proof() {
        let one = sealed(1, 7, 9, "one");
        let unrelated = Err(ForkError::Unrelated);
        assert_eq!(ForkProof::of(&one, &one).err(), Some(ForkError::Order));
        assert_eq!(ForkProof::of(&one, &sealed(1, 8, 9, "a")).map(|_| ()), unrelated);
        assert_eq!(ForkProof::of(&one, &sealed(1, 7, 8, "a")).map(|_| ()), unrelated);
        assert_eq!(ForkProof::of(&one, &sealed(2, 7, 9, "a")).map(|_| ()), unrelated);
        // At its start an incarnation forks whatever its batches name before them.
        assert!(ForkProof::of(&sealed(1, 0, 1, "a"), &sealed(1, 0, 2, "b")).is_ok());
    }

    #[test]
    fn every_changed_bit_of_a_proof_is_found() {
        let proof = ForkProof::of(&sealed(1, 7, 9, "one"), &sealed(1, 7, 9, "other")).unwrap();
        for position in 0..proof.bytes().len() {
            let mut forged = proof.bytes().to_vec();
            forged[position] ^= 1;
            assert!(ForkProof::verify(&forged.into()).is_err(), "byte {position}");
        }
        let Envelope { one, other } = decode_exact(proof.bytes()).unwrap();
        let turned = encode_to_bytes(&Envelope { one: other, other: one });
        assert_eq!(ForkProof::verify(&turned).err(), Some(ForkError::Order));
    }
}
