//! The requests under way in both directions, and their limits.

use std::collections::{BTreeMap, VecDeque};

use antiphon::{
    engine::{AskId, QuestionId},
    limits::QUESTIONS_MAX,
    model::NodeId,
    wire::Request,
};
use libp2p::PeerId;

use super::rpc::{ASKS_PER_PEER_MAX, ReplyTo, RequestId};

/// Inbound requests.
#[derive(Debug, Default)]
pub(super) struct Questions {
    next: u64,
    open: BTreeMap<QuestionId, ReplyTo>,
    by_reply: BTreeMap<ReplyTo, QuestionId>,
}

impl Questions {
    /// Registers a request and gives it an id; none if there are too many.
    pub(super) fn open(&mut self, reply_to: ReplyTo) -> Option<QuestionId> {
        if self.open.len() >= QUESTIONS_MAX {
            return None;
        }
        // Questions from within the process have the odd numbers.
        let question = QuestionId(self.next);
        self.next += 2;
        self.open.insert(question, reply_to);
        self.by_reply.insert(reply_to, question);
        Some(question)
    }

    /// Where to send the answer; none if the asker is gone.
    pub(super) fn answered(&mut self, question: QuestionId) -> Option<ReplyTo> {
        let reply_to = self.open.remove(&question)?;
        self.by_reply.remove(&reply_to);
        Some(reply_to)
    }

    /// Nobody waits for the answer any more. Returns the abandoned request, if it is still open.
    pub(super) fn abandoned(&mut self, reply_to: ReplyTo) -> Option<QuestionId> {
        let question = self.by_reply.remove(&reply_to)?;
        self.open.remove(&question);
        Some(question)
    }

    /// A peer is gone. Returns its abandoned requests.
    pub(super) fn abandoned_by(&mut self, peer: &PeerId) -> Vec<QuestionId> {
        let open = self.open.iter().filter(|(_, reply_to)| reply_to.peer() == *peer);
        let abandoned: Vec<_> = open.map(|(question, _)| *question).collect();
        for question in &abandoned {
            self.answered(*question);
        }
        abandoned
    }
}

/// Outbound requests.
///
/// At most [`ASKS_PER_PEER_MAX`] requests are under way at one node; up to [`WAITING_MAX`] more
/// wait here for their turn.
#[derive(Debug, Default)]
pub(super) struct Asks {
    sent: BTreeMap<RequestId, Sent>,
    nodes: BTreeMap<NodeId, Load>,
}

#[derive(Debug)]
struct Sent {
    ask: AskId,
    to: NodeId,
    beat: u64,
}

#[derive(Debug, Default)]
struct Load {
    sent: usize,
    waiting: VecDeque<(AskId, Request)>,
}

/// Requests that wait for their turn at one node. The engine limits their bytes. This limits how
/// long a node that is too slow is relied on.
const WAITING_MAX: usize = 1_024;

/// What to do with a request.
pub(super) enum Admission {
    /// Send it now, and call [`Asks::sent`].
    Send(Request),
    /// It waits; [`Asks::settled`] hands it out in its turn.
    Waits,
    /// Too many wait already.
    Full,
}

impl Asks {
    pub(super) fn admit(&mut self, ask: AskId, to: NodeId, request: Request) -> Admission {
        let load = self.nodes.entry(to).or_default();
        if load.sent < ASKS_PER_PEER_MAX {
            Admission::Send(request)
        } else if load.waiting.len() < WAITING_MAX {
            load.waiting.push_back((ask, request));
            Admission::Waits
        } else {
            Admission::Full
        }
    }

    pub(super) fn sent(&mut self, request: RequestId, ask: AskId, to: NodeId, beat: u64) {
        self.sent.insert(request, Sent { ask, to, beat });
        self.nodes.entry(to).or_default().sent += 1;
    }

    /// An exchange has ended. Returns whose it was, and what to send to that node next. None if it
    /// was given up before.
    pub(super) fn settled(&mut self, request: RequestId) -> Option<Settled> {
        let Sent { ask, to, .. } = self.sent.remove(&request)?;
        let load = self.nodes.get_mut(&to)?;
        load.sent -= 1;
        let next = load.waiting.pop_front();
        if load.sent == 0 && next.is_none() {
            self.nodes.remove(&to);
        }
        Some(Settled { ask, to, next })
    }

    /// A node is gone. Returns the requests that get no answer any more.
    pub(super) fn lost(&mut self, node: NodeId) -> Vec<AskId> {
        let Some(load) = self.nodes.remove(&node) else {
            return Vec::new();
        };
        let mut lost = Vec::new();
        self.sent.retain(|_, sent| {
            let stays = sent.to != node;
            if !stays {
                lost.push(sent.ask);
            }
            stays
        });
        lost.extend(load.waiting.into_iter().map(|(ask, _)| ask));
        lost
    }

    /// The exchanges that began before this beat. They are in the order of their beginning.
    pub(super) fn begun_before(&self, beat: u64) -> Vec<RequestId> {
        let old = self.sent.iter().take_while(|(_, sent)| sent.beat < beat);
        old.map(|(request, _)| *request).collect()
    }
}

/// An exchange that has ended.
pub(super) struct Settled {
    pub(super) ask: AskId,
    pub(super) to: NodeId,
    /// The request to the same node that has waited longest.
    pub(super) next: Option<(AskId, Request)>,
}
