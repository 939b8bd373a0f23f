//! Archives: a topic in one file, with its batches as they were signed.
//!
//! An archive is a first line and sections: the opening with the topic's descriptor; batches,
//! proofs of forks and skipped ranges; the end mark. The checksum of each section covers all
//! sections before it. So a changed byte is found, and a missing section too. A missing end mark
//! shows that the archive was cut off.
//!
//! Nothing here does I/O. [`Decoder`] takes bytes as they come, [`Encoder`] makes them. Both apply
//! the same rules ([`Contents`]). A decoder at the end of an interrupted archive becomes the
//! encoder that continues it.

mod contents;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use minicbor::{Decode, Encode};
use thiserror::Error;

pub use self::contents::Contents;
use super::LogRange;
use crate::{
    limits::{
        ARCHIVE_END_BYTES_MAX, ARCHIVE_OPENING_BYTES_MAX, ARCHIVE_PASSED_BYTES_MAX,
        ARCHIVE_SKIPPED_BYTES_MAX, BATCH_BYTES_MAX, COMPACTED_BYTES_MAX, FORK_PROOF_BYTES_MAX,
    },
    model::{
        Batch, Blob, Compacted, Cursor, DescriptorError, ForkError, ForkProof, Network,
        SignedDescriptor, TopicId, decode_exact, encode_to_bytes,
    },
};

/// What an archive begins with.
const MAGIC: &[u8] = b"antiphon/archive/1\n";

/// The same without the version.
const MAGIC_NAME: &[u8] = b"antiphon/archive/";

/// Kinds of sections from this one on may be skipped by a program that does not know them. It
/// refuses an archive that has another kind which it does not know.
const SKIPPED_KIND_MIN: u8 = 64;

/// Bytes before a section's payload: its kind and its length.
const HEAD_BYTES: usize = 5;

/// Bytes behind a section's payload.
const CHECKSUM_BYTES: usize = 8;

/// What the encoding of a batch adds to its bytes: a head, and where it is filed.
const BATCH_FILING_BYTES_MAX: usize = 16;

/// Whose records an archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The network that they were exported from.
    pub network: Network,
    /// The topic's terms.
    pub descriptor: SignedDescriptor,
    /// The topic, where that does not follow from the network's name: in a closed network.
    topic: Option<TopicId>,
}

impl Opening {
    /// Opens the archive of a topic.
    pub fn new(network: Network, descriptor: SignedDescriptor, topic: TopicId) -> Self {
        let by_name = descriptor.descriptor().id(&network.clone().into());
        Self { network, descriptor, topic: (topic != by_name).then_some(topic) }
    }

    /// The topic for which the batches are signed.
    pub fn topic(&self) -> TopicId {
        let by_name = || self.descriptor.descriptor().id(&self.network.clone().into());
        self.topic.unwrap_or_else(by_name)
    }
}

/// Records of a log that are not in the archive, for the topic did not have them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Passed {
    /// Which ones.
    #[n(0)]
    pub range: LogRange,
    /// Whether retention let them go; else no node held them any more.
    #[n(1)]
    pub trimmed: bool,
}

/// The end mark.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct End {
    /// Up to where the topic is in the archive.
    #[n(0)]
    pub cursor: Cursor,
    /// Number of batches.
    #[n(1)]
    pub batches: u64,
    /// Number of records.
    #[n(2)]
    pub records: u64,
}

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// The first one.
    Opening(Box<Opening>),
    /// Records, as they were signed.
    Batch(Batch),
    /// A log has forked; before the branches of it.
    Fork(ForkProof),
    /// A gap, or a part of one; before the batch that follows it.
    Passed(Passed),
    /// What compaction took away; before the batch that follows it.
    Compacted(Compacted),
    /// The last one.
    End(End),
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
struct OpeningFields {
    #[n(0)]
    network: String,
    #[n(1)]
    descriptor: Blob,
    #[n(2)]
    topic: Option<TopicId>,
}

/// Why bytes are no whole archive, or would not be one.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ArchiveError {
    /// Something else, from its first byte on.
    #[error("it is not the archive of a topic")]
    NotAnArchive,
    /// Written by a newer program.
    #[error("it is an archive of a version that this program does not know")]
    Version,
    /// The end mark is missing.
    #[error("it ends before its end mark")]
    Truncated,
    /// Something follows the end mark.
    #[error("it goes on behind its end mark")]
    Trailing,
    /// A kind of section that only a newer program knows, and that must be understood.
    #[error("a section of an unknown kind ({0})")]
    Kind(u8),
    /// The topic needs what only a newer program knows.
    #[error("{0}")]
    Needs(String),
    /// More bytes than a section of its kind has.
    #[error("a section of {0} bytes, more than the limit of {1}")]
    TooLarge(usize, usize),
    /// Bytes have changed, or a section was taken out.
    #[error("its checksum does not hold")]
    Checksum,
    /// What a section says is wrong.
    #[error("malformed section: {0}")]
    Malformed(String),
    /// The topic's terms are wrong.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// A proof of a fork is none.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The first section is no opening, or another one is, or something follows the end.
    #[error("a section where it does not belong")]
    Misplaced,
    /// A batch or a proof of another topic.
    #[error("a batch or a proof that is signed for another topic")]
    Foreign,
    /// A batch, or a gap, that does not begin where its log stands.
    #[error("a batch that does not follow the one before it in its log")]
    Order,
    /// A batch is filed under a branch of which nothing says that it is one.
    #[error("a branch without the proof that its log has forked")]
    Unproven,
    /// A log goes on where it has forked: it did so while it was exported.
    #[error("a log that goes on where it has forked")]
    BeyondFork,
    /// More logs or proofs than a topic has.
    #[error("more logs or forks than a topic has")]
    TooMany,
    /// The end mark counts something else than is there.
    #[error("its end mark does not fit what comes before it")]
    End,
}

impl Section {
    fn kind(&self) -> u8 {
        match self {
            Self::Opening(_) => 1,
            Self::Batch(_) => 2,
            Self::Fork(_) => 3,
            Self::Passed(_) => 4,
            Self::End(_) => 5,
            Self::Compacted(_) => 6,
        }
    }

    /// Largest payload of a section of this kind, in bytes.
    fn bytes_max(kind: u8) -> Result<usize, ArchiveError> {
        match kind {
            1 => Ok(ARCHIVE_OPENING_BYTES_MAX),
            2 => Ok(BATCH_BYTES_MAX + BATCH_FILING_BYTES_MAX),
            3 => Ok(FORK_PROOF_BYTES_MAX),
            4 => Ok(ARCHIVE_PASSED_BYTES_MAX),
            5 => Ok(ARCHIVE_END_BYTES_MAX),
            6 => Ok(COMPACTED_BYTES_MAX),
            SKIPPED_KIND_MIN.. => Ok(ARCHIVE_SKIPPED_BYTES_MAX),
            other => Err(ArchiveError::Kind(other)),
        }
    }

    fn payload(&self) -> Bytes {
        match self {
            Self::Opening(opening) => encode_to_bytes(&OpeningFields {
                network: opening.network.to_string(),
                descriptor: Blob(opening.descriptor.bytes().clone()),
                topic: opening.topic,
            }),
            Self::Batch(batch) => encode_to_bytes(batch),
            Self::Fork(proof) => proof.bytes().clone(),
            Self::Passed(passed) => encode_to_bytes(passed),
            Self::End(end) => encode_to_bytes(end),
            Self::Compacted(part) => encode_to_bytes(part),
        }
    }

    /// None of a kind that is skipped.
    fn decode(kind: u8, payload: &Bytes) -> Result<Option<Self>, ArchiveError> {
        let malformed = |error: minicbor::decode::Error| ArchiveError::Malformed(error.to_string());
        let section = match kind {
            1 => {
                let fields: OpeningFields = decode_exact(payload).map_err(malformed)?;
                let network = fields.network.parse();
                let network = network.map_err(|error: crate::model::NetworkNameError| {
                    ArchiveError::Malformed(error.to_string())
                })?;
                let descriptor = SignedDescriptor::verify(fields.descriptor.0)?;
                if let Some(lacking) = descriptor.descriptor().not_understood() {
                    return Err(ArchiveError::Needs(lacking));
                }
                Self::Opening(Box::new(Opening { network, descriptor, topic: fields.topic }))
            }
            2 => Self::Batch(decode_exact(payload).map_err(malformed)?),
            3 => Self::Fork(ForkProof::verify(payload)?),
            4 => Self::Passed(decode_exact(payload).map_err(malformed)?),
            5 => Self::End(decode_exact(payload).map_err(malformed)?),
            6 => Self::Compacted(decode_exact(payload).map_err(malformed)?),
            SKIPPED_KIND_MIN.. => return Ok(None),
            other => return Err(ArchiveError::Kind(other)),
        };
        Ok(Some(section))
    }
}

/// The hash of all sections so far, of which each checksum is the beginning.
type Chain = [u8; 32];

fn chained(before: &Chain, head: &[u8], payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(head).update(payload);
    hasher.finalize().into()
}

/// Makes an archive.
#[derive(Debug, Default)]
pub struct Encoder {
    chain: Chain,
    contents: Contents,
}

impl Encoder {
    /// What the archive has so far.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The bytes of the next section; before the first one, with what an archive begins with.
    ///
    /// # Errors
    /// When the archive would not be one: nothing changes then.
    pub fn encode(&mut self, section: &Section) -> Result<Bytes, ArchiveError> {
        let (kind, payload) = (section.kind(), section.payload());
        let bytes_max = Section::bytes_max(kind)?;
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= bytes_max);
        let length = length.ok_or(ArchiveError::TooLarge(payload.len(), bytes_max))?;
        let begins = self.contents.opening().is_none();
        self.contents.take(section)?;
        let mut bytes =
            BytesMut::with_capacity(MAGIC.len() + HEAD_BYTES + payload.len() + CHECKSUM_BYTES);
        if begins {
            bytes.put_slice(MAGIC);
        }
        let mut head = [kind, 0, 0, 0, 0];
        head[1..].copy_from_slice(&length.to_be_bytes());
        self.chain = chained(&self.chain, &head, &payload);
        bytes.put_slice(&head);
        bytes.put_slice(&payload);
        bytes.put_slice(&self.chain[..CHECKSUM_BYTES]);
        Ok(bytes.freeze())
    }

    /// The bytes of the end mark, with which the archive is whole.
    ///
    /// # Errors
    /// When it is whole already, or has not begun.
    pub fn finish(&mut self) -> Result<Bytes, ArchiveError> {
        let end = self.contents.end().ok_or(ArchiveError::Misplaced)?;
        self.encode(&Section::End(end))
    }
}

/// What the next bytes of an archive are.
enum Step {
    Section(Section),
    Skipped,
    /// More bytes are needed, or none follow.
    Short,
}

/// Reads an archive and verifies all of it.
#[derive(Debug, Default)]
pub struct Decoder {
    chain: Chain,
    contents: Contents,
    begun: bool,
    position: u64,
}

impl Decoder {
    /// What was read so far.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Up to which byte all is whole, the end mark not counted.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next section off the front of `bytes`; none where more of them are needed. A
    /// length that is only claimed reserves nothing. Sections of newer programs that may be skipped
    /// are.
    ///
    /// # Errors
    /// When the archive is damaged, or is none; what was read before is whole.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Section>, ArchiveError> {
        loop {
            match self.step(bytes)? {
                Step::Section(section) => return Ok(Some(section)),
                Step::Skipped => {}
                Step::Short => return Ok(None),
            }
        }
    }

    fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, ArchiveError> {
        if self.contents.is_finished() {
            return if bytes.is_empty() { Ok(Step::Short) } else { Err(ArchiveError::Trailing) };
        }
        if !self.begun && !self.begin(bytes)? {
            return Ok(Step::Short);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(Step::Short);
        };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        let bytes_max = Section::bytes_max(kind)?;
        if length > bytes_max {
            return Err(ArchiveError::TooLarge(length, bytes_max));
        }
        let Some((payload, checksum)) =
            rest.get(..length + CHECKSUM_BYTES).map(|whole| whole.split_at(length))
        else {
            return Ok(Step::Short);
        };
        let chain = chained(&self.chain, head, payload);
        if chain[..CHECKSUM_BYTES] != *checksum {
            return Err(ArchiveError::Checksum);
        }
        let all = HEAD_BYTES + length + CHECKSUM_BYTES;
        let payload = bytes.split_to(all).freeze().slice(HEAD_BYTES..HEAD_BYTES + length);
        let section = Section::decode(kind, &payload)?;
        match &section {
            Some(section) => self.contents.take(section)?,
            None if self.contents.opening().is_none() => return Err(ArchiveError::Misplaced),
            None => {}
        }
        // What is added to an archive that was whole takes the place of the end mark.
        if !self.contents.is_finished() {
            self.chain = chain;
            self.position += all as u64;
        }
        Ok(section.map_or(Step::Skipped, Step::Section))
    }

    /// Takes what an archive begins with; whether there were bytes enough.
    fn begin(&mut self, bytes: &mut BytesMut) -> Result<bool, ArchiveError> {
        if bytes.starts_with(MAGIC) {
            let _ = bytes.split_to(MAGIC.len());
            self.begun = true;
            self.position = MAGIC.len() as u64;
            return Ok(true);
        }
        if MAGIC.starts_with(bytes) {
            return Ok(false);
        }
        let is_other_version = bytes.starts_with(MAGIC_NAME);
        Err(if is_other_version { ArchiveError::Version } else { ArchiveError::NotAnArchive })
    }

    /// Says whether the archive is whole, where no byte follows.
    ///
    /// # Errors
    /// When it is not.
    pub fn finish(&self) -> Result<(), ArchiveError> {
        if self.contents.is_finished() { Ok(()) } else { Err(ArchiveError::Truncated) }
    }

    /// Continues the archive behind what was read, or from its beginning if the opening is not
    /// whole. An end mark must be written again.
    pub fn into_encoder(self) -> Encoder {
        Encoder { chain: self.chain, contents: self.contents.reopened() }
    }
}
