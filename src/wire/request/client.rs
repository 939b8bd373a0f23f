//! What clients ask. Any node answers for the whole network.

use minicbor::{Decode, Decoder, Encode, data::Type};

use super::{LogRange, Replicate};
use crate::{
    model::{
        Blob, Cursor, NodeId, ProducerId, Retention, RetentionChange, SessionId, SubscriberName,
        Subscription, TopicId, TopicName, TopicPattern,
    },
    wire::{Await, Settle, Take},
};

/// A request of a client. Nodes pass some of them on to each other.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum ClientRequest {
    /// Create a topic. Answer: `Created`.
    #[n(0)]
    Create(#[n(0)] Create),
    /// Publish records. Answer: `Published`.
    #[n(1)]
    Publish(#[n(0)] Publish),
    /// How far a topic goes and who holds it. Answer: `Surveyed`.
    #[n(2)]
    Survey(#[n(0)] TopicName),
    /// Records after a cursor. Answer: `Page`.
    #[n(3)]
    Read(#[n(0)] Read),
    /// Where a named subscription stands. Answer: `Position`.
    #[n(4)]
    Position(#[n(0)] TopicName, #[n(1)] SubscriberName),
    /// Move a named subscription, for a session of its subscriber if one is named. Answer:
    /// `Committed`.
    #[n(5)]
    Commit(
        #[n(0)] TopicName,
        #[n(1)] SubscriberName,
        #[n(2)] Subscription,
        #[n(3)] Option<SessionId>,
    ),
    /// The topics of the network after a name, in order. Answer: `Topics`.
    #[n(6)]
    Topics(#[n(0)] Option<TopicName>),
    /// The nodes that the asked node knows. Answer: `Peers`.
    #[n(7)]
    Peers,
    /// An operator says that a node will not come back. Its places go to others at once, and nobody
    /// waits for what it may hold. The asked node passes it on to all others. Answer: `Forgotten`.
    #[n(8)]
    Forget(#[n(0)] NodeId),
    /// The named node, which must be the asked one, hands over everything that it holds, and leaves
    /// the network. The request is repeated: the answer is `Leaving`, with what is left to do.
    #[n(9)]
    Leave(#[n(0)] NodeId),
    /// Compare what the replicas of a topic have on their disks, after a cursor and as far as one
    /// request goes. Every byte is read and checked. If an operator says so, the asked node repairs
    /// its copies at once. Answer: `Verified`.
    #[n(10)]
    Verify(
        #[n(0)] TopicName,
        #[n(1)] Cursor,
        #[cbor(n(2), skip_if = "is_unset", decode_with = "flag", default)] bool,
    ),
    /// The named subscriptions of a topic after a name, in order, those that were deleted too.
    /// Answer: `Subscriptions`.
    #[n(11)]
    Subscriptions(#[n(0)] TopicName, #[n(1)] Option<SubscriberName>),
    /// Records of several topics, each after a cursor, as soon as there are any. Answer: `Pages`.
    #[n(12)]
    ReadMany(#[n(0)] ReadMany),
    /// Change the terms of a topic. Answer: `Altered`.
    #[n(13)]
    Alter(#[n(0)] Alter),
    /// Delete a topic. Answer: `Deleted`.
    #[n(14)]
    Delete(#[n(0)] TopicName),
    /// Store exported batches on the topic's replicas; from a node: on the asked one. Answer:
    /// `Replicated`, after the flush.
    #[n(15)]
    Import(#[n(0)] Import),
    /// The names of topics that match a pattern, as soon as they differ from those that the asker
    /// knows. Answer: `Names`.
    #[n(32)]
    Names(#[n(0)] NamesWanted),
    /// Records of a group for one of its members, as soon as there are any. Passed on to the
    /// coordinator. Answer: `Taken`.
    #[n(33)]
    Take(#[n(0)] Box<Take>),
    /// What a member of a group has done. Passed on in the same way. Answer: `Settled`.
    #[n(34)]
    Settle(#[n(0)] Box<Settle>),
    /// What is pending at the asked node, of the topics after a name, in order. Answer: `Outbox`.
    #[n(35)]
    Outbox(#[n(0)] Option<TopicName>),
    /// Whether pending records have their copies, as soon as they do. Any node may be asked.
    /// Answer: `Awaited`, after the flush of everything that it reports.
    #[n(36)]
    Await(#[n(0)] Await),
    /// The descriptor of a topic, if the asked node knows it. Answer: `Described`.
    #[n(16)]
    Describe(#[n(0)] TopicName),
}

/// Whether a flag need not be encoded. In an enum, the derived code passes it twice borrowed.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "derived code calls it")]
fn is_unset(flag: &&bool) -> bool {
    !**flag
}

/// A flag. A newer program writes null in its place, if other fields follow.
fn flag<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<bool, minicbor::decode::Error> {
    match decoder.datatype()? {
        Type::Null => decoder.null().map(|()| false),
        _ => decoder.bool(),
    }
}

impl ClientRequest {
    /// The topics that it is about.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        let (one, many): (Option<&TopicName>, &[TopicRead]) = match self {
            Self::Topics(_)
            | Self::Peers
            | Self::Forget(_)
            | Self::Leave(_)
            | Self::Names(_)
            | Self::Outbox(_)
            | Self::Describe(_) => (None, &[]),
            Self::Publish(publish) => (Some(&publish.topic), &[]),
            Self::Survey(name)
            | Self::Position(name, _)
            | Self::Commit(name, ..)
            | Self::Verify(name, ..)
            | Self::Subscriptions(name, _)
            | Self::Delete(name) => (Some(name), &[]),
            Self::Read(read) => (Some(&read.topic), &[]),
            Self::ReadMany(read) => (None, &read.topics),
            Self::Create(create) => (Some(&create.name), &[]),
            Self::Alter(alter) => (Some(&alter.name), &[]),
            Self::Import(import) => (Some(&import.topic), &[]),
            Self::Take(take) => (Some(&take.membership.topic), &[]),
            Self::Settle(settle) => (Some(&settle.membership.topic), &[]),
            Self::Await(wanted) => (Some(&wanted.topic), &[]),
        };
        one.into_iter().chain(many.iter().map(|read| &read.topic))
    }
}

/// The terms of a new topic; what is left out gets its default.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Create {
    /// The topic's name.
    #[n(0)]
    pub name: TopicName,
    /// Replicas wanted.
    #[n(1)]
    pub replicas: Option<u16>,
    /// `min_copies`; none if it follows the number of nodes.
    #[n(2)]
    pub min_copies: Option<u16>,
    /// Whether an existing topic is accepted.
    #[n(3)]
    pub if_not_exists: bool,
    /// How long records are kept.
    #[cbor(n(4), skip_if = "Retention::is_unlimited")]
    pub retention: Retention,
    /// The id for which the records of an import are signed: the topic gets this id.
    #[n(5)]
    pub origin: Option<TopicId>,
}

impl Create {
    /// A topic of this name with all defaults, that is not there yet.
    pub fn new(name: TopicName) -> Self {
        Self {
            name,
            replicas: None,
            min_copies: None,
            if_not_exists: false,
            retention: Retention::default(),
            origin: None,
        }
    }
}

/// Changes of a topic; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Alter {
    /// The topic's name.
    #[n(0)]
    pub name: TopicName,
    /// Replicas wanted.
    #[n(1)]
    pub replicas: Option<u16>,
    /// Floor of copies.
    #[n(2)]
    pub min_copies: Option<u16>,
    /// How long records are kept.
    #[n(3)]
    pub retention: RetentionChange,
    /// Whether `min_copies` follows the number of nodes; then no number is given.
    #[cbor(n(4), skip_if = "std::ops::Not::not", default)]
    pub floor_follows: bool,
}

/// How many flushed copies a publish waits for. These are never fewer than the topic's
/// `min_copies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Acks {
    /// One copy.
    #[n(0)]
    One,
    /// A majority of the replicas that are not dead (silent for five seconds).
    #[default]
    #[n(1)]
    Quorum,
    /// Every replica that is not dead.
    #[n(2)]
    All,
}

/// Records to publish.
///
/// Producer and number name each record for ever. So the request can be repeated, at this node or
/// another one, and no reader sees a second copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Publish {
    /// The topic.
    #[n(0)]
    pub topic: TopicName,
    /// Who publishes.
    #[n(1)]
    pub producer: ProducerId,
    /// The producer's number of the first record.
    #[n(2)]
    pub first: u64,
    /// The records: a CBOR sequence, as it will be stored.
    #[n(3)]
    pub records: Blob,
    /// How many copies to wait for.
    #[n(4)]
    pub acks: Acks,
    /// After how many milliseconds the answer is `pending`.
    #[n(5)]
    pub timeout_ms: u32,
    /// The records may be stored already: the replicas are asked first, and what they hold is not
    /// stored a second time.
    #[cbor(n(6), skip_if = "std::ops::Not::not", default)]
    pub retried: bool,
}

/// Records to read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Read {
    /// The topic.
    #[n(0)]
    pub topic: TopicName,
    /// Where to start.
    #[n(1)]
    pub after: Cursor,
    /// Where to end. If it is absent, the read ends at what the asked node knows to exist.
    #[n(2)]
    pub until: Option<Cursor>,
    /// Most bytes of batches in the answer; at least one batch comes, whatever its size.
    #[n(3)]
    pub bytes_max: u32,
    /// How many milliseconds to wait when there is nothing yet (long poll).
    #[n(4)]
    pub wait_ms: u32,
}

/// Several topics to read, from now on and without an end.
///
/// Records that the asked node does not know when it is asked are found while it waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReadMany {
    /// The topics. Those that come first are looked at first.
    #[cbor(n(0), decode_with = "crate::wire::bounded::topic_reads")]
    pub topics: Vec<TopicRead>,
    /// About how many bytes of batches in the answer; at least one batch comes, whatever its size.
    #[n(1)]
    pub bytes_max: u32,
    /// How many milliseconds to wait when there is nothing yet (long poll).
    #[n(2)]
    pub wait_ms: u32,
}

/// A topic, and where to start.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TopicRead {
    /// The topic.
    #[n(0)]
    pub topic: TopicName,
    /// Where to start; at the beginning if it is absent.
    #[n(1)]
    pub after: Option<Cursor>,
}

/// Which names the asker wants, and which it knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NamesWanted {
    /// What the names match.
    #[n(0)]
    pub pattern: TopicPattern,
    /// The digest of the names that the asker knows, from the last answer; zeros for none.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub known: [u8; 32],
    /// Names after this one only, at once.
    #[n(2)]
    pub after: Option<TopicName>,
    /// How many milliseconds to wait while the names are those that are known (long poll).
    #[n(3)]
    pub wait_ms: u32,
}

/// Exported batches to store again: at most a page.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Import {
    /// The topic, which must have the id that the batches are signed for.
    #[n(0)]
    pub topic: TopicName,
    /// The batches, each log's in order, and what belongs to them.
    #[n(1)]
    pub replicate: Replicate,
    /// What was trimmed before the export. If nothing is held of it or before it, nobody looks for
    /// it.
    #[cbor(n(2), decode_with = "crate::wire::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub trimmed: Vec<LogRange>,
}
