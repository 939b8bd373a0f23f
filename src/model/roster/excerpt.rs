//! What a roster says of a newcomer: enough to judge what it shows, without a copy of all.

use super::{any::Statement, set::Roster};
use crate::model::NodeId;

impl Roster {
    /// The roster that has the charter, and all that this one says of a key: its passes, claims
    /// and revocations, those of the invitations that it used, and of one invitation more all that
    /// used it. It is as full as this one.
    #[must_use]
    pub fn excerpt(&self, subject: &NodeId, invite: Option<&NodeId>) -> Self {
        let mut excerpt = Self::new(self.charter().clone());
        let used = self.claims_of(subject).map(|claim| claim.terms().invite);
        let keys = used.chain(invite.copied()).chain([*subject]).collect::<Vec<_>>();
        let passes = keys.iter().flat_map(|key| self.passes.of(key));
        let by_invite = invite.into_iter().flat_map(|invite| self.claims.on(invite));
        let claims = self.claims_of(subject).chain(by_invite);
        let revocations = keys.iter().flat_map(|key| self.revocations.of(key));
        let statements = passes
            .cloned()
            .map(Statement::Pass)
            .chain(claims.cloned().map(Statement::Claim))
            .chain(revocations.cloned().map(Statement::Revocation));
        for statement in statements {
            let taken = excerpt.insert(statement);
            debug_assert!(taken.is_ok(), "what one roster has, another one of its charter takes");
        }
        excerpt.beyond = self.size() - excerpt.size();
        excerpt
    }

    /// Whether it has this claim, or another one of the same newcomer on the same invitation.
    pub fn has_claim(&self, subject: &NodeId, invite: &NodeId) -> bool {
        self.claims.get(subject, invite).is_some()
    }

    /// The best pass of a key, if it has one; whether it was revoked is another question.
    pub fn pass(&self, subject: &NodeId) -> Option<&super::Signed<super::Pass>> {
        self.passes.best(subject)
    }
}
