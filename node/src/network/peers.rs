//! Who is connected, and what is known of them.

use std::collections::BTreeMap;

use antiphon::{
    engine::Asker,
    model::NodeId,
    wire::{Contact, Refusal, Request},
};
use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, swarm::ConnectionId};

use super::{
    allowance::{self, Allowance},
    events::beats,
    limits::KNOWN_AFTER,
    source::Source,
    translate::{is_loopback, node_of},
};

/// Beats after which a node is known.
const KNOWN_BEATS: u64 = beats(KNOWN_AFTER);

/// The connected peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    table: BTreeMap<PeerId, Peer>,
    /// The peer id of this node's operator: a client that connects as that has the key.
    operator: Option<PeerId>,
    /// Requests that have come.
    asked: u64,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its open connections, with the remote end of each.
    connections: BTreeMap<ConnectionId, ConnectedPoint>,
    /// What it is; none until identify has told.
    standing: Option<Standing>,
    /// When it was first known as a node, and is not among the known ones yet.
    new_since: Option<u64>,
    /// How many requests had come before its last one; none if it never asked.
    asked_at: Option<u64>,
    /// Whether it has answered a request, as only a node does.
    answered: bool,
    /// Whether a sign of life was reported since the last beat.
    heard: bool,
    /// Pings without an answer since the last answer.
    pub(super) unanswered: u32,
    /// What it may spend on requests that cost much.
    allowance: Allowance,
}

#[derive(Debug)]
enum Standing {
    Node(Contact),
    Client,
}

/// What identify's news of a peer mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is a node, which was not known before.
    Node(Contact),
    /// A known node has other addresses than before.
    Moved(Contact),
    /// Nothing new.
    Nothing,
}

impl Peers {
    /// No peers yet, and who the operator is.
    pub(super) fn new(operator: Option<PeerId>) -> Self {
        Self { operator, ..Self::default() }
    }

    /// A connection was opened.
    pub(super) fn opened(&mut self, peer: PeerId, id: ConnectionId, endpoint: ConnectedPoint) {
        let entry = self.table.entry(peer).or_insert_with(|| Peer {
            connections: BTreeMap::new(),
            standing: None,
            new_since: None,
            asked_at: None,
            answered: false,
            heard: false,
            unanswered: 0,
            allowance: Allowance::default(),
        });
        entry.connections.insert(id, endpoint);
    }

    /// A connection was closed; true if it was the peer's last one. One that was not open (any
    /// more, see [`Peers::remove`]) changes nothing.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> bool {
        let Some(entry) = self.table.get_mut(peer) else {
            return false;
        };
        entry.connections.remove(&id).is_some() && entry.connections.is_empty()
    }

    /// Forgets a peer; the node that it was.
    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<NodeId> {
        match self.table.remove(peer)?.standing? {
            Standing::Node(contact) => Some(contact.node),
            Standing::Client => None,
        }
    }

    /// The node that a peer is known to be.
    pub(super) fn node(&self, peer: &PeerId) -> Option<NodeId> {
        match &self.table.get(peer)?.standing {
            Some(Standing::Node(contact)) => Some(contact.node),
            Some(Standing::Client) | None => None,
        }
    }

    /// Who asks when this peer does. A peer id is proven when a connection is set up; an address
    /// proves nothing.
    pub(super) fn asker(&self, peer: &PeerId) -> Asker {
        if self.operator == Some(*peer) {
            return Asker::Operator;
        }
        let node = self.node(peer).filter(|_| !self.is_unproven(peer));
        node.map_or_else(|| Asker::Client(node_of(peer)), Asker::Node)
    }

    /// Whether a peer says that it is a node, and has not answered as one yet.
    pub(super) fn is_unproven(&self, peer: &PeerId) -> bool {
        let entry = self.table.get(peer);
        entry.is_some_and(|it| matches!(it.standing, Some(Standing::Node(_))) && !it.answered)
    }

    /// A peer has answered a request. Whether it is the first one.
    pub(super) fn answered(&mut self, peer: &PeerId) -> bool {
        let entry = self.table.get_mut(peer);
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.answered, true))
    }

    /// A peer asks something that may cost much.
    ///
    /// # Errors
    /// When it has spent more than it may.
    pub(super) fn spend(
        &mut self,
        peer: &PeerId,
        request: &Request,
        beat: u64,
    ) -> Result<(), Refusal> {
        self.asked += 1;
        let Some(entry) = self.table.get_mut(peer) else { return Ok(()) };
        entry.asked_at = Some(self.asked);
        match (allowance::cost(request), request) {
            (0, Request::Node(_)) => Ok(()),
            (cost, _) => entry.allowance.spend(cost, beat),
        }
    }

    /// When a peer asked last, in requests of all peers; none if it never did.
    pub(super) fn asked_at(&self, peer: &PeerId) -> Option<u64> {
        self.table.get(peer)?.asked_at
    }

    /// What a peer asked turned out to cost so much.
    pub(super) fn charge(&mut self, peer: &PeerId, cost: i64) {
        if let Some(entry) = self.table.get_mut(peer) {
            entry.allowance.charge(cost);
        }
    }

    /// Whether the peer has an open connection.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.table.contains_key(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.table.get_mut(peer)
    }

    /// Whether a connection is open.
    pub(super) fn has(&self, peer: &PeerId, id: ConnectionId) -> bool {
        self.table.get(peer).is_some_and(|entry| entry.connections.contains_key(&id))
    }

    /// The remote ends of the connections to a peer.
    pub(super) fn met_at(&self, peer: &PeerId) -> impl Iterator<Item = &Multiaddr> {
        let connections = self.table.get(peer).map(|entry| entry.connections.values());
        connections.into_iter().flatten().map(ConnectedPoint::get_remote_address)
    }

    /// Where a peer came from; none if this node has dialled it.
    pub(super) fn came_from(&self, peer: &PeerId) -> Option<Source> {
        let mut connections = self.table.get(peer)?.connections.values();
        let first = connections.clone().next().map(Source::of_endpoint);
        if connections.any(ConnectedPoint::is_dialer) { None } else { first }
    }

    /// Whether a peer came from outside, and has not been a node for long enough to be known.
    pub(super) fn is_new(&self, peer: &PeerId) -> bool {
        let is_known = self.table.get(peer).is_none_or(|entry| entry.new_since.is_none());
        !is_known && self.came_from(peer).is_some()
    }

    /// How many nodes are connected.
    pub(super) fn nodes(&self) -> usize {
        let nodes = self.table.values();
        nodes.filter(|peer| matches!(peer.standing, Some(Standing::Node(_)))).count()
    }

    /// Identify told that a connected peer is a node that listens at these addresses.
    pub(super) fn identified_node(
        &mut self,
        peer: &PeerId,
        listening: &[Multiaddr],
        beat: u64,
    ) -> News {
        let (Some(entry), Some(node)) = (self.table.get_mut(peer), node_of(peer)) else {
            return News::Nothing;
        };
        let contact = entry.contact(node, listening);
        if !matches!(entry.standing, Some(Standing::Node(_))) {
            entry.new_since = Some(beat);
        }
        match entry.standing.replace(Standing::Node(contact.clone())) {
            Some(Standing::Node(before)) if before == contact => News::Nothing,
            Some(Standing::Node(_)) => News::Moved(contact),
            Some(Standing::Client) | None => News::Node(contact),
        }
    }

    /// Identify told that a connected peer is a client.
    pub(super) fn identified_client(&mut self, peer: &PeerId) {
        if let Some(entry) = self.table.get_mut(peer) {
            entry.standing.get_or_insert(Standing::Client);
        }
    }

    /// A peer gave a sign of life: the node that it is, if that was not reported yet in this
    /// beat.
    pub(super) fn heard(&mut self, peer: &PeerId) -> Option<NodeId> {
        let entry = self.table.get_mut(peer)?;
        match &entry.standing {
            Some(Standing::Node(contact)) if !entry.heard => {
                entry.heard = true;
                Some(contact.node)
            }
            _ => None,
        }
    }

    /// A new beat: signs of life are reported again. Returns the peers that have been nodes for
    /// long enough to be known.
    pub(super) fn beat(&mut self, beat: u64) -> Vec<PeerId> {
        let mut known = Vec::new();
        for (id, peer) in &mut self.table {
            peer.heard = false;
            if peer.new_since.take_if(|since| *since + KNOWN_BEATS <= beat).is_some() {
                known.push(*id);
            }
        }
        known
    }
}

impl Peer {
    fn contact(&self, node: NodeId, listening: &[Multiaddr]) -> Contact {
        let mut dialled = self.connections.values().filter_map(|endpoint| match endpoint {
            ConnectedPoint::Dialer { address, .. } => Some(address),
            ConnectedPoint::Listener { .. } => None,
        });
        let mut endpoints = self.connections.values();
        let met_over_loopback =
            endpoints.any(|endpoint| is_loopback(endpoint.get_remote_address()));
        super::translate::contact(node, listening, dialled.next(), met_over_loopback)
    }
}
