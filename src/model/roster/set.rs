//! The roster: all statements of a closed network, and who belongs to it by them.
//!
//! It is a set. Of each member it keeps one pass and one revocation, of each topic and former
//! writer one closure: the one that supersedes all others. So nodes that have heard the same
//! statements agree, in whatever order they came. What its charter does not allow is not in it.

use std::{cmp::Reverse, collections::BTreeMap};

use thiserror::Error;

use super::{
    any::Statement,
    charter::{Charter, NetworkId},
    pass::{Claim, Invitation, MemberKind, Pass},
    removal::{Closure, Revocation},
    rights::Grant,
    slot::Slot,
    statement::{Signed, Terms},
};
use crate::{
    limits::{CLOSURES_MAX, INVITES_MAX, ROSTER_BYTES_MAX, ROSTER_STATEMENTS_MAX},
    model::{Hash, NodeId, TopicId, WallClock},
};

/// Why a verified statement does not become part of a roster. Nothing changes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NotAccepted {
    /// It is about another network.
    #[error("it is about another network")]
    OtherNetwork,
    /// Who signed it is no admin by the charter.
    #[error("its signer {0} is no admin of this network")]
    NoAdmin(NodeId),
    /// The admin may not grant as much.
    #[error("its signer {0} may not grant `{1}`")]
    TooWide(NodeId, Box<Grant>),
    /// The invitation that it uses is not known, or not any more.
    #[error("its invitation is not known")]
    UnknownInvite,
    /// There is no room.
    #[error("this network has as many {0} as it can have")]
    Full(&'static str),
}

/// Bytes of the statements that went when one came; none if that one was no news.
type Gone = Option<usize>;

fn bytes_of<T: Terms>(signed: Option<&Signed<T>>) -> usize {
    signed.map_or(0, |signed| signed.bytes().len())
}

/// All statements of a closed network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    network: NetworkId,
    charter: Signed<Charter>,
    pub(super) passes: BTreeMap<NodeId, Signed<Pass>>,
    /// By the member and the invitation.
    pub(super) claims: BTreeMap<(NodeId, NodeId), Signed<Claim>>,
    pub(super) revocations: BTreeMap<NodeId, Signed<Revocation>>,
    /// By the former writer, the topic and the hash of the closure.
    closures: BTreeMap<(NodeId, TopicId, Hash), Signed<Closure>>,
    invites: usize,
    /// Of all statements.
    bytes: usize,
}

impl Roster {
    /// The roster that has a charter alone.
    pub fn new(charter: Signed<Charter>) -> Self {
        let charter_bytes = charter.bytes().len();
        Self {
            network: charter.terms().network(),
            charter,
            passes: BTreeMap::new(),
            claims: BTreeMap::new(),
            revocations: BTreeMap::new(),
            closures: BTreeMap::new(),
            invites: 0,
            bytes: charter_bytes,
        }
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The charter.
    pub fn charter(&self) -> &Signed<Charter> {
        &self.charter
    }

    /// How many statements there are.
    #[expect(clippy::len_without_is_empty, reason = "it always has a charter")]
    pub fn len(&self) -> usize {
        let parts = [self.passes.len(), self.claims.len(), self.revocations.len()];
        1 + parts.iter().sum::<usize>() + self.closures.len()
    }

    /// All statements, in an order in which another roster accepts them.
    pub fn statements(&self) -> impl Iterator<Item = Statement> {
        let charter = std::iter::once(Statement::Charter(self.charter.clone()));
        let passes = self.passes.values().cloned().map(Statement::Pass);
        let claims = self.claims.values().cloned().map(Statement::Claim);
        let revocations = self.revocations.values().cloned().map(Statement::Revocation);
        let closures = self.closures.values().cloned().map(Statement::Closure);
        charter.chain(passes).chain(claims).chain(revocations).chain(closures)
    }

    /// Whether a statement is in it.
    pub fn has(&self, statement: &Statement) -> bool {
        let hash = match statement.slot() {
            Slot::Charter => Some(self.charter.hash()),
            Slot::Pass(subject) => self.passes.get(&subject).map(Signed::hash),
            Slot::Claim(invite, subject) => self.claims.get(&(subject, invite)).map(Signed::hash),
            Slot::Revocation(subject) => self.revocations.get(&subject).map(Signed::hash),
            Slot::Closure(writer, topic, hash) => {
                self.closures.get(&(writer, topic, hash)).map(Signed::hash)
            }
        };
        hash == Some(statement.hash())
    }

    /// Whether nothing is known yet of what a statement is about.
    pub fn is_first(&self, slot: &Slot) -> bool {
        match slot {
            Slot::Charter => false,
            Slot::Pass(subject) => !self.passes.contains_key(subject),
            Slot::Claim(invite, subject) => !self.claims.contains_key(&(*subject, *invite)),
            Slot::Revocation(subject) => !self.revocations.contains_key(subject),
            Slot::Closure(writer, topic, hash) => {
                !self.closures.contains_key(&(*writer, *topic, *hash))
            }
        }
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
        for statement in self.statements() {
            hasher.update(&[statement.kind()]).update(&statement.hash().0);
        }
        Hash(hasher.finalize().into())
    }

    // --- statements ------------------------------------------------------------------------

    /// Takes a statement in. Says whether it is news.
    ///
    /// # Errors
    /// When the charter does not allow it, or there is no room. Nothing has changed then.
    pub fn insert(&mut self, statement: Statement) -> Result<bool, NotAccepted> {
        if statement.network() != self.network {
            return Err(NotAccepted::OtherNetwork);
        }
        let bytes = statement.bytes().len();
        let gone = match statement {
            Statement::Charter(charter) => return Ok(self.insert_charter(charter)),
            Statement::Pass(pass) => self.insert_pass(pass)?,
            Statement::Claim(claim) => self.insert_claim(claim)?,
            Statement::Revocation(revocation) => self.insert_revocation(revocation)?,
            Statement::Closure(closure) => self.insert_closure(closure)?,
        };
        if let Some(gone) = gone {
            self.bytes = self.bytes + bytes - gone;
        }
        Ok(gone.is_some())
    }

    fn insert_charter(&mut self, charter: Signed<Charter>) -> bool {
        let is_news = charter.supersedes(&self.charter);
        if is_news {
            self.charter = charter;
            self.drop_what_is_not_allowed();
            self.bytes = self.statements().map(|statement| statement.bytes().len()).sum();
        }
        is_news
    }

    fn insert_pass(&mut self, pass: Signed<Pass>) -> Result<Gone, NotAccepted> {
        self.check_pass(pass.terms())?;
        let subject = pass.terms().subject;
        match self.passes.get(&subject) {
            Some(known) if !pass.supersedes(known) => return Ok(None),
            Some(_) => {}
            None => self.check_room()?,
        }
        let is_invite = |pass: &Signed<Pass>| usize::from(pass.terms().kind == MemberKind::Invite);
        let invites = self.passes.get(&subject).map_or(0, is_invite);
        if is_invite(&pass) > invites && self.invites >= INVITES_MAX {
            return Err(NotAccepted::Full("invitations"));
        }
        self.invites = self.invites - invites + is_invite(&pass);
        let before = self.passes.insert(subject, pass);
        Ok(Some(bytes_of(before.as_ref()) + self.drop_claims_without_invites()))
    }

    fn insert_claim(&mut self, claim: Signed<Claim>) -> Result<Gone, NotAccepted> {
        let (subject, invite) = (claim.terms().subject, claim.terms().invite);
        self.invitation(&invite).ok_or(NotAccepted::UnknownInvite)?;
        match self.claims.get(&(subject, invite)) {
            Some(known) if claim.hash() >= known.hash() => return Ok(None),
            Some(_) => {}
            None => self.check_room()?,
        }
        let before = self.claims.insert((subject, invite), claim);
        Ok(Some(bytes_of(before.as_ref())))
    }

    fn insert_revocation(&mut self, revocation: Signed<Revocation>) -> Result<Gone, NotAccepted> {
        self.check_issuer(revocation.terms().issuer)?;
        let subject = revocation.terms().subject;
        let known = self.revocations.get(&subject);
        if known.is_some_and(|known| !revocation.supersedes(known)) {
            return Ok(None);
        }
        // A member can be removed however full the roster is.
        let is_member = self.passes.contains_key(&subject) || self.is_claimed(&subject);
        if known.is_none() && !is_member {
            self.check_room()?;
        }
        let before = self.revocations.insert(subject, revocation);
        Ok(Some(bytes_of(before.as_ref())))
    }

    /// Of many closures of one writer and topic, those with the highest ranks stay.
    fn insert_closure(&mut self, closure: Signed<Closure>) -> Result<Gone, NotAccepted> {
        self.check_issuer(closure.terms().issuer)?;
        let (writer, topic, hash) = (closure.terms().writer, closure.terms().topic, closure.hash());
        if self.closures.contains_key(&(writer, topic, hash)) {
            return Ok(None);
        }
        let rank = |it: &Signed<Closure>| {
            let records: u64 = it.terms().cuts.values().map(|cut| cut.next).sum();
            (it.terms().turn, records, Reverse(it.hash()))
        };
        let others: Vec<_> = self.closures_of(&writer, &topic).map(rank).collect();
        let mut gone = 0;
        if others.len() < CLOSURES_MAX {
            self.check_room()?;
        } else if let Some(least) = others.into_iter().min() {
            if rank(&closure) < least {
                return Ok(None);
            }
            let (_, _, Reverse(least)) = least;
            gone = bytes_of(self.closures.remove(&(writer, topic, least)).as_ref());
        }
        self.closures.insert((writer, topic, hash), closure);
        Ok(Some(gone))
    }

    // --- what the charter allows -----------------------------------------------------------

    fn check_issuer(&self, issuer: NodeId) -> Result<(), NotAccepted> {
        self.charter.terms().scope_of(&issuer).map(|_| ()).ok_or(NotAccepted::NoAdmin(issuer))
    }

    fn check_pass(&self, pass: &Pass) -> Result<(), NotAccepted> {
        let scope = self.charter.terms().scope_of(&pass.issuer);
        let scope = scope.ok_or(NotAccepted::NoAdmin(pass.issuer))?;
        let kind = pass.invitation.map_or(pass.kind, |invitation| invitation.admits);
        let wide = self.grants(&pass.grants, kind).iter().find(|it| !scope.covers(&it.topics));
        match wide {
            Some(grant) => Err(NotAccepted::TooWide(pass.issuer, Box::new(grant.clone()))),
            None => Ok(()),
        }
    }

    /// Grants, or what the charter grants.
    pub(super) fn grants<'a>(&'a self, grants: &'a [Grant], kind: MemberKind) -> &'a [Grant] {
        match kind {
            _ if !grants.is_empty() => grants,
            MemberKind::Node => &self.charter.terms().of_nodes,
            MemberKind::Client => &self.charter.terms().of_clients,
            MemberKind::Invite | MemberKind::Former => &[],
        }
    }

    /// There is another charter: what it does not allow goes, as if it had never come.
    fn drop_what_is_not_allowed(&mut self) {
        let passes = std::mem::take(&mut self.passes);
        let (kept, _gone) =
            passes.into_iter().partition(|(_, pass)| self.check_pass(pass.terms()).is_ok());
        self.passes = kept;
        self.invites =
            self.passes.values().filter(|it| it.terms().kind == MemberKind::Invite).count();
        let charter = self.charter.terms();
        let is_admin = |issuer: &NodeId| charter.scope_of(issuer).is_some();
        self.revocations.retain(|_, it| is_admin(&it.terms().issuer));
        self.closures.retain(|_, it| is_admin(&it.terms().issuer));
        self.drop_claims_without_invites();
    }

    /// Returns how many bytes went.
    fn drop_claims_without_invites(&mut self) -> usize {
        let mut gone = 0;
        let passes = &self.passes;
        self.claims.retain(|(_, invite), claim| {
            let is_kept = invitation_in(passes, invite).is_some();
            gone += if is_kept { 0 } else { claim.bytes().len() };
            is_kept
        });
        gone
    }

    fn check_room(&self) -> Result<(), NotAccepted> {
        let has_room = self.len() < ROSTER_STATEMENTS_MAX && self.bytes < ROSTER_BYTES_MAX;
        if has_room { Ok(()) } else { Err(NotAccepted::Full("statements")) }
    }

    // --- what is in it ----------------------------------------------------------------------

    /// The invitation with this key, revoked or not.
    pub fn invitation(&self, invite: &NodeId) -> Option<(&Signed<Pass>, Invitation)> {
        invitation_in(&self.passes, invite)
    }

    pub(super) fn is_claimed(&self, subject: &NodeId) -> bool {
        self.claims_of(subject).next().is_some()
    }

    pub(super) fn claims_of(&self, subject: &NodeId) -> impl Iterator<Item = &Signed<Claim>> {
        let first = NodeId::from_bytes([0; 32]);
        let last = NodeId::from_bytes([u8::MAX; 32]);
        self.claims.range((*subject, first)..=(*subject, last)).map(|(_, claim)| claim)
    }

    pub(super) fn closures_of(
        &self,
        writer: &NodeId,
        topic: &TopicId,
    ) -> impl Iterator<Item = &Signed<Closure>> {
        let (first, last) = (Hash([0; 32]), Hash([u8::MAX; 32]));
        let range = (*writer, *topic, first)..=(*writer, *topic, last);
        self.closures.range(range).map(|(_, closure)| closure)
    }

    /// Everybody that has a pass or a claim, or was removed, in order of the keys.
    pub fn subjects(&self) -> impl Iterator<Item = NodeId> {
        let claimed = self.claims.keys().map(|(subject, _)| *subject);
        let all = self.passes.keys().chain(self.revocations.keys()).copied().chain(claimed);
        all.collect::<std::collections::BTreeSet<_>>().into_iter()
    }
}

fn invitation_in<'a>(
    passes: &'a BTreeMap<NodeId, Signed<Pass>>,
    invite: &NodeId,
) -> Option<(&'a Signed<Pass>, Invitation)> {
    let pass = passes.get(invite)?;
    pass.terms().invitation.map(|invitation| (pass, invitation))
}
