//! What the store is asked for.

use super::asks::{LaneId, Walk};
use crate::{
    engine::ids::QuestionId,
    model::{LogId, NodeId, TopicId},
};

/// Whom it is said what became of batches that were to be stored.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Reply {
    /// A node that replicates them.
    Replicated(QuestionId),
    /// A node that imports them.
    Imported(QuestionId),
    /// An import of this node: which one.
    Own(u64),
}

/// What batches are read from the store for.
#[derive(Debug)]
pub(in crate::engine) enum ReadPurpose {
    /// To answer another node: this question.
    Fetch(QuestionId),
    /// To serve a reader: which read, and which lane of it.
    Lane(u64, LaneId),
    /// To hand a topic over to a node.
    HandOver(TopicId, NodeId),
    /// To see whether this node and the home replicas hold the very same: which proof.
    HandOverProof(TopicId, u64),
    /// To see whether a place is taken by another batch: which check.
    Check(u64, TopicId),
    /// To find where a log has forked.
    ForkSearch(TopicId, LogId),
    /// To file a part of a forked log under branches.
    File(TopicId, LogId),
    /// To find among headers the branch of a part.
    Headers(TopicId, LogId, Walk),
    /// To remember what was stored lately.
    Recall(TopicId),
}
