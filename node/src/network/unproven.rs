//! Who is believed to be a node.
//!
//! Identify is a peer's word. So what only a node may ask waits until the peer has answered as one:
//! the engine asks each node, as soon as it is connected, whom it knows. An honest node is not
//! slowed by more than that answer. All else is heard at once, as a client's. So are positions and
//! imported pages, which would take memory while they wait.

use std::collections::BTreeMap;

use antiphon::wire::{ClientRequest, NodeRequest, Request};
use libp2p::PeerId;

use super::{
    events::beats,
    limits::{UNPROVEN_MAX, UNPROVEN_PER_PEER_MAX, UNPROVEN_TIME_MAX},
    rpc::ReplyTo,
};

/// Requests of peers that have not answered yet.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    waiting: BTreeMap<PeerId, Vec<Waiting>>,
    count: usize,
}

#[derive(Debug)]
struct Waiting {
    reply_to: ReplyTo,
    request: Request,
    since: u64,
}

/// Whether a request is worth waiting for: it is small, and means something from a node alone.
pub(super) fn is_for_nodes(request: &Request) -> bool {
    matches!(
        request,
        Request::Node(
            NodeRequest::Leaving(_)
                | NodeRequest::Stopping
                | NodeRequest::Compare(..)
                | NodeRequest::Announce(_)
                | NodeRequest::CompareRoster(_)
        ) | Request::Client(ClientRequest::Forget(_))
    )
}

impl Unproven {
    /// A request waits. Returns it if too many do: then it is a client's.
    pub(super) fn wait(
        &mut self,
        reply_to: ReplyTo,
        request: Request,
        since: u64,
    ) -> Option<Request> {
        let own = self.waiting.get(&reply_to.peer()).map_or(0, Vec::len);
        if own >= UNPROVEN_PER_PEER_MAX || self.count >= UNPROVEN_MAX {
            return Some(request);
        }
        let waiting = self.waiting.entry(reply_to.peer()).or_default();
        waiting.push(Waiting { reply_to, request, since });
        self.count += 1;
        None
    }

    /// A peer has answered, or is gone: what waited, in its order.
    pub(super) fn take(&mut self, peer: &PeerId) -> Vec<(ReplyTo, Request)> {
        let waiting = self.waiting.remove(peer).unwrap_or_default();
        self.count -= waiting.len();
        waiting.into_iter().map(|it| (it.reply_to, it.request)).collect()
    }

    /// Nobody waits for the answer any more.
    pub(super) fn abandoned(&mut self, reply_to: ReplyTo) {
        if let Some(waiting) = self.waiting.get_mut(&reply_to.peer()) {
            let before = waiting.len();
            waiting.retain(|it| it.reply_to != reply_to);
            self.count -= before - waiting.len();
        }
    }

    /// Those peers that were waited for long enough.
    pub(super) fn overdue(&self, beat: u64) -> Vec<PeerId> {
        let is_overdue = |it: &Waiting| it.since + beats(UNPROVEN_TIME_MAX) <= beat;
        let overdue = self.waiting.iter().filter(|(_, waiting)| waiting.iter().any(is_overdue));
        overdue.map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_little_and_not_for_long() {
        let mut unproven = Unproven::default();
        let peer = PeerId::random();
        let stopping = || Request::Node(NodeRequest::Stopping);
        assert!(is_for_nodes(&stopping()));
        assert!(!is_for_nodes(&Request::Client(ClientRequest::Peers)), "both would wait");
        for number in 0..2 * UNPROVEN_PER_PEER_MAX as u64 {
            let too_many = unproven.wait(ReplyTo::sample(peer, number), stopping(), 7).is_some();
            assert_eq!(too_many, number >= UNPROVEN_PER_PEER_MAX as u64);
        }
        unproven.abandoned(ReplyTo::sample(peer, 0));
        let last = 7 + beats(UNPROVEN_TIME_MAX);
        assert_eq!(unproven.overdue(last - 1), []);
        assert_eq!(unproven.overdue(last), [peer]);
        assert_eq!(unproven.take(&peer).len(), UNPROVEN_PER_PEER_MAX - 1);
        assert_eq!(unproven.count, 0);
        assert!(unproven.take(&peer).is_empty() && unproven.waiting.is_empty());
    }
}
