//! How a client's link finds nodes and connects to them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon::model::Network;
use libp2p::{
    PeerId, Swarm,
    connection_limits::ConnectionLimits,
    identify,
    identity::Keypair,
    mdns, ping,
    swarm::{
        ConnectionId, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{
    candidates::{Candidate, Candidates},
    identity::Identity,
    patience::{DIAL_PACE, DIAL_TIMEOUT, LAN_QUERY_INTERVAL, PING_INTERVAL, PONG_TIMEOUT},
};
use crate::{
    client::ConnectError,
    network::{
        admission::Judge,
        behaviour,
        protocols::{Protocols, Stranger},
        rpc,
        silent::Silent,
        translate::{dial_causes, leads_there, split_peer},
        transport,
    },
    platform::clock::Clock,
};

/// What a client speaks: it asks, and answers who it is and that it is there.
#[derive(NetworkBehaviour)]
pub(super) struct Light {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) rpc: rpc::Behaviour,
    silent: Silent,
}

/// The search for nodes.
pub(super) struct Connector {
    pub(super) swarm: Swarm<Light>,
    protocols: Protocols,
    pub(super) candidates: Candidates,
    /// Whether mDNS has been asked. It is asked only where no node of this machine answers.
    searches_lan: bool,
    pub(super) clock: Clock,
    /// Whom it is connecting to.
    dials: BTreeMap<PeerId, Dial>,
    /// The nodes that did not do, the latest last.
    failed: Vec<Failed>,
}

struct Dial {
    candidate: Candidate,
    began: Duration,
    /// The connection, while it is not known of what network the node is.
    connection: Option<ConnectionId>,
}

struct Failed {
    peer: PeerId,
    at: Duration,
    /// Why, one line for each address.
    causes: Vec<String>,
}

/// What an event says about connections that are being made.
#[expect(clippy::large_enum_variant, reason = "an event is handed on at once and not kept")]
pub(super) enum Progress {
    /// A node is connected.
    Connected(PeerId, ConnectionId),
    /// It was about them, and needs nothing more.
    Noted,
    /// It is about something else.
    Other(SwarmEvent<LightEvent>),
}

/// Whom to dial next.
pub(super) enum Next {
    Now(Candidate),
    /// Those that are left have failed a moment ago.
    Later,
    /// None is left.
    Never,
}

/// Nodes that did not do, of which is remembered why.
const FAILED_MAX: usize = 32;

/// Causes that are told.
const CAUSES_MAX: usize = 16;

impl Connector {
    pub(super) fn new(
        network: &Network,
        candidates: Candidates,
        identity: Identity,
    ) -> Result<Self, ConnectError> {
        let protocols = Protocols::of(network);
        let swarm = light_swarm(&protocols, identity)?;
        Ok(Self {
            swarm,
            protocols,
            candidates,
            searches_lan: false,
            clock: Clock::start(),
            dials: BTreeMap::new(),
            failed: Vec::new(),
        })
    }

    /// Searches the LAN as well, from now on.
    pub(super) fn search_lan(&mut self) {
        if self.candidates.are_searched_for() && !self.searches_lan {
            self.searches_lan = true;
            let local = *self.swarm.local_peer_id();
            self.swarm.behaviour_mut().silent.lan = behaviour::mdns(LAN_QUERY_INTERVAL, local);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now().elapsed
    }

    /// Whether the next node may be dialled: those that are being dialled had their time.
    pub(super) fn is_paced(&self, now: Duration) -> bool {
        self.dials.values().all(|dial| dial.began + DIAL_PACE <= now)
    }

    /// Begins to connect to a node.
    pub(super) fn dial(&mut self, candidate: Candidate, now: Duration) {
        let peer = candidate.peer;
        let options = DialOpts::peer_id(peer)
            // An older connection to the same node may still be closing.
            .condition(PeerCondition::Always)
            .addresses(candidate.addresses.clone())
            .build();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(peer, Dial { candidate, began: now, connection: None });
            }
            Err(error) => self.note_failure(peer, now, dial_causes(&peer, &error)),
        }
    }

    /// Gives up the dials that have taken too long; when to look again.
    pub(super) fn tend_dials(&mut self, now: Duration) -> Option<Duration> {
        let late = |_: &PeerId, dial: &mut Dial| dial.began + DIAL_TIMEOUT <= now;
        for (peer, dial) in self.dials.extract_if(.., late).collect::<Vec<_>>() {
            // Ends the dial; it is no connection yet, which is what this would complain of.
            let _ = self.swarm.disconnect_peer_id(peer);
            self.note_failure(peer, now, silence(&dial.candidate));
        }
        let due = |dial: &Dial| {
            let paced = dial.began + DIAL_PACE;
            if paced > now { paced } else { dial.began + DIAL_TIMEOUT }
        };
        self.dials.values().map(due).min()
    }

    /// Takes in what is about connections that are being made.
    pub(super) fn take_in(&mut self, event: SwarmEvent<LightEvent>) -> Progress {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                match self.dials.get_mut(&peer_id) {
                    // What mDNS finds may be of any network, and says so in identify. The others
                    // are known to be of ours; that they are not would show in their first answer.
                    Some(dial) if dial.candidate.is_of_lan => {
                        dial.connection = Some(connection_id);
                        Progress::Noted
                    }
                    Some(_) => self.connected(peer_id, connection_id),
                    None => {
                        self.swarm.close_connection(connection_id);
                        Progress::Noted
                    }
                }
            }
            SwarmEvent::Behaviour(LightEvent::Identify(identify::Event::Received {
                peer_id,
                ref info,
                ..
            })) if let Some(Dial { connection: Some(connection), .. }) =
                self.dials.get(&peer_id) =>
            {
                let connection = *connection;
                let Some(stranger) = self.stranger(info) else {
                    return self.connected(peer_id, connection);
                };
                self.candidates.remove(&peer_id);
                self.dials.remove(&peer_id);
                // Other networks on the LAN are nothing to complain about.
                if matches!(stranger, Stranger::Version(_)) {
                    self.note_failure(peer_id, self.now(), vec![format!("{peer_id}: {stranger}")]);
                }
                self.swarm.close_connection(connection);
                Progress::Noted
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                if self.dials.remove(&peer).is_some() {
                    self.note_failure(peer, self.now(), dial_causes(&peer, &error));
                }
                Progress::Noted
            }
            event => Progress::Other(event),
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId) -> Progress {
        self.dials.remove(&peer);
        self.failed.retain(|failed| failed.peer != peer);
        Progress::Connected(peer, connection)
    }

    /// A node did not do.
    pub(super) fn note_failure(&mut self, peer: PeerId, at: Duration, causes: Vec<String>) {
        self.failed.retain(|failed| failed.peer != peer);
        if self.failed.len() >= FAILED_MAX {
            self.failed.remove(0);
        }
        self.failed.push(Failed { peer, at, causes });
    }

    /// The next node to dial, of those that are wanted.
    pub(super) fn next_candidate(
        &mut self,
        wanted: impl Fn(&PeerId) -> bool,
        pause: Duration,
        now: Duration,
    ) -> Next {
        let Self { candidates, dials, failed, .. } = self;
        let is_free = |peer: &PeerId| wanted(peer) && !dials.contains_key(peer);
        let pauses = |peer: &PeerId| {
            failed.iter().any(|failed| failed.peer == *peer && failed.at + pause > now)
        };
        match candidates.next(|peer| is_free(peer) && !pauses(peer)) {
            Some(candidate) => Next::Now(candidate),
            None if candidates.any(is_free) => Next::Later,
            None => Next::Never,
        }
    }

    /// Whether a node failed so recently that it is not to be dialled yet.
    pub(super) fn has_failed(&self, peer: &PeerId, pause: Duration, now: Duration) -> bool {
        self.failed.iter().any(|failed| failed.peer == *peer && failed.at + pause > now)
    }

    /// Why no node is connected: one line for each address.
    pub(super) fn causes(&self) -> Vec<String> {
        let dialled = self.dials.values().flat_map(|dial| silence(&dial.candidate));
        let failed = self.failed.iter().flat_map(|failed| failed.causes.clone());
        failed.chain(dialled).take(CAUSES_MAX).collect()
    }

    /// How a peer differs from this network, by what it says in identify.
    pub(super) fn stranger(&self, info: &identify::Info) -> Option<Stranger> {
        self.protocols.stranger(&info.protocol_version)
    }

    /// Notes whom mDNS has found.
    pub(super) fn note_found(&mut self, event: SwarmEvent<LightEvent>) {
        if let SwarmEvent::Behaviour(LightEvent::Silent(mdns::Event::Discovered(found))) = event {
            for (peer, address) in found.into_iter().filter(|(_, address)| leads_there(address)) {
                self.candidates.found_on_lan(peer, split_peer(address).0);
            }
        }
    }
}

fn silence(candidate: &Candidate) -> Vec<String> {
    let line = |address| format!("{address}: no answer");
    candidate.addresses.iter().map(line).collect()
}

fn light_swarm(protocols: &Protocols, identity: Identity) -> Result<Swarm<Light>, ConnectError> {
    let judge = identity.closed.map(|closed| Arc::new(Judge::new(closed, None)));
    let key = match identity.secret {
        Some(mut secret) => Keypair::ed25519_from_bytes(secret.as_mut_slice())
            .map_err(|error| ConnectError::Unreachable(vec![format!("no such key: {error}")]))?,
        None => Keypair::generate_ed25519(),
    };
    let pings = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PONG_TIMEOUT);
    let light = Light {
        identify: behaviour::identify(&key.public(), protocols),
        ping: ping::Behaviour::new(pings),
        rpc: rpc::Behaviour::new(protocols.rpc.clone(), false),
        silent: Silent::new(ConnectionLimits::default(), Vec::new()),
    };
    transport::swarm(&key, light, judge)
        .map_err(|error| ConnectError::Unreachable(vec![format!("no transport: {error}")]))
}
