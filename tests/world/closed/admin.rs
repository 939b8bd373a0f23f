//! An admin: it admits, removes and withdraws, and tells one node of it. Without an answer it tells
//! another one.

use std::time::Duration;

use antiphon::{
    model::{
        NodeId, NodeKey,
        roster::{MemberKind, Pass, Signed, Statement},
    },
    wire::{NodeRequest, Request, Response},
};

use super::closing::{Closing, Step};
use crate::world::{World, clients::Next};

/// How long an admin waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time between two things that an admin does.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// An admin.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(super) key: NodeKey,
    /// What no node has noted yet.
    untold: Vec<Statement>,
    /// What it is about to close.
    closing: Option<Closing>,
}

impl Admin {
    pub(super) fn new(key: NodeKey) -> Self {
        Self { key, untold: Vec::new(), closing: None }
    }

    /// Whether it has told all that it has signed.
    pub(crate) fn is_done(&self) -> bool {
        self.untold.is_empty()
    }

    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<&Response>,
        asked: bool,
    ) -> Next {
        let is_own = |admin: &NodeKey| admin.node() == self.key.node();
        if !world.network().admins.iter().any(is_own) {
            // What it has signed counts for nothing any more.
            self.untold.clear();
            return Next::Stop;
        }
        if asked && self.untold.is_empty() && self.closing.is_some() {
            self.go_on_closing(world, response);
            return Next::Pause(world.choices.time(Duration::from_millis(1), PAUSE_MAX / 80));
        }
        if asked {
            if let Some(Response::Noted) = response {
                self.untold.clear();
            }
            let most = if self.untold.is_empty() { PAUSE_MAX } else { PAUSE_MAX / 8 };
            return Next::Pause(world.choices.time(Duration::from_millis(10), most));
        }
        if !world.faulty {
            self.closing = None;
        }
        if self.untold.is_empty() {
            if !world.faulty {
                return Next::Stop;
            }
            if self.closing.is_none() && world.network().plan.closes && world.choices.chance(500) {
                self.closing = Self::begin_closing(world);
            }
            if let Some(closing) = &self.closing {
                match closing.request(world) {
                    Some(request) => return Next::Ask(closing.node, request, PATIENCE * 2),
                    None => self.closing = None,
                }
            }
            self.untold = self.act(world);
        }
        if self.untold.is_empty() {
            return Next::Pause(world.choices.time(Duration::from_millis(100), PAUSE_MAX));
        }
        let request = NodeRequest::TellRoster(self.untold.iter().cloned().collect());
        let mut node = world.some_node();
        if world.is_out(node) && world.choices.chance(900) {
            // That one could tell nobody.
            let stays = world.stays();
            node = if stays.is_empty() { node } else { stays[world.choices.index(stays.len())] };
        }
        Next::Ask(node, Request::Node(request), PATIENCE)
    }

    /// A node has answered how long logs are.
    fn go_on_closing(&mut self, world: &mut World, response: Option<&Response>) {
        let Some(mut closing) = self.closing.take() else { return };
        let writer = world.nodes[closing.writer].id;
        match closing.answered(&writer, response) {
            Step::GoOn => {}
            Step::Ends(topic, cuts) => self.untold = self.closes(world, &closing, (topic, cuts)),
            Step::Stop => return,
        }
        self.closing = Some(closing);
    }

    /// Signs something; nothing if that cannot be done now.
    fn act(&self, world: &mut World) -> Vec<Statement> {
        let (what, statements) = match world.choices.index(8) {
            0..=2 => ("roster: member removed", self.remove(world)),
            3 => ("roster: member admitted again", self.admit_again(world)),
            4 => ("roster: admins changed", self.change_admins(world)),
            5 => ("roster: ticket withdrawn", self.withdraw(world)),
            _ => ("roster: pass signed again", self.renew(world)),
        };
        if statements.is_empty() {
            return statements;
        }
        *world.counts.faults.entry(what).or_default() += 1;
        world.trace.note(world.now, || format!("ADMIN {what}: {statements:?}"));
        world.signed(&statements);
        // An admin shows the charter by which it is one.
        let charter = world.network().charter.clone();
        let others = statements.into_iter().filter(|it| !matches!(it, Statement::Charter(_)));
        [Statement::Charter(charter)].into_iter().chain(others).collect()
    }

    /// A member is removed; now and then one that another admin has removed already. One stays.
    fn remove(&self, world: &mut World) -> Vec<Statement> {
        let removes = world.network().plan.removes;
        let again = world.choices.chance(200);
        let fits = |index: &usize| *index > 0 && world.is_out(*index) == again;
        let members: Vec<_> = (0..world.nodes.len()).filter(fits).collect();
        if members.is_empty() || !removes || !again && world.stays().len() <= 2 {
            return Vec::new();
        }
        let id = world.nodes[members[world.choices.index(members.len())]].id;
        let now = world.now;
        let closed = world.network();
        let turn = closed.passes.get(&id).map_or(0, |pass| pass.terms().turn);
        let mut revocation = closed.revocation(id, turn, (&self.key, now));
        revocation.reason = format!("by {}", self.key.node());
        vec![Statement::Revocation(revocation.sign(&self.key).unwrap())]
    }

    /// A member that was removed gets a pass of a higher turn, which a node is told of, and which it
    /// may have itself.
    fn admit_again(&self, world: &mut World) -> Vec<Statement> {
        let out = (0..world.nodes.len()).filter(|index| world.is_out(*index));
        let out: Vec<_> = out.filter(|index| !world.nodes[*index].gone).collect();
        if out.is_empty() {
            return Vec::new();
        }
        let index = out[world.choices.index(out.len())];
        let (id, now) = (world.nodes[index].id, world.now);
        let closed = world.network();
        let Some(removed) = closed.revocations.get(&id) else { return Vec::new() };
        let turn = removed.terms().turn + 1;
        let mut pass = closed.pass((id, MemberKind::Node), &self.key, now);
        pass.turn = turn;
        let pass = pass.sign(&self.key).unwrap();
        if world.choices.chance(500) {
            world.given_pass(index, pass.clone());
        }
        vec![Statement::Pass(pass)]
    }

    /// A ticket is withdrawn, and all who came by it are out. Two nodes stay.
    fn withdraw(&self, world: &mut World) -> Vec<Statement> {
        let stays: Vec<NodeId> = world.stays().into_iter().map(|it| world.nodes[it].id).collect();
        let now = world.now;
        let closed = world.network();
        let open = closed.tickets.iter().map(|ticket| ticket.key.node());
        let open: Vec<_> = open.filter(|id| !closed.revocations.contains_key(id)).collect();
        if open.is_empty() || !closed.plan.removes {
            return Vec::new();
        }
        let invite = open[world.choices.index(open.len())];
        let closed = world.network();
        let by_it = |id: &&NodeId| closed.claimed.get(*id) == Some(&invite) && !closed.has_pass(id);
        if stays.len() - stays.iter().filter(by_it).count() < 2 {
            return Vec::new();
        }
        let revocation = closed.revocation(invite, 0, (&self.key, now));
        vec![Statement::Revocation(revocation.sign(&self.key).unwrap())]
    }

    /// A member gets another pass of the same turn, with another name.
    fn renew(&self, world: &mut World) -> Vec<Statement> {
        let members = 0..world.nodes.len();
        let members: Vec<_> = members.filter(|index| !world.is_out(*index)).collect();
        if members.is_empty() {
            return Vec::new();
        }
        let id = world.nodes[members[world.choices.index(members.len())]].id;
        let number = world.number();
        let now = world.now;
        let closed = world.network();
        let turn = closed.passes.get(&id).map_or(0, |pass| pass.terms().turn);
        let mut pass = closed.pass((id, MemberKind::Node), &self.key, now);
        (pass.turn, pass.label) = (turn, format!("renewed-{number}"));
        vec![Statement::Pass(pass.sign(&self.key).unwrap())]
    }
}

impl World {
    /// A node's operator gives it a pass.
    fn given_pass(&mut self, index: usize, pass: Signed<Pass>) {
        if let Some(admission) = &mut self.nodes[index].admission {
            admission.given(pass);
        }
    }
}
