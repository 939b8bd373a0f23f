//! What a statement is about: of all that are about the same, a roster keeps one.

use minicbor::{Decode, Encode};

use super::any::Statement;
use crate::model::{Hash, NodeId, TopicId};

/// What a statement is about. The order is one in which a roster accepts statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Slot {
    /// The network.
    #[n(0)]
    Charter,
    /// Who belongs, or an invitation, and the admin who says so.
    #[n(1)]
    Pass(#[n(0)] NodeId, #[n(1)] NodeId),
    /// An invitation, and who uses it.
    #[n(2)]
    Claim(#[n(0)] NodeId, #[n(1)] NodeId),
    /// Who belongs no more, and the admin who says so.
    #[n(3)]
    Revocation(#[n(0)] NodeId, #[n(1)] NodeId),
    /// A former writer and a topic. Closures are kept side by side.
    #[n(4)]
    Closure(#[n(0)] NodeId, #[n(1)] TopicId, #[n(2)] Hash),
}

impl Slot {
    /// The number of the statement's kind.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Charter => 0,
            Self::Pass(..) => 1,
            Self::Claim(..) => 2,
            Self::Revocation(..) => 3,
            Self::Closure(..) => 4,
        }
    }

    /// The key under which a store keeps the statement: the number of its kind, and what it is
    /// about.
    pub fn to_key(self) -> Vec<u8> {
        match self {
            Self::Charter => vec![0],
            Self::Pass(subject, issuer) => {
                [&[1], subject.as_bytes().as_slice(), issuer.as_bytes()].concat()
            }
            Self::Claim(invite, subject) => {
                [&[2], invite.as_bytes().as_slice(), subject.as_bytes()].concat()
            }
            Self::Revocation(subject, issuer) => {
                [&[3], subject.as_bytes().as_slice(), issuer.as_bytes()].concat()
            }
            Self::Closure(writer, topic, hash) => {
                [&[4], writer.as_bytes().as_slice(), topic.as_bytes(), &hash.0].concat()
            }
        }
    }

    /// The part of a roster that it is in, when two nodes compare theirs. A claim is in that of its
    /// invitation, which must come first.
    pub fn part(&self) -> u8 {
        match self {
            Self::Charter => 0,
            Self::Pass(key, _) | Self::Claim(key, _) | Self::Revocation(key, _) => {
                Self::part_of(key)
            }
            Self::Closure(writer, ..) => Self::part_of(writer),
        }
    }

    /// The part that has what is said of a key.
    pub fn part_of(key: &NodeId) -> u8 {
        key.as_bytes()[0]
    }
}

impl Statement {
    /// What it is about.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Charter(_) => Slot::Charter,
            Self::Pass(pass) => Slot::Pass(pass.terms().subject, pass.terms().issuer),
            Self::Claim(claim) => Slot::Claim(claim.terms().invite, claim.terms().subject),
            Self::Revocation(revocation) => {
                Slot::Revocation(revocation.terms().subject, revocation.terms().issuer)
            }
            Self::Closure(closure) => {
                Slot::Closure(closure.terms().writer, closure.terms().topic, closure.hash())
            }
        }
    }
}
