//! The streams of one connection.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    PeerId, StreamProtocol,
    core::upgrade::{DeniedUpgrade, ReadyUpgrade},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};

use super::{
    AskError, Lane, Rooms,
    answering::Answering,
    asking::Asking,
    said::{Said, Told},
};

/// Streams that the other side may have open: one for each lane, and those that are ending.
const STREAMS_MAX: usize = 4;

/// The streams of one connection.
pub(in super::super) struct Handler {
    protocol: StreamProtocol,
    answers: bool,
    peer: PeerId,
    rooms: Rooms,
    /// What this side asks, by lane.
    asking: [Asking; 2],
    /// What the other side asks, by stream.
    answering: Vec<Answering>,
    next_stream: u64,
    said: VecDeque<Said>,
}

type Protocol = Either<ReadyUpgrade<StreamProtocol>, DeniedUpgrade>;

impl Handler {
    pub(super) fn new(protocol: StreamProtocol, answers: bool, peer: PeerId, rooms: Rooms) -> Self {
        let asking = Lane::ALL.map(|_| Asking::default());
        let (answering, said) = (Vec::new(), VecDeque::new());
        Self { protocol, answers, peer, rooms, asking, answering, next_stream: 0, said }
    }

    fn asking_mut(&mut self, lane: Lane) -> &mut Asking {
        &mut self.asking[lane as usize]
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Ask(id, request) => {
                if let Err(error) = self.asking_mut(Lane::of(&request)).ask(id, &request) {
                    self.said.push_back(Said::Failed(id, error));
                }
            }
            Told::GiveUp(id) => {
                for asking in &mut self.asking {
                    if asking.is_under_way(id) {
                        let error = || AskError::Broken(std::io::ErrorKind::TimedOut.into());
                        let failed = asking.broke().into_iter().filter(|other| *other != id);
                        self.said.extend(failed.map(|other| Said::Failed(other, error())));
                    }
                }
            }
            Told::Answer { stream, number, response, loan } => {
                // The stream's account takes it over.
                drop(loan);
                let open = self.answering.iter_mut().find(|other| other.stream() == stream);
                if let Some(answering) = open {
                    answering.answer(number, &response);
                }
            }
        }
    }

    /// Goes on with what the other side asks.
    fn poll_answering(&mut self, context: &mut Context<'_>) -> Option<Said> {
        for at in 0..self.answering.len() {
            if let Poll::Ready(said) = self.answering[at].poll(context) {
                if matches!(said, Said::Abandoned { .. }) {
                    self.answering.remove(at);
                }
                // Streams that were not polled yet are polled when this is called again.
                return Some(said);
            }
        }
        None
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Vec<Told>;
    type ToBehaviour = Said;
    type InboundProtocol = Protocol;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Lane;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocol> {
        let protocol = if self.answers {
            Either::Left(ReadyUpgrade::new(self.protocol.clone()))
        } else {
            Either::Right(DeniedUpgrade)
        };
        SubstreamProtocol::new(protocol, ())
    }

    fn on_behaviour_event(&mut self, told: Vec<Told>) {
        for told in told {
            self.on_told(told);
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Protocol, ReadyUpgrade<StreamProtocol>, (), Lane>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => {
                // Who only asks denies every stream.
                let futures::future::Either::Left(stream) = stream;
                if self.answering.len() >= STREAMS_MAX {
                    // The oldest may be one that the peer has given up.
                    let stream = self.answering.remove(0).stream();
                    self.said.push_back(Said::Abandoned { stream, misdeed: None });
                }
                let answering = Answering::new(self.next_stream, stream, self.peer, &self.rooms);
                self.answering.push(answering);
                self.next_stream += 1;
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: lane,
            }) => {
                let account = self.rooms.frames.open(self.peer);
                self.asking_mut(lane).opened(stream, account);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: lane, error }) => {
                let is_unsupported = matches!(error, StreamUpgradeError::NegotiationFailed);
                let cause = error.to_string();
                let failed = self.asking_mut(lane).broke();
                self.said.extend(failed.into_iter().map(|id| {
                    let broken = || AskError::Broken(std::io::Error::other(cause.clone()));
                    let error = if is_unsupported { AskError::Unsupported } else { broken() };
                    Said::Failed(id, error)
                }));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Lane, Said>> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(said));
            }
            for lane in Lane::ALL {
                let asking = &mut self.asking[lane as usize];
                if asking.wants_stream() {
                    let upgrade = ReadyUpgrade::new(self.protocol.clone());
                    let protocol = SubstreamProtocol::new(upgrade, lane);
                    return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol,
                    });
                }
                asking.poll(context, &mut self.said);
            }
            if let Some(said) = self.poll_answering(context) {
                self.said.push_back(said);
            }
            if self.said.is_empty() {
                return Poll::Pending;
            }
        }
    }
}
