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
pub(super) mod many;
pub(super) mod merge;
pub(super) mod tail;
pub(super) mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::{
    holes::{Met, Passed, told_with},
    many::Many,
    merge::{answers, merge},
    view::{Source, View},
};
use super::{
    Engine,
    holdings::topic::Topic,
    ids::{ManyId, QuestionId, ReadId},
    inflight::{
        asks::{LaneId, Purpose},
        found::Found,
        stored::ReadPurpose,
    },
    input::Failure,
    numbered::Numbered,
    planted::{Bug, planted},
    survey::Then,
};
use crate::{
    engine::{output::Output, wing::Wing},
    limits::{
        ASK_TIMEOUT, FRONTIER_LOGS_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX, READ_ATTEMPTS_MAX,
        READ_WAIT_MAX,
    },
    model::{Compacted, Cursor, LogId, NodeId, SubscriberName, TopicId},
    wire::{LogRange, MemberState, NodeRequest, Page, Read, Refusal, Request, Response},
};

/// How long a read that is to end waits for the proof that nobody holds what it lacks.
const HOLE_PATIENCE: Duration = Duration::from_secs(6);

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
    /// Reads of the store for lanes.
    /// Reads of the store for other nodes.
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
        self.core.read_store(topic, ranges, bytes_max, ReadPurpose::Fetch(question));
    }

    pub(super) fn fetch_read(&mut self, question: QuestionId, page: Option<Page>) {
        self.read.fetching = self.read.fetching.saturating_sub(1);
        self.core.answer(question, Response::Page(page.unwrap_or_default()));
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

    /// How far a topic goes, by all that this node knows.
    pub(super) fn known_end(&self, topic: TopicId) -> Cursor {
        let mut end = self.core.topics.get(&topic).map_or_else(|| Cursor::start(topic), Topic::end);
        if let Some(view) = self.read.views.get(&topic) {
            view.join_end_into(&mut end);
        }
        end
    }

    /// The same, with what a survey has found.
    pub(super) fn end_with(&self, found: &Found) -> Cursor {
        let mut end = self.known_end(found.topic);
        end.join(&found.end());
        end
    }

    /// Plans where the answer to a read comes from, and asks there.
    pub(super) fn plan_read(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get(number) else {
            return;
        };
        let (topic, surveyed, job_ends) = (job.topic, job.surveyed, job.until.is_some());
        let fresh = |view: &View| view.surveyed.is_some();
        if job.until.is_none() && !self.read.views.get(&topic).is_some_and(fresh) && !surveyed {
            return self.survey_for_read(number);
        }
        let target = job.until.clone().unwrap_or_else(|| self.known_end(topic));
        let needed: Vec<LogRange> = target
            .logs
            .iter()
            .map(|(log, end)| self.readable(topic, *log, job.after.next(log), end.next))
            .map(|range| LogRange { from: self.start_here(topic, range), ..range })
            .filter(|range| range.from < range.to)
            .collect();
        let met = job.met.clone();
        let (needed, later): (Vec<_>, Vec<_>) =
            needed.into_iter().partition(|range| !met.later.contains(&range.log));
        let mut lanes: BTreeMap<Source, Vec<LogRange>> = BTreeMap::new();
        let (mut whole, mut sourceless) = (later.is_empty(), false);
        let mut passed = Vec::new();
        for mut range in needed {
            match self.pass_over(topic, &mut range, &met, &lanes, &mut passed) {
                Some((source, end)) => {
                    whole &= end >= range.to;
                    let to = end.min(range.to);
                    lanes.entry(source).or_default().push(LogRange { to, ..range });
                }
                None => sourceless |= range.from < range.to,
            }
        }
        if sourceless {
            self.ask_about_holes(topic);
        }
        let trims = passed.iter().any(|passed: &Passed| passed.trimmed);
        let unsure = sourceless || trims && !self.is_surveyed(topic);
        if unsure && !surveyed && job_ends {
            return self.survey_for_read(number);
        }
        if let Some(job) = self.read.jobs.get_mut(number) {
            job.passed = passed;
        }
        if lanes.is_empty() {
            // Of what is let go or lost there is nothing to wait for.
            let waits = sourceless || !later.is_empty();
            return if waits { self.try_again(number) } else { self.wait_or_end(number) };
        }
        whole &= !sourceless;
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|(source, ranges)| Lane { source, ranges, page: None, is_bare: false })
            .collect();
        if !self.may_start(number, &lanes) {
            return self.wait_or_end(number);
        }
        self.start_lanes(number, lanes, whole);
    }

    /// Where a range starts; a planted bug skips what is not held here.
    fn start_here(&self, topic: TopicId, range: LogRange) -> u64 {
        let log = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        match log.filter(|_| planted(Bug::HoleSkipped)) {
            Some(log) if log.entry().held_from(range.from).is_none() => {
                let later = log.spans.iter().map(|span| span.first).find(|at| *at > range.from);
                later.unwrap_or(range.from)
            }
            Some(_) | None => range.from,
        }
    }

    /// Who can give a range, or its start, and up to where.
    pub(super) fn source_for(
        &self,
        topic: TopicId,
        range: LogRange,
        failed: &BTreeSet<Source>,
        chosen: &BTreeMap<Source, Vec<LogRange>>,
    ) -> Option<(Source, u64)> {
        let view = self.read.views.get(&topic);
        let recent = view.map(|view| view.tail.run(range.log, range.from, range.to));
        let recent = recent.and_then(|run| run.last().map(|last| last.header().next()));
        let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        let held = held.and_then(|log| log.entry().held_from(range.from));
        let held = held.filter(|_| !failed.contains(&Source::Store));
        // Part of a range is taken only where nobody has all of it: what other logs have would be
        // shown before the rest, though it was written later.
        let recent = recent.map(|end| (Source::Tail, end));
        let held = held.map(|end| (Source::Store, end));
        let is_whole = |(_, end): &(Source, u64)| *end >= range.to;
        if let Some(whole) = recent.filter(is_whole).or_else(|| held.filter(is_whole)) {
            return Some(whole);
        }
        let holders =
            view.into_iter().flat_map(|view| &view.frontiers).filter_map(|(node, held)| {
                let end = held.0.get(&range.log)?.held_from(range.from)?;
                let source = Source::Node(*node);
                let usable = self.core.members.is_connected(node)
                    && self.core.members.state(node) <= MemberState::Suspect
                    && !failed.contains(&source);
                usable.then_some((source, *node, end))
            });
        // One source for many logs is better than the nearest for each; then the nearest.
        let rank = |(source, node, end): &(Source, NodeId, u64)| {
            let member = self.core.members.get(node);
            let round_trip = member.and_then(|member| member.round_trip).unwrap_or(Duration::MAX);
            (
                *end < range.to,
                !chosen.contains_key(source),
                self.core.members.state(node),
                round_trip,
            )
        };
        let other = holders.min_by_key(rank).map(|(source, _, end)| (source, end));
        other.filter(is_whole).or(recent).or(held).or(other)
    }

    fn survey_for_read(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            return;
        };
        job.surveyed = true;
        let topic = job.topic;
        self.survey(topic, Then::Read(number));
    }

    /// There is nothing after the cursor: the read waits, or that is the answer.
    pub(super) fn wait_or_end(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get(number) else {
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

    pub(super) fn give_up(&mut self, number: ReadId) {
        self.refuse_read(number, Refusal::Unreachable);
    }

    fn start_lanes(&mut self, number: ReadId, lanes: Vec<Lane>, whole: bool) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            return;
        };
        job.attempt += 1;
        job.lanes = lanes;
        job.whole = whole;
        let (topic, attempt, bytes_max) = (job.topic, job.attempt, job.bytes_max);
        let plan: Vec<_> =
            job.lanes.iter().map(|lane| (lane.source, lane.ranges.clone())).collect();
        for (index, (source, ranges)) in plan.into_iter().enumerate() {
            let lane = LaneId { attempt, index };
            match source {
                Source::Tail => {
                    let page = self.read_tail(topic, &ranges);
                    self.lane_done(number, lane, Some(page));
                }
                Source::Store => {
                    let purpose = ReadPurpose::Lane(number, lane);
                    self.core.read_store(topic, ranges, bytes_max, purpose);
                }
                Source::Node(node) => {
                    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
                    let request = Request::Node(NodeRequest::Fetch(topic, ranges, bytes_max));
                    self.core.ask(node, request, ASK_TIMEOUT, Purpose::ReadLane(number, lane));
                }
            }
        }
    }

    fn read_tail(&self, topic: TopicId, ranges: &[LogRange]) -> Page {
        let tail = self.read.views.get(&topic).map(|view| &view.tail);
        let run = |range: &LogRange| tail.map(|tail| tail.run(range.log, range.from, range.to));
        // Each log in its own order, whatever its stamps say: a writer may sign any.
        let page = |batches| Page { batches, finished: true, ..Page::default() };
        let pages = ranges.iter().filter_map(run).map(page).collect();
        let (batches, _) = merge(pages, &self.core.early(topic), usize::MAX);
        Page { batches, finished: true, ..Page::default() }
    }

    pub(super) fn lane_told(
        &mut self,
        number: ReadId,
        lane: LaneId,
        result: Result<Response, Failure>,
    ) {
        let Some(job) = self.read.jobs.get(number) else {
            return;
        };
        let asked = job.lanes.get(lane.index).filter(|_| lane.attempt == job.attempt);
        let page = match (result, asked) {
            (Ok(Response::Page(page)), Some(asked))
                if page.is_of(job.topic)
                    && answers(&page, &asked.ranges)
                    && (page.compacted.is_empty() || self.is_compacted(job.topic)) =>
            {
                Some(page)
            }
            _ => None,
        };
        self.lane_done(number, lane, page);
    }

    pub(super) fn lane_done(&mut self, number: ReadId, lane: LaneId, page: Option<Page>) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            return;
        };
        if lane.attempt != job.attempt {
            return;
        }
        let Some(done) = job.lanes.get_mut(lane.index) else {
            return;
        };
        // A source that was to hold something and gives nothing has lost it.
        let mut page = page.unwrap_or_default();
        if page.batches.is_empty() && page.compacted.is_empty() {
            job.met.failed.insert(done.source);
        }
        if page.batches.is_empty() {
            job.met.bare.extend(page.compacted.drain(..).map(|part| part.unnamed()));
            done.is_bare = true;
        }
        done.page = Some(page);
        if job.lanes.iter().any(|lane| lane.page.is_none()) {
            return;
        }
        let lanes = std::mem::take(&mut job.lanes);
        let lost = lanes.iter().any(|lane| job.met.failed.contains(&lane.source));
        let is_bare = lanes.iter().any(|lane| lane.is_bare);
        if (lost || is_bare) && job.attempt < READ_ATTEMPTS_MAX {
            // Another source may give the same, and what comes first may be there.
            return self.plan_read(number);
        }
        let pages: Vec<Page> = lanes.into_iter().filter_map(|lane| lane.page).collect();
        let mut compacted: Vec<_> =
            // Only nodes need the names.
            pages.iter().flat_map(|page| page.compacted.iter().map(Compacted::unnamed)).collect();
        let (topic, bytes_max, whole) = (job.topic, job.bytes_max, job.whole);
        let (mut batches, finished) = merge(pages, &self.core.early(topic), bytes_max);
        let held_back = self.hold_back(number, &mut batches);
        if batches.is_empty() {
            return self.read_without(number, held_back);
        }
        let finished = finished && whole && held_back.is_empty();
        let starts: BTreeMap<_, _> =
            batches.iter().map(|batch| ((batch.log(), batch.header().first), batch)).collect();
        let next = |part: &Compacted| starts.get(&(part.log, part.next)).copied();
        compacted.retain(|part| next(part).is_some_and(|batch| part.precedes(batch)));
        let job = self.read.jobs.get_mut(number);
        let passed = job.map(|job| std::mem::take(&mut job.passed)).unwrap_or_default();
        let mut page = Page { finished, compacted, ..Page::default() };
        for Passed { range, trimmed } in told_with(&batches, &page.compacted, passed) {
            if trimmed { &mut page.trimmed } else { &mut page.lost }.push(range);
        }
        page.batches = batches;
        self.finish_read(number, page);
    }

    /// All that was given waits for what was not: that is read without these logs.
    fn read_without(&mut self, number: ReadId, held_back: BTreeSet<LogId>) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            return;
        };
        let known = job.met.later.len();
        job.met.later.extend(held_back);
        if known < job.met.later.len() && known < LATER_LOGS_MAX {
            return self.plan_read(number);
        }
        self.try_again(number);
    }

    pub(super) fn finish_read(&mut self, number: ReadId, page: Page) {
        let Some(Job { reader, topic, .. }) = self.read.jobs.remove(number) else {
            return;
        };
        match reader {
            For::Client(question) => self.core.answer(question, Response::Page(page)),
            For::Part(of) => self.part_read(of, number, page),
            For::Group(name) => self.group_read(topic, name, number, Some(page)),
        }
    }
}
