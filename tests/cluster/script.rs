//! What a test does with a world: a script instead of chance, and without faults but its own. All
//! that the simulation checks at each step is checked here, too.

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
    time::Duration,
};

use antiphon::{
    engine::{Damage, Input, QuestionId},
    limits::GONE_AFTER_DEFAULT,
    model::{
        Batch, Blob, Cursor, ForkProof, Incarnation, NodeId, NodeKey, ProducerId, Record, TopicId,
        WallClock, encode_record,
    },
    wire::{Acks, ClientRequest, Create, Publish, Published, Read, Request, Response, Surveyed},
};

use crate::world::{
    self,
    choices::Choices,
    disk::Image,
    faults::Fault,
    invariants::{no_gap, writer_order},
    node::right_wall,
    options::Options,
};

/// How long any answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// A simulated world that does what a test says.
pub(crate) struct World {
    world: world::World,
    /// Records that the last fetch was told to be lost.
    pub(crate) lost: u64,
}

/// A question of a client: at which node, and under which name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) question: QuestionId,
}

impl Deref for World {
    type Target = world::World;

    fn deref(&self) -> &world::World {
        &self.world
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut world::World {
        &mut self.world
    }
}

/// What happens to nodes and to what is between them.
impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let verbose = std::env::var_os("TRACE").is_some();
        let mut quiet = Choices::of_bytes(&[]);
        let options = Options {
            topics: Vec::new(),
            faults: Vec::new(),
            gone_after: GONE_AFTER_DEFAULT,
            alters: true,
            forgets: false,
            probation: Duration::ZERO,
            ..Options::draw(&mut quiet)
        };
        let world = world::World::empty(quiet, options, verbose);
        let mut world = Self { world, lost: 0 };
        for _ in 0..nodes {
            world.add();
        }
        world
    }

    /// Starts one more node; it learns of the first one.
    pub(crate) fn add(&mut self) -> usize {
        let index = self.prepare_node();
        self.launch(index);
        if index > 0 {
            let first = self.contact(0);
            let way = self.options.latency;
            self.input(index, way, Input::Discovered(first));
        }
        index
    }

    /// Starts a node, or starts it again from its disk, as after a crash.
    pub(crate) fn start(&mut self, index: usize) {
        self.start_after(index, BTreeSet::new());
    }

    /// Starts a node that continues earlier lives.
    pub(crate) fn start_after(&mut self, index: usize, earlier: BTreeSet<Incarnation>) {
        self.kill(index);
        self.nodes[index].disk.image.stopped = earlier;
        self.launch(index);
    }

    /// Kills a node: what it has not flushed is lost, its connections close.
    pub(crate) fn kill(&mut self, index: usize) {
        self.world.kill(index, 0, false);
    }

    /// Stops a node when the others are told and all is flushed; the life that has ended.
    pub(crate) fn stop(&mut self, index: usize) -> Incarnation {
        self.handle(index, Input::Stopping);
        let soon = self.options.flush * 2 + self.options.latency;
        self.run(soon);
        self.world.kill(index, usize::MAX, false);
        self.nodes[index].incarnation
    }

    /// Puts another disk into a node.
    pub(crate) fn replace_disk(&mut self, index: usize, disk: Image) {
        self.tamper(index, |image| *image = disk);
    }

    /// Destroys what a node has on its disk.
    pub(crate) fn wipe(&mut self, index: usize) {
        self.replace_disk(index, Image::default());
    }

    /// Takes a batch of a topic off a disk without a word to anybody.
    pub(crate) fn remove_stored(&mut self, index: usize, number: usize) {
        let topic = Self::topic("t");
        self.tamper(index, |image| {
            let place = image.batches.keys().filter(|(of, ..)| *of == topic).nth(number).copied();
            image.batches.remove(&place.unwrap());
        });
    }

    /// A node comes upon a damaged batch of its own disk.
    pub(crate) fn damage(&mut self, index: usize, damage: Damage) {
        let place = (damage.topic, damage.log, damage.first);
        self.tamper(index, |image| {
            image.damaged.insert(place);
        });
        self.input(index, Duration::ZERO, Input::Damaged(damage));
    }

    /// Changes what is on a disk, as a fault does.
    fn tamper(&mut self, index: usize, change: impl FnOnce(&mut Image)) {
        self.options.destructive = true;
        change(&mut self.nodes[index].disk.image);
        self.observe_disk(index);
    }

    /// A node's disk has room for records, or no longer.
    pub(crate) fn room(&mut self, index: usize, room: bool) {
        self.fill(index, !room);
    }

    /// An operator says that a node will not come back.
    pub(crate) fn forget(&mut self, index: usize, node: usize) {
        let node = self.id(node);
        assert_eq!(
            self.call(index, Request::Client(ClientRequest::Forget(node))),
            Response::Forgotten(true)
        );
    }

    /// Sets a node's clock, to this many milliseconds ahead of what time it is.
    pub(crate) fn set_clock(&mut self, index: usize, ahead: i64) {
        self.options.faults.push(Fault::ClockJump);
        self.nodes[index].wall_offset = ahead;
        self.input(index, Duration::ZERO, Input::Timeout);
    }

    /// Cuts two nodes off from each other, without either being told.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.links.cut.extend([(one, other), (other, one)]);
    }

    /// Undoes all cuts.
    pub(crate) fn heal(&mut self) {
        self.heal_links();
    }

    /// Connects two nodes now, whatever their engines would do.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        let contact = self.contact(other);
        self.dial(one, &contact);
    }
}

/// What a test looks at.
impl World {
    /// The forks that a node has the proof of.
    pub(crate) fn proofs(&self, index: usize) -> &[ForkProof] {
        &self.disk(index).tables.forks
    }

    /// The key of a node: what a twin of it signs with.
    pub(crate) fn key(&self, index: usize) -> NodeKey {
        self.nodes[index].key.clone()
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        self.nodes[index].id
    }

    pub(crate) fn index(&self, id: &NodeId) -> usize {
        self.world.index(id).unwrap()
    }

    pub(crate) fn disk(&self, index: usize) -> &Image {
        &self.nodes[index].disk.image
    }

    /// Whether a node has left.
    pub(crate) fn has_left(&self, index: usize) -> bool {
        self.nodes[index].gone
    }

    /// What a clock reads that is right.
    pub(crate) fn wall(&self) -> WallClock {
        right_wall(self.now)
    }

    pub(crate) fn topic(name: &str) -> TopicId {
        world::World::topic_named(&name.parse().unwrap())
    }
}

/// Lets time pass, asks, publishes and reads.
impl World {
    /// Nothing is wrong by now.
    #[track_caller]
    fn assert_sound(&self) {
        if let Some(violation) = &self.violation {
            panic!("{}, after {:?}: {}", violation.invariant, violation.at, violation.reason);
        }
    }

    /// Lets time pass.
    #[track_caller]
    pub(crate) fn run(&mut self, duration: Duration) {
        self.world.run(duration);
        self.assert_sound();
    }

    /// Lets time pass until something holds, at most this long.
    #[track_caller]
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        at_most: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) {
        let end = self.now + at_most;
        while !holds(self) {
            assert!(self.now < end, "not within {at_most:?}: {what}");
            let step = Duration::from_millis(50).min(end.saturating_sub(self.now));
            self.run(step);
        }
    }

    /// Asks a node as a client.
    pub(crate) fn ask(&mut self, index: usize, request: Request) -> Asked {
        self.ask_from(None, index, request)
    }

    fn ask_from(&mut self, from: Option<NodeId>, index: usize, request: Request) -> Asked {
        let question = self.world.ask_for_test(index, from, request);
        Asked { node: index, question }
    }

    /// Gives up waiting for an answer.
    pub(crate) fn abandon(&mut self, asked: Asked) {
        let node = &mut self.nodes[asked.node];
        node.open.remove(&asked.question);
        node.abandoned.insert(asked.question);
        let way = self.options.latency;
        self.input(asked.node, way, Input::Abandoned(asked.question));
    }

    /// The answer to a question, if it has come.
    pub(crate) fn answered(&mut self, asked: Asked) -> Option<Response> {
        let response = self.answers.remove(&(asked.node, asked.question))?;
        self.note_terms(&response);
        Some(response)
    }

    /// Asks a node as a client and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&mut self, index: usize, request: Request) -> Response {
        self.wait(None, index, request)
    }

    /// Asks a node as another one does.
    #[track_caller]
    pub(crate) fn call_from(&mut self, from: NodeId, index: usize, request: Request) -> Response {
        self.wait(Some(from), index, request)
    }

    #[track_caller]
    fn wait(&mut self, from: Option<NodeId>, index: usize, request: Request) -> Response {
        let what = format!("{request:?}");
        let question = self.ask_from(from, index, request);
        let end = self.now + ANSWER_WITHIN;
        loop {
            if let Some(response) = self.answered(question) {
                return response;
            }
            assert!(self.step(end), "no answer to {what}");
            self.assert_sound();
        }
    }

    /// Waits until every node knows all others that run.
    #[track_caller]
    pub(crate) fn join(&mut self) {
        let running = self.running();
        self.run_until("all nodes are connected", Duration::from_secs(20), |world| {
            running.iter().all(|node| world.nodes[*node].connected.len() == running.len() - 1)
        });
        self.run(Duration::from_millis(300));
    }

    #[track_caller]
    pub(crate) fn create(&mut self, index: usize, name: &str, replicas: u16) -> Vec<usize> {
        let create = Create { replicas: Some(replicas), ..Create::new(name.parse().unwrap()) };
        match self.call(index, Request::Client(ClientRequest::Create(create))) {
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
            retried: false,
        }
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, index: usize, publish: Publish) -> Published {
        match self.call(index, Request::Client(ClientRequest::Publish(publish))) {
            Response::Published(published) => published,
            other => panic!("not published: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn survey(&mut self, index: usize, name: &str) -> Surveyed {
        match self.call(index, Request::Client(ClientRequest::Survey(name.parse().unwrap()))) {
            Response::Surveyed(surveyed) => surveyed,
            other => panic!("not surveyed: {other:?}"),
        }
    }

    pub(crate) fn read_request(name: &str, after: &Cursor, until: Option<&Cursor>) -> Request {
        Request::Client(ClientRequest::Read(Read {
            topic: name.parse().unwrap(),
            after: after.clone(),
            until: until.cloned(),
            bytes_max: 64 * 1024,
            wait_ms: 10_000,
        }))
    }

    /// All payloads of a topic, as a client of this node reads them.
    #[track_caller]
    pub(crate) fn fetch(&mut self, index: usize, name: &str) -> Vec<String> {
        let surveyed = self.survey(index, name);
        let mut cursor = Cursor::start(surveyed.end.topic);
        let mut payloads = Vec::new();
        self.lost = 0;
        while !cursor.reaches(&surveyed.end) {
            let request = Self::read_request(name, &cursor, Some(&surveyed.end));
            let Response::Page(page) = self.call(index, request) else { panic!("no page") };
            assert!(!page.batches.is_empty(), "a page before the end has batches");
            self.lost += page.lost.iter().map(|lost| lost.to - lost.from).sum::<u64>();
            for batch in &page.batches {
                let result = no_gap::continues(self, &cursor, batch, &page);
                self.check(no_gap::NAME, result);
                let result = writer_order::continues(self, &cursor, batch);
                self.check(writer_order::NAME, result);
                payloads.extend(payloads_of(batch));
                cursor.advance(batch);
            }
        }
        self.assert_sound();
        payloads
    }
}

pub(crate) fn payloads_of(batch: &Batch) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.payload.to_vec()).unwrap();
    batch.records().map(|record| text(record.unwrap())).collect()
}
