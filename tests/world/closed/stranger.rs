//! Strangers: they have keys of their own, and no pass. One shows a node what it has made itself, or
//! has seen at others. Then it asks that node, as if it had been let in. So does a member that was
//! removed.

use std::time::Duration;

use antiphon::{
    engine::{self, Input},
    model::{
        NodeId, NodeKey,
        roster::{Charter, Claim, Door, Invitation, MemberKind, Pass, Statement},
    },
    wire::{ClientRequest, NodeRequest, Replicate, Request, RosterWanted},
};

use super::{judge::Shown, key, named};
use crate::world::{
    World,
    invariants::{put_out, strangers},
    node::{Asker, right_wall},
};

/// How many strangers there are.
const STRANGERS: usize = 3;

/// The key of a stranger.
fn stranger(number: usize) -> NodeKey {
    key(200, number)
}

/// The keys of all strangers.
pub(crate) fn all() -> [NodeId; STRANGERS] {
    std::array::from_fn(|number| stranger(number).node())
}

impl World {
    /// A stranger, or one that was removed, tries to get in at some node, and to be answered.
    pub(super) fn stranger_tries(&mut self) {
        let judge = self.some_node();
        if self.nodes[judge].engine.is_none() || self.nodes[judge].paused_until > self.now {
            return;
        }
        let out = (0..self.nodes.len()).filter(|it| self.knows_out(judge, *it).is_some());
        let out: Vec<_> = out.collect();
        if !out.is_empty() && self.choices.chance(500) {
            let index = out[self.choices.index(out.len())];
            return self.removed_tries(judge, index);
        }
        let me = stranger(self.choices.index(STRANGERS));
        let shown = self.shows_what_it_has(&me);
        let result = self.judge(judge, &me.node(), &shown);
        let result = strangers::refused(judge, &me.node(), result.is_err());
        self.check(strangers::NAME, result);
        self.asks_anyway(judge, &me.node(), vec![Statement::Pass(shown.pass)]);
    }

    /// One that was removed asks a node that knows it. Others say that it is there.
    fn removed_tries(&mut self, judge: usize, index: usize) {
        let contact = self.contact(index);
        let id = contact.node;
        self.input(judge, Duration::ZERO, Input::Discovered(contact));
        let own = self.network().passes.get(&id).cloned().map(Statement::Pass);
        self.asks_anyway(judge, &id, own.into_iter().collect());
    }

    /// Somebody who is not let in asks a node. That must refuse it.
    fn asks_anyway(&mut self, judge: usize, from: &NodeId, own: Vec<Statement>) {
        let topic = self.topic(0);
        let name = self.options.topics[0].name.parse().unwrap();
        let request = match self.choices.index(6) {
            0 => Request::Node(NodeRequest::TellRoster(own.into_iter().collect())),
            1 => Request::Node(NodeRequest::CompareRoster(RosterWanted::Part(0, None))),
            2 => Request::Node(NodeRequest::Replicate(Replicate::default())),
            3 => Request::Node(NodeRequest::Frontier(topic, None, None)),
            4 => Request::Client(ClientRequest::Peers),
            _ => Request::Client(ClientRequest::Survey(name)),
        };
        let asker = if self.choices.chance(500) {
            engine::Asker::Node(*from)
        } else {
            engine::Asker::Client(Some(*from))
        };
        let question = self.question(judge, Asker::World);
        self.handle(judge, Input::Asked { question, asker, request });
        let answer = self.answers.remove(&(judge, question));
        let result = put_out::refused(judge, from, answer.as_ref());
        self.check(put_out::NAME, result);
    }

    fn shows_what_it_has(&mut self, me: &NodeKey) -> Shown {
        let now = right_wall(self.now);
        let drawn = self.choices.index(5);
        let other = self.choices.index(self.nodes.len());
        let other = self.nodes[other].id;
        let closed = self.network();
        let charter = closed.charter.clone();
        let network = charter.terms().network();
        let own = |issuer: &NodeKey| {
            let pass = Pass::new(network, (me.node(), MemberKind::Node), issuer.node(), now);
            pass.sign(issuer).unwrap()
        };
        match drawn {
            // It calls itself an admin.
            0 => Shown { charter, pass: own(me), claim: None },
            // It calls itself the root, of a network of this name.
            1 => {
                let door = Door::from_bytes([9; 32]);
                let own = Charter::first("lab".parse().unwrap(), me.node(), vec![named(me)], &door);
                let network = own.network();
                let pass = Pass::new(network, (me.node(), MemberKind::Node), me.node(), now);
                let charter = own.sign(me).unwrap();
                Shown { charter, pass: pass.sign(me).unwrap(), claim: None }
            }
            // It has seen the pass of a member.
            2 => {
                let pass = closed.passes.get(&other).cloned().unwrap_or_else(|| own(me));
                Shown { charter, pass, claim: None }
            }
            // It invites itself.
            3 => {
                let invite = key(201, 0);
                let subject = (invite.node(), MemberKind::Invite);
                let mut pass = Pass::new(network, subject, me.node(), now);
                let admits = MemberKind::Node;
                pass.invitation = Some(Invitation { admits, uses: 1, until: None });
                let claim = Claim::new(network, invite.node(), me.node(), "me".to_owned());
                let claim = claim.sign(&invite, me).unwrap();
                Shown { charter, pass: pass.sign(me).unwrap(), claim: Some(claim) }
            }
            // It was an admin of the network's root once, and is in no charter.
            _ => Shown { charter, pass: own(&key(231, 0)), claim: None },
        }
    }
}
