//! What the store is asked for.

use std::collections::BTreeMap;

use super::asks::LaneId;
use crate::{
    engine::ids::{ChallengeId, CheckId, ImportId, QuestionId, ReadId},
    model::{Hash, LogId, NodeId, TopicId},
    wire::{Held, LogRange},
};

/// Whom it is said what became of batches that were to be stored.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Reply {
    /// A node that replicates them.
    Replicated(QuestionId),
    /// A node that imports them.
    Imported(QuestionId),
    /// An import of this node: which one.
    Own(ImportId),
}

/// What is read to find where a log has forked, and to file it.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum ForkRead {
    /// Whether places are taken by other batches: which check.
    Taken(CheckId),
    /// One batch, to compare it with another node's.
    Search(LogId),
    /// A part of a forked log, to file it under branches.
    File(LogId),
    /// Headers, to find the branch of a part.
    Headers(LogId, Walk),
}

/// Somebody asked what is held here, and for headers that prove where logs end.
#[derive(Debug)]
pub(in crate::engine) struct HeadsAsked {
    pub(in crate::engine) question: QuestionId,
    pub(in crate::engine) topic: TopicId,
    /// The answer, as far as it is known.
    pub(in crate::engine) held: Held,
    /// The last records of the logs whose headers are still to be read.
    pub(in crate::engine) left: BTreeMap<LogId, LogRange>,
    /// How many pages were read.
    pub(in crate::engine) pages: usize,
}

/// How far back the chain is known before a part that is held.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Walk {
    /// Where the part begins, and the batch that it follows.
    pub(in crate::engine) to: u64,
    pub(in crate::engine) base: Hash,
    /// The batch that is looked for next, and where it ends.
    pub(in crate::engine) next: u64,
    pub(in crate::engine) head: Hash,
}

/// Another node's question whether batches are held.
#[derive(Debug)]
pub(in crate::engine) struct Challenged {
    pub(in crate::engine) question: QuestionId,
    pub(in crate::engine) asker: NodeId,
    pub(in crate::engine) topic: TopicId,
    pub(in crate::engine) ranges: Vec<LogRange>,
    pub(in crate::engine) nonce: [u8; 32],
}

/// What batches are read from the store for.
#[derive(Debug)]
pub(in crate::engine) enum ReadPurpose {
    /// To answer a question: which one, which node asked it, and of which topic.
    Fetch(QuestionId, Option<NodeId>, TopicId),
    /// To serve a reader: which read, and which lane of it.
    Lane(ReadId, LaneId),
    /// To hand a topic over to a node.
    HandOver(TopicId, NodeId),
    /// To see whether this node and the home replicas hold the very same: which proof.
    HandOverProof(TopicId, u64),
    /// To have other nodes prove that they hold the same: which challenge.
    Challenge(ChallengeId),
    /// To prove to another node that batches are held.
    Prove(Challenged),
    /// To find where a log has forked, and to file it.
    Fork(ForkRead, TopicId),
    /// To forget a compacted part that nothing follows: of which log, and where it ends.
    Bare(TopicId, LogId, u64),
    /// To prove how long logs are.
    Heads(Box<HeadsAsked>),
    /// To end the log of a removed writer.
    Closing(TopicId, LogId),
    /// To remember what was stored lately.
    Recall(TopicId),
}
