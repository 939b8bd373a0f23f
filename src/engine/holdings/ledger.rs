//! The retention ledger: what a node received of a topic and when. It decides what is trimmed.
//!
//! Batches are counted in buckets (here *steps*), each a part of what is kept. A step expires as a
//! whole, when newer steps alone fill the topic's limits. So a few bytes describe the age of any
//! number of batches, and where each log may be cut.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::{
    limits::{MEASURED_PARTS_MAX, SPANS_MAX},
    model::{Batch, Hash, LogId, Position, Retention, Stamp, WallClock},
};

/// Steps that make up what is kept. One of them more is kept at most.
const STEPS: u64 = 32;

/// Most steps of one topic: those of three limits, and some that wait to be merged. With more the
/// two oldest become one.
const STEPS_MAX: usize = 128;

/// Most logs that one step speaks of, so that a step is small enough for one write.
const STEP_LOGS_MAX: usize = 4_096;

/// Most ends of logs in all steps of one topic: some 5 MB of memory. With more the two oldest
/// steps become one.
const ENDS_MAX: usize = 64 * 1024;

/// Most ranges of one log that are counted: more than there are spans of a log.
const RANGES_MAX: usize = 2 * SPANS_MAX;

/// What was received in one go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Step {
    /// When the last of it was received, by this node's clock.
    #[n(0)]
    pub received: WallClock,
    /// Bytes of the batches.
    #[n(1)]
    pub bytes: u64,
    /// Number of records.
    #[n(2)]
    pub records: u64,
    /// Up to where each log had come, where it had.
    #[n(3)]
    pub ends: BTreeMap<LogId, Position>,
}

/// A part of a log that is stored, where it was not seen when it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The log.
    pub log: LogId,
    /// Its first record. Compaction may have taken away some of those that follow.
    pub first: u64,
    /// Its last batch.
    pub end: Position,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Number of records.
    pub records: u64,
    /// The stamp of the last batch.
    pub stamp: Stamp,
}

impl Part {
    /// One batch.
    pub fn of(batch: &Batch) -> Self {
        let header = batch.header();
        Self {
            log: batch.log(),
            first: header.first,
            end: Position { next: header.next(), head: Some(batch.hash()) },
            bytes: batch.bytes().len() as u64,
            records: u64::from(header.count),
            stamp: header.stamp,
        }
    }
}

/// The answer to a question for what is stored: bounded, however much that is.
#[derive(Debug, Default)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// Adds what follows the last part. Parts of one log come one after the other.
    pub fn push(&mut self, part: Part) {
        self.0.push(part);
        let last_two = self.0.last_chunk::<2>().map(|[one, two]| one.log == two.log);
        if self.0.len() > MEASURED_PARTS_MAX && last_two == Some(true) {
            self.halve();
        }
    }

    /// The parts.
    pub fn into_vec(self) -> Vec<Part> {
        self.0
    }

    /// Makes one part of each two that follow each other.
    fn halve(&mut self) {
        let mut halved: Vec<Part> = Vec::with_capacity(self.0.len());
        let mut is_pair = false;
        for part in self.0.drain(..) {
            match halved.last_mut() {
                Some(last) if !is_pair && last.log == part.log => {
                    let bytes = last.bytes.saturating_add(part.bytes);
                    let records = last.records.saturating_add(part.records);
                    *last = Part { first: last.first, bytes, records, ..part };
                    is_pair = true;
                }
                Some(_) | None => {
                    halved.push(part);
                    is_pair = false;
                }
            }
        }
        self.0 = halved;
    }
}

impl Step {
    fn add(&mut self, log: LogId, end: Position, bytes: u64, records: u64) {
        let known = self.ends.entry(log).or_insert(end);
        *known = (*known).max(end);
        self.bytes = self.bytes.saturating_add(bytes);
        self.records = self.records.saturating_add(records);
    }

    fn join(&mut self, other: Self) {
        self.received = self.received.max(other.received);
        for (log, end) in other.ends {
            self.add(log, end, 0, 0);
        }
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.records = self.records.saturating_add(other.records);
    }

    /// Whether as much has come as one step is to have.
    fn is_full(&self, terms: &Retention) -> bool {
        let reaches =
            |has: u64, limit: Option<u64>| limit.is_some_and(|limit| has >= (limit / STEPS).max(1));
        reaches(self.bytes, terms.bytes)
            || reaches(self.records, terms.records)
            || self.ends.len() >= STEP_LOGS_MAX
    }
}

/// Whether everything stored is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Measured {
    /// What comes will be stored before it is asked.
    #[default]
    No,
    /// The store is being asked. What comes now is not in its answer.
    Asked,
    Yes,
}

/// The steps of one topic.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Ledger {
    /// By their number, the oldest first. They are stored.
    closed: BTreeMap<u64, Step>,
    /// What comes goes in here. It is not stored: after a crash the store is asked.
    open: Step,
    /// When the first of it was received.
    opened: WallClock,
    measured: Measured,
    /// What repair brought while the store was being asked: it is older than what is stored of its
    /// log, and goes together with that.
    older: Vec<Part>,
    /// What has changed of the closed steps and is not stored.
    changes: BTreeMap<u64, Option<Step>>,
    /// What is counted, so that nothing counts twice: copies come and go.
    counted: BTreeMap<LogId, Ranges>,
}

/// Ranges of record numbers, in order, that neither overlap nor touch.
#[derive(Debug, Clone, Default)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The end of the last one.
    fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, to)| *to)
    }

    /// Adds a range. Returns whether any of it is new. With too many ranges the two nearest to each
    /// other become one. What is missing between them is then never counted, and more is kept.
    fn add(&mut self, first: u64, next: u64) -> bool {
        if self.0.iter().any(|(from, to)| *from <= first && next <= *to) {
            return false;
        }
        let start = self.0.partition_point(|(_, to)| *to < first);
        let end = self.0.partition_point(|(from, _)| *from <= next);
        let joined = self.0.get(start..end).unwrap_or_default();
        let from = joined.first().map_or(first, |(from, _)| first.min(*from));
        let to = joined.last().map_or(next, |(_, to)| next.max(*to));
        self.0.splice(start..end, [(from, to)]);
        if self.0.len() > RANGES_MAX {
            let gap = |at: &usize| match self.0.get(*at..*at + 2) {
                Some([one, two]) => two.0 - one.1,
                _ => u64::MAX,
            };
            if let Some(at) = (0..self.0.len()).min_by_key(gap) {
                let (_, to) = self.0.remove(at + 1);
                self.0[at].1 = to;
            }
        }
        true
    }
}

impl Ledger {
    /// A ledger with the steps that were stored.
    pub(in crate::engine) fn recovered(closed: BTreeMap<u64, Step>) -> Self {
        let mut ledger = Self { closed, ..Self::default() };
        let ends: Vec<_> = ledger.closed.values().flat_map(|step| &step.ends).collect();
        for (log, end) in ends {
            // Whether all of it was received is not known: what comes again may only be too much.
            ledger.counted.entry(*log).or_default().add(0, end.next);
        }
        ledger
    }

    /// Whether everything stored is counted.
    pub(in crate::engine) fn is_measured(&self) -> bool {
        self.measured == Measured::Yes
    }

    /// The store is being asked what it holds.
    pub(in crate::engine) fn is_asked(&mut self) {
        self.measured = Measured::Asked;
        // All of it is stored, and will be told.
        self.open = Step::default();
        self.older.clear();
    }

    /// Up to where a log is counted.
    pub(in crate::engine) fn end(&self, log: &LogId) -> u64 {
        let steps = self.closed.values().filter_map(|step| step.ends.get(log));
        steps.map(|end| end.next).max().unwrap_or(0)
    }

    /// What has changed since this was asked last, to be stored.
    pub(in crate::engine) fn take_changes(&mut self) -> BTreeMap<u64, Option<Step>> {
        std::mem::take(&mut self.changes)
    }

    /// Whether anything must be stored.
    pub(in crate::engine) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Forgets everything; the numbers of the steps that were stored.
    pub(in crate::engine) fn into_numbers(self) -> impl Iterator<Item = u64> {
        self.closed.into_keys()
    }

    /// What is stored of a log, and will be told when it is measured.
    pub(in crate::engine) fn is_stored(&mut self, log: LogId, first: u64, next: u64) {
        self.counted.entry(log).or_default().add(first, next);
    }

    /// A batch was received.
    pub(in crate::engine) fn receive(&mut self, terms: &Retention, now: WallClock, part: &Part) {
        if self.measured == Measured::No {
            return;
        }
        let counted = self.counted.entry(part.log).or_default();
        let is_older = part.end.next < counted.end();
        if !counted.add(part.first, part.end.next) {
            return;
        }
        if self.is_measured() || !is_older {
            self.count(terms, now, part);
        } else if self.older.len() < MEASURED_PARTS_MAX {
            self.older.push(*part);
        }
        // With too many of them the rest is never counted, and more is kept.
    }

    /// A batch that was received is part of another log from now on.
    pub(in crate::engine) fn file(&mut self, terms: &Retention, now: WallClock, part: &Part) {
        if self.counted.entry(part.log).or_default().add(part.first, part.end.next) {
            self.count(terms, now, &Part { bytes: 0, records: 0, ..*part });
        }
    }

    /// A log ends at `to`: what came after that is gone. It counts on, so that what is as old goes
    /// when it would have gone.
    pub(in crate::engine) fn end_at(&mut self, log: &LogId, to: u64, head: Option<Hash>) {
        let shorten = |step: &mut Step| {
            let end = step.ends.get_mut(log).filter(|end| end.next > to);
            end.map(|end| *end = Position { next: to, head }).is_some()
        };
        shorten(&mut self.open);
        for (number, step) in &mut self.closed {
            if shorten(step) {
                self.changes.insert(*number, Some(step.clone()));
            }
        }
    }

    fn count(&mut self, terms: &Retention, now: WallClock, part: &Part) {
        let Part { log, end, bytes, records, .. } = *part;
        let covers = |step: &Step| step.ends.get(&log).is_some_and(|at| at.next >= end.next);
        if self.is_measured()
            && let Some(step) = self.closed.values_mut().find(|step| covers(step))
        {
            // Repair brings what is older than what was here: it goes together with that.
            return step.add(log, end, bytes, records);
        }
        if self.is_measured() && self.closed.is_empty() && self.open.ends.is_empty() {
            // So that after a crash it is known that what comes now is no older.
            let step = Step { received: now, ..Step::default() };
            self.changes.insert(0, Some(step.clone()));
            self.closed.insert(0, step);
        }
        if self.open.ends.is_empty() {
            self.opened = now;
        }
        self.open.add(log, end, bytes, records);
        self.open.received = self.open.received.max(now);
        if self.is_measured() && self.open.is_full(terms) {
            self.close();
        }
    }

    /// The store has said what it holds beyond the steps. Of what this node did not see when it
    /// was received the writers' stamps tell the age.
    pub(in crate::engine) fn measured(
        &mut self,
        terms: &Retention,
        now: WallClock,
        mut parts: Vec<Part>,
    ) {
        // A stamp that lies in the future tells nothing: such a part is as old as what comes before
        // it in its log.
        parts.sort_by_key(|part| (part.log, part.end));
        let latest = Stamp::latest_at(now);
        let mut before: Option<(LogId, Stamp)> = None;
        for part in &mut parts {
            let at_least = before.filter(|(log, _)| *log == part.log).map(|(_, stamp)| stamp);
            let stamp = Some(part.stamp).filter(|stamp| *stamp <= latest).max(at_least);
            part.stamp = stamp.unwrap_or_default();
            before = Some((part.log, part.stamp));
        }
        parts.sort_by_key(|part| (part.stamp, part.log, part.end));
        let since = std::mem::take(&mut self.open);
        let mut at = self.closed.values().next_back().map_or(WallClock(0), |step| step.received);
        self.measured = Measured::Yes;
        for part in parts {
            at = at.max(part.stamp.time()).min(now);
            self.count(terms, at, &part);
        }
        for part in std::mem::take(&mut self.older) {
            self.count(terms, at, &part);
        }
        if self.open.ends.is_empty() {
            self.opened = now;
        }
        self.open.join(since);
    }

    fn close(&mut self) {
        let number = self.closed.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let step = std::mem::take(&mut self.open);
        self.changes.insert(number, Some(step.clone()));
        self.closed.insert(number, step);
        while self.closed.len() > STEPS_MAX || self.closed.len() > 1 && self.ends() > ENDS_MAX {
            self.merge_oldest();
        }
    }

    fn ends(&self) -> usize {
        self.closed.values().map(|step| step.ends.len()).sum()
    }

    fn merge_oldest(&mut self) {
        if let Some((number, oldest)) = self.closed.pop_first()
            && let Some((next, step)) = self.closed.iter_mut().next()
        {
            step.join(oldest);
            self.changes.insert(number, None);
            self.changes.insert(*next, Some(step.clone()));
        }
    }

    /// Takes out what the topic is not to keep any more: up to where logs may be cut.
    pub(in crate::engine) fn expire(
        &mut self,
        terms: &Retention,
        now: WallClock,
    ) -> BTreeMap<LogId, Position> {
        if !self.is_measured() {
            return BTreeMap::new();
        }
        let is_old = |since: WallClock, age: u64| now.0.saturating_sub(since.0) >= age;
        let due = |age: u64| is_old(self.opened, (age / STEPS).max(1));
        if !self.open.ends.is_empty() && terms.age_ms.is_some_and(due) {
            self.close();
        }
        let all = self.closed.values().chain([&self.open]);
        let (mut bytes, mut records) = all.fold((0_u64, 0_u64), |(bytes, records), step| {
            (bytes.saturating_add(step.bytes), records.saturating_add(step.records))
        });
        let mut cut = Step::default();
        while let Some(oldest) = self.closed.first_entry() {
            bytes = bytes.saturating_sub(oldest.get().bytes);
            records = records.saturating_sub(oldest.get().records);
            let goes = terms.age_ms.is_some_and(|age| is_old(oldest.get().received, age))
                || terms.bytes.is_some_and(|limit| bytes >= limit)
                || terms.records.is_some_and(|limit| records >= limit);
            if !goes {
                break;
            }
            let (number, step) = oldest.remove_entry();
            self.changes.insert(number, None);
            cut.join(step);
        }
        cut.ends
    }

    /// This node's wall clock was set, from `before` to `now`, while hardly any time went by: ages
    /// of what was received since a time, by the clock that was set, stay what they are.
    pub(in crate::engine) fn clock_set(
        &mut self,
        since: WallClock,
        before: WallClock,
        now: WallClock,
    ) {
        let moved = |time: &mut WallClock| {
            // What lies in the future was received before the clock went wrong.
            if since <= *time && *time <= before {
                time.0 = now.0.saturating_sub(before.0.saturating_sub(time.0));
            }
        };
        for (number, step) in &mut self.closed {
            moved(&mut step.received);
            self.changes.insert(*number, Some(step.clone()));
        }
        moved(&mut self.open.received);
        moved(&mut self.opened);
    }
}

#[cfg(test)]
mod tests;
