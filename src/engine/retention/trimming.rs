//! Trimming by the ledger of each topic, and the clock that it goes by.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{
        core::Core,
        holdings::{
            ledger::{Ledger, Part},
            topic::Topic,
        },
        ids::Ticket,
        output::Write,
    },
    model::{Batch, Retention, TopicId, WallClock},
};

/// How often is looked for what may be trimmed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A wall clock that is off by more than this from one look to the next was set.
const CLOCK_SET_MIN: Duration = Duration::from_secs(2);

/// What is remembered beside the ledgers.
#[derive(Debug, Default)]
pub(super) struct Trimming {
    next_look: Duration,
    /// What the wall clock said when it was last looked at, and when that was.
    clock: Option<(WallClock, Duration)>,
    /// What it said when it was first looked at, by what it says now.
    started: WallClock,
    /// Topics of which the store is asked what it holds.
    measuring: BTreeMap<Ticket, TopicId>,
}

impl Trimming {
    /// A batch was stored.
    pub(super) fn on_stored(&mut self, core: &mut Core, batch: &Batch) {
        self.watch_clock(core);
        let own = core.own_wall();
        let Some(known) = core.topics.get_mut(&batch.header().topic) else {
            debug_assert!(false, "a topic of which a batch is stored is there");
            return;
        };
        let Some(terms) = known.retention() else {
            return; // it keeps its records for ever
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
    pub(super) fn on_filed(core: &mut Core, batch: &Batch) {
        let own = core.own_wall();
        let Some(known) = core.topics.get_mut(&batch.header().topic) else {
            debug_assert!(false, "a topic of which a batch is stored is there");
            return;
        };
        if let Some(terms) = known.retention()
            && let Some(ledger) = known.ledger()
        {
            ledger.file(&terms, own, &Part::of(batch));
        }
    }

    pub(super) fn on_tick(&mut self, core: &mut Core) {
        let now = core.now;
        if now.elapsed < self.next_look {
            return;
        }
        self.next_look = now.elapsed + LOOK_INTERVAL;
        if core.clocks.is_in_doubt() {
            return;
        }
        self.watch_clock(core);
        let (is_unsure, safe_wall) = (core.is_time_unsure(), core.safe_wall());
        let mut cuts = Vec::new();
        let mut unmeasured = Vec::new();
        let mut without = Vec::new();
        for topic in core.topics.iter_mut() {
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
            for (log, end) in ends {
                core.cut_log(topic, log, end.next, end.head);
            }
            write_steps(core, topic);
        }
        for topic in unmeasured {
            self.measure(core, topic);
        }
        for topic in without {
            close_ledger(core, topic);
        }
    }

    /// Looks whether the wall clock was set, and if so keeps all ages as they are.
    fn watch_clock(&mut self, core: &mut Core) {
        if core.clocks.is_in_doubt() {
            return;
        }
        let (own, now) = (core.own_wall(), core.now.elapsed);
        let Some((wall, elapsed)) = self.clock.replace((own, now)) else {
            self.started = own;
            return;
        };
        let expected = wall.plus(now.saturating_sub(elapsed));
        let off = Duration::from_millis(own.0.abs_diff(expected.0));
        if off > CLOCK_SET_MIN {
            // Most others say that it is right now. Then only what came since the start has a wrong
            // time.
            let since = if core.clocks.is_own_right() { self.started } else { WallClock(0) };
            for ledger in core.topics.iter_mut().filter_map(Topic::ledger) {
                ledger.clock_set(since, expected, own);
            }
            let age = expected.0.saturating_sub(self.started.0);
            self.started = WallClock(own.0.saturating_sub(age));
        }
    }

    /// Asks the store what it holds that the ledger does not account for.
    fn measure(&mut self, core: &mut Core, topic: TopicId) {
        let own = core.own_wall();
        if self.measuring.values().any(|other| *other == topic) {
            return;
        }
        let known = core.topics.get_mut(&topic);
        let Some((known, ranges)) = known.and_then(|it| it.not_accounted().map(|at| (it, at)))
        else {
            debug_assert!(false, "what is measured has a ledger");
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
        let ticket = core.measure(topic, ranges);
        self.measuring.insert(ticket, topic);
    }

    /// The store has said what it holds; nothing where it could not, so it is asked again.
    pub(super) fn on_measured(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        parts: Option<Vec<Part>>,
    ) {
        let Some(topic) = self.measuring.remove(&ticket) else {
            debug_assert!(false, "each measure is answered once");
            return;
        };
        let own = core.own_wall();
        let Some(known) = core.topics.get_mut(&topic) else {
            debug_assert!(false, "no topic is forgotten");
            return;
        };
        // It may keep its records for ever by now.
        if let Some(terms) = known.retention()
            && let Some(ledger) = known.ledger()
            && let Some(parts) = parts
        {
            ledger.measured(&terms, own, parts);
        }
    }
}

fn write_steps(core: &mut Core, topic: TopicId) {
    let ledger = core.topics.get_mut(&topic).and_then(Topic::ledger);
    let changes = ledger.map(Ledger::take_changes).unwrap_or_default();
    for (number, step) in changes {
        core.write(Write::Step { topic, number, step });
    }
}

/// A topic that is kept for ever needs no ledger.
pub(super) fn close_ledger(core: &mut Core, topic: TopicId) {
    let ledger = core.topics.get_mut(&topic).and_then(Topic::close_ledger);
    for number in ledger.into_iter().flat_map(Ledger::into_numbers) {
        core.write(Write::Step { topic, number, step: None });
    }
}
