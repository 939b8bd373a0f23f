//! What the world reports to the engine.

use std::{collections::BTreeSet, time::Duration};

use super::{
    holdings::{Damage, ledger::Part, sweep::Swept},
    ids::{AskId, QuestionId, Ticket, WriteNumber},
};
use crate::{
    limits,
    model::{
        Incarnation, NodeId, NodeKey, Realm, TopicId, WallClock,
        roster::{Charter, Signed, Statement},
    },
    wire::{Address, Checked, Contact, Gossip, Page, Request, Response},
};

/// A moment, as the runtime read its clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Time since the engine was started; never goes back.
    pub elapsed: Duration,
    /// Wall time; may jump.
    pub wall: WallClock,
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's key.
    pub key: NodeKey,
    /// The network.
    pub realm: Realm,
    /// This life of the data directory: random, never used before.
    pub incarnation: Incarnation,
    /// The lives before, back to the last one that did not end cleanly; none where the data
    /// directory is not the very one that a clean stop left. Their logs are continued, once nobody
    /// knows more of them than this node does.
    pub earlier: BTreeSet<Incarnation>,
    /// Seed of the engine's own choices (jitter).
    pub seed: u64,
    /// Absence after which a node loses its home places.
    pub gone_after: Duration,
    /// For how long another node must have been connected with this one, in all, before its word
    /// lets this one delete a copy.
    pub probation: Duration,
    /// The closed network that this is; none if it is open to all.
    pub closed: Option<Closed>,
    /// Whether any client may alter and delete topics, and not only the operator.
    pub open_admin: bool,
}

/// What a node of a closed network brings along.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The network's charter, or an older one.
    pub charter: Signed<Charter>,
    /// What admits this node: its pass, or the pass of an invitation and its claim.
    pub own: Vec<Statement>,
}

impl Config {
    /// The ordinary settings.
    pub fn new(key: NodeKey, realm: impl Into<Realm>, incarnation: Incarnation, seed: u64) -> Self {
        Self {
            key,
            realm: realm.into(),
            incarnation,
            earlier: BTreeSet::new(),
            seed,
            gone_after: limits::GONE_AFTER_DEFAULT,
            probation: limits::PROBATION_DEFAULT,
            closed: None,
            open_admin: false,
        }
    }
}

/// Why a request got no answer. Whether it was carried out is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The node could not be reached, or the connection broke.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// Its answer was not understood.
    Malformed,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The program that this node is part of.
    Program,
    /// A client that holds the key of this node's operator. No address makes a client that.
    Operator,
    /// Any other client, with its key; none where the key is no ed25519 key.
    Client(Option<NodeId>),
    /// Another node.
    Node(NodeId),
}

impl Asker {
    /// The node that asks, where it is one.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Program | Self::Operator | Self::Client(_) => None,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks this node: another node, a client, or the program that it is part of.
    Asked {
        /// Which question.
        question: QuestionId,
        /// Who asks.
        asker: Asker,
        /// What is asked.
        request: Request,
    },
    /// The asker is gone; the answer is no longer wanted.
    Abandoned(QuestionId),
    /// The outcome of an `Output::Ask`.
    Told {
        /// Which one.
        ask: AskId,
        /// The answer.
        result: Result<Response, Failure>,
    },
    /// A verified message came over gossip.
    Gossiped(Gossip),
    /// The first connection to a node of this network is up.
    Connected(Contact),
    /// A connected node tells new addresses.
    Moved(Contact),
    /// The last connection to a node is gone.
    Disconnected(NodeId),
    /// A node gave a sign of life, with a round-trip time where one was measured.
    Heard(NodeId, Option<Duration>),
    /// A node may exist at these addresses: from discovery or a bootstrap list.
    Discovered(Contact),
    /// Every write up to this one is flushed.
    Durable(WriteNumber),
    /// The outcome of an `Output::Read`; none when the store could not read.
    ReadDone(Ticket, Option<Page>),
    /// The outcome of an `Output::Check`; none when the store could not read.
    CheckDone(Ticket, Option<Checked>),
    /// The outcome of an `Output::Measure`; none when the store could not read.
    MeasureDone(Ticket, Option<Vec<Part>>),
    /// The outcome of an `Output::Sweep`; none when the store could not read.
    SweepDone(Ticket, Option<Swept>),
    /// A batch that was flushed can no longer be read: a read or the scrub has found that.
    Damaged(Damage),
    /// Statements of a closed network that came with a new connection, each verified.
    Admitted(Vec<Statement>),
    /// Whether the disk has room for more records. Without any they are refused; the few bytes
    /// of all else still fit.
    Room(bool),
    /// The outcome of an `Output::Locate`: the nodes that say they hold the topic.
    Located(TopicId, Vec<NodeId>),
    /// This node is about to stop. `Output::Ask` with
    /// [`NodeRequest::Stopping`](crate::wire::NodeRequest::Stopping) follows for each node that
    /// must be told; a moment to send them is enough.
    Stopping,
    /// The addresses at which this node can be reached have changed.
    Listening(Vec<Address>),
    /// The time of [`Engine::next_timeout`](super::Engine::next_timeout) has come. At another
    /// time it does nothing.
    Timeout,
}
