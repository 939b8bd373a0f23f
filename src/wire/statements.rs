//! How two nodes compare signed statements: one digest for all, one for each part, then the
//! statements of parts that differ.

use minicbor::{Decode, Encode};

use crate::model::{Hash, SignedDescriptor, TopicId};

/// What one node asks another one about the statements that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StatementsWanted {
    /// The digests of all parts. Answer: [`StatementsTold::Digests`].
    #[n(0)]
    Digests,
    /// What of a part the asker does not know. Answer: [`StatementsTold::Terms`].
    #[n(1)]
    Part(#[n(0)] PartWanted),
}

/// A part of the statements, or what follows one of its topics, and what the asker knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PartWanted {
    /// Which part.
    #[n(0)]
    pub part: u8,
    /// Only topics after this one, by their ids.
    #[n(1)]
    pub after: Option<TopicId>,
    /// Only topics up to this one: what the asker knows beyond it did not fit into the request.
    #[n(2)]
    pub to: Option<TopicId>,
    /// The topics whose terms the asker knows, and the hash of those terms, in order of the ids.
    #[cbor(n(3), decode_with = "crate::wire::bounded::statements_known")]
    pub known: Vec<(TopicId, Hash)>,
}

/// The digest of a part of the statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PartDigest {
    /// Which part.
    #[n(0)]
    pub part: u8,
    /// Of the ids of its topics and the hashes of their terms.
    #[n(1)]
    pub digest: Hash,
}

/// What a node says of the statements that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum StatementsTold {
    /// The digests of all parts that are not empty, in order.
    #[n(0)]
    Digests(#[cbor(n(0), decode_with = "super::bounded::statement_parts")] Vec<PartDigest>),
    /// Terms that the asker does not know, and the last topic that was looked at; none if there is
    /// no more.
    #[n(1)]
    Terms(
        #[cbor(n(0), decode_with = "super::bounded::descriptors")] Vec<SignedDescriptor>,
        #[n(1)] Option<TopicId>,
    ),
}
