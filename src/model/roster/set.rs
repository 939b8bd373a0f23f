//! The roster: all statements of a closed network, and who belongs to it by them.
//!
//! It is a set. Of each member it keeps one pass and one revocation of each admin: the newest. The
//! best of all admins' holds. Of each invitation it keeps as many claims as may use it, and of each
//! topic and former writer a few closures. So nodes that have heard the same statements agree, in
//! whatever order they came. What its charter does not allow is not in it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use thiserror::Error;

use super::{
    any::Statement,
    charter::{Charter, NetworkId},
    claims::Claims,
    pass::{Claim, Invitation, MemberKind, Pass},
    removal::{Closure, Revocation},
    rights::Grant,
    signed_by::SignedBy,
    statement::{Signed, Terms},
};
use crate::{
    limits::{
        CLAIMS_BEYOND_USES_MAX, CLOSURES_MAX, INVITES_MAX, ROSTER_BYTES_MAX, ROSTER_STATEMENTS_MAX,
    },
    model::{Hash, NodeId, TopicId},
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

fn bytes_of<T: Terms>(signed: Option<&Signed<T>>) -> usize {
    signed.map_or(0, |signed| signed.bytes().len())
}

/// All statements of a closed network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    network: NetworkId,
    charter: Signed<Charter>,
    pub(super) passes: SignedBy<Pass>,
    pub(super) claims: Claims,
    pub(super) revocations: SignedBy<Revocation>,
    /// By the former writer, the topic and the hash of the closure.
    pub(super) closures: BTreeMap<(NodeId, TopicId, Hash), Signed<Closure>>,
    invites: usize,
    /// Of all statements.
    bytes: usize,
    /// What an excerpt lacks of the whole roster.
    pub(super) beyond: Size,
}

/// How much there is of what has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    statements: usize,
    invites: usize,
    bytes: usize,
}

impl std::ops::Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            statements: self.statements + other.statements,
            invites: self.invites + other.invites,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl std::ops::Sub for Size {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            statements: self.statements.saturating_sub(other.statements),
            invites: self.invites.saturating_sub(other.invites),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Roster {
    /// The roster that has a charter alone.
    pub fn new(charter: Signed<Charter>) -> Self {
        let charter_bytes = charter.bytes().len();
        Self {
            network: charter.terms().network(),
            charter,
            passes: SignedBy::default(),
            claims: Claims::default(),
            revocations: SignedBy::default(),
            closures: BTreeMap::new(),
            invites: 0,
            bytes: charter_bytes,
            beyond: Size::default(),
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

    /// Bytes of all statements.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    // --- statements ------------------------------------------------------------------------

    /// Takes a statement in. Says whether it is news.
    ///
    /// # Errors
    /// When the charter does not allow it, or there is no room. Nothing has changed then.
    pub fn insert(&mut self, statement: Statement) -> Result<bool, NotAccepted> {
        let is_news = self.check(&statement)?;
        if is_news {
            self.put(statement);
        }
        Ok(is_news)
    }

    /// Whether a statement would be news. Nothing changes, and nothing is copied.
    ///
    /// # Errors
    /// When the charter does not allow it, or there is no room.
    pub fn check(&self, statement: &Statement) -> Result<bool, NotAccepted> {
        if statement.network() != self.network {
            return Err(NotAccepted::OtherNetwork);
        }
        match statement {
            Statement::Charter(charter) => Ok(charter.supersedes(&self.charter)),
            Statement::Pass(pass) => self.check_new_pass(pass),
            Statement::Claim(claim) => self.check_claim(claim),
            Statement::Revocation(revocation) => self.check_revocation(revocation),
            Statement::Closure(closure) => self.check_closure(closure),
        }
    }

    fn check_new_pass(&self, pass: &Signed<Pass>) -> Result<bool, NotAccepted> {
        self.check_pass(pass.terms())?;
        let known = self.passes.before(pass);
        match known {
            Some(known) if !pass.supersedes(known) => return Ok(false),
            Some(_) => {}
            None => self.check_room()?,
        }
        if is_invite(pass) && !known.is_some_and(is_invite) && !self.has_room_for_invitation() {
            return Err(NotAccepted::Full("invitations"));
        }
        Ok(true)
    }

    fn check_claim(&self, claim: &Signed<Claim>) -> Result<bool, NotAccepted> {
        let (subject, invite) = (claim.terms().subject, claim.terms().invite);
        let (_, invitation) = self.invitation(&invite).ok_or(NotAccepted::UnknownInvite)?;
        let is_news = self.claims.takes(claim, most_claims(invitation));
        if is_news && self.claims.get(&subject, &invite).is_none() {
            self.check_room()?;
        }
        Ok(is_news)
    }

    fn check_revocation(&self, revocation: &Signed<Revocation>) -> Result<bool, NotAccepted> {
        self.check_issuer(revocation.terms().issuer)?;
        let subject = revocation.terms().subject;
        let known = self.revocations.before(revocation);
        if known.is_some_and(|known| !revocation.supersedes(known)) {
            return Ok(false);
        }
        // A member can be removed however full the roster is.
        let is_member = self.passes.best(&subject).is_some() || self.is_claimed(&subject);
        let removes = is_member && self.revocations.best(&subject).is_none();
        if known.is_none() && !removes {
            self.check_room()?;
        }
        Ok(true)
    }

    /// Of many closures of one writer and topic, those with the highest ranks stay.
    fn check_closure(&self, closure: &Signed<Closure>) -> Result<bool, NotAccepted> {
        self.check_issuer(closure.terms().issuer)?;
        let (writer, topic) = (closure.terms().writer, closure.terms().topic);
        if self.closures.contains_key(&(writer, topic, closure.hash())) {
            return Ok(false);
        }
        if let Some(least) = self.closure_that_gives_way(&writer, &topic) {
            return Ok(rank_of(closure) > least);
        }
        self.check_room().map(|()| true)
    }

    /// Puts a statement in that is news, in place of those that give way.
    fn put(&mut self, statement: Statement) {
        let bytes = statement.bytes().len();
        let gone = match statement {
            Statement::Charter(charter) => return self.put_charter(charter),
            Statement::Pass(pass) => self.put_pass(pass),
            Statement::Claim(claim) => self.put_claim(claim),
            Statement::Revocation(revocation) => {
                bytes_of(self.revocations.put(revocation).as_ref())
            }
            Statement::Closure(closure) => self.put_closure(closure),
        };
        self.bytes = self.bytes + bytes - gone;
    }

    fn put_charter(&mut self, charter: Signed<Charter>) {
        self.charter = charter;
        self.drop_what_is_not_allowed();
        self.bytes = self.statements().map(|statement| statement.bytes().len()).sum();
    }

    /// Returns the bytes of what went, as do the others.
    fn put_pass(&mut self, pass: Signed<Pass>) -> usize {
        let subject = pass.terms().subject;
        self.invites += usize::from(is_invite(&pass));
        let before = self.passes.put(pass);
        self.invites -= usize::from(before.as_ref().is_some_and(is_invite));
        bytes_of(before.as_ref()) + self.trim_claims(&subject)
    }

    fn put_claim(&mut self, claim: Signed<Claim>) -> usize {
        let invite = claim.terms().invite;
        self.claims.put(claim) + self.trim_claims(&invite)
    }

    fn put_closure(&mut self, closure: Signed<Closure>) -> usize {
        let (writer, topic, hash) = (closure.terms().writer, closure.terms().topic, closure.hash());
        let least = self.closure_that_gives_way(&writer, &topic);
        let gone =
            least.and_then(|(_, _, Reverse(least))| self.closures.remove(&(writer, topic, least)));
        self.closures.insert((writer, topic, hash), closure);
        bytes_of(gone.as_ref())
    }

    /// The rank of the closure that gives way to a higher one; none if there is room for one more.
    fn closure_that_gives_way(&self, writer: &NodeId, topic: &TopicId) -> Option<ClosureRank> {
        let ranks = || self.closures_of(writer, topic).map(rank_of);
        if ranks().count() < CLOSURES_MAX { None } else { ranks().min() }
    }

    /// Of the claims on a key those go that it does not admit. Returns their bytes.
    fn trim_claims(&mut self, invite: &NodeId) -> usize {
        let most = self.invitation(invite).map_or(0, |(_, invitation)| most_claims(invitation));
        self.claims.trim(invite, most)
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
        let mut passes = std::mem::take(&mut self.passes);
        passes.retain(|pass| self.check_pass(pass.terms()).is_ok());
        self.passes = passes;
        self.invites = self.passes.values().filter(|pass| is_invite(pass)).count();
        let charter = self.charter.terms();
        let is_admin = |issuer: &NodeId| charter.scope_of(issuer).is_some();
        self.revocations.retain(|it| is_admin(&it.terms().issuer));
        self.closures.retain(|_, it| is_admin(&it.terms().issuer));
        let all = NodeId::from_bytes([0; 32])..=NodeId::from_bytes([u8::MAX; 32]);
        for invite in self.claims.invites(all).collect::<Vec<_>>() {
            self.trim_claims(&invite);
        }
    }

    /// Whether a network has room for one invitation more.
    pub fn has_room_for_invitation(&self) -> bool {
        self.size().invites < INVITES_MAX && self.check_room().is_ok()
    }

    fn check_room(&self) -> Result<(), NotAccepted> {
        let Size { statements, bytes, .. } = self.size();
        let has_room = statements < ROSTER_STATEMENTS_MAX && bytes < ROSTER_BYTES_MAX;
        if has_room { Ok(()) } else { Err(NotAccepted::Full("statements")) }
    }

    /// How much there is, with what an excerpt lacks.
    pub(super) fn size(&self) -> Size {
        let here = Size { statements: self.len(), invites: self.invites, bytes: self.bytes };
        here + self.beyond
    }

    // --- what is in it ----------------------------------------------------------------------

    /// The invitation with this key, revoked or not.
    pub fn invitation(&self, invite: &NodeId) -> Option<(&Signed<Pass>, Invitation)> {
        let pass = self.passes.best(invite)?;
        pass.terms().invitation.map(|invitation| (pass, invitation))
    }

    /// The topics in which an admin has said where the logs of a writer end.
    pub fn closed_topics(&self, writer: &NodeId) -> impl Iterator<Item = TopicId> {
        let hash = |byte| Hash([byte; 32]);
        let id = |byte| TopicId::from_bytes([byte; 32]);
        let range = (*writer, id(0), hash(0))..=(*writer, id(u8::MAX), hash(u8::MAX));
        let topics: BTreeSet<_> = self.closures.range(range).map(|((_, it, _), _)| *it).collect();
        topics.into_iter()
    }

    pub(super) fn is_claimed(&self, subject: &NodeId) -> bool {
        self.claims_of(subject).next().is_some()
    }

    pub(super) fn claims_of(&self, subject: &NodeId) -> impl Iterator<Item = &Signed<Claim>> {
        self.claims.of(subject)
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
}

fn is_invite(pass: &Signed<Pass>) -> bool {
    pass.terms().kind == MemberKind::Invite
}

/// How many claims on an invitation a roster keeps. Two halves of a network may both let somebody
/// in by it, and both stay.
fn most_claims(invitation: Invitation) -> usize {
    (invitation.uses as usize).saturating_add(CLAIMS_BEYOND_USES_MAX)
}

/// The turn, the records that count, and of two equal ones the smaller hash.
type ClosureRank = (u32, u64, Reverse<Hash>);

fn rank_of(closure: &Signed<Closure>) -> ClosureRank {
    let records: u64 = closure.terms().cuts.values().map(|cut| cut.next).sum();
    (closure.terms().turn, records, Reverse(closure.hash()))
}
