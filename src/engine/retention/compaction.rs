//! Compaction: of each key the newest record is kept.
//!
//! Each home replica compacts for itself (see `holdings::sweep`), and only what every home replica
//! holds is looked at. So a newer record is with all of them before an older one is deleted
//! anywhere. Compacted ranges count as held: frontiers, digests and cursors stay as they are, and
//! there is nothing to repair. A reader of such a range gets the range instead of its batches
//! ([`Compacted`]), with the batch that follows. A replica that was empty takes it over as it is,
//! on the word of the one that it repairs from.
//!
//! A sweep reads all of a topic. So there is one at a time, when half as much has arrived as was
//! kept the last time. Logs of a writer that has forked one are left alone: branches are filed by
//! their batches. What these logs hold may be older than a tombstone, so tombstones stay then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    engine::{
        Engine,
        core::Core,
        holdings::sweep::{Sweep, Swept, SweptSpan},
        ids::Ticket,
        inflight::found::Found,
        input::Now,
        output::{Output, Write},
    },
    limits::{FRONTIER_LOGS_MAX, SURVEY_TIMEOUT},
    model::{Batch, Compacted, Frontier, NodeId, TopicId, WallClock},
    wire::LogRange,
};

/// How often is looked for what may be swept.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Least time from one sweep of a topic to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// A topic is swept that often where anything has changed at all.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_mins(10);

/// A topic of so few bytes is swept as soon as anything has changed.
const SMALL_BYTES: u64 = 1024 * 1024;

/// What is known of a compacted topic.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes that have come since the last sweep.
    new_bytes: u64,
    /// Bytes that the last sweep left.
    kept_bytes: u64,
    /// When the first of the tombstones was published that wait for their time.
    tombstone: Option<WallClock>,
    /// Whether the last sweep left something to do.
    more: bool,
    /// Whether some home did not have all of it when it was swept last.
    is_partial: bool,
    /// When the time comes of what was stamped a little in the future then.
    waits: Option<WallClock>,
    swept_at: Duration,
}

/// A sweep under way.
#[derive(Debug)]
enum Stage {
    /// The home replicas are asked what they have, until then.
    Asking(Duration),
    Sweeping(Ticket),
}

/// The compacted topics, and the sweep under way.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    next_look: Duration,
    topics: BTreeMap<TopicId, Progress>,
    under_way: Option<(TopicId, Stage)>,
}

impl Progress {
    fn is_due(&self, now: Now, tombstones_ms: u64) -> bool {
        let since = now.elapsed.saturating_sub(self.swept_at);
        let is_much = self.new_bytes > 0 && self.new_bytes >= self.kept_bytes / 2;
        let is_old = |published: WallClock| published.0.saturating_add(tombstones_ms) < now.wall.0;
        let has_changed = self.new_bytes > 0
            || self.is_partial
            || self.waits.is_some_and(|time| time <= now.wall)
            || self.tombstone.is_some_and(is_old);
        let is_small = self.kept_bytes <= SMALL_BYTES;
        since >= SWEEP_INTERVAL && (self.more || is_much || has_changed && is_small)
            || since >= SWEEP_INTERVAL_MAX && has_changed
    }
}

impl Compaction {
    /// A batch was stored.
    pub(super) fn on_stored(&mut self, batch: &Batch) {
        if let Some(progress) = self.topics.get_mut(&batch.header().topic) {
            let bytes = batch.bytes().len() as u64;
            progress.new_bytes = progress.new_bytes.saturating_add(bytes);
        }
    }

    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
    }

    /// The topic that is swept next, once its home replicas have said what they have.
    pub(super) fn on_tick(&mut self, core: &mut Core) -> Option<TopicId> {
        let now = core.now.elapsed;
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_INTERVAL;
        match self.under_way {
            Some((_, Stage::Asking(until))) if until <= now => {
                self.under_way = None;
            }
            Some(_) => return None,
            None => {}
        }
        // What goes for its age goes by this time.
        let now = Now { wall: core.safe_wall(), ..core.now };
        let compacted: Vec<_> = core
            .topics
            .iter()
            .filter(|topic| topic.is_known())
            .filter_map(|topic| Some((topic.id, topic.tombstones_ms()?, topic.records() > 0)))
            .collect();
        let ids: BTreeSet<_> = compacted.iter().map(|(id, ..)| *id).collect();
        self.topics.retain(|id, _| ids.contains(id));
        let mut due = None;
        for (topic, tombstones_ms, holds_any) in compacted {
            let progress = self.topics.entry(topic).or_insert_with(|| Progress {
                // What came before this node was started, or the topic was compacted.
                new_bytes: u64::from(holds_any),
                swept_at: now.elapsed,
                ..Progress::default()
            });
            if progress.is_due(now, tombstones_ms)
                && due.is_none_or(|(_, at)| progress.swept_at < at)
            {
                due = Some((topic, progress.swept_at));
            }
        }
        let (topic, _) = due.filter(|_| !core.is_time_unsure())?;
        self.begin(core, topic).then_some(topic)
    }

    /// Begins a sweep of a topic, if this node is one of its home replicas; whether it is.
    fn begin(&mut self, core: &mut Core, topic: TopicId) -> bool {
        let now = core.now.elapsed;
        if let Some(progress) = self.topics.get_mut(&topic) {
            progress.swept_at = now;
        }
        let known = core.topics.get_mut(&topic);
        let is_home = known.is_some_and(|known| known.belongs_to(&core.members, &core.me));
        if is_home {
            self.under_way = Some((topic, Stage::Asking(now + 2 * SURVEY_TIMEOUT)));
        }
        is_home
    }

    /// The home replicas have said what they have: what all of them have is looked through.
    pub(super) fn on_found(&mut self, core: &mut Core, found: &Found) {
        let topic = found.topic;
        if !matches!(self.under_way, Some((of, Stage::Asking(_))) if of == topic) {
            return; // it took too long, and was given up
        }
        self.under_way = None;
        let others = found.placement.home.iter().filter(|home| **home != core.me);
        let others: Option<Vec<&Frontier>> =
            others.map(|home| Some(&found.held.get(home)?.frontier)).collect();
        let Some(known) = core.topics.get_mut(&topic) else {
            debug_assert!(false, "no topic is forgotten");
            return;
        };
        let (Some(others), Some(tombstones_ms)) = (others, known.tombstones_ms()) else {
            return; // not all of them have answered
        };
        let is_enough = found.placement.home.len() >= usize::from(known.min_copies(&core.members));
        if !is_enough || !known.belongs_to(&core.members, &core.me) {
            return;
        }
        let mut spans = Vec::new();
        let swept = known.logs.iter().filter(|(log, _)| !known.forks.has_forked(&log.writer));
        for (log, held) in swept {
            for span in &held.spans {
                let has = |other: &&Frontier| match other.0.get(log) {
                    Some(entry) => {
                        let missing = entry.missing(span.first, span.next);
                        missing.first().map_or(span.next, |(from, _)| *from)
                    }
                    None => span.first,
                };
                let settled = others.iter().map(has).min().unwrap_or(span.next);
                let range = LogRange { log: *log, from: span.first, to: span.next };
                spans.push(SweptSpan { range, settled });
            }
        }
        if let Some(progress) = self.topics.get_mut(&topic) {
            progress.new_bytes = 0;
            progress.is_partial = spans.iter().any(|span| span.settled < span.range.to);
        }
        let tombstones_before = if known.forks.is_empty() {
            WallClock(core.safe_wall().0.saturating_sub(tombstones_ms))
        } else {
            WallClock(0)
        };
        let marks = others_early(found, &core.me);
        mark_early(core, topic, &marks);
        let sweep =
            Sweep { spans, tombstones_before, now: core.now.wall, early: core.early(topic) };
        let (ticket, after) = core.next_read();
        core.output(Output::Sweep { ticket, topic, sweep, after });
        self.under_way = Some((topic, Stage::Sweeping(ticket)));
    }

    /// The store has said what may go.
    pub(super) fn on_swept(&mut self, core: &mut Core, ticket: Ticket, swept: Option<Swept>) {
        let is_it = |under_way: &(TopicId, Stage)| {
            matches!(under_way.1, Stage::Sweeping(of) if of == ticket).then_some(under_way.0)
        };
        let Some(topic) = self.under_way.as_ref().and_then(is_it) else {
            debug_assert!(false, "one sweep is under way, and is answered once");
            return;
        };
        self.under_way = None;
        let has_forks = core.topics.get(&topic).is_some_and(|known| !known.forks.is_empty());
        if let Some(progress) = self.topics.get_mut(&topic) {
            match &swept {
                Some(swept) => {
                    progress.kept_bytes = swept.bytes;
                    (progress.tombstone, progress.more) = (swept.tombstone, swept.more);
                    progress.waits = swept.waits;
                    if has_forks {
                        progress.tombstone = None; // no time comes for any
                    }
                }
                None => progress.more = true,
            }
        }
        mark_early(core, topic, swept.as_ref().map_or(&[], |swept| &swept.early));
        let known = core.topics.get_mut(&topic).filter(|known| known.is_known());
        let may = known.is_some_and(|known| known.belongs_to(&core.members, &core.me));
        for part in swept.into_iter().flat_map(|swept| swept.parts).filter(|_| may) {
            let log = core.topics.get(&topic).and_then(|known| known.logs.get(&part.log));
            // A part of it may have been lost or trimmed meanwhile.
            let forks = core.topics.get(&topic).map(|known| &known.forks);
            let log = log.filter(|log| {
                forks.is_some_and(|forks| !forks.has_forked(&part.log.writer))
                    && log
                        .spans
                        .iter()
                        .any(|span| span.first <= part.first && part.next < span.next)
            });
            if let Some(log) = log.cloned() {
                core.write(Write::Compact { topic, part, log });
            }
        }
    }
}

impl Engine {
    /// Whether a topic keeps the newest record of each key only.
    pub(in crate::engine) fn is_compacted(&self, topic: TopicId) -> bool {
        self.core.topics.get(&topic).is_some_and(|known| known.tombstones_ms().is_some())
    }

    /// Whether a node is believed that batches were compacted. Nobody signs that, and a compacted
    /// range counts as held. So a node without standing is asked in vain: others have the batches,
    /// or say the same.
    pub(in crate::engine) fn believes_parts(&self, node: &NodeId) -> bool {
        self.core.members.is_established(self.core.now.elapsed, node)
    }

    /// The home replicas of a topic have said what they have.
    pub(in crate::engine) fn sweep_found(&mut self, found: &Found) {
        self.retention.compaction.on_found(&mut self.core, found);
    }

    /// Takes over what compaction took away before a batch that is held here now; whether any of it
    /// was missing.
    pub(in crate::engine) fn fill_compacted(&mut self, topic: TopicId, part: &Compacted) -> bool {
        let own_log = self.writes_to(&topic, &part.log);
        let is_writer = self.counts(&topic, &part.log).takes(part.next, part.head);
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return false; // nothing is held of it
        };
        let is_of_topic = known.is_known() && known.tombstones_ms().is_some();
        let is_past_fork = known.forks.sealed_at(part.log).is_some_and(|at| part.next > at);
        if !is_of_topic
            || is_past_fork
            || !known.admits(&part.log.writer)
            || !is_writer
            || own_log && !known.belongs_to(&self.core.members, &self.core.me)
        {
            return false;
        }
        let filled = known.fill(part);
        let is_any = !filled.is_empty();
        for (part, log) in filled {
            self.core.write(Write::Compact { topic, part, log });
        }
        if is_any {
            self.serve_waiting(topic);
        }
        is_any
    }
}

/// Remembers that parts of logs lay in the future, where they are held here.
fn mark_early(core: &mut Core, topic: TopicId, ranges: &[LogRange]) {
    let since = core.now.wall;
    for range in ranges {
        let known = core.topics.get_mut(&topic);
        if let Some(log) = known.and_then(|known| known.mark_early(range, since)) {
            core.write_log(topic, range.log, log);
        }
    }
}

/// What other home replicas have seen to be stamped in the future. That it is marked here too takes
/// nothing away: it holds back.
fn others_early(found: &Found, me: &NodeId) -> Vec<LogRange> {
    let homes = found.placement.home.iter().filter(|home| *home != me);
    let told = homes.filter_map(|home| found.held.get(home)).flat_map(|held| &held.early);
    told.copied().take(FRONTIER_LOGS_MAX).collect()
}
