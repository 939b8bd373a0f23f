//! How two nodes of a closed network compare their rosters, and tell each other what is news.
//!
//! A statement is an array of the number of its kind and its bytes, as they were signed. Statements
//! of newer programs are left out. Decoding checks no signatures: that is for who has the roster,
//! and knows what is news to it.

use bytes::Bytes;
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

use super::PartDigest;
use crate::{
    limits::ROSTER_TOLD_MAX,
    model::{
        Blob, Hash, Share,
        roster::{Slot, Statement, Told},
    },
};

/// What one node asks another one about its roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum RosterWanted {
    /// Whether the rosters are the same; this is the digest of the asker's. Answer:
    /// [`RosterTold::Same`] or [`RosterTold::Differs`].
    #[n(0)]
    Digest(#[n(0)] Hash),
    /// The statements of a part after one. Answer: [`RosterTold::Part`].
    #[n(1)]
    Part(#[n(0)] u8, #[n(1)] Option<Slot>),
}

/// What a node says of its roster.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum RosterTold {
    /// Its roster is the asker's.
    #[n(0)]
    Same,
    /// It is another one. The digests of all parts that are not empty, in order, and the charter:
    /// without it, nothing else is accepted.
    #[n(1)]
    Differs(
        #[cbor(n(0), decode_with = "super::bounded::statement_parts")] Vec<PartDigest>,
        #[n(1)] Statements,
    ),
    /// Statements of a part, in an order in which they are accepted, and the last one's place; none
    /// if there is no more.
    #[n(2)]
    Part(#[n(0)] Statements, #[n(1)] Option<Slot>),
}

/// Statements of a roster; at most [`ROSTER_TOLD_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statements(pub Vec<Told>);

impl Statements {
    /// How many signatures they have, if all of them are what they say.
    pub fn signatures(&self) -> u32 {
        self.0.iter().map(Told::signatures).sum()
    }
}

impl FromIterator<Statement> for Statements {
    fn from_iter<I: IntoIterator<Item = Statement>>(statements: I) -> Self {
        Self(statements.into_iter().map(Told::from).collect())
    }
}

impl<C> Encode<C> for Statements {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.array(self.0.len() as u64)?;
        for statement in &self.0 {
            encoder.array(2)?.u8(statement.kind())?.bytes(statement.bytes())?;
        }
        Ok(())
    }
}

impl<'b, C: Share> Decode<'b, C> for Statements {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let length = decoder.array()?.filter(|length| *length <= ROSTER_TOLD_MAX as u64);
        let length = length.ok_or_else(|| DecodeError::message("more statements than allowed"))?;
        let mut statements = Vec::new();
        for _ in 0..length {
            let signed = Signed::decode(decoder, context)?;
            // What is kept must not keep the whole message in memory.
            let bytes = Bytes::copy_from_slice(&signed.bytes.0);
            let kind = u8::try_from(signed.kind).ok();
            statements.extend(kind.and_then(|kind| Told::read(kind, bytes).ok()));
        }
        Ok(Self(statements))
    }
}

#[derive(Decode)]
#[cbor(context_bound = "crate::model::Share")]
struct Signed {
    #[n(0)]
    kind: u64,
    #[n(1)]
    bytes: Blob,
}
