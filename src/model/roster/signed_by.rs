//! What several admins sign of one key, side by side.
//!
//! Of each admin the newest statement stays, and the best of all admins' holds. So a charter that
//! removes an admin takes what that one signed, and nothing that others signed before.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    pass::Pass,
    removal::Revocation,
    statement::{Signed, Terms},
};
use crate::model::NodeId;

/// Statements of admins about keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedBy<T: Terms>(BTreeMap<(NodeId, NodeId), Signed<T>>);

/// A statement that an admin signs about a key.
pub(super) trait About: Sized {
    /// The key, and the admin.
    fn key(&self) -> (NodeId, NodeId);

    /// Whether it holds rather than another one about the same key.
    fn beats(&self, other: &Self) -> bool;
}

impl About for Signed<Pass> {
    fn key(&self) -> (NodeId, NodeId) {
        (self.terms().subject, self.terms().issuer)
    }

    fn beats(&self, other: &Self) -> bool {
        self.supersedes(other)
    }
}

impl About for Signed<Revocation> {
    fn key(&self) -> (NodeId, NodeId) {
        (self.terms().subject, self.terms().issuer)
    }

    fn beats(&self, other: &Self) -> bool {
        self.supersedes(other)
    }
}

impl<T: Terms> Default for SignedBy<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Terms> SignedBy<T>
where
    Signed<T>: About,
{
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Signed<T>> {
        self.0.values()
    }

    /// All keys that something is said of, each with the admins who say it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&(NodeId, NodeId), &Signed<T>)> {
        self.0.iter()
    }

    /// The same, of a range of keys.
    pub(super) fn range(
        &self,
        keys: RangeInclusive<NodeId>,
    ) -> impl Iterator<Item = (&(NodeId, NodeId), &Signed<T>)> {
        let first = (*keys.start(), NodeId::from_bytes([0; 32]));
        let last = (*keys.end(), NodeId::from_bytes([u8::MAX; 32]));
        self.0.range(first..=last)
    }

    /// What one admin says of a key.
    pub(super) fn get(&self, subject: NodeId, issuer: NodeId) -> Option<&Signed<T>> {
        self.0.get(&(subject, issuer))
    }

    /// What all admins say of a key.
    pub(super) fn of(&self, subject: &NodeId) -> impl Iterator<Item = &Signed<T>> {
        self.range(*subject..=*subject).map(|(_, signed)| signed)
    }

    /// What holds of a key.
    pub(super) fn best(&self, subject: &NodeId) -> Option<&Signed<T>> {
        self.of(subject).reduce(|best, it| if it.beats(best) { it } else { best })
    }

    /// What the admin of a statement has said of its key before.
    pub(super) fn before(&self, signed: &Signed<T>) -> Option<&Signed<T>> {
        self.0.get(&signed.key())
    }

    /// Puts a statement in, and returns what its admin said before.
    pub(super) fn put(&mut self, signed: Signed<T>) -> Option<Signed<T>> {
        self.0.insert(signed.key(), signed)
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&Signed<T>) -> bool) {
        self.0.retain(|_, signed| stays(signed));
    }
}
