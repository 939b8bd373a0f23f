//! A world for engines: a network, disks and a clock that are data, so that a test decides what
//! happens when. One thread, no waiting: time moves from one event to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    engine::{
        AskId, Config, Damage, Engine, Failure, FlushGate, Input, Now, Output, QuestionId, Report,
        Write, WriteNumber,
    },
    model::{
        Batch, ForkProof, Incarnation, Network, NodeId, NodeKey, Record, TopicId, TopicName,
        WallClock,
    },
    wire::{Contact, Gossip, Request, Response},
};

use crate::disk::Disk;

mod script;

/// One way over the network.
const LATENCY: Duration = Duration::from_micros(200);
/// From a write to its flush.
const FLUSH: Duration = Duration::from_micros(500);
/// From a dial to a connection; after the loss of an older one was noticed.
const CONNECT: Duration = Duration::from_millis(2);
/// From a silent loss of the connection to the notice of it.
const NOTICE: Duration = Duration::from_millis(1);

struct Node {
    key: NodeKey,
    engine: Option<Engine>,
    started: Duration,
    /// How far its clock is ahead, in milliseconds.
    clock: i64,
    life: u64,
    disk: Disk,
    /// Writes that are not flushed: lost in a crash.
    pending: Vec<(WriteNumber, Write)>,
    connected: BTreeSet<usize>,
    following: BTreeSet<TopicId>,
    gate: FlushGate,
    /// How many questions it was asked in this life: each is named by how many came before it.
    questions: u64,
    /// Who waits for the answers.
    askers: BTreeMap<QuestionId, Asker>,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// A client: the test.
    Client,
    /// Another node, in this life of it, and under which name it asked.
    Node(usize, u64, AskId),
}

/// A question of a client: at which node, and under which name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) question: QuestionId,
}

enum Event {
    Input(Input),
    Flush(WriteNumber),
    /// A request on its way: who asked, and under which name.
    Request(usize, AskId, Request),
    /// An answer on its way back.
    Response(AskId, Result<Response, Failure>),
}

/// Engines, and the world around them.
pub(crate) struct World {
    now: Duration,
    nodes: Vec<Node>,
    /// What will happen: when, in which order, at which node, in which of its lives.
    events: BTreeMap<(Duration, u64), (usize, u64, Event)>,
    sequence: u64,
    answers: BTreeMap<Asked, Response>,
    cut: BTreeSet<(usize, usize)>,
    pub(crate) reports: Vec<(usize, Report)>,
    pub(crate) asked: u64,
    /// Nodes that have left.
    pub(crate) left: BTreeSet<usize>,
    /// Records that the last fetch was told to be lost.
    pub(crate) lost: u64,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            answers: BTreeMap::new(),
            cut: BTreeSet::new(),
            reports: Vec::new(),
            asked: 0,
            left: BTreeSet::new(),
            lost: 0,
        };
        for _ in 0..nodes {
            world.add();
        }
        world
    }

    /// Starts one more node; it learns of the first one.
    pub(crate) fn add(&mut self) -> usize {
        let index = self.nodes.len();
        let number = u8::try_from(index + 1).unwrap();
        self.nodes.push(Node {
            key: NodeKey::from_secret(&[number; 32]),
            engine: None,
            started: Duration::ZERO,
            clock: 0,
            life: 0,
            disk: Disk::default(),
            pending: Vec::new(),
            connected: BTreeSet::new(),
            following: BTreeSet::new(),
            gate: FlushGate::default(),
            questions: 0,
            askers: BTreeMap::new(),
        });
        self.start(index);
        if index > 0 {
            let contact = self.contact(0);
            self.input(index, LATENCY, Input::Discovered(contact));
        }
        index
    }

    /// Starts a node, or starts it again from its disk, as after a crash.
    pub(crate) fn start(&mut self, index: usize) {
        self.start_after(index, BTreeSet::new());
    }

    /// Starts a node that continues earlier lives.
    pub(crate) fn start_after(&mut self, index: usize, earlier: BTreeSet<Incarnation>) {
        let catalogue = Self::catalogue();
        let node = &mut self.nodes[index];
        node.life += 1;
        let incarnation = Incarnation((index as u64) << 32 | node.life);
        let mut config =
            Config::new(node.key.clone(), Network::default(), incarnation, index as u64);
        config.earlier = earlier;
        node.engine = Some(Engine::new(config, node.disk.recover(catalogue)));
        node.started = self.now;
        node.questions = 0;
        node.askers.clear();
        self.input(index, Duration::ZERO, Input::Timeout);
    }

    /// Kills a node: what it has not flushed is lost, its connections close.
    pub(crate) fn kill(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.engine = None;
        node.pending.clear();
        node.gate = FlushGate::default();
        node.following.clear();
        let id = node.key.node();
        for other in std::mem::take(&mut node.connected) {
            self.nodes[other].connected.remove(&index);
            self.input(other, NOTICE, Input::Disconnected(id));
        }
    }

    /// Stops a node when the others are told and all is flushed; the life that has ended.
    pub(crate) fn stop(&mut self, index: usize) -> Incarnation {
        self.input(index, Duration::ZERO, Input::Stopping);
        self.run(FLUSH * 2 + LATENCY);
        self.kill(index);
        Incarnation((index as u64) << 32 | self.nodes[index].life)
    }

    /// Puts another disk into a node that does not run.
    pub(crate) fn replace_disk(&mut self, index: usize, disk: Disk) {
        self.nodes[index].disk = disk;
    }

    /// Takes a batch of a topic off a disk without a word to anybody.
    pub(crate) fn remove_stored(&mut self, index: usize, number: usize) {
        let topic = Self::topic("t");
        let batches = &mut self.nodes[index].disk.batches;
        let place = batches.keys().filter(|(of, ..)| *of == topic).nth(number).copied();
        batches.remove(&place.unwrap());
    }

    /// A node comes upon a damaged batch of its own disk.
    pub(crate) fn damage(&mut self, index: usize, damage: Damage) {
        self.input(index, Duration::ZERO, Input::Damaged(damage));
    }

    /// A node's disk has room for records, or no longer.
    pub(crate) fn room(&mut self, index: usize, room: bool) {
        self.input(index, Duration::ZERO, Input::Room(room));
    }

    /// An operator says that a node will not come back.
    pub(crate) fn forget(&mut self, index: usize, node: usize) {
        let node = self.id(node);
        assert_eq!(self.call(index, Request::Forget(node)), Response::Forgotten(true));
    }

    /// Destroys what a node has on its disk.
    pub(crate) fn wipe(&mut self, index: usize) {
        self.nodes[index].disk = Disk::default();
    }

    /// Sets a node's clock, to so many milliseconds ahead of what time it is.
    pub(crate) fn set_clock(&mut self, index: usize, ahead: i64) {
        self.nodes[index].clock = ahead;
        self.input(index, Duration::ZERO, Input::Timeout);
    }

    /// Cuts two nodes off from each other, without either being told.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// Undoes all cuts.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Connects two nodes now, whatever their engines would do.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        self.dial(one, &self.contact(other));
    }

    /// The forks that a node has the proof of.
    pub(crate) fn proofs(&self, index: usize) -> &[ForkProof] {
        &self.disk(index).tables.forks
    }

    /// The key of a node: what a twin of it signs with.
    pub(crate) fn key(&self, index: usize) -> NodeKey {
        self.nodes[index].key.clone()
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        self.nodes[index].key.node()
    }

    pub(crate) fn index(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.key.node() == *id).unwrap()
    }

    pub(crate) fn disk(&self, index: usize) -> &Disk {
        &self.nodes[index].disk
    }

    /// What a clock reads that is right.
    pub(crate) fn wall(&self) -> WallClock {
        WallClock(1_700_000_000_000).plus(self.now)
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    fn contact(&self, index: usize) -> Contact {
        Contact::new(self.id(index), vec![format!("/memory/{}", index + 1)])
    }

    fn input(&mut self, index: usize, after: Duration, input: Input) {
        self.event(index, after, Event::Input(input));
    }

    fn event(&mut self, index: usize, after: Duration, event: Event) {
        self.sequence += 1;
        let life = self.nodes[index].life;
        self.events.insert((self.now + after, self.sequence), (index, life, event));
    }

    /// Lets time pass until nothing but the engines' own timers is due, at most to `end`.
    fn step(&mut self, end: Duration) -> bool {
        let timer = (0..self.nodes.len())
            .filter_map(|index| {
                let node = &self.nodes[index];
                let engine = node.engine.as_ref()?;
                Some((node.started + engine.next_timeout(), index))
            })
            .min();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        match (timer, event) {
            (Some((at, index)), event) if event.is_none_or(|event| at < event) => {
                if at > end {
                    return false;
                }
                self.now = self.now.max(at);
                self.pings(index);
                self.handle(index, Input::Timeout);
            }
            (_, Some(at)) => {
                if at > end {
                    return false;
                }
                self.now = self.now.max(at);
                let (_, (index, life, event)) = self.events.pop_first().unwrap();
                if self.nodes[index].life == life && self.nodes[index].engine.is_some() {
                    self.happen(index, event);
                } else if let Event::Request(asker, ask, _) = event {
                    let failed = Event::Response(ask, Err(Failure::Unreachable));
                    self.event(asker, LATENCY, failed);
                }
            }
            (_, None) => return false,
        }
        true
    }

    /// The transport's pings: who is connected and not cut off is heard.
    fn pings(&mut self, index: usize) {
        for other in self.nodes[index].connected.clone() {
            if !self.cut.contains(&(index, other)) && self.nodes[other].engine.is_some() {
                let id = self.id(other);
                self.handle(index, Input::Heard(id, Some(LATENCY * 2)));
            }
        }
    }

    fn happen(&mut self, index: usize, event: Event) {
        match event {
            Event::Input(input) => self.handle(index, input),
            Event::Flush(number) => {
                let node = &mut self.nodes[index];
                for (written, write) in std::mem::take(&mut node.pending) {
                    if written <= number {
                        node.disk.apply(&write);
                    } else {
                        node.pending.push((written, write));
                    }
                }
                for output in self.nodes[index].gate.flushed(number) {
                    self.carry_out(index, output);
                }
                self.handle(index, Input::Durable(number));
            }
            Event::Request(asker, ask, request) => {
                let question =
                    self.question(index, Asker::Node(asker, self.nodes[asker].life, ask));
                let from = Some(self.id(asker));
                self.asked += 1;
                self.handle(index, Input::Asked { question, from, request });
            }
            Event::Response(ask, result) => self.handle(index, Input::Told { ask, result }),
        }
    }

    fn handle(&mut self, index: usize, input: Input) {
        let wall = self.wall();
        let node = &mut self.nodes[index];
        let elapsed = self.now.saturating_sub(node.started);
        let wall = WallClock(wall.0.saturating_add_signed(node.clock));
        let Some(engine) = &mut node.engine else {
            return;
        };
        engine.handle(Now { elapsed, wall }, input);
        while let Some(output) = self.nodes[index].engine.as_mut().and_then(Engine::poll_output) {
            self.carry_out(index, output);
        }
    }

    /// As the node does it: the mesh is not used where all who follow are sent the batch anyway.
    fn gossip(&mut self, index: usize, batch: &Batch, sent_to: &[NodeId]) {
        let topic = batch.header().topic;
        let connected = self.nodes[index].connected.clone();
        let follows = |other: &usize| self.nodes[*other].following.contains(&topic);
        let followers: Vec<usize> = connected.into_iter().filter(follows).collect();
        if followers.iter().all(|other| sent_to.contains(&self.nodes[*other].key.node())) {
            return;
        }
        for other in followers {
            if !self.cut.contains(&(index, other)) {
                self.input(other, LATENCY, Input::Gossiped(Gossip::Batch(batch.clone())));
            }
        }
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        let Some(output) = self.nodes[index].gate.pass(output) else { return };
        match output {
            Output::Answer { question, response, .. } => self.answer(index, question, response),
            Output::Ask { ask, to, request } => {
                let to = self.index(&to);
                if self.nodes[index].connected.contains(&to) {
                    if !self.cut.contains(&(index, to)) {
                        self.event(to, LATENCY, Event::Request(index, ask, request));
                    }
                } else {
                    let failed = Event::Response(ask, Err(Failure::Unreachable));
                    self.event(index, LATENCY, failed);
                }
            }
            Output::Write(number, write) => {
                self.nodes[index].pending.push((number, write));
                self.event(index, FLUSH, Event::Flush(number));
            }
            Output::Read { ticket, topic, ranges, early, bytes_max, .. } => {
                let page = self.nodes[index].disk.read(topic, &ranges, &early, bytes_max);
                self.input(index, LATENCY, Input::ReadDone(ticket, Some(page)));
            }
            Output::Check { ticket, topic, range, .. } => {
                let checked = self.nodes[index].disk.check(topic, &range);
                self.input(index, LATENCY, Input::CheckDone(ticket, Some(checked)));
            }
            Output::Measure { ticket, topic, ranges, .. } => {
                let parts = self.nodes[index].disk.measure(topic, &ranges);
                self.input(index, LATENCY, Input::MeasureDone(ticket, Some(parts)));
            }
            Output::Sweep { ticket, topic, sweep, .. } => {
                let Ok(swept) = sweep.run(&self.nodes[index].disk.shelf(topic));
                self.input(index, LATENCY, Input::SweepDone(ticket, Some(swept)));
            }
            Output::Left => {
                self.left.insert(index);
            }
            Output::Gossip { batch, sent_to } => self.gossip(index, &batch, &sent_to),
            Output::Follow(topic) => {
                self.nodes[index].following.insert(topic);
            }
            Output::Unfollow(topic) => {
                self.nodes[index].following.remove(&topic);
            }
            Output::Dial(contact) => self.dial(index, &contact),
            Output::Disconnect(node) => {
                let other = self.index(&node);
                self.disconnect(index, other);
            }
            Output::Report(report) => self.reports.push((index, report)),
            Output::Locate(topic) => {
                let holds = |node: &&Node| node.disk.batches.keys().any(|key| key.0 == topic);
                let holders = self.nodes.iter().filter(holds).map(|node| node.key.node());
                let holders = holders.collect();
                self.input(index, LATENCY, Input::Located(topic, holders));
            }
            Output::Provide(_) | Output::Unprovide(_) => {}
        }
    }

    fn dial(&mut self, index: usize, contact: &Contact) {
        let other = self.index(&contact.node);
        let reachable = self.nodes[other].engine.is_some() && !self.cut.contains(&(index, other));
        if reachable && self.nodes[index].connected.insert(other) {
            self.nodes[other].connected.insert(index);
            let (one, two) = (self.contact(index), self.contact(other));
            self.input(index, CONNECT, Input::Connected(two));
            self.input(other, CONNECT, Input::Connected(one));
        }
    }

    fn disconnect(&mut self, index: usize, other: usize) {
        if self.nodes[index].connected.remove(&other) {
            self.nodes[other].connected.remove(&index);
            let (one, two) = (self.id(index), self.id(other));
            self.input(index, NOTICE, Input::Disconnected(two));
            self.input(other, NOTICE, Input::Disconnected(one));
        }
    }

    fn answer(&mut self, index: usize, question: QuestionId, response: Response) {
        match self.nodes[index].askers.remove(&question).expect("a question is answered once") {
            Asker::Client => {
                self.answers.insert(Asked { node: index, question }, response);
            }
            Asker::Node(asker, life, ask) => {
                if self.nodes[asker].life == life && !self.cut.contains(&(index, asker)) {
                    self.event(asker, LATENCY, Event::Response(ask, Ok(response)));
                }
            }
        }
    }

    /// Names a question to a node: the first one of a life is 0, as in a process.
    fn question(&mut self, index: usize, asker: Asker) -> QuestionId {
        let node = &mut self.nodes[index];
        let question = QuestionId(node.questions);
        node.questions += 1;
        node.askers.insert(question, asker);
        question
    }
}

pub(crate) fn payloads_of(batch: &Batch) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.payload.to_vec()).unwrap();
    batch.records().map(|record| text(record.unwrap())).collect()
}

impl World {
    pub(crate) fn catalogue() -> TopicId {
        TopicId::derive(&Network::default(), &TopicName::catalogue())
    }

    pub(crate) fn topic(name: &str) -> TopicId {
        TopicId::derive(&Network::default(), &name.parse().unwrap())
    }
}
