//! The task of a client's link: it connects, exchanges, and when the connection is lost, goes
//! on to the next node.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use antiphon::model::Network;
use antiphon::wire::{Refusal, Response};
use futures::StreamExt;
use libp2p::core::upgrade::NegotiationError;
use libp2p::identity::Keypair;
use libp2p::request_response::{
    self, Message, OutboundFailure, OutboundRequestId, ProtocolSupport,
};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, Swarm, identify, mdns, ping};
use tokio::sync::{mpsc, watch};

use super::Command;
use super::candidates::{Candidate, Candidates};
use crate::client::{ConnectError, LinkError};
use crate::network::behaviour::{
    self, ASKS_PER_PEER_MAX, EXCHANGE_TIMEOUT, Rpc, identify as identify_behaviour,
};
use crate::network::codec::{OVERSIZE_REQUEST, Received};
use crate::network::protocols::Protocols;
use crate::network::translate::dial_causes;
use crate::network::transport;

/// The state of a link.
pub(super) struct Driver {
    swarm: Swarm<Light>,
    protocols: Protocols,
    candidates: Candidates,
    /// The node that it is connected to.
    current: Option<PeerId>,
    /// Requests under way.
    sent: BTreeMap<OutboundRequestId, Command>,
    /// Requests to send, those that are sent again first.
    waiting: VecDeque<Command>,
    /// Why the nodes that were tried last did not do.
    causes: Vec<String>,
}

/// Why a node that was connected does not do any more.
enum Lost {
    /// It may do later.
    Broken(String),
    /// It never will: it is of another network, or not a node.
    Foreign,
    /// The link is not needed any more.
    Unneeded,
}

/// Pause after all nodes were tried in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// How often a request is sent before it is given up: more often means that it is the request
/// that breaks connections.
const ATTEMPTS_MAX: u32 = 5;

impl Driver {
    pub(super) fn new(network: &Network, candidates: Candidates) -> Result<Self, ConnectError> {
        let protocols = Protocols::of(network);
        Ok(Self {
            swarm: light_swarm(&protocols, false)?,
            protocols,
            candidates,
            current: None,
            sent: BTreeMap::new(),
            waiting: VecDeque::new(),
            causes: Vec::new(),
        })
    }

    /// Serves the link until nobody holds it any more.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        trouble: watch::Sender<Option<String>>,
    ) {
        loop {
            let cause = match self.serve(&mut commands).await {
                Lost::Unneeded => return,
                Lost::Broken(cause) => cause,
                Lost::Foreign => {
                    if let Some(peer) = self.current {
                        self.candidates.remove(&peer);
                    }
                    foreign_cause(self.current)
                }
            };
            tracing::debug!(cause, "the node is lost; looking for another one");
            trouble.send_replace(Some(cause.clone()));
            self.causes = vec![cause];
            self.leave();
            loop {
                self.candidates.refresh();
                if self.candidates.is_empty() && !self.candidates.are_of_lan() {
                    self.fail_all();
                }
                if self.try_each().await {
                    break;
                }
                trouble.send_replace(Some(self.causes.join("; ")));
                self.waiting.retain(|command| !command.answer.is_closed());
                if commands.is_closed() {
                    return;
                }
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            trouble.send_replace(None);
        }
    }

    /// Exchanges requests and responses with the current node, until it is lost.
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Lost {
        loop {
            while self.sent.len() < ASKS_PER_PEER_MAX
                && let Some(command) = self.waiting.pop_front()
            {
                self.send(command);
            }
            let has_room = self.sent.len() < ASKS_PER_PEER_MAX;
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let Some(lost) = self.handle_event(event) {
                        return lost;
                    }
                }
                command = commands.recv(), if has_room => match command {
                    Some(command) => self.send(command),
                    None => return Lost::Unneeded,
                },
            }
        }
    }

    fn send(&mut self, mut command: Command) {
        // Whoever asked may have given up while the request waited.
        let Some(node) = self.current.filter(|_| !command.answer.is_closed()) else {
            return;
        };
        command.attempts += 1;
        let request = command.request.clone();
        let id = self
            .swarm
            .behaviour_mut()
            .rpc
            .send_request(&node, Ok(request));
        self.sent.insert(id, command);
    }

    fn handle_event(&mut self, event: SwarmEvent<LightEvent>) -> Option<Lost> {
        match event {
            SwarmEvent::Behaviour(LightEvent::Rpc(event)) => self.handle_rpc(event),
            SwarmEvent::Behaviour(LightEvent::Ping(ping::Event {
                peer,
                result: Err(error),
                ..
            })) if self.current == Some(peer) => {
                // The first failure in a row is not reported, so this is at least the second.
                Some(Lost::Broken(format!("{peer}: {error}")))
            }
            SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) if self.current == Some(peer_id)
                && info.protocol_version != self.protocols.family =>
            {
                Some(Lost::Foreign)
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                cause,
                ..
            } if self.current == Some(peer_id) => {
                let cause = cause.map_or_else(|| "closed".to_owned(), |cause| cause.to_string());
                Some(Lost::Broken(format!(
                    "{peer_id}: the connection broke: {cause}"
                )))
            }
            event => {
                self.note_found(event);
                None
            }
        }
    }

    fn handle_rpc(&mut self, event: request_response::Event<Received, Response>) -> Option<Lost> {
        match event {
            request_response::Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                self.settle(request_id, Ok(response));
                None
            }
            request_response::Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => self.handle_failure(peer, request_id, error),
            // Nobody asks a client: it does not speak that side of the protocol.
            _ => None,
        }
    }

    fn handle_failure(
        &mut self,
        peer: PeerId,
        request: OutboundRequestId,
        failure: OutboundFailure,
    ) -> Option<Lost> {
        let cause = format!("{peer}: {failure}");
        match failure {
            OutboundFailure::Timeout => {
                self.settle(request, Err(LinkError::TimedOut(EXCHANGE_TIMEOUT)));
                None
            }
            OutboundFailure::Io(error) if error.kind() == OVERSIZE_REQUEST => {
                let refusal = Refusal::Invalid(error.to_string());
                self.settle(request, Ok(Response::Refused(refusal)));
                None
            }
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.settle(request, Err(LinkError::Malformed(error.to_string())));
                None
            }
            OutboundFailure::UnsupportedProtocols => {
                self.send_again(request, &cause);
                Some(Lost::Foreign)
            }
            OutboundFailure::Io(error) if is_unsupported(&error) => {
                self.send_again(request, &cause);
                Some(Lost::Foreign)
            }
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
                // The connection's own end is reported, too.
                self.send_again(request, &cause);
                None
            }
            OutboundFailure::Io(_) => {
                // The node gave the stream up; the connection may be as good as before.
                self.send_again(request, &cause);
                None
            }
        }
    }

    fn settle(&mut self, request: OutboundRequestId, result: Result<Response, LinkError>) {
        if let Some(command) = self.sent.remove(&request) {
            // It fails if whoever asked has given up.
            let _ = command.answer.send(result);
        }
    }

    fn send_again(&mut self, request: OutboundRequestId, cause: &str) {
        let Some(command) = self.sent.remove(&request) else {
            return;
        };
        if command.attempts < ATTEMPTS_MAX {
            self.waiting.push_back(command);
        } else {
            let _ = command
                .answer
                .send(Err(LinkError::Unreachable(cause.to_owned())));
        }
    }

    /// Leaves the current node; what had no answer yet waits for the next one.
    fn leave(&mut self) {
        if let Some(peer) = self.current.take() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let unanswered = std::mem::take(&mut self.sent).into_values();
        self.waiting.extend(unanswered);
    }

    /// There is no node left to go to.
    fn fail_all(&mut self) {
        for command in self.waiting.drain(..) {
            let _ = command
                .answer
                .send(Err(LinkError::Unreachable(self.causes.join("; "))));
        }
    }
}

/// Whether the error says that the peer does not speak our protocol. Its name is sent together
/// with the request, so this comes as an error of the first read.
fn is_unsupported(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| {
        cause
            .downcast_ref::<NegotiationError>()
            .is_some_and(|cause| matches!(cause, NegotiationError::Failed))
    })
}

fn foreign_cause(peer: Option<PeerId>) -> String {
    let peer = peer.map_or_else(String::new, |peer| peer.to_string());
    format!("{peer}: is a node of another network, or not a node")
}
