//! The messages between nodes, and between a client and its node.
//!
//! Every exchange is a [`Request`] and its [`Response`], each one CBOR item that fills its message.
//! Live records are sent as [`Gossip`]. Decoding verifies: a [`Batch`] in a decoded message has
//! passed [`Batch::verify`]. So code behind this module never meets an unverified one. No memory is
//! reserved for a length that is only claimed.
//!
//! Newer programs may say more. A field that is not known is skipped. A request that is not known
//! is [`WireError::Unknown`], and is answered [`Refusal::Unsupported`]. A refusal that is not known
//! is [`Refusal::Other`]. Of gossip that is not known nothing is made. `docs/formats.md` lists the
//! numbers that are reserved.
//!
//! [`Batch`]: crate::model::Batch
//! [`Batch::verify`]: crate::model::Batch::verify

pub mod archive;
mod away;
mod gossip;
mod group;
mod hello;
mod outbox;
mod page;
mod peer;
mod possession;
mod refusal;
mod request;
mod response;
mod roster;
mod statements;
mod whereabouts;

use std::error::Error as _;

pub use away::{Away, Need};
use bytes::Bytes;
pub use gossip::Gossip;
pub use group::{Assignment, Membership, Rejection, Settle, Settlement, Take, Taken};
pub use hello::{Greeting, Hello, NotAdmitted, Refused};
pub use outbox::{Await, OutboxPage, PendingTopic};
pub use page::{Page, TopicPage};
pub use peer::{PROGRAM, Peer};
pub use possession::possession;
pub use refusal::{Refusal, Right};
pub use request::{
    Acks, Alter, ClientRequest, Create, Import, LogRange, NamesWanted, NodeRequest, Publish, Read,
    ReadMany, Replicate, Request, TopicRead,
};
pub use response::{
    Checked, CheckedBatch, Compared, Forked, Held, MemberState, Names, Outcome, Published,
    Remaining, ReplicaState, Response, Role, Surveyed, TopicCount, TopicDigest, TopicSummary,
    Verified, VerifiedReplica,
};
pub use roster::{RosterTold, RosterWanted, Statements};
pub use statements::{PartDigest, PartWanted, StatementsTold, StatementsWanted};
use thiserror::Error;
pub use whereabouts::Whereabouts;

use crate::{
    limits::{FORKS_MAX, MESSAGE_BYTES_MAX},
    model::{BatchError, Blob, ForkProof, LogId, NodeId},
};

/// Why a message from another node is not understood. It changed nothing here.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WireError {
    /// More bytes than any message has.
    #[error("a message of {0} bytes, more than the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// It is, or has in it, something of a kind that only a newer program knows.
    #[error("a message that this program does not know: {0}")]
    Unknown(String),
    /// The encoding, or something inside it, is wrong.
    #[error("malformed message: {0}")]
    Malformed(String),
}

impl From<minicbor::decode::Error> for WireError {
    fn from(error: minicbor::decode::Error) -> Self {
        let batch = error.source().and_then(|cause| cause.downcast_ref::<BatchError>());
        if error.is_unknown_variant() || batch.is_some_and(BatchError::is_of_newer) {
            Self::Unknown(error.to_string())
        } else {
            Self::Malformed(error.to_string())
        }
    }
}

fn decode_message<T>(bytes: &Bytes) -> Result<T, WireError>
where
    T: for<'b> minicbor::Decode<'b, crate::model::Source>,
{
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(bytes.len()));
    }
    Ok(crate::model::decode_exact(bytes)?)
}

macro_rules! message {
    ($type:ty) => {
        impl $type {
            /// Decodes and verifies a message that came from elsewhere.
            ///
            /// # Errors
            /// When it is too large or anything in it is wrong.
            pub fn decode(bytes: &Bytes) -> Result<Self, WireError> {
                decode_message(bytes)
            }

            /// Encodes the message.
            pub fn encode(&self) -> Bytes {
                crate::model::encode_to_bytes(self)
            }
        }
    };
}

message!(Request);
message!(Response);

/// Lists whose items are larger in memory than on the wire. An item of one byte must not become a
/// hundred bytes, eight million times.
mod bounded {
    use bytes::Bytes;
    use minicbor::{Decode, Decoder, decode::Error};

    use super::{
        Address, Assignment, CheckedBatch, Forked, LogRange, Outcome, PartDigest, PendingTopic,
        Rejection, TopicPage, TopicRead, Whereabouts,
    };
    use crate::{
        limits::{
            ADDRESSES_MAX, DESCRIPTORS_PER_MESSAGE_MAX, FIND_RUNS_MAX, FORKS_MAX,
            FRONTIER_LOGS_MAX, GROUP_RANGES_MAX, HEADERS_PER_PAGE_MAX, HEADS_MAX,
            OUTBOX_TOPICS_MAX, PROVE_BATCHES_MAX, READ_MANY_TOPICS_MAX, REPLICAS_MAX,
            STATEMENT_PARTS, STATEMENTS_PER_MESSAGE_MAX, TOPICS_PER_MESSAGE_MAX,
        },
        model::{
            Blob, Compacted, Hash, LogId, NodeId, Run, Share, SignedDescriptor, SignedHeader,
            TopicId, TopicName,
        },
    };

    /// Topics described in one replication request, and batches in it.
    const REPLICATED_MAX: u64 = 100_000;

    fn list<'b, C, T: Decode<'b, C>>(
        items_max: u64,
        decoder: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Vec<T>, Error> {
        match decoder.array()? {
            Some(length) if length <= items_max => {
                (0..length).map(|_| T::decode(decoder, context)).collect()
            }
            Some(_) | None => Err(Error::message("more items than are allowed")),
        }
    }

    pub(super) fn addresses<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Address>, Error> {
        list(ADDRESSES_MAX as u64, decoder, context)
    }

    /// Those of newer programs, and those that are forged, are left out.
    pub(super) fn descriptors<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<SignedDescriptor>, Error> {
        let listed: Vec<Blob> = list(DESCRIPTORS_PER_MESSAGE_MAX as u64, decoder, context)?;
        Ok(listed.iter().filter_map(understood).collect())
    }

    /// None if it is of a newer program, or forged.
    pub(super) fn announced<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Option<Box<SignedDescriptor>>, Error> {
        let bytes = Option::<Blob>::decode(decoder, context)?;
        Ok(bytes.as_ref().and_then(understood).map(Box::new))
    }

    fn understood(bytes: &Blob) -> Option<SignedDescriptor> {
        // What is kept must not keep the whole message in memory.
        SignedDescriptor::verify(Bytes::copy_from_slice(&bytes.0)).ok()
    }

    pub(super) fn statements_known<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<(TopicId, Hash)>, Error> {
        list(STATEMENTS_PER_MESSAGE_MAX as u64, decoder, context)
    }

    pub(super) fn statement_parts<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<PartDigest>, Error> {
        list(STATEMENT_PARTS as u64, decoder, context)
    }

    pub(super) fn checked<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<CheckedBatch>, Error> {
        list(REPLICATED_MAX, decoder, context)
    }

    pub(super) fn compacted<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Compacted>, Error> {
        list(REPLICATED_MAX, decoder, context)
    }

    pub(super) fn ranges<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<LogRange>, Error> {
        list(FRONTIER_LOGS_MAX as u64, decoder, context)
    }

    pub(super) fn proved_ranges<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<LogRange>, Error> {
        list(PROVE_BATCHES_MAX as u64, decoder, context)
    }

    pub(super) fn proofs_of_possession<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Option<Hash>>, Error> {
        list(PROVE_BATCHES_MAX as u64, decoder, context)
    }

    pub(super) fn logs<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<LogId>, Error> {
        list(HEADS_MAX as u64, decoder, context)
    }

    pub(super) fn heads<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<SignedHeader>, Error> {
        list(HEADS_MAX as u64, decoder, context)
    }

    pub(super) fn headers<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<SignedHeader>, Error> {
        list(HEADERS_PER_PAGE_MAX as u64, decoder, context)
    }

    pub(super) fn group_ranges<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<LogRange>, Error> {
        list(GROUP_RANGES_MAX as u64, decoder, context)
    }

    pub(super) fn rejections<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Rejection>, Error> {
        list(GROUP_RANGES_MAX as u64, decoder, context)
    }

    pub(super) fn assignments<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Assignment>, Error> {
        list(GROUP_RANGES_MAX as u64, decoder, context)
    }

    pub(super) fn forks<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Forked>, Error> {
        list(FORKS_MAX as u64, decoder, context)
    }

    pub(super) fn proofs<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Blob>, Error> {
        list(FORKS_MAX as u64, decoder, context)
    }

    pub(super) fn topic_reads<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<TopicRead>, Error> {
        list(READ_MANY_TOPICS_MAX as u64, decoder, context)
    }

    pub(super) fn topic_pages<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<TopicPage>, Error> {
        list(READ_MANY_TOPICS_MAX as u64, decoder, context)
    }

    pub(super) fn names<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<TopicName>, Error> {
        list(TOPICS_PER_MESSAGE_MAX as u64, decoder, context)
    }

    pub(super) fn runs<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<Run>, Error> {
        list(FIND_RUNS_MAX as u64, decoder, context)
    }

    pub(super) fn whereabouts<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Option<Whereabouts>>, Error> {
        list(FIND_RUNS_MAX as u64, decoder, context)
    }

    pub(super) fn pending_topics<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<PendingTopic>, Error> {
        list(OUTBOX_TOPICS_MAX as u64, decoder, context)
    }

    pub(super) fn replicas<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<NodeId>, Error> {
        list(u64::from(REPLICAS_MAX), decoder, context)
    }

    pub(super) fn outcomes<C: Share>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Vec<Outcome>, Error> {
        list(REPLICATED_MAX, decoder, context)
    }
}

/// Proofs of forks of one topic, or of the topics of one request. They are verified where they are
/// used, and only if they are new.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent, context_bound = "crate::model::Share")]
pub struct Proofs(#[cbor(n(0), decode_with = "bounded::proofs")] Vec<Blob>);

impl Proofs {
    /// These proofs; none if the list is empty.
    pub fn of<'a>(proofs: impl Iterator<Item = &'a ForkProof>) -> Option<Self> {
        let proofs: Vec<_> =
            proofs.take(FORKS_MAX).map(|proof| Blob(proof.bytes().clone())).collect();
        (!proofs.is_empty()).then_some(Self(proofs))
    }

    /// Their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().map(|proof| &proof.0)
    }
}

/// Logs whose ends the asker has no proof of.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct HeadsWanted(#[cbor(n(0), decode_with = "bounded::logs")] pub Vec<LogId>);

/// The address of a node as libp2p writes it.
pub type Address = String;

/// A node and the addresses at which it was last known.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Contact {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its addresses, without the peer id at the end.
    #[cbor(n(1), decode_with = "bounded::addresses")]
    pub addresses: Vec<Address>,
    /// Whether it was new to the network when it was there last. Only the store keeps this.
    #[cbor(n(2), skip_if = "std::ops::Not::not", default)]
    pub newcomer: bool,
    /// For how many seconds this node was connected with it in all, until it counts as
    /// acquainted. Only the store keeps this.
    #[n(3)]
    pub acquainted_s: Option<u32>,
}

impl Contact {
    /// A node and its addresses.
    pub fn new(node: NodeId, addresses: Vec<Address>) -> Self {
        Self { node, addresses, newcomer: false, acquainted_s: None }
    }
}

/// An encoded [`SignedDescriptor`](crate::model::SignedDescriptor), verified where it is used.
pub type DescriptorBytes = Blob;

/// A number of nodes, as messages have it.
pub(crate) fn small(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
