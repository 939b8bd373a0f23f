//! The state machine of one node.
//!
//! [`Engine::handle`] takes one [`Input`] with the time at which it happened.
//! [`Engine::poll_output`] returns what to do, in order. The engine reads no clock, draws no random
//! number that its seed does not determine, and iterates over ordered maps only. So the same inputs
//! give the same outputs. The simulator runs this very code.
//!
//! An answer that must not be seen before a write is flushed says so itself
//! ([`Output::Answer`]'s `after`): durability is data, not control flow.
//!
//! A folder for each thing that a node does:
//!
//! - `holdings`: what this node holds of each topic, as plain state that knows no engine: logs,
//!   stamps that lie in the future, accounts of retention, proofs of forks, and the sweep that
//!   finds what compaction may take away
//! - `members`: who is alive, and who is near to a topic; telling others of it; what time it is,
//!   by most clocks; leaving
//! - `inflight`: what this node has asked others and its store, and surveys
//! - `catalogue`: creating, describing, changing, deleting and listing topics
//! - `publish`: sealing batches, counting receipts, answering publishers; how a log begins after a
//!   start; what is published again; what was told to be pending, until it has its copies
//! - `replication`: sending batches to replicas and storing what others send; import; fetching what
//!   this node should hold, giving away what it holds for others; what disks have lost
//! - `read`: serving readers, of history and live, of one topic and of many
//! - `subscriptions`: where named subscriptions stand, who reads under their names, and dividing
//!   their records among the members of a group
//! - `retention`: deleting what a topic does not keep any more, and all but the newest record of
//!   each key
//! - `forks`: writers that signed two batches for one position

mod catalogue;
#[cfg(debug_assertions)]
mod check;
mod forks;
mod gate;
mod holdings;
mod ids;
mod inflight;
mod input;
mod members;
mod numbered;
mod output;
#[doc(hidden)]
pub mod planted;
mod publish;
mod read;
mod recovered;
mod replication;
mod retention;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

pub use gate::FlushGate;
pub use holdings::{
    Damage, Pending,
    early::{Early, EarlyPart},
    ledger::{Part, Parts, Step},
    log::{AddError, Added, HeldSpan, Log, Tip},
    sweep::{Shelf, Stored, Sweep, Swept, SweptSpan},
};
use holdings::{ledger::Ledger, topic::Topics};
pub use ids::{AskId, QuestionId, Ticket, WriteNumber};
use inflight::{
    asks::{Asks, Purpose},
    stored::ReadPurpose,
};
pub use input::{Config, Failure, Input, Now};
use members::{Change, Members, clocks::Clocks};
pub use output::{Output, Report, Write};
pub use recovered::Recovered;

use crate::{
    limits::{self, TICK},
    model::{Clock, NodeId, SignedDescriptor, Stamp, TopicId, TopicName},
    wire::{Address, Contact, Held, MemberState, Refusal, Request, Response},
};

/// A tick that is later than this shows that the process was stopped or starved.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The state machine of one node.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    me: NodeId,
    addresses: Vec<Address>,
    now: Now,
    next_tick: Duration,
    next_acquaint: Duration,
    placed_at: u64,
    clock: Clock,
    clocks: Clocks,
    random: fastrand::Rng,
    members: Members,
    topics: Topics,
    asks: Asks,
    written: WriteNumber,
    durable: WriteNumber,
    next_ticket: Ticket,
    /// What batches are read from the store for.
    store_reads: BTreeMap<Ticket, ReadPurpose>,
    /// Whether the disk has room for records.
    room: bool,
    outputs: VecDeque<Output>,
    catalogue: catalogue::State,
    publishing: publish::State,
    recent: publish::recent::State,
    replication: replication::State,
    importing: replication::import::State,
    surveys: inflight::survey::State,
    reads: read::State,
    names: catalogue::names::State,
    outbox: publish::outbox::State,
    awaiting: publish::awaiting::State,
    positions: subscriptions::position::State,
    readers: subscriptions::readers::State,
    groups: subscriptions::group::State,
    repair: replication::repair::State,
    handover: replication::handover::State,
    damage: replication::damage::State,
    retention: retention::State,
    compaction: retention::compaction::State,
    leaving: members::leave::State,
    verification: replication::verify::State,
    forks: forks::State,
    fork_searches: forks::search::State,
    fork_filing: forks::filing::State,
}

impl Engine {
    /// A node with what its store held when it was opened.
    pub fn new(config: Config, recovered: Recovered) -> Self {
        let me = config.key.node();
        let mut topics = Topics::new(config.network.clone());
        let mut newest = Stamp::default();
        for (topic, logs) in recovered.logs {
            // Only this node's own stamps: one wrong clock must not drag others along.
            let own = logs.iter().filter(|(log, _)| log.writer == me);
            newest = own.map(|(_, log)| log.newest()).max().unwrap_or_default().max(newest);
            topics.entry(topic).logs = logs;
        }
        for ((topic, name), subscription) in recovered.subscriptions {
            topics.entry(topic).merge_subscription(&name, &subscription);
        }
        for (topic, steps) in recovered.steps {
            topics.entry(topic).ledger = Some(Ledger::recovered(steps));
        }
        for descriptor in recovered.descriptors.values() {
            topics.adopt(descriptor);
        }
        for batch in &recovered.catalogue {
            for descriptor in catalogue::descriptors_in(batch) {
                topics.adopt(&descriptor);
            }
        }
        for proof in &recovered.forks {
            topics.entry(proof.topic()).add_fork(proof);
        }
        let forked: Vec<_> =
            recovered.forks.iter().map(|proof| (proof.topic(), proof.log())).collect();
        let contacts = members::peers::with_own(me, &topics, recovered.contacts.into_values());
        let mut engine = Self {
            me,
            addresses: Vec::new(),
            now: Now::default(),
            next_tick: Duration::ZERO,
            next_acquaint: Duration::ZERO,
            placed_at: 0,
            clock: Clock::after(newest),
            clocks: Clocks::default(),
            random: fastrand::Rng::with_seed(config.seed),
            members: Members::new(me, config.gone_after, contacts),
            recent: publish::recent::State::new(&topics),
            topics,
            asks: Asks::default(),
            written: WriteNumber(0),
            durable: WriteNumber(0),
            next_ticket: Ticket(0),
            store_reads: BTreeMap::new(),
            room: true,
            outputs: VecDeque::new(),
            catalogue: catalogue::State::default(),
            publishing: publish::State::default(),
            replication: replication::State::default(),
            importing: replication::import::State::default(),
            surveys: inflight::survey::State::default(),
            reads: read::State::default(),
            names: catalogue::names::State::default(),
            outbox: publish::outbox::State::recovered(recovered.outbox),
            awaiting: publish::awaiting::State::default(),
            positions: subscriptions::position::State::default(),
            readers: subscriptions::readers::State::default(),
            groups: subscriptions::group::State::default(),
            repair: replication::repair::State::default(),
            handover: replication::handover::State::default(),
            damage: replication::damage::State::default(),
            retention: retention::State::default(),
            compaction: retention::compaction::State::default(),
            leaving: members::leave::State::default(),
            verification: replication::verify::State::default(),
            forks: forks::State::default(),
            fork_searches: forks::search::State::default(),
            fork_filing: forks::filing::State::default(),
            config,
        };
        engine.clear_deleted();
        // A crash may have interrupted it.
        for (topic, log) in forked {
            engine.file_branches(topic, log);
        }
        engine
    }

    /// Takes an input. Time must not go back between calls.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(now.elapsed >= self.now.elapsed, "elapsed time never goes back");
        self.read_clock(now);
        match input {
            Input::Asked { question, from, request } => self.asked(question, from, request),
            Input::Abandoned(question) => self.abandoned(question),
            Input::Told { ask, result } => self.told(ask, result),
            Input::Gossiped(gossip) => self.gossiped(gossip),
            Input::Connected(contact) => self.connected(contact),
            Input::Moved(contact) => self.moved(contact),
            Input::Disconnected(node) => {
                self.asks_lost(node);
                let change = self.members.disconnected(now.elapsed, node);
                self.changed(change);
                self.gone_if_left(node);
            }
            Input::Heard(node, round_trip) => {
                let change = self.members.heard(now.elapsed, node, round_trip);
                self.changed(change);
            }
            Input::Discovered(contact) => self.members.discovered(contact),
            Input::Durable(number) => self.flushed(number),
            Input::ReadDone(ticket, page) => self.read_done(ticket, page),
            Input::CheckDone(ticket, checked) => self.check_done(ticket, checked),
            Input::MeasureDone(ticket, parts) => match self.recent.take_measuring(ticket) {
                Some(topic) => self.recall_measured(topic, parts),
                None => self.measured(ticket, parts),
            },
            Input::SweepDone(ticket, swept) => self.swept(ticket, swept),
            Input::Damaged(damage) => self.damaged(damage),
            Input::Room(room) => self.set_room(room),
            Input::Located(topic, nodes) => self.located(topic, nodes),
            Input::Stopping => self.tell_stopping(),
            Input::Listening(mut addresses) => {
                addresses.truncate(limits::ADDRESSES_MAX);
                self.addresses = addresses;
            }
            Input::Timeout => {}
        }
        if now.elapsed >= self.next_tick {
            self.tick();
        }
        self.placed();
        #[cfg(debug_assertions)]
        self.check();
    }

    /// The next thing to do; none when all is done that the inputs so far ask for.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, as time since the start.
    pub fn next_timeout(&self) -> Duration {
        self.next_tick
    }

    /// Whether a topic of this name is known here.
    pub fn knows_topic(&self, name: &TopicName) -> bool {
        self.topics.named(name).is_some()
    }

    /// The name of a topic that is known here.
    pub fn topic_name(&self, topic: &TopicId) -> Option<&TopicName> {
        self.topics.name_of(topic)
    }

    fn tick(&mut self) {
        let late = self.now.elapsed.saturating_sub(self.next_tick);
        if late > PAUSE_MIN {
            // This node was stopped, not the others: their silence in that time says nothing.
            self.members.forgive(late);
        }
        self.next_tick = self.now.elapsed + TICK;
        for change in self.members.tick(self.now.elapsed) {
            self.changed(Some(change));
        }
        self.tick_newcomers();
        self.time_out_asks();
        self.tick_clocks();
        self.tick_publishing();
        self.tick_recent();
        self.tick_replication();
        self.tick_surveys();
        self.tick_reads();
        self.tick_names();
        self.tick_groups();
        self.tick_outbox();
        self.tick_awaiting();
        self.tick_repair();
        self.tick_handover();
        self.tick_retention();
        self.tick_compaction();
        self.tick_leave();
        self.tick_fork_searches();
        self.tick_fork_filing();
        self.acquaint();
    }

    /// Acts upon another set of nodes that are alive: what is under way goes to the replicas of
    /// now.
    fn placed(&mut self) {
        if self.placed_at != self.members.version() {
            self.placed_at = self.members.version();
            self.redispatch();
            self.repair_soon();
            self.outbox_soon();
        }
    }

    fn asked(&mut self, question: QuestionId, from: Option<NodeId>, request: Request) {
        match request {
            Request::Create(create) => self.create(question, &create),
            Request::Alter(alter) => self.alter(question, &alter),
            Request::Delete(name) => self.delete(question, &name),
            Request::Publish(publish) => self.publish(question, publish),
            Request::Import(import) => self.import(question, from, import),
            Request::Survey(name) => self.survey_for_client(question, &name),
            Request::Read(read) => self.read(question, read),
            Request::ReadMany(read) => self.read_many(question, read),
            Request::Names(wanted) => self.names(question, wanted),
            Request::Take(_) | Request::Settle(_) => self.member_asks(question, request),
            Request::Outbox(after) => self.list_outbox(question, after.as_ref()),
            Request::Await(wanted) => self.await_copies(question, wanted),
            Request::Position(name, subscriber) => self.position(question, &name, subscriber),
            Request::Commit(name, subscriber, subscription, session) => {
                self.commit(question, &name, &subscriber, &subscription, session);
            }
            Request::Subscriptions(name, after) => {
                self.list_subscriptions(question, &name, after.as_ref());
            }
            Request::Topics(after) => self.list_topics(question, after),
            Request::Peers => self.list_peers(question),
            Request::Forget(node) => self.forget(question, from, node),
            Request::Leave(node) => self.leave(question, from, node),
            Request::Leaving(finished) => self.leaves(question, from, finished),
            Request::Stopping => self.stops(question, from),
            Request::Verify(name, after) => self.verify(question, &name, after),
            Request::Check(topic, range, bytes_max) => {
                self.check_for(question, topic, range, bytes_max);
            }
            Request::Describe(name) => self.describe(question, &name),
            Request::Replicate(replicate) => self.replicate(question, from, &replicate),
            Request::Compare(after, digest) => self.compare(question, from, after, digest),
            Request::Frontier(topic, subscriber) => {
                let members = &mut self.members;
                let held = match self.topics.get_mut(&topic) {
                    Some(known) => known.held(subscriber.as_ref(), members, &self.me),
                    None => Held { members: members.digest(), ..Held::default() },
                };
                if held.keeps && from.is_some() {
                    self.promise_to_keep(topic);
                }
                self.answer_flushed(question, Response::Held(held));
            }
            Request::Fetch(topic, ranges, bytes_max) => {
                self.fetch(question, topic, ranges, bytes_max);
            }
            Request::Keep(topic, name, subscription, session) => {
                self.keep(question, from, (topic, &name), &subscription, session);
            }
            Request::Positions(topic, after) => {
                self.list_positions(question, topic, after.as_ref());
            }
            Request::Counts => self.count_records(question),
            Request::Find(topic, runs) => self.find_for(question, topic, runs),
        }
    }

    fn told(&mut self, ask: AskId, result: Result<Response, Failure>) {
        // An answer that comes after its time is no longer expected.
        let Some((node, sent, purpose)) = self.asks.take(ask) else {
            return;
        };
        if let Some(wall) = result.as_ref().ok().and_then(|answer| answer.wall_of(&node)) {
            self.clock_told(node, sent, wall);
        }
        if result.is_ok() {
            let change = self.members.heard(self.now.elapsed, node, None);
            self.changed(change);
        }
        self.told_for(node, purpose, result);
    }

    fn told_for(&mut self, node: NodeId, purpose: Purpose, result: Result<Response, Failure>) {
        match purpose {
            Purpose::Replicate(sent) => self.replicated(node, sent, result),
            Purpose::Find(search, round) => self.found(search, round, node, result),
            Purpose::Import(import) => self.imported(import, node, result),
            Purpose::Survey(survey) => self.survey_told(node, survey, result),
            Purpose::ReadLane(read, lane) => self.lane_told(read, lane, result),
            Purpose::Describe(name) => self.described(node, &name, result),
            Purpose::Counts(listing) => self.counted(node, listing, result),
            Purpose::Positions(listing) => self.positions_told(listing, node, result),
            Purpose::Group(question) => self.group_told(node, question, result),
            Purpose::Keep(commit) => self.kept(commit, &result),
            Purpose::Compare => self.compared(node, result),
            Purpose::HandOverPosition(topic, name, attempt) => {
                self.position_handed_over(node, &(topic, name), attempt, &result);
            }
            Purpose::RepairPositions(topic) => self.repair_positions(node, topic, result),
            Purpose::RepairFrontier(topic) => self.repair_frontier(node, topic, result),
            Purpose::RepairFetch(pull) => self.repair_fetched(node, pull, result),
            Purpose::Check(job) => self.check_told(job, node, result),
            Purpose::ForkFrontier(topic, log) => self.fork_frontier(topic, log, result),
            Purpose::ForkFetch(topic, log) => self.fork_fetched(topic, log, result),
            Purpose::ForkWay(topic, log) => self.way_fetched(topic, log, result),
            Purpose::HandOverProof(topic, number) => {
                self.handed_over_shown(topic, number, Some(node), result);
            }
            Purpose::Tell => {}
            Purpose::Acquaint => {
                if let Ok(Response::Peers(peers)) = result {
                    self.told_new(node, &peers);
                    for peer in peers.into_iter().take(limits::MEMBERS_MAX) {
                        let contact = Contact::new(peer.node, peer.addresses);
                        self.members.discovered(contact);
                    }
                }
            }
        }
    }

    fn connected(&mut self, contact: Contact) {
        let node = contact.node;
        self.connected_for_clock();
        self.moved(contact);
        self.ask(node, Request::Peers, limits::ASK_TIMEOUT, Purpose::Acquaint);
        self.tell_leaving(node);
    }

    fn moved(&mut self, contact: Contact) {
        let node = contact.node;
        let (news, change) = self.members.connected(self.now.elapsed, contact);
        if news {
            self.write_contact(node);
        }
        self.changed(change);
    }

    fn changed(&mut self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::State(node, state)) => {
                self.outputs.push_back(Output::Report(Report::Member(node, state)));
                match state {
                    MemberState::Alive => self.returned(node),
                    MemberState::Suspect => {}
                    MemberState::Dead | MemberState::Gone => self.asks_lost(node),
                }
            }
            Some(Change::Silent(node)) => self.outputs.push_back(Output::Disconnect(node)),
            Some(Change::Dial(contact)) => self.outputs.push_back(Output::Dial(contact)),
            Some(Change::Forgotten(node)) => {
                self.write(Write::Forget(node));
                self.clocks.forget(&node);
                self.replication_forget(&node);
                self.repair_forget(&node);
            }
        }
    }

    /// A node is back: it is sent what it missed, and compared with at once.
    fn returned(&mut self, node: NodeId) {
        self.replication_returned(node);
        self.repair_returned(node);
    }

    /// Requests to a node that can no longer answer have failed.
    fn asks_lost(&mut self, node: NodeId) {
        for purpose in self.asks.take_all(&node) {
            self.told_for(node, purpose, Err(Failure::Unreachable));
        }
    }

    fn time_out_asks(&mut self) {
        for (node, purpose) in self.asks.take_overdue(self.now.elapsed) {
            self.told_for(node, purpose, Err(Failure::TimedOut));
        }
    }

    // --- outputs ---------------------------------------------------------------------------

    fn answer(&mut self, question: QuestionId, response: Response) {
        self.outputs.push_back(Output::Answer { question, response, after: None });
    }

    /// Answers once all that was written so far is flushed.
    fn answer_flushed(&mut self, question: QuestionId, response: Response) {
        let after = self.unflushed();
        self.outputs.push_back(Output::Answer { question, response, after });
    }

    fn refuse(&mut self, question: QuestionId, refusal: Refusal) {
        self.answer(question, Response::Refused(refusal));
    }

    fn refuse_invalid(&mut self, question: QuestionId, reason: impl std::fmt::Display) {
        self.refuse(question, Refusal::Invalid(reason.to_string()));
    }

    fn write(&mut self, write: Write) -> WriteNumber {
        if let Write::Append { batch, .. } = &write {
            self.remember(batch);
        }
        self.written.0 += 1;
        self.outputs.push_back(Output::Write(self.written, write));
        self.written
    }

    fn ask(&mut self, to: NodeId, request: Request, timeout: Duration, purpose: Purpose) {
        let ask = self.asks.put(to, self.now.elapsed, timeout, purpose);
        self.outputs.push_back(Output::Ask { ask, to, request });
    }

    fn flushed(&mut self, number: WriteNumber) {
        debug_assert!(number <= self.written, "only what was written is flushed");
        self.durable = self.durable.max(number);
        self.damage_flushed();
        self.publishing_flushed();
        self.imports_flushed();
    }

    fn abandoned(&mut self, question: QuestionId) {
        self.reads.abandon(question);
        self.names.abandon(question);
        self.group_abandoned(question);
        self.awaiting.abandon(question);
        self.verification.abandon(question);
    }

    /// Adopts a descriptor that did not come through the catalogue, and stores it.
    fn adopt_kept(&mut self, descriptor: &SignedDescriptor) {
        let topic = self.topics.id_of(descriptor.descriptor());
        if self.adopt(descriptor) {
            self.write(Write::Descriptor(topic, descriptor.clone()));
        }
    }

    /// Adopts a descriptor. Returns whether it is new.
    fn adopt(&mut self, descriptor: &SignedDescriptor) -> bool {
        let news = self.topics.adopt(descriptor);
        if news {
            let topic = self.topics.id_of(descriptor.descriptor());
            self.replication_terms(&topic);
            self.clear_deleted();
            self.repair_soon();
            self.name_changed(&descriptor.descriptor().name);
            self.topic_known(&descriptor.descriptor().name);
        }
        news
    }
}
