//! The lanes of a read: parts that come from different nodes, and what they bring together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DOUBTED_FOR, For, Job, LATER_LOGS_MAX, Lane,
    holes::{Passed, told_with},
    merge::{answers, by_stamp, merge},
    view::Source,
};
use crate::{
    engine::{
        Engine,
        ids::ReadId,
        inflight::{
            asks::{LaneId, Purpose},
            stored::ReadPurpose,
        },
        input::Failure,
    },
    limits::{ASK_TIMEOUT, READ_ATTEMPTS_MAX},
    model::{Compacted, LogId, TopicId},
    wire::{LogRange, NodeRequest, Page, Request, Response},
};

impl Engine {
    pub(super) fn start_lanes(&mut self, number: ReadId, lanes: Vec<Lane>, whole: bool) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            debug_assert!(false, "a read that is planned is there");
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

    pub(super) fn read_tail(&self, topic: TopicId, ranges: &[LogRange]) -> Page {
        let tail = self.read.views.get(&topic).map(|view| &view.tail);
        let run = |range: &LogRange| tail.map(|tail| tail.run(range.log, range.from, range.to));
        // Each log in its own order, whatever its stamps say: a writer may sign any.
        let page = |batches| Page { batches, finished: true, ..Page::default() };
        let pages = ranges.iter().filter_map(run).map(page).collect();
        let (batches, _) = merge(pages, by_stamp(&self.core.early(topic)), usize::MAX);
        Page { batches, finished: true, ..Page::default() }
    }

    pub(in crate::engine) fn lane_told(
        &mut self,
        number: ReadId,
        lane: LaneId,
        result: Result<Response, Failure>,
    ) {
        // Abandoned meanwhile.
        let Some(job) = self.read.jobs.get(number) else {
            return;
        };
        let asked = job.lanes.get(lane.index).filter(|_| lane.attempt == job.attempt);
        let page = match (result, asked) {
            (Ok(Response::Page(page)), Some(asked))
                if page.is_of(job.topic)
                    && answers(&page, &asked.ranges)
                    && (page.compacted.is_empty()
                        || self.is_compacted(job.topic) && self.believes_lane(asked)) =>
            {
                Some(self.without_early(page, asked.source))
            }
            _ => None,
        };
        self.lane_done(number, lane, page);
    }

    /// Whether a source is believed that batches were compacted.
    fn believes_lane(&self, lane: &Lane) -> bool {
        match lane.source {
            Source::Node(node) => self.believes_parts(&node),
            Source::Tail | Source::Store => true,
        }
    }

    /// A page without what this node would not store: a log ends before a batch that is stamped too
    /// far ahead.
    fn without_early(&self, mut page: Page, source: Source) -> Page {
        let from = match source {
            Source::Node(node) => Some(node),
            Source::Tail | Source::Store => None,
        };
        let mut ended = BTreeSet::new();
        page.batches.retain(|batch| {
            if self.core.too_early(batch.header(), from).is_some() {
                ended.insert(batch.log());
            }
            !ended.contains(&batch.log())
        });
        page.compacted.retain(|part| !ended.contains(&part.log));
        page.finished &= ended.is_empty();
        page
    }

    pub(in crate::engine) fn lane_done(
        &mut self,
        number: ReadId,
        lane: LaneId,
        page: Option<Page>,
    ) {
        // Abandoned meanwhile.
        let Some(job) = self.read.jobs.get_mut(number) else {
            return;
        };
        // Another node was asked meanwhile.
        if lane.attempt != job.attempt {
            return;
        }
        let Some(done) = job.lanes.get_mut(lane.index) else {
            debug_assert!(false, "an attempt keeps its lanes");
            return;
        };
        // A source that was to hold something and gives nothing has lost it.
        let is_answered = page.is_some();
        let mut page = page.unwrap_or_default();
        if let Source::Node(node) = done.source
            && is_answered
            && page.batches.is_empty()
            && page.compacted.is_empty()
        {
            let until = self.core.now.elapsed + DOUBTED_FOR;
            self.read.doubted.insert(node, until);
        }
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
        let gave_nothing = |lane: &&Lane| job.met.failed.contains(&lane.source);
        let lacking = lanes.iter().filter(gave_nothing).flat_map(|lane| lane.ranges.clone());
        job.lacking.extend(lacking);
        let pages: Vec<Page> = lanes.into_iter().filter_map(|lane| lane.page).collect();
        let mut compacted: Vec<_> =
            // Only nodes need the names.
            pages.iter().flat_map(|page| page.compacted.iter().map(Compacted::unnamed)).collect();
        let (topic, bytes_max, whole) = (job.topic, job.bytes_max, job.whole);
        let (mut batches, finished) = merge(pages, by_stamp(&self.core.early(topic)), bytes_max);
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
    pub(super) fn read_without(&mut self, number: ReadId, held_back: BTreeSet<LogId>) {
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

    pub(in crate::engine) fn finish_read(&mut self, number: ReadId, page: Page) {
        let Some(Job { reader, topic, .. }) = self.read.jobs.remove(number) else {
            debug_assert!(false, "a read ends once");
            return;
        };
        match reader {
            For::Client(question) => self.core.answer(question, Response::Page(page)),
            For::Part(of) => self.part_read(of, number, page),
            For::Group(name) => self.group_read(topic, name, number, Some(page)),
        }
    }
}
