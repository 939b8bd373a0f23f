//! Revocations, which remove members, and closures, which say where the logs of one end.

use std::collections::BTreeMap;

use minicbor::{Decode, Decoder, Encode, decode};

use super::{
    charter::NetworkId,
    statement::{Signed, StatementError, Terms, VERSION, check_text},
};
use crate::{
    limits::{REVOCATION_REASON_BYTES_MAX, SEQUENCE_MAX, TURNS_MAX, WRITER_LOGS_MAX},
    model::{Hash, Incarnation, NodeId, NodeKey, TopicId, WallClock},
};

/// Ends all passes and claims of a member up to a turn. No clock decides who belongs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// Version of this encoding.
    #[n(0)]
    pub(super) version: u8,
    /// The network.
    #[n(1)]
    pub network: NetworkId,
    /// The member, or the key of an invitation.
    #[n(2)]
    pub subject: NodeId,
    /// Passes up to this turn end.
    #[n(3)]
    pub turn: u32,
    /// Why, for people.
    #[n(4)]
    pub reason: String,
    /// The admin who signed it.
    #[n(5)]
    pub issuer: NodeId,
    /// When it was signed.
    #[n(6)]
    pub issued: WallClock,
}

impl Revocation {
    /// A revocation of passes up to a turn, without a reason.
    pub fn new(
        network: NetworkId,
        (subject, turn): (NodeId, u32),
        issuer: NodeId,
        issued: WallClock,
    ) -> Self {
        Self { version: VERSION, network, subject, turn, reason: String::new(), issuer, issued }
    }

    /// Signs the revocation with the admin's key.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, admin: &NodeKey) -> Result<Signed<Self>, StatementError> {
        Signed::sign(self, &[admin])
    }
}

impl Terms for Revocation {
    const DOMAIN: &'static str = "antiphon/revocation/1";

    fn check(&self) -> Result<(), StatementError> {
        check_text(&self.reason, REVOCATION_REASON_BYTES_MAX)?;
        if self.turn > TURNS_MAX {
            return Err(StatementError::Malformed("counted too far"));
        }
        Ok(())
    }

    fn signers(&self) -> Vec<NodeId> {
        vec![self.issuer]
    }
}

impl Signed<Revocation> {
    /// Whether this replaces `other`, of the same member: the higher turn, then the smaller hash.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |it: &Self| (it.terms().turn, std::cmp::Reverse(it.hash()));
        rank(self) > rank(other)
    }
}

/// Where a log of a former writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Cut {
    /// The first record that does not count.
    #[n(0)]
    pub next: u64,
    /// The hash of the batch before it; none if nothing of the log counts.
    #[n(1)]
    pub head: Option<Hash>,
}

impl Cut {
    /// Whether a batch counts that ends at `next` and has this hash: it comes before the cut, or is
    /// the last one.
    pub fn takes(&self, next: u64, hash: Hash) -> bool {
        next < self.next || (next, Some(hash)) == (self.next, self.head)
    }
}

/// Says where the logs of a former writer end in a topic. Logs that it does not name are void.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Closure {
    /// Version of this encoding.
    #[n(0)]
    pub(super) version: u8,
    /// The network.
    #[n(1)]
    pub network: NetworkId,
    /// The topic.
    #[n(2)]
    pub topic: TopicId,
    /// The former writer.
    #[n(3)]
    pub writer: NodeId,
    /// The turn that has ended.
    #[n(4)]
    pub turn: u32,
    /// Where each of its logs ends.
    #[cbor(n(5), decode_with = "bounded_cuts")]
    pub cuts: BTreeMap<Incarnation, Cut>,
    /// Who signed it: an admin, or a manager of the topic.
    #[n(6)]
    pub issuer: NodeId,
}

fn bounded_cuts<C>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<BTreeMap<Incarnation, Cut>, decode::Error> {
    match decoder.map()? {
        Some(length) if length <= WRITER_LOGS_MAX as u64 => (0..length)
            .map(|_| Ok((Incarnation::decode(decoder, context)?, Cut::decode(decoder, context)?)))
            .collect(),
        Some(_) | None => Err(decode::Error::message("more logs than a writer has")),
    }
}

impl Closure {
    /// A closure of a writer's logs.
    pub fn new(
        network: NetworkId,
        (topic, writer): (TopicId, NodeId),
        turn: u32,
        cuts: BTreeMap<Incarnation, Cut>,
        issuer: NodeId,
    ) -> Self {
        Self { version: VERSION, network, topic, writer, turn, cuts, issuer }
    }

    /// Signs the closure.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, issuer: &NodeKey) -> Result<Signed<Self>, StatementError> {
        Signed::sign(self, &[issuer])
    }
}

impl Terms for Closure {
    const DOMAIN: &'static str = "antiphon/closure/1";

    fn check(&self) -> Result<(), StatementError> {
        let is_far = |cut: &Cut| cut.next > SEQUENCE_MAX || (cut.next == 0) != cut.head.is_none();
        if self.turn > TURNS_MAX || self.cuts.values().any(is_far) {
            return Err(StatementError::Malformed("counted too far"));
        }
        if self.cuts.len() > WRITER_LOGS_MAX {
            return Err(StatementError::Malformed("a list is too long"));
        }
        Ok(())
    }

    fn signers(&self) -> Vec<NodeId> {
        vec![self.issuer]
    }
}
