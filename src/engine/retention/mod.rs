//! Retention: trimming what a topic does not keep any more.
//!
//! Each node trims by what it received and by its own clock (see `holdings::ledger`), and reports
//! it by the low watermark of each log. What is below it is never accepted again, from any node.
//! The headers of the newest part of it stay, so that a fork there can be proven. Readers below it
//! are moved on and told so, as long as nobody else holds the rest.
//!
//! A node may never have had a range that no home replica holds any more, because one of them
//! trimmed it. It does not look for that range. If it holds what follows, it takes over that low
//! watermark.

pub(super) mod compaction;

use std::{collections::BTreeMap, time::Duration};

use super::{
    Engine,
    holdings::{
        ledger::{Ledger, Part},
        log::Log,
        topic::Topic,
    },
    ids::Ticket,
    inflight::found::Found,
    output::{Output, Write},
    survey::Then,
};
use crate::{
    engine::{ids::QuestionId, wing::Wing},
    limits::{FOLLOW_SURVEY_INTERVAL, FRONTIER_LOGS_MAX},
    model::{Batch, Entry, Hash, LogId, NodeId, Position, Retention, Span, TopicId, WallClock},
    wire::{LogRange, MemberState, Refusal},
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
    /// What it said when it was first looked at, by what it says now.
    started: WallClock,
    /// Topics of which the store is asked what it holds.
    measuring: BTreeMap<Ticket, TopicId>,
    pub(super) compaction: compaction::State,
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_retention();
        engine.tick_compaction();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, _: &Refusal) {
        engine.drop_ledger(topic);
    }

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}

impl Engine {
    /// A batch was stored.
    pub(super) fn note_received(&mut self, batch: &Batch) {
        self.note_for_compaction(batch);
        self.watch_clock();
        let own = self.core.own_wall();
        let Some(known) = self.core.topics.get_mut(&batch.header().topic) else {
            return;
        };
        let Some(terms) = known.retention() else {
            return;
        };
        let is_first = known.records() == u64::from(batch.header().count);
        let ledger = known.open_ledger();
        if is_first && !ledger.is_measured() {
            ledger.measured(&terms, own, Vec::new());
        }
        ledger.receive(&terms, own, &Part::of(batch));
    }

    /// A stored batch is filed under a branch from now on. It is counted already, and expires with
    /// what is as old.
    pub(super) fn note_filed(&mut self, batch: &Batch) {
        let own = self.core.own_wall();
        let Some(known) = self.core.topics.get_mut(&batch.header().topic) else {
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = known.ledger()
        {
            ledger.file(&terms, own, &Part::of(batch));
        }
    }

    pub(super) fn tick_retention(&mut self) {
        let now = self.core.now;
        if now.elapsed < self.retention.next_look {
            return;
        }
        self.retention.next_look = now.elapsed + LOOK_INTERVAL;
        if self.core.clocks.is_in_doubt() {
            return;
        }
        self.watch_clock();
        let (is_unsure, safe_wall) = (self.core.is_time_unsure(), self.core.safe_wall());
        let mut cuts = Vec::new();
        let mut unmeasured = Vec::new();
        let mut without = Vec::new();
        for topic in self.core.topics.iter_mut() {
            let Some(terms) = topic.retention() else {
                if topic.ledger().is_some() {
                    without.push(topic.id);
                }
                continue;
            };
            let ledger = topic.open_ledger();
            if !ledger.is_measured() {
                unmeasured.push(topic.id);
                continue;
            }
            // What is old is not known while the clocks disagree.
            let terms = Retention { age_ms: terms.age_ms.filter(|_| !is_unsure), ..terms };
            let ends = ledger.expire(&terms, safe_wall);
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
        if self.core.clocks.is_in_doubt() {
            return;
        }
        let (own, now) = (self.core.own_wall(), self.core.now.elapsed);
        let Some((wall, elapsed)) = self.retention.clock.replace((own, now)) else {
            self.retention.started = own;
            return;
        };
        let expected = wall.plus(now.saturating_sub(elapsed));
        let off = Duration::from_millis(own.0.abs_diff(expected.0));
        if off > CLOCK_SET_MIN {
            // Most others say that it is right now. Then only what came since the start was reckoned
            // by the wrong time.
            let since =
                if self.core.clocks.is_own_right() { self.retention.started } else { WallClock(0) };
            for ledger in self.core.topics.iter_mut().filter_map(Topic::ledger) {
                ledger.clock_set(since, expected, own);
            }
            let age = expected.0.saturating_sub(self.retention.started.0);
            self.retention.started = WallClock(own.0.saturating_sub(age));
        }
    }

    fn write_steps(&mut self, topic: TopicId) {
        let ledger = self.core.topics.get_mut(&topic).and_then(Topic::ledger);
        let changes = ledger.map(Ledger::take_changes).unwrap_or_default();
        for (number, step) in changes {
            self.core.write(Write::Step { topic, number, step });
        }
    }

    /// A topic that is kept for ever needs no ledger.
    pub(super) fn drop_ledger(&mut self, topic: TopicId) {
        let ledger = self.core.topics.get_mut(&topic).and_then(Topic::close_ledger);
        for number in ledger.into_iter().flat_map(Ledger::into_numbers) {
            self.core.write(Write::Step { topic, number, step: None });
        }
    }

    /// Asks the store what it holds that the ledger does not speak of.
    fn measure(&mut self, topic: TopicId) {
        let own = self.core.own_wall();
        if self.retention.measuring.values().any(|other| *other == topic) {
            return;
        }
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let Some(ranges) = known.not_accounted() else {
            return;
        };
        if ranges.is_empty() {
            if let Some(terms) = known.retention()
                && let Some(ledger) = known.ledger()
            {
                ledger.measured(&terms, own, Vec::new());
            }
            return;
        }
        let ticket = self.measure_store(topic, ranges);
        self.retention.measuring.insert(ticket, topic);
    }

    /// Asks the store how much it holds of parts of logs.
    pub(super) fn measure_store(&mut self, topic: TopicId, ranges: Vec<LogRange>) -> Ticket {
        let (ticket, after) = self.core.next_read();
        self.core.output(Output::Measure { ticket, topic, ranges, after });
        ticket
    }

    /// The store has said what it holds; nothing where it could not, so it is asked again.
    pub(super) fn measured(&mut self, ticket: Ticket, parts: Option<Vec<Part>>) {
        let Some(topic) = self.retention.measuring.remove(&ticket) else {
            return;
        };
        let own = self.core.own_wall();
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = known.ledger()
            && let Some(parts) = parts
        {
            ledger.measured(&terms, own, parts);
        }
    }

    /// Cuts logs.
    fn cut(&mut self, topic: TopicId, ends: BTreeMap<LogId, Position>) {
        for (log_id, end) in ends {
            self.cut_log(topic, log_id, end.next, end.head);
        }
    }

    pub(super) fn cut_log(&mut self, topic: TopicId, log_id: LogId, to: u64, head: Option<Hash>) {
        let known = self.core.topics.get_mut(&topic);
        if let Some(log) = known.and_then(|known| known.cut(&log_id, to, head)) {
            let to = log.low;
            self.core.write(Write::Drop { topic, log_id, from: 0, to, log: Some(log) });
        }
    }

    /// A home replica tells that it has cut logs: where that is news, all of them are asked.
    pub(super) fn lows_told(
        &mut self,
        topic: TopicId,
        from: NodeId,
        entries: &BTreeMap<LogId, Entry>,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let is_news = |(log, entry): (&LogId, &Entry)| {
            let own = known.logs.get(log).map(|log| (log.low, log.base)).unwrap_or_default();
            (entry.low, entry.base) > own.max(known.told_low(log))
        };
        if entries.iter().any(is_news) && known.placement(&self.core.members).is_home(&from) {
            self.survey(topic, Then::Lows);
        }
    }

    /// All home replicas have said where they have cut logs. Where none of them holds what is
    /// missing here below such a cut, it is not looked for any more; the word of one alone hides
    /// nothing that another one holds. Where this node holds what comes after the cut and nothing
    /// before it, the log is cut here, too.
    pub(super) fn lows_found(&mut self, found: &Found) {
        let others = found.placement.home.iter().filter(|home| **home != self.core.me);
        let held: Option<Vec<_>> = others.map(|home| found.held.get(home)).collect();
        let known = self.core.topics.get(&found.topic);
        let (Some(held), Some(known)) = (held, known) else {
            return;
        };
        let mut lows: BTreeMap<LogId, (u64, Option<Hash>)> = BTreeMap::new();
        let mut cuts = Vec::new();
        for log in held.iter().flat_map(|held| held.frontier.0.keys()) {
            if lows.contains_key(log) || lows.len() >= FRONTIER_LOGS_MAX {
                continue;
            }
            let own = known.logs.get(log).map(Log::entry).unwrap_or_default();
            let entries: Vec<_> = held.iter().filter_map(|held| held.frontier.0.get(log)).collect();
            let is_nowhere = |low: u64| {
                let missing = own.missing(0, low);
                let mut spans = entries.iter().flat_map(|entry| &entry.spans);
                !spans.any(|span| {
                    missing.iter().any(|(from, to)| span.first < *to && *from < span.next)
                })
            };
            let told = entries.iter().map(|entry| (entry.low, entry.base));
            let told = told.filter(|(low, base)| {
                (*low, *base) > (own.low, own.base) && *low > 0 && is_nowhere(*low)
            });
            let Some((low, base)) = told.max() else {
                continue;
            };
            lows.insert(*log, (low, base));
            let follows = own.spans.first().is_some_and(|span| span.first >= low);
            if follows && found.placement.is_home(&self.core.me) {
                // Nothing is cut in two, so nobody asks for the batch that ends there.
                cuts.push((*log, low, base));
            }
        }
        for (log, low, base) in cuts {
            self.cut_log(found.topic, log, low, base);
        }
        if let Some(known) = self.core.topics.get_mut(&found.topic) {
            known.set_told_lows(lows);
        }
    }

    /// The highest low watermark of a log that this node or a home replica has: below it, somebody
    /// trimmed.
    pub(super) fn known_low(&mut self, topic: TopicId, log: &LogId) -> u64 {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return 0;
        };
        let own = known.logs.get(log).map_or(0, |log| log.low);
        let placement = known.placement(&self.core.members);
        let view = self.read.views.get(&topic);
        let told = view.into_iter().flat_map(|view| &view.frontiers);
        let told = told.filter(|(node, _)| placement.is_home(node));
        let told = told.filter_map(|(_, frontier)| frontier.0.get(log)).map(|entry| entry.low);
        told.max().unwrap_or(0).max(own)
    }

    /// Whether the replicas have said lately what they hold of a topic.
    pub(super) fn is_surveyed(&self, topic: TopicId) -> bool {
        let surveyed = self.read.views.get(&topic).and_then(|view| view.surveyed);
        surveyed.is_some_and(|at| self.core.now.elapsed.saturating_sub(at) < FOLLOW_SURVEY_INTERVAL)
    }

    /// The end of the trimmed part at the start of a range that nobody can give: where somebody
    /// holds something, or at the highest low watermark. Data that an unresponsive node reported is
    /// not treated as trimmed. A dead node is ignored if others have trimmed it.
    pub(super) fn trimmed_to(&mut self, topic: TopicId, range: LogRange) -> Option<u64> {
        let low = self.known_low(topic, &range.log).min(range.to);
        let own = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        let own = own.map(Log::entry);
        let view = self.read.views.get(&topic);
        let others = view.into_iter().flat_map(|view| &view.frontiers);
        let others =
            others.filter(|(node, _)| self.core.members.state(node) <= MemberState::Suspect);
        let others = others.filter_map(|(_, held)| held.0.get(&range.log));
        let mut spans = own.iter().chain(others).flat_map(|entry| &entry.spans);
        let holds = |span: &Span| span.first <= range.from && range.from < span.next;
        if low <= range.from || spans.clone().any(holds) {
            return None;
        }
        let later = spans.by_ref().map(|span| span.first).filter(|first| *first > range.from).min();
        Some(later.map_or(low, |first| first.min(low)))
    }
}
