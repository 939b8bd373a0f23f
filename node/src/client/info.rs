//! What there is to know of topics and nodes.

use std::time::Duration;

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire,
};

use super::Retention;

/// A topic in brief.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSummary {
    /// Its name.
    pub name: TopicName,
    /// Replicas wanted.
    pub replicas: u16,
    /// Copies below which nothing is acknowledged, now.
    pub min_copies: u16,
    /// Whether `min_copies` follows the number of nodes.
    pub min_copies_follow: bool,
    /// How long records are kept.
    pub retention: Retention,
    /// The nodes that hold the topic now, its owner first.
    pub holders: Vec<NodeId>,
    /// Records, as far as the asked nodes know.
    pub records: u64,
    /// How many nodes of the network are alive.
    pub nodes_alive: u32,
}

/// A topic: its terms, how far it goes, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// The topic in brief.
    pub summary: TopicSummary,
    /// Where the oldest record is that is still held.
    pub start: Cursor,
    /// The place after the newest record.
    pub end: Cursor,
    /// The replicas, the owner first.
    pub replicas: Vec<Replica>,
    /// Whether enough replicas answered to know of every acknowledged record.
    pub is_complete: bool,
}

/// One replica of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// Whether it is a stand-in: in place of a home replica that is away.
    pub is_stand_in: bool,
    /// How the node is.
    pub state: NodeState,
    /// Where the node was last known, as multiaddresses without its peer id.
    pub addresses: Vec<String>,
    /// Records that it holds; none when it did not answer.
    pub records: Option<u64>,
    /// Whether it holds all that any replica knows of.
    pub is_complete: bool,
}

/// A node of the network, as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node.
    pub id: NodeId,
    /// How it is.
    pub state: NodeState,
    /// Round-trip time, where it was measured.
    pub round_trip: Option<Duration>,
    /// Its addresses, as multiaddresses without its peer id.
    pub addresses: Vec<String>,
}

/// How a node is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NodeState {
    /// It was heard of lately.
    Alive,
    /// It has been silent for a moment.
    Suspect,
    /// It has stopped cleanly, and may be back.
    Stopped,
    /// It is away; a stand-in takes its place.
    Dead,
    /// It has been away for so long that its topics are copied to new homes.
    Gone,
}

impl NodeState {
    fn new(state: wire::MemberState, stopped: bool) -> Self {
        match state {
            wire::MemberState::Alive => Self::Alive,
            wire::MemberState::Suspect => Self::Suspect,
            _ if stopped => Self::Stopped,
            wire::MemberState::Dead => Self::Dead,
            wire::MemberState::Gone => Self::Gone,
        }
    }
}

impl From<wire::TopicSummary> for TopicSummary {
    fn from(summary: wire::TopicSummary) -> Self {
        Self {
            name: summary.name,
            replicas: summary.replicas,
            min_copies: summary.min_copies,
            min_copies_follow: summary.floor_follows,
            retention: summary.retention.into(),
            holders: summary.owners,
            records: summary.records,
            nodes_alive: summary.nodes_alive,
        }
    }
}

impl From<wire::Surveyed> for TopicInfo {
    fn from(surveyed: wire::Surveyed) -> Self {
        Self {
            summary: surveyed.summary.into(),
            start: surveyed.low,
            end: surveyed.end,
            replicas: surveyed.replicas.into_iter().map(Replica::from).collect(),
            is_complete: surveyed.complete,
        }
    }
}

impl From<wire::ReplicaState> for Replica {
    fn from(replica: wire::ReplicaState) -> Self {
        Self {
            node: replica.node,
            is_stand_in: replica.role == wire::Role::StandIn,
            state: NodeState::new(replica.state, replica.stopped),
            addresses: replica.addresses,
            records: replica.records,
            is_complete: replica.complete,
        }
    }
}

impl From<wire::Peer> for NodeInfo {
    fn from(peer: wire::Peer) -> Self {
        Self {
            id: peer.node,
            state: NodeState::new(peer.state, peer.stopped),
            round_trip: peer.round_trip_us.map(Duration::from_micros),
            addresses: peer.addresses,
        }
    }
}
