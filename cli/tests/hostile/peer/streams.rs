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
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
};

use super::{Answer, Opened};

/// Streams to nodes.
pub(super) struct Streams {
    listens: Vec<StreamProtocol>,
    wanted: VecDeque<(PeerId, StreamProtocol, Answer)>,
    opened: Option<Opened>,
}

impl Streams {
    pub(super) fn new(listens: Vec<StreamProtocol>, opened: Option<Opened>) -> Self {
        Self { listens, wanted: VecDeque::new(), opened }
    }

    pub(super) fn open(&mut self, peer: PeerId, protocol: StreamProtocol, answer: Answer) {
        self.wanted.push_back((peer, protocol, answer));
    }

    fn handler(&self) -> Handler {
        let (listens, opened) = (self.listens.clone(), self.opened.clone());
        Handler { listens, wanted: VecDeque::new(), opened }
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
    wanted: VecDeque<(StreamProtocol, Answer)>,
    opened: Option<Opened>,
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
    type Output = (StreamProtocol, Stream);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

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
        // Whoever no longer waits does not want to know. What nodes ask is answered by a peer that
        // wants to hear it.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(inbound) => {
                if let Some(opened) = &self.opened {
                    let _full = opened.try_send(inbound.protocol);
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
