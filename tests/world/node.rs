//! One node: its engine, its disk, its connections, and how its outputs are carried out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use antiphon::{
    engine::{AskId, Config, Engine, FlushGate, Input, Now, Output, QuestionId, Report},
    limits::HEARTBEAT_INTERVAL,
    model::{
        Hash, Incarnation, Network, NodeId, NodeKey, RecordId, TopicId, WallClock,
        roster::Statement,
    },
    wire::{Contact, NodeRequest, Request, Response},
};

use crate::world::{
    Event, What, World,
    closed::{Admission, ClosedNetwork},
    disk::Disk,
    invariants::{answers, bounds, one_position, outbox, put_out, removal, statements, truth},
};

/// Who waits for the answer to a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker {
    Node(usize, u64, AskId),
    Client(usize, u64),
    /// No client: the world itself, or a test, which finds the answer in `World::answers`.
    World,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// The life that the other node was in.
    pub(crate) life: u64,
    pub(crate) number: u64,
    pub(crate) since: Duration,
}

/// One node.
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    pub(crate) id: NodeId,
    pub(crate) engine: Option<Engine>,
    pub(crate) started: Duration,
    pub(crate) life: u64,
    pub(crate) incarnation: Incarnation,
    /// The lives before that this one continues.
    pub(crate) earlier: BTreeSet<Incarnation>,
    pub(crate) disk: Disk,
    /// What it has of its closed network; none in an open one.
    pub(crate) admission: Option<Admission>,
    /// To whom it is connected.
    pub(crate) connected: BTreeMap<usize, Connection>,
    pub(crate) following: BTreeSet<TopicId>,
    pub(crate) gate: FlushGate,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) wall_offset: i64,
    pub(crate) paused_until: Duration,
    /// What came while it was paused.
    pub(crate) backlog: VecDeque<Event>,
    /// Whether it is destroyed for good, or has left.
    pub(crate) gone: bool,
    /// Whether it is a liar.
    pub(crate) lies: bool,
    /// Whether it was asked to leave since it was started.
    pub(crate) leaves: bool,
    /// Whether it has told others that it leaves, in this life.
    pub(crate) tells_leaving: bool,
    /// How many questions it was asked in this life: each is named by how many came before it, as
    /// in a process.
    questions: u64,
    /// The questions that it has not answered, and since when.
    pub(crate) open: BTreeMap<QuestionId, (Asker, Duration)>,
    /// Questions of twins, and what they sent.
    pub(crate) twins: BTreeMap<QuestionId, Vec<Hash>>,
    /// The questions for whose answers nobody waits any more.
    pub(crate) abandoned: BTreeSet<QuestionId>,
    /// What the questions of publishers are about: the topic and the first record.
    pub(crate) publishes: BTreeMap<QuestionId, (usize, RecordId)>,
    /// The statements that questions tell of.
    pub(crate) told: BTreeMap<QuestionId, Vec<Statement>>,
}

/// When the operator says of a node that has left that it will not come back.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// How often the scrub comes by. Quicker than in life, so that a run sees it at work.
pub(crate) const SCRUB_INTERVAL: Duration = Duration::from_secs(5);

/// Time of the simulated world's start, in milliseconds since 1970.
const EPOCH: i64 = 1_700_000_000_000;

/// What a clock says that is right.
pub(crate) fn right_wall(now: Duration) -> WallClock {
    let milliseconds = i64::try_from(now.as_millis()).expect("a short run");
    WallClock((EPOCH + milliseconds).unsigned_abs())
}

impl Node {
    /// What its wall clock says.
    pub(crate) fn wall(&self, now: Duration) -> WallClock {
        let milliseconds = i64::try_from(now.as_millis()).expect("a short run");
        WallClock(u64::try_from(EPOCH + milliseconds + self.wall_offset).unwrap_or(0))
    }
}

impl World {
    /// Adds a node and starts it; it learns of one that is there.
    pub(crate) fn add_node(&mut self) -> usize {
        let index = self.prepare_node();
        self.start(index);
        index
    }

    /// Adds a node that does not run.
    pub(crate) fn prepare_node(&mut self) -> usize {
        let index = self.nodes.len();
        let secret = u8::try_from(index + 1).expect("few nodes");
        let key = NodeKey::from_secret(&[secret; 32]);
        let id = key.node();
        let admission = self.admission(&key);
        self.nodes.push(Node {
            key,
            id,
            engine: None,
            started: Duration::ZERO,
            life: 0,
            incarnation: Incarnation(0),
            earlier: BTreeSet::new(),
            disk: Disk::default(),
            admission,
            connected: BTreeMap::new(),
            following: BTreeSet::new(),
            gate: FlushGate::default(),
            wall_offset: 0,
            paused_until: Duration::ZERO,
            backlog: VecDeque::new(),
            gone: false,
            lies: false,
            leaves: false,
            tells_leaving: false,
            questions: 0,
            open: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            twins: BTreeMap::new(),
            publishes: BTreeMap::new(),
            told: BTreeMap::new(),
        });
        index
    }

    pub(crate) fn contact(&self, index: usize) -> Contact {
        Contact::new(self.nodes[index].id, vec![format!("/memory/{}", index + 1)])
    }

    /// Starts a node from its disk, as a new incarnation. Discovery or a bootstrap list tells it of
    /// one that is there, or was.
    pub(crate) fn start(&mut self, index: usize) {
        if self.nodes[index].engine.is_some() || self.nodes[index].gone {
            return;
        }
        self.launch(index);
        let others: Vec<_> = (0..self.nodes.len()).filter(|other| *other != index).collect();
        if !others.is_empty() {
            let known = others[self.choices.index(others.len())];
            for other in [others[0], known] {
                let contact = self.contact(other);
                self.input(index, Duration::from_millis(1), Input::Discovered(contact));
            }
        }
    }

    /// Starts a node that does not run. Nobody tells it of others.
    pub(crate) fn launch(&mut self, index: usize) {
        let (now, gone_after) = (self.now, self.options.gone_after);
        let probation = self.options.probation;
        let realm = self.closed.as_ref().map(ClosedNetwork::realm);
        let realm = realm.unwrap_or_else(|| Network::default().into());
        let node = &mut self.nodes[index];
        node.life += 1;
        node.leaves = false;
        node.tells_leaving = false;
        node.questions = 0;
        // Any order, as random numbers would have it; never the same.
        let number = (index as u64) << 32 | node.life;
        node.incarnation = Incarnation(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.oracle.lives.insert(node.incarnation);
        let seed = node.incarnation.0 ^ node.life;
        let mut config = Config::new(node.key.clone(), realm, node.incarnation, seed);
        config.closed = node.admission.as_mut().map(Admission::begin);
        config.gone_after = gone_after;
        config.probation = probation;
        node.earlier = std::mem::take(&mut node.disk.image.stopped);
        config.earlier.clone_from(&node.earlier);
        node.disk.open();
        let recovered = node.disk.image.recover();
        node.engine = Some(Engine::new(config, recovered));
        node.started = now;
        node.paused_until = Duration::ZERO;
        let (life, contact) = (node.life, self.contact(index));
        self.trace.note(now, || format!("node {index} starts, life {life}"));
        self.observe_disk(index);
        self.handle(index, Input::Listening(contact.addresses));
        self.handle(index, Input::Timeout);
        if self.nodes[index].disk.full {
            self.handle(index, Input::Room(false));
        }
        self.event(SCRUB_INTERVAL, Event::Scrub(index, life));
        let phase = self.choices.time(Duration::ZERO, HEARTBEAT_INTERVAL);
        self.event(phase, Event::Heartbeat(index, life));
    }

    /// Stops a node: its engine, and what it has not flushed, are lost, but for some of the
    /// first writes. `silently`: its connections are not closed.
    pub(crate) fn kill(&mut self, index: usize, kept: usize, silently: bool) {
        let node = &mut self.nodes[index];
        if node.engine.take().is_none() {
            return;
        }
        let life = node.life;
        self.trace.note(self.now, || format!("node {index} is killed, {kept} writes are kept"));
        let writes: Vec<_> = node.disk.pending.drain(..).collect();
        node.disk.flushing = None;
        node.gate = FlushGate::default();
        node.following.clear();
        node.open.clear();
        node.abandoned.clear();
        node.twins.clear();
        node.publishes.clear();
        node.told.clear();
        let connected = std::mem::take(&mut node.connected);
        for (_, write) in writes.into_iter().take(kept) {
            self.apply(index, &write);
        }
        self.oracle.crashed(index);
        for event in std::mem::take(&mut self.nodes[index].backlog) {
            self.missed(event);
        }
        if !silently {
            for (other, connection) in connected {
                let close = What::Close(connection.number);
                self.send((index, life), (other, connection.life), close);
            }
        }
    }

    /// A node has handed over all that it held, and is gone.
    fn left(&mut self, index: usize) {
        let result = removal::left(self, index);
        self.check(removal::NAME, result);
        *self.counts.faults.entry("node left").or_default() += 1;
        self.kill(index, usize::MAX, false);
        self.nodes[index].gone = true;
        // Who was away when it said so waits for it, until the operator says that it is gone.
        if self.options.forgets {
            self.event(FORGOTTEN_AFTER, Event::Forget);
        }
    }

    /// Stops a node cleanly: all is flushed, and the directory is marked.
    pub(crate) fn stop_cleanly(&mut self, index: usize) {
        self.handle(index, Input::Stopping);
        self.kill(index, usize::MAX, false);
        let node = &mut self.nodes[index];
        node.disk.image.stopped = node.earlier.clone();
        node.disk.image.stopped.insert(node.incarnation);
    }

    /// Gives an input to a node's engine, and carries out what that asks for.
    pub(crate) fn handle(&mut self, index: usize, input: Input) {
        self.oracle.now = self.now;
        let node = &mut self.nodes[index];
        let elapsed = self.now.saturating_sub(node.started);
        let wall = node.wall(self.now);
        let Some(engine) = &mut node.engine else {
            return;
        };
        if !matches!(input, Input::Timeout | Input::Heard(..)) {
            self.trace.note(self.now, || format!("{index} <- {input:?}"));
        }
        // What it is then asked is part of an audit.
        self.is_unproven = matches!(&input, Input::Told { result: Ok(Response::Proven(it, _)), .. }
            if it.contains(&None));
        engine.handle(Now { elapsed, wall }, input);
        let mut outputs = 0;
        while let Some(output) = self.nodes[index].engine.as_mut().and_then(Engine::poll_output) {
            outputs += 1;
            self.carry_out(index, output);
        }
        let nanos = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        self.trace.mix(&[nanos, index as u64, outputs]);
        self.check(bounds::NAME, bounds::outputs(outputs));
        let open = self.nodes[index].open.len();
        self.check(bounds::NAME, bounds::under_way(open));
    }

    pub(crate) fn carry_out(&mut self, index: usize, output: Output) {
        let Some(output) = self.nodes[index].gate.pass(output) else { return };
        match output {
            Output::Answer { question, response, .. } => self.answer(index, question, response),
            Output::Ask { ask, to, request } => {
                self.nodes[index].tells_leaving |=
                    matches!(request, Request::Node(NodeRequest::Leaving(_)));
                self.ask(index, ask, &to, request);
            }
            Output::Write(number, write) => self.write(index, number, write),
            Output::Read { ticket, topic, ranges, early, bytes_max, .. } => {
                let image = &self.nodes[index].disk.image;
                let damages = image.damaged_in(topic, &ranges);
                let page = image.read(topic, &ranges, &early, bytes_max);
                for damage in damages {
                    self.input(index, Duration::from_micros(20), Input::Damaged(damage));
                }
                let delay = self.choices.time(Duration::from_micros(50), self.options.flush * 2);
                self.input(index, delay, Input::ReadDone(ticket, Some(page)));
            }
            Output::Check { ticket, topic, range, .. } => {
                let image = &self.nodes[index].disk.image;
                let checked = image.check(topic, &range);
                for damage in image.damaged_in(topic, &[range]) {
                    self.input(index, Duration::from_micros(20), Input::Damaged(damage));
                }
                let delay = self.choices.time(Duration::from_micros(50), self.options.flush * 2);
                self.input(index, delay, Input::CheckDone(ticket, Some(checked)));
            }
            Output::Measure { ticket, topic, ranges, .. } => {
                let parts = self.nodes[index].disk.image.measure(topic, &ranges);
                let delay = self.choices.time(Duration::from_micros(50), self.options.flush * 2);
                self.input(index, delay, Input::MeasureDone(ticket, Some(parts)));
            }
            Output::Sweep { ticket, topic, sweep, .. } => {
                let Ok(swept) = sweep.run(&self.nodes[index].disk.image.shelf(topic));
                let delay = self.choices.time(Duration::from_micros(50), self.options.flush * 8);
                self.input(index, delay, Input::SweepDone(ticket, Some(swept)));
            }
            Output::Left => self.left(index),
            Output::Gossip { batch, sent_to } => self.gossip(index, &batch, &sent_to),
            Output::Follow(topic) => {
                self.nodes[index].following.insert(topic);
            }
            Output::Unfollow(topic) => {
                self.nodes[index].following.remove(&topic);
            }
            Output::Dial(contact) => {
                if let Some(other) = self.index(&contact.node) {
                    let result = put_out::dialled(self, index, other);
                    self.check(put_out::NAME, result);
                }
                self.dial(index, &contact);
            }
            Output::Disconnect(node) => self.disconnect(index, &node),
            Output::Locate(topic) => {
                // Records in the table of who holds a topic; they may be out of date.
                let holds =
                    |node: &&Node| node.disk.image.batches.keys().any(|place| place.0 == topic);
                let holders = self.nodes.iter().filter(holds).map(|node| node.id).collect();
                let delay = self.choices.time(self.options.latency, self.options.latency * 8);
                self.input(index, delay, Input::Located(topic, holders));
            }
            Output::Report(report) => {
                self.trace.note(self.now, || format!("{index} -> {report:?}"));
                if let Report::Fork(topic, log, _) = report {
                    let forked = one_position::reported(&self.oracle, topic, log);
                    self.check(one_position::NAME, forked);
                }
                self.reports.push((index, report));
            }
            Output::Roster(roster) => self.roster_told(index, roster),
            Output::Provide(_) | Output::Unprovide(_) => {}
        }
    }

    // --- answers ---------------------------------------------------------------------------

    /// Names a question to a node; the first one of a life is 0.
    pub(crate) fn question(&mut self, index: usize, asker: Asker) -> QuestionId {
        let node = &mut self.nodes[index];
        let question = QuestionId(node.questions);
        node.questions += 1;
        node.open.insert(question, (asker, self.now));
        question
    }

    fn answer(&mut self, index: usize, question: QuestionId, response: Response) {
        if let Some((topic, record)) = self.nodes[index].publishes.remove(&question)
            && !self.is_liar(index)
            && let Response::Published(published) = &response
        {
            self.trace.note(self.now, || format!("{index} answers {record:?} with {published:?}"));
            let result = truth::published(self, index, topic, record, published);
            self.check(truth::NAME, result);
            let result = outbox::told(self, index, topic, published);
            self.check(outbox::NAME, result);
            self.counts.pending += u64::from(!published.acknowledged);
        }
        if let Some(told) = self.nodes[index].told.remove(&question)
            && response == Response::Noted
        {
            let result = statements::noted(self, index, &told);
            self.check(statements::NAME, result);
            self.noted(index, told);
        }
        self.twin_told(index, question, &response);
        if self.nodes[index].abandoned.remove(&question) {
            return;
        }
        let asker = self.nodes[index].open.remove(&question);
        let Some((asker, _)) = asker else {
            let result = Err(format!("node {index} answers {question:?} twice: {response:?}"));
            return self.check(answers::NAME, result);
        };
        self.check(bounds::NAME, bounds::response(&response, question.0));
        match asker {
            Asker::Node(node, life, ask) => {
                let from = (index, self.nodes[index].life);
                self.send(from, (node, life), What::Response(ask, Ok(response)));
            }
            Asker::Client(client, serial) => {
                let delay = self.choices.time(Duration::from_micros(20), self.options.latency);
                self.event(delay, Event::Answer(client, serial, Some(response)));
            }
            Asker::World => {
                self.answers.insert((index, question), response);
            }
        }
    }
}
