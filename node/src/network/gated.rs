//! Gossip of nodes alone: what a peer gossips is not read before it is believed to be a node.
//!
//! Gossipsub takes in whatever any connected peer says, on the loop of the whole network: a peer
//! with a fresh key could subscribe to thousands of topics, be kept away, and come back with the
//! next key. So a stream that a peer opens for gossip is held, and not read, until the peer has
//! answered as a node. What it sends meanwhile waits at the sender, and nothing is lost. What this
//! node gossips is not held.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent,
        ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};

/// A behaviour whose handlers hear peers once it is known that they are nodes.
pub(super) struct Gated<B> {
    pub(super) inner: B,
    /// The connected peers that are nodes.
    nodes: BTreeSet<PeerId>,
    /// The connections of each peer.
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    /// Connections whose handlers are told.
    opening: VecDeque<(PeerId, ConnectionId)>,
}

impl<B> Gated<B> {
    pub(super) fn new(inner: B) -> Self {
        let (nodes, connections) = (BTreeSet::new(), BTreeMap::new());
        Self { inner, nodes, connections, opening: VecDeque::new() }
    }

    /// A connected peer is a node.
    pub(super) fn let_in(&mut self, peer: PeerId) {
        let Some(connections) = self.connections.get(&peer) else { return };
        if self.nodes.insert(peer) {
            self.opening.extend(connections.iter().map(|connection| (peer, *connection)));
        }
    }

    /// A handler that does not hear its peer yet, unless that is known to be a node.
    fn handler<H: ConnectionHandler>(&self, inner: H, peer: PeerId) -> GatedHandler<H> {
        GatedHandler { inner, is_open: self.nodes.contains(&peer), held: None }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = GatedHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.inner.handle_established_inbound_connection(id, peer, local, remote)?;
        Ok(self.handler(handler, peer))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler =
            self.inner.handle_established_outbound_connection(id, peer, address, role, port)?;
        Ok(self.handler(handler, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => {
                self.connections.entry(peer_id).or_default().insert(connection_id);
                // It may have become one since the handler was made.
                if self.nodes.contains(&peer_id) {
                    self.opening.push_back((peer_id, connection_id));
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.remove(&connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&peer_id);
                        self.nodes.remove(&peer_id);
                    }
                }
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.opening.pop_front() {
            let handler = NotifyHandler::One(connection);
            let event = Either::Right(Open);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        self.inner.poll(context).map(|event| event.map_in(Either::Left))
    }
}

/// The peer is a node.
#[derive(Debug)]
pub(super) struct Open;

/// A handler that is given what the peer sends once the peer is known to be a node.
pub(super) struct GatedHandler<H: ConnectionHandler> {
    inner: H,
    is_open: bool,
    /// The last stream that the peer has opened meanwhile. An earlier one would be given up for it.
    held: Option<FullyNegotiatedInbound<H::InboundProtocol, H::InboundOpenInfo>>,
}

impl<H: ConnectionHandler> ConnectionHandler for GatedHandler<H> {
    type FromBehaviour = Either<H::FromBehaviour, Open>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        self.inner.poll(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(context)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            Either::Left(event) => self.inner.on_behaviour_event(event),
            Either::Right(Open) => {
                self.is_open = true;
                if let Some(stream) = self.held.take() {
                    let event = ConnectionEvent::FullyNegotiatedInbound(stream);
                    self.inner.on_connection_event(event);
                }
            }
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(stream) if !self.is_open => {
                self.held = Some(stream);
            }
            event => self.inner.on_connection_event(event),
        }
    }
}
