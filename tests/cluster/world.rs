//! A world for engines: a network, disks and a clock that are data, so that a test decides what
//! happens when. One thread, no waiting: time moves from one event to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    engine::{
        AskId, Config, Engine, Failure, Input, Now, Output, QuestionId, Report, Write, WriteNumber,
    },
    model::{
        Batch, Blob, Cursor, Incarnation, Network, NodeId, NodeKey, ProducerId, Record, TopicId,
        TopicName, WallClock, encode_record,
    },
    wire::{Acks, Contact, Create, Gossip, Publish, Published, Read, Request, Response, Surveyed},
};

use crate::disk::Disk;

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
    life: u64,
    disk: Disk,
    /// Writes that are not flushed: lost in a crash.
    pending: Vec<(WriteNumber, Write)>,
    connected: BTreeSet<usize>,
    following: BTreeSet<TopicId>,
    held_back: Vec<(WriteNumber, Output)>,
    durable: WriteNumber,
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
    /// Who waits for the answer to a question.
    askers: BTreeMap<(usize, QuestionId), (usize, u64, AskId)>,
    answers: BTreeMap<QuestionId, Response>,
    cut: BTreeSet<(usize, usize)>,
    pub(crate) reports: Vec<(usize, Report)>,
    pub(crate) asked: u64,
}

const CLIENT_QUESTIONS: u64 = 1 << 60;

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            askers: BTreeMap::new(),
            answers: BTreeMap::new(),
            cut: BTreeSet::new(),
            reports: Vec::new(),
            asked: 0,
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
            life: 0,
            disk: Disk::default(),
            pending: Vec::new(),
            connected: BTreeSet::new(),
            following: BTreeSet::new(),
            held_back: Vec::new(),
            durable: WriteNumber(0),
        });
        self.start(index);
        if index > 0 {
            let contact = self.contact(0);
            self.input(index, LATENCY, Input::Discovered(contact));
        }
        index
    }

    /// Starts a node, or starts it again from its disk.
    pub(crate) fn start(&mut self, index: usize) {
        let catalogue = TopicId::derive(&Network::default(), &TopicName::catalogue());
        let node = &mut self.nodes[index];
        node.life += 1;
        let incarnation = Incarnation((index as u64) << 32 | node.life);
        let config = Config::new(node.key.clone(), Network::default(), incarnation, index as u64);
        node.engine = Some(Engine::new(config, node.disk.recover(catalogue)));
        node.started = self.now;
        node.durable = WriteNumber(0);
        self.input(index, Duration::ZERO, Input::Timeout);
    }

    /// Kills a node: what it has not flushed is lost, its connections close.
    pub(crate) fn kill(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.engine = None;
        node.pending.clear();
        node.held_back.clear();
        node.following.clear();
        let id = node.key.node();
        for other in std::mem::take(&mut node.connected) {
            self.nodes[other].connected.remove(&index);
            self.input(other, NOTICE, Input::Disconnected(id));
        }
    }

    /// Destroys what a node has on its disk.
    pub(crate) fn wipe(&mut self, index: usize) {
        self.nodes[index].disk = Disk::default();
    }

    /// Cuts two nodes off from each other, without either being told.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// Undoes all cuts.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
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

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    fn contact(&self, index: usize) -> Contact {
        Contact { node: self.id(index), addresses: vec![format!("/memory/{}", index + 1)] }
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
                node.durable = number;
                for (written, write) in std::mem::take(&mut node.pending) {
                    if written <= number {
                        node.disk.apply(write);
                    } else {
                        node.pending.push((written, write));
                    }
                }
                let (ready, rest) = std::mem::take(&mut node.held_back)
                    .into_iter()
                    .partition(|(after, _)| *after <= number);
                node.held_back = rest;
                for (_, output) in ready {
                    self.carry_out(index, output);
                }
                self.handle(index, Input::Durable(number));
            }
            Event::Request(asker, ask, request) => {
                self.sequence += 1;
                let question = QuestionId(self.sequence);
                let life = self.nodes[asker].life;
                self.askers.insert((index, question), (asker, life, ask));
                let from = Some(self.id(asker));
                self.asked += 1;
                self.handle(index, Input::Asked { question, from, request });
            }
            Event::Response(ask, result) => self.handle(index, Input::Told { ask, result }),
        }
    }

    fn handle(&mut self, index: usize, input: Input) {
        let node = &mut self.nodes[index];
        let elapsed = self.now.saturating_sub(node.started);
        let wall = WallClock(1_700_000_000_000).plus(self.now);
        let Some(engine) = &mut node.engine else {
            return;
        };
        engine.handle(Now { elapsed, wall }, input);
        while let Some(output) = self.nodes[index].engine.as_mut().and_then(Engine::poll_output) {
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        let durable = self.nodes[index].durable;
        match output {
            Output::Answer { after: Some(after), .. } | Output::Read { after: Some(after), .. }
                if after > durable =>
            {
                self.nodes[index].held_back.push((after, output));
            }
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
            Output::Read { ticket, topic, ranges, bytes_max, .. } => {
                let page = self.nodes[index].disk.read(topic, &ranges, bytes_max);
                self.input(index, LATENCY, Input::ReadDone(ticket, Some(page)));
            }
            Output::Gossip(batch) => {
                let topic = batch.header().topic;
                for other in self.nodes[index].connected.clone() {
                    let follows = self.nodes[other].following.contains(&topic);
                    if follows && !self.cut.contains(&(index, other)) {
                        let gossip = Gossip::Batch(batch.clone());
                        self.input(other, LATENCY, Input::Gossiped(gossip));
                    }
                }
            }
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
        if question.0 >= CLIENT_QUESTIONS {
            let twice = self.answers.insert(question, response);
            assert!(twice.is_none(), "a question is answered once");
            return;
        }
        let asker = self.askers.remove(&(index, question));
        let (asker, life, ask) = asker.expect("a question is answered once");
        if self.nodes[asker].life == life && !self.cut.contains(&(index, asker)) {
            self.event(asker, LATENCY, Event::Response(ask, Ok(response)));
        }
    }

    // --- what a test does ------------------------------------------------------------------

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something holds, at most so long.
    #[track_caller]
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        at_most: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) {
        let end = self.now + at_most;
        while !holds(self) {
            let next = (self.now + Duration::from_millis(50)).min(end);
            while self.step(next) {}
            self.now = next;
            assert!(self.now < end, "not within {at_most:?}: {what}");
        }
    }

    /// Asks a node as a client.
    pub(crate) fn ask(&mut self, index: usize, request: Request) -> QuestionId {
        self.sequence += 1;
        let question = QuestionId(CLIENT_QUESTIONS + self.sequence);
        self.input(index, LATENCY, Input::Asked { question, from: None, request });
        question
    }

    /// Asks a node as another one does.
    #[track_caller]
    pub(crate) fn call_from(&mut self, from: NodeId, index: usize, request: Request) -> Response {
        self.sequence += 1;
        let question = QuestionId(CLIENT_QUESTIONS + self.sequence);
        let what = format!("{request:?}");
        self.input(index, LATENCY, Input::Asked { question, from: Some(from), request });
        let end = self.now + Duration::from_secs(40);
        loop {
            if let Some(response) = self.answered(question) {
                return response;
            }
            assert!(self.step(end), "no answer to {what}");
        }
    }

    /// The answer to a question, if it has come.
    pub(crate) fn answered(&mut self, question: QuestionId) -> Option<Response> {
        self.answers.remove(&question)
    }

    /// Asks a node as a client and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&mut self, index: usize, request: Request) -> Response {
        let what = format!("{request:?}");
        let question = self.ask(index, request);
        let end = self.now + Duration::from_secs(40);
        loop {
            if let Some(response) = self.answered(question) {
                return response;
            }
            assert!(self.step(end), "no answer to {what}");
        }
    }

    /// Waits until every node knows all others that run.
    pub(crate) fn join(&mut self) {
        let running = self.nodes.iter().filter(|node| node.engine.is_some()).count();
        self.run_until("all nodes are connected", Duration::from_secs(20), |world| {
            let nodes = world.nodes.iter().filter(|node| node.engine.is_some());
            nodes.into_iter().all(|node| node.connected.len() == running - 1)
        });
        self.run(Duration::from_millis(300));
    }

    #[track_caller]
    pub(crate) fn create(&mut self, index: usize, name: &str, replicas: u16) -> Vec<usize> {
        let create = Create {
            name: name.parse().unwrap(),
            replicas: Some(replicas),
            min_copies: None,
            if_not_exists: false,
        };
        match self.call(index, Request::Create(create)) {
            Response::Created(summary, false) => {
                summary.owners.iter().map(|node| self.index(node)).collect()
            }
            other => panic!("not created: {other:?}"),
        }
    }

    pub(crate) fn publish_request(
        name: &str,
        producer: u8,
        first: u64,
        payloads: &[String],
    ) -> Publish {
        let mut records = Vec::new();
        for payload in payloads {
            let record = Record::new(WallClock(1), payload.clone().into_bytes());
            encode_record(&record, &mut records).unwrap();
        }
        Publish {
            topic: name.parse().unwrap(),
            producer: ProducerId([producer; 16]),
            first,
            records: Blob(records.into()),
            acks: Acks::Quorum,
            timeout_ms: 5_000,
        }
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, index: usize, publish: Publish) -> Published {
        match self.call(index, Request::Publish(publish)) {
            Response::Published(published) => published,
            other => panic!("not published: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn survey(&mut self, index: usize, name: &str) -> Surveyed {
        match self.call(index, Request::Survey(name.parse().unwrap())) {
            Response::Surveyed(surveyed) => surveyed,
            other => panic!("not surveyed: {other:?}"),
        }
    }

    pub(crate) fn read_request(name: &str, after: &Cursor, until: Option<&Cursor>) -> Request {
        Request::Read(Read {
            topic: name.parse().unwrap(),
            after: after.clone(),
            until: until.cloned(),
            bytes_max: 64 * 1024,
            wait_ms: 10_000,
        })
    }

    /// All payloads of a topic, as a client of this node reads them.
    #[track_caller]
    pub(crate) fn fetch(&mut self, index: usize, name: &str) -> Vec<String> {
        let surveyed = self.survey(index, name);
        let mut cursor = Cursor::start(surveyed.end.topic);
        let mut payloads = Vec::new();
        while !cursor.reaches(&surveyed.end) {
            let request = Self::read_request(name, &cursor, Some(&surveyed.end));
            let Response::Page(page) = self.call(index, request) else { panic!("no page") };
            assert!(!page.batches.is_empty(), "a page before the end has batches");
            for batch in page.batches {
                payloads.extend(payloads_of(&batch));
                cursor.advance(&batch);
            }
        }
        payloads
    }
}

pub(crate) fn payloads_of(batch: &Batch) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.payload.to_vec()).unwrap();
    batch.records().map(|record| text(record.unwrap())).collect()
}

impl World {
    pub(crate) fn topic(name: &str) -> TopicId {
        TopicId::derive(&Network::default(), &name.parse().unwrap())
    }
}
