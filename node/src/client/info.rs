//! What there is to know of topics and nodes.

use std::time::Duration;

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire,
};

use super::Retention;

/// A topic in brief: [`Client::topics`](super::Client::topics) lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSummary {
    /// Its name.
    pub name: TopicName,
    /// How many replicas the topic wants. A smaller network has fewer.
    pub replicas: u16,
    /// The smallest number of flushed copies with which a record is acknowledged at present.
    pub min_copies: u16,
    /// Whether `min_copies` follows the number of nodes; see
    /// [`TopicOptions::min_copies`](field@super::TopicOptions::min_copies).
    pub min_copies_follow: bool,
    /// How long records are kept.
    pub retention: Retention,
    /// The nodes that hold the topic now. The first one is its owner: the replica that is nearest
    /// to it. The owner has no special rights.
    pub holders: Vec<NodeId>,
    /// How many records are stored, as far as the asked nodes know. Records that were stored twice
    /// count twice, and compacted ones still count.
    pub records: u64,
    /// How many nodes of the network are alive.
    pub nodes_alive: u32,
}

/// A topic: its terms, where it starts and ends, and which nodes hold it. [`Topic::info`] asks for
/// it.
///
/// [`Topic::info`]: super::Topic::info
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// The topic in brief.
    pub summary: TopicSummary,
    /// The place of the oldest record that is still held.
    pub start: Cursor,
    /// The place after the newest record. A reader that starts here gets new records only.
    pub end: Cursor,
    /// The replicas, the owner first.
    pub replicas: Vec<Replica>,
    /// Whether enough replicas answered. If not, `end` may lie before records that are
    /// acknowledged.
    pub is_complete: bool,
}

/// One replica of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// Whether the node is a stand-in: it holds records for a home replica that is away. Home
    /// replicas are the nodes that should hold the topic.
    pub is_stand_in: bool,
    /// Whether the node is there.
    pub state: NodeState,
    /// Where the node was last known, as multiaddresses without its peer id.
    pub addresses: Vec<String>,
    /// How many records the node holds. None if it did not answer.
    pub records: Option<u64>,
    /// Whether the node holds all records that any replica reported.
    pub is_complete: bool,
}

/// A node of the network, as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node.
    pub id: NodeId,
    /// Whether the node is there.
    pub state: NodeState,
    /// Round-trip time from the client's node to this one, if it was measured.
    pub round_trip: Option<Duration>,
    /// Its addresses, as multiaddresses without its peer id.
    pub addresses: Vec<String>,
    /// The version of its program, if it is known.
    pub version: Option<String>,
}

/// Whether a node is there, as another one knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NodeState {
    /// The node answers.
    Alive,
    /// The node has been silent for 2.5 seconds, or its connection broke.
    Suspect,
    /// The node has stopped cleanly, and may be back. For its topics this counts as away.
    Stopped,
    /// The node has been silent for 5 seconds, or unconnected for one. A stand-in takes its place.
    Dead,
    /// The node has been away for ten minutes. Its topics are copied to other nodes.
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
            version: peer.program,
        }
    }
}
