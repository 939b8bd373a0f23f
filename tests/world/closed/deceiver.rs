//! A member that deceives others about who belongs: it keeps from them what it knows, shows old
//! charters, and tells of what nobody with the right to it has signed. In all else it is honest.

use antiphon::{
    engine::AskId,
    limits::ROSTER_TOLD_MAX,
    model::{
        Hash, NodeId, NodeKey,
        roster::{Charter, Claim, Door, MemberKind, Pass, Revocation, Statement},
    },
    wire::{NodeRequest, PartDigest, Request, Response, RosterTold, Statements},
};

use super::{named, strangers};
use crate::world::{What, World, node::right_wall};

/// The node that deceives, if there is one.
pub(super) const DECEIVER: usize = 1;

/// What it asks is named from here on, and its engine learns of no answer.
const OWN_ASKS: u64 = 1 << 63;

impl World {
    /// Whether a node deceives others about who belongs.
    pub(crate) fn is_deceiver(&self, index: usize) -> bool {
        index == DECEIVER && self.closed.as_ref().is_some_and(|closed| closed.plan.deceives)
    }

    /// What a node says of its roster, as others hear it.
    pub(crate) fn deceives(&mut self, index: usize, what: What) -> What {
        match what {
            What::Response(ask, Ok(Response::Roster(told))) if self.is_deceiver(index) => {
                let told = match self.choices.index(4) {
                    0 => told,
                    1 => RosterTold::Same,
                    2 => RosterTold::Part(Statements(Vec::new()), None),
                    _ => self.differs_for_ever(),
                };
                What::Response(ask, Ok(Response::Roster(told)))
            }
            what => what,
        }
    }

    /// All parts differ, and the charter is the first one.
    fn differs_for_ever(&mut self) -> RosterTold {
        let digest = Hash([u8::try_from(self.choices.below(256)).expect("a byte"); 32]);
        let parts = (0..=u8::MAX).map(|part| PartDigest { part, digest });
        let first = self.network().first.clone();
        RosterTold::Differs(parts.collect(), Statements::from_iter([Statement::Charter(first)]))
    }

    /// The deceiver tells somebody something.
    pub(super) fn deceiver_tells(&mut self) {
        if !self.is_deceiver(DECEIVER) || self.nodes[DECEIVER].engine.is_none() {
            return;
        }
        let connected = self.nodes[DECEIVER].connected.iter();
        let connected: Vec<_> = connected.map(|(other, it)| (*other, it.life)).collect();
        if connected.is_empty() {
            return;
        }
        let to = connected[self.choices.index(connected.len())];
        let statements = self.deceptions();
        *self.counts.faults.entry("roster: statements made up").or_default() += 1;
        let ask = AskId(OWN_ASKS + self.number());
        let request = Request::Node(NodeRequest::TellRoster(statements.into_iter().collect()));
        let life = self.nodes[DECEIVER].life;
        self.send((DECEIVER, life), to, What::Request(ask, request));
    }

    fn deceptions(&mut self) -> Vec<Statement> {
        let me = self.nodes[DECEIVER].key.clone();
        let other = self.nodes[self.choices.index(self.nodes.len())].id;
        let now = right_wall(self.now);
        let drawn = self.choices.index(5);
        let number = self.number();
        let closed = self.network();
        let network = closed.charter.terms().network();
        let pass = |subject: NodeId, kind: MemberKind| {
            Statement::Pass(Pass::new(network, (subject, kind), me.node(), now).sign(&me).unwrap())
        };
        match drawn {
            // It removes another member, and admits a stranger.
            0 => {
                let revocation = Revocation::new(network, (other, 1 << 10), me.node(), now);
                vec![Statement::Revocation(revocation.sign(&me).unwrap())]
            }
            1 => vec![pass(strangers()[0], MemberKind::Node)],
            // It makes itself the root.
            2 => {
                let door = Door::from_bytes([9; 32]);
                let admins = vec![named(&me)];
                let mut own = Charter::first("lab".parse().unwrap(), me.node(), admins, &door);
                own.revision = 1 << 10;
                vec![Statement::Charter(own.sign(&me).unwrap())]
            }
            // All over again.
            3 => {
                let passes = closed.passes.values().cloned().map(Statement::Pass);
                let old = Statement::Charter(closed.first.clone());
                [old].into_iter().chain(passes).take(ROSTER_TOLD_MAX).collect()
            }
            // It has a ticket for one machine, and gives it to many.
            _ => {
                let ticket = &closed.shared;
                let newcomers = (0..4_u64).map(|one| newcomer(number + one));
                let claim = |newcomer: NodeKey| {
                    let (invite, subject) = (ticket.key.node(), newcomer.node());
                    let claim = Claim::new(network, invite, subject, "one more".to_owned());
                    Statement::Claim(claim.sign(&ticket.key, &newcomer).unwrap())
                };
                let pass = Statement::Pass(ticket.pass.clone());
                [pass].into_iter().chain(newcomers.map(claim)).collect()
            }
        }
    }
}

/// A key that was never used.
fn newcomer(number: u64) -> NodeKey {
    let [.., high, low] = number.to_be_bytes();
    let mut secret = [high; 32];
    (secret[0], secret[1]) = (202, low);
    NodeKey::from_secret(&secret)
}
