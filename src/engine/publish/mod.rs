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
mod after_removal;
mod awaiting;
mod outbox;
pub(super) mod outgoing;
mod receipts;
pub(super) mod recent;
mod retried;
mod seal;
mod settle;
pub(super) mod start;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use self::{
    awaiting::Awaiting,
    outbox::Outboxes,
    outgoing::{BEHIND_SURVEY_INTERVAL, Outgoing, Waiting},
};
use super::{
    Engine,
    core::Core,
    holdings::{Pending, topics::Topics},
    ids::{QuestionId, WriteNumber},
    survey::Then,
};
use crate::{
    engine::wing::Wing,
    limits::{
        BATCH_BODY_BYTES_MAX, BATCH_RECORDS_MAX, PUBLISH_TIMEOUT_MAX, UNACKNOWLEDGED_BYTES_MAX,
    },
    model::{Hash, LogId, RecordId, Run, TopicId, validate_given},
    wire::{Publish, Published, Refusal, small},
};

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
        let publishers = publishers.map(|waiting| waiting.question);
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
        if let Err(refusal) = self.check_own_right(&topic) {
            return self.core.refuse(question, refusal);
        }
        let run = Run { producer: publish.producer, first: publish.first, count };
        let timeout = Duration::from_millis(u64::from(publish.timeout_ms));
        let waiting = Waiting {
            question,
            acks: publish.acks,
            deadline: self.core.now.elapsed + timeout.min(PUBLISH_TIMEOUT_MAX),
            duplicate: false,
        };
        if !publish.retried {
            self.enqueue(topic, run, publish.records.0, vec![waiting]);
        } else if !self.join_earlier(topic, run, &waiting) {
            self.search(topic, run, publish.records.0, waiting);
        }
    }

    /// The disk has room for records, or has none: what is not sealed yet is refused then.
    pub(super) fn set_room(&mut self, room: bool) {
        self.core.room = room;
        if room {
            return;
        }
        let mut refused = Vec::new();
        for topic in &self.publish.active {
            if let Some(outgoing) = self.publish.topics.get_mut(topic) {
                for queued in outgoing.queued.drain(..) {
                    self.publish.bytes -= queued.records.len();
                    refused.extend(queued.waiting);
                }
            }
        }
        for Waiting { question, .. } in refused {
            self.core.refuse(question, Refusal::Full(None));
        }
    }

    /// Whether this many bytes more are too much under way.
    pub(super) fn is_busy_with(&self, bytes: usize) -> bool {
        self.publish.bytes + bytes > UNACKNOWLEDGED_BYTES_MAX
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
        // Nobody's time is over.
        let Some(known) = self.core.topics.get_mut(&topic).filter(|_| !over.is_empty()) else {
            return;
        };
        let replicas = known.replicas();
        let pending = |Waiting { question, acks, duplicate, .. }| {
            let wanted = small(known.wanted(&self.core.members, acks));
            let published = Published { replicas, wanted, duplicate, ..Published::default() };
            (question, published)
        };
        let answers = over.into_iter().map(pending).collect();
        self.answer_publishers(answers);
    }
}
