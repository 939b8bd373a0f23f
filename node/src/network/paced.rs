//! The table at a pace: what peers send it, and what it answers, is bounded for each connection.
//!
//! The table answers each message on the loop of the whole network, and a peer can send tens of
//! thousands in a second. So its handler may report only some of them. When it may not, it is not
//! polled: it does not read, and the peer is slowed.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::ConnectionEvent,
    },
};
use tokio::time::{Sleep, sleep_until};

use super::limits::{TABLE_MESSAGES_MAX, TABLE_MESSAGES_PER_SECOND};
use crate::platform::clock::Clock;

/// A behaviour whose handlers are slowed.
pub(super) struct Paced<B>(pub(super) B);

impl<B: NetworkBehaviour> NetworkBehaviour for Paced<B> {
    type ConnectionHandler = PacedHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.0.handle_established_inbound_connection(id, peer, local, remote)?;
        Ok(PacedHandler::new(handler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let of = self.0.handle_established_outbound_connection(id, peer, address, role, port)?;
        Ok(PacedHandler::new(of))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(context)
    }
}

/// A handler that reports no more than it may.
pub(super) struct PacedHandler<H> {
    inner: H,
    clock: Clock,
    tokens: Tokens,
    /// When there is a token again, while there is none.
    wait: Option<Pin<Box<Sleep>>>,
}

/// What a handler may still report.
struct Tokens {
    left: u32,
    /// When they last grew, as time since the connection was made.
    at: Duration,
}

/// Time in which one token comes.
const TOKEN_TIME: Duration = Duration::from_secs(1)
    .checked_div(TABLE_MESSAGES_PER_SECOND)
    .expect("there are some in a second");

impl Tokens {
    /// Takes one, or says when there is one again.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let grown = now.saturating_sub(self.at).as_nanos() / TOKEN_TIME.as_nanos();
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        if self.left.saturating_add(grown) >= TABLE_MESSAGES_MAX {
            (self.left, self.at) = (TABLE_MESSAGES_MAX, now);
        } else {
            self.left += grown;
            self.at += TOKEN_TIME * grown;
        }
        self.left = self.left.checked_sub(1).ok_or(self.at + TOKEN_TIME)?;
        Ok(())
    }

    fn give_back(&mut self) {
        self.left += 1;
    }
}

impl<H> PacedHandler<H> {
    fn new(inner: H) -> Self {
        let tokens = Tokens { left: TABLE_MESSAGES_MAX, at: Duration::ZERO };
        Self { inner, clock: Clock::start(), tokens, wait: None }
    }
}

impl<H: ConnectionHandler> ConnectionHandler for PacedHandler<H> {
    type FromBehaviour = H::FromBehaviour;
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
        while let Err(at) = self.tokens.take(self.clock.now().elapsed) {
            let at = self.clock.at(at);
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if wait.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
        let polled = self.inner.poll(context);
        if !matches!(polled, Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(_))) {
            self.tokens.give_back();
        }
        polled
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(context)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
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
        self.inner.on_connection_event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_reported_at_once_and_then_some_in_a_second() {
        let mut tokens = Tokens { left: TABLE_MESSAGES_MAX, at: Duration::ZERO };
        let mut taken = |now| (0..10_000).take_while(|_| tokens.take(now).is_ok()).count();
        let (most, each) = (TABLE_MESSAGES_MAX as usize, TABLE_MESSAGES_PER_SECOND as usize);
        assert_eq!(taken(Duration::ZERO), most);
        assert_eq!(taken(TOKEN_TIME / 2), 0);
        assert_eq!(taken(TOKEN_TIME), 1, "half of the time was not lost");
        assert_eq!(taken(TOKEN_TIME + Duration::from_secs(1)), each);
        assert_eq!(taken(Duration::from_hours(1)), most);
    }
}
