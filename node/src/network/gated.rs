//! Gossip of nodes alone: what a peer gossips is not read before it is believed to be a node.
//!
//! Gossipsub takes in whatever any connected peer says, on the loop of the whole network: a peer
//! with a fresh key could subscribe to thousands of topics, be kept away, and come back with the
//! next key. So a stream that a peer opens for gossip is held, and not read, until the peer has
//! answered as a node. What it sends meanwhile waits at the sender, and nothing is lost. What this
//! node gossips is not held.
//!
//! A peer that follows many topics is not heard either until it has been a node for a while. Then
//! nothing is sent to it as well.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    PeerId,
    swarm::{
        ConnectionClosed, ConnectionHandler, ConnectionId, FromSwarm,
        behaviour::ConnectionEstablished,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};

use super::filtered::{Event, Filtered, Polled, Rule, Watch};

/// A behaviour whose handlers hear peers once it is known that they are nodes.
pub(super) type Gated<B> = Filtered<B, Gates>;

/// Who is let in.
#[derive(Default)]
pub(super) struct Gates {
    /// The connected peers that are nodes.
    nodes: BTreeSet<PeerId>,
    /// The connections of each peer.
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    /// Connections whose gates are told.
    telling: VecDeque<(PeerId, ConnectionId, Turn)>,
}

impl Gates {
    /// A connected peer is a node.
    pub(super) fn let_in(&mut self, peer: PeerId) {
        if self.connections.contains_key(&peer) && self.nodes.insert(peer) {
            self.tell(peer, Turn::Open);
        }
    }

    /// A node waits until it is let in again.
    pub(super) fn shut_out(&mut self, peer: PeerId) {
        if self.nodes.remove(&peer) {
            self.tell(peer, Turn::Shut);
        }
    }

    fn tell(&mut self, peer: PeerId, turn: Turn) {
        let connections = self.connections.get(&peer).into_iter().flatten();
        self.telling.extend(connections.map(|connection| (peer, *connection, turn)));
    }
}

impl<H: ConnectionHandler> Rule<H> for Gates {
    type Watch = Gate<H>;

    /// A gate that is closed, unless the peer is known to be a node.
    fn watch(&self, peer: PeerId) -> Gate<H> {
        Gate { is_open: self.nodes.contains(&peer), is_shut: false, held: None }
    }

    fn on_swarm_event(&mut self, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => {
                self.connections.entry(*peer_id).or_default().insert(*connection_id);
                // It may have become one since the gate was made.
                if self.nodes.contains(peer_id) {
                    self.telling.push_back((*peer_id, *connection_id, Turn::Open));
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(connections) = self.connections.get_mut(peer_id) {
                    connections.remove(connection_id);
                    if connections.is_empty() {
                        self.connections.remove(peer_id);
                        self.nodes.remove(peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn next(&mut self) -> Option<(PeerId, ConnectionId, Turn)> {
        self.telling.pop_front()
    }
}

/// What becomes of a gate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Open,
    Shut,
}

/// Holds back what a peer opens until the peer is known to be a node.
pub(super) struct Gate<H: ConnectionHandler> {
    is_open: bool,
    /// Whether it was open, and is shut: what was let in is not read on either.
    is_shut: bool,
    /// The last stream that the peer has opened meanwhile. An earlier one would be given up for it.
    held: Option<FullyNegotiatedInbound<H::InboundProtocol, H::InboundOpenInfo>>,
}

impl<H: ConnectionHandler> Watch<H> for Gate<H> {
    type Told = Turn;

    fn on_told(&mut self, turn: Turn, handler: &mut H) {
        self.is_open = matches!(turn, Turn::Open);
        self.is_shut = !self.is_open;
        if self.is_open
            && let Some(stream) = self.held.take()
        {
            handler.on_connection_event(ConnectionEvent::FullyNegotiatedInbound(stream));
        }
    }

    fn on_event(&mut self, event: Event<'_, H>, handler: &mut H) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(stream) if !self.is_open => {
                self.held = Some(stream);
            }
            event => handler.on_connection_event(event),
        }
    }
    fn poll(&mut self, context: &mut Context<'_>, handler: &mut H) -> Polled<H> {
        // The connection polls again when the gate is told something.
        if self.is_shut { Poll::Pending } else { handler.poll(context) }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{
        Multiaddr,
        core::{ConnectedPoint, Endpoint, transport::PortUse},
        swarm::dummy,
    };

    use super::*;

    #[test]
    fn a_gate_opens_for_a_node_and_is_shut_and_opened_again() {
        let mut gates = Gates::default();
        let (peer, connection) = (PeerId::random(), ConnectionId::new_unchecked(1));
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        let endpoint = ConnectedPoint::Dialer { address, role_override, port_use };
        let event = FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: connection,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        });
        let watched = |gates: &Gates| Rule::<dummy::ConnectionHandler>::watch(gates, peer).is_open;
        let told = |gates: &mut Gates| {
            let told = Rule::<dummy::ConnectionHandler>::next(gates);
            told.map(|(_, _, turn)| matches!(turn, Turn::Open))
        };
        Rule::<dummy::ConnectionHandler>::on_swarm_event(&mut gates, &event);
        gates.shut_out(peer);
        assert_eq!((told(&mut gates), watched(&gates)), (None, false), "it is no node yet");
        for is_open in [true, false, true] {
            if is_open {
                gates.let_in(peer);
            } else {
                gates.shut_out(peer);
            }
            assert_eq!((told(&mut gates), watched(&gates)), (Some(is_open), is_open));
        }
        gates.let_in(peer);
        assert_eq!(told(&mut gates), None, "it is open");
    }
}
