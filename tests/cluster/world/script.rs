//! What a test does with a world: lets time pass, asks, publishes and reads.

use std::time::Duration;

use antiphon::{
    engine::Input,
    model::{Blob, Cursor, NodeId, ProducerId, Record, WallClock, encode_record},
    wire::{Acks, Create, Publish, Published, Read, Request, Response, Surveyed},
};

use super::{Asked, Asker, LATENCY, World, payloads_of};

impl World {
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
    pub(crate) fn ask(&mut self, index: usize, request: Request) -> Asked {
        self.ask_from(None, index, request)
    }

    fn ask_from(&mut self, from: Option<NodeId>, index: usize, request: Request) -> Asked {
        let question = self.question(index, Asker::Client);
        self.input(index, LATENCY, Input::Asked { question, from, request });
        Asked { node: index, question }
    }

    /// Gives up waiting for an answer.
    pub(crate) fn abandon(&mut self, asked: Asked) {
        self.input(asked.node, LATENCY, Input::Abandoned(asked.question));
    }

    /// Asks a node as another one does.
    #[track_caller]
    pub(crate) fn call_from(&mut self, from: NodeId, index: usize, request: Request) -> Response {
        let what = format!("{request:?}");
        let question = self.ask_from(Some(from), index, request);
        let end = self.now + Duration::from_secs(40);
        loop {
            if let Some(response) = self.answered(question) {
                return response;
            }
            assert!(self.step(end), "no answer to {what}");
        }
    }

    /// The answer to a question, if it has come.
    pub(crate) fn answered(&mut self, asked: Asked) -> Option<Response> {
        self.answers.remove(&asked)
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
        let create = Create { replicas: Some(replicas), ..Create::new(name.parse().unwrap()) };
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
            retried: false,
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
        self.lost = 0;
        while !cursor.reaches(&surveyed.end) {
            let request = Self::read_request(name, &cursor, Some(&surveyed.end));
            let Response::Page(page) = self.call(index, request) else { panic!("no page") };
            assert!(!page.batches.is_empty(), "a page before the end has batches");
            self.lost += page.lost.iter().map(|lost| lost.to - lost.from).sum::<u64>();
            for batch in page.batches {
                payloads.extend(payloads_of(&batch));
                cursor.advance(&batch);
            }
        }
        payloads
    }
}
