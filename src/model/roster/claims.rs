//! Who used which invitation.
//!
//! Who has an invitation's key can sign claims without end, and no clock says which one came first.
//! So of too many the ones with the smallest hashes stay, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};

use super::{pass::Claim, statement::Signed};
use crate::model::{Hash, NodeId};

/// All claims of a roster: of each member and invitation one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claims {
    /// By the member and the invitation.
    by_member: BTreeMap<(NodeId, NodeId), Signed<Claim>>,
    /// Of each invitation that is used, the hashes of its claims and the members.
    by_invite: BTreeMap<NodeId, BTreeSet<(Hash, NodeId)>>,
}

impl Claims {
    pub(super) fn len(&self) -> usize {
        self.by_member.len()
    }

    pub(super) fn get(&self, subject: &NodeId, invite: &NodeId) -> Option<&Signed<Claim>> {
        self.by_member.get(&(*subject, *invite))
    }

    /// All of them, by the member and the invitation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Signed<Claim>> {
        self.by_member.values()
    }

    /// Those of a member.
    pub(super) fn of(&self, subject: &NodeId) -> impl Iterator<Item = &Signed<Claim>> {
        let first = NodeId::from_bytes([0; 32]);
        let last = NodeId::from_bytes([u8::MAX; 32]);
        self.by_member.range((*subject, first)..=(*subject, last)).map(|(_, claim)| claim)
    }

    /// Those on an invitation, the smallest hash first.
    pub(super) fn on(&self, invite: &NodeId) -> impl Iterator<Item = &Signed<Claim>> {
        let ranked = self.by_invite.get(invite).into_iter().flatten();
        ranked.filter_map(|(_, subject)| self.get(subject, invite))
    }

    /// The invitations that are used, within a range of keys.
    pub(super) fn invites(
        &self,
        keys: std::ops::RangeInclusive<NodeId>,
    ) -> impl Iterator<Item = NodeId> {
        self.by_invite.range(keys).map(|(invite, _)| *invite)
    }

    /// Whether a claim would stay if at most this number may use its invitation.
    pub(super) fn takes(&self, claim: &Signed<Claim>, most: usize) -> bool {
        let (subject, invite) = (claim.terms().subject, claim.terms().invite);
        if let Some(known) = self.get(&subject, &invite) {
            return claim.hash() < known.hash();
        }
        let ranked = self.by_invite.get(&invite);
        let has_room = ranked.map_or(0, BTreeSet::len) < most;
        has_room || ranked.and_then(BTreeSet::last).is_some_and(|(last, _)| claim.hash() < *last)
    }

    /// Adds a claim in place of the same member's. Returns the bytes of that one.
    pub(super) fn put(&mut self, claim: Signed<Claim>) -> usize {
        let (subject, invite) = (claim.terms().subject, claim.terms().invite);
        let gone = self.remove(&subject, &invite);
        self.by_invite.entry(invite).or_default().insert((claim.hash(), subject));
        self.by_member.insert((subject, invite), claim);
        gone
    }

    /// Of the claims on an invitation at most this number stays. Returns the bytes of the others.
    pub(super) fn trim(&mut self, invite: &NodeId, most: usize) -> usize {
        let others: Vec<_> = self.on(invite).skip(most).map(|it| it.terms().subject).collect();
        others.iter().map(|subject| self.remove(subject, invite)).sum()
    }

    fn remove(&mut self, subject: &NodeId, invite: &NodeId) -> usize {
        let Some(claim) = self.by_member.remove(&(*subject, *invite)) else { return 0 };
        if let Some(ranked) = self.by_invite.get_mut(invite) {
            ranked.remove(&(claim.hash(), *subject));
            if ranked.is_empty() {
                self.by_invite.remove(invite);
            }
        }
        claim.bytes().len()
    }
}
