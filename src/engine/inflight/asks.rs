//! The requests that this node has under way at others: to whom, what for, until when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    engine::ids::{
        AskId, ChallengeId, ChangeId, CommitId, ComparisonId, ImportId, ListingId, QuestionId,
        ReadId, SearchId, SurveyId, TopicListingId,
    },
    model::{Hash, LogId, NodeId, SubscriberName, TopicId, TopicName},
    wire::LogRange,
};

/// A batch that was sent, to match its receipt.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Sent {
    pub(in crate::engine) topic: TopicId,
    pub(in crate::engine) log: LogId,
    pub(in crate::engine) hash: Hash,
}

/// What must be fetched of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Pull {
    pub(in crate::engine) topic: TopicId,
    pub(in crate::engine) ranges: Vec<LogRange>,
}

/// Names a lane of a read: its attempt and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct LaneId {
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) index: usize,
}

/// What is asked to find where a log has forked, and what belongs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum ForkAsk {
    /// What the other holds of the log.
    Frontier,
    /// One batch, to compare it.
    Batch,
    /// A part of a branch, to learn whether a part that is held here belongs to it.
    Way,
}

/// What an answer is for.
#[derive(Debug)]
pub(in crate::engine) enum Purpose {
    /// To learn whom the other knows.
    Acquaint,
    /// To tell of terms that this node signed: which change.
    Announce(ChangeId),
    /// To compare holdings.
    Compare,
    /// To compare statements.
    Statements,
    /// To compare rosters.
    Roster,
    /// To list topics: which listing.
    Counts(TopicListingId),
    /// To find a topic that is unknown here.
    Describe(TopicName),
    /// To find where a log has forked.
    Fork(ForkAsk, TopicId, LogId),
    /// To see whether the other holds the very batches that are to be given up here.
    HandOverProof(TopicId, u64),
    /// To give a subscription's position to where it belongs.
    HandOverPosition(TopicId, SubscriberName, u64),
    /// To repair: the subscriptions of a topic.
    RepairPositions(TopicId),
    /// To list subscriptions: which listing.
    Positions(ListingId),
    /// To ask who coordinates a group, for this question.
    Group(QuestionId),
    /// To keep a subscription's position: which commit.
    Keep(CommitId),
    /// To serve a reader.
    ReadLane(ReadId, LaneId),
    /// To have batches stored.
    Replicate(Vec<Sent>),
    /// To repair: batches.
    RepairFetch(Pull),
    /// To repair: what the other holds of a topic.
    RepairFrontier(TopicId),
    /// To survey a topic: which survey.
    Survey(SurveyId),
    /// To find records that may be there already: which search, and which round of it.
    Find(SearchId, u32),
    /// To be shown records that may be there already: which search.
    Shown(SearchId),
    /// To import batches: which import.
    Import(ImportId),
    /// To have a node prove that it holds batches: which challenge.
    Prove(ChallengeId),
    /// To compare disks: which comparison.
    Check(ComparisonId),
    /// To tell something, whatever the answer.
    Tell,
}

#[derive(Debug)]
struct Pending {
    to: NodeId,
    sent: Duration,
    deadline: Duration,
    purpose: Purpose,
}

/// The requests under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Asks {
    next: u64,
    pending: BTreeMap<AskId, Pending>,
    deadlines: BTreeSet<(Duration, AskId)>,
}

impl Asks {
    /// Asserts that each request under way has its deadline.
    #[cfg(debug_assertions)]
    pub(in crate::engine) fn check(&self) {
        assert_eq!(self.pending.len(), self.deadlines.len(), "requests and their deadlines");
        for (deadline, ask) in &self.deadlines {
            let pending = self.pending.get(ask);
            assert!(pending.is_some_and(|it| it.deadline == *deadline), "{ask:?} has no deadline");
        }
    }

    /// Registers a request.
    pub(in crate::engine) fn put(
        &mut self,
        to: NodeId,
        sent: Duration,
        timeout: Duration,
        purpose: Purpose,
    ) -> AskId {
        let deadline = sent + timeout;
        self.next += 1;
        let ask = AskId(self.next);
        self.deadlines.insert((deadline, ask));
        self.pending.insert(ask, Pending { to, sent, deadline, purpose });
        ask
    }

    /// Ends a request: to whom it went, when, and what for.
    pub(in crate::engine) fn take(&mut self, ask: AskId) -> Option<(NodeId, Duration, Purpose)> {
        let pending = self.pending.remove(&ask)?;
        self.deadlines.remove(&(pending.deadline, ask));
        Some((pending.to, pending.sent, pending.purpose))
    }

    /// Ends all requests to a node.
    pub(in crate::engine) fn take_all(&mut self, node: &NodeId) -> Vec<Purpose> {
        let of_node = |(ask, pending): (&AskId, &Pending)| (pending.to == *node).then_some(*ask);
        let asks: Vec<_> = self.pending.iter().filter_map(of_node).collect();
        asks.into_iter().filter_map(|ask| self.take(ask)).map(|(.., purpose)| purpose).collect()
    }

    /// Ends all requests whose time is over.
    pub(in crate::engine) fn take_overdue(&mut self, now: Duration) -> Vec<(NodeId, Purpose)> {
        let overdue: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, ask)| *ask)
            .collect();
        let taken = overdue.into_iter().filter_map(|ask| self.take(ask));
        taken.map(|(node, _, purpose)| (node, purpose)).collect()
    }
}
