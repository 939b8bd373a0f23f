//! A behaviour with a rule about what its handlers hear and say.
//!
//! libp2p's traits have many methods. They are forwarded here, once; a rule says only what it
//! changes.

use std::{
    fmt::Debug,
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, handler::ConnectionEvent,
    },
};

/// A rule for all connections.
pub(super) trait Rule<H: ConnectionHandler>: 'static {
    /// The rule for one connection.
    type Watch: Watch<H>;

    /// The rule for a new connection.
    fn watch(&self, peer: PeerId) -> Self::Watch;

    /// Connections come and go.
    fn on_swarm_event(&mut self, _: &FromSwarm<'_>) {}

    /// What the rule for a connection is told next.
    fn next(&mut self) -> Option<(PeerId, ConnectionId, <Self::Watch as Watch<H>>::Told)> {
        None
    }
}

/// A rule for one connection.
pub(super) trait Watch<H: ConnectionHandler>: Send + 'static {
    /// What it is told.
    type Told: Debug + Send + 'static;

    fn on_told(&mut self, told: Self::Told, handler: &mut H);

    /// Something has happened on the connection.
    fn on_event(&mut self, event: Event<'_, H>, handler: &mut H) {
        handler.on_connection_event(event);
    }

    fn poll(&mut self, context: &mut Context<'_>, handler: &mut H) -> Polled<H> {
        handler.poll(context)
    }
}

/// What happens on a connection.
pub(super) type Event<'a, H> = ConnectionEvent<
    'a,
    <H as ConnectionHandler>::InboundProtocol,
    <H as ConnectionHandler>::OutboundProtocol,
    <H as ConnectionHandler>::InboundOpenInfo,
    <H as ConnectionHandler>::OutboundOpenInfo,
>;

/// What a handler wants next.
pub(super) type Polled<H> = Poll<
    ConnectionHandlerEvent<
        <H as ConnectionHandler>::OutboundProtocol,
        <H as ConnectionHandler>::OutboundOpenInfo,
        <H as ConnectionHandler>::ToBehaviour,
    >,
>;

/// A behaviour with a rule.
pub(super) struct Filtered<B, R> {
    pub(super) inner: B,
    pub(super) rule: R,
}

impl<B: NetworkBehaviour, R: Rule<THandler<B>>> Filtered<B, R> {
    fn handler(&self, inner: THandler<B>, peer: PeerId) -> FilteredHandler<THandler<B>, R::Watch> {
        FilteredHandler { inner, watch: self.rule.watch(peer) }
    }
}

impl<B: NetworkBehaviour, R: Rule<THandler<B>>> NetworkBehaviour for Filtered<B, R> {
    type ConnectionHandler = FilteredHandler<THandler<B>, R::Watch>;
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
        self.rule.on_swarm_event(&event);
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
        if let Some((peer_id, connection, told)) = self.rule.next() {
            let (handler, event) = (NotifyHandler::One(connection), Either::Right(told));
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        self.inner.poll(context).map(|event| event.map_in(Either::Left))
    }
}

/// A handler with the rule for its connection.
pub(super) struct FilteredHandler<H, W> {
    inner: H,
    watch: W,
}

impl<H: ConnectionHandler, W: Watch<H>> ConnectionHandler for FilteredHandler<H, W> {
    type FromBehaviour = Either<H::FromBehaviour, W::Told>;
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

    fn poll(&mut self, context: &mut Context<'_>) -> Polled<Self> {
        self.watch.poll(context, &mut self.inner)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(context)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            Either::Left(event) => self.inner.on_behaviour_event(event),
            Either::Right(told) => self.watch.on_told(told, &mut self.inner),
        }
    }

    fn on_connection_event(&mut self, event: Event<'_, Self>) {
        self.watch.on_event(event, &mut self.inner);
    }
}
