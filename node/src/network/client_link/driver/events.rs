//! What libp2p reports to a client's link.

use antiphon::wire::{Refusal, Response};
use libp2p::{identify, ping, swarm::SwarmEvent};

use super::{
    super::{
        asks::{is_of_the_node, is_success},
        connector::{LightEvent, Progress},
    },
    Driver, FOREIGN,
};
use crate::{
    client::LinkError,
    network::rpc::{self, AskError, RequestId},
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
            })) if let Some(stranger) = self.connector.stranger(&info) => {
                self.shun(peer_id, &stranger.to_string());
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. }
                if self.nodes.is_at(&peer_id, connection_id) =>
            {
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                self.lose(peer_id, format!("{peer_id}: the connection broke{cause}"));
            }
            event => self.connector.note_found(event),
        }
    }

    fn handle_rpc(&mut self, event: rpc::Event) {
        match event {
            rpc::Event::Answered(peer, id, response) => {
                self.nodes.heard(&peer, self.connector.now());
                match response {
                    Response::Peers(peers) if self.acquainting == Some(id) => {
                        self.acquainted(peers);
                    }
                    response => self.handle_response(id, response),
                }
            }
            rpc::Event::Failed(_, id, error) => self.handle_failure(id, &error),
            // Nobody asks a client: it does not speak that side of the protocol.
            rpc::Event::Asked(..) | rpc::Event::Abandoned(_) | rpc::Event::Misbehaved(..) => {}
        }
    }

    fn handle_response(&mut self, id: RequestId, response: Response) {
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
        if let Response::Refused(Refusal::OverBudget { retry_after_ms, .. }) = &response
            && ask.wait(&exchange.node, *retry_after_ms, self.connector.now())
        {
            return;
        }
        let may_go_on = is_of_the_node(&response) && ask.may_go_on();
        ask.keep(response);
        // Where it may go on, the next look at it finds another node, or that there is none.
        if ask.at.is_empty() && !may_go_on {
            self.asks.fall_back(exchange.ask);
        }
    }

    fn handle_failure(&mut self, id: RequestId, failure: &AskError) {
        let Some(exchange) = self.asks.ended(id) else { return };
        self.nodes.answered(&exchange.node);
        let node = exchange.node;
        match failure {
            AskError::TooLarge(error) => {
                let refusal = Refusal::Invalid(error.to_string());
                self.asks.settle(exchange.ask, Response::Refused(refusal));
            }
            AskError::Malformed(error) => {
                self.asks.fail(exchange.ask, LinkError::Malformed(error.to_string()));
            }
            AskError::Unsupported => {
                self.asks.broke(exchange, &format!("{node}: {FOREIGN}"));
                // What it says of itself may be on its way, and tells more.
                if !self.doubted.insert(node) {
                    self.shun(node, FOREIGN);
                }
            }
            // Either the connection broke, which is reported for itself, or the node gave up
            // this one stream.
            AskError::Closed | AskError::Broken(_) => {
                self.asks.broke(exchange, &format!("{node}: {failure}"));
            }
        }
    }
}
