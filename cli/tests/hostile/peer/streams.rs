//! Opens streams of any protocol, and claims to speak any.

use std::{
    collections::VecDeque,
    io, iter,
    task::{Context, Poll},
};

use futures::future::{Ready, ready};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint, UpgradeInfo,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use tokio::sync::mpsc;

use super::Answer;

/// A stream that a node has opened, and what it speaks there.
pub(super) type Heard = (StreamProtocol, Stream);

/// Streams to nodes.
pub(super) struct Streams {
    listens: Vec<StreamProtocol>,
    /// Where streams of nodes go; none if they are closed at once.
    heard: Option<mpsc::Sender<Heard>>,
    wanted: VecDeque<(PeerId, StreamProtocol, Answer)>,
}

impl Streams {
    pub(super) fn new(listens: Vec<StreamProtocol>, heard: Option<mpsc::Sender<Heard>>) -> Self {
        Self { listens, heard, wanted: VecDeque::new() }
    }

    pub(super) fn open(&mut self, peer: PeerId, protocol: StreamProtocol, answer: Answer) {
        self.wanted.push_back((peer, protocol, answer));
    }

    fn handler(&self) -> Handler {
        let (listens, heard) = (self.listens.clone(), self.heard.clone());
        Handler { listens, heard, wanted: VecDeque::new() }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        never: THandlerOutEvent<Self>,
    ) {
        match never {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.wanted.pop_front().map_or(Poll::Pending, |(peer_id, protocol, answer)| {
            let event = (protocol, answer);
            Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
        })
    }
}

pub(super) struct Handler {
    listens: Vec<StreamProtocol>,
    heard: Option<mpsc::Sender<Heard>>,
    wanted: VecDeque<(StreamProtocol, Answer)>,
}

/// Protocols that a peer claims to speak, or one that it wants.
#[derive(Clone)]
pub(super) struct Protocols(Vec<StreamProtocol>);

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = Heard;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Heard, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = Stream;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Stream, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = (StreamProtocol, Answer);
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Answer;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        SubstreamProtocol::new(Protocols(self.listens.clone()), ())
    }

    fn on_behaviour_event(&mut self, wanted: Self::FromBehaviour) {
        self.wanted.push_back(wanted);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Protocols, Protocols, (), Answer>,
    ) {
        // Who no longer waits does not want to know.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: heard,
                ..
            }) => {
                if let Some(hears) = &self.heard {
                    drop(hears.try_send(heard));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: answer,
            }) => drop(answer.send(Ok(stream))),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: answer, error }) => {
                drop(answer.send(Err(io::Error::other(error.to_string()))));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Protocols, Answer, Self::ToBehaviour>> {
        self.wanted.pop_front().map_or(Poll::Pending, |(protocol, answer)| {
            let wanted = Protocols(iter::once(protocol).collect());
            let protocol = SubstreamProtocol::new(wanted, answer);
            Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
        })
    }
}
