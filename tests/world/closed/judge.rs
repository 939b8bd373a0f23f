//! Who a node lets in, as the judge of production decides it (`node/src/network/admission/`): by the
//! roster that its engine told last, by what somebody shows, and by whom it let in a moment ago.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon::{
    engine::{Closed, Input},
    model::{
        NodeId, WallClock,
        roster::{Charter, Claim, Credentials, MemberKind, Pass, Roster, Signed, Statement},
    },
};

use crate::world::World;

/// What somebody shows at a new connection.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) charter: Signed<Charter>,
    pub(super) pass: Signed<Pass>,
    pub(super) claim: Option<Signed<Claim>>,
}

/// What a node of a closed network has beside its engine and its disk.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The charter that it was given when it joined.
    charter: Signed<Charter>,
    /// What admits it.
    own: Credentials,
    /// What its engine told last; none before that.
    pub(crate) roster: Option<Arc<Roster>>,
    /// The newest charter that was seen in this life.
    seen: Signed<Charter>,
    /// Whom it let in and the roster does not have yet.
    fresh: BTreeMap<NodeId, Vec<Statement>>,
    /// Nodes of which it knows that they are out, and since when.
    pub(crate) out: BTreeMap<NodeId, Duration>,
    /// Nodes of which its roster knows nothing, and since when.
    pub(crate) unknown: BTreeMap<NodeId, Duration>,
    /// What its disk holds for certain: it has said so.
    pub(crate) noted: Vec<Statement>,
}

impl Admission {
    pub(super) fn new(charter: Signed<Charter>, own: Credentials) -> Self {
        Self {
            seen: charter.clone(),
            charter,
            own,
            roster: None,
            fresh: BTreeMap::new(),
            out: BTreeMap::new(),
            unknown: BTreeMap::new(),
            noted: Vec::new(),
        }
    }

    /// A life of the node begins: what its engine is made with.
    pub(crate) fn begin(&mut self) -> Closed {
        self.seen = self.charter.clone();
        self.roster = None;
        self.fresh.clear();
        self.out.clear();
        self.unknown.clear();
        Closed { charter: self.charter.clone(), own: self.own.statements() }
    }

    /// The charter that it was given when it joined.
    pub(crate) fn charter(&self) -> &Signed<Charter> {
        &self.charter
    }

    /// Its operator gives it another pass.
    pub(super) fn given(&mut self, pass: Signed<Pass>) {
        self.own = Credentials::own(pass).unwrap();
    }

    /// What it shows.
    fn shows(&mut self) -> Shown {
        self.note_charter();
        let own = &self.own;
        let renewed = self.roster.as_ref().and_then(|roster| roster.pass(&own.subject()));
        let is_later = |pass: &&Signed<Pass>| own.claim().is_some() || pass.supersedes(own.pass());
        match renewed.filter(is_later) {
            Some(pass) => Shown { charter: self.seen.clone(), pass: pass.clone(), claim: None },
            None => Shown {
                charter: self.seen.clone(),
                pass: own.pass().clone(),
                claim: own.claim().cloned(),
            },
        }
    }

    fn note_charter(&mut self) {
        if let Some(roster) = &self.roster
            && roster.charter().supersedes(&self.seen)
        {
            self.seen = roster.charter().clone();
        }
    }

    /// What is known of a key and of an invitation, as a roster.
    fn known(
        &mut self,
        subject: &NodeId,
        charter: Option<&Signed<Charter>>,
        invite: Option<&NodeId>,
    ) -> Roster {
        let roster = self.roster.as_deref();
        let is_in = |statement: &Statement| match (roster, statement) {
            (Some(roster), Statement::Claim(claim)) => {
                roster.has_claim(&claim.terms().subject, &claim.terms().invite)
            }
            (Some(roster), Statement::Pass(pass)) => {
                let known = roster.pass(&pass.terms().subject);
                known.is_some_and(|known| !pass.supersedes(known))
            }
            _ => false,
        };
        self.fresh.retain(|_, statements| !statements.iter().all(is_in));
        let mut known = match roster {
            Some(roster) => roster.excerpt(subject, invite),
            None => Roster::new(self.seen.clone()),
        };
        let charters = [Some(&self.seen), charter].into_iter().flatten();
        let uses = |it: &Statement| matches!(it, Statement::Claim(it) if Some(&it.terms().invite) == invite);
        let fresh = self.fresh.iter().filter(|(key, it)| *key == subject || it.iter().any(uses));
        let fresh = fresh.flat_map(|(_, statements)| statements.iter().cloned());
        for statement in charters.cloned().map(Statement::Charter).chain(fresh) {
            // What a newer charter does not allow counts for nothing.
            let _refused = known.insert(statement);
        }
        known
    }

    /// Lets somebody in, or says why not. What is news is for the engine.
    pub(super) fn judge(
        &mut self,
        subject: &NodeId,
        shown: &Shown,
        now: WallClock,
    ) -> Result<Vec<Statement>, String> {
        self.note_charter();
        if shown.charter.terms().network() != self.seen.terms().network() {
            return Err("it belongs to another network".to_owned());
        }
        let charter = shown.charter.supersedes(&self.seen).then(|| shown.charter.clone());
        let known = self.known(subject, charter.as_ref(), None);
        let is_node = |kind: MemberKind| kind == MemberKind::Node;
        let mut news: Vec<_> = charter.iter().cloned().map(Statement::Charter).collect();
        match known.member(subject, now) {
            Ok(member) if is_node(member.kind) => {}
            Ok(_) => return Err("it is no node".to_owned()),
            Err(_) => {
                let invite = shown.claim.as_ref().map(|claim| claim.terms().invite);
                let mut known = self.known(subject, charter.as_ref(), invite.as_ref());
                let own = match &shown.claim {
                    Some(claim) => Credentials::claimed(shown.pass.clone(), claim.clone()),
                    None => Credentials::own(shown.pass.clone()),
                };
                let own = own.map_err(|why| why.to_string())?;
                if own.subject() != *subject {
                    return Err("it shows what admits another one".to_owned());
                }
                known.insert(Statement::Pass(shown.pass.clone())).map_err(|why| why.to_string())?;
                if let Some(claim) = &shown.claim {
                    known.may_claim(claim.terms(), now).map_err(|why| why.to_string())?;
                    known.insert(Statement::Claim(claim.clone())).map_err(|why| why.to_string())?;
                }
                let member = known.member(subject, now).map_err(|why| why.to_string())?;
                if !is_node(member.kind) {
                    return Err("it is no node".to_owned());
                }
                news.extend(own.statements());
                self.fresh.insert(*subject, own.statements());
            }
        }
        if let Some(charter) = charter {
            self.seen = charter;
        }
        Ok(news)
    }
}

impl World {
    /// Two nodes show each other why they belong to the network. Whether each lets the other one in;
    /// in an open network it does.
    pub(crate) fn shake_hands(&mut self, dialler: usize, index: usize) -> bool {
        // The dialler speaks first, and the other end answers only if it lets it in.
        [(index, dialler), (dialler, index)].into_iter().all(|(judge, shows)| {
            let Some(shown) = self.nodes[shows].admission.as_mut().map(Admission::shows) else {
                return true;
            };
            let subject = self.nodes[shows].id;
            match self.judge(judge, &subject, &shown) {
                Ok(news) => {
                    if !news.is_empty() {
                        // The engine may learn of the connection first.
                        let is_late = self.faulty && self.choices.chance(200);
                        let most = Duration::from_millis(if is_late { 2_000 } else { 0 });
                        let delay = self.choices.time(Duration::ZERO, most);
                        self.input(judge, delay, Input::Admitted(news));
                    }
                    true
                }
                Err(why) => {
                    self.trace.note(self.now, || format!("{judge} refuses {shows}: {why}"));
                    false
                }
            }
        })
    }

    pub(super) fn judge(
        &mut self,
        judge: usize,
        subject: &NodeId,
        shown: &Shown,
    ) -> Result<Vec<Statement>, String> {
        let wall = self.nodes[judge].wall(self.now);
        match &mut self.nodes[judge].admission {
            Some(admission) => admission.judge(subject, shown, wall),
            None => Ok(Vec::new()),
        }
    }
}
