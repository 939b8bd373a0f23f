//! What the two ends of a new connection say first in a closed network: who they are, and why they
//! belong to it, or that the other end does not.
//!
//! An end that says it has finished a handshake with the network's door. Nothing in it is verified
//! when it is decoded: it has at most four signatures, and its judge decides which of them matter.

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, decode};
use thiserror::Error;

use super::WireError;
use crate::{
    limits::{HELLO_BYTES_MAX, REVOCATION_REASON_BYTES_MAX},
    model::{Blob, Hash, WallClock, decode_exact, encode_to_bytes},
};

/// The first message of each end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub enum Hello {
    /// The other end does not get in.
    #[n(0)]
    Refused(#[n(0)] Refused),
    /// Why this end belongs to the network.
    #[n(1)]
    Greeting(#[n(0)] Greeting),
}

/// Why somebody belongs to a network, as it says itself. Each statement is as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Greeting {
    /// Its own pass, or that of the invitation which it used. An operator needs none.
    #[n(0)]
    pub pass: Option<Blob>,
    /// Its claim, if it used an invitation.
    #[n(1)]
    pub claim: Option<Blob>,
    /// The newest charter that it knows.
    #[n(2)]
    pub charter: Option<Blob>,
    /// The digest of its roster, if it has one.
    #[n(3)]
    pub roster: Option<Hash>,
    /// What its clock says.
    #[n(4)]
    pub wall: WallClock,
}

/// Somebody does not get in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// Why.
    #[n(0)]
    pub why: NotAdmitted,
    /// More about it, for people: the reason of a removal, or who used the ticket.
    #[cbor(n(1), decode_with = "text_for_people")]
    pub detail: Option<String>,
}

/// Why somebody does not get in.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// An admin removed it.
    #[error("it was removed from the network")]
    Revoked,
    /// Its pass, or its invitation, has ended.
    #[error("its pass or its ticket has ended")]
    Expired,
    /// Nothing that it shows makes it a member.
    #[error("it shows no pass of this network")]
    Unknown,
    /// Others have used its ticket.
    #[error("its ticket is used up")]
    UsedUp,
    /// An admin withdrew its invitation.
    #[error("its ticket was withdrawn")]
    Withdrawn,
    /// What it shows is of another network.
    #[error("it is of another network")]
    OtherNetwork,
    /// By the clock of the other end its pass has ended, and the two clocks differ much.
    #[error("its pass or its ticket has ended, or one of the two clocks is wrong")]
    Clock,
    /// There is no room for newcomers at this moment.
    #[error("there is no room for newcomers now; try again")]
    Full,
    /// A reason that only a newer program knows.
    #[error("for a reason that this program does not know (number {0})")]
    Other(u32),
}

/// The reasons that have a number, by their numbers.
const REASONS: [NotAdmitted; 8] = [
    NotAdmitted::Revoked,
    NotAdmitted::Expired,
    NotAdmitted::Unknown,
    NotAdmitted::UsedUp,
    NotAdmitted::Withdrawn,
    NotAdmitted::OtherNetwork,
    NotAdmitted::Clock,
    NotAdmitted::Full,
];

impl<C> Encode<C> for NotAdmitted {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let number = match self {
            Self::Revoked => 0,
            Self::Expired => 1,
            Self::Unknown => 2,
            Self::UsedUp => 3,
            Self::Withdrawn => 4,
            Self::OtherNetwork => 5,
            Self::Clock => 6,
            Self::Full => 7,
            Self::Other(number) => *number,
        };
        encoder.u32(number)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for NotAdmitted {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let number = decoder.u32()?;
        let known = usize::try_from(number).ok().and_then(|number| REASONS.get(number));
        Ok(known.copied().unwrap_or(Self::Other(number)))
    }
}

/// A text for people from somebody who is not known: of bounded length, without control
/// characters.
fn text_for_people<C>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Option<String>, decode::Error> {
    let said = Option::<&str>::decode(decoder, context)?;
    Ok(said.map(bounded))
}

fn bounded(text: &str) -> String {
    let mut text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    text.truncate(text.floor_char_boundary(REVOCATION_REASON_BYTES_MAX));
    text
}

impl Refused {
    /// A refusal, with more about it for people.
    pub fn new(why: NotAdmitted, detail: Option<&str>) -> Self {
        Self { why, detail: detail.filter(|text| !text.is_empty()).map(bounded) }
    }
}

impl From<NotAdmitted> for Refused {
    fn from(why: NotAdmitted) -> Self {
        Self { why, detail: None }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail) => write!(formatter, "{} ({detail})", self.why),
            None => self.why.fmt(formatter),
        }
    }
}

impl Hello {
    /// Decodes what the other end said. No signature in it is verified.
    ///
    /// # Errors
    /// When it is too large, or malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, WireError> {
        if bytes.len() > HELLO_BYTES_MAX {
            return Err(WireError::Malformed("too large for a first message".to_owned()));
        }
        Ok(decode_exact(bytes)?)
    }

    /// Encodes it. At most [`HELLO_BYTES_MAX`] bytes, whatever is in it that was signed.
    pub fn encode(&self) -> Bytes {
        encode_to_bytes(self)
    }
}
