//! What nodes ask each other. The asked node answers from what it holds itself.

use std::ops::RangeInclusive;

use minicbor::{Decode, Encode};

use super::LogRange;
use crate::{
    model::{
        Batch, Compacted, Run, SessionId, SignedDescriptor, SubscriberName, Subscription, TopicId,
    },
    wire::{HeadsWanted, Proofs, RosterWanted, Statements, StatementsWanted},
};

/// A request of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum NodeRequest {
    /// Store these batches. Answer: `Replicated`, after the flush.
    #[n(17)]
    Replicate(#[n(0)] Replicate),
    /// Compare what both nodes should hold of the topics after one, by their ids. Answer:
    /// `Compared`.
    #[n(18)]
    Compare(#[n(0)] Option<TopicId>, #[cbor(n(1), with = "minicbor::bytes")] [u8; 32]),
    /// What the asked node holds of a topic, where a subscription stands, and proofs of the ends of
    /// these logs. Answer: `Held`, after the flush of everything that it reports.
    #[n(19)]
    Frontier(#[n(0)] TopicId, #[n(1)] Option<SubscriberName>, #[n(2)] Option<HeadsWanted>),
    /// Batches that the asked node holds. For a single record whose batch was trimmed, the header
    /// if it is kept. Answer: `Page`.
    #[n(20)]
    Fetch(#[n(0)] TopicId, #[n(1)] Vec<LogRange>, #[n(2)] u32),
    /// Keep the position of a subscription. Answer: `Kept`, after the flush.
    #[n(21)]
    Keep(#[n(0)] TopicId, #[n(1)] SubscriberName, #[n(2)] Subscription, #[n(3)] Option<SessionId>),
    /// How many records of each topic the asked node holds. Answer: `Counts`.
    #[n(22)]
    Counts,
    /// The subscriptions of a topic after a name, in order. Answer: `Positions`, after the flush of
    /// everything that it reports.
    #[n(23)]
    Positions(#[n(0)] TopicId, #[n(1)] Option<SubscriberName>),
    /// The asking node is leaving: nothing new must be placed there. The flag says that it holds
    /// nothing any more and will not come back. Answer: `Noted`.
    #[n(24)]
    Leaving(#[n(0)] bool),
    /// Read a range from the disk, and check every byte, up to about this many. Answer: `Checked`.
    #[n(25)]
    Check(#[n(0)] TopicId, #[n(1)] LogRange, #[n(2)] u32),
    /// Where the asked node holds records that were published lately, if it does. Answer:
    /// `Whereabouts`, after the flush of everything that it reports.
    #[n(26)]
    Find(#[n(0)] TopicId, #[cbor(n(1), decode_with = "crate::wire::bounded::runs")] Vec<Run>),
    /// The asking node is stopping, and may come back. That is shown to people; the node counts
    /// like any other that is away. Answer: `Noted`.
    #[n(27)]
    Stopping,
    /// Statements that both nodes should know. Answer: `Statements`, after the flush of everything
    /// that it reports.
    #[n(37)]
    Statements(#[n(0)] StatementsWanted),
    /// Terms that the asking node signed; none if this program does not understand them. Answer:
    /// `Described`, with the terms of that topic that hold at the asked node, after their flush.
    #[n(38)]
    Announce(
        #[cbor(n(0), decode_with = "crate::wire::bounded::announced")]
        Option<Box<SignedDescriptor>>,
    ),
    /// Prove that the asked node holds these batches of a topic, each by the range of its records.
    /// The last field is a nonce. Answer: `Proven`.
    #[n(39)]
    Prove(
        #[n(0)] TopicId,
        #[cbor(n(1), decode_with = "crate::wire::bounded::proved_ranges")] Vec<LogRange>,
        #[cbor(n(2), with = "minicbor::bytes")] [u8; 32],
    ),
    /// Compare the rosters of both nodes. Answer: `Roster`.
    #[n(48)]
    CompareRoster(#[n(0)] RosterWanted),
    /// Take these statements into the roster. Answer: `Noted`.
    #[n(49)]
    TellRoster(#[n(0)] Statements),
}

impl NodeRequest {
    /// The codes of these requests.
    const CODES: [RangeInclusive<u32>; 3] = [17..=31, 37..=39, 48..=49];

    /// The topic that it is about, if that is one that is read.
    pub fn topic(&self) -> Option<&TopicId> {
        match self {
            Self::Frontier(topic, ..) | Self::Fetch(topic, ..) | Self::Find(topic, _) => {
                Some(topic)
            }
            _ => None,
        }
    }

    /// Whether a code is that of a request of a node.
    pub(super) fn has_code(code: u32) -> bool {
        Self::CODES.iter().any(|codes| codes.contains(&code))
    }
}

/// Batches to store, of any topics, each log's in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Replicate {
    /// Descriptors of topics that the asked node may not know yet, at most
    /// [`DESCRIPTORS_PER_MESSAGE_MAX`](crate::limits::DESCRIPTORS_PER_MESSAGE_MAX).
    #[cbor(n(0), decode_with = "crate::wire::bounded::descriptors")]
    pub descriptors: Vec<SignedDescriptor>,
    /// The batches.
    #[n(1)]
    pub batches: Vec<Batch>,
    /// Proofs of forks, if batches belong to branches.
    #[n(2)]
    pub forks: Option<Proofs>,
    /// Compacted ranges right before some of the batches.
    #[cbor(
        n(3),
        decode_with = "crate::wire::bounded::compacted",
        skip_if = "Vec::is_empty",
        default
    )]
    pub compacted: Vec<Compacted>,
}
