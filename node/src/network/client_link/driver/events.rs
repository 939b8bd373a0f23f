//! What libp2p reports to a client's link.

use std::io;

use antiphon::wire::{Refusal, Response};
use libp2p::{
    core::upgrade::NegotiationError,
    identify, ping,
    request_response::{self, Message, OutboundFailure, OutboundRequestId},
    swarm::SwarmEvent,
};

use super::{
    super::{
        asks::{is_of_the_node, is_success},
        connector::{LightEvent, Progress},
    },
    Driver, foreign,
};
use crate::{
    client::LinkError,
    network::{
        behaviour::EXCHANGE_TIMEOUT,
        codec::{OVERSIZE_REQUEST, Received},
    },
};

impl Driver {
    pub(super) fn handle_event(&mut self, event: SwarmEvent<LightEvent>) {
        match self.connector.take_in(event) {
            Progress::Connected(node, connection) => self.gain(node, connection),
            Progress::Noted => {}
            Progress::Other(event) => self.handle_other(event),
        }
    }

    fn handle_other(&mut self, event: SwarmEvent<LightEvent>) {
        match event {
            SwarmEvent::Behaviour(LightEvent::Rpc(event)) => self.handle_rpc(event),
            SwarmEvent::Behaviour(LightEvent::Ping(ping::Event { peer, result, connection }))
                if self.nodes.is_at(&peer, connection) =>
            {
                match result {
                    Ok(_) => self.nodes.heard(&peer, self.connector.now()),
                    Err(_) => {
                        if self.nodes.left_ping_unanswered(&peer) {
                            self.lose(peer, format!("{peer}: it does not answer any more"));
                        }
                    }
                }
            }
            SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) if self.connector.is_foreign(&info) => self.shun(peer_id),
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. }
                if self.nodes.is_at(&peer_id, connection_id) =>
            {
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                self.lose(peer_id, format!("{peer_id}: the connection broke{cause}"));
            }
            event => self.connector.note_found(event),
        }
    }

    fn handle_rpc(&mut self, event: request_response::Event<Received, Response>) {
        match event {
            request_response::Event::Message {
                peer,
                message: Message::Response { request_id, response },
                ..
            } => {
                self.nodes.heard(&peer, self.connector.now());
                if self.acquainting == Some(request_id) {
                    self.acquainting = None;
                    if let Response::Peers(peers) = response {
                        self.connector.candidates.learn(peers, self.turn);
                    }
                } else {
                    self.handle_response(request_id, response);
                }
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.handle_failure(request_id, &error);
            }
            // Nobody asks a client: it does not speak that side of the protocol.
            _ => {}
        }
    }

    fn handle_response(&mut self, id: OutboundRequestId, response: Response) {
        let Some(exchange) = self.asks.ended(id) else { return };
        self.nodes.answered(&exchange.node);
        if let Response::Published(published) = &response
            && published.acknowledged
        {
            self.patience.measured(self.connector.now().saturating_sub(exchange.began));
            self.nodes.proved(&exchange.node);
        }
        // It may have had its outcome from another node.
        let Some(ask) = self.asks.open.get_mut(&exchange.ask) else { return };
        if is_success(&response) {
            let is_publish = matches!(response, Response::Published(_));
            let ask = self.asks.settle(exchange.ask, response);
            if let Some(ask) = ask.filter(|_| is_publish) {
                self.nodes.won(&exchange.node, &ask.at);
                if !ask.was_late {
                    self.patience.earn();
                }
            }
            return;
        }
        let may_go_on = is_of_the_node(&response) && ask.may_go_on();
        ask.keep(response);
        // Where it may go on, the next look at it finds another node, or that there is none.
        if ask.at.is_empty() && !may_go_on {
            self.asks.fall_back(exchange.ask);
        }
    }

    fn handle_failure(&mut self, id: OutboundRequestId, failure: &OutboundFailure) {
        let Some(exchange) = self.asks.ended(id) else { return };
        self.nodes.answered(&exchange.node);
        let node = exchange.node;
        match failure {
            OutboundFailure::Timeout => {
                self.asks.fail(exchange.ask, LinkError::TimedOut(EXCHANGE_TIMEOUT));
            }
            OutboundFailure::Io(error) if error.kind() == OVERSIZE_REQUEST => {
                let refusal = Refusal::Invalid(error.to_string());
                self.asks.settle(exchange.ask, Response::Refused(refusal));
            }
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.asks.fail(exchange.ask, LinkError::Malformed(error.to_string()));
            }
            OutboundFailure::UnsupportedProtocols => {
                self.asks.broke(exchange, &foreign(&node));
                self.shun(node);
            }
            OutboundFailure::Io(error) if is_unsupported(error) => {
                self.asks.broke(exchange, &foreign(&node));
                self.shun(node);
            }
            // Either the connection broke, which is reported for itself, or the node gave up
            // this one stream.
            OutboundFailure::DialFailure
            | OutboundFailure::ConnectionClosed
            | OutboundFailure::Io(_) => self.asks.broke(exchange, &format!("{node}: {failure}")),
        }
    }
}

/// Whether the error says that the peer does not speak our protocol. The protocol's name is
/// sent together with the request, so this comes as an error of the first read.
fn is_unsupported(error: &io::Error) -> bool {
    let negotiation = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(negotiation, Some(NegotiationError::Failed))
}
