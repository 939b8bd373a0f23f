//! The requests of this node that are under way at others, and their limits.

use std::collections::{BTreeMap, VecDeque};

use antiphon::{
    engine::AskId,
    model::NodeId,
    wire::{NodeRequest, Request},
};

use super::{
    limits::{ASKS_FOR_OTHERS_MAX, ASKS_FOR_OTHERS_WAITING_MAX, ASKS_WAITING_MAX},
    rpc::{ASKS_PER_PEER_MAX, RequestId},
};

/// Outbound requests.
///
/// At most [`ASKS_PER_PEER_MAX`] requests are under way at one node; some more wait here for their
/// turn. What clients cause has fewer places, and comes after what keeps records safe.
#[derive(Debug, Default)]
pub(super) struct Asks {
    sent: BTreeMap<RequestId, Sent>,
    nodes: BTreeMap<NodeId, Load>,
}

#[derive(Debug)]
struct Sent {
    ask: AskId,
    to: NodeId,
    purpose: Purpose,
    beat: u64,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It keeps records safe. No client can have more of these sent than it publishes.
    Own,
    /// It may be for somebody who asked this node.
    Others,
}

impl Purpose {
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Node(
                NodeRequest::Replicate(_)
                | NodeRequest::Compare(..)
                | NodeRequest::Keep(..)
                | NodeRequest::Prove(..)
                | NodeRequest::CompareRoster(_)
                | NodeRequest::TellRoster(_)
                | NodeRequest::Leaving(_)
                | NodeRequest::Stopping,
            ) => Self::Own,
            _ => Self::Others,
        }
    }
}

#[derive(Debug, Default)]
struct Load {
    sent: usize,
    sent_for_others: usize,
    own: VecDeque<(AskId, Request)>,
    for_others: VecDeque<(AskId, Request)>,
}

impl Load {
    fn has_room(&self, purpose: Purpose) -> bool {
        self.sent < ASKS_PER_PEER_MAX
            && (purpose == Purpose::Own || self.sent_for_others < ASKS_FOR_OTHERS_MAX)
    }

    fn next(&mut self) -> Option<(AskId, Request)> {
        if self.has_room(Purpose::Own) && !self.own.is_empty() {
            return self.own.pop_front();
        }
        if self.has_room(Purpose::Others) { self.for_others.pop_front() } else { None }
    }
}

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
        let purpose = Purpose::of(&request);
        let has_room = load.has_room(purpose);
        let (waiting, max) = match purpose {
            Purpose::Own => (&mut load.own, ASKS_WAITING_MAX),
            Purpose::Others => (&mut load.for_others, ASKS_FOR_OTHERS_WAITING_MAX),
        };
        if has_room && waiting.is_empty() {
            Admission::Send(request)
        } else if waiting.len() < max {
            waiting.push_back((ask, request));
            Admission::Waits
        } else {
            Admission::Full
        }
    }

    pub(super) fn sent(
        &mut self,
        request: RequestId,
        ask: AskId,
        to: NodeId,
        purpose: Purpose,
        beat: u64,
    ) {
        self.sent.insert(request, Sent { ask, to, purpose, beat });
        let load = self.nodes.entry(to).or_default();
        load.sent += 1;
        load.sent_for_others += usize::from(purpose == Purpose::Others);
    }

    /// An exchange has ended. Returns whose it was, and what to send to that node next. None if it
    /// was given up before.
    pub(super) fn settled(&mut self, request: RequestId) -> Option<Settled> {
        let Sent { ask, to, purpose, .. } = self.sent.remove(&request)?;
        let load = self.nodes.get_mut(&to)?;
        load.sent -= 1;
        load.sent_for_others -= usize::from(purpose == Purpose::Others);
        let next = load.next();
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
        lost.extend(load.own.into_iter().chain(load.for_others).map(|(ask, _)| ask));
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
    /// The request to the same node whose turn it is.
    pub(super) next: Option<(AskId, Request)>,
}

#[cfg(test)]
mod tests {
    use antiphon::wire::ClientRequest;

    use super::*;

    #[test]
    fn what_clients_cause_leaves_room_for_what_keeps_records_safe() {
        let mut asks = Asks::default();
        let to = NodeId::from_bytes([1; 32]);
        let own = || Request::Node(NodeRequest::Leaving(false));
        let caused = || Request::Client(ClientRequest::Peers);
        let (mut next, mut sent) = (0, Vec::new());
        let mut admit = |asks: &mut Asks, request: Request| {
            next += 1;
            let purpose = Purpose::of(&request);
            let admission = asks.admit(AskId(next), to, request);
            if matches!(admission, Admission::Send(_)) {
                sent.push(RequestId::sample(next));
                asks.sent(RequestId::sample(next), AskId(next), to, purpose, 0);
            }
            (admission, AskId(next))
        };
        let (mut begun, mut wait, mut full) = (0, 0, 0);
        for _ in 0..10_000 {
            match admit(&mut asks, caused()).0 {
                Admission::Send(_) => begun += 1,
                Admission::Waits => wait += 1,
                Admission::Full => full += 1,
            }
        }
        assert_eq!((begun, wait), (ASKS_FOR_OTHERS_MAX, ASKS_FOR_OTHERS_WAITING_MAX));
        assert!(full > 0);
        for _ in 0..ASKS_PER_PEER_MAX - ASKS_FOR_OTHERS_MAX {
            assert!(matches!(admit(&mut asks, own()).0, Admission::Send(_)));
        }
        let (admission, waits) = admit(&mut asks, own());
        assert!(matches!(admission, Admission::Waits));
        let settled = asks.settled(sent[0]).unwrap();
        assert_eq!(settled.next, Some((waits, own())), "before all that waited longer");
        assert_eq!(asks.lost(to).len(), ASKS_PER_PEER_MAX - 1 + wait);
    }
}
