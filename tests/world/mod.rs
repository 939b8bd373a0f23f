//! The world: nodes, what will happen to them and when. One thread; time moves from one event to
//! the next.

mod again;
pub(crate) mod choices;
pub(crate) mod clients;
pub(crate) mod closed;
mod creator;
pub(crate) mod disk;
mod equivocation;
pub(crate) mod faults;
pub(crate) mod fetcher;
mod follower;
pub(crate) mod invariants;
pub(crate) mod liar;
mod member;
mod network;
pub(crate) mod node;
pub(crate) mod options;
pub(crate) mod oracle;
mod publisher;
mod reader;
pub(crate) mod run;
mod shelf;
mod surveyor;
mod terms;
mod trace;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    engine::{Engine, Failure, Input, Log, QuestionId, Report, WriteNumber},
    model::{Batch, Cursor, LogId, NodeId, Realm, RecordId, SubscriberName, TopicId, TopicName},
    wire::{Request, Response},
};

use crate::world::{
    choices::Choices,
    clients::Client,
    closed::ClosedNetwork,
    invariants::Violation,
    liar::Liar,
    network::Links,
    node::Node,
    options::Options,
    oracle::{Known, Oracle},
    trace::Trace,
};

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// To the engine of a node, in this life of it.
    Input(usize, u64, Input),
    /// The flush up to a write is done, unless it was done before.
    Flushed(usize, u64, WriteNumber),
    /// A node looks who is there.
    Heartbeat(usize, u64),
    /// A node looks after its disk.
    Scrub(usize, u64),
    /// A pause of a node is over, unless it was made longer.
    Resume(usize),
    /// A fault is due.
    Fault,
    /// The operator says who is gone.
    Forget,
    /// What a twin of the second node signed reaches the first.
    Twin(usize, usize, Vec<Batch>),
    /// A liar asks something.
    Lie(usize),
    /// It is looked who is connected with whom, in a closed network.
    Look,
    /// A node that was down starts.
    Start(usize),
    /// A message arrives.
    Message(Message),
    /// A client's question arrives at a node.
    Question(usize, usize, u64, Request),
    /// A client gets an answer, or none.
    Answer(usize, u64, Option<Response>),
    /// A client goes on.
    Wake(usize, u64),
}

/// Something under way from one node to another, each in a life of it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) from: (usize, u64),
    pub(crate) to: (usize, u64),
    pub(crate) what: What,
}

/// What a message says.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Request(antiphon::engine::AskId, Request),
    Response(antiphon::engine::AskId, Result<Response, Failure>),
    Gossip(Batch),
    Ping(Duration),
    Pong(Duration),
    Dial,
    /// The connection of this number is closed.
    Close(u64),
}

/// What was done in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) simulated: Duration,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) publishes: u64,
    pub(crate) records_published: u64,
    /// Answers that a publish was a duplicate, and how many were asked for in the whole world.
    pub(crate) duplicates: u64,
    pub(crate) published_again: u64,
    pub(crate) records_acknowledged: u64,
    pub(crate) records_read: u64,
    pub(crate) pending: u64,
    /// Records that compaction took away at some node.
    pub(crate) compacted: u64,
    pub(crate) commits: u64,
    /// Terms of topics that were changed.
    pub(crate) altered: u64,
    pub(crate) records_given: u64,
    pub(crate) records_given_again: u64,
    pub(crate) copies_destroyed: u64,
    pub(crate) records_destroyed: u64,
    /// Forked logs of which a node had not filed a part when time was over.
    pub(crate) unfiled: u64,
}

/// Engines, and the world around them.
pub(crate) struct World {
    pub(crate) choices: Choices,
    pub(crate) options: Options,
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) liars: BTreeMap<usize, Liar>,
    pub(crate) links: Links,
    /// The closed network that this is; none if it is open to all.
    pub(crate) closed: Option<ClosedNetwork>,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    /// What the nodes that readers asked held when the questions came, per client; and the
    /// client that goes on now.
    pub(crate) held_when_asked: BTreeMap<usize, (usize, Cursor, BTreeMap<LogId, Log>)>,
    pub(crate) current: usize,
    /// The topics that somebody has asked to delete, and those of which that was told to be done.
    pub(crate) deleted: BTreeSet<usize>,
    pub(crate) deletions_told: BTreeSet<usize>,
    /// What members of groups have acknowledged.
    pub(crate) acknowledged: BTreeMap<(usize, SubscriberName), BTreeSet<RecordId>>,
    /// Whether faults occur.
    pub(crate) faulty: bool,
    /// Whether publishers go on.
    pub(crate) publishing: bool,
    /// The fewest nodes that were not asked to leave.
    pub(crate) fewest: usize,
    /// Messages that are part of repair, handover and replication.
    pub(crate) repairs: u64,
    /// Whether a node has just been told that another one does not hold a batch.
    pub(crate) is_unproven: bool,
    /// Requests that nodes were asked by others.
    pub(crate) asked: u64,
    /// What nodes reported.
    pub(crate) reports: Vec<(usize, Report)>,
    /// The answers to what was asked without a client, by name of the node and of the question.
    pub(crate) answers: BTreeMap<(usize, QuestionId), Response>,
    events: BTreeMap<(Duration, u64), Event>,
    pub(crate) sequence: u64,
}

impl World {
    pub(crate) fn new(mut choices: Choices, verbose: bool) -> Self {
        let options = Options::draw(&mut choices);
        let nodes = options.nodes;
        let mut world = Self::empty(choices, options, verbose);
        for _ in 0..nodes {
            world.add_node();
        }
        world
    }

    /// A world without nodes.
    pub(crate) fn empty(choices: Choices, options: Options, verbose: bool) -> Self {
        let world = Self {
            choices,
            options,
            now: Duration::ZERO,
            nodes: Vec::new(),
            clients: Vec::new(),
            liars: BTreeMap::new(),
            links: Links::default(),
            closed: None,
            oracle: Oracle::default(),
            trace: Trace::new(verbose),
            counts: Counts::default(),
            violation: None,
            held_when_asked: BTreeMap::new(),
            current: 0,
            deleted: BTreeSet::new(),
            deletions_told: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            faulty: false,
            publishing: true,
            fewest: usize::MAX,
            repairs: 0,
            is_unproven: false,
            asked: 0,
            reports: Vec::new(),
            answers: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        world.trace.note(world.now, || format!("{:?}", world.options));
        world
    }

    /// What members of a group have acknowledged.
    pub(crate) fn acknowledged_of(
        &mut self,
        topic: usize,
        group: &SubscriberName,
    ) -> &mut BTreeSet<RecordId> {
        self.acknowledged.entry((topic, group.clone())).or_default()
    }

    /// The id of the first topic of a name.
    pub(crate) fn topic_named(name: &TopicName) -> TopicId {
        TopicId::derive(&Realm::default(), name)
    }

    /// The id of a topic of this run.
    pub(crate) fn topic(&self, number: usize) -> TopicId {
        self.options.topics[number].id
    }

    /// The number of a topic of this run.
    pub(crate) fn topic_number(&self, id: &TopicId) -> Option<usize> {
        (0..self.options.topics.len()).find(|number| self.topic(*number) == *id)
    }

    /// Whether somebody has asked to delete a topic.
    pub(crate) fn is_deleted(&self, topic: &TopicId) -> bool {
        self.deleted.iter().any(|deleted| self.topic(*deleted) == *topic)
    }

    /// Whether retention, compaction, or the deletion of its topic, has removed a batch somewhere,
    /// or a closure has made it void.
    pub(crate) fn is_let_go(&self, batch: &Batch) -> bool {
        self.is_deleted(&batch.header().topic)
            || self.is_void(batch)
            || self.oracle.is_cut(batch)
            || self.oracle.compacted.contains(&batch.hash())
    }

    /// How many copies of the batches of a topic are kept: as many as it wants, or as nodes were
    /// left when most of them had been asked to leave. Those of liars do not count.
    pub(crate) fn kept_copies(&self, topic: usize) -> usize {
        let some_leave = self.fewest < usize::MAX;
        let fewest =
            if some_leave { self.fewest.min(self.met().len().max(1)) } else { self.fewest };
        self.honest(usize::from(self.fewest_replicas(topic)).min(fewest))
    }

    /// Whether any node that runs knows the name and the terms of a topic.
    pub(crate) fn knows_terms(&self, topic: usize) -> bool {
        let id = self.topic(topic);
        let engines = self.nodes.iter().filter_map(|node| node.engine.as_ref());
        engines.into_iter().any(|engine| engine.topic_name(&id).is_some())
    }

    /// Whether fewer nodes are left than the floor of a topic.
    pub(crate) fn is_out_of_reach(&self, topic: usize) -> bool {
        self.stays().len() < usize::from(self.min_copies(topic))
    }

    /// How many copies of a batch faults have destroyed. A damaged one that was cloned with its
    /// disk counts against both: see "known" in `docs/simulation.md`.
    pub(crate) fn copies_lost(&self, known: &Known) -> usize {
        let damaged = |node: &&Node| node.disk.image.is_damaged(&known.batch);
        let damaged = self.nodes.iter().filter(damaged);
        known.losses.max(damaged.count())
    }

    pub(crate) fn index(&self, id: &NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == *id)
    }

    /// Nodes whose engine runs, liars too.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].engine.is_some()).collect()
    }

    /// A number that was never given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn event(&mut self, after: Duration, event: Event) {
        let number = self.number();
        self.events.insert((self.now + after, number), event);
    }

    /// An input for the engine that runs at a node now.
    pub(crate) fn input(&mut self, index: usize, after: Duration, input: Input) {
        let life = self.nodes[index].life;
        self.event(after, Event::Input(index, life, input));
    }

    /// Lets time pass, until something is found to be wrong.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.violation.is_none() && self.step(end) {}
        self.now = self.now.max(end);
    }

    /// Lets time pass until something holds, at most so long; whether it does.
    pub(crate) fn run_until(&mut self, at_most: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + at_most;
        while self.now < end && self.violation.is_none() {
            if holds(self) {
                return true;
            }
            self.run(Duration::from_secs(1));
        }
        holds(self)
    }

    fn timer(&self) -> Option<(Duration, usize)> {
        let timers = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let due = node.started + node.engine.as_ref().map(Engine::next_timeout)?;
            Some((due.max(node.paused_until), index))
        });
        timers.min()
    }

    /// Does what is due next, if that is until `end`; whether there was anything.
    pub(crate) fn step(&mut self, end: Duration) -> bool {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timer();
        let at = match (timer, event) {
            (Some((timer, _)), Some(event)) => timer.min(event),
            (Some((at, _)), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        if at > end {
            return false;
        }
        self.counts.steps += 1;
        self.now = self.now.max(at);
        match timer {
            Some((due, index)) if event.is_none_or(|event| due < event) => {
                self.handle(index, Input::Timeout);
            }
            Some(_) | None => {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                }
            }
        }
        true
    }

    /// Whether a node in this life can take something now; if it is paused, it comes later.
    fn takes(&self, index: usize, life: u64) -> Takes {
        let node = &self.nodes[index];
        if node.life != life || node.engine.is_none() {
            Takes::Never
        } else if node.paused_until > self.now || !node.backlog.is_empty() {
            Takes::Later
        } else {
            Takes::Now
        }
    }

    fn happen(&mut self, event: Event) {
        let at = match &event {
            Event::Input(index, life, _)
            | Event::Flushed(index, life, _)
            | Event::Scrub(index, life)
            | Event::Heartbeat(index, life) => Some((*index, *life)),
            Event::Message(message) => {
                let dials = matches!(message.what, What::Dial);
                let life = if dials { self.nodes[message.to.0].life } else { message.to.1 };
                Some((message.to.0, life))
            }
            Event::Question(index, ..) => Some((*index, self.nodes[*index].life)),
            Event::Fault
            | Event::Forget
            | Event::Twin(..)
            | Event::Resume(_)
            | Event::Lie(_)
            | Event::Look
            | Event::Start(_)
            | Event::Answer(..)
            | Event::Wake(..) => None,
        };
        match at.map(|(index, life)| (index, self.takes(index, life))) {
            Some((index, Takes::Later)) => self.put_off(index, event),
            Some((_, Takes::Never)) => self.missed(event),
            Some((_, Takes::Now)) | None => self.take(event),
        }
    }

    /// What comes for a node that is paused waits, in order.
    fn put_off(&mut self, index: usize, event: Event) {
        if self.nodes[index].backlog.is_empty() {
            let pause = self.nodes[index].paused_until.saturating_sub(self.now);
            self.event(pause, Event::Resume(index));
        }
        self.nodes[index].backlog.push_back(event);
    }

    fn resume(&mut self, index: usize) {
        let pause = self.nodes[index].paused_until.saturating_sub(self.now);
        if pause > Duration::ZERO {
            return self.event(pause, Event::Resume(index));
        }
        for event in std::mem::take(&mut self.nodes[index].backlog) {
            self.happen(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input(index, _, input) => self.handle(index, input),
            Event::Flushed(index, _, number) => self.flushed(index, number),
            Event::Heartbeat(index, _) => self.heartbeat(index),
            Event::Scrub(index, _) => self.scrub_due(index),
            Event::Resume(index) => self.resume(index),
            Event::Fault => self.fault(),
            Event::Forget => self.forget_the_gone(),
            Event::Twin(node, index, batches) => self.twin_sends(node, index, batches),
            Event::Lie(index) => self.lie_due(index),
            Event::Look => self.look(),
            Event::Start(index) => self.start(index),
            Event::Message(message) => self.arrived(message),
            Event::Question(index, client, serial, request) => {
                self.client_asks(index, client, serial, request);
            }
            Event::Answer(client, serial, response) => self.client_told(client, serial, response),
            Event::Wake(client, serial) => self.client_wakes(client, serial),
        }
    }

    /// What was meant for a life of a node that is over.
    pub(crate) fn missed(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.undelivered(&message),
            Event::Question(_, client, serial, _) => {
                self.event(Duration::from_millis(1), Event::Answer(client, serial, None));
            }
            _ => {}
        }
    }

    /// Takes note of what is wrong; the first finding ends the run.
    pub(crate) fn check(&mut self, invariant: &'static str, result: Result<(), String>) {
        if let Err(reason) = result
            && self.violation.is_none()
        {
            self.trace.note(self.now, || format!("VIOLATED {invariant}: {reason}"));
            self.violation = Some(Violation { invariant, reason, at: self.now });
        }
    }
}

enum Takes {
    Now,
    Later,
    Never,
}
