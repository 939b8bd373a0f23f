//! Who coordinates a group, and how members' questions get there.

use super::{Asked, Key, MemberRequest, ranges};
use crate::{
    engine::{Engine, ids::QuestionId, inflight::asks::Purpose, input::Failure},
    limits::{ASK_TIMEOUT, QUESTIONS_MAX, READ_WAIT_MAX},
    model::{NodeId, TopicId},
    wire::{ClientRequest, MemberState, Membership, Refusal, Response, Settle, Settlement},
};

/// By how many nodes a question is passed on. The last one takes it, whatever it knows of others.
const HOPS_MAX: u8 = 2;

/// A question that was passed on.
#[derive(Debug)]
pub(super) struct Passed {
    membership: Membership,
    /// Whether the asker is gone.
    is_abandoned: bool,
}

impl Engine {
    /// The group that a question is about, where this node coordinates it; otherwise the question
    /// is passed on, or refused.
    pub(super) fn coordinated(
        &mut self,
        asked: Asked,
        topic: TopicId,
        request: MemberRequest,
    ) -> Option<(Key, MemberRequest)> {
        let Membership { group, hops, .. } = request.membership();
        let (key, hops) = ((topic, group.clone()), *hops);
        match self.coordinator(&key).filter(|_| hops < HOPS_MAX) {
            Some(node) if node != self.core.me => {
                self.pass_on(asked.question, node, request);
                None
            }
            Some(_) | None => Some((key, request)),
        }
    }

    /// The node that coordinates a group: of the topic's replicas that are alive one that follows
    /// from the group's name, so that the groups of a topic are at different nodes.
    pub(super) fn coordinator(&mut self, (topic, group): &Key) -> Option<NodeId> {
        let known = self.core.topics.get_mut(topic)?;
        let acting = known.placement(&self.core.members).acting.clone();
        let is_there = |node: &NodeId| {
            let alive = self.core.members.state(node) == MemberState::Alive;
            *node == self.core.me || alive && self.core.members.is_connected(node)
        };
        let rank = |node: &NodeId| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(node.as_bytes()).update(topic.as_bytes());
            *hasher.update(group.as_str().as_bytes()).finalize().as_bytes()
        };
        acting.into_iter().filter(is_there).max_by_key(rank)
    }

    fn pass_on(&mut self, question: QuestionId, node: NodeId, request: MemberRequest) {
        let membership = request.membership().clone();
        if self.subscriptions.groups.passed.len() >= QUESTIONS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        self.subscriptions
            .groups
            .passed
            .insert(question, Passed { membership, is_abandoned: false });
        let timeout = match &request {
            MemberRequest::Take(_) => READ_WAIT_MAX + ASK_TIMEOUT,
            MemberRequest::Settle(_) => ASK_TIMEOUT,
        };
        self.core.ask(node, request.further(), timeout, Purpose::Group(question));
    }

    /// The coordinator has answered, or cannot.
    pub(in crate::engine) fn group_told(
        &mut self,
        node: NodeId,
        question: QuestionId,
        result: Result<Response, Failure>,
    ) {
        let Some(passed) = self.subscriptions.groups.passed.remove(&question) else { return };
        match result {
            Ok(Response::Taken(taken)) if passed.is_abandoned => {
                // Nobody is there to work on them.
                let settlement = Settlement { returned: ranges(&taken), ..Settlement::default() };
                let membership = Membership { generation: taken.generation, ..passed.membership };
                let settle = Settle { membership, settlement, visibility_ms: 0 };
                let request = MemberRequest::Settle(Box::new(settle)).further();
                self.core.ask(node, request, ASK_TIMEOUT, Purpose::Tell);
            }
            Ok(response @ (Response::Taken(_) | Response::Settled(_) | Response::Refused(_))) => {
                self.core.answer(question, response);
            }
            Ok(_) | Err(_) => self.core.refuse(question, Refusal::Unreachable),
        }
    }

    pub(super) fn passed_abandoned(&mut self, question: QuestionId) {
        if let Some(passed) = self.subscriptions.groups.passed.get_mut(&question) {
            passed.is_abandoned = true;
        }
    }
}

impl MemberRequest {
    fn membership(&self) -> &Membership {
        match self {
            Self::Take(take) => &take.membership,
            Self::Settle(settle) => &settle.membership,
        }
    }

    /// The request as it is passed on.
    fn further(mut self) -> ClientRequest {
        let membership = match &mut self {
            Self::Take(take) => &mut take.membership,
            Self::Settle(settle) => &mut settle.membership,
        };
        membership.hops = membership.hops.saturating_add(1);
        self.into()
    }

    /// Which generation of the group it is about.
    pub(super) fn generation(&self) -> u64 {
        self.membership().generation
    }

    /// Whether nodes did not agree on the coordinator.
    pub(super) fn is_disputed(&self) -> bool {
        self.membership().hops >= HOPS_MAX
    }
}
