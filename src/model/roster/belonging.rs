//! Who belongs to a network by its roster, and what its writers' logs count for.

use std::cmp::Reverse;

use thiserror::Error;

use super::{
    pass::{Claim, MemberKind, Pass},
    removal::{Cut, Revocation},
    rights::{Grant, Rights},
    set::Roster,
    statement::Signed,
};
use crate::model::{LogId, NodeId, TopicId, TopicName, WallClock};

/// Why somebody does not belong to a network now.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Excluded {
    /// There is no pass for it.
    #[error("it has no pass")]
    Unknown,
    /// It was removed.
    #[error("it was removed")]
    Revoked {
        /// Why, as the admin said.
        reason: String,
        /// When.
        issued: WallClock,
    },
    /// Its pass has ended.
    #[error("its pass has ended")]
    Expired(WallClock),
    /// It is a former writer, whose records count, or the key of an invitation.
    #[error("its key belongs to no member")]
    NoMember,
}

/// Why a newcomer cannot use an invitation now.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TicketRefused {
    /// The invitation is not known.
    #[error("the invitation is not known")]
    Unknown,
    /// It was withdrawn.
    #[error("the invitation was withdrawn")]
    Revoked,
    /// It has ended.
    #[error("the invitation has ended")]
    Expired(WallClock),
    /// Others have used it, the last of them this one.
    #[error("the invitation is used up")]
    UsedUp(String),
    /// The newcomer was a member, and was removed.
    #[error("it was removed")]
    Removed,
}

/// How somebody became a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// An admin signed a pass.
    By(NodeId),
    /// By an invitation with this key.
    Invited(NodeId),
}

/// A member, as the roster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// A node or a client.
    pub kind: MemberKind,
    /// Its name for people.
    pub label: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// How often it was admitted again.
    pub turn: u32,
    /// When its pass ends; never if this is none.
    pub expires: Option<WallClock>,
    /// How it became a member.
    pub admitted: Admitted,
}

impl Membership {
    fn holds(&self, now: WallClock) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// What the batches of a log count for in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its writer is a node that may write to the topic.
    Writes,
    /// Its writer is gone. What lies before the cut counts, and nothing else.
    Closed(Cut),
    /// Its writer is no member any more, and nobody has said yet where the log ends.
    Frozen,
    /// Its writer never was a member, or has no right to write there.
    Stranger,
}

impl Roster {
    /// Up to which turn passes of a key have ended.
    fn revocation(&self, subject: &NodeId) -> Option<&Revocation> {
        self.revocations.best(subject).map(Signed::terms)
    }

    fn is_revoked(&self, subject: &NodeId, turn: u32) -> bool {
        self.revocation(subject).is_some_and(|revocation| revocation.turn >= turn)
    }

    /// What somebody is in this network now.
    ///
    /// # Errors
    /// When it does not belong to it.
    pub fn member(&self, subject: &NodeId, now: WallClock) -> Result<Membership, Excluded> {
        let revocation = self.revocation(subject);
        let pass = self.passes.best(subject).map(Signed::terms);
        let pass = pass.filter(|pass| !self.is_revoked(subject, pass.turn));
        let own = pass.map(|pass| self.by_pass(pass)).transpose()?;
        // A ticket that it used after an admin signed its pass may last longer.
        let claimed = self.by_claims(subject, pass.map(|pass| pass.issued));
        let best = match (own, claimed.filter(|_| revocation.is_none())) {
            (Some(own), Some(claimed)) if !own.holds(now) && claimed.holds(now) => Some(claimed),
            (None, claimed) => claimed,
            (own, _) => own,
        };
        let Some(best) = best else {
            return Err(match revocation {
                Some(Revocation { reason, issued, .. }) => {
                    Excluded::Revoked { reason: reason.clone(), issued: *issued }
                }
                None => Excluded::Unknown,
            });
        };
        match best.expires {
            Some(expires) if expires <= now => Err(Excluded::Expired(expires)),
            _ => Ok(best),
        }
    }

    /// What a pass makes of its subject.
    fn by_pass(&self, pass: &Pass) -> Result<Membership, Excluded> {
        match pass.kind {
            MemberKind::Node | MemberKind::Client => Ok(Membership {
                kind: pass.kind,
                label: pass.label.clone(),
                grants: self.grants(&pass.grants, pass.kind).to_vec(),
                turn: pass.turn,
                expires: pass.expires,
                admitted: Admitted::By(pass.issuer),
            }),
            MemberKind::Invite | MemberKind::Former => Err(Excluded::NoMember),
        }
    }

    /// What the claims of a newcomer make of it, on invitations signed after a time: that which
    /// lasts longest, and of two equal ones that with the smaller key.
    fn by_claims(&self, subject: &NodeId, since: Option<WallClock>) -> Option<Membership> {
        let is_later = |claim: &&Signed<Claim>| {
            let invitation = self.invitation(&claim.terms().invite);
            invitation.is_some_and(|(pass, _)| Some(pass.terms().issued) > since)
        };
        let claims = self.claims_of(subject).filter(is_later);
        let all = claims.filter_map(|claim| self.by_claim(claim.terms()));
        all.min_by_key(|it| Reverse(it.expires.unwrap_or(WallClock(u64::MAX))))
    }

    /// What a claim makes of its newcomer; none if its invitation was withdrawn.
    fn by_claim(&self, claim: &Claim) -> Option<Membership> {
        let (pass, invitation) = self.invitation(&claim.invite)?;
        let pass = pass.terms();
        let is_valid = !self.is_revoked(&claim.invite, pass.turn);
        is_valid.then(|| Membership {
            kind: invitation.admits,
            // The admin's name for it, if the ticket is for one alone, or else its own.
            label: match &pass.label {
                name if invitation.uses == 1 && !name.is_empty() => name.clone(),
                _ => claim.label.clone(),
            },
            grants: self.grants(&pass.grants, invitation.admits).to_vec(),
            turn: 0,
            expires: invitation.until,
            admitted: Admitted::Invited(claim.invite),
        })
    }

    /// Whether a newcomer may use its invitation now. Those that have used it before may come
    /// again.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_claim(&self, claim: &Claim, now: WallClock) -> Result<(), TicketRefused> {
        if self.revocation(&claim.subject).is_some() {
            return Err(TicketRefused::Removed);
        }
        let invitation = self.invitation(&claim.invite);
        let (pass, invitation) = invitation.ok_or(TicketRefused::Unknown)?;
        if self.is_revoked(&claim.invite, pass.terms().turn) {
            return Err(TicketRefused::Revoked);
        }
        if self.claims.get(&claim.subject, &claim.invite).is_some() {
            return Ok(());
        }
        if let Some(expires) = pass.terms().expires.filter(|expires| *expires <= now) {
            return Err(TicketRefused::Expired(expires));
        }
        let used = self.claims_by(&claim.invite);
        match used.last() {
            Some(last) if used.len() >= invitation.uses as usize => {
                Err(TicketRefused::UsedUp(last.label.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Who has used an invitation.
    pub fn claims_by(&self, invite: &NodeId) -> Vec<&Claim> {
        self.claims.on(invite).map(Signed::terms).collect()
    }

    /// Where a log ends that a closure names: there, for ever. Of several closures the one that
    /// lets most count holds.
    pub fn cut(&self, topic: &TopicId, log: &LogId) -> Option<Cut> {
        let closures = self.closures_of(&log.writer, topic).map(Signed::terms);
        let named = closures.filter_map(|closure| closure.cuts.get(&log.incarnation).copied());
        named.max_by_key(|cut| (cut.next, Reverse(cut.head)))
    }

    /// Whether the logs of a writer are closed that no closure names. Who is admitted again has a
    /// higher turn.
    fn is_closed(&self, topic: &TopicId, writer: &NodeId) -> bool {
        let turn = self.passes.best(writer).map_or(0, |pass| pass.terms().turn);
        self.closures_of(writer, topic).any(|closure| turn <= closure.terms().turn)
    }

    /// What a batch of a writer counts for in a topic.
    pub fn writer(&self, topic: (&TopicId, &TopicName), log: &LogId, now: WallClock) -> Standing {
        if let Some(cut) = self.cut(topic.0, log) {
            return Standing::Closed(cut);
        }
        let without = match self.member(&log.writer, now) {
            Ok(member) => {
                let may = |grant: &Grant| grant.gives(Rights::WRITE, topic.1);
                if member.kind == MemberKind::Node && member.grants.iter().any(may) {
                    return Standing::Writes;
                }
                Standing::Stranger
            }
            // What it wrote while it was a member counts.
            Err(Excluded::Revoked { .. } | Excluded::NoMember | Excluded::Expired(_)) => {
                Standing::Frozen
            }
            // The ticket that it came by was withdrawn.
            Err(Excluded::Unknown) if self.is_claimed(&log.writer) => Standing::Frozen,
            Err(Excluded::Unknown) => Standing::Stranger,
        };
        if self.is_closed(topic.0, &log.writer) {
            // Nobody knew of this log when the others were closed.
            return Standing::Closed(Cut { next: 0, head: None });
        }
        without
    }
}
