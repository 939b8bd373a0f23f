//! Live messages to the followers of a topic.

use bytes::Bytes;

use super::WireError;
use crate::{
    limits::{GOSSIP_BYTES_MAX, HEADER_BYTES_MAX},
    model::{Announcement, Batch, BatchError, Hash, Header},
};

/// A message on a topic's gossip mesh.
///
/// Best effort: a node that misses one finds the batch in the replicas' frontiers. On the wire it
/// is one byte for the kind and then the batch, or its header, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// A batch.
    Batch(Batch),
    /// The header of a batch that is too large for gossip. Nodes that want the batch fetch it.
    Announcement(Box<Announcement>),
}

const KIND_BATCH: u8 = 0;
const KIND_ANNOUNCEMENT: u8 = 1;

impl Gossip {
    /// Largest message, in bytes.
    pub const BYTES_MAX: usize = GOSSIP_BYTES_MAX + HEADER_BYTES_MAX;

    /// The message for a batch: the batch itself if it is small enough.
    pub fn encode(batch: &Batch) -> Vec<u8> {
        let whole = batch.bytes().len() <= GOSSIP_BYTES_MAX;
        let (kind, bytes) = if whole {
            (KIND_BATCH, batch.bytes().clone())
        } else {
            (KIND_ANNOUNCEMENT, batch.announcement())
        };
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(kind);
        message.extend_from_slice(&bytes);
        message
    }

    /// The header of its batch.
    pub fn header(&self) -> &Header {
        match self {
            Self::Batch(batch) => batch.header(),
            Self::Announcement(announcement) => &announcement.header,
        }
    }

    /// The identity of its batch.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Batch(batch) => batch.hash(),
            Self::Announcement(announcement) => announcement.hash,
        }
    }

    /// Decodes and verifies a message.
    ///
    /// # Errors
    /// When it is too large or anything in it is wrong. [`WireError::Unknown`] says that it may be
    /// of a newer program: it is ignored then, and its sender has done nothing wrong.
    pub fn decode(mut bytes: Bytes) -> Result<Self, WireError> {
        let malformed = |error: BatchError| {
            let text = error.to_string();
            if error.is_of_newer() { WireError::Unknown(text) } else { WireError::Malformed(text) }
        };
        if bytes.len() > Self::BYTES_MAX {
            return Err(WireError::TooLarge(bytes.len()));
        }
        if bytes.is_empty() {
            return Err(WireError::Malformed("empty".into()));
        }
        let kind = bytes.split_to(1);
        match kind[0] {
            KIND_BATCH => Batch::verify(bytes).map(Self::Batch).map_err(malformed),
            KIND_ANNOUNCEMENT => Announcement::verify(&bytes)
                .map(|announcement| Self::Announcement(Box::new(announcement)))
                .map_err(malformed),
            other => Err(WireError::Unknown(format!("gossip of kind {other}"))),
        }
    }
}
