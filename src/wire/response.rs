//! What is answered.

use minicbor::{Decode, Encode};

use super::{
    Address, DescriptorBytes, LogRange, OutboxPage, Page, Peer, Proofs, Refusal, RosterTold,
    StatementsTold, Taken, TopicPage, Whereabouts,
};
use crate::model::{
    Compacted, Cursor, Frontier, Hash, Incarnation, NodeId, Retention, SignedHeader,
    SubscriberName, Subscription, TopicId, TopicName, WallClock,
};

/// The answer to a [`Request`](super::Request).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Response {
    /// The request was understood and not carried out; nothing changed.
    #[n(0)]
    Refused(#[cbor(n(0), with = "super::refusal")] Refusal),
    /// The topic exists. The flag says whether it existed before.
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
    /// On how many replicas a subscription's position is stored, and whether another subscriber
    /// reads under the name, if that is known.
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
    /// What a leaving node still has to hand over; nothing once it goes.
    #[n(10)]
    Leaving(#[n(0)] Remaining),
    /// What the disks of the replicas hold of a part of a topic.
    #[n(11)]
    Verified(#[n(0)] Verified),
    /// Subscriptions and where they stand, in order of their names; whether more follow.
    #[n(12)]
    Subscriptions(#[n(0)] Vec<(SubscriberName, Subscription)>, #[n(1)] bool),
    /// Batches of those topics that have any; nothing if none has.
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
    /// On how many replicas the work of a member is stored.
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
    /// The position is stored and flushed; whether another subscriber reads under the name, if that
    /// is known.
    #[n(20)]
    Kept(#[n(0)] Option<bool>),
    /// Records held per topic.
    #[n(21)]
    Counts(#[n(0)] Vec<TopicCount>),
    /// Subscriptions and where they stand, in order of their names; whether more follow.
    #[n(22)]
    Positions(#[n(0)] Vec<(SubscriberName, Subscription)>, #[n(1)] bool),
    /// The notice was received.
    #[n(23)]
    Noted,
    /// What the asked node's disk holds of a range.
    #[n(24)]
    Checked(#[n(0)] Checked),
    /// Where each requested run of records is held, flushed. None for a run that is not held, or
    /// was published too long ago.
    #[n(25)]
    Whereabouts(
        #[cbor(n(0), decode_with = "super::bounded::whereabouts")] Vec<Option<Whereabouts>>,
    ),
    /// Statements that the asked node knows.
    #[n(37)]
    Statements(#[n(0)] StatementsTold),
    /// What the asked node's roster has.
    #[n(48)]
    Roster(#[n(0)] RosterTold),
    /// A proof of possession for each batch in the order of the request
    /// ([`possession`](super::possession())); none for one that the asked node does not hold. Then
    /// those of them that compaction took away there.
    #[n(38)]
    Proven(
        #[cbor(n(0), decode_with = "super::bounded::proofs_of_possession")] Vec<Option<Hash>>,
        #[cbor(n(1), decode_with = "super::bounded::proved_ranges")] Vec<LogRange>,
    ),
}

impl Response {
    /// What the clock of the answering node read, if the answer says so.
    pub fn wall_of(&self, node: &NodeId) -> Option<WallClock> {
        match self {
            Self::Peers(peers) => peers.iter().find(|peer| peer.node == *node)?.wall,
            Self::Compared(_, wall) => *wall,
            _ => None,
        }
    }
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
    /// `min_copies`, as the asked node sees it.
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
    /// Whether `min_copies` follows the number of nodes; the field has its present value.
    #[cbor(n(7), skip_if = "std::ops::Not::not", default)]
    pub floor_follows: bool,
}

/// Where published records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Published {
    /// Whether enough copies were reached. If not, the answer is `pending`: the records are in the
    /// node's outbox and will be delivered.
    #[n(0)]
    pub acknowledged: bool,
    /// Flushed copies.
    #[n(1)]
    pub copies: u16,
    /// How many of them are on stand-ins.
    #[n(2)]
    pub stand_ins: u16,
    /// Replicas wanted.
    #[n(3)]
    pub replicas: u16,
    /// Copies that were waited for.
    #[n(4)]
    pub wanted: u16,
    /// Whether the records were stored or under way already. Nothing was stored for this request.
    #[cbor(n(5), skip_if = "std::ops::Not::not", default)]
    pub duplicate: bool,
    /// Where pending records are: a range in a log of the node that accepted them. With it, any
    /// node can follow them. None if they wait to be sealed again after a fork.
    #[n(6)]
    pub place: Option<LogRange>,
    /// Whether pending records need more nodes than there are. They stay pending until nodes return
    /// or are forgotten, or until `min_copies` is lowered.
    #[cbor(n(10), skip_if = "std::ops::Not::not", default)]
    pub too_few_nodes: bool,
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Surveyed {
    /// The topic in brief.
    #[n(0)]
    pub summary: TopicSummary,
    /// The end of everything that the replicas reported.
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

/// A fork: the writer, or somebody with its key, signed two batches for one position. The log keeps
/// what came before, and is sealed. Both branches are kept.
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

/// The role of a replica.
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

/// The state of a node.
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
    /// Whether it holds everything that any replica reported.
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
    /// A digest of all names that match, also of those that are not in this answer.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The names, in order; none if the digest is the known one.
    #[cbor(n(1), decode_with = "super::bounded::names")]
    pub page: Vec<TopicName>,
    /// Whether more follow.
    #[n(2)]
    pub more: bool,
}

/// The outcome for one batch of a request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Outcome {
    /// A receipt: it is written and flushed.
    #[n(0)]
    Stored,
    /// It was refused.
    #[n(1)]
    Refused(#[cbor(n(0), with = "super::refusal")] Refusal),
    /// It was stored before, and is flushed. For imports only.
    #[n(2)]
    Present,
    /// It was trimmed, so it is not stored again. For imports only.
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
    /// Both hold the same of everything that both should hold.
    #[n(0)]
    InStep,
    /// They differ; the asked node's digests, topic by topic, in order, and that of all statements
    /// that it knows.
    #[n(1)]
    Differs(#[n(0)] Vec<TopicDigest>, #[n(1)] Hash),
}

/// What a node holds of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Held {
    /// The batches.
    #[n(0)]
    pub frontier: Frontier,
    /// Where the requested subscription stands, if its position is stored here.
    #[n(1)]
    pub position: Option<Subscription>,
    /// A digest of the nodes that the asked node knows, itself and absent ones included. If all
    /// nodes agree on it and all have answered, nobody else can hold anything.
    #[n(2)]
    pub members: u64,
    /// Proofs of the forks by which the asked node files its batches.
    #[n(3)]
    pub forks: Option<Proofs>,
    /// Whether the asked node keeps all of it, because it takes itself for a home replica.
    #[cbor(n(4), skip_if = "std::ops::Not::not")]
    pub keeps: bool,
    /// Headers of the batches in which logs end, if they were asked for: each proves that a log is
    /// as long.
    #[cbor(n(5), decode_with = "super::bounded::heads", skip_if = "Vec::is_empty", default)]
    pub heads: Vec<SignedHeader>,
    /// Ranges that the asked node has seen stamped in the future.
    #[cbor(n(7), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
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

/// What a leaving node still has to hand over.
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

/// A batch that was read from a disk and is whole.
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
    /// Up to where the range was read: its end, or where the limit of bytes was reached.
    #[n(2)]
    pub to: u64,
    /// Compacted ranges, in order.
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
    /// Records of this part that any replica holds.
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
    /// Records that others hold and it does not, without the damaged ones.
    #[n(4)]
    pub lacking: u64,
    /// Records that are damaged on its disk.
    #[n(5)]
    pub damaged: u64,
    /// Records whose content differs from that at another replica.
    #[n(6)]
    pub differing: u64,
}
