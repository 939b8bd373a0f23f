//! Who an admin introduces to a newcomer: what a network that was open knew before it was closed.
//!
//! A member of an open network that is closed holds records of others. They count from the first
//! moment, before it has met any other member, so its ticket has the passes of those writers.

use bytes::Bytes;
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

use super::{any::Statement, pass::Pass, set::Roster, statement::Signed, told::Told};
use crate::{
    limits::{INTRODUCED_BYTES_MAX, INTRODUCED_MAX},
    model::{Blob, Share},
};

/// Passes of other members and of former writers; at most [`INTRODUCED_MAX`]. Nobody may have
/// checked their signatures yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduced(Vec<Told>);

impl Introduced {
    /// Introduces those who have these passes; none if they are more than a ticket has room for.
    pub fn of(passes: impl IntoIterator<Item = Signed<Pass>>) -> Option<Self> {
        let passes = passes.into_iter().map(|pass| Told::from(Statement::Pass(pass)));
        Self(passes.collect()).within_limits()
    }

    /// Whether it introduces nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that a roster lacks and accepts, verified. A false one is left out.
    pub fn news_to(&self, roster: &Roster) -> Vec<Statement> {
        self.0.iter().filter_map(|told| told.news_to(roster).ok().flatten()).collect()
    }

    fn within_limits(self) -> Option<Self> {
        let bytes: usize = self.0.iter().map(|told| told.bytes().len()).sum();
        (self.0.len() <= INTRODUCED_MAX && bytes <= INTRODUCED_BYTES_MAX).then_some(self)
    }
}

impl<C> Encode<C> for Introduced {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.array(self.0.len() as u64)?;
        for pass in &self.0 {
            encoder.bytes(pass.bytes())?;
        }
        Ok(())
    }
}

impl<'b, C: Share> Decode<'b, C> for Introduced {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let too_many = || DecodeError::message("more passes than allowed");
        let length = decoder.array()?.filter(|length| *length <= INTRODUCED_MAX as u64);
        let mut passes = Vec::new();
        for _ in 0..length.ok_or_else(too_many)? {
            let Blob(bytes) = Blob::decode(decoder, context)?;
            let pass = Told::read(PASS, Bytes::copy_from_slice(&bytes));
            passes.push(pass.map_err(|_malformed| DecodeError::message("not a pass"))?);
        }
        Self(passes).within_limits().ok_or_else(too_many)
    }
}

/// The number of the kind of passes among statements.
const PASS: u8 = 1;
