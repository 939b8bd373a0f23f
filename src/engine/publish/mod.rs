//! Publishing: this node as a writer.
//!
//! Records queue per topic. While some batches are on their way to the replicas, the next one
//! fills; an idle writer seals at once. A batch is sealed, stored here and sent to the replicas at
//! the same time. Each receipt says that one more disk has flushed it. When there are enough, the
//! publisher is answered.
//!
//! **In the order of the log.** A batch counts as many copies as it has, and as every batch before
//! it in its log has. Otherwise a crash could leave a gap before an acknowledged record, and
//! readers do not skip gaps.
//!
//! If the copies are not reached in time, the answer is `pending`. The batch stays in this node's
//! store, which is its outbox: repair and handover bring it to the replicas when they are back. It
//! still counts: by its receipts while memory allows, and then by surveys that say who holds all of
//! that part of the log. See `outbox`.

pub(super) mod after_fork;
mod awaiting;
mod outbox;
pub(super) mod outgoing;
mod receipts;
pub(super) mod recent;
mod retried;
pub(super) mod start;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use self::{
    awaiting::Awaiting,
    outbox::Outboxes,
    outgoing::{BEHIND_SURVEY_INTERVAL, Outgoing, Queued, Unacknowledged, Waiter, Waiting},
};
use super::{
    Engine,
    core::Core,
    holdings::{
        Pending,
        log::{AddError, Added},
        topic::Topics,
    },
    ids::{QuestionId, WriteNumber},
    output::Output,
    planted::{Bug, planted},
    survey::Then,
};
use crate::{
    engine::wing::Wing,
    limits::{
        BATCH_BODY_BYTES_MAX, BATCH_RECORDS_MAX, UNACKNOWLEDGED_BATCHES_MAX,
        UNACKNOWLEDGED_BYTES_MAX,
    },
    model::{
        Batch, Draft, Hash, LogId, NodeId, ProducerId, RecordId, Run, TopicId, validate_given,
    },
    wire::{Acks, LogRange, Publish, Published, Refusal, Response, small},
};

/// A batch that is under way for longer than this no longer keeps the next one waiting: the
/// replicas are slow or away, and records are safer sealed than queued.
const SLOT_AGE_MAX: Duration = Duration::from_millis(500);

/// All that this node writes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) topics: BTreeMap<TopicId, Outgoing>,
    /// Topics with records queued or unacknowledged.
    active: BTreeSet<TopicId>,
    /// Bytes queued and unacknowledged.
    bytes: usize,
    /// Own batches that are not flushed yet, in order.
    pub(super) unflushed: VecDeque<(WriteNumber, TopicId, LogId, Hash)>,
    /// What may be there already.
    retried: retried::State,
    pub(super) recent: recent::State,
    outbox: Outboxes,
    awaiting: Awaiting,
}

impl State {
    /// Of a node that starts with these topics, and with this in its outbox.
    pub(super) fn new(
        topics: &Topics,
        outbox: BTreeMap<TopicId, BTreeMap<LogId, Pending>>,
    ) -> Self {
        Self {
            topics: BTreeMap::new(),
            active: BTreeSet::new(),
            bytes: 0,
            unflushed: VecDeque::new(),
            retried: retried::State::default(),
            recent: recent::State::new(topics),
            outbox: Outboxes::recovered(outbox),
            awaiting: Awaiting::default(),
        }
    }

    /// Whether all that this node wrote to a topic is flushed.
    fn is_flushed(&self, topic: TopicId) -> bool {
        self.unflushed.iter().all(|(_, other, ..)| *other != topic)
    }

    /// Empties the outbox of a topic. Those who wait for its copies.
    fn on_topic_deleted(&mut self, core: &mut Core, topic: TopicId) -> Vec<QuestionId> {
        self.outbox.on_topic_deleted(core, topic);
        self.awaiting.on_topic_deleted(topic)
    }

    /// Other nodes are alive than before.
    pub(super) fn on_other_members(&mut self, core: &Core) {
        self.outbox.on_other_members(core);
    }

    /// Asserts that the bytes under way are counted, that every topic with some is active, and that
    /// batches are in order.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        let under_way = self.topics.values().map(Outgoing::bytes).sum::<usize>();
        assert_eq!(self.bytes, under_way + self.retried.bytes(), "bytes under way");
        for (topic, outgoing) in &self.topics {
            assert!(outgoing.is_idle() || self.active.contains(topic), "{topic:?} is forgotten");
            let mut ends = BTreeMap::new();
            for batch in outgoing.unacknowledged.iter().map(|sealed| &sealed.batch) {
                let before = ends.insert(batch.log(), batch.header().next()).unwrap_or(0);
                assert!(before <= batch.header().first, "{batch:?} comes after {before}");
            }
        }
        assert!(self.unflushed.iter().map(|(write, ..)| *write).is_sorted(), "writes in order");
        self.outbox.check();
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_publishing();
        engine.tick_recent();
        engine.tick_outbox();
        engine.tick_awaiting();
    }

    fn on_flushed(engine: &mut Engine) {
        engine.publishing_flushed();
    }

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, refusal: &Refusal) {
        let publishers = engine.stop_publishing(topic).into_iter();
        let publishers = publishers.map(|waiting| waiting.waiter.question());
        let awaiting = engine.publish.on_topic_deleted(&mut engine.core, topic);
        for question in publishers.chain(awaiting) {
            engine.core.refuse(question, refusal.clone());
        }
    }

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.publish.awaiting.on_abandoned(question);
    }
}

impl Engine {
    pub(super) fn publish(&mut self, question: QuestionId, topic: TopicId, publish: Publish) {
        let first = RecordId { producer: publish.producer, number: publish.first };
        let count = match validate_given(&publish.topic, first, &publish.records) {
            Ok(0) => return self.core.refuse_invalid(question, "no records"),
            Ok(count) if count > BATCH_RECORDS_MAX => {
                return self.core.refuse_invalid(question, "too many records in one request");
            }
            Ok(count) => count,
            Err(error) => return self.core.refuse(question, error.into()),
        };
        if publish.records.len() > BATCH_BODY_BYTES_MAX {
            return self.core.refuse_invalid(question, "too many bytes in one request");
        }
        if publish.first.checked_add(u64::from(count)).is_none() {
            return self.core.refuse_invalid(question, "record number out of range");
        }
        if !self.core.room {
            return self.core.refuse(question, Refusal::Full(None));
        }
        if self.membership.is_leaving() {
            return self
                .core
                .refuse(question, Refusal::Stopping("it is leaving the network".into()));
        }
        if self.core.topics.get(&topic).is_some_and(|known| !known.admits(&self.core.me)) {
            return self.core.refuse(question, Refusal::NotAWriter(publish.topic.to_string()));
        }
        let incarnation = self.publish.incarnation(&topic, &self.core.config);
        let log = LogId { writer: self.core.me, incarnation };
        if self.core.topics.get(&topic).is_some_and(|known| known.is_full(&log)) {
            return self.core.refuse_invalid(question, AddError::TooManyLogs);
        }
        let run = Run { producer: publish.producer, first: publish.first, count };
        let waiting = Waiting {
            waiter: Waiter::Publisher(question),
            acks: publish.acks,
            deadline: self.core.now.elapsed + Duration::from_millis(u64::from(publish.timeout_ms)),
            duplicate: false,
        };
        if self.join_earlier(topic, run, &waiting) {
            return;
        }
        if publish.retried {
            self.search(topic, run, publish.records.0, waiting);
        } else {
            self.enqueue(topic, run, publish.records.0, vec![waiting]);
        }
    }

    /// Publishes a record of this node's own.
    pub(super) fn publish_own(
        &mut self,
        topic: TopicId,
        record: Bytes,
        waiter: Waiter,
        timeout: Duration,
    ) {
        let producer = ProducerId::random(std::array::from_fn(|_| self.core.random.u8(..)));
        let run = Run { producer, first: 0, count: 1 };
        let deadline = self.core.now.elapsed + timeout;
        let waiting = Waiting { waiter, acks: Acks::Quorum, deadline, duplicate: false };
        self.enqueue(topic, run, record, vec![waiting]);
    }

    /// The disk has room for records, or has none: what is not sealed yet is refused then.
    pub(super) fn set_room(&mut self, room: bool) {
        self.core.room = room;
        if room {
            return;
        }
        let mut refused = Vec::new();
        let catalogue = self.core.topics.catalogue();
        for topic in self.publish.active.iter().filter(|topic| **topic != catalogue) {
            if let Some(outgoing) = self.publish.topics.get_mut(topic) {
                for queued in outgoing.queued.drain(..) {
                    self.publish.bytes -= queued.records.len();
                    refused.extend(queued.waiting);
                }
            }
        }
        for Waiting { waiter, .. } in refused {
            self.core.refuse(waiter.question(), Refusal::Full(None));
        }
    }

    /// Whether this many bytes more are too much under way.
    pub(super) fn is_busy_with(&self, bytes: usize) -> bool {
        self.publish.bytes + bytes > UNACKNOWLEDGED_BYTES_MAX
    }

    fn enqueue(&mut self, topic: TopicId, run: Run, records: Bytes, waiting: Vec<Waiting>) {
        if self.is_busy_with(records.len()) {
            for Waiting { waiter, .. } in waiting {
                self.core.refuse(waiter.question(), Refusal::Busy);
            }
            return;
        }
        self.publish.bytes += records.len();
        if !self.publish.topics.contains_key(&topic) {
            self.begin_log(topic);
        }
        // Not before: a lone node knows the end of its old log at once, and is idle until now.
        self.publish.active.insert(topic);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        if planted(Bug::SequenceReused)
            && let Some(end) = outgoing.previous
            && end.incarnation == outgoing.incarnation
        {
            outgoing.next = end.next;
        }
        outgoing.queued.push_back(Queued { runs: vec![run], records, waiting });
        self.seal_ready(topic);
    }

    /// Seals what is queued, as far as batches may be under way.
    pub(super) fn seal_ready(&mut self, topic: TopicId) {
        let now = self.core.now.elapsed;
        self.find_own_branch(topic);
        while let Some(outgoing) = self.publish.topics.get(&topic) {
            if outgoing.parted.is_some() {
                break;
            }
            // Nobody waits for what was told to be pending, so the next one does not wait for it.
            let young = |sealed: &&Unacknowledged| {
                now.saturating_sub(sealed.sealed) < SLOT_AGE_MAX && !sealed.waiting.is_empty()
            };
            let under_way = outgoing.unacknowledged.iter().filter(young).count();
            let full = under_way >= UNACKNOWLEDGED_BATCHES_MAX;
            let has_room = self.core.room || topic == self.core.topics.catalogue();
            let is_unsure = outgoing.confirming.is_some() || self.core.clocks.is_in_doubt();
            let waits = full || is_unsure || !has_room;
            if outgoing.queued.is_empty() || waits {
                break;
            }
            self.seal_one(topic);
        }
    }

    /// Seals what waited to be stamped.
    pub(super) fn seal_waiting(&mut self) {
        for topic in self.publish.active.clone() {
            self.seal_ready(topic);
        }
    }

    fn seal_one(&mut self, topic: TopicId) {
        let stamp = self.core.clock.tick(self.core.now.wall);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let (runs, body, waiting) = outgoing.take_body();
        let log = LogId { writer: self.core.me, incarnation: outgoing.incarnation };
        if self.core.topics.entry(topic).is_full(&log) {
            outgoing.refused();
            self.publish.bytes -= body.len();
            return self.refuse_all(waiting, &AddError::TooManyLogs);
        }
        let draft = Draft {
            topic,
            incarnation: outgoing.incarnation,
            previous: outgoing.previous,
            stamp,
            runs,
        };
        let batch = draft.seal(&body, &self.core.config.key);
        let known = self.core.topics.entry(topic);
        if !matches!(known.add(&batch), Ok(Added::New)) {
            // What is held of the log has changed since: damage has left too many holes in it, or
            // a batch of somebody else, with the same key, stands there.
            let runs = batch.header().runs.clone();
            outgoing.queued.push_front(Queued { runs, records: body, waiting });
            return outgoing.begin_anew(&mut self.core.random);
        }
        let log = known.logs[&batch.log()].clone();
        let is_pending = waiting.is_empty();
        outgoing.sealed(&batch);
        outgoing.unacknowledged.push_back(Unacknowledged {
            batch: batch.clone(),
            bytes: body.len(),
            sealed: self.core.now.elapsed,
            receipts: BTreeSet::new(),
            waiting,
            is_pending,
        });
        let number = self.append(batch.clone(), log);
        let log = batch.header().log();
        self.publish.unflushed.push_back((number, topic, log, batch.hash()));
        if is_pending {
            self.publish.outbox.put(&mut self.core, topic, &batch, 0);
        }
        self.note_received(&batch);
        let sent_to = self.dispatch(topic, &batch, &BTreeSet::new());
        self.core.output(Output::Gossip { batch: batch.clone(), sent_to });
        if planted(Bug::AnsweredBeforeFlush) && self.is_acting(topic) {
            self.receipt(topic, batch.log(), batch.hash(), self.core.me);
        }
        self.stored(&batch);
    }

    fn refuse_all(&mut self, waiting: Vec<Waiting>, error: &AddError) {
        for Waiting { waiter, .. } in waiting {
            self.core.refuse_invalid(waiter.question(), error);
        }
    }

    /// Sends a batch to the replicas that have not given a receipt for it; those that have it soon.
    fn dispatch(
        &mut self,
        topic: TopicId,
        batch: &Batch,
        receipts: &BTreeSet<NodeId>,
    ) -> Vec<NodeId> {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return Vec::new();
        };
        let mut acting = known.placement(&self.core.members).acting.clone();
        acting.retain(|node| {
            *node != self.core.me
                && !receipts.contains(node)
                && self.send_batch(*node, topic, batch)
        });
        acting
    }

    /// Sends what is unacknowledged to the replicas of now.
    pub(super) fn redispatch(&mut self) {
        for topic in self.publish.active.clone() {
            let Some(outgoing) = self.publish.topics.get(&topic) else {
                continue;
            };
            let batches: Vec<_> = outgoing
                .unacknowledged
                .iter()
                .map(|sealed| (sealed.batch.clone(), sealed.receipts.clone()))
                .collect();
            for (batch, receipts) in batches {
                self.dispatch(topic, &batch, &receipts);
            }
            self.own_receipts(topic);
            self.settle(topic);
        }
    }

    /// A replica has a batch flushed.
    pub(super) fn receipt(&mut self, topic: TopicId, log: LogId, hash: Hash, node: NodeId) {
        if log.writer != self.core.me {
            return;
        }
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let sealed = outgoing.unacknowledged.iter_mut().find(|other| other.batch.hash() == hash);
        if sealed.is_some_and(|sealed| sealed.receipts.insert(node)) {
            self.settle(topic);
        }
    }

    /// This node's own disk counts where it is one of the replicas.
    pub(super) fn publishing_flushed(&mut self) {
        while let Some((number, topic, log, hash)) = self.publish.unflushed.front().copied() {
            if number > self.core.durable {
                break;
            }
            self.publish.unflushed.pop_front();
            if self.is_acting(topic) {
                self.receipt(topic, log, hash, self.core.me);
            } else if self.is_over(topic) {
                self.settle(topic);
            }
        }
        self.searches_flushed();
    }

    fn is_over(&self, topic: TopicId) -> bool {
        let outgoing = self.publish.topics.get(&topic);
        outgoing.is_some_and(|outgoing| outgoing.is_over(self.core.now.elapsed))
    }

    /// This node may have become a replica of what it wrote before.
    fn own_receipts(&mut self, topic: TopicId) {
        if !self.is_acting(topic) {
            return;
        }
        let unflushed: BTreeSet<_> =
            self.publish.unflushed.iter().map(|(.., hash)| *hash).collect();
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        for sealed in &mut outgoing.unacknowledged {
            if !unflushed.contains(&sealed.batch.hash()) {
                sealed.receipts.insert(self.core.me);
            }
        }
    }

    fn is_acting(&mut self, topic: TopicId) -> bool {
        let me = self.core.me;
        let known = self.core.topics.get_mut(&topic);
        known.is_some_and(|known| known.placement(&self.core.members).acting.contains(&me))
    }

    /// Answers the publishers whose copies are reached, or whose time is over.
    pub(super) fn settle(&mut self, topic: TopicId) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let wanted = |acks| known.wanted(&self.core.members, acks);
        let wanted = [Acks::One, Acks::Quorum, Acks::All].map(wanted);
        let wanted = |acks| match acks {
            Acks::One => wanted[0],
            Acks::Quorum => wanted[1],
            Acks::All => wanted[2],
        };
        let quorum = wanted(Acks::Quorum);
        let home = known.placement(&self.core.members).home.clone();
        let there = known.placement(&self.core.members).acting.len();
        let replicas = known.replicas();
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let (mut answers, mut pending) = (Vec::new(), Vec::new());
        let before = outgoing.bytes();
        // Copies that all batches have up to the one that is looked at.
        let mut throughout = if outgoing.behind.is_some() { 0 } else { usize::MAX };
        outgoing.unacknowledged.retain_mut(|sealed| {
            let twice =
                planted(Bug::ReceiptCountedTwice) && sealed.receipts.contains(&self.core.me);
            let own = sealed.receipts.len() + usize::from(twice);
            if !planted(Bug::AcknowledgedOutOfOrder) {
                throughout = throughout.min(own);
            }
            let copies = throughout.min(own);
            let mut told = false;
            let stand_ins = sealed.receipts.iter().filter(|node| !home.contains(node)).count();
            sealed.waiting.retain(|waiting| {
                let wanted = wanted(waiting.acks);
                let over = waiting.deadline <= self.core.now.elapsed;
                let acknowledged = copies >= wanted || over && planted(Bug::PendingIsSuccess);
                // Of a batch that is pending it is told how many there are of itself.
                let copies = if acknowledged { copies } else { own };
                let stand_ins = stand_ins.min(copies);
                if acknowledged || over {
                    let place = LogRange::of(sealed.batch.header());
                    let published = Published {
                        acknowledged,
                        copies: small(copies),
                        stand_ins: small(stand_ins),
                        replicas,
                        wanted: small(wanted),
                        duplicate: waiting.duplicate,
                        place: (!acknowledged).then_some(place),
                        too_few_nodes: !acknowledged && there < wanted,
                    };
                    answers.push((waiting.waiter.clone(), published));
                    told |= !acknowledged;
                }
                !acknowledged && !over
            });
            let lacking = copies < quorum && !planted(Bug::AcknowledgedOutOfOrder);
            if told && lacking {
                sealed.is_pending = true;
                pending.push((sealed.batch.clone(), own));
            }
            lacking || !sealed.waiting.is_empty()
        });
        let too_much = self.publish.bytes > UNACKNOWLEDGED_BYTES_MAX / 2;
        outgoing.leave_behind(self.core.now.elapsed, too_much);
        self.publish.bytes -= before - outgoing.bytes();
        if outgoing.is_idle() {
            self.publish.active.remove(&topic);
        }
        for (batch, copies) in pending {
            self.publish.outbox.put(&mut self.core, topic, &batch, copies);
        }
        if let Some(outgoing) = self.publish.topics.get(&topic) {
            self.publish.outbox.on_receipts(&mut self.core, topic, outgoing);
        }
        self.answer_waiters(answers);
        self.seal_ready(topic);
    }

    fn answer_waiters(&mut self, answers: Vec<(Waiter, Published)>) {
        for (waiter, published) in answers {
            match waiter {
                Waiter::Publisher(question)
                    if published.acknowledged || planted(Bug::PendingBeforeFlush) =>
                {
                    self.core.answer(question, Response::Published(published));
                }
                // It is in the outbox, and so on this node's disk.
                Waiter::Publisher(question) => {
                    self.core.answer_flushed(question, Response::Published(published));
                }
                Waiter::Changer(question, topic, change) => {
                    self.change_told(question, topic, change);
                }
            }
        }
    }

    /// Drops all that is under way in a topic; those who wait for it.
    pub(super) fn stop_publishing(&mut self, topic: TopicId) -> Vec<Waiting> {
        self.publish.active.remove(&topic);
        self.publish.unflushed.retain(|(_, of, ..)| *of != topic);
        let searched = self.stop_searches(topic);
        let Some(outgoing) = self.publish.topics.remove(&topic) else {
            return searched;
        };
        self.publish.bytes -= outgoing.bytes();
        let queued = outgoing.queued.into_iter().flat_map(|queued| queued.waiting);
        let sealed = outgoing.unacknowledged.into_iter().flat_map(|sealed| sealed.waiting);
        searched.into_iter().chain(queued).chain(sealed).collect()
    }

    /// Whether somebody waits for records of this topic.
    pub(super) fn is_publishing(&self, topic: &TopicId) -> bool {
        let outgoing = self.publish.topics.get(topic);
        outgoing.is_some_and(Outgoing::is_waited_for) || self.is_searching(topic)
    }

    pub(super) fn tick_publishing(&mut self) {
        self.tick_searches();
        for topic in self.publish.active.clone() {
            self.seal_ready(topic);
            self.settle(topic);
            self.expire_queued(topic);
            let outgoing = self.publish.topics.get_mut(&topic);
            // Only where somebody waits for what comes after it.
            let outgoing = outgoing.filter(|outgoing| outgoing.is_waited_for());
            let behind = outgoing.and_then(|outgoing| outgoing.behind.as_mut());
            if let Some(behind) = behind.filter(|behind| behind.survey_at <= self.core.now.elapsed)
            {
                behind.survey_at = self.core.now.elapsed + BEHIND_SURVEY_INTERVAL;
                self.survey(topic, Then::Outbox);
            }
        }
    }

    /// Tells publishers whose time is over while their records wait to be sealed again, after a
    /// fork and with no room on the disk. They stay in the queue.
    fn expire_queued(&mut self, topic: TopicId) {
        let now = self.core.now.elapsed;
        let Some(outgoing) = self.publish.topics.get_mut(&topic).filter(|_| !self.core.room) else {
            return;
        };
        let mut over = Vec::new();
        for queued in &mut outgoing.queued {
            over.extend(queued.waiting.extract_if(.., |waiting| waiting.deadline <= now));
        }
        let Some(known) = self.core.topics.get_mut(&topic).filter(|_| !over.is_empty()) else {
            return;
        };
        let replicas = known.replicas();
        let pending = |Waiting { waiter, acks, duplicate, .. }| {
            let wanted = small(known.wanted(&self.core.members, acks));
            let published = Published { replicas, wanted, duplicate, ..Published::default() };
            (waiter, published)
        };
        let answers = over.into_iter().map(pending).collect();
        self.answer_waiters(answers);
    }
}
