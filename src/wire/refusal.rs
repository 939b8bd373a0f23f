//! Why a node did not carry out a request.
//!
//! A refusal is `[number, [field, …]]`. From number 20 on, the first field is a text for people. So
//! a program that does not know the number still says why, see [`Refusal::Other`].

use minicbor::{Decode, Decoder, Encode, Encoder, data::Type};
use thiserror::Error;

use super::{Away, DescriptorBytes};
use crate::{
    limits::REASON_BYTES_MAX,
    model::{Blob, DescriptorError, RecordError, Share},
};

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
    /// A field of the request is outside its limits. The asker's mistake.
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
    /// The asked node does not know this request, or what the topic needs, or does not carry it out
    /// for this asker.
    #[n(7)]
    #[error("{}", .0.as_deref().unwrap_or("the node does not know this request"))]
    Unsupported(
        /// What it does not know.
        #[n(0)]
        Option<String>,
    ),
    /// The disk of the node, or its quota, has no room for more records. Others may have.
    #[n(8)]
    #[error("{}", .0.as_deref().unwrap_or("the disk of the node is full, or its quota is used up"))]
    Full(
        /// Which of them, and how much is free and needed.
        #[n(0)]
        Option<String>,
    ),
    /// The log has forked and is sealed. The first of several refusals has the proof.
    #[n(9)]
    #[error("the writer's log has forked")]
    Forked(#[n(0)] Option<Blob>),
    /// The node should leave, and knows no other running node.
    #[n(10)]
    #[error("no other node can take over its records")]
    Alone,
    /// The subscription was reset or deleted since the asker learnt its position.
    #[n(11)]
    #[error("the subscription was reset or deleted meanwhile")]
    Superseded,
    /// The topic's descriptor does not let this node change it.
    #[n(12)]
    #[error("this node may not change topic `{0}`")]
    MayNotAlter(#[n(0)] String),
    /// The cursor belongs to another topic. The asker's mistake.
    #[n(13)]
    #[error("the cursor belongs to another topic")]
    ForeignCursor,
    /// The topic was deleted. With the descriptor that proves it.
    #[n(14)]
    #[error("the topic was deleted")]
    Deleted(#[n(0)] DescriptorBytes),
    /// The node has reached none of the addresses through which it should join. A topic of the name
    /// may exist already.
    #[n(18)]
    #[error("the node has not joined its network yet: nothing was reached at {0}")]
    NotJoined(#[n(0)] String),
    /// The group's name belongs to a subscription that is not a group. The asker's mistake.
    #[n(15)]
    #[error("subscription `{0}` exists and is not a group")]
    NotAGroup(#[n(0)] String),
    /// The subscription is a group, and has no position that one reader may move. The asker's
    /// mistake.
    #[n(17)]
    #[error("subscription `{0}` is a group")]
    Group(#[n(0)] String),
    /// Too few home replicas of the topic answer to be sure. Try again when they are back, or when
    /// their operator has forgotten them.
    #[n(19)]
    #[error("{0}")]
    Away(#[n(0)] Away),
    /// The numbers of replicas or of copies are outside their limits. The asker's mistake.
    #[n(20)]
    #[error("{0}")]
    Copies(#[n(0)] String),
    /// A record has a header that only Antiphon sets. The asker's mistake.
    #[n(21)]
    #[error("{0}")]
    OwnHeader(#[n(0)] String),
    /// The asker lacks a right.
    #[n(23)]
    #[error("{text}")]
    NotAllowed {
        /// Who may do what, for people.
        #[n(0)]
        text: String,
        /// The right that the asker lacks.
        #[n(1)]
        right: Right,
    },
    /// The asker has its share of what the node can keep or do for all. Ask again later.
    #[n(22)]
    #[error("{reason}")]
    OverBudget {
        /// Of what it has its share.
        #[n(0)]
        reason: String,
        /// After how many milliseconds to ask again.
        #[n(1)]
        retry_after_ms: u32,
    },
    /// Refused for a reason that only a newer program knows.
    #[n(4294967295)]
    #[error("{}", other_text(*.number, .text))]
    Other {
        /// The number of the refusal.
        #[n(0)]
        number: u32,
        /// What it says to people; empty if it says nothing.
        #[n(1)]
        text: String,
    },
}

/// What a request needs beyond a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Right {
    /// Reading.
    #[n(1)]
    Read,
    /// Publishing.
    #[n(2)]
    Write,
    /// Creating topics.
    #[n(4)]
    Create,
    /// Altering and deleting a topic.
    #[n(8)]
    Manage,
    /// Ending a node, declaring one lost, and having a topic repaired.
    #[n(16)]
    Operate,
    /// Holding topics, and what only nodes say to each other.
    #[n(32)]
    Hold,
}

impl From<DescriptorError> for Refusal {
    fn from(error: DescriptorError) -> Self {
        let text = error.to_string();
        match error {
            DescriptorError::Replicas(_) | DescriptorError::MinCopies(..) => Self::Copies(text),
            DescriptorError::Retention
            | DescriptorError::Writers(_)
            | DescriptorError::Version(_)
            | DescriptorError::Malformed(_) => Self::Invalid(text),
        }
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        let text = error.to_string();
        match error {
            RecordError::OwnHeader { .. } => Self::OwnHeader(text),
            RecordError::TooLarge { .. }
            | RecordError::TooManyHeaders { .. }
            | RecordError::HeaderName { .. }
            | RecordError::Malformed(_) => Self::Invalid(text),
        }
    }
}

fn other_text(number: u32, text: &str) -> String {
    if text.is_empty() {
        format!("the node refused, for a reason that this program does not know (number {number})")
    } else {
        text.to_owned()
    }
}

/// Decodes a refusal. One with an unknown number becomes [`Refusal::Other`].
pub(super) fn decode<C: Share>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Refusal, minicbor::decode::Error> {
    let start = decoder.position();
    match Refusal::decode(decoder, context) {
        // Its own number on the wire would let a refusal pretend to have another one.
        Ok(Refusal::Other { .. }) => {}
        Err(error) if error.is_unknown_variant() => {}
        known => return known,
    }
    decoder.set_position(start);
    decode_other(decoder)
}

fn decode_other(decoder: &mut Decoder<'_>) -> Result<Refusal, minicbor::decode::Error> {
    let malformed = || minicbor::decode::Error::message("a refusal is a number and its fields");
    if decoder.array()? != Some(2) {
        return Err(malformed());
    }
    let number = decoder.u32()?;
    let Some(fields) = decoder.array()? else { return Err(malformed()) };
    let mut text = String::new();
    for field in 0..fields {
        if field == 0 && decoder.datatype()? == Type::String {
            decoder.str()?.clone_into(&mut text);
            text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
        } else {
            decoder.skip()?;
        }
    }
    Ok(Refusal::Other { number, text })
}

/// Encodes a refusal.
pub(super) fn encode<C: Share, W: minicbor::encode::Write>(
    refusal: &Refusal,
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    match refusal {
        Refusal::Other { number, text } => {
            encoder.array(2)?.u32(*number)?.array(1)?.str(text)?.ok()
        }
        known => known.encode(encoder, context),
    }
}
