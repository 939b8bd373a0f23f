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
//! - `members`: who is alive, who is near to a topic, and what the clocks of others read, as plain
//!   state
//! - `inflight`: what this node has asked others and its store
//! - `core`: what all parts share; each borrows it together with its own state
//! - `front`: the front door, where each request comes in
//! - `survey`: asking the replicas of a topic what they hold
//! - `membership`: telling others about nodes, and leaving
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
//! - `roster`: who belongs to a closed network; who does not is out

mod catalogue;
#[cfg(debug_assertions)]
mod check;
mod core;
mod forks;
mod front;
mod gate;
mod heads;
mod holdings;
mod ids;
mod inflight;
mod input;
mod members;
mod membership;
mod numbered;
mod output;
mod publish;
mod read;
mod recovered;
mod replication;
mod retention;
mod rights;
mod roster;
mod subscriptions;
mod survey;
#[cfg(test)]
mod tests;
mod wing;

use core::Core;
use std::time::Duration;

pub use gate::FlushGate;
pub use holdings::{
    Damage, Pending,
    early::{Early, EarlyPart},
    ledger::{Part, Parts, Step},
    log::{AddError, Added, HeldSpan, Log, Tip, TooManyLogs},
    sweep::{Shelf, Stored, Sweep, Swept, SweptSpan},
};
use holdings::{ledger::Ledger, topics::Topics};
pub use ids::{AskId, QuestionId, Ticket, WriteNumber};
use inflight::{asks::Purpose, stored::ReadPurpose};
pub use input::{Asker, Closed, Config, Failure, Input, Now};
use members::Change;
pub use output::{Output, Report, Write};
pub use recovered::Recovered;

use crate::{
    engine::wing::Wing,
    limits::{self, TICK},
    model::{Descriptor, NodeId, SignedDescriptor, Stamp, TopicId, TopicName},
    wire::{ClientRequest, Contact, MemberState, Page, Refusal, Response},
};

/// A tick that is later than this shows that the process was stopped or starved.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The state machine of one node.
#[derive(Debug)]
pub struct Engine {
    core: Core,
    next_tick: Duration,
    placed_at: u64,
    front: front::State,
    surveys: survey::State,
    membership: membership::State,
    catalogue: catalogue::State,
    publish: publish::State,
    replication: replication::State,
    read: read::State,
    subscriptions: subscriptions::State,
    retention: retention::State,
    forks: forks::State,
    roster: roster::State,
}

/// Calls an entry point of every part, in one fixed order.
macro_rules! each_wing {
    ($event:ident($($argument:expr),*)) => {{
        <roster::State as Wing>::$event($($argument),*);
        <membership::State as Wing>::$event($($argument),*);
        <survey::State as Wing>::$event($($argument),*);
        <publish::State as Wing>::$event($($argument),*);
        <replication::State as Wing>::$event($($argument),*);
        <read::State as Wing>::$event($($argument),*);
        <catalogue::State as Wing>::$event($($argument),*);
        <subscriptions::State as Wing>::$event($($argument),*);
        <retention::State as Wing>::$event($($argument),*);
        <forks::State as Wing>::$event($($argument),*);
    }};
}

impl Engine {
    /// A node with what its store held when it was opened.
    pub fn new(config: Config, mut recovered: Recovered) -> Self {
        let me = config.key.node();
        let closed = config.closed.clone();
        let old_catalogue = recovered.logs.remove(&Topics::old_catalogue(&config.realm));
        let mut topics = Topics::new(config.realm.clone());
        let mut newest = Stamp::default();
        for (topic, logs) in recovered.logs {
            // Only this node's own stamps: one wrong clock must not drag others along.
            let own = logs.iter().filter(|(log, _)| log.writer == me);
            newest = own.map(|(_, log)| log.newest()).max().unwrap_or_default().max(newest);
            topics.entry(topic).recover(logs);
        }
        for ((topic, name), subscription) in recovered.subscriptions {
            topics.entry(topic).merge_subscription(&name, &subscription);
        }
        for (topic, steps) in recovered.steps {
            topics.entry(topic).recover_ledger(Ledger::recovered(steps));
        }
        for descriptor in recovered.descriptors.values() {
            topics.adopt(descriptor);
        }
        for descriptor in recovered.catalogue.iter().flat_map(catalogue::descriptors_in) {
            topics.adopt(&descriptor);
        }
        for proof in &recovered.forks {
            topics.entry(proof.topic()).add_fork(proof);
        }
        let contacts = membership::with_own(me, &topics, recovered.contacts.into_values());
        let mut engine = Self {
            next_tick: Duration::ZERO,
            placed_at: 0,
            front: front::State::default(),
            surveys: survey::State::default(),
            membership: membership::State::default(),
            catalogue: catalogue::State::default(),
            publish: publish::State::new(&topics, recovered.outbox),
            replication: replication::State::default(),
            read: read::State::default(),
            subscriptions: subscriptions::State::default(),
            retention: retention::State::default(),
            forks: forks::State::default(),
            roster: roster::State::default(),
            core: Core::new(config, topics, contacts, newest),
        };
        engine.rewrite_catalogue(old_catalogue, &recovered.descriptors);
        engine.clear_deleted();
        engine.forks_on_start(&recovered.forks);
        engine.roster_on_start(closed, &recovered.roster);
        engine
    }

    /// Takes an input. Time must not go back between calls.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(now.elapsed >= self.core.now.elapsed, "elapsed time never goes back");
        self.core.read_clock(now);
        match input {
            Input::Asked { question, asker, request } => self.asked(question, asker, request),
            Input::Abandoned(question) => each_wing!(on_abandoned(self, question)),
            Input::Told { ask, result } => self.told(ask, result),
            Input::Gossiped(gossip) => self.gossiped(gossip),
            Input::Connected(contact) => self.connected(contact),
            Input::Moved(contact) => {
                if !self.is_put_out(&contact.node) {
                    self.moved(contact);
                }
            }
            Input::Disconnected(node) => {
                self.asks_lost(node);
                let change = self.core.members.disconnected(now.elapsed, node);
                self.changed(change);
                self.gone_if_left(node);
            }
            Input::Heard(node, round_trip) => {
                let change = self.core.members.heard(now.elapsed, node, round_trip);
                self.changed(change);
            }
            Input::Discovered(contact) => {
                if !self.is_put_out(&contact.node) {
                    self.core.members.discovered(contact);
                }
            }
            Input::Admitted(statements) => self.admitted(statements),
            Input::Durable(number) => self.flushed(number),
            Input::ReadDone(ticket, page) => self.read_done(ticket, page),
            Input::CheckDone(ticket, checked) => self.check_done(ticket, checked),
            Input::MeasureDone(ticket, parts) => match self.publish.recent.take_measuring(ticket) {
                Some(topic) => self.recall_measured(topic, parts),
                None => self.retention.on_measured(&mut self.core, ticket, parts),
            },
            Input::SweepDone(ticket, swept) => {
                self.retention.on_swept(&mut self.core, ticket, swept);
            }
            Input::Damaged(damage) => self.damaged(damage),
            Input::Room(room) => self.set_room(room),
            Input::Located(topic, nodes) => self.located(topic, nodes),
            Input::Stopping => self.tell_stopping(),
            Input::Listening(mut addresses) => {
                addresses.truncate(limits::ADDRESSES_MAX);
                self.core.addresses = addresses;
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
        self.core.next_output()
    }

    /// When [`Input::Timeout`] is due, as time since the start.
    pub fn next_timeout(&self) -> Duration {
        self.next_tick
    }

    /// Whether a topic of this name is known here.
    pub fn knows_topic(&self, name: &TopicName) -> bool {
        self.core.topics.named(name).is_some()
    }

    /// The name of a topic that is known here.
    pub fn topic_name(&self, topic: &TopicId) -> Option<&TopicName> {
        self.core.topics.name_of(topic)
    }

    fn tick(&mut self) {
        let late = self.core.now.elapsed.saturating_sub(self.next_tick);
        if late > PAUSE_MIN {
            // This node was stopped, not the others: their silence in that time says nothing.
            self.core.members.forgive(late);
        }
        self.next_tick = self.core.now.elapsed + TICK;
        for change in self.core.members.tick(self.core.now.elapsed) {
            self.changed(Some(change));
        }
        self.time_out_asks();
        if self.core.settle_clocks() {
            self.seal_waiting();
        }
        self.core.report_clocks();
        each_wing!(on_tick(self));
    }

    /// Acts upon another set of nodes that are alive: what is under way goes to the replicas of
    /// now.
    fn placed(&mut self) {
        if self.placed_at != self.core.members.version() {
            self.placed_at = self.core.members.version();
            self.redispatch();
            self.repair_soon();
            self.publish.on_other_members(&self.core);
        }
    }

    fn told(&mut self, ask: AskId, result: Result<Response, Failure>) {
        // An answer that comes after its time is no longer expected.
        let Some((node, sent, purpose)) = self.core.asks.take(ask) else {
            return;
        };
        if let Some(wall) = result.as_ref().ok().and_then(|answer| answer.wall_of(&node))
            && self.core.clock_told(node, sent, wall)
        {
            self.seal_waiting();
        }
        if result.is_ok() {
            let change = self.core.members.heard(self.core.now.elapsed, node, None);
            self.changed(change);
        }
        self.told_for(node, purpose, result);
    }

    fn told_for(&mut self, node: NodeId, purpose: Purpose, result: Result<Response, Failure>) {
        match purpose {
            Purpose::Replicate(sent) => self.replicated(node, sent, result),
            Purpose::Find(search, round) => self.found(search, round, node, result),
            Purpose::Prove(challenge) => self.proven_by(challenge, node, result),
            Purpose::Shown(search) => self.shown(search, node, result),
            Purpose::Import(import) => self.imported(import, node, result),
            Purpose::Survey(survey) => self.survey_told(node, survey, result),
            Purpose::ReadLane(read, lane) => self.lane_told(read, lane, result),
            Purpose::Describe(name) => self.described(node, &name, result),
            Purpose::Counts(listing) => {
                self.catalogue.on_counts(&mut self.core, node, listing, result);
            }
            Purpose::Positions(listing) => self.positions_told(listing, node, result),
            Purpose::Group(question) => self.group_told(node, question, result),
            Purpose::Keep(commit) => self.kept(commit, &result),
            Purpose::Announce(change) => self.announced(node, change, result),
            Purpose::Compare => self.compared(node, result),
            Purpose::Statements => self.statements_told(node, result),
            Purpose::Roster => self.roster_told(node, result),
            Purpose::HandOverPosition(topic, name, attempt) => {
                self.position_handed_over(node, &(topic, name), attempt, &result);
            }
            Purpose::RepairPositions(topic) => self.repair_positions(node, topic, result),
            Purpose::RepairFrontier(topic) => self.repair_frontier(node, topic, result),
            Purpose::RepairFetch(pull) => self.repair_fetched(node, pull, result),
            Purpose::Check(job) => self.check_told(job, node, result),
            Purpose::Fork(ask, topic, log) => self.forks_on_response(ask, (topic, log), result),
            Purpose::HandOverProof(topic, number) => {
                self.handed_over_shown(topic, number, Some(node), result);
            }
            Purpose::Tell => {}
            Purpose::Acquaint => {
                if let Ok(Response::Peers(mut peers)) = result {
                    peers.retain(|peer| !self.is_put_out(&peer.node));
                    self.told_new(node, &peers);
                    self.core.members.told_of(node, peers);
                }
            }
        }
    }

    fn connected(&mut self, contact: Contact) {
        let node = contact.node;
        if self.is_put_out(&node) {
            return self.put_out(node);
        }
        self.core.clocks.doubt_if_lonely(self.core.now.elapsed);
        self.moved(contact);
        self.begin_comparison(node);
        self.core.ask(node, ClientRequest::Peers, limits::ASK_TIMEOUT, Purpose::Acquaint);
        self.tell_leaving(node);
    }

    fn moved(&mut self, contact: Contact) {
        let node = contact.node;
        let forgotten = self.core.members.make_room(self.core.now.elapsed, &node);
        self.changed(forgotten.map(Change::Forgotten));
        let (news, change) = self.core.members.connected(self.core.now.elapsed, contact);
        if news {
            self.write_contact(node);
        }
        self.changed(change);
    }

    fn changed(&mut self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::State(node, state)) => {
                self.core.report(Report::Member(node, state));
                match state {
                    MemberState::Alive => self.returned(node),
                    MemberState::Suspect => {}
                    MemberState::Dead | MemberState::Gone => self.asks_lost(node),
                }
            }
            Some(Change::Silent(node)) => self.core.output(Output::Disconnect(node)),
            // Somebody may have told of it before it was removed.
            Some(Change::Dial(contact)) if self.is_put_out(&contact.node) => {}
            Some(Change::Dial(contact)) => self.core.output(Output::Dial(contact)),
            Some(Change::Forgotten(node)) => {
                self.core.write(Write::Forget(node));
                self.core.clocks.forget(&node);
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
        for purpose in self.core.asks.take_all(&node) {
            self.told_for(node, purpose, Err(Failure::Unreachable));
        }
    }

    fn time_out_asks(&mut self) {
        for (node, purpose) in self.core.asks.take_overdue(self.core.now.elapsed) {
            self.told_for(node, purpose, Err(Failure::TimedOut));
        }
    }

    /// Hands what the store has read to the part that asked for it.
    fn read_done(&mut self, ticket: Ticket, page: Option<Page>) {
        let Some(purpose) = self.core.store_read(ticket) else { return };
        match purpose {
            ReadPurpose::Fetch(question, from, topic) => {
                self.fetch_read(question, from, topic, page);
            }
            ReadPurpose::Heads(asked) => self.heads_read(*asked, page),
            ReadPurpose::Lane(read, lane) => self.lane_done(read, lane, page),
            ReadPurpose::HandOver(topic, node) => self.hand_over_page(topic, node, page),
            ReadPurpose::HandOverProof(topic, number) => {
                let page = Response::Page(page.unwrap_or_default());
                self.handed_over_shown(topic, number, None, Ok(page));
            }
            ReadPurpose::Challenge(challenge) => self.challenge_read(challenge, page),
            ReadPurpose::Prove(challenged) => self.prove_read(&challenged, page),
            ReadPurpose::Fork(read, topic) => self.forks_on_store_read(read, topic, page),
            ReadPurpose::Bare(topic, log, end) => self.before_bare_read((topic, log, end), page),
            ReadPurpose::Closing(topic, log) => self.closed_end_read(topic, log, page),
            ReadPurpose::Recall(topic) => self.recalled(topic, page),
        }
    }

    fn flushed(&mut self, number: WriteNumber) {
        self.core.flushed(number);
        each_wing!(on_flushed(self));
    }

    /// A topic is deleted, and what was held of it is gone.
    fn topic_deleted(&mut self, topic: TopicId, refusal: &Refusal) {
        each_wing!(on_topic_deleted(self, topic, refusal));
    }

    /// Adopts terms that another node told. Without room on the disk only those of known topics:
    /// what makes room again, an altered topic or a deleted one, finds its place in the reserve.
    fn learn(&mut self, signed: &SignedDescriptor) {
        let topic = self.core.topics.id_of(signed.descriptor());
        let terms = signed.descriptor();
        if !self.is_within_reach(topic, terms) || self.check_signer(terms).is_err() {
            return;
        }
        let has_room = self.core.room || self.core.topics.has_terms(&topic);
        if has_room && self.core.topics.has_place_for(signed.descriptor()) {
            self.adopt(signed);
        }
    }

    /// Whether terms count no further than they can have been changed.
    fn is_within_reach(&self, topic: TopicId, terms: &Descriptor) -> bool {
        let topics = &self.core.topics;
        let current = topics.get(&topic).and_then(|known| known.descriptor.as_ref());
        let current = current.map(SignedDescriptor::descriptor);
        terms.is_within_reach(topics.newest(&terms.name), current, self.core.now.wall)
    }

    /// Adopts terms, and stores them. Returns whether they are new.
    fn adopt(&mut self, signed: &SignedDescriptor) -> bool {
        let topic = self.core.topics.id_of(signed.descriptor());
        if !self.core.topics.adopt(signed) {
            return false;
        }
        // What they make this node remove does not come back, so they are kept before that.
        self.core.write(Write::Descriptor(topic, signed.clone()));
        self.replication_terms(&topic);
        self.clear_deleted();
        self.repair_soon();
        let name = &signed.descriptor().name;
        self.catalogue.on_name(name);
        self.topic_known(name);
        true
    }
}
