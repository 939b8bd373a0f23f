//! The one loop that joins the engine to the network, the store and the clock.
//!
//! It decides nothing: it hands the engine what happened, with the time, and carries out what
//! comes back, in order. What must not be seen before a flush is held back here until the store
//! says that the flush is done.

mod local;
mod members;
mod notices;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    engine::{
        AskId, Asker, Config, Engine, FlushGate, Input, Output, QuestionId, Recovered, Report,
        WriteNumber,
    },
    wire::{ClientRequest, NodeRequest, Refusal, Request, Response},
};
pub(crate) use local::{LocalLink, LocalQuestion, LocalQuestions};
pub(crate) use members::Members;
use notices::{Notice, Notices};
use room::RoomNotices;
use tokio::sync::oneshot;

use crate::{
    error::NodeError,
    network::Network,
    platform::clock::Clock,
    store::{Level, Room, StoreEvent, StoreHandle},
};

/// Longest time that a stop takes to tell the others. A node that has not answered by then learns
/// it from the closed connection, and takes this node for dead.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// What a node is made of, joined.
pub(crate) struct Runtime {
    engine: Engine,
    network: Network,
    /// Who belongs to a closed network, for those that let connections in.
    members: Members,
    store: StoreHandle,
    clock: Clock,
    notices: Notices,
    /// How much room there is for records.
    room: Room,
    room_notices: RoomNotices,
    questions: LocalQuestions,
    next_question: u64,
    /// Who waits within the process.
    waiting: BTreeMap<QuestionId, oneshot::Sender<Response>>,

    /// Whether the node has handed over all that it held.
    left: bool,

    gate: FlushGate,
    /// Requests that tell others of the stop, and are not answered.
    farewells: BTreeSet<AskId>,
}

impl Runtime {
    pub(crate) fn new(
        config: Config,
        recovered: Recovered,
        (network, members): (Network, Members),
        store: StoreHandle,
        questions: LocalQuestions,
    ) -> Self {
        Self {
            engine: Engine::new(config, recovered),
            network,
            members,
            store,
            clock: Clock::start(),
            notices: Notices::default(),
            room: Room::ample(),
            room_notices: RoomNotices::default(),
            questions,
            next_question: 1,
            waiting: BTreeMap::new(),

            left: false,
            gate: FlushGate::default(),
            farewells: BTreeSet::new(),
        }
    }

    /// Runs until it is told to stop, has left the network, or the store fails.
    ///
    /// # Errors
    /// When it has left, or the store failed. Nothing that was not flushed has been acknowledged.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), NodeError> {
        let timer = tokio::time::sleep_until(self.clock.at(self.engine.next_timeout()));
        tokio::pin!(timer);
        self.handle(Input::Timeout);
        let stopped = loop {
            if self.left {
                tracing::info!("left the network: other nodes hold all that this one held");
                break Err(NodeError::Left);
            }
            let due = self.clock.at(self.engine.next_timeout());
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                _ = &mut stop => break Ok(()),
                event = self.store.next() => match event {
                    StoreEvent::Durable(number) => self.flushed(number),
                    StoreEvent::Checked(ticket, checked) => {
                        self.handle(Input::CheckDone(ticket, checked));
                    }
                    StoreEvent::Measured(ticket, parts) => {
                        self.handle(Input::MeasureDone(ticket, parts));
                    }
                    StoreEvent::Swept(ticket, swept) => {
                        self.handle(Input::SweepDone(ticket, swept));
                    }
                    StoreEvent::Read(ticket, page) => self.handle(Input::ReadDone(ticket, page)),
                    StoreEvent::Damaged(damage) => self.handle(Input::Damaged(damage)),
                    StoreEvent::Room(room) => self.room_is(room),
                    StoreEvent::Failed(error) => {
                        tracing::error!(%error, "the store failed; the node stops");
                        break Err(error.into());
                    }
                },
                input = self.network.next() => self.take_in(input),
                Some(shown) = self.members.next() => self.handle(Input::Admitted(shown)),
                Some(question) = self.questions.recv() => self.asked(question),
                () = &mut timer => {
                    self.handle(Input::Timeout);
                    self.say();
                }
            }
        };
        if stopped.is_ok() {
            self.say_farewell().await;
        }
        // The others see the connections close, and go on without this node.
        drop(self.network);
        let flushed = self.store.stop().await;
        let flushed = flushed.map_err(NodeError::from);
        match stopped {
            Err(NodeError::Left) => flushed.and(Err(NodeError::Left)),
            stopped => stopped.and(flushed),
        }
    }

    /// Tells the others that this node stops, and waits for a moment until they have heard it.
    async fn say_farewell(&mut self) {
        self.handle(Input::Stopping);
        let told = async {
            while !self.farewells.is_empty() {
                let input = self.network.next().await;
                self.take_in(input);
            }
        };
        if tokio::time::timeout(FAREWELL_MAX, told).await.is_err() {
            tracing::debug!(nodes = self.farewells.len(), "some nodes were not told of the stop");
        }
    }

    /// Takes in what came from elsewhere. What would have to be stored is refused while the disk
    /// is behind; all else goes on, so that this node is not taken for dead.
    fn take_in(&mut self, input: Input) {
        match input {
            Input::Asked {
                question,
                request:
                    Request::Client(ClientRequest::Publish(_) | ClientRequest::Import(_))
                    | Request::Node(NodeRequest::Replicate(_)),
                ..
            } if self.store.is_congested() => {
                self.network.answer(question, Response::Refused(Refusal::Busy));
            }
            Input::Asked { question, ref request, .. }
                if let Some(refusal) = self.refuses_to_create(request) =>
            {
                self.network.answer(question, Response::Refused(refusal));
            }
            Input::Gossiped(gossip) => {
                self.network.judged(self.engine.admits(&gossip));
                self.handle(Input::Gossiped(gossip));
            }
            input => self.handle(input),
        }
    }

    /// Why a topic is not to be created now: the node does not know yet what its network has. One
    /// that is known here is there already.
    fn refuses_to_create(&self, request: &Request) -> Option<Refusal> {
        match request {
            Request::Client(ClientRequest::Create(create))
                if !self.engine.knows_topic(&create.name) =>
            {
                self.network.not_joined().map(Refusal::NotJoined)
            }
            _ => None,
        }
    }

    fn asked(&mut self, LocalQuestion { request, answer }: LocalQuestion) {
        if let Some(refusal) = self.refuses_to_create(&request) {
            // An asker that waits no longer does not need the answer.
            let _ = answer.send(Response::Refused(refusal));
            return;
        }
        // Questions of the network have even numbers.
        let question = QuestionId(self.next_question);
        self.next_question += 2;
        // Those who no longer wait are known by their closed channel.
        self.waiting.retain(|_, answer| !answer.is_closed());
        self.waiting.insert(question, answer);
        self.handle(Input::Asked { question, asker: Asker::Program, request });
    }

    fn handle(&mut self, input: Input) {
        if let Input::Told { ask, .. } = &input {
            self.farewells.remove(ask);
        }
        self.engine.handle(self.clock.now(), input);
        while let Some(mut output) = self.engine.poll_output() {
            self.tell_room(&mut output);
            self.carry_out(output);
        }
    }

    fn room_is(&mut self, room: Room) {
        if let Some(text) = self.room_notices.news(&room, self.clock.now().elapsed) {
            if room.level == Level::Well {
                tracing::info!("{text}");
            } else {
                tracing::warn!("{text}");
            }
        }
        let was_full = std::mem::replace(&mut self.room, room).is_full();
        if was_full != self.room.is_full() {
            self.handle(Input::Room(!self.room.is_full()));
        }
    }

    /// A refusal for lack of room says how much is missing, which the engine does not know.
    fn tell_room(&self, output: &mut Output) {
        if let Output::Answer { response: Response::Refused(Refusal::Full(room)), .. } = output
            && room.is_none()
            && self.room.is_full()
        {
            *room = Some(self.room.to_string());
        }
    }

    fn flushed(&mut self, number: WriteNumber) {
        for output in self.gate.flushed(number) {
            self.carry_out(output);
        }
        self.handle(Input::Durable(number));
    }

    fn carry_out(&mut self, output: Output) {
        let Some(output) = self.gate.pass(output) else { return };
        match output {
            Output::Answer { question, response, .. } => {
                let response = self.corrected(response);
                match self.waiting.remove(&question) {
                    Some(waiting) => {
                        // An asker that waits no longer does not need the answer.
                        let _ = waiting.send(response);
                    }
                    None => self.network.answer(question, response),
                }
            }
            Output::Ask { ask, to, request } => {
                if matches!(request, Request::Node(NodeRequest::Stopping)) {
                    self.farewells.insert(ask);
                }
                self.network.ask(ask, to, request);
            }
            Output::Write(number, write) => self.store.write(number, write),
            Output::Read { ticket, topic, ranges, early, bytes_max, .. } => {
                self.store.read(ticket, topic, ranges, early, bytes_max);
            }
            Output::Check { ticket, topic, range, bytes_max, .. } => {
                self.store.check(ticket, topic, range, bytes_max);
            }
            Output::Measure { ticket, topic, ranges, .. } => {
                self.store.measure(ticket, topic, ranges);
            }
            Output::Sweep { ticket, topic, sweep, .. } => self.store.sweep(ticket, topic, sweep),
            Output::Left => self.left = true,
            Output::Gossip { batch, sent_to } => self.network.gossip(&batch, &sent_to),
            Output::Follow(topic) => self.network.follow(topic),
            Output::Unfollow(topic) => self.network.unfollow(topic),
            Output::Provide(topic) => self.network.provide(topic),
            Output::Unprovide(topic) => self.network.unprovide(topic),
            Output::Locate(topic) => self.network.locate(topic),
            Output::Dial(contact) => self.network.dial(&contact),
            Output::Disconnect(node) => self.network.disconnect(node),
            Output::Roster(roster) => {
                self.members.tell(roster);
            }
            Output::Report(report) => self.tell(&report),
        }
    }

    /// A topic that is not known here may exist where this node has not been yet.
    fn corrected(&self, response: Response) -> Response {
        match response {
            Response::Refused(Refusal::UnknownTopic { .. }) => {
                let refusal = self.network.not_joined().map(Refusal::NotJoined);
                refusal.map_or(response, Response::Refused)
            }
            response => response,
        }
    }

    /// Tells the operator what has been gathered.
    fn say(&mut self) {
        for Notice { text, is_warning } in self.notices.due(self.clock.now().elapsed) {
            if is_warning {
                tracing::warn!("{text}");
            } else {
                tracing::info!("{text}");
            }
        }
    }

    /// Tells the operator.
    fn tell(&mut self, report: &Report) {
        let now = self.clock.now().elapsed;
        let name = |topic| self.engine.topic_name(topic);
        match report {
            Report::Member(node, state) => {
                tracing::debug!(%node, state = state.as_str(), "the state of a node has changed");
                self.notices.member(*node, *state, now);
            }
            Report::Stopping(node) => tracing::debug!(%node, "a node says that it stops"),
            Report::Fork(topic, log, error) => {
                let name = name(topic).map_or_else(|| topic.to_string(), ToString::to_string);
                tracing::error!(topic = name, writer = %log.writer, %error, "a batch was refused");
            }
            Report::Damaged(damage) => {
                let topic = damage.topic;
                let name = name(&topic).map_or_else(|| topic.to_string(), ToString::to_string);
                tracing::warn!(topic = name, writer = %damage.log.writer, first = damage.first, next = damage.next, "a stored batch is damaged; it is fetched again");
            }
            Report::HandedOver(topic) => self.notices.handed_over(name(topic), now),
            Report::Unproven(node) => {
                tracing::warn!(%node, "a node says that it holds records and does not prove it: no copy is deleted on its word, and another node is sent the same; if it is not yours, keep it off this network");
            }
            Report::ShowsNothing(node, topic) => {
                let name = name(topic).map_or_else(|| topic.to_string(), ToString::to_string);
                tracing::warn!(%node, topic = name, "a node takes records and says afterwards that it lacks them: this node keeps its copies, and brings them ever more rarely; see whether the disk of that node is full or loses data");
            }
            Report::ClockOff(node, ahead) => {
                tracing::warn!(%node, off = %off(*ahead), "the clock of a node is off");
            }
            Report::OwnClockOff(ahead) => {
                tracing::warn!(off = %off(*ahead), "the clock of this machine is off, most other nodes say: it goes by theirs; set it right");
            }
            Report::EarlyStamp(topic, writer, ahead) => {
                let name = name(topic).map_or_else(|| topic.to_string(), ToString::to_string);
                let off = off(i64::try_from(*ahead).unwrap_or(i64::MAX));
                tracing::warn!(topic = name, %writer, %off, "a record is stamped in the future: its stamp counts for nothing");
            }
            Report::UnadmittedWriter(writer, topics) => {
                tracing::warn!(%writer, topics, "records of a writer do not count: no admin has admitted it; `antiphon network admit PEER --former` makes them count");
            }
        }
    }
}

/// Milliseconds, rounded to a unit that is given in seconds.
fn rounded(milliseconds: u64, unit: u64) -> u64 {
    milliseconds.saturating_add(unit * 500) / (unit * 1000)
}

/// How far a clock is off, for people.
fn off(milliseconds: i64) -> String {
    let word = if milliseconds < 0 { "behind" } else { "ahead" };
    let all = milliseconds.unsigned_abs();
    match all / 1000 {
        seconds @ 0..60 => format!("{seconds}.{} s {word}", all % 1000 / 100),
        60..3_600 => format!("{} min {word}", rounded(all, 60)),
        3_600..172_800 => format!("{} h {word}", rounded(all, 3_600)),
        _ => format!("{} days {word}", rounded(all, 86_400)),
    }
}
