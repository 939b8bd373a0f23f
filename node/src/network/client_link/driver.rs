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

/// What a client speaks: it asks, and answers who it is and that it is there.
#[derive(NetworkBehaviour)]
struct Light {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    rpc: Rpc,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

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

/// Time for one node to be connected while others could be tried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause after all nodes were tried in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// How often a request is sent before it is given up: more often means that it is the request
/// that breaks connections.
const ATTEMPTS_MAX: u32 = 5;

/// Causes that are remembered.
const CAUSES_MAX: usize = 16;

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

    /// Connects to the first node that answers, searching the LAN last; false if none does.
    /// Cancel-safe, but for the order in which nodes are tried.
    pub(super) async fn connect(&mut self) -> bool {
        if self.try_each().await {
            return true;
        }
        if !self.candidates.may_be_widened() {
            return false;
        }
        match light_swarm(&self.protocols, true) {
            Ok(swarm) => self.swarm = swarm,
            Err(_) => return false,
        }
        self.candidates = Candidates::of_lan();
        loop {
            if self.candidates.is_empty() {
                self.search_lan().await;
            } else if self.try_each().await {
                return true;
            } else {
                tokio::time::sleep(ROUND_PAUSE).await;
            }
        }
    }

    /// What [`Driver::connect`] has to say for itself.
    pub(super) fn into_error(self) -> ConnectError {
        if self.causes.is_empty() && self.candidates.is_empty() {
            ConnectError::NoNode(self.protocols.network.to_string())
        } else if self.causes.is_empty() {
            ConnectError::Unreachable(vec!["no answer in time".to_owned()])
        } else {
            ConnectError::Unreachable(self.causes)
        }
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

    /// Tries each node once; true as soon as one is connected. Otherwise the causes are noted.
    async fn try_each(&mut self) -> bool {
        let mut causes = Vec::new();
        for _ in 0..self.candidates.len() {
            let Some(candidate) = self.candidates.next() else {
                break;
            };
            match tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(&candidate)).await {
                Ok(Ok(())) => {
                    self.current = Some(candidate.peer);
                    return true;
                }
                Ok(Err(failed)) => causes.extend(failed),
                Err(_elapsed) => {
                    let line = |address| format!("{address}: no answer in {ATTEMPT_TIMEOUT:?}");
                    causes.extend(candidate.addresses.iter().map(line));
                }
            }
            causes.truncate(CAUSES_MAX);
            self.causes.clone_from(&causes);
        }
        false
    }

    async fn attempt(&mut self, candidate: &Candidate) -> Result<(), Vec<String>> {
        let peer = candidate.peer;
        let dial = DialOpts::peer_id(peer)
            // An older connection to the same node may still be closing.
            .condition(PeerCondition::Always)
            .addresses(candidate.addresses.clone())
            .build();
        self.swarm
            .dial(dial)
            .map_err(|error| dial_causes(&peer, &error))?;
        // Whoever mDNS finds may be of any network, and says so in identify. Of others we know,
        // and do not wait for that: their first answer tells.
        let ask_network = self.candidates.are_of_lan();
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. }
                    if peer_id == peer && !ask_network =>
                {
                    return Ok(());
                }
                SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                    peer_id,
                    info,
                    ..
                })) if peer_id == peer && ask_network => {
                    if info.protocol_version == self.protocols.family {
                        return Ok(());
                    }
                    // It says nothing of this network, so it is not mentioned.
                    self.candidates.remove(&peer);
                    let _ = self.swarm.disconnect_peer_id(peer);
                    return Err(Vec::new());
                }
                SwarmEvent::OutgoingConnectionError { peer_id, error, .. }
                    if peer_id == Some(peer) =>
                {
                    return Err(dial_causes(&peer, &error));
                }
                event => self.note_found(event),
            }
        }
    }

    /// Waits until mDNS has found somebody.
    async fn search_lan(&mut self) {
        while self.candidates.is_empty() {
            let event = self.swarm.select_next_some().await;
            self.note_found(event);
        }
    }

    fn note_found(&mut self, event: SwarmEvent<LightEvent>) {
        if let SwarmEvent::Behaviour(LightEvent::Mdns(mdns::Event::Discovered(found))) = event {
            for (peer, address) in found {
                self.candidates
                    .add(peer, crate::network::translate::split_peer(address).0);
            }
        }
    }
}

fn light_swarm(protocols: &Protocols, lan: bool) -> Result<Swarm<Light>, ConnectError> {
    let key = Keypair::generate_ed25519();
    let local = key.public().to_peer_id();
    let mdns = lan
        .then(|| behaviour::mdns(local))
        .and_then(|started| match started {
            Ok(behaviour) => Some(behaviour),
            Err(error) => {
                tracing::warn!(%error, "nodes on the LAN cannot be found by mDNS");
                None
            }
        });
    let light = Light {
        identify: identify_behaviour(&key.public(), protocols),
        ping: behaviour::ping(),
        rpc: behaviour::rpc(&protocols.rpc, ProtocolSupport::Outbound),
        mdns: Toggle::from(mdns),
    };
    transport::swarm(&key, light)
        .map_err(|error| ConnectError::Unreachable(vec![format!("no transport: {error}")]))
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
