//! Closures: an admin looks how long the logs of a removed node are, and says that they end there.
//! What may be void by that is counted here, without the code of the roster.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    model::{
        Batch, Hash, Incarnation, LogId, NodeId, Position, TopicId,
        roster::{Closure, Cut, Signed, Statement},
    },
    wire::{ClientRequest, MemberState, Request, Response, Role, Surveyed},
};

use super::Admin;
use crate::world::{
    World,
    oracle::{Known, Oracle},
};

/// The logs of a writer, which an admin closes topic by topic.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) writer: usize,
    turn: u32,
    /// The node that is asked.
    pub(super) node: usize,
    /// The topics that are left. Before the first one the node says whom it knows.
    left: Vec<usize>,
    has_begun: bool,
    /// Whether nodes that are away are not waited for.
    pub(super) at_once: bool,
}

/// What comes of an answer.
pub(super) enum Step {
    /// The next question.
    GoOn,
    /// The logs of the writer end here in a topic.
    Ends(TopicId, BTreeMap<Incarnation, Cut>),
    /// Nothing can be closed now.
    Stop,
}

/// A closure that was signed.
#[derive(Debug)]
struct Closed {
    closure: Closure,
    /// The batches that count: those at the cuts, and all before them. Others for the same
    /// positions were signed with the key of the removed writer.
    chains: BTreeSet<Hash>,
}

/// What closures that were signed make of batches.
#[derive(Debug, Default)]
pub(crate) struct Void {
    signed: Vec<Closed>,
    /// Batches that were acknowledged before their writer was removed, and that others hold.
    stays: BTreeSet<Hash>,
    /// Batches of writers that were admitted again, of the time before.
    before: BTreeSet<Hash>,
    /// The logs of such writers, and the turn with which each may write to it no longer.
    left: BTreeMap<(TopicId, LogId), u32>,
}

impl Void {
    /// Whether a batch may be void: what counts by one closure may be beyond the cut of another
    /// one.
    fn may_be(&self, batch: &Batch, is_out: bool) -> bool {
        !self.stays.contains(&batch.hash())
            && self.signed.iter().any(|closed| self.is_beyond(closed, batch, is_out))
    }

    fn is_beyond(&self, closed: &Closed, batch: &Batch, is_out: bool) -> bool {
        let (header, closure) = (batch.header(), &closed.closure);
        if (closure.topic, closure.writer) != (header.topic, header.writer)
            || closed.chains.contains(&batch.hash())
        {
            return false;
        }
        let logs = [header.incarnation, batch.log().incarnation];
        let is_named = logs.iter().any(|log| closure.cuts.contains_key(log));
        is_named || is_out || self.before.contains(&batch.hash())
    }
}

impl Closed {
    fn new(closure: Closure, oracle: &Oracle) -> Self {
        let mut chains = BTreeSet::new();
        for head in closure.cuts.values().filter_map(|cut| cut.head) {
            let mut at = oracle.batches.get(&head);
            while let Some(known) = at.filter(|known| chains.insert(known.batch.hash())) {
                at = oracle.before(&known.batch);
            }
        }
        Self { closure, chains }
    }
}

impl Closing {
    fn new(world: &World, (writer, turn): (usize, u32), node: usize, at_once: bool) -> Self {
        let left = (0..world.options.topics.len()).collect();
        Self { writer, turn, node, left, has_begun: false, at_once }
    }

    /// What the node is asked next; nothing if all topics were looked at.
    pub(super) fn request(&self, world: &World) -> Option<Request> {
        if !self.has_begun {
            return Some(Request::Client(ClientRequest::Peers));
        }
        let name = world.options.topics[*self.left.last()?].name.parse().unwrap();
        Some(Request::Client(ClientRequest::Survey(name)))
    }

    /// What the node has answered.
    pub(super) fn answered(&mut self, writer: &NodeId, response: Option<&Response>) -> Step {
        match response {
            Some(Response::Peers(peers)) if !self.has_begun => {
                self.has_begun = true;
                let is_there = peers.iter().all(|peer| peer.state == MemberState::Alive);
                if self.at_once || is_there { Step::GoOn } else { Step::Stop }
            }
            Some(Response::Surveyed(surveyed)) => {
                self.left.pop();
                self.ends(writer, surveyed)
            }
            // It was deleted, or nobody knows it yet.
            Some(Response::Refused(_)) if self.has_begun => {
                self.left.pop();
                Step::GoOn
            }
            _ => Step::Stop,
        }
    }

    fn ends(&self, writer: &NodeId, surveyed: &Surveyed) -> Step {
        let mut homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
        let answered = self.at_once || homes.all(|home| home.records.is_some());
        if !surveyed.complete || !answered {
            return Step::Stop;
        }
        let ends = surveyed.end.logs.iter();
        let ends = ends.filter(|(log, end)| log.writer == *writer && end.next > 0);
        let cut = |(log, end): (&LogId, &Position)| {
            Some((log.incarnation, Cut { next: end.next, head: Some(end.head?) }))
        };
        match ends.map(cut).collect::<Option<BTreeMap<_, _>>>() {
            Some(cuts) if cuts.is_empty() => Step::GoOn,
            Some(cuts) => Step::Ends(surveyed.end.topic, cuts),
            // All of it was trimmed, and nobody knows the last batch.
            None => Step::Stop,
        }
    }
}

impl Admin {
    /// Begins to close the logs of a node that is out.
    pub(super) fn begin_closing(world: &mut World) -> Option<Closing> {
        let out: Vec<_> = (0..world.nodes.len()).filter(|index| world.is_out(*index)).collect();
        let stays = world.stays();
        if out.is_empty() || stays.is_empty() {
            return None;
        }
        let writer = out[world.choices.index(out.len())];
        let node = stays[world.choices.index(stays.len())];
        let at_once = world.choices.chance(400);
        let id = world.nodes[writer].id;
        let turn = world.network().revocations.get(&id).map_or(0, |it| it.terms().turn);
        Some(Closing::new(world, (writer, turn), node, at_once))
    }

    /// Signs where the logs of a writer end in a topic.
    pub(super) fn closes(
        &self,
        world: &mut World,
        closing: &Closing,
        (topic, cuts): (TopicId, BTreeMap<Incarnation, Cut>),
    ) -> Vec<Statement> {
        // Another admin has admitted it meanwhile.
        if !world.is_out(closing.writer) {
            return Vec::new();
        }
        let what =
            if closing.at_once { "roster: logs closed at once" } else { "roster: logs closed" };
        *world.counts.faults.entry(what).or_default() += 1;
        let id = world.nodes[closing.writer].id;
        let network = world.network().charter.terms().network();
        let by = self.key.node();
        let closure = Closure::new(network, (topic, id), closing.turn, cuts, by);
        let closure: Signed<Closure> = closure.sign(&self.key).unwrap();
        world.trace.note(world.now, || format!("ADMIN {what}: {closure:?}"));
        world.closed_by(closing, closure.terms());
        let charter = world.network().charter.clone();
        vec![Statement::Charter(charter), Statement::Closure(closure)]
    }
}

impl World {
    /// A closure was signed. What the asked node could not know of is lost.
    fn closed_by(&mut self, closing: &Closing, closure: &Closure) {
        let asked = &self.nodes[closing.node];
        let is_asked = |holder: &usize| {
            *holder == closing.node || asked.connected.contains_key(holder) && !self.is_out(*holder)
        };
        let closed = Closed::new(closure.clone(), &self.oracle);
        let void = &self.closed.as_ref().expect("a closed network").void;
        let is_lost = |hash: &&Hash| {
            let known = &self.oracle.batches[*hash];
            void.is_beyond(&closed, &known.batch, true)
                && (closing.at_once || !known.holders.iter().any(is_asked))
        };
        let lost: BTreeSet<_> = void.stays.iter().filter(is_lost).copied().collect();
        let void = &mut self.network().void;
        void.stays.retain(|hash| !lost.contains(hash));
        void.signed.push(closed);
    }

    /// Nodes are out that were not. What was acknowledged before stays, if others hold it.
    pub(super) fn put_out_now(&mut self, out: &[usize]) {
        let mut stays = Vec::new();
        for known in self.oracle.batches.values().filter(|known| known.acknowledged > 0) {
            let writer = self.index(&known.batch.header().writer);
            let others = known.holders.iter().any(|it| Some(*it) != writer && !self.is_out(*it));
            if writer.is_some_and(|it| out.contains(&it)) && others && !self.is_void(&known.batch) {
                stays.push(known.batch.hash());
            }
        }
        self.network().void.stays.extend(stays);
    }

    /// A node is a member again, or has learnt it: it begins new logs.
    pub(super) fn is_back(&mut self, index: usize) {
        let id = self.nodes[index].id;
        let own = self.oracle.batches.values().filter(|it| it.batch.header().writer == id);
        let header = |known: &Known| {
            let header = known.batch.header();
            (known.batch.hash(), (header.topic, header.log()))
        };
        let own: Vec<_> = own.map(header).collect();
        let closed = self.network();
        let turn = closed.passes.get(&id).map_or(0, |pass| pass.terms().turn);
        for (hash, log) in own {
            closed.void.before.insert(hash);
            if turn > 0 {
                closed.void.left.entry(log).or_insert(turn);
            }
        }
    }

    /// Whether a node that is back, and has learnt it, wrote to the log of a batch before.
    pub(crate) fn is_of_before(&self, index: usize, batch: &Batch) -> bool {
        let Some(closed) = &self.closed else { return false };
        let left = closed.void.left.get(&(batch.header().topic, batch.header().log()));
        left.is_some_and(|turn| *turn <= self.own_turn(index))
    }

    /// Whether a node is a member again, and has learnt the newest that was signed of that.
    pub(crate) fn knows_itself_back(&self, index: usize) -> bool {
        let Some(closed) = &self.closed else { return false };
        let id = self.nodes[index].id;
        let turn = closed.passes.get(&id).map_or(0, |pass| pass.terms().turn);
        turn > 0 && closed.is_member(&id) && self.own_turn(index) == turn
    }

    /// How often a node knows itself to be admitted again.
    fn own_turn(&self, index: usize) -> u32 {
        let node = &self.nodes[index];
        let roster = node.admission.as_ref().and_then(|it| it.roster.as_deref());
        roster.and_then(|it| it.pass(&node.id)).map_or(0, |it| it.terms().turn)
    }

    /// Whether a closure that was ever signed concerns a log.
    pub(crate) fn has_cut(&self, topic: &TopicId, log: &LogId) -> bool {
        let signed = self.closed.as_ref().map(|closed| closed.void.signed.as_slice());
        let of =
            |closed: &Closed| (closed.closure.topic, closed.closure.writer) == (*topic, log.writer);
        signed.is_some_and(|signed| signed.iter().any(of))
    }

    /// Whether a batch may be void, because it lies beyond the cut of its log.
    pub(crate) fn is_void(&self, batch: &Batch) -> bool {
        let Some(closed) = self.closed.as_ref().filter(|closed| !closed.void.signed.is_empty())
        else {
            return false;
        };
        closed.void.may_be(batch, !closed.is_member(&batch.header().writer))
    }
}
