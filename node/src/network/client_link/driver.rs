//! The task of a client's link: it exchanges requests and responses with one node, and when
//! that node is lost, goes on with the next one.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use antiphon::wire::{Refusal, Response};
use futures::StreamExt;
use libp2p::{
    PeerId,
    core::upgrade::NegotiationError,
    identify, ping,
    request_response::{self, Message, OutboundFailure, OutboundRequestId},
    swarm::SwarmEvent,
};
use tokio::sync::{mpsc, watch};

use super::{
    Command,
    connector::{Connector, LightEvent, ROUND_PAUSE},
};
use crate::{
    client::LinkError,
    network::{
        behaviour::{ASKS_PER_PEER_MAX, EXCHANGE_TIMEOUT},
        codec::{OVERSIZE_REQUEST, Received},
    },
};

/// The state of a link.
pub(super) struct Driver {
    connector: Connector,
    /// The node that it is connected to.
    node: PeerId,
    /// Pings that the node left unanswered, with no response in between.
    unanswered: u32,
    /// Requests under way.
    sent: BTreeMap<OutboundRequestId, Command>,
    /// Requests to send.
    waiting: VecDeque<Command>,
}

/// Why a node does not do any more.
enum Lost {
    /// It may do later.
    Broken(String),
    /// It never will: it is of another network, or not a node.
    Foreign,
    /// The link is not needed any more.
    Unneeded,
}

/// How often a request is sent before it is given up: more often means that it is the request
/// that breaks connections.
const ATTEMPTS_MAX: u32 = 5;

/// A node that leaves more pings unanswered is left. libp2p keeps the first of a row to itself,
/// so with an interval of 1 s and a timeout of 2 s this takes about 8 s.
const UNANSWERED_PINGS_MAX: u32 = 1;

impl Driver {
    pub(super) fn new(connector: Connector, node: PeerId) -> Self {
        let (sent, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { connector, node, unanswered: 0, sent, waiting }
    }

    /// Serves the link until nobody holds it any more. `trouble` says why there is no node at
    /// present.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        trouble: watch::Sender<Option<String>>,
    ) {
        loop {
            match self.serve(&mut commands).await {
                Lost::Unneeded => return,
                Lost::Broken(cause) => self.connector.note_cause(cause),
                Lost::Foreign => {
                    self.connector.candidates.remove(&self.node);
                    self.connector.note_cause(foreign(&self.node));
                }
            }
            self.leave();
            loop {
                trouble.send_replace(Some(self.connector.cause()));
                self.connector.candidates.refresh();
                if let Some(node) = self.connector.try_each().await {
                    self.node = node;
                    break;
                }
                if !self.tidy_up(&mut commands) {
                    return;
                }
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            trouble.send_replace(None);
        }
    }

    /// Exchanges requests and responses with the node, until it is lost.
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Lost {
        loop {
            while self.sent.len() < ASKS_PER_PEER_MAX
                && let Some(command) = self.waiting.pop_front()
            {
                self.send(command);
            }
            let has_room = self.sent.len() < ASKS_PER_PEER_MAX;
            tokio::select! {
                event = self.connector.swarm.select_next_some() => {
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
        if command.answer.is_closed() {
            return;
        }
        command.attempts += 1;
        let rpc = &mut self.connector.swarm.behaviour_mut().rpc;
        let id = rpc.send_request(&self.node, Ok(command.request.clone()));
        self.sent.insert(id, command);
    }

    fn handle_event(&mut self, event: SwarmEvent<LightEvent>) -> Option<Lost> {
        match event {
            SwarmEvent::Behaviour(LightEvent::Rpc(event)) => self.handle_rpc(event),
            SwarmEvent::Behaviour(LightEvent::Ping(ping::Event { peer, result, .. }))
                if peer == self.node =>
            {
                match result {
                    Ok(_) => self.unanswered = 0,
                    Err(_) => self.unanswered += 1,
                }
                (self.unanswered > UNANSWERED_PINGS_MAX)
                    .then(|| Lost::Broken(format!("{peer}: it does not answer any more")))
            }
            SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) if peer_id == self.node => {
                self.connector.is_foreign(&info).then_some(Lost::Foreign)
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. }
                if peer_id == self.node =>
            {
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                Some(Lost::Broken(format!("{peer_id}: the connection broke{cause}")))
            }
            event => {
                self.connector.note_found(event);
                None
            }
        }
    }

    fn handle_rpc(&mut self, event: request_response::Event<Received, Response>) -> Option<Lost> {
        match event {
            request_response::Event::Message {
                message: Message::Response { request_id, response },
                ..
            } => {
                self.unanswered = 0;
                self.settle(request_id, Ok(response));
                None
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.handle_failure(request_id, &error)
            }
            // Nobody asks a client: it does not speak that side of the protocol.
            _ => None,
        }
    }

    fn handle_failure(
        &mut self,
        request: OutboundRequestId,
        failure: &OutboundFailure,
    ) -> Option<Lost> {
        match failure {
            OutboundFailure::Timeout => {
                self.settle(request, Err(LinkError::TimedOut(EXCHANGE_TIMEOUT)));
            }
            OutboundFailure::Io(error) if error.kind() == OVERSIZE_REQUEST => {
                let refusal = Refusal::Invalid(error.to_string());
                self.settle(request, Ok(Response::Refused(refusal)));
            }
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.settle(request, Err(LinkError::Malformed(error.to_string())));
            }
            OutboundFailure::UnsupportedProtocols => {
                self.send_again(request, &foreign(&self.node));
                return Some(Lost::Foreign);
            }
            OutboundFailure::Io(error) if is_unsupported(error) => {
                self.send_again(request, &foreign(&self.node));
                return Some(Lost::Foreign);
            }
            // Either the connection broke, which is reported for itself, or the node gave up
            // this one stream.
            OutboundFailure::DialFailure
            | OutboundFailure::ConnectionClosed
            | OutboundFailure::Io(_) => {
                self.send_again(request, &format!("{}: {failure}", self.node));
            }
        }
        None
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
            let _ = command.answer.send(Err(LinkError::Unreachable(cause.to_owned())));
        }
    }

    /// Leaves the node; what had no answer yet waits for the next one.
    fn leave(&mut self) {
        tracing::debug!(node = %self.node, cause = self.connector.cause(), "the node is lost");
        // It fails if the connection is closed already.
        let _ = self.connector.swarm.disconnect_peer_id(self.node);
        self.unanswered = 0;
        self.waiting.extend(std::mem::take(&mut self.sent).into_values());
    }

    /// After a round in vain: forgets requests that nobody waits for, and if there is no node
    /// left to go to, says so to the others. False when nobody holds the link any more.
    fn tidy_up(&mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        self.waiting.retain(|command| !command.answer.is_closed());
        if self.connector.candidates.are_exhausted() {
            while let Ok(command) = commands.try_recv() {
                self.waiting.push_back(command);
            }
            for command in self.waiting.drain(..) {
                let _ = command.answer.send(Err(LinkError::Unreachable(self.connector.cause())));
            }
        }
        !commands.is_closed()
    }
}

/// Whether the error says that the peer does not speak our protocol. The protocol's name is
/// sent together with the request, so this comes as an error of the first read.
fn is_unsupported(error: &io::Error) -> bool {
    let negotiation = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(negotiation, Some(NegotiationError::Failed))
}

fn foreign(node: &PeerId) -> String {
    format!("{node}: it is a node of another network, or not a node")
}
