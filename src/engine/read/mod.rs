//! Reading: history and live, for clients of this node and for other nodes.
//!
//! A client asks for what follows a cursor. The node knows from surveys and gossip how far each log
//! goes and who holds it. It plans the answer from as few sources as possible: the tail in memory,
//! its own store, other nodes. Several sources are merged by stamp, so that readers see the order
//! that one replica would have shown. A source that fails is left out of the next plan.
//!
//! A client that asks for records that do not exist yet waits here (long poll), until a batch
//! arrives by gossip or replication, or a survey finds one.

pub(super) mod follow;
pub(super) mod hold_back;
pub(super) mod holes;
mod lanes;
pub(super) mod many;
pub(super) mod merge;
mod plan;
pub(super) mod tail;
pub(super) mod view;

use std::{collections::BTreeMap, time::Duration};

use self::{
    holes::{Met, Passed},
    many::Many,
    view::{Source, View},
};
use super::{
    Engine,
    ids::{ManyId, QuestionId, ReadId},
    inflight::{found::Found, stored::ReadPurpose},
    numbered::Numbered,
};
use crate::{
    engine::{output::Output, wing::Wing},
    limits::{FRONTIER_LOGS_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX, READ_ATTEMPTS_MAX, READ_WAIT_MAX},
    model::{Cursor, NodeId, SubscriberName, TopicId},
    wire::{LogRange, Page, Read, Refusal, Response},
};

/// How long a read that is to end waits for the proof that nobody holds what it lacks.
const HOLE_PATIENCE: Duration = Duration::from_secs(6);

/// For how long a node is asked last that did not give what it said it held.
const DOUBTED_FOR: Duration = Duration::from_mins(10);

/// Logs that a read leaves out for they wait for others, before it waits itself.
const LATER_LOGS_MAX: usize = 64;

/// What one source is asked for, and what it gave.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) source: Source,
    ranges: Vec<LogRange>,
    page: Option<Page>,
    /// Whether it gave compacted parts and nothing behind them.
    is_bare: bool,
}

/// For whom a topic is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum For {
    /// A client, which asked this.
    Client(QuestionId),
    /// A client that asked for many topics: which of those questions it is part of.
    Part(ManyId),
    /// A group of the topic, which this node coordinates.
    Group(SubscriberName),
}

/// A read of one topic.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) reader: For,
    pub(super) topic: TopicId,
    pub(super) after: Cursor,
    pub(super) until: Option<Cursor>,
    pub(super) bytes_max: usize,
    pub(super) deadline: Duration,
    /// Until when it waits for proof that nobody holds what it lacks; none where it need not.
    pub(super) patience: Option<Duration>,
    pub(super) attempt: u32,
    pub(super) surveyed: bool,
    pub(super) met: Met,
    pub(super) lanes: Vec<Lane>,
    /// Whether the lanes give all that was asked for.
    pub(super) whole: bool,
    /// What is passed over; of each log in order.
    pub(super) passed: Vec<Passed>,
    /// What exists and nobody gave when it was looked for last.
    pub(super) lacking: Vec<LogRange>,
}

impl Job {
    /// All of a topic after a cursor, with nothing planned yet.
    pub(super) fn new(reader: For, topic: TopicId, after: Cursor) -> Self {
        Self {
            reader,
            topic,
            after,
            until: None,
            bytes_max: PAGE_BYTES_MAX,
            deadline: Duration::ZERO,
            patience: None,
            attempt: 0,
            surveyed: false,
            met: Met::default(),
            lanes: Vec::new(),
            whole: false,
            passed: Vec::new(),
            lacking: Vec::new(),
        }
    }

    /// The question for many topics that it is part of.
    pub(super) fn part_of(&self) -> Option<ManyId> {
        match self.reader {
            For::Part(of) => Some(of),
            For::Client(_) | For::Group(_) => None,
        }
    }
}

/// The reads under way.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) jobs: Numbered<ReadId, Job>,
    pub(super) many: Numbered<ManyId, Many>,
    pub(super) views: BTreeMap<TopicId, View>,
    /// Nodes that did not give what they said they held, and until when they are asked last. They
    /// are no more than there are members.
    doubted: BTreeMap<NodeId, Duration>,
    /// How many reads of the store are under way for other nodes.
    fetching: usize,
}

impl State {
    /// Asserts that what waits for news is under way, and that each part has its whole.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        for (topic, view) in &self.views {
            for &number in &view.waiting {
                let job = self.jobs.get(number);
                assert!(job.is_some_and(|job| job.topic == *topic), "no {number:?} waits");
            }
        }
        for job in self.jobs.values() {
            let of = job.part_of();
            assert!(of.is_none_or(|of| self.many.get(of).is_some()), "a part of nothing");
        }
    }

    /// Whether a read is the one of a group.
    #[cfg(debug_assertions)]
    pub(super) fn is_for_group(
        &self,
        number: ReadId,
        topic: TopicId,
        name: &SubscriberName,
    ) -> bool {
        let job = self.jobs.get(number).filter(|job| job.topic == topic);
        job.is_some_and(|job| job.reader == For::Group(name.clone()))
    }

    /// The reads of a topic.
    pub(super) fn of_topic(&self, topic: TopicId) -> Vec<ReadId> {
        let jobs = self.jobs.iter().filter(|(_, job)| job.topic == topic);
        jobs.map(|(number, _)| number).collect()
    }

    pub(super) fn abandon(&mut self, question: QuestionId) {
        if self.abandon_many(question) {
            return;
        }
        let reader = For::Client(question);
        let job = self.jobs.iter().find(|(_, job)| job.reader == reader);
        if let Some((number, topic)) = job.map(|(number, job)| (number, job.topic)) {
            self.jobs.remove(number);
            if let Some(view) = self.views.get_mut(&topic) {
                view.waiting.remove(&number);
            }
        }
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        let now = engine.core.now.elapsed;
        engine.read.doubted.retain(|_, until| now < *until);
        engine.tick_reads();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, refusal: &Refusal) {
        for read in engine.read.of_topic(topic) {
            engine.refuse_read(read, refusal.clone());
        }
        if engine.read.views.remove(&topic).is_some_and(|view| view.following) {
            engine.core.output(Output::Unfollow(topic));
        }
    }

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.read.abandon(question);
    }
}

impl Engine {
    // --- for other nodes -------------------------------------------------------------------

    /// Serves another node from this node's store.
    pub(super) fn fetch(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        topic: TopicId,
        ranges: Vec<LogRange>,
        bytes_max: u32,
    ) {
        if self.read.fetching >= QUESTIONS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        if ranges.len() > FRONTIER_LOGS_MAX || self.core.topics.get(&topic).is_none() {
            return self.core.answer(question, Response::Page(Page::default()));
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(PAGE_BYTES_MAX);
        self.read.fetching += 1;
        self.core.read_store(topic, ranges, bytes_max, ReadPurpose::Fetch(question, from, topic));
    }

    pub(super) fn fetch_read(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        topic: TopicId,
        page: Option<Page>,
    ) {
        self.read.fetching = self.read.fetching.saturating_sub(1);
        let page = page.unwrap_or_default();
        if let Some(from) = from {
            self.note_bare(topic, from, &page);
        }
        self.core.answer(question, Response::Page(page));
    }

    // --- for clients -----------------------------------------------------------------------

    pub(super) fn read(&mut self, question: QuestionId, topic: TopicId, read: Read) {
        let well_formed = |cursor: &Cursor| cursor.topic == topic && cursor.is_well_formed();
        if !well_formed(&read.after) || read.until.as_ref().is_some_and(|end| !well_formed(end)) {
            return self.core.refuse(question, Refusal::ForeignCursor);
        }
        if self.read.single() >= QUESTIONS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        let wait = Duration::from_millis(u64::from(read.wait_ms)).min(READ_WAIT_MAX);
        self.look_at(topic, read.until.is_none());
        let bytes_max = usize::try_from(read.bytes_max).unwrap_or(usize::MAX);
        let job = self.read.jobs.insert(Job {
            until: read.until,
            bytes_max: bytes_max.clamp(1, PAGE_BYTES_MAX),
            deadline: self.core.now.elapsed + wait,
            ..Job::new(For::Client(question), topic, read.after)
        });
        self.plan_read(job);
    }

    /// Records what the replicas said they hold, if somebody reads the topic.
    pub(super) fn note_frontiers(&mut self, found: &Found) {
        // Nobody reads the topic.
        let Some(view) = self.read.views.get_mut(&found.topic) else {
            return;
        };
        view.surveyed = Some(self.core.now.elapsed);
        view.surveying = false;
        for (node, held) in &found.held {
            if *node != self.core.me {
                view.told(*node, &held.frontier);
            }
        }
    }

    /// How far a topic goes that readers, groups and positions see, by all that this node knows.
    pub(super) fn visible_end(&self, topic: TopicId) -> Cursor {
        let mut end =
            self.core.topics.get(&topic).map_or_else(|| Cursor::start(topic), |known| known.end());
        if let Some(view) = self.read.views.get(&topic) {
            view.join_end_into(&mut end);
        }
        self.leave_unadmitted_out_of(&mut end);
        end
    }

    /// The same, with all that headers prove.
    pub(super) fn proven_end(&self, topic: TopicId) -> Cursor {
        let mut end = self.visible_end(topic);
        if let Some(known) = self.core.topics.get(&topic) {
            known.join_proven_into(&mut end);
        }
        self.leave_unadmitted_out_of(&mut end);
        end
    }

    /// The same as is visible, with what a survey has found.
    pub(super) fn visible_end_with(&self, found: &Found) -> Cursor {
        let mut end = self.visible_end(found.topic);
        end.join(&found.end());
        end
    }

    /// There is nothing after the cursor: the read waits, or that is the answer.
    pub(super) fn wait_or_end(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get(number) else {
            debug_assert!(false, "a read that is planned is there");
            return;
        };
        if job.until.is_none() && self.core.now.elapsed < job.deadline {
            let topic = job.topic;
            let view = self.read.views.entry(topic).or_insert_with(|| View::new(topic));
            view.waiting.insert(number);
            self.not_under_way(number);
        } else {
            self.finish_read(number, Page { finished: true, ..Page::default() });
        }
    }

    /// Nobody gave anything: other sources are looked for, a few times. Who follows the topic
    /// waits until the next survey tells something else.
    fn try_again(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            debug_assert!(false, "a read whose lanes are done is there");
            return;
        };
        job.met.later.clear();
        if job.until.is_none() && self.core.now.elapsed < job.deadline {
            job.attempt = 0;
            job.met.failed.clear();
            return self.wait_or_end(number);
        }
        let now = self.core.now.elapsed;
        if let Some(view) = self.read.views.get_mut(&job.topic).filter(|view| view.suspects_holes())
        {
            let patience = *job.patience.get_or_insert(now + HOLE_PATIENCE);
            if job.until.is_some() && now < patience {
                job.attempt = 0;
                job.met.failed.clear();
                job.deadline = patience;
                view.waiting.insert(number);
                return;
            }
        }
        job.attempt += 1;
        if job.attempt < READ_ATTEMPTS_MAX {
            return self.survey_for_read(number);
        }
        self.give_up(number);
    }

    /// Nobody gives what is lacking before the end. If an established node is away, it may have
    /// that. If it is there and wrote it, it may lack it for a moment. Any other writer may sign an
    /// end and show nothing: the read ends without that, and says so.
    pub(super) fn give_up(&mut self, number: ReadId) {
        let job = self.read.jobs.get_mut(number).filter(|job| job.until.is_some());
        let withheld = job.map(|job| std::mem::take(&mut job.lacking)).unwrap_or_default();
        let (members, now) = (&self.core.members, self.core.now.elapsed);
        let is_of_established = |range: &LogRange| members.is_established(now, &range.log.writer);
        if withheld.is_empty()
            || members.is_established_one_away(now)
            || withheld.iter().any(is_of_established)
        {
            return self.refuse_read(number, Refusal::Unreachable);
        }
        self.finish_read(number, Page { finished: true, withheld, ..Page::default() });
    }
}
