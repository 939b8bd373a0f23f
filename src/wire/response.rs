//! What is answered.

use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    Address, Away, DescriptorBytes, LogRange, OutboxPage, Page, Peer, Proofs, Taken, TopicPage,
    Whereabouts,
};
use crate::model::{
    Blob, Compacted, Cursor, Frontier, Hash, Incarnation, NodeId, Retention, SubscriberName,
    Subscription, TopicId, TopicName, WallClock,
};

/// The answer to a [`Request`](super::Request).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Response {
    /// The request was understood and not carried out; nothing changed.
    #[n(0)]
    Refused(#[n(0)] Refusal),
    /// The topic is there. The flag says whether it was there before.
    #[n(1)]
    Created(#[n(0)] TopicSummary, #[n(1)] bool),
    /// The records are in the log.
    #[n(2)]
    Published(#[n(0)] Published),
    /// The state of a topic.
    #[n(3)]
    Surveyed(#[n(0)] Surveyed),
    /// Batches.
    #[n(4)]
    Page(#[n(0)] Page),
    /// Where a subscription stands; none when the name is new.
    #[n(5)]
    Position(#[n(0)] Option<Subscription>),
    /// On how many replicas a subscription's position is kept, and whether another subscriber reads
    /// under the name, where that is known.
    #[n(6)]
    Committed(#[n(0)] u16, #[n(1)] Option<bool>),
    /// Topics in order of their names; whether more follow.
    #[n(7)]
    Topics(#[n(0)] Vec<TopicSummary>, #[n(1)] bool),
    /// The nodes that the asked node knows, itself first.
    #[n(8)]
    Peers(#[n(0)] Vec<Peer>),
    /// Whether the node was known, and is forgotten. One that is connected never is.
    #[n(9)]
    Forgotten(#[n(0)] bool),
    /// What a node that is leaving has still to hand over; nothing once it goes.
    #[n(10)]
    Leaving(#[n(0)] Remaining),
    /// What the disks of the replicas hold of a part of a topic.
    #[n(11)]
    Verified(#[n(0)] Verified),
    /// Subscriptions and where they stand, in order of their names; whether more follow.
    #[n(12)]
    Subscriptions(#[n(0)] Vec<(SubscriberName, Subscription)>, #[n(1)] bool),
    /// Batches of several topics, of those that have any; nothing when none has.
    #[n(13)]
    Pages(#[cbor(n(0), decode_with = "super::bounded::topic_pages")] Vec<TopicPage>),
    /// The topic has these terms now.
    #[n(14)]
    Altered(#[n(0)] TopicSummary),
    /// The topic is deleted.
    #[n(15)]
    Deleted,
    /// Names of topics.
    #[n(32)]
    Names(#[n(0)] Names),
    /// Records for a member of a group.
    #[n(33)]
    Taken(#[n(0)] Taken),
    /// What a member has done is kept, on so many replicas.
    #[n(34)]
    Settled(#[n(0)] u16),
    /// What is pending at the asked node.
    #[n(35)]
    Outbox(#[n(0)] OutboxPage),
    /// How many copies there are.
    #[n(36)]
    Awaited(#[n(0)] Published),

    /// A topic's descriptor, where it is known.
    #[n(16)]
    Described(#[n(0)] Option<DescriptorBytes>),
    /// What became of each batch, in the order of the request.
    #[n(17)]
    Replicated(#[cbor(n(0), decode_with = "super::bounded::outcomes")] Vec<Outcome>),
    /// How the asked node's holdings compare, and what its clock reads.
    #[n(18)]
    Compared(#[n(0)] Compared, #[n(1)] Option<WallClock>),
    /// What the asked node holds of a topic, flushed.
    #[n(19)]
    Held(#[n(0)] Held),
    /// The position is kept, flushed; whether another subscriber reads under the name, where that
    /// is known.
    #[n(20)]
    Kept(#[n(0)] Option<bool>),
    /// Records held per topic.
    #[n(21)]
    Counts(#[n(0)] Vec<TopicCount>),
    /// Subscriptions and where they stand, in order of their names; whether more follow.
    #[n(22)]
    Positions(#[n(0)] Vec<(SubscriberName, Subscription)>, #[n(1)] bool),
    /// It is taken note of.
    #[n(23)]
    Noted,
    /// What the asked node's disk holds of a range.
    #[n(24)]
    Checked(#[n(0)] Checked),
    /// Where each run of records is held that was asked for, flushed; nothing of what is not held,
    /// or was published too long ago.
    #[n(25)]
    Whereabouts(
        #[cbor(n(0), decode_with = "super::bounded::whereabouts")] Vec<Option<Whereabouts>>,
    ),
}

impl Response {
    /// What the clock of the node read that answers, if it says so.
    pub fn wall_of(&self, node: &NodeId) -> Option<WallClock> {
        match self {
            Self::Peers(peers) => peers.iter().find(|peer| peer.node == *node)?.wall,
            Self::Compared(_, wall) => *wall,
            _ => None,
        }
    }
}

/// Why a request was not carried out. Nothing has changed.
#[derive(Debug, Error, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Refusal {
    /// No node that was reached knows the topic. The asker's mistake, most often.
    #[n(0)]
    #[error("topic `{name}` does not exist")]
    UnknownTopic {
        /// The name that was asked for.
        #[n(0)]
        name: String,
        /// The existing name that is most like it.
        #[n(1)]
        nearest: Option<String>,
    },
    /// The topic is there already.
    #[n(1)]
    #[error("topic `{0}` exists already")]
    TopicExists(#[n(0)] String),
    /// A field of the request is out of bounds. The asker's mistake.
    #[n(2)]
    #[error("{0}")]
    Invalid(#[n(0)] String),
    /// The topic's descriptor does not let this node write.
    #[n(3)]
    #[error("this node may not write to topic `{0}`")]
    NotAWriter(#[n(0)] String),
    /// The node has as much under way as it can hold. Try again.
    #[n(4)]
    #[error("the node has too much under way; try again")]
    Busy,
    /// The node is stopping, or its disk has failed. Ask another one.
    #[n(5)]
    #[error("the node is stopping: {0}")]
    Stopping(#[n(0)] String),
    /// No node that holds the records could be reached. Try again when nodes are back.
    #[n(6)]
    #[error("no node that holds the records answers")]
    Unreachable,
    /// The asked node does not know this kind of request.
    #[n(7)]
    #[error("the node does not know this request")]
    Unsupported,
    /// The disk of the node, or its quota, has no room for more records. Others may have.
    #[n(8)]
    #[error("{}", .0.as_deref().unwrap_or("the disk of the node is full, or its quota is used up"))]
    Full(
        /// Which of them, and how much is free and needed.
        #[n(0)]
        Option<String>,
    ),
    /// The log has forked, and takes nothing more. With the proof, but for repeated refusals.
    #[n(9)]
    #[error("the writer's log has forked")]
    Forked(#[n(0)] Option<Blob>),
    /// The node is to leave, and knows of no other one that runs.
    #[n(10)]
    #[error("there is no other node to hand anything over to")]
    Alone,
    /// The subscription was reset or deleted since the asker was told its position.
    #[n(11)]
    #[error("the subscription was reset or deleted meanwhile")]
    Superseded,
    /// The topic's descriptor does not let this node change it.
    #[n(12)]
    #[error("this node may not change topic `{0}`")]
    MayNotAlter(#[n(0)] String),
    /// The cursor is one of another topic. The asker's mistake.
    #[n(13)]
    #[error("the cursor is one of another topic")]
    ForeignCursor,
    /// The topic was deleted. With the descriptor that says so.
    #[n(14)]
    #[error("the topic was deleted")]
    Deleted(#[n(0)] DescriptorBytes),
    /// The node has reached none of the nodes that it is to join through, at these addresses: a
    /// topic of the name may be there already.
    #[n(18)]
    #[error("the node has not joined its network yet: nothing was reached at {0}")]
    NotJoined(#[n(0)] String),
    /// A member's group is a subscription that is there already and is not shared. The asker's
    /// mistake.
    #[n(15)]
    #[error("subscription `{0}` is there already, and no group's")]
    NotAGroup(#[n(0)] String),
    /// The subscription is a group's, and has no position that one reader may move. The asker's
    /// mistake.
    #[n(17)]
    #[error("subscription `{0}` is a group's")]
    Group(#[n(0)] String),
    /// Too few home replicas of the topic answer to be sure. Try again when they are back, or when
    /// their operator has said that they will not come back.
    #[n(19)]
    #[error("{0}")]
    Away(#[n(0)] Away),
}

/// A topic in brief.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TopicSummary {
    /// Its name.
    #[n(0)]
    pub name: TopicName,
    /// Replicas wanted.
    #[n(1)]
    pub replicas: u16,
    /// Floor of copies, as the asked node sees it.
    #[n(2)]
    pub min_copies: u16,
    /// The nodes that hold it now, the owner first.
    #[n(3)]
    pub owners: Vec<NodeId>,
    /// Records, as far as the asked nodes know.
    #[n(4)]
    pub records: u64,
    /// How many nodes of the network are alive.
    #[n(5)]
    pub nodes_alive: u32,
    /// How long records are kept.
    #[cbor(n(6), skip_if = "Retention::is_unlimited")]
    pub retention: Retention,
    /// Whether the floor follows the number of nodes; `min_copies` is what it is now.
    #[cbor(n(7), skip_if = "std::ops::Not::not", default)]
    pub floor_follows: bool,
}

/// Where published records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Published {
    /// Whether the copies that were waited for were reached. If not, the answer is `pending`:
    /// the records are in the node's outbox and will be delivered.
    #[n(0)]
    pub acknowledged: bool,
    /// Flushed copies.
    #[n(1)]
    pub copies: u16,
    /// How many of them are at stand-ins.
    #[n(2)]
    pub stand_ins: u16,
    /// Replicas wanted.
    #[n(3)]
    pub replicas: u16,
    /// Copies that were waited for.
    #[n(4)]
    pub wanted: u16,
    /// Whether the records were there already, or on their way: nothing was stored for this
    /// request.
    #[cbor(n(5), skip_if = "std::ops::Not::not", default)]
    pub duplicate: bool,
    /// Where the records are, if they are pending: part of a log of the node that took them. With
    /// it any node can be asked what becomes of them. None where they wait to be written anew,
    /// after a fork of the log.
    #[n(6)]
    pub place: Option<LogRange>,
    /// Whether there are fewer nodes than copies are wanted, if the records are pending: they stay
    /// so until nodes are back, or are forgotten, or the topic's floor is lower.
    #[cbor(n(7), skip_if = "std::ops::Not::not", default)]
    pub too_few_nodes: bool,
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Surveyed {
    /// The topic in brief.
    #[n(0)]
    pub summary: TopicSummary,
    /// The end of all that the replicas told of.
    #[n(1)]
    pub end: Cursor,
    /// The start of what they still hold.
    #[n(2)]
    pub low: Cursor,
    /// The replicas, the owner first.
    #[n(3)]
    pub replicas: Vec<ReplicaState>,
    /// Whether enough of them answered to know of every acknowledged record.
    #[n(4)]
    pub complete: bool,
    /// The forks that the asked node knows of.
    #[cbor(n(5), decode_with = "super::bounded::forks", default)]
    pub forks: Vec<Forked>,
}

/// A fork: a writer, or whoever has its key, signed two batches for one position. The log keeps
/// what came before, and takes nothing more; both branches are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Forked {
    /// Whose log has forked.
    #[n(0)]
    pub writer: NodeId,
    /// Which of its logs.
    #[n(1)]
    pub incarnation: Incarnation,
    /// The sequence number from which on there are branches.
    #[n(2)]
    pub at: u64,
}

/// What part a replica plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// One of the nearest nodes.
    #[n(0)]
    Home,
    /// In place of a home replica that is away.
    #[n(1)]
    StandIn,
}

/// How a node is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum MemberState {
    /// It was heard of lately.
    #[n(0)]
    Alive,
    /// It has been silent for a moment.
    #[n(1)]
    Suspect,
    /// It is away; a stand-in takes its place.
    #[n(2)]
    Dead,
    /// It has been away for so long that its topics are copied to new homes.
    #[n(3)]
    Gone,
}

impl MemberState {
    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }
}

/// The state of one replica of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReplicaState {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its part.
    #[n(1)]
    pub role: Role,
    /// How it is.
    #[n(2)]
    pub state: MemberState,
    /// Where it was last known.
    #[cbor(n(3), decode_with = "super::bounded::addresses")]
    pub addresses: Vec<Address>,
    /// Records that it holds; none when it did not answer.
    #[n(4)]
    pub records: Option<u64>,
    /// Whether it holds all that any replica told of.
    #[n(5)]
    pub complete: bool,
    /// Whether it said that it was stopping when it was there last.
    #[cbor(n(6), skip_if = "std::ops::Not::not", default)]
    pub stopped: bool,
}

/// Names of topics that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Names {
    /// A digest of all that match, those that are not in this answer included.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The names, in order; none where the digest is the known one.
    #[cbor(n(1), decode_with = "super::bounded::names")]
    pub page: Vec<TopicName>,
    /// Whether more follow.
    #[n(2)]
    pub more: bool,
}

/// What became of a batch that was to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Outcome {
    /// A receipt: it is written and flushed.
    #[n(0)]
    Stored,
    /// It was refused.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// It was there before, flushed. Said of imports only.
    #[n(2)]
    Present,
    /// The topic's retention let it go, so it is not taken in again. Said of imports only.
    #[n(3)]
    Trimmed,
}

/// The digest of what a node holds of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct TopicDigest {
    /// The topic.
    #[n(0)]
    pub topic: TopicId,
    /// The digest of its frontier and its subscriptions.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

/// How holdings compare.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Compared {
    /// Both hold the same of all that both should hold.
    #[n(0)]
    InStep,
    /// They differ; the asked node's digests, topic by topic, in order.
    #[n(1)]
    Differs(#[n(0)] Vec<TopicDigest>),
}

/// What a node holds of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Held {
    /// The batches.
    #[n(0)]
    pub frontier: Frontier,
    /// Where the subscription stands that was asked for, if it is kept here.
    #[n(1)]
    pub position: Option<Subscription>,
    /// A digest of the nodes that the asked node knows, itself included, whether they are there or
    /// away. Where all agree on it and all have answered, nobody else can hold anything.
    #[n(2)]
    pub members: u64,
    /// Proofs of the forks that the asked node knows of, by which its batches are filed.
    #[n(3)]
    pub forks: Option<Proofs>,
    /// Whether the asked node is to keep all of it: it takes itself for one of the topic's homes.
    #[cbor(n(4), skip_if = "std::ops::Not::not")]
    pub keeps: bool,
    /// Parts that the asked node has seen to be stamped in the future.
    #[cbor(n(5), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub early: Vec<LogRange>,
}

/// Number of records of a topic at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TopicCount {
    /// The topic.
    #[n(0)]
    pub topic: TopicId,
    /// Records.
    #[n(1)]
    pub records: u64,
}

/// What a node that is leaving has still to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Remaining {
    /// Topics of which it holds records or positions, or that it writes to.
    #[n(0)]
    pub topics: u64,
    /// Records that it holds.
    #[n(1)]
    pub records: u64,
}

/// A batch that was read from a disk and found to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct CheckedBatch {
    /// Sequence number of its first record.
    #[n(0)]
    pub first: u64,
    /// Sequence number after its last record.
    #[n(1)]
    pub next: u64,
    /// Its hash.
    #[n(2)]
    pub hash: Hash,
}

/// What a disk holds of a range of one log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Checked {
    /// The batches that are whole, in order.
    #[cbor(n(0), decode_with = "super::bounded::checked")]
    pub batches: Vec<CheckedBatch>,
    /// Batches that are damaged, as ranges.
    #[cbor(n(1), decode_with = "super::bounded::ranges")]
    pub damaged: Vec<LogRange>,
    /// Up to where the range was looked at: its end, or where the bytes were enough.
    #[n(2)]
    pub to: u64,
    /// What compaction took away, in order.
    #[cbor(n(3), decode_with = "super::bounded::compacted", skip_if = "Vec::is_empty", default)]
    pub compacted: Vec<Compacted>,
}

/// What the disks of the replicas hold of a part of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verified {
    /// Up to where it was compared.
    #[n(0)]
    pub next: Cursor,
    /// Whether that is all.
    #[n(1)]
    pub finished: bool,
    /// Records of this part, by the union of what the replicas hold.
    #[n(2)]
    pub records: u64,
    /// Records of this part that no replica holds.
    #[n(3)]
    pub lost: u64,
    /// What each of them holds.
    #[n(4)]
    pub replicas: Vec<VerifiedReplica>,
}

/// What one replica's disk holds of a part of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VerifiedReplica {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its part.
    #[n(1)]
    pub role: Role,
    /// Whether it answered.
    #[n(2)]
    pub answered: bool,
    /// Records that it holds, read and checked.
    #[n(3)]
    pub records: u64,
    /// Records that others hold and it does not, the damaged ones not counted.
    #[n(4)]
    pub lacking: u64,
    /// Records that are damaged on its disk.
    #[n(5)]
    pub damaged: u64,
    /// Records of which it holds another content than another replica.
    #[n(6)]
    pub differing: u64,
}
