//! How a client's link finds a node and connects to it.

use std::time::Duration;

use antiphon::model::Network;
use futures::StreamExt;
use libp2p::{
    PeerId, Swarm, identify,
    identity::Keypair,
    mdns, ping,
    request_response::ProtocolSupport,
    swarm::{
        NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::candidates::{Candidate, Candidates};
use crate::{
    client::ConnectError,
    network::{
        behaviour::{self, Rpc},
        protocols::Protocols,
        translate::{dial_causes, split_peer},
        transport,
    },
};

/// What a client speaks: it asks, and answers who it is and that it is there.
#[derive(NetworkBehaviour)]
pub(super) struct Light {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) rpc: Rpc,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// The search for a node.
pub(super) struct Connector {
    pub(super) swarm: Swarm<Light>,
    protocols: Protocols,
    pub(super) candidates: Candidates,
    /// Whom it is connecting to.
    trying: Option<Candidate>,
    /// Why the nodes that were tried last did not do, one line for each address.
    causes: Vec<String>,
}

/// Time for one node to be connected while others could be tried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause after all nodes were tried in vain.
pub(super) const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// Causes that are remembered.
const CAUSES_MAX: usize = 16;

impl Connector {
    pub(super) fn new(network: &Network, candidates: Candidates) -> Result<Self, ConnectError> {
        let protocols = Protocols::of(network);
        let swarm = light_swarm(&protocols, false)?;
        Ok(Self { swarm, protocols, candidates, trying: None, causes: Vec::new() })
    }

    /// Connects to the first node that answers, searching the LAN last; none if no node does.
    /// It may be dropped at any time; [`Connector::into_error`] then says how far it came.
    pub(super) async fn connect(&mut self) -> Option<PeerId> {
        let connected = self.try_each().await;
        if connected.is_some() || !self.candidates.may_be_widened() {
            return connected;
        }
        self.swarm = light_swarm(&self.protocols, true).ok()?;
        self.candidates = Candidates::of_lan();
        loop {
            while self.candidates.is_empty() {
                let event = self.swarm.select_next_some().await;
                self.note_found(event);
            }
            let connected = self.try_each().await;
            if connected.is_some() {
                return connected;
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// Tries each node once, up to the first that answers. The causes of the others are noted.
    pub(super) async fn try_each(&mut self) -> Option<PeerId> {
        let mut causes = Vec::new();
        for _ in 0..self.candidates.len() {
            let candidate = self.candidates.next()?;
            self.trying = Some(candidate.clone());
            let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(&candidate)).await;
            self.trying = None;
            match attempt {
                Ok(Ok(())) => return Some(candidate.peer),
                Ok(Err(failed)) => causes.extend(failed),
                Err(_elapsed) => causes.extend(silence(&candidate)),
            }
            causes.truncate(CAUSES_MAX);
            self.causes.clone_from(&causes);
        }
        None
    }

    /// Why no node is connected.
    pub(super) fn cause(&self) -> String {
        self.causes.join("; ")
    }

    /// A node that was connected did not do after all.
    pub(super) fn note_cause(&mut self, cause: String) {
        self.causes = vec![cause];
    }

    /// What is to be said when no node could be connected.
    pub(super) fn into_error(mut self) -> ConnectError {
        self.causes.extend(self.trying.iter().flat_map(silence));
        if self.causes.is_empty() {
            ConnectError::NoNode(self.protocols.network.to_string())
        } else {
            ConnectError::Unreachable(self.causes)
        }
    }

    /// Whether identify says that a peer is of another network.
    pub(super) fn is_foreign(&self, info: &identify::Info) -> bool {
        info.protocol_version != self.protocols.family
    }

    /// Notes whom mDNS has found.
    pub(super) fn note_found(&mut self, event: SwarmEvent<LightEvent>) {
        if let SwarmEvent::Behaviour(LightEvent::Mdns(mdns::Event::Discovered(found))) = event {
            for (peer, address) in found {
                self.candidates.add(peer, split_peer(address).0);
            }
        }
    }

    async fn attempt(&mut self, candidate: &Candidate) -> Result<(), Vec<String>> {
        let node = candidate.peer;
        let dial = DialOpts::peer_id(node)
            // An older connection to the same node may still be closing.
            .condition(PeerCondition::Always)
            .addresses(candidate.addresses.clone())
            .build();
        self.swarm.dial(dial).map_err(|error| dial_causes(&node, &error))?;
        // Whoever mDNS finds may be of any network, and says so in identify. The others are
        // known to be of ours; that they are not would show in their first answer.
        let ask_network = self.candidates.are_of_lan();
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. }
                    if peer_id == node && !ask_network =>
                {
                    return Ok(());
                }
                SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                    peer_id,
                    info,
                    ..
                })) if peer_id == node && ask_network => {
                    if !self.is_foreign(&info) {
                        return Ok(());
                    }
                    // Other networks on the LAN are nothing to complain about.
                    self.candidates.remove(&node);
                    let _ = self.swarm.disconnect_peer_id(node);
                    return Err(Vec::new());
                }
                SwarmEvent::OutgoingConnectionError { peer_id, error, .. }
                    if peer_id == Some(node) =>
                {
                    return Err(dial_causes(&node, &error));
                }
                event => self.note_found(event),
            }
        }
    }
}

fn silence(candidate: &Candidate) -> Vec<String> {
    let line = |address| format!("{address}: no answer");
    candidate.addresses.iter().map(line).collect()
}

fn light_swarm(protocols: &Protocols, lan: bool) -> Result<Swarm<Light>, ConnectError> {
    let key = Keypair::generate_ed25519();
    let light = Light {
        identify: behaviour::identify(&key.public(), protocols),
        ping: behaviour::ping(),
        rpc: behaviour::rpc(&protocols.rpc, ProtocolSupport::Outbound),
        mdns: behaviour::mdns(lan, key.public().to_peer_id()),
    };
    transport::swarm(&key, light)
        .map_err(|error| ConnectError::Unreachable(vec![format!("no transport: {error}")]))
}
