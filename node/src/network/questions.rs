//! The requests of others that are under way at this node, by class, with a share for each peer.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    engine::{Asker, QuestionId},
    wire::{ClientRequest, Refusal, Request},
};
use libp2p::PeerId;

use super::{
    limits::{
        CLIENT_QUESTIONS_MAX, NODE_QUESTIONS_MAX, QUESTIONS_ALWAYS, QUESTIONS_PER_PEER_MAX,
        RETRY_SOON_MS, SURVEYING_QUESTIONS_MAX, WAITING_QUESTIONS_MAX,
    },
    rpc::ReplyTo,
};

/// Requests that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Those of nodes: replication, above all.
    Node,
    /// Those that wait until something changes, in tables of their own.
    Waiting,
    /// Those for which this node asks others.
    Surveying,
    /// All others of clients.
    Client,
}

impl Class {
    const COUNT: usize = 4;

    fn of(asker: Asker, request: &Request) -> Self {
        match request {
            _ if asker.node().is_some() => Self::Node,
            Request::Client(ClientRequest::Names(_) | ClientRequest::Await(_)) => Self::Waiting,
            Request::Client(
                ClientRequest::Survey(_)
                | ClientRequest::Subscriptions(..)
                | ClientRequest::Position(..)
                | ClientRequest::Commit(..)
                | ClientRequest::Topics(_),
            ) => Self::Surveying,
            _ => Self::Client,
        }
    }

    fn max(self) -> usize {
        match self {
            Self::Node => NODE_QUESTIONS_MAX,
            Self::Waiting => WAITING_QUESTIONS_MAX,
            Self::Surveying => SURVEYING_QUESTIONS_MAX,
            Self::Client => CLIENT_QUESTIONS_MAX,
        }
    }
}

/// Inbound requests.
#[derive(Debug, Default)]
pub(super) struct Questions {
    next: u64,
    open: BTreeMap<QuestionId, (ReplyTo, Class)>,
    by_reply: BTreeMap<ReplyTo, QuestionId>,
    loads: [Load; Class::COUNT],
}

/// The requests of one class.
#[derive(Debug, Default)]
struct Load {
    count: usize,
    peers: BTreeMap<PeerId, BTreeSet<QuestionId>>,
}

impl Load {
    /// Whether a peer may have one more. When the class is full each peer may still have its part
    /// of it. So no peer's requests keep out those of another one, and there are never more than
    /// some four times as many.
    fn admits(&self, peer: &PeerId, max: usize) -> bool {
        let count = self.peers.get(peer).map_or(0, BTreeSet::len);
        let others = self.peers.len() - usize::from(count > 0);
        let part = (max / (others + 1)).max(QUESTIONS_ALWAYS);
        count < QUESTIONS_PER_PEER_MAX && (self.count < max || count < part)
    }
}

impl Questions {
    /// Registers a request and gives it an id.
    ///
    /// # Errors
    /// When the asker has its share under way.
    pub(super) fn open(
        &mut self,
        reply_to: ReplyTo,
        asker: Asker,
        request: &Request,
    ) -> Result<QuestionId, Refusal> {
        let class = Class::of(asker, request);
        let (peer, load) = (reply_to.peer(), &mut self.loads[class as usize]);
        if !load.admits(&peer, class.max()) {
            let count = load.peers.get(&peer).map_or(0, BTreeSet::len);
            return Err(Refusal::OverBudget {
                reason: format!("the asker has {count} requests under way at the node"),
                retry_after_ms: RETRY_SOON_MS,
            });
        }
        // Questions from within the process have the odd numbers.
        let question = QuestionId(self.next);
        self.next += 2;
        load.count += 1;
        load.peers.entry(peer).or_default().insert(question);
        self.open.insert(question, (reply_to, class));
        self.by_reply.insert(reply_to, question);
        Ok(question)
    }

    /// Whether a peer has requests under way.
    pub(super) fn has_open(&self, peer: &PeerId) -> bool {
        self.loads.iter().any(|load| load.peers.contains_key(peer))
    }

    /// How many requests a client has under way.
    pub(super) fn of_client(&self, peer: &PeerId) -> usize {
        self.loads[Class::Client as usize].peers.get(peer).map_or(0, BTreeSet::len)
    }

    /// Where to send the answer; none if the asker is gone.
    pub(super) fn answered(&mut self, question: QuestionId) -> Option<ReplyTo> {
        let (reply_to, class) = self.open.remove(&question)?;
        self.by_reply.remove(&reply_to);
        let load = &mut self.loads[class as usize];
        load.count -= 1;
        if let Some(open) = load.peers.get_mut(&reply_to.peer()) {
            open.remove(&question);
            if open.is_empty() {
                load.peers.remove(&reply_to.peer());
            }
        }
        Some(reply_to)
    }

    /// Nobody waits for the answer any more. Returns the abandoned request, if it is still open.
    pub(super) fn abandoned(&mut self, reply_to: ReplyTo) -> Option<QuestionId> {
        let question = *self.by_reply.get(&reply_to)?;
        self.answered(question).map(|_| question)
    }

    /// A peer is gone. Returns its abandoned requests.
    pub(super) fn abandoned_by(&mut self, peer: &PeerId) -> BTreeSet<QuestionId> {
        let open = self.loads.iter().filter_map(|load| load.peers.get(peer));
        let abandoned: BTreeSet<_> = open.flatten().copied().collect();
        for question in &abandoned {
            self.answered(*question);
        }
        abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::translate::node_of;

    struct Asking {
        questions: Questions,
        next: u64,
    }

    impl Asking {
        fn new() -> Self {
            Self { questions: Questions::default(), next: 0 }
        }

        fn ask(&mut self, peer: PeerId, asker: Asker) -> Option<QuestionId> {
            self.next += 1;
            let reply_to = ReplyTo::sample(peer, self.next);
            let request = Request::Client(ClientRequest::Peers);
            self.questions.open(reply_to, asker, &request).ok()
        }

        fn ask_as_client(&mut self, peer: PeerId) -> Option<QuestionId> {
            self.ask(peer, Asker::Client(node_of(&peer)))
        }
    }

    #[test]
    fn those_who_ask_much_keep_nobody_out() {
        let mut asking = Asking::new();
        let greedy: Vec<_> = (0..50).map(|_| PeerId::random()).collect();
        for peer in &greedy {
            let admitted = (0..1_000).filter(|_| asking.ask_as_client(*peer).is_some()).count();
            assert!(admitted <= QUESTIONS_PER_PEER_MAX);
            assert!(admitted >= CLIENT_QUESTIONS_MAX / greedy.len());
        }
        assert!(asking.questions.open.len() <= 4 * CLIENT_QUESTIONS_MAX);
        let newcomer = PeerId::random();
        let part = CLIENT_QUESTIONS_MAX / (greedy.len() + 1);
        assert_eq!((0..1_000).filter_map(|_| asking.ask_as_client(newcomer)).count(), part);
        for _ in 0..CLIENT_QUESTIONS_MAX {
            let one_more = PeerId::random();
            let asked = (0..100).filter_map(|_| asking.ask_as_client(one_more)).count();
            assert!(asked >= QUESTIONS_ALWAYS);
        }
    }

    #[test]
    fn no_client_takes_the_places_of_nodes() {
        let mut asking = Asking::new();
        for _ in 0..2 * CLIENT_QUESTIONS_MAX {
            asking.ask_as_client(PeerId::random());
        }
        let node = PeerId::random();
        let asker = Asker::Node(node_of(&PeerId::random()).unwrap_or_else(sample_node));
        let asked = (0..1_000).filter(|_| asking.ask(node, asker).is_some()).count();
        assert_eq!(asked, QUESTIONS_PER_PEER_MAX);
    }

    fn sample_node() -> antiphon::model::NodeId {
        antiphon::model::NodeId::from_bytes([1; 32])
    }

    #[test]
    fn what_has_ended_makes_room() {
        let mut asking = Asking::new();
        let peer = PeerId::random();
        let first = asking.ask_as_client(peer).unwrap();
        while asking.ask_as_client(peer).is_some() {}
        let reply_to = asking.questions.answered(first).unwrap();
        assert_eq!(reply_to.peer(), peer);
        let again = asking.ask_as_client(peer).unwrap();
        assert_eq!(asking.ask_as_client(peer), None);
        let (last, _) = asking.questions.open[&again];
        assert_eq!(asking.questions.abandoned(last), Some(again));
        assert_eq!(asking.questions.abandoned(last), None);
        assert_eq!(asking.questions.abandoned_by(&peer).len(), QUESTIONS_PER_PEER_MAX - 1);
        assert!(asking.questions.open.is_empty() && asking.questions.by_reply.is_empty());
        assert!(asking.questions.loads.iter().all(|load| load.count == 0 && load.peers.is_empty()));
    }
}
