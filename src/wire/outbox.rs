//! Messages about pending records.

use minicbor::{Decode, Encode};

use super::{Acks, LogRange};
use crate::model::{Header, NodeId, TopicName, WallClock};

impl LogRange {
    /// The range of a batch in its log.
    pub fn of(header: &Header) -> Self {
        Self { log: header.log(), from: header.first, to: header.next() }
    }
}

/// Pending records that a client waits for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Await {
    /// The topic.
    #[n(0)]
    pub topic: TopicName,
    /// Where the records are, as [`Published::place`](super::Published::place) says.
    #[n(1)]
    pub place: LogRange,
    /// How many copies to wait for.
    #[n(2)]
    pub acks: Acks,
    /// How many milliseconds to wait while there are fewer (long poll).
    #[n(3)]
    pub wait_ms: u32,
}

/// The pending records of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PendingTopic {
    /// The topic's name.
    #[n(0)]
    pub topic: TopicName,
    /// How many records are pending.
    #[n(1)]
    pub records: u64,
    /// When the node wrote the oldest of them, by its wall clock.
    #[n(2)]
    pub since: WallClock,
    /// Copies that each of them has at least, as far as the node knows.
    #[n(3)]
    pub copies: u16,
    /// How many copies each of them needs to be acknowledged.
    #[n(4)]
    pub wanted: u16,
    /// The home replicas that the node does not reach.
    #[cbor(n(5), decode_with = "super::bounded::replicas")]
    pub away: Vec<NodeId>,
}

/// A page of what is pending at a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OutboxPage {
    /// Whose outbox it is: a client may have moved to another node.
    #[n(0)]
    pub node: NodeId,
    /// What is pending, in the order of the topics' names.
    #[cbor(n(1), decode_with = "super::bounded::pending_topics")]
    pub topics: Vec<PendingTopic>,
    /// Whether more follow.
    #[n(2)]
    pub more: bool,
}
