//! The dedup window: where records are that this node stored lately.
//!
//! Each stored batch names its producers' runs, so one costs one entry of a bounded table. What was
//! stored before the start is read back when a topic is asked about for the first time: the newest
//! part of its logs. Nothing is answered before. A record is reported only if it is held now, with
//! whether everything before it in its log is held as well.

mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::window::{Place, Window};
use crate::{
    engine::{
        Engine,
        holdings::{
            ledger::Part,
            log::{HeldSpan, Log},
            topic::Topic,
            topics::Topics,
        },
        ids::{QuestionId, SearchId, Ticket, WriteNumber},
        inflight::stored::ReadPurpose,
        output::Write,
    },
    limits::{
        FIND_RUNS_MAX, MEASURED_PARTS_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX, RECALL_BYTES_MAX,
        RECALL_RECORDS_MAX, RECALLS_MAX, RECENT_GIVEN_AGE, RECENT_GIVEN_MAX,
        RECENT_GIVEN_PER_TOPIC_MAX, RECENT_RUNS_AGE, RECENT_RUNS_MAX, RECENT_RUNS_PER_TOPIC_MAX,
    },
    model::{Batch, LogId, Run, Stamp, TopicId},
    wire::{LogRange, Page, Refusal, Response, Whereabouts},
};

/// Who wants to know where records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Seeker {
    /// Another node.
    Node(QuestionId, Vec<Run>),
    /// A publish of this node that may be there already: which search.
    Search(SearchId),
}

/// A topic whose newest part is read back.
#[derive(Debug, Default)]
struct Recall {
    asked: Vec<Seeker>,
    ranges: Vec<LogRange>,
}

/// What is remembered of what was stored.
#[derive(Debug)]
pub(in crate::engine) struct State {
    /// Records with given ids.
    given: Window,
    /// Runs of all others.
    numbered: Window,
    /// Topics of which something was stored before the start, and nothing is read back yet.
    unread: BTreeSet<TopicId>,
    recalls: BTreeMap<TopicId, Recall>,
    /// Those of them that have not begun, and how many have.
    waiting: VecDeque<TopicId>,
    reading: usize,
    /// What the store was asked for that.
    measuring: BTreeMap<Ticket, TopicId>,
}

impl State {
    /// Of a node that starts with these topics.
    pub(in crate::engine) fn new(topics: &Topics) -> Self {
        let held = topics.iter().filter(|topic| topic.holds_batches());
        let (given, numbered) = (RECENT_GIVEN_PER_TOPIC_MAX, RECENT_RUNS_PER_TOPIC_MAX);
        Self {
            given: Window::new(given, RECENT_GIVEN_MAX, RECENT_GIVEN_AGE),
            numbered: Window::new(numbered, RECENT_RUNS_MAX, RECENT_RUNS_AGE),
            unread: held.map(|topic| topic.id).collect(),
            recalls: BTreeMap::new(),
            waiting: VecDeque::new(),
            reading: 0,
            measuring: BTreeMap::new(),
        }
    }

    pub(in crate::engine) fn take_measuring(&mut self, ticket: Ticket) -> Option<TopicId> {
        self.measuring.remove(&ticket)
    }

    fn window(&self, run: &Run) -> &Window {
        if is_given(run) { &self.given } else { &self.numbered }
    }
}

/// Whether it is a record whose publisher gave it its id.
pub(in crate::engine) fn is_given(run: &Run) -> bool {
    run.producer.is_given() && (run.first, run.count) == (0, 1)
}

/// The span that holds a part of a log, if one does.
fn span_of<'a>(topic: Option<&'a Topic>, place: &Place, count: u64) -> Option<&'a HeldSpan> {
    let log = topic?.logs.get(&place.log)?;
    let end = place.number.saturating_add(count);
    log.spans.iter().find(|span| span.first <= place.number && end <= span.next)
}

impl Engine {
    /// Stores a batch, and what is then held of its log. The dedup window learns where it is.
    pub(in crate::engine) fn append(&mut self, batch: Batch, log: Log) -> WriteNumber {
        self.remember(&batch);
        self.core.write(Write::Append { batch, log })
    }

    /// A batch is stored, or filed elsewhere than before.
    fn remember(&mut self, batch: &Batch) {
        let header = batch.header();
        let topic = self.core.topics.get(&header.topic);
        let mut number = header.first;
        for run in &header.runs {
            let recent = &mut self.publish.recent;
            let window = if is_given(run) { &mut recent.given } else { &mut recent.numbered };
            let place = Place { log: batch.log(), number };
            let is_held = |place: &Place, count| span_of(topic, place, count).is_some();
            window.note(self.core.now.elapsed, header.topic, run, place, is_held);
            number += u64::from(run.count);
        }
    }

    pub(in crate::engine) fn tick_recent(&mut self) {
        self.publish.recent.given.expire(self.core.now.elapsed);
        self.publish.recent.numbered.expire(self.core.now.elapsed);
    }

    /// Another node wants to know where records are.
    pub(in crate::engine) fn find_for(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        mut runs: Vec<Run>,
    ) {
        runs.truncate(FIND_RUNS_MAX);
        self.find_recent(topic, Seeker::Node(question, runs));
    }

    /// Finds what this node stored lately of a topic, once it knows.
    pub(in crate::engine) fn find_recent(&mut self, topic: TopicId, asker: Seeker) {
        if !self.publish.recent.unread.contains(&topic) {
            return self.tell_whereabouts(topic, asker);
        }
        let recall = self.publish.recent.recalls.entry(topic).or_default();
        let is_first = recall.asked.is_empty();
        if recall.asked.len() < QUESTIONS_MAX {
            recall.asked.push(asker);
        } else if let Seeker::Node(question, _) = asker {
            return self.core.refuse(question, Refusal::Busy);
        }
        if is_first {
            self.publish.recent.waiting.push_back(topic);
            self.begin_recalls();
        }
    }

    fn tell_whereabouts(&mut self, topic: TopicId, asker: Seeker) {
        match asker {
            Seeker::Node(question, runs) => {
                let places: Vec<_> = runs.iter().map(|run| self.find_here(topic, run)).collect();
                let known = self.core.topics.get_mut(&topic);
                let is_elsewhere = known.is_some_and(|known| {
                    known.is_known() && !known.belongs_to(&self.core.members, &self.core.me)
                });
                if is_elsewhere && places.contains(&None) {
                    // It may have handed them over, to homes of which the asker does not know yet.
                    return self.core.refuse(question, Refusal::Unreachable);
                }
                self.core.answer_flushed(question, Response::Whereabouts(places));
            }
            Seeker::Search(search) => self.search_told_here(search),
        }
    }

    /// Where this node holds a run, flushed or not. Where it lacks records before them, all nodes
    /// are asked whether anybody holds those: what readers pass over is not waited for.
    pub(in crate::engine) fn find_here(
        &mut self,
        topic: TopicId,
        run: &Run,
    ) -> Option<Whereabouts> {
        let place = self.publish.recent.window(run).find(&topic, run)?;
        let known = self.core.topics.get(&topic);
        let first = span_of(known, &place, u64::from(run.count))?.first;
        let low = known?.logs.get(&place.log)?.low;
        let before = LogRange { log: place.log, from: low, to: first };
        let whole = self.is_whole(topic, before);
        if !whole {
            self.look_at(topic, false);
            self.ask_about_holes(topic);
        }
        Some(Whereabouts { log: place.log, first: place.number, whole })
    }

    // --- after a start ---------------------------------------------------------------------

    fn begin_recalls(&mut self) {
        while self.publish.recent.reading < RECALLS_MAX
            && let Some(topic) = self.publish.recent.waiting.pop_front()
        {
            self.publish.recent.reading += 1;
            self.begin_recall(topic);
        }
    }

    /// Asks the store how much there is at the ends of the logs that were written to last.
    fn begin_recall(&mut self, topic: TopicId) {
        let spans = self.core.topics.get(&topic).into_iter().flat_map(|known| &known.logs);
        let spans = spans.flat_map(|(id, log)| log.spans.iter().map(|span| (*id, *span)));
        let mut spans: Vec<(LogId, HeldSpan)> = spans.collect();
        let latest = Stamp::latest_at(self.core.now.wall);
        spans.sort_unstable_by_key(|(_, span)| newest_first(span.stamp, latest));
        let newest = spans.first().map(|(_, span)| span.stamp);
        spans.retain(|(_, span)| newest.is_some_and(|newest| is_recent(span.stamp, newest)));
        spans.truncate(MEASURED_PARTS_MAX);
        if spans.is_empty() {
            return self.end_recall(topic);
        }
        let end = |(log, span): &(LogId, HeldSpan)| LogRange {
            log: *log,
            from: span.first.max(span.next.saturating_sub(RECALL_RECORDS_MAX)),
            to: span.next,
        };
        let ranges = spans.iter().map(end).collect();
        let ticket = self.core.measure(topic, ranges);
        self.publish.recent.measuring.insert(ticket, topic);
    }

    /// The store has said how much there is: what is recent is read, as far as it is not too much.
    pub(in crate::engine) fn recall_measured(&mut self, topic: TopicId, parts: Option<Vec<Part>>) {
        let mut parts = parts.unwrap_or_default();
        let latest = Stamp::latest_at(self.core.now.wall);
        parts.sort_unstable_by_key(|part| newest_first(part.stamp, latest));
        let newest = parts.first().map(|part| part.stamp);
        let mut bytes: u64 = 0;
        let mut from: BTreeMap<LogId, u64> = BTreeMap::new();
        for part in parts {
            bytes = bytes.saturating_add(part.bytes);
            if bytes > RECALL_BYTES_MAX && !from.is_empty()
                || !newest.is_some_and(|newest| is_recent(part.stamp, newest))
            {
                break;
            }
            let start = from.entry(part.log).or_insert(part.first);
            *start = part.first.min(*start);
        }
        let known = self.core.topics.get(&topic);
        let spans = |(log, from): (&LogId, &u64)| {
            let (id, from) = (*log, *from);
            let held = known.and_then(|known| known.logs.get(log));
            let spans = held.map(|log| log.spans.clone()).unwrap_or_default();
            let range = move |span: HeldSpan| LogRange {
                log: id,
                from: from.max(span.first),
                to: span.next,
            };
            spans.into_iter().map(range).filter(|range| range.from < range.to)
        };
        let ranges: Vec<_> = from.iter().flat_map(spans).collect();
        self.recall_next(topic, ranges);
        self.begin_recalls();
    }

    fn recall_next(&mut self, topic: TopicId, ranges: Vec<LogRange>) {
        if ranges.is_empty() {
            return self.end_recall(topic);
        }
        self.core.read_store(topic, ranges.clone(), PAGE_BYTES_MAX, ReadPurpose::Recall(topic));
        self.publish.recent.recalls.entry(topic).or_default().ranges = ranges;
    }

    /// The store has given a page.
    pub(in crate::engine) fn recalled(&mut self, topic: TopicId, page: Option<Page>) {
        let Some(recall) = self.publish.recent.recalls.get_mut(&topic) else {
            debug_assert!(false, "a page that was asked for is expected");
            return;
        };
        let mut ranges = std::mem::take(&mut recall.ranges);
        // What cannot be read is not held: whoever read it says so.
        let Page { batches, finished, .. } = page.unwrap_or_default();
        for batch in &batches {
            self.remember(batch);
            let next = batch.header().next();
            let reached = |range: &&mut LogRange| range.log == batch.log() && range.from < next;
            for range in ranges.iter_mut().filter(reached).filter(|range| next <= range.to) {
                range.from = next;
            }
        }
        ranges.retain(|range| range.from < range.to && !batches.is_empty() && !finished);
        self.recall_next(topic, ranges);
        self.begin_recalls();
    }

    fn end_recall(&mut self, topic: TopicId) {
        self.publish.recent.unread.remove(&topic);
        self.publish.recent.reading = self.publish.recent.reading.saturating_sub(1);
        let recall = self.publish.recent.recalls.remove(&topic).unwrap_or_default();
        for asker in recall.asked {
            self.tell_whereabouts(topic, asker);
        }
    }
}

/// The newest first; what is stamped in the future after all else, for when it came is not known.
fn newest_first(stamp: Stamp, latest: Stamp) -> (bool, std::cmp::Reverse<Stamp>) {
    (stamp > latest, std::cmp::Reverse(stamp))
}

/// Whether what has this stamp is remembered when the newest has that one.
fn is_recent(stamp: Stamp, newest: Stamp) -> bool {
    let age = newest.time().0.saturating_sub(stamp.time().0);
    u128::from(age) <= RECENT_GIVEN_AGE.as_millis()
}
