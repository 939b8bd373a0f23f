//! Charters that name other admins. What a charter does not allow goes, and with it goes what that had
//! replaced. So the admin who stays signs all of it again.

use std::time::Duration;

use antiphon::model::{
    NodeId,
    roster::{MemberKind, Statement},
};

use super::{Admin, ClosedNetwork, key, named};
use crate::world::{World, clients::Kind, node::right_wall};

impl Admin {
    /// The last admin is removed, or another one comes. Only the first admin has the root's key.
    pub(super) fn change_admins(&self, world: &mut World) -> Vec<Statement> {
        let now = world.now;
        let closed = world.network();
        if closed.admins[0].node() != self.key.node() {
            return Vec::new();
        }
        let mut again = Vec::new();
        let gone = if closed.admins.len() > 1 { closed.admins.pop() } else { None };
        if let Some(gone) = &gone {
            again = self.sign_again(closed, gone.node(), now);
        } else {
            closed.admins.push(key(230, usize::from(closed.admins_ever)));
            closed.admins_ever += 1;
        }
        let mut charter = closed.charter.terms().clone();
        charter.revision += 1;
        charter.admins = closed.admins.iter().map(named).collect();
        let charter = charter.sign(&closed.root).unwrap();
        if let Some(gone) = gone {
            world.dismissed(gone.node());
        } else if let Some(newcomer) = closed.admins.last().cloned() {
            world.add_client(Kind::Admin(Box::new(Self::new(newcomer))));
        }
        [Statement::Charter(charter)].into_iter().chain(again).collect()
    }

    /// What the one that is gone signed, and passes for those who came by a ticket of it: their
    /// claims go with it. The records of those that are out count on.
    fn sign_again(
        &self,
        closed: &mut ClosedNetwork,
        gone: NodeId,
        now: Duration,
    ) -> Vec<Statement> {
        let mut again = Vec::new();
        let is_gone = |invite: &NodeId| {
            closed.passes.get(invite).is_some_and(|pass| pass.terms().issuer == gone)
        };
        let by_ticket = closed.claimed.iter().filter(|(_, invite)| is_gone(invite));
        let by_ticket = by_ticket.map(|(id, _)| id);
        for id in by_ticket.filter(|id| !closed.passes.contains_key(id)) {
            let kind = if closed.is_member(id) { MemberKind::Node } else { MemberKind::Former };
            let pass = closed.pass((*id, kind), &self.key, now);
            again.push(Statement::Pass(pass.sign(&self.key).unwrap()));
        }
        for pass in closed.passes.values().filter(|it| it.terms().issuer == gone) {
            let mut pass = pass.terms().clone();
            (pass.issuer, pass.issued) = (self.key.node(), right_wall(now));
            let pass = pass.sign(&self.key).unwrap();
            let subject = pass.terms().subject;
            let ticket = closed.tickets.iter_mut().find(|it| it.key.node() == subject);
            if let Some(ticket) = ticket {
                ticket.pass = pass.clone();
            }
            again.push(Statement::Pass(pass));
        }
        for revocation in closed.revocations.values().filter(|it| it.terms().issuer == gone) {
            let mut revocation = revocation.terms().clone();
            (revocation.issuer, revocation.issued) = (self.key.node(), right_wall(now));
            again.push(Statement::Revocation(revocation.sign(&self.key).unwrap()));
        }
        again
    }
}

impl World {
    /// An admin is none any more. What it had signed is nowhere, and so is what that had replaced.
    fn dismissed(&mut self, admin: NodeId) {
        let closed = self.network();
        let slots = closed.slots.remove(&admin).unwrap_or_default();
        closed.told.retain(|(_, statement)| !slots.contains(&statement.slot()));
        for admission in self.nodes.iter_mut().filter_map(|node| node.admission.as_mut()) {
            admission.noted.retain(|statement| !slots.contains(&statement.slot()));
        }
    }
}
