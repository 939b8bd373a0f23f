//! What decides about connections or finds nodes, and says nothing on a connection.
//!
//! Each time that a connection makes progress, libp2p asks the handlers of all behaviours which
//! protocols they speak. So each behaviour makes each request slower, even one without a protocol.
//! These share one handler, which speaks none.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    allow_block_list::{self, BlockedPeers},
    connection_limits::{self, ConnectionLimits},
    core::{Endpoint, transport::PortUse},
    mdns,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        ToSwarm, dummy,
    },
};
use thiserror::Error;

/// A protocol wants to dial somebody of whom a peer has told it. The table would dial all whom an
/// answer names.
#[derive(Debug, Error)]
#[error("only a peer says that the node is there")]
pub(super) struct Hearsay;

/// The behaviours without a protocol.
pub(super) struct Silent {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    /// Look for nodes on the LAN; none if that is not wanted.
    pub(super) lan: Vec<mdns::tokio::Behaviour>,
}

impl Silent {
    pub(super) fn new(limits: ConnectionLimits, lan: Vec<mdns::tokio::Behaviour>) -> Self {
        let limits = connection_limits::Behaviour::new(limits);
        Self { limits, blocked: allow_block_list::Behaviour::default(), lan }
    }
}

// A connection that one of them denies is not seen by those behind it.
impl NetworkBehaviour for Silent {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = mdns::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.limits.handle_pending_inbound_connection(id, local, remote)?;
        self.blocked.handle_pending_inbound_connection(id, local, remote)?;
        let mut lan = self.lan.iter_mut();
        lan.try_for_each(|lan| lan.handle_pending_inbound_connection(id, local, remote))
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.limits.handle_established_inbound_connection(id, peer, local, remote)?;
        self.blocked.handle_established_inbound_connection(id, peer, local, remote)?;
        for lan in &mut self.lan {
            lan.handle_established_inbound_connection(id, peer, local, remote)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if addresses.is_empty() {
            return Err(ConnectionDenied::new(Hearsay));
        }
        let mut more = self.limits.handle_pending_outbound_connection(id, peer, addresses, role)?;
        more.extend(self.blocked.handle_pending_outbound_connection(id, peer, addresses, role)?);
        for lan in &mut self.lan {
            more.extend(lan.handle_pending_outbound_connection(id, peer, addresses, role)?);
        }
        Ok(more)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.limits.handle_established_outbound_connection(id, peer, address, role, port)?;
        self.blocked.handle_established_outbound_connection(id, peer, address, role, port)?;
        for lan in &mut self.lan {
            lan.handle_established_outbound_connection(id, peer, address, role, port)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.limits.on_swarm_event(event);
        self.blocked.on_swarm_event(event);
        self.lan.iter_mut().for_each(|lan| lan.on_swarm_event(event));
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Poll::Ready(event) = self.limits.poll(context) {
            return Poll::Ready(event.map_out(|never| match never {}));
        }
        if let Poll::Ready(event) = self.blocked.poll(context) {
            return Poll::Ready(event.map_out(|never| match never {}));
        }
        let mut polled = self.lan.iter_mut().map(|lan| lan.poll(context));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_dialled_of_whom_a_protocol_alone_knows() {
        let mut silent = Silent::new(ConnectionLimits::default(), Vec::new());
        let mut dial = |addresses: &[Multiaddr]| {
            let (id, peer) = (ConnectionId::new_unchecked(1), Some(PeerId::random()));
            silent.handle_pending_outbound_connection(id, peer, addresses, Endpoint::Dialer)
        };
        assert!(dial(&[]).unwrap_err().downcast::<Hearsay>().is_ok());
        assert!(dial(&["/ip4/127.0.0.1/tcp/1".parse().unwrap()]).is_ok());
    }
}
