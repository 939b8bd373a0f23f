//! Retention: letting go what a topic is not to keep any more.
//!
//! Each node cuts what it holds by what it received and by its own clock (see `ledger`), and says
//! so by the low watermark of each log. What is below it is never taken in again, from whomever it
//! comes. Readers who stand below it are led on and told so, as long as nobody else holds the rest.
//!
//! A node that never had the beginning of a log, and learns from a home replica that it was cut
//! there, takes over that low watermark: what nobody is to keep need not be looked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Engine, Output, Ticket, Write,
    ledger::{Ledger, Part},
    read::Source,
};
use crate::{
    limits::FOLLOW_SURVEY_INTERVAL,
    model::{Batch, Entry, Hash, LogId, NodeId, Position, TopicId, WallClock},
    wire::LogRange,
};

/// How often is looked for what may go.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A wall clock that is off by more than this from one look to the next was set.
const CLOCK_SET_MIN: Duration = Duration::from_secs(2);

/// What the engine remembers for retention beside the ledgers.
#[derive(Debug, Default)]
pub(super) struct State {
    next_look: Duration,
    /// What the wall clock said when it was last looked at, and when that was.
    clock: Option<(WallClock, Duration)>,
    /// Topics of which the store is asked what it holds.
    measuring: BTreeMap<Ticket, TopicId>,
}

impl Engine {
    /// A batch was stored.
    pub(super) fn note_received(&mut self, batch: &Batch) {
        self.watch_clock();
        let Some(known) = self.topics.get_mut(&batch.header().topic) else {
            return;
        };
        let Some(terms) = known.retention() else {
            return;
        };
        let is_first = known.records() == u64::from(batch.header().count);
        let ledger = known.ledger.get_or_insert_default();
        if is_first && !ledger.is_measured() {
            ledger.measured(&terms, self.now.wall, Vec::new());
        }
        ledger.receive(&terms, self.now.wall, &Part::of(batch));
    }

    /// A batch that was stored is filed under a branch from now on: it is reckoned with already, and
    /// goes with what is as old.
    pub(super) fn note_filed(&mut self, batch: &Batch) {
        let Some(known) = self.topics.get_mut(&batch.header().topic) else {
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = &mut known.ledger
        {
            ledger.file(&terms, self.now.wall, &Part::of(batch));
        }
    }

    pub(super) fn tick_retention(&mut self) {
        let now = self.now;
        if now.elapsed < self.retention.next_look {
            return;
        }
        self.retention.next_look = now.elapsed + LOOK_INTERVAL;
        self.watch_clock();
        let mut cuts = Vec::new();
        let mut unmeasured = Vec::new();
        let mut without = Vec::new();
        for topic in self.topics.iter_mut() {
            let Some(terms) = topic.retention() else {
                if topic.ledger.is_some() {
                    without.push(topic.id);
                }
                continue;
            };
            let ledger = topic.ledger.get_or_insert_default();
            if !ledger.is_measured() {
                unmeasured.push(topic.id);
                continue;
            }
            let ends = ledger.expire(&terms, now.wall);
            if !ends.is_empty() || ledger.has_changes() {
                cuts.push((topic.id, ends));
            }
        }
        for (topic, ends) in cuts {
            // The step is forgotten after the cut, so that a crash in between repeats the cut.
            self.cut(topic, ends);
            self.write_steps(topic);
        }
        for topic in unmeasured {
            self.measure(topic);
        }
        for topic in without {
            self.drop_ledger(topic);
        }
    }

    /// Looks whether the wall clock was set, and if so keeps all ages as they are.
    fn watch_clock(&mut self) {
        let now = self.now;
        let last = self.retention.clock.replace((now.wall, now.elapsed));
        let Some((wall, elapsed)) = last else {
            return;
        };
        let expected = wall.plus(now.elapsed.saturating_sub(elapsed));
        let off = Duration::from_millis(now.wall.0.abs_diff(expected.0));
        if off > CLOCK_SET_MIN {
            for ledger in self.topics.iter_mut().filter_map(|topic| topic.ledger.as_mut()) {
                ledger.clock_set(expected, now.wall);
            }
        }
    }

    fn write_steps(&mut self, topic: TopicId) {
        let ledger = self.topics.get_mut(&topic).and_then(|known| known.ledger.as_mut());
        let changes = ledger.map(Ledger::take_changes).unwrap_or_default();
        for (number, step) in changes {
            self.write(Write::Step { topic, number, step });
        }
    }

    /// A topic that is kept for ever needs no ledger.
    pub(super) fn drop_ledger(&mut self, topic: TopicId) {
        let ledger = self.topics.get_mut(&topic).and_then(|known| known.ledger.take());
        for number in ledger.into_iter().flat_map(Ledger::into_numbers) {
            self.write(Write::Step { topic, number, step: None });
        }
    }

    /// Asks the store what it holds that the ledger does not speak of.
    fn measure(&mut self, topic: TopicId) {
        if self.retention.measuring.values().any(|other| *other == topic) {
            return;
        }
        let Some(known) = self.topics.get_mut(&topic) else {
            return;
        };
        let Some(ledger) = &mut known.ledger else {
            return;
        };
        ledger.is_asked();
        for (id, log) in &known.logs {
            log.spans.iter().for_each(|span| ledger.is_stored(*id, span.first, span.next));
        }
        let unknown = known.logs.iter().filter_map(|(id, log)| {
            let to = log.spans.last()?.next;
            let from = ledger.end(id).max(log.low);
            (from < to).then_some(LogRange { log: *id, from, to })
        });
        let ranges: Vec<_> = unknown.collect();
        if ranges.is_empty() {
            if let Some(terms) = known.retention()
                && let Some(ledger) = &mut known.ledger
            {
                ledger.measured(&terms, self.now.wall, Vec::new());
            }
            return;
        }
        self.next_ticket.0 += 1;
        let ticket = self.next_ticket;
        self.retention.measuring.insert(ticket, topic);
        let after = self.unflushed();
        self.outputs.push_back(Output::Measure { ticket, topic, ranges, after });
    }

    /// The store has said what it holds; nothing where it could not, so it is asked again.
    pub(super) fn measured(&mut self, ticket: Ticket, parts: Option<Vec<Part>>) {
        let Some(topic) = self.retention.measuring.remove(&ticket) else {
            return;
        };
        let Some(known) = self.topics.get_mut(&topic) else {
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = &mut known.ledger
            && let Some(parts) = parts
        {
            ledger.measured(&terms, self.now.wall, parts);
        }
    }

    /// Cuts logs.
    fn cut(&mut self, topic: TopicId, ends: BTreeMap<LogId, Position>) {
        for (log_id, end) in ends {
            self.cut_log(topic, log_id, end.next, Some(end.head));
        }
    }

    pub(super) fn cut_log(&mut self, topic: TopicId, log_id: LogId, to: u64, head: Option<Hash>) {
        let known = self.topics.get_mut(&topic);
        if let Some(log) = known.and_then(|known| known.cut(&log_id, to, head)) {
            let to = log.low;
            self.write(Write::Drop { topic, log_id, from: 0, to, log: Some(log) });
        }
    }

    /// Takes over the low watermarks of a home replica where nothing is held below them. Elsewhere
    /// they are taken note of.
    pub(super) fn adopt_lows(
        &mut self,
        topic: TopicId,
        from: NodeId,
        entries: &BTreeMap<LogId, Entry>,
    ) {
        let Some(mut known) = self.topics.get_mut(&topic) else {
            return;
        };
        let is_home = known.placement(&self.members).is_home(&from);
        let may_be_cut = known.retention().is_some() || known.is_imported();
        if !may_be_cut || !is_home {
            return;
        }
        for (log, entry) in entries.iter().filter(|(_, entry)| entry.low > 0) {
            let held = known.logs.get(log).and_then(|log| log.spans.first());
            let nothing_below = held.is_none_or(|span| span.first >= entry.low);
            if nothing_below {
                self.cut_log(topic, *log, entry.low, entry.base);
            }
            let Some(found) = self.topics.get_mut(&topic) else {
                return;
            };
            known = found;
            known.low_told(*log, entry.low, entry.base);
        }
    }

    /// The highest low watermark of a log that is known here: what is below it, somebody let go.
    pub(super) fn known_low(&self, topic: TopicId, log: &LogId) -> u64 {
        let own = self.topics.get(&topic).and_then(|known| known.logs.get(log));
        let view = self.reads.views.get(&topic);
        let told = view.into_iter().flat_map(|view| view.frontiers.values());
        let told = told.filter_map(|frontier| frontier.0.get(log)).map(|entry| entry.low);
        told.chain(own.map(|log| log.low)).max().unwrap_or(0)
    }

    /// Whether the replicas have said lately what they hold of a topic.
    pub(super) fn is_surveyed(&self, topic: TopicId) -> bool {
        let surveyed = self.reads.views.get(&topic).and_then(|view| view.surveyed);
        surveyed.is_some_and(|at| self.now.elapsed.saturating_sub(at) < FOLLOW_SURVEY_INTERVAL)
    }

    /// The end of what retention let go at the start of a range that nobody can give: where
    /// somebody holds something, or at the highest low watermark.
    pub(super) fn trimmed_to(
        &self,
        topic: TopicId,
        range: LogRange,
        failed: &BTreeSet<Source>,
    ) -> Option<u64> {
        let low = self.known_low(topic, &range.log).min(range.to);
        let own = self.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        let own = own.filter(|_| !failed.contains(&Source::Store)).map(super::Log::entry);
        let view = self.reads.views.get(&topic);
        let usable = |node: &NodeId| {
            self.members.is_connected(node) && !failed.contains(&Source::Node(*node))
        };
        let others = view.into_iter().flat_map(|view| &view.frontiers);
        let others = others.filter(|(node, _)| usable(node));
        let others = others.filter_map(|(_, held)| held.0.get(&range.log));
        let spans = own.iter().chain(others).flat_map(|entry| &entry.spans);
        let held = spans.map(|span| span.first).filter(|first| *first > range.from).min();
        (low > range.from).then(|| held.map_or(low, |first| first.min(low)))
    }
}
