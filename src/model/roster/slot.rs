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
    /// Who belongs, or an invitation.
    #[n(1)]
    Pass(#[n(0)] NodeId),
    /// An invitation, and who uses it.
    #[n(2)]
    Claim(#[n(0)] NodeId, #[n(1)] NodeId),
    /// Who belongs no more.
    #[n(3)]
    Revocation(#[n(0)] NodeId),
    /// A former writer and a topic. Closures are kept side by side.
    #[n(4)]
    Closure(#[n(0)] NodeId, #[n(1)] TopicId, #[n(2)] Hash),
}

impl Slot {
    /// The number of the statement's kind.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Charter => 0,
            Self::Pass(_) => 1,
            Self::Claim(..) => 2,
            Self::Revocation(_) => 3,
            Self::Closure(..) => 4,
        }
    }

    /// The key under which a store keeps the statement: the number of its kind, and what it is
    /// about.
    pub fn to_key(self) -> Vec<u8> {
        match self {
            Self::Charter => vec![0],
            Self::Pass(subject) => [&[1], subject.as_bytes().as_slice()].concat(),
            Self::Claim(invite, subject) => {
                [&[2], invite.as_bytes().as_slice(), subject.as_bytes()].concat()
            }
            Self::Revocation(subject) => [&[3], subject.as_bytes().as_slice()].concat(),
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
            Self::Pass(key) | Self::Claim(key, _) | Self::Revocation(key) => key.as_bytes()[0],
            Self::Closure(writer, ..) => writer.as_bytes()[0],
        }
    }
}

impl Statement {
    /// What it is about.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Charter(_) => Slot::Charter,
            Self::Pass(pass) => Slot::Pass(pass.terms().subject),
            Self::Claim(claim) => Slot::Claim(claim.terms().invite, claim.terms().subject),
            Self::Revocation(revocation) => Slot::Revocation(revocation.terms().subject),
            Self::Closure(closure) => {
                Slot::Closure(closure.terms().writer, closure.terms().topic, closure.hash())
            }
        }
    }
}
