//! A statement of any kind.

use bytes::Bytes;

use super::{
    charter::{Charter, NetworkId},
    pass::{Claim, Pass},
    removal::{Closure, Revocation},
    statement::{Signed, StatementError},
};
use crate::model::Hash;

/// A statement of any kind, with signatures that are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Who the admins are.
    Charter(Signed<Charter>),
    /// Who belongs.
    Pass(Signed<Pass>),
    /// Who used an invitation.
    Claim(Signed<Claim>),
    /// Who belongs no more.
    Revocation(Signed<Revocation>),
    /// Where the logs of a former writer end.
    Closure(Signed<Closure>),
}

/// Kinds of statements, by their numbers on the wire and on the disk.
const KINDS: [&str; 5] = ["charter", "pass", "claim", "revocation", "closure"];

impl Statement {
    /// The number of its kind.
    pub fn kind(&self) -> u8 {
        self.slot().kind()
    }

    /// The word for its kind.
    pub fn kind_name(&self) -> &'static str {
        KINDS[usize::from(self.kind())]
    }

    /// Decodes a statement of a kind, and verifies it.
    ///
    /// # Errors
    /// When it is malformed or forged, or its kind is not known.
    pub fn verify(kind: u8, bytes: Bytes) -> Result<Self, StatementError> {
        Ok(match kind {
            0 => Self::Charter(Signed::verify(bytes)?),
            1 => Self::Pass(Signed::verify(bytes)?),
            2 => Self::Claim(Signed::verify(bytes)?),
            3 => Self::Revocation(Signed::verify(bytes)?),
            4 => Self::Closure(Signed::verify(bytes)?),
            _ => return Err(StatementError::Malformed("a kind that is not known")),
        })
    }

    /// Decodes a statement of a kind. Its signatures may be false: nobody may see it as a statement
    /// before they are checked.
    pub(super) fn read(kind: u8, bytes: Bytes) -> Result<Self, StatementError> {
        Ok(match kind {
            0 => Self::Charter(Signed::read(bytes)?),
            1 => Self::Pass(Signed::read(bytes)?),
            2 => Self::Claim(Signed::read(bytes)?),
            3 => Self::Revocation(Signed::read(bytes)?),
            4 => Self::Closure(Signed::read(bytes)?),
            _ => return Err(StatementError::Malformed("a kind that is not known")),
        })
    }

    /// The bytes as they were signed.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Charter(signed) => signed.bytes(),
            Self::Pass(signed) => signed.bytes(),
            Self::Claim(signed) => signed.bytes(),
            Self::Revocation(signed) => signed.bytes(),
            Self::Closure(signed) => signed.bytes(),
        }
    }

    /// The hash of its terms.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Charter(signed) => signed.hash(),
            Self::Pass(signed) => signed.hash(),
            Self::Claim(signed) => signed.hash(),
            Self::Revocation(signed) => signed.hash(),
            Self::Closure(signed) => signed.hash(),
        }
    }

    /// The network that it is about.
    pub fn network(&self) -> NetworkId {
        match self {
            Self::Charter(signed) => signed.terms().network(),
            Self::Pass(signed) => signed.terms().network,
            Self::Claim(signed) => signed.terms().network,
            Self::Revocation(signed) => signed.terms().network,
            Self::Closure(signed) => signed.terms().network,
        }
    }
}
