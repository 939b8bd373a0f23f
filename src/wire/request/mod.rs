//! What is asked.
//!
//! Each request has a code of its own: the two enums share one space of codes.

mod client;
mod node;

pub use client::{
    Acks, Alter, ClientRequest, Create, Import, NamesWanted, Publish, Read, ReadMany, TopicRead,
};
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
pub use node::{NodeRequest, Replicate};

use crate::model::{LogId, Share};

/// A question to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// What clients ask, and what nodes pass on for them.
    Client(ClientRequest),
    /// What nodes ask each other.
    Node(NodeRequest),
}

impl From<ClientRequest> for Request {
    fn from(request: ClientRequest) -> Self {
        Self::Client(request)
    }
}

impl From<NodeRequest> for Request {
    fn from(request: NodeRequest) -> Self {
        Self::Node(request)
    }
}

impl<C: Share> Encode<C> for Request {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match self {
            Self::Client(request) => request.encode(encoder, context),
            Self::Node(request) => request.encode(encoder, context),
        }
    }
}

impl<'b, C: Share> Decode<'b, C> for Request {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let mut ahead = decoder.probe();
        ahead.array()?;
        let code = ahead.u32()?;
        if NodeRequest::has_code(code) {
            NodeRequest::decode(decoder, context).map(Self::Node)
        } else {
            ClientRequest::decode(decoder, context).map(Self::Client)
        }
    }
}

/// A range of a log, which has the records of one writer: those from `from` up to `to`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LogRange {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// Sequence number of the first record.
    #[n(1)]
    pub from: u64,
    /// Sequence number after the last one.
    #[n(2)]
    pub to: u64,
}

impl LogRange {
    /// One record.
    pub fn position(log: LogId, at: u64) -> Self {
        Self { log, from: at, to: at.saturating_add(1) }
    }

    /// The record, if it is a single one. Then the header of its batch is of use too, see
    /// [`Page::headers`](super::Page::headers).
    pub fn as_position(&self) -> Option<u64> {
        (self.to.checked_sub(self.from) == Some(1)).then_some(self.from)
    }
}
