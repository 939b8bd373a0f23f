//! How a client's link finds a node and connects to it.

use std::time::Duration;

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::request_response::ProtocolSupport;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Swarm, identify, mdns, ping};

use super::candidates::{Candidate, Candidates};
use super::driver::{Driver, ROUND_PAUSE};
use crate::client::ConnectError;
use crate::network::behaviour::{self, Rpc};
use crate::network::protocols::Protocols;
use crate::network::translate::{dial_causes, split_peer};
use crate::network::transport;

/// What a client speaks: it asks, and answers who it is and that it is there.
#[derive(NetworkBehaviour)]
pub(super) struct Light {
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) rpc: Rpc,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Time for one node to be connected while others could be tried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Causes that are remembered.
const CAUSES_MAX: usize = 16;

impl Driver {
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

    /// Tries each node once; true as soon as one is connected. Otherwise the causes are noted.
    pub(super) async fn try_each(&mut self) -> bool {
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

    pub(super) fn note_found(&mut self, event: SwarmEvent<LightEvent>) {
        if let SwarmEvent::Behaviour(LightEvent::Mdns(mdns::Event::Discovered(found))) = event {
            for (peer, address) in found {
                self.candidates
                    .add(peer, split_peer(address).0);
            }
        }
    }
}

pub(super) fn light_swarm(protocols: &Protocols, lan: bool) -> Result<Swarm<Light>, ConnectError> {
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
        identify: behaviour::identify(&key.public(), protocols),
        ping: behaviour::ping(),
        rpc: behaviour::rpc(&protocols.rpc, ProtocolSupport::Outbound),
        mdns: Toggle::from(mdns),
    };
    transport::swarm(&key, light)
        .map_err(|error| ConnectError::Unreachable(vec![format!("no transport: {error}")]))
}
