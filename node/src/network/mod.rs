//! The network of a node: libp2p and only libp2p.
//!
//! It carries requests and answers, sends live batches, finds nodes and keeps connections. It
//! reports what happened in the engine's words ([`Input`]). Every batch that leaves this module has
//! been verified, on the task of its connection or on one of its own.
//!
//! It decides nothing. The engine decides which node is alive, which one to ask or to dial, and
//! what a missing answer means. The network does two things by itself: it dials the bootstrap list
//! while those nodes are not connected, and it denies peers of other networks.
//!
//! No task here owns the swarm: the runtime's loop polls [`Network::next`].

mod admission;
mod allowance;
mod behaviour;
mod bootstrap;
mod budget;
mod client_link;
mod conduct;
mod crowd;
mod discovery;
mod events;
mod exchanges;
mod filtered;
mod followers;
mod gated;
mod gossip;
mod hearsay;
mod held_back;
mod joins;
mod limits;
mod listening;
mod lobby;
mod local;
mod names;
mod operator_link;
mod paced;
mod peers;
mod protocols;
mod questions;
mod recall;
mod rpc;
mod runtime_directory;
mod silent;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod translate;
mod transport;
mod unproven;
mod verification;

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use admission::Judge;
pub(crate) use admission::{ADMITTED_MAX, Closed, Gate};
use antiphon::{
    engine::{AskId, Failure, Input, QuestionId},
    model::{Batch, NodeId, TopicId},
    wire::{Contact, Gossip, Refusal, Request, Response},
};
use behaviour::Behaviour;
use bootstrap::{Attempt, Bootstrap};
pub(crate) use client_link::RemoteLink;
use conduct::{Conduct, Shunned, Warnings};
use crowd::Crowd;
use discovery::Nearby;
pub(crate) use discovery::runs_here;
use exchanges::{Admission, Asks, Purpose};
use followers::Followers;
use futures::StreamExt;
use held_back::HeldBack;
use joins::Joins;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{MessageId, PublishError},
    identity::Keypair,
    swarm::dial_opts::{DialOpts, PeerCondition},
};
use limits::{TOPICS_FOLLOWED_MAX, UNKNOWN_TOPIC_COST};
use listening::AddressNews;
pub(crate) use listening::Listen;
pub use local::LocalNode;
use operator_link::MachineLink;
pub(crate) use operator_link::{OperatorPlace, network_file_of, operator_key_of};
use peers::Peers;
use protocols::Protocols;
use questions::Questions;
use table::{Announced, Lookup};
use thiserror::Error;
use tokio::time::{Interval, MissedTickBehavior};
use unproven::Unproven;
use verification::Verification;
use zeroize::Zeroizing;

/// What a network is started with.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The secret ed25519 key of the node.
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// The network that it belongs to.
    pub(crate) network: antiphon::model::Network,
    /// Where it listens.
    pub(crate) listen: Listen,
    /// The nodes to join through. Where an address has no peer id, whatever node is there will do.
    pub(crate) bootstrap: Vec<Multiaddr>,
    /// Whether it takes new topics though nothing was reached at the bootstrap addresses.
    pub(crate) alone: bool,
    /// Whether nodes nearby are found by themselves, and find this one.
    pub(crate) discovery: bool,
    /// Where nodes of this machine find each other; the usual place where none is given.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// Who operates the node; none if nobody does from outside.
    pub(crate) operator: Option<OperatorPlace>,
    /// What it needs to be of a closed network; none in an open one.
    pub(crate) closed: Option<Box<Closed>>,
    /// The file with that network, for commands of this machine.
    pub(crate) network_file: Option<PathBuf>,
}

/// Why a network did not start.
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {reason}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why.
        reason: String,
    },
    /// The key cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(String),
}

/// The network of a node.
pub(crate) struct Network {
    swarm: Swarm<Behaviour>,
    protocols: Protocols,
    /// What to hand out next.
    ready: VecDeque<Input>,
    peers: Peers,
    crowd: Crowd,
    joins: Joins,
    unproven: Unproven,
    asks: Asks,
    questions: Questions,
    verification: Verification,
    /// Messages that were handed out and are not passed on yet, in their order.
    heard_gossip: VecDeque<(MessageId, PeerId)>,
    bootstrap: Bootstrap,
    nearby: Option<Nearby>,
    address_news: AddressNews,
    _links: [Option<MachineLink>; 2],
    /// Who decides who gets in; none in an open network.
    judge: Option<Arc<Judge>>,
    /// Peers that are kept away.
    shunned: Shunned,
    conduct: Conduct,
    /// Warnings that too many requests wait for a node.
    warnings: Warnings,
    held_back: HeldBack,
    /// Nodes of another version that were named.
    outdated: BTreeSet<PeerId>,
    /// Whether a node was connected since the start, or need not be.
    has_joined: bool,
    followers: Followers,
    /// Topics that are followed here.
    followed: BTreeSet<TopicId>,
    /// Topics that this node holds.
    provided: BTreeSet<TopicId>,
    /// Those of them that wait to be announced in the table.
    unannounced: BTreeSet<TopicId>,
    /// Announcements that are under way.
    announcing: usize,
    /// Lookups that are under way: for which topic, and whom they found.
    locating: Vec<Lookup>,
    /// What other nodes have announced in the table here.
    announced: Announced,
    /// When mDNS was last started again.
    lan_since: u64,
    clock: Interval,
    /// How many [`BEAT`]s have passed.
    beat: u64,
}

/// The pace of what is done again and again. Half a heartbeat, so that signs of life are
/// reported at least once for each heartbeat that the engine expects.
const BEAT: Duration = Duration::from_millis(500);

impl Network {
    /// Starts to listen, and to join. Returns when every address is bound.
    ///
    /// # Errors
    /// When an address cannot be listened at, or a setting is wrong. Nothing keeps running then.
    pub(crate) async fn start(settings: Settings) -> Result<Self, NetworkError> {
        let Settings {
            mut secret,
            network,
            listen,
            bootstrap,
            alone,
            discovery,
            runtime_directory,
            operator,
            closed,
            network_file,
        } = settings;
        let key = Keypair::ed25519_from_bytes(secret.as_mut_slice())
            .map_err(|error| NetworkError::Key(error.to_string()))?;
        let local = key.public().to_peer_id();
        let protocols = Protocols::of(&network);
        let bootstrap = Bootstrap::new(bootstrap, local);
        for address in bootstrap.own() {
            tracing::info!("{address}, to join through, is this node's own");
        }
        // mDNS does not use the loopback interface.
        let lan = discovery && listen.is_open();
        let operator_node = operator.as_ref().map(|operator| operator.node);
        let judge = closed.map(|closed| Arc::new(Judge::new(*closed, operator_node)));
        let behaviour = Behaviour::new(&key.public(), &protocols, lan);
        let mut swarm = transport::swarm(&key, behaviour, judge.clone())
            .map_err(|error| NetworkError::Key(error.to_string()))?;
        let operator_peer = operator.as_ref().map(|operator| translate::peer_of(operator.node));
        if let Some(peer) = &operator_peer {
            // Several commands may run at the same time, and on a node that has no place left.
            swarm.behaviour_mut().silent.limits.bypass_peer_id(peer);
        }
        let operator_file = operator.as_ref().map(|operator| operator.file.as_path());
        let files = [operator_file, network_file.as_deref()];
        let links = MachineLink::leave_all(runtime_directory.as_deref(), local, files);
        let mut clock = tokio::time::interval(BEAT);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut network = Self {
            swarm,
            protocols,
            ready: VecDeque::new(),
            peers: Peers::new(operator_peer),
            crowd: Crowd::default(),
            joins: Joins::default(),
            unproven: Unproven::default(),
            asks: Asks::default(),
            questions: Questions::default(),
            verification: Verification::default(),
            heard_gossip: VecDeque::new(),
            bootstrap,
            nearby: None,
            address_news: AddressNews::default(),
            _links: links,
            judge,
            shunned: Shunned::default(),
            conduct: Conduct::default(),
            warnings: Warnings::default(),
            held_back: HeldBack::new(),
            outdated: BTreeSet::new(),
            has_joined: alone,
            followers: Followers::default(),
            followed: BTreeSet::new(),
            provided: BTreeSet::new(),
            unannounced: BTreeSet::new(),
            announcing: 0,
            locating: Vec::new(),
            announced: Announced::default(),
            lan_since: 0,
            clock,
            beat: 0,
        };
        network.listen(listen).await?;
        if discovery {
            network.nearby =
                Nearby::start(&network.protocols.network, runtime_directory, local).await;
        }
        network.tell_addresses();
        Ok(network)
    }

    /// The addresses to join through, if none of them led to a node since the start and no other
    /// node was found either.
    pub(crate) fn not_joined(&self) -> Option<String> {
        let addresses: Vec<_> = self.bootstrap.addresses().map(ToString::to_string).collect();
        (!self.has_joined && !addresses.is_empty()).then(|| addresses.join(", "))
    }

    /// What happens next. Cancel-safe: nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.ready.pop_front() {
                return input;
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle_event(event),
                Some(verdict) = self.verification.next() => self.handle_verdict(verdict),
                Some(found) = discovery::next(&mut self.nearby) => self.handle_found(&found),
                _ = self.clock.tick() => self.handle_beat(),
                Some(refusals) = self.held_back.next() => self.refuse(refusals),
            }
        }
    }

    /// Answers a question. If the asker is gone, nothing happens.
    pub(crate) fn answer(&mut self, question: QuestionId, response: Response) {
        if let Some(reply_to) = self.questions.answered(question) {
            if matches!(response, Response::Refused(Refusal::UnknownTopic { .. })) {
                self.peers.charge(&reply_to.peer(), UNKNOWN_TOPIC_COST);
            }
            self.swarm.behaviour_mut().rpc.answer(reply_to, response);
        }
    }

    /// Asks a connected node. Exactly one [`Input::Told`] follows: at once if the node is not
    /// connected.
    pub(crate) fn ask(&mut self, ask: AskId, to: NodeId, request: Request) {
        if self.peers.node(&translate::peer_of(to)).is_none() {
            return self.tell(ask, Err(Failure::Unreachable));
        }
        match self.asks.admit(ask, to, request) {
            Admission::Send(request) => self.send(ask, to, request),
            Admission::Waits => {}
            Admission::Full => {
                if let Some(unsaid) = self.warnings.admit(self.beat) {
                    tracing::warn!(node = %to, unsaid, "too many requests wait for the node");
                }
                self.tell(ask, Err(Failure::Unreachable));
            }
        }
    }

    /// Fans a batch out to those who follow its topic, unless all of them are among those that it
    /// is sent to anyway. Best effort.
    pub(crate) fn gossip(&mut self, batch: &Batch, sent_to: &[NodeId]) {
        let mesh = self.protocols.mesh(batch.header().topic);
        let sent_to: Vec<_> = sent_to.iter().copied().map(translate::peer_of).collect();
        if !self.followers.is_followed_beyond(&mesh.hash(), &sent_to) {
            return;
        }
        let gossip = &mut self.swarm.behaviour_mut().gossip.inner;
        match gossip.publish(mesh, Gossip::encode(batch)) {
            // Nobody follows, or everybody has it: both are fine.
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::debug!(%error, "a batch was not fanned out"),
        }
    }

    /// Joins the mesh of a topic.
    pub(crate) fn follow(&mut self, topic: TopicId) {
        if self.followed.len() >= TOPICS_FOLLOWED_MAX && !self.followed.contains(&topic) {
            tracing::warn!(?topic, "too many topics are followed; its readers will be slower");
            return;
        }
        self.followed.insert(topic);
        let mesh = self.protocols.mesh(topic);
        let followed = self.swarm.behaviour_mut().gossip.inner.subscribe(&mesh);
        followed.expect("the filter allows every topic");
    }

    /// Leaves the mesh of a topic.
    pub(crate) fn unfollow(&mut self, topic: TopicId) {
        if self.followed.remove(&topic) {
            let mesh = self.protocols.mesh(topic);
            self.swarm.behaviour_mut().gossip.inner.unsubscribe(&mesh);
        }
    }

    /// Connects to a node, unless it is connected or being dialled.
    pub(crate) fn dial(&mut self, contact: &Contact) {
        self.dial_peer(translate::peer_of(contact.node), translate::multiaddrs(contact));
    }

    /// Closes the connections to a node. For this room it is gone at once, although a connection
    /// to a machine that no longer reads may take minutes to close.
    pub(crate) fn disconnect(&mut self, node: NodeId) {
        let peer = translate::peer_of(node);
        if self.peers.is_connected(&peer) {
            self.part_with(peer);
            // It fails if there is no connection.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn dial_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.is_wanted(&peer)
            && let Err(error) = self.swarm.dial(to_peer(peer, addresses))
        {
            tracing::trace!(%peer, %error, "not dialled");
        }
    }

    /// Tries to join through a node of the bootstrap list.
    fn attempt(&mut self, attempt: Attempt) {
        let Attempt { target, known, wanted, addresses } = attempt;
        if known.is_some_and(|peer| !self.is_wanted(&peer)) {
            return;
        }
        let dial = match (wanted, addresses.first()) {
            (Some(peer), _) => to_peer(peer, addresses),
            (None, Some(address)) => {
                DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
            }
            (None, None) => return,
        };
        let connection = dial.connection_id();
        self.bootstrap.dialling(target, connection);
        if let Err(error) = self.swarm.dial(dial) {
            self.attempt_failed(connection, &error);
        }
    }

    /// Whether a connection to a peer is wanted and there is none.
    fn is_wanted(&self, peer: &PeerId) -> bool {
        !self.peers.is_connected(peer)
            && !self.shunned.contains(peer)
            && peer != self.swarm.local_peer_id()
    }

    fn send(&mut self, ask: AskId, to: NodeId, request: Request) {
        let purpose = Purpose::of(&request);
        let rpc = &mut self.swarm.behaviour_mut().rpc;
        let id = rpc.ask(translate::peer_of(to), request);
        self.asks.sent(id, ask, to, purpose, self.beat);
    }

    fn tell(&mut self, ask: AskId, result: Result<Response, Failure>) {
        self.ready.push_back(Input::Told { ask, result });
    }
}

fn to_peer(peer: PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    DialOpts::peer_id(peer)
        // A connection that is still closing does not count; see `disconnect`.
        .condition(PeerCondition::NotDialing)
        // Only the engine and the bootstrap list say where a node is: what peers tell the table
        // leads nowhere.
        .addresses(addresses)
        // From the port that it listens at, two nodes that dial each other at the same
        // moment would meet in one TCP connection, both as its initiator.
        .allocate_new_port()
        .build()
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Network")
            .field("protocols", &self.protocols)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}
