//! What nodes report about other nodes, to each other and to users; leaving the network.

mod leave;

use std::time::Duration;

use crate::{
    engine::{
        Engine,
        holdings::{log::Log, topic::Topic, topics::Topics},
        ids::QuestionId,
        inflight::asks::Purpose,
        input::Asker,
        members::Change,
        output::{Report, Write},
        wing::Wing,
    },
    limits,
    model::{LogId, NodeId, TopicId},
    wire::{ClientRequest, Contact, MemberState, NodeRequest, PROGRAM, Peer, Refusal, Response},
};

/// How often a node asks another one whom it knows.
const ACQUAINT_INTERVAL: Duration = Duration::from_secs(10);

/// When other nodes are asked, and how far leaving has come.
#[derive(Debug, Default)]
pub(super) struct State {
    next_acquaint: Duration,
    leaving: leave::State,
}

impl State {
    /// Whether this node is leaving.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_leaving()
    }
}

/// The nodes known before. This one is among them if it was settled. A node that holds records of
/// others was settled, whatever an older program wrote.
pub(super) fn with_own(
    me: NodeId,
    topics: &Topics,
    contacts: impl IntoIterator<Item = Contact>,
) -> Vec<Contact> {
    let mut contacts: Vec<_> = contacts.into_iter().collect();
    let of_others = |topic: &Topic| {
        let is_held = |(id, log): (&LogId, &Log)| id.writer != me && !log.spans.is_empty();
        topic.logs.iter().any(is_held)
    };
    if topics.iter().any(of_others) {
        contacts.push(Contact::new(me, Vec::new()));
    }
    contacts
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_newcomers();
        engine.tick_acquaintance();
        engine.tick_leave();
        engine.acquaint();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(_: &mut Engine, _: TopicId, _: &Refusal) {}

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}

impl Engine {
    pub(super) fn acquaint(&mut self) {
        if self.core.now.elapsed < self.membership.next_acquaint {
            return;
        }
        self.membership.next_acquaint = self.core.now.elapsed + ACQUAINT_INTERVAL;
        let reachable = self.core.members.reachable();
        if let Some(node) = self.core.random.choice(reachable) {
            self.core.ask(node, ClientRequest::Peers, limits::ASK_TIMEOUT, Purpose::Acquaint);
        }
    }

    /// Keeps where a node is, and whether it is new; of this one, that it is new no longer.
    pub(super) fn write_contact(&mut self, node: NodeId) {
        let addresses = match self.core.members.get(&node) {
            Some(member) => member.addresses.clone(),
            None => Vec::new(),
        };
        let newcomer = self.core.members.is_newcomer(&node);
        let acquainted_s = self.core.members.keep_acquaintance(self.core.now.elapsed, &node);
        self.core.write(Write::Contact(Contact { node, addresses, newcomer, acquainted_s }));
    }

    /// Newcomers that have stayed are new no longer.
    pub(super) fn tick_newcomers(&mut self) {
        let has_topics = self.core.topics.names_after(None).next().is_some();
        for node in self.core.members.settle(self.core.now.elapsed, has_topics) {
            self.write_contact(node);
        }
    }

    /// Keeps for how long other nodes are known, so that a start forgets little of it.
    pub(super) fn tick_acquaintance(&mut self) {
        for node in self.core.members.better_acquainted(self.core.now.elapsed) {
            self.write_contact(node);
        }
    }

    /// A node has listed those that it knows, and said of itself whether it is new. What it says of
    /// this one is only taken where that is settled, and so asked for more; what it says of others
    /// only means that the network does not begin with this node.
    pub(super) fn told_new(&mut self, node: NodeId, peers: &[Peer]) {
        if peers.iter().any(|peer| peer.node != self.core.me && peer.newcomer_ms.is_none()) {
            self.core.members.heard_of_settled();
        }
        let settled = |peer: &Peer| peer.node == self.core.me && peer.newcomer_ms.is_none();
        if peers.iter().any(settled) && self.core.members.told_settled() {
            self.write_contact(self.core.me);
        }
        let Some(own) = peers.iter().find(|peer| peer.node == node) else { return };
        self.core.members.told_program(&node, own.program.clone());
        let age = own.newcomer_ms.map(|age| Duration::from_millis(u64::from(age)));
        if self.core.members.told_new_for(self.core.now.elapsed, &node, age) {
            self.write_contact(node);
        }
    }

    /// This node is about to stop: the others are told, so that nobody takes it for dead.
    pub(super) fn tell_stopping(&mut self) {
        for node in self.core.members.reachable() {
            self.core.ask(node, NodeRequest::Stopping, limits::ASK_TIMEOUT, Purpose::Tell);
        }
    }

    /// Another node is about to stop.
    pub(super) fn stops(&mut self, question: QuestionId, from: NodeId) {
        self.core.members.set_stopping(&from);
        self.core.report(Report::Stopping(from));
        self.core.answer(question, Response::Noted);
    }

    /// An operator says that a node will not come back: this node's, who is believed, or that of
    /// another node, which is believed of a node that is dead here.
    pub(super) fn forget(&mut self, question: QuestionId, asker: Asker, node: NodeId) {
        let is_hearsay = asker.node().is_some();
        let known = if is_hearsay {
            self.core.members.said_lost(&node)
        } else {
            self.core.members.forget(&node)
        };
        if known {
            self.changed(Some(Change::Forgotten(node)));
            self.asks_lost(node);
        }
        if !is_hearsay {
            for other in self.core.members.reachable() {
                self.core.ask(
                    other,
                    ClientRequest::Forget(node),
                    limits::ASK_TIMEOUT,
                    Purpose::Tell,
                );
            }
        }
        self.core.answer(question, Response::Forgotten(known));
    }

    pub(super) fn list_peers(&mut self, question: QuestionId) {
        let newcomer_ms = |node: &NodeId| {
            let age = self.core.members.new_for(self.core.now.elapsed, node)?;
            Some(u32::try_from(age.as_millis()).unwrap_or(u32::MAX))
        };
        let me = Peer {
            node: self.core.me,
            state: MemberState::Alive,
            round_trip_us: None,
            addresses: self.core.addresses.clone(),
            stopped: false,
            newcomer_ms: newcomer_ms(&self.core.me),
            wall: Some(self.core.own_wall()),
            clock_offset_ms: self.core.clocks.own_offset(),
            program: Some(PROGRAM.to_owned()),
        };
        let others = self.core.members.iter().map(|(node, member)| Peer {
            node: *node,
            state: member.state,
            round_trip_us: member
                .round_trip
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            addresses: member.addresses.clone(),
            stopped: member.has_stopped(),
            newcomer_ms: newcomer_ms(node),
            wall: None,
            clock_offset_ms: self.core.clocks.offset(node),
            program: member.program.clone(),
        });
        let peers = std::iter::once(me).chain(others).collect();
        self.core.answer(question, Response::Peers(peers));
    }
}
