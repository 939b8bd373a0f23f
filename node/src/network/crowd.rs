//! Who stays connected when there are too many.
//!
//! Peers that are known as nodes, and those that this node dialled itself, have places of their
//! own. All others are strangers. When there are too many of them, the source with most loses a
//! connection that was of the least use: one over which nothing was asked, or not for longest. So
//! newcomers are served while somebody holds thousands of connections.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use libp2p::{PeerId, swarm::ConnectionId};

use super::{
    limits::{
        KNOWN_PER_ADDRESS_MAX, KNOWN_PER_MACHINE_MAX, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX,
        STRANGERS_PER_MACHINE_MAX,
    },
    source::{Counts, Source},
};

/// The incoming connections, by where they come from.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    strangers: Places,
    known: Places,
    /// Connections that are being closed.
    closing: BTreeSet<ConnectionId>,
}

#[derive(Debug, Default)]
struct Places {
    peers: BTreeMap<ConnectionId, (PeerId, Source)>,
    counts: Counts,
}

impl Places {
    fn add(&mut self, id: ConnectionId, peer: PeerId, source: Source) {
        self.peers.insert(id, (peer, source));
        self.counts.add(source);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<(PeerId, Source)> {
        let (peer, source) = self.peers.remove(&id)?;
        self.counts.remove(source);
        Some((peer, source))
    }
}

impl Crowd {
    /// A stranger has connected. Returns a connection to close for it, if there are too many:
    /// `use_of` says of how much use a peer was, so that the least is closed.
    pub(super) fn opened<Use: Ord>(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        source: Source,
        use_of: impl Fn(&PeerId) -> Use,
    ) -> Option<ConnectionId> {
        self.strangers.add(id, peer, source);
        let is_source_full = self.strangers.counts.of(source)
            > source.limit(STRANGERS_PER_ADDRESS_MAX, STRANGERS_PER_MACHINE_MAX);
        if !is_source_full && self.strangers.peers.len() <= STRANGERS_MAX {
            return None;
        }
        let others = self
            .strangers
            .peers
            .iter()
            .filter(|(other, (_, its))| **other != id && (!is_source_full || *its == source));
        let least = others.min_by_key(|(_, (peer, source))| {
            (Reverse(self.strangers.counts.of(*source)), use_of(peer))
        });
        let least = least.map(|(id, _)| *id)?;
        self.strangers.remove(least);
        self.closing.insert(least);
        Some(least)
    }

    /// A connection was closed.
    pub(super) fn closed(&mut self, id: ConnectionId) {
        if !self.closing.remove(&id) && self.strangers.remove(id).is_none() {
            self.known.remove(id);
        }
    }

    /// A peer has been a node for a while: its connections get places of nodes, if their source has
    /// any left.
    pub(super) fn knows(&mut self, peer: &PeerId) {
        let of_peer = self.strangers.peers.iter().filter(|(_, (other, _))| other == peer);
        for id in of_peer.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some((peer, source)) = self.strangers.remove(id) else { continue };
            let places = if self.known.counts.of(source)
                < source.limit(KNOWN_PER_ADDRESS_MAX, KNOWN_PER_MACHINE_MAX)
            {
                &mut self.known
            } else {
                &mut self.strangers
            };
            places.add(id, peer, source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn the_least_useful_of_the_source_with_most_is_closed() {
        let mut crowd = Crowd::default();
        let mut uses: BTreeMap<PeerId, u64> = BTreeMap::new();
        let (far, other) = (Source::Address([10, 0, 0, 1]), Source::Address([10, 0, 0, 2]));
        let (useful, honest) = (PeerId::random(), PeerId::random());
        uses.insert(useful, 7);
        uses.insert(honest, 1);
        let use_of = |peer: &PeerId| uses.get(peer).copied();
        assert_eq!(crowd.opened(connection(0), useful, far, use_of), None);
        assert_eq!(crowd.opened(connection(1), honest, other, use_of), None);
        let mut closed = BTreeSet::new();
        for number in 2..2 + 2 * STRANGERS_PER_ADDRESS_MAX {
            closed.extend(crowd.opened(connection(number), PeerId::random(), far, use_of));
        }
        assert_eq!(closed.len(), STRANGERS_PER_ADDRESS_MAX + 1);
        assert_eq!(closed.first(), Some(&connection(2)), "neither the useful nor the honest one");
        for number in 1_000..1_000 + 2 * STRANGERS_MAX {
            let source = Source::Network(u64::try_from(number).unwrap().to_be_bytes());
            let closed = crowd.opened(connection(number), PeerId::random(), source, use_of);
            assert_ne!(closed, Some(connection(1)), "something was asked over it");
        }
        assert_eq!(crowd.strangers.peers.len(), STRANGERS_MAX);
        for number in 0..10_000 {
            crowd.closed(connection(number));
        }
        assert!(crowd.strangers.counts.is_empty() && crowd.closing.is_empty());
    }

    #[test]
    fn known_nodes_have_places_of_their_own() {
        let mut crowd = Crowd::default();
        let address = Source::Address([10, 0, 0, 1]);
        for number in 0..2 * KNOWN_PER_ADDRESS_MAX {
            let node = PeerId::random();
            crowd.opened(connection(number), node, address, |_| 0);
            crowd.knows(&node);
        }
        assert_eq!(crowd.known.peers.len(), KNOWN_PER_ADDRESS_MAX);
        assert!(crowd.strangers.peers.len() <= STRANGERS_PER_ADDRESS_MAX);
        assert!(crowd.known.peers.contains_key(&connection(0)));
    }
}
