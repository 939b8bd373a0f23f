//! Clients: one question at a time, to a node of their choice; without an answer in time they
//! ask another one.

use std::time::Duration;

use antiphon::{
    engine,
    engine::{Input, QuestionId},
    model::{
        RecordId,
        roster::{Statement, Told},
    },
    wire::{ClientRequest, NodeRequest, Read, Request, Response, Statements},
};

use crate::world::{
    Event, World,
    again::Again,
    closed::Admin,
    creator::{Alterer, Creator, Deleter},
    fetcher::Fetcher,
    follower::Follower,
    member::Member,
    node::Asker,
    publisher::Publisher,
    reader::Reader,
    surveyor::Surveyor,
};

/// Time that a client waits beyond the one that it gave the node.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    /// Numbers its questions and pauses; what belongs to an earlier one is passed over.
    serial: u64,
    /// The node that it asked, in which life, and under which name.
    open: Option<(usize, u64, QuestionId)>,
    asking: bool,
}

/// What a client does.
#[derive(Debug)]
pub(crate) enum Kind {
    Creator(Creator),
    Deleter(Deleter),
    Alterer(Alterer),
    Follower(Follower),
    Fetcher(Fetcher),
    Publisher(Publisher),
    Reader(Box<Reader>),
    Member(Box<Member>),
    Surveyor(Surveyor),
    Again(Again),
    Admin(Box<Admin>),
}

/// What a client does next.
pub(crate) enum Next {
    /// Ask a node, and wait for so long.
    Ask(usize, Request, Duration),
    Pause(Duration),
    Stop,
}

impl Client {
    /// Asks nothing more.
    pub(crate) fn retire(&mut self) {
        self.serial += 1;
    }
}

impl World {
    pub(crate) fn add_client(&mut self, kind: Kind) -> usize {
        let client = self.clients.len();
        self.clients.push(Some(Client { kind, serial: 0, open: None, asking: false }));
        let pause = self.choices.time(Duration::ZERO, Duration::from_secs(1));
        self.event(pause, Event::Wake(client, 0));
        client
    }

    /// A node for a client to ask: any that is honest, whether it runs or not.
    pub(crate) fn some_node(&mut self) -> usize {
        let mut running = self.running();
        running.retain(|index| !self.is_liar(*index));
        if running.is_empty() || self.faulty && self.choices.chance(100) {
            let honest = (0..self.nodes.len()).filter(|index| !self.is_liar(*index));
            let honest: Vec<_> = honest.collect();
            return honest[self.choices.index(honest.len())];
        }
        running[self.choices.index(running.len())]
    }

    /// A client's question arrives at a node that runs.
    pub(crate) fn client_asks(
        &mut self,
        index: usize,
        client: usize,
        serial: u64,
        request: Request,
    ) {
        if self.clients[client].as_ref().expect("clients stay").serial != serial {
            return;
        }
        let question = self.question(index, Asker::Client(client, serial));
        let current = self.clients[client].as_mut().expect("clients stay");
        current.open = Some((index, self.nodes[index].life, question));
        if let Request::Client(ClientRequest::Read(read)) = &request {
            self.note_read(client, index, read);
        }
        if let Request::Client(ClientRequest::Publish(publish)) = &request {
            let topic = self.options.topics.iter().position(|t| t.name == publish.topic.as_str());
            let record = RecordId { producer: publish.producer, number: publish.first };
            let topic = topic.expect("a topic of this run");
            self.nodes[index].publishes.insert(question, (topic, record));
        }
        if let Request::Node(NodeRequest::TellRoster(Statements(told))) = &request {
            let statement = |it: &Told| Statement::verify(it.kind(), it.bytes().clone()).ok();
            let told = told.iter().filter_map(statement).collect();
            self.nodes[index].told.insert(question, told);
        }
        self.handle(index, Input::Asked { question, asker: engine::Asker::Program, request });
    }

    /// What a node holds now that it is asked to read.
    pub(crate) fn note_read(&mut self, client: usize, index: usize, read: &Read) {
        let held = self.nodes[index].disk.image.tables.logs.get(&read.after.topic);
        let held = (index, read.after.clone(), held.cloned().unwrap_or_default());
        self.held_when_asked.insert(client, held);
    }

    pub(crate) fn client_told(&mut self, client: usize, serial: u64, response: Option<Response>) {
        if self.clients[client].as_ref().is_some_and(|client| client.serial == serial) {
            self.go_on(client, response);
        }
    }

    /// A pause is over, or the answer did not come in time.
    pub(crate) fn client_wakes(&mut self, client: usize, serial: u64) {
        if self.clients[client].as_ref().is_none_or(|client| client.serial != serial) {
            return;
        }
        let open = self.clients[client].as_mut().and_then(|client| client.open.take());
        if let Some((index, life, question)) = open
            && self.nodes[index].life == life
            && self.nodes[index].open.remove(&question).is_some()
        {
            // Nobody waits any more; whether an answer comes is the node's affair.
            self.nodes[index].abandoned.insert(question);
            self.input(index, Duration::from_micros(100), Input::Abandoned(question));
        }
        self.go_on(client, None);
    }

    fn go_on(&mut self, number: usize, response: Option<Response>) {
        let Some(mut client) = self.clients[number].take() else {
            return;
        };
        client.open = None;
        client.serial += 1;
        self.current = number;
        let asked = std::mem::take(&mut client.asking);
        let next = match &mut client.kind {
            Kind::Creator(creator) => creator.go_on(self, response.as_ref()),
            Kind::Deleter(deleter) => deleter.go_on(self, response.as_ref()),
            Kind::Alterer(alterer) => alterer.go_on(self, response.as_ref()),
            Kind::Follower(follower) => follower.go_on(self, response.as_ref(), asked),
            Kind::Fetcher(fetcher) => fetcher.go_on(self, response, asked),
            Kind::Publisher(publisher) => publisher.go_on(self, response.as_ref(), asked),
            Kind::Reader(reader) => reader.go_on(self, response, asked),
            Kind::Member(member) => member.go_on(self, response, asked),
            Kind::Surveyor(surveyor) => surveyor.go_on(self, response, asked),
            Kind::Again(again) => again.go_on(self, response.as_ref(), asked),
            Kind::Admin(admin) => admin.go_on(self, response.as_ref(), asked),
        };
        let serial = client.serial;
        match next {
            Next::Ask(index, request, patience) => {
                client.asking = true;
                let way = self.choices.time(Duration::from_micros(20), self.options.latency);
                self.event(way, Event::Question(index, number, serial, request));
                self.event(patience + PATIENCE, Event::Wake(number, serial));
            }
            Next::Pause(pause) => self.event(pause, Event::Wake(number, serial)),
            Next::Stop => {}
        }
        self.clients[number] = Some(client);
    }
}
