//! The nodes that a client may go to, and the order in which it tries them.

use antiphon::{
    limits::ADDRESSES_MAX,
    wire::{Contact, MemberState, Peer},
};
use libp2p::{Multiaddr, PeerId};

use crate::{
    client::ConnectError,
    network::{
        runtime_directory::{Found, Places},
        translate::{multiaddrs, peer_of, split_peer},
    },
};

/// The nodes that a client may go to.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Where nodes of this machine are found; none if the nodes were named.
    places: Option<Places>,
    /// Those that were named, or found: on this machine first, then on the LAN.
    nodes: Vec<Candidate>,
    /// Those that a node has told of. They come after the others.
    learned: Vec<Candidate>,
    /// Where the next one is.
    next: usize,
}

/// A node that a client may go to.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
    /// Whether mDNS found it, so that it is not known of what network it is.
    pub(super) is_of_lan: bool,
}

/// Candidates that are remembered.
const CANDIDATES_MAX: usize = 256;

/// Nodes that are remembered because another one told of them. Enough that some are left when
/// many go at once.
const LEARNED_MAX: usize = 16;

impl Candidates {
    fn of(places: Option<Places>) -> Self {
        Self { places, nodes: Vec::new(), learned: Vec::new(), next: 0 }
    }

    /// The nodes that were named.
    pub(super) fn listed(addresses: &[Multiaddr]) -> Result<Self, ConnectError> {
        let mut candidates = Self::of(None);
        for address in addresses {
            let (bare, Some(peer)) = split_peer(address.clone()) else {
                return Err(ConnectError::WithoutPeer(address.clone()));
            };
            candidates.add(peer, bare, false);
        }
        Ok(candidates)
    }

    /// The nodes that run on this machine, and those that are found on the LAN later.
    pub(super) fn found(places: Places) -> Self {
        let mut candidates = Self::of(Some(places));
        candidates.refresh();
        candidates
    }

    /// Whether nodes are searched for; else they were named.
    pub(super) fn are_searched_for(&self) -> bool {
        self.places.is_some()
    }

    /// Where nodes of this machine are looked for.
    pub(super) fn places(&self) -> Vec<String> {
        self.places.as_ref().map(Places::described).unwrap_or_default()
    }

    /// Whether there is no node left, and none can come.
    pub(super) fn are_exhausted(&self) -> bool {
        !self.are_searched_for() && self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() + self.learned.len()
    }

    /// Their names.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.iter().map(|candidate| candidate.peer)
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.nodes.iter().chain(&self.learned)
    }

    /// Whether one of them meets a condition.
    pub(super) fn any(&self, wanted: impl Fn(&PeerId) -> bool) -> bool {
        self.iter().any(|node| wanted(&node.peer))
    }

    /// The next one to try that meets a condition, round and round.
    pub(super) fn next(&mut self, wanted: impl Fn(&PeerId) -> bool) -> Option<Candidate> {
        let count = self.len();
        let mut places = (0..count).map(|step| (self.next + step) % count);
        let place = places.find(|place| {
            self.iter().nth(*place).is_some_and(|candidate| wanted(&candidate.peer))
        })?;
        self.next = place + 1;
        self.iter().nth(place).cloned()
    }

    /// Notes a node that mDNS found.
    pub(super) fn found_on_lan(&mut self, peer: PeerId, address: Multiaddr) {
        self.add(peer, address, true);
        let Self { nodes, learned, .. } = self;
        learned.retain(|other| nodes.iter().all(|node| node.peer != other.peer));
    }

    fn add(&mut self, peer: PeerId, address: Multiaddr, is_of_lan: bool) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.peer == peer) {
            // The newest first: a node that was started again may listen elsewhere.
            if is_of_lan {
                node.addresses.retain(|known| *known != address);
                node.addresses.insert(0, address);
            } else if !node.addresses.contains(&address) {
                node.addresses.push(address);
            }
            node.addresses.truncate(ADDRESSES_MAX);
        } else if self.nodes.len() < CANDIDATES_MAX {
            self.nodes.push(Candidate { peer, addresses: vec![address], is_of_lan });
        }
    }

    /// Takes in what a node says of the others. `turn` says with whom to begin, so that not all
    /// clients of a node go to the same one when it fails.
    pub(super) fn learn(&mut self, peers: Vec<Peer>, turn: usize) {
        let mut learned: Vec<Candidate> = peers
            .into_iter()
            .filter(|peer| peer.state != MemberState::Dead)
            .map(|Peer { node, addresses, .. }| Candidate {
                peer: peer_of(node),
                addresses: multiaddrs(&Contact::new(node, addresses)),
                is_of_lan: false,
            })
            .filter(|candidate| !candidate.addresses.is_empty())
            .filter(|candidate| self.nodes.iter().all(|node| node.peer != candidate.peer))
            .collect();
        if let Some(turn) = turn.checked_rem(learned.len()) {
            learned.rotate_left(turn);
            learned.truncate(LEARNED_MAX);
            self.learned = learned;
        }
    }

    /// Leaves a node out: it is of another network.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.nodes.retain(|node| node.peer != *peer);
        self.learned.retain(|node| node.peer != *peer);
    }

    /// Looks again which nodes run on this machine.
    pub(super) fn refresh(&mut self) {
        let Some(places) = &self.places else { return };
        let candidate = |Found { peer, addresses }| Candidate { peer, addresses, is_of_lan: false };
        let here: Vec<_> = places.nodes().into_iter().map(candidate).collect();
        let of_lan = std::mem::take(&mut self.nodes).into_iter().filter(|node| node.is_of_lan);
        let of_lan = of_lan.filter(|node| here.iter().all(|other| other.peer != node.peer));
        let of_lan: Vec<_> = of_lan.collect();
        self.nodes = here.into_iter().chain(of_lan).take(CANDIDATES_MAX).collect();
        let Self { nodes, learned, .. } = self;
        learned.retain(|other| nodes.iter().all(|node| node.peer != other.peer));
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::NodeKey;

    use super::*;

    fn peer(seed: u8, state: MemberState) -> Peer {
        let node = NodeKey::from_secret(&[seed; 32]).node();
        let addresses = vec![format!("/ip4/10.0.0.{seed}/tcp/1")];
        Peer::new(node, state, addresses)
    }

    #[test]
    fn what_a_node_tells_comes_after_what_was_named() {
        let named = peer(1, MemberState::Alive);
        let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", peer_of(named.node));
        let mut candidates = Candidates::listed(&[address.parse().unwrap()]).unwrap();
        let (near, dead) = (peer(2, MemberState::Suspect), peer(3, MemberState::Dead));
        let near_peer = peer_of(near.node);
        candidates.learn(vec![named.clone(), near, dead], 7);
        assert_eq!(candidates.len(), 2);
        let first = candidates.next(|_| true).unwrap();
        assert_eq!(first.addresses, ["/ip4/127.0.0.1/tcp/1".parse::<Multiaddr>().unwrap()]);
        assert_eq!(candidates.next(|_| true).unwrap().peer, near_peer);
        assert_eq!(candidates.next(|_| true).unwrap().peer, first.peer);
        assert_eq!(candidates.next(|other| *other == first.peer).unwrap().peer, first.peer);
        assert!(candidates.next(|_| false).is_none());
        // A node that knows nobody takes nothing away.
        candidates.learn(vec![named], 7);
        assert_eq!(candidates.len(), 2);
    }

    #[test]
    fn what_is_learned_is_bounded() {
        let mut candidates = Candidates::of(None);
        candidates.learn((1..=100).map(|seed| peer(seed, MemberState::Alive)).collect(), 250);
        assert_eq!(candidates.len(), LEARNED_MAX);
        let first = candidates.next(|_| true).unwrap();
        assert_eq!(first.peer, peer_of(peer(51, MemberState::Alive).node), "100 * 2 + 50");
    }

    #[test]
    fn what_is_found_on_the_lan_stays_when_this_machine_is_looked_through_again() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::only(place.path(), &"test".parse().unwrap());
        let mut candidates = Candidates::found(places);
        assert!(candidates.is_empty() && !candidates.are_exhausted(), "one may come");
        let node = peer_of(peer(1, MemberState::Alive).node);
        for port in 1..=2 * ADDRESSES_MAX {
            let address = format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
            candidates.found_on_lan(node, address);
        }
        candidates.refresh();
        let found = candidates.next(|_| true).unwrap();
        assert_eq!((found.peer, found.addresses.len()), (node, ADDRESSES_MAX));
        assert!(found.addresses[0].to_string().ends_with(&format!("/{}", 2 * ADDRESSES_MAX)));
        candidates.remove(&node);
        assert!(candidates.is_empty());
    }
}
