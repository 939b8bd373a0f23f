//! Retention: letting go what a topic is not to keep any more.
//!
//! Each node cuts what it holds by what it received and by its own clock (see `ledger`), and says
//! so by the low watermark of each log. What is below it is never taken in again, from whomever it
//! comes. Readers who stand below it are led on and told so, as long as nobody else holds the rest.
//!
//! A node that never had the beginning of a log, and learns from a home replica that it was cut
//! there, takes over that low watermark: what nobody is to keep need not be looked for.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Engine, Output, Ticket, Write,
    ledger::{Ledger, Part},
};
use crate::{
    limits::CLOCK_DRIFT_MAX,
    model::{Batch, Entry, Hash, LogId, NodeId, Position, TopicId, WallClock},
    wire::LogRange,
};

/// How often is looked for what may go.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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
        let Some(known) = self.topics.get_mut(&batch.header().topic) else {
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = &mut known.ledger
        {
            ledger.receive(&terms, self.now.wall, &Part::of(batch));
        }
    }

    pub(super) fn tick_retention(&mut self) {
        let now = self.now;
        if now.elapsed < self.retention.next_look {
            return;
        }
        self.retention.next_look = now.elapsed + LOOK_INTERVAL;
        let set_from = self.clock_set_from();
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
            if let Some(before) = set_from {
                ledger.clock_set(before, now.wall);
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

    /// What the wall clock would say had it not been set since it was last looked at; none where
    /// it was not set.
    fn clock_set_from(&mut self) -> Option<WallClock> {
        let now = self.now;
        let (wall, elapsed) = self.retention.clock.replace((now.wall, now.elapsed))?;
        let expected = wall.plus(now.elapsed.saturating_sub(elapsed));
        let off = Duration::from_millis(now.wall.0.abs_diff(expected.0));
        (off > CLOCK_DRIFT_MAX).then_some(expected)
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
    pub(super) fn cut(&mut self, topic: TopicId, ends: BTreeMap<LogId, Position>) {
        for (log_id, end) in ends {
            let known = self.topics.get_mut(&topic);
            if let Some(log) = known.and_then(|known| known.cut(&log_id, end)) {
                let to = log.low;
                self.write(Write::Drop { topic, log_id, from: 0, to, log: Some(log) });
            }
        }
    }

    /// Takes over the low watermarks of a home replica where nothing is held below them.
    pub(super) fn adopt_lows(
        &mut self,
        topic: TopicId,
        from: NodeId,
        entries: &BTreeMap<LogId, Entry>,
    ) {
        let Some(known) = self.topics.get_mut(&topic) else {
            return;
        };
        let is_home = known.placement(&self.members).is_home(&from);
        let may_be_cut = known.retention().is_some() || known.is_imported();
        if !may_be_cut || !is_home {
            return;
        }
        let higher = |(log, entry): (&LogId, &Entry)| {
            let mine = known.logs.get(log);
            let held = mine.and_then(|log| log.spans.first());
            let nothing_below = held.is_none_or(|span| span.first >= entry.low);
            let low = mine.map_or(0, |log| log.low);
            (nothing_below && entry.low > low).then_some((*log, entry.low))
        };
        let lows: BTreeMap<_, _> = entries.iter().filter_map(higher).collect();
        for (log, next) in lows {
            // Nothing is cut in two, so nobody asks for the batch that ends there.
            self.cut(topic, [(log, Position { next, head: Hash([0; 32]) })].into());
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
}
