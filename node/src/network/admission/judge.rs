//! Decides who gets in, by the roster and by what somebody shows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon::{
    limits::ROSTER_CLOCK_TOLERANCE,
    model::{
        Blob, Hash, NodeId, WallClock,
        roster::{
            Charter, Claim, Credentials, Door, Excluded, MemberKind, NotAccepted, Pass, Roster,
            Signed, Statement, StatementError, Terms, TicketRefused,
        },
    },
    wire::{Greeting, Hello, NotAdmitted, Refused},
};
use libp2p::PeerId;

use super::{Closed, Gate, fresh::Fresh};
use crate::{network::translate::node_of, platform::clock::Clock};

/// Decides who gets in. It verifies at most four signatures of a peer, and none of one that the
/// roster knows.
#[derive(Debug)]
pub(in crate::network) struct Judge {
    door: Door,
    own: Option<Credentials>,
    operator: Option<NodeId>,
    gate: Option<Gate>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The newest charter that was seen.
    charter: Signed<Charter>,
    fresh: Fresh,
    /// The digest of the roster that was current when a hello was last said.
    digest: Option<(Arc<Roster>, Hash)>,
    /// When the next refusal may be reported.
    next_report: Duration,
    /// How many were not reported.
    unsaid: u64,
}

/// Refusals that are reported: one in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What somebody shows, verified.
struct Shown {
    pass: Signed<Pass>,
    claim: Option<Signed<Claim>>,
}

impl Judge {
    /// A judge of a network. The operator of a node gets in by its key.
    pub(in crate::network) fn new(closed: Closed, operator: Option<NodeId>) -> Self {
        let Closed { charter, door, own, node } = closed;
        let state = State {
            charter,
            fresh: Fresh::default(),
            digest: None,
            next_report: Duration::ZERO,
            unsaid: 0,
        };
        let (clock, state) = (Clock::start(), Mutex::new(state));
        Self { door, own, operator, gate: node, clock, state }
    }

    /// What both ends put before the handshake.
    pub(in crate::network) fn prologue(&self) -> Vec<u8> {
        self.door.prologue(&self.locked().charter.terms().network())
    }

    /// What this program says first.
    pub(in crate::network) fn greeting(&self) -> Hello {
        let blob = |bytes: &bytes::Bytes| Some(Blob(bytes.clone()));
        let roster = self.roster();
        let mut state = self.locked();
        let mut greeting = Greeting { wall: self.clock.now().wall, ..Greeting::default() };
        if let Some(roster) = &roster {
            greeting.roster = Some(state.digest_of(roster));
            if roster.charter().supersedes(&state.charter) {
                state.charter = roster.charter().clone();
            }
        }
        greeting.charter = blob(state.charter.bytes());
        if let Some(own) = &self.own {
            // An admin may have signed a later one.
            let renewed = roster.as_ref().and_then(|roster| roster.pass(&own.subject()));
            let is_later =
                |pass: &&Signed<Pass>| own.claim().is_some() || pass.supersedes(own.pass());
            if let Some(pass) = renewed.filter(is_later) {
                greeting.pass = blob(pass.bytes());
            } else {
                greeting.pass = blob(own.pass().bytes());
                greeting.claim = own.claim().and_then(|claim| blob(claim.bytes()));
            }
        }
        Hello::Greeting(greeting)
    }

    /// Decides on a peer whose key Noise has authenticated.
    pub(in crate::network) fn judge(
        &self,
        peer: &PeerId,
        greeting: &Greeting,
    ) -> Result<(), Refused> {
        let subject = node_of(peer).ok_or(NotAdmitted::Unknown)?;
        if self.operator == Some(subject) {
            return Ok(());
        }
        let charter = self.charter_shown(greeting)?;
        let known = self.known(&subject, charter.as_ref(), None).member(&subject, self.lenient());
        let shown = match known {
            Ok(member) if self.admits(member.kind) => None,
            Ok(_) => return Err(NotAdmitted::Unknown.into()),
            Err(why) => match verify_shown(greeting)? {
                Some(shown) => Some(shown),
                None => return Err(self.excluded(why, greeting.wall)),
            },
        };
        self.let_in(&subject, charter, shown, greeting.wall)
    }

    /// Whether a peer is a member that is a node.
    pub(in crate::network) fn is_node(&self, peer: &PeerId) -> bool {
        let Some(subject) = node_of(peer) else { return false };
        let member = self.known(&subject, None, None).member(&subject, self.lenient());
        member.is_ok_and(|member| member.kind == MemberKind::Node)
    }

    /// Reports that a peer was not let in.
    pub(super) fn complain(&self, peer: &PeerId, refused: &Refused) {
        let now = self.clock.now().elapsed;
        let mut state = self.locked();
        if now < state.next_report {
            state.unsaid += 1;
            return;
        }
        state.next_report = now + REPORT_INTERVAL;
        let more = match std::mem::take(&mut state.unsaid) {
            0 => String::new(),
            unsaid => format!("; nor were {unsaid} before it"),
        };
        tracing::warn!("peer {peer} was not let in: {refused}{more}");
    }

    // --- steps ------------------------------------------------------------------------------

    /// The charter that a peer shows, if it is newer than all that were seen.
    fn charter_shown(&self, greeting: &Greeting) -> Result<Option<Signed<Charter>>, Refused> {
        let known = self.locked().charter.clone();
        let Some(Blob(bytes)) = &greeting.charter else { return Ok(None) };
        if bytes == known.bytes() {
            return Ok(None);
        }
        let charter = match Signed::<Charter>::verify(bytes.clone()) {
            Ok(charter) => charter,
            // A newer program may know what this one does not; its pass still counts.
            Err(StatementError::Version(_)) => return Ok(None),
            Err(_) => return Err(NotAdmitted::Unknown.into()),
        };
        if charter.terms().network() != known.terms().network() {
            return Err(NotAdmitted::OtherNetwork.into());
        }
        Ok(charter.supersedes(&known).then_some(charter))
    }

    /// What is known of a key, and of one invitation, as a roster.
    fn known(
        &self,
        subject: &NodeId,
        charter: Option<&Signed<Charter>>,
        invite: Option<&NodeId>,
    ) -> Roster {
        self.known_by(&mut self.locked(), subject, charter, invite)
    }

    fn known_by(
        &self,
        state: &mut State,
        subject: &NodeId,
        charter: Option<&Signed<Charter>>,
        invite: Option<&NodeId>,
    ) -> Roster {
        let roster = self.roster();
        state.fresh.tidy(roster.as_deref(), self.clock.now().elapsed);
        let mut known = match &roster {
            Some(roster) => roster.excerpt(subject, invite),
            None => Roster::new(state.charter.clone()),
        };
        let own = self.own.as_ref().filter(|_| roster.is_none()).map(Credentials::statements);
        let charters = [Some(state.charter.clone()), charter.cloned()];
        let charters = charters.into_iter().flatten().map(Statement::Charter);
        for statement in charters.chain(own.into_iter().flatten()) {
            // What a newer charter does not allow counts for nothing.
            let _refused = known.insert(statement);
        }
        state.fresh.add_to(&mut known, subject, invite);
        known
    }

    /// Lets a peer in that the roster has, or that shows why. What is news is handed on.
    fn let_in(
        &self,
        subject: &NodeId,
        charter: Option<Signed<Charter>>,
        shown: Option<Shown>,
        wall: WallClock,
    ) -> Result<(), Refused> {
        // Two that show the same ticket at the same moment come one after the other.
        let mut state = self.locked();
        let mut news: Vec<_> = charter.iter().cloned().map(Statement::Charter).collect();
        if let Some(Shown { pass, claim }) = shown {
            let invite = claim.as_ref().map(|claim| claim.terms().invite);
            let mut known = self.known_by(&mut state, subject, charter.as_ref(), invite.as_ref());
            let own = check_subject(&pass, claim.as_ref(), subject)?;
            known.insert(Statement::Pass(pass)).map_err(|why| not_accepted(&why))?;
            if let Some(claim) = claim {
                let may = known.may_claim(claim.terms(), self.lenient());
                may.map_err(|why| self.ticket_refused(why, wall))?;
                known.insert(Statement::Claim(claim)).map_err(|why| not_accepted(&why))?;
            }
            let member = known.member(subject, self.lenient());
            let member = member.map_err(|why| self.excluded(why, wall))?;
            if !self.admits(member.kind) {
                return Err(NotAdmitted::Unknown.into());
            }
            if state.fresh.is_full(subject) {
                return Err(NotAdmitted::Full.into());
            }
            news.extend(own.iter().cloned());
            self.hand_on(news)?;
            let now = self.clock.now().elapsed;
            state.fresh.note(*subject, own, now);
        } else if !news.is_empty() {
            self.hand_on(news)?;
        }
        if let Some(charter) = charter.filter(|charter| charter.supersedes(&state.charter)) {
            state.charter = charter;
        }
        Ok(())
    }

    /// Gives the engine what it does not know. If it is behind, newcomers try again.
    fn hand_on(&self, news: Vec<Statement>) -> Result<(), Refused> {
        match &self.gate {
            Some(gate) => gate.admitted.try_send(news).map_err(|_full| NotAdmitted::Full.into()),
            None => Ok(()),
        }
    }

    /// A client lets in nodes alone.
    fn admits(&self, kind: MemberKind) -> bool {
        match kind {
            MemberKind::Node => true,
            MemberKind::Client => self.gate.is_some(),
            MemberKind::Invite | MemberKind::Former => false,
        }
    }

    fn roster(&self) -> Option<Arc<Roster>> {
        self.gate.as_ref().map(|gate| Arc::clone(&gate.roster.borrow()))
    }

    /// The time by which a pass has ended for certain.
    fn lenient(&self) -> WallClock {
        WallClock(self.clock.now().wall.0.saturating_sub(millis(ROSTER_CLOCK_TOLERANCE)))
    }

    fn ended(&self, wall: WallClock) -> Refused {
        let differ = self.clock.now().wall.0.abs_diff(wall.0) > millis(ROSTER_CLOCK_TOLERANCE);
        if differ { NotAdmitted::Clock.into() } else { NotAdmitted::Expired.into() }
    }

    fn excluded(&self, why: Excluded, wall: WallClock) -> Refused {
        match why {
            Excluded::Revoked { reason, .. } => Refused::new(NotAdmitted::Revoked, Some(&reason)),
            Excluded::Expired(_) => self.ended(wall),
            Excluded::Unknown | Excluded::NoMember => NotAdmitted::Unknown.into(),
        }
    }

    fn ticket_refused(&self, why: TicketRefused, wall: WallClock) -> Refused {
        match why {
            TicketRefused::Unknown => NotAdmitted::Unknown.into(),
            TicketRefused::Revoked => NotAdmitted::Withdrawn.into(),
            TicketRefused::Expired(_) => self.ended(wall),
            TicketRefused::UsedUp(label) => Refused::new(NotAdmitted::UsedUp, Some(&label)),
            TicketRefused::Removed => NotAdmitted::Revoked.into(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The digest of a roster, computed once for each.
    fn digest_of(&mut self, roster: &Arc<Roster>) -> Hash {
        match &self.digest {
            Some((known, digest)) if Arc::ptr_eq(known, roster) => *digest,
            _ => {
                let digest = roster.digest();
                self.digest = Some((Arc::clone(roster), digest));
                digest
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Verifies what somebody shows: one signature of a pass, two of a claim.
fn verify_shown(greeting: &Greeting) -> Result<Option<Shown>, Refused> {
    let Some(pass) = &greeting.pass else { return Ok(None) };
    let pass = verify(pass)?;
    let claim = greeting.claim.as_ref().map(verify).transpose()?;
    Ok(Some(Shown { pass, claim }))
}

fn verify<T: Terms>(Blob(bytes): &Blob) -> Result<Signed<T>, Refused> {
    Signed::verify(bytes.clone()).map_err(|_error| NotAdmitted::Unknown.into())
}

/// Checks that what somebody shows is about itself; all of it as statements.
fn check_subject(
    pass: &Signed<Pass>,
    claim: Option<&Signed<Claim>>,
    subject: &NodeId,
) -> Result<Vec<Statement>, Refused> {
    let own = match claim {
        Some(claim) => Credentials::claimed(pass.clone(), claim.clone()),
        None => Credentials::own(pass.clone()),
    };
    match own {
        Ok(own) if own.subject() == *subject => Ok(own.statements()),
        Ok(_) | Err(_) => Err(NotAdmitted::Unknown.into()),
    }
}

fn not_accepted(why: &NotAccepted) -> Refused {
    match why {
        NotAccepted::OtherNetwork => NotAdmitted::OtherNetwork.into(),
        NotAccepted::Full(_) => Refused::new(NotAdmitted::Full, Some(&why.to_string())),
        NotAccepted::NoAdmin(_) | NotAccepted::TooWide(..) | NotAccepted::UnknownInvite => {
            NotAdmitted::Unknown.into()
        }
    }
}
