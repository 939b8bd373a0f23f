//! What is in a roster: all of it, a part of it, or what is about one thing.

use std::ops::RangeInclusive;

use super::{any::Statement, set::Roster, slot::Slot, statement::Signed};
use crate::model::{Hash, NodeId, TopicId, WallClock};

impl Roster {
    /// All statements, in an order in which another roster accepts them.
    pub fn statements(&self) -> impl Iterator<Item = Statement> {
        self.slots().filter_map(|(slot, _)| self.get(&slot))
    }

    /// What all statements are about, and their hashes, in the same order. It copies none of them.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, Hash)> {
        let charter = std::iter::once((Slot::Charter, self.charter().hash()));
        let passes = self
            .passes
            .iter()
            .map(|((subject, issuer), it)| (Slot::Pass(*subject, *issuer), it.hash()));
        let claims = self
            .claims
            .iter()
            .map(|claim| (Slot::Claim(claim.terms().invite, claim.terms().subject), claim.hash()));
        let revocations = self
            .revocations
            .iter()
            .map(|((subject, issuer), it)| (Slot::Revocation(*subject, *issuer), it.hash()));
        let closures = self
            .closures
            .keys()
            .map(|(writer, topic, hash)| (Slot::Closure(*writer, *topic, *hash), *hash));
        charter.chain(passes).chain(claims).chain(revocations).chain(closures)
    }

    /// What the statements of a part are about, in the order of [`Slot`]. It looks at no others.
    pub fn part(&self, part: u8) -> impl Iterator<Item = Slot> {
        let keys = keys_of(part);
        let (start, end) = (*keys.start(), *keys.end());
        let charter = (Slot::Charter.part() == part).then_some(Slot::Charter);
        let passes = self
            .passes
            .range(keys.clone())
            .map(|((subject, issuer), _)| Slot::Pass(*subject, *issuer));
        let claims = self.claims.invites(keys.clone()).flat_map(|invite| {
            let subjects = self.claims.on(&invite).map(|claim| claim.terms().subject);
            let mut subjects: Vec<_> = subjects.collect();
            subjects.sort_unstable();
            subjects.into_iter().map(move |subject| Slot::Claim(invite, subject))
        });
        let revocations = self
            .revocations
            .range(keys)
            .map(|((subject, issuer), _)| Slot::Revocation(*subject, *issuer));
        let first = (start, TopicId::from_bytes([0; 32]), Hash([0; 32]));
        let last = (end, TopicId::from_bytes([u8::MAX; 32]), Hash([u8::MAX; 32]));
        let closures = self.closures.range(first..=last);
        let closures =
            closures.map(|((writer, topic, hash), _)| Slot::Closure(*writer, *topic, *hash));
        charter.into_iter().chain(passes).chain(claims).chain(revocations).chain(closures)
    }

    /// The statement that is kept of this.
    pub fn get(&self, slot: &Slot) -> Option<Statement> {
        match slot {
            Slot::Charter => Some(Statement::Charter(self.charter().clone())),
            Slot::Pass(subject, issuer) => {
                self.passes.get(*subject, *issuer).cloned().map(Statement::Pass)
            }
            Slot::Claim(invite, subject) => {
                self.claims.get(subject, invite).cloned().map(Statement::Claim)
            }
            Slot::Revocation(subject, issuer) => {
                self.revocations.get(*subject, *issuer).cloned().map(Statement::Revocation)
            }
            Slot::Closure(writer, topic, hash) => {
                self.closures.get(&(*writer, *topic, *hash)).cloned().map(Statement::Closure)
            }
        }
    }

    fn hash_of(&self, slot: &Slot) -> Option<Hash> {
        match slot {
            Slot::Charter => Some(self.charter().hash()),
            Slot::Pass(subject, issuer) => self.passes.get(*subject, *issuer).map(Signed::hash),
            Slot::Claim(invite, subject) => self.claims.get(subject, invite).map(Signed::hash),
            Slot::Revocation(subject, issuer) => {
                self.revocations.get(*subject, *issuer).map(Signed::hash)
            }
            Slot::Closure(writer, topic, hash) => {
                self.closures.get(&(*writer, *topic, *hash)).map(Signed::hash)
            }
        }
    }

    /// Whether a statement is in it.
    pub fn has(&self, statement: &Statement) -> bool {
        self.hash_of(&statement.slot()) == Some(statement.hash())
    }

    /// Whether nothing is known yet of what a statement is about.
    pub fn is_first(&self, slot: &Slot) -> bool {
        self.hash_of(slot).is_none()
    }

    /// The newest time at which an admin signed anything that is in it.
    pub fn newest(&self) -> WallClock {
        let passes = self.passes.values().map(|pass| pass.terms().issued);
        let revocations = self.revocations.values().map(|it| it.terms().issued);
        passes.chain(revocations).max().unwrap_or_default()
    }

    /// A hash of all statements. Two nodes with one digest have the same.
    pub fn digest(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for (slot, hash) in self.slots() {
            hasher.update(&[slot.kind()]).update(&hash.0);
        }
        Hash(hasher.finalize().into())
    }

    /// Everybody that has a pass or a claim, or was removed, in order of the keys.
    pub fn subjects(&self) -> impl Iterator<Item = NodeId> {
        let claimed = self.claims.iter().map(|claim| claim.terms().subject);
        let passes = self.passes.values().map(|pass| pass.terms().subject);
        let revocations = self.revocations.values().map(|it| it.terms().subject);
        let all = passes.chain(revocations).chain(claimed);
        all.collect::<std::collections::BTreeSet<_>>().into_iter()
    }
}

/// The keys of a part: those that begin with its number.
fn keys_of(part: u8) -> RangeInclusive<NodeId> {
    let (mut first, mut last) = ([0; 32], [u8::MAX; 32]);
    (first[0], last[0]) = (part, part);
    NodeId::from_bytes(first)..=NodeId::from_bytes(last)
}
