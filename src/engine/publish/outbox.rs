//! The outbox: records that were answered `pending` and are not known to have their copies yet.
//!
//! The records themselves are in the node's logs, and repair and handover bring them to the
//! replicas. The outbox keeps from which record on each log is pending: in memory and, before the
//! publisher is answered, on the disk. So a restart forgets nothing. A range leaves the outbox when
//! a quorum of the topic's replicas has said that it holds it, flushed: by receipts, or else in a
//! survey. Topics without pending records cost nothing, also after a start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::outgoing::{Outgoing, Unacknowledged};
use crate::{
    engine::{
        Engine,
        core::Core,
        holdings::{Pending, topic::Topic},
        ids::QuestionId,
        inflight::found::Found,
        output::Write,
        roster::Visible,
        survey::Then,
    },
    limits::{OUTBOX_LOOKS_MAX, OUTBOX_TOPICS_MAX, REPLICAS_MAX},
    model::{Batch, LogId, NodeId, TopicId, TopicName},
    wire::{Acks, Held, LogRange, MemberState, OutboxPage, PendingTopic, Response, small},
};

/// After a start nodes are given time to connect: before that all would be found lacking.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How soon the replicas are asked whether they hold what is pending.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(500);

/// How often they are asked at least: the pauses double while nothing changes.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is pending of a log.
#[derive(Debug)]
struct PendingLog {
    pending: Pending,
    /// Nothing before it lacks a copy.
    from: u64,
    /// Copies that all of it has, as far as is known.
    copies: usize,
    /// Records that lack copies, as the last survey had it.
    lacking: Option<u64>,
    /// Whether all of it was written since this node was started, so that receipts tell of it.
    is_recent: bool,
}

impl PendingLog {
    fn new(pending: Pending, copies: usize, is_recent: bool) -> Self {
        Self { pending, from: pending.first, copies, lacking: None, is_recent }
    }
}

/// What is pending of a topic.
#[derive(Debug)]
struct Outbox {
    logs: BTreeMap<LogId, PendingLog>,
    look_at: Duration,
    pause: Duration,
}

impl Outbox {
    fn new(look_at: Duration) -> Self {
        Self { logs: BTreeMap::new(), look_at, pause: LOOK_PAUSE_MIN }
    }

    fn lacking(&self) -> Option<u64> {
        self.logs.values().map(|log| log.lacking).sum()
    }
}

/// All that is pending.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    topics: BTreeMap<TopicId, Outbox>,
}

impl Outboxes {
    /// With what the store kept.
    pub(super) fn recovered(kept: BTreeMap<TopicId, BTreeMap<LogId, Pending>>) -> Self {
        let mut topics = BTreeMap::new();
        for (topic, logs) in kept {
            let mut outbox = Outbox::new(FIRST_LOOK);
            let logs = logs.into_iter();
            outbox.logs = logs.map(|(log, it)| (log, PendingLog::new(it, 0, false))).collect();
            topics.insert(topic, outbox);
        }
        Self { topics }
    }

    /// A batch is answered as pending, or is sealed again after that.
    pub(super) fn put(&mut self, core: &mut Core, topic: TopicId, batch: &Batch, copies: usize) {
        let (header, look_at) = (batch.header(), core.now.elapsed + LOOK_PAUSE_MIN);
        let outbox = self.topics.entry(topic).or_insert_with(|| Outbox::new(look_at));
        let pending = Pending { first: header.first, since: header.stamp.time() };
        let log = header.log();
        match outbox.logs.get_mut(&log) {
            Some(known) => {
                known.copies = known.copies.min(copies);
                known.lacking = None;
                if known.pending.first <= header.first {
                    return;
                }
                known.pending = pending;
                known.from = header.first;
            }
            None => {
                outbox.logs.insert(log, PendingLog::new(pending, copies, true));
            }
        }
        core.write(Write::Outbox { topic, log, pending: Some(pending) });
    }

    /// Asserts that no topic is listed of which nothing is pending.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        for (topic, outbox) in &self.topics {
            assert!(!outbox.logs.is_empty(), "nothing of {topic:?} is pending");
            let in_order = |log: &PendingLog| log.pending.first <= log.from;
            assert!(outbox.logs.values().all(in_order), "{topic:?} lacks what is not pending");
        }
    }

    fn take_out(&mut self, core: &mut Core, topic: TopicId, log: LogId) {
        if let Some(outbox) = self.topics.get_mut(&topic)
            && outbox.logs.remove(&log).is_some()
        {
            if outbox.logs.is_empty() {
                self.topics.remove(&topic);
            }
            core.write(Write::Outbox { topic, log, pending: None });
        }
    }

    /// Receipts have come: all that was answered as pending may have its copies.
    pub(super) fn on_receipts(&mut self, core: &mut Core, topic: TopicId, outgoing: &Outgoing) {
        // Nothing is pending.
        let Some(outbox) = self.topics.get(&topic) else {
            return;
        };
        let is_done = |(log, pending): (&LogId, &PendingLog)| {
            let is_behind = outgoing.behind.is_some_and(|behind| behind.log == *log);
            let is_pending =
                |sealed: &Unacknowledged| sealed.is_pending && sealed.batch.header().log() == *log;
            let lacks = is_behind || outgoing.unacknowledged.iter().any(is_pending);
            (pending.is_recent && !lacks).then_some(*log)
        };
        let done: Vec<_> = outbox.logs.iter().filter_map(is_done).collect();
        for log in done {
            self.take_out(core, topic, log);
        }
    }

    /// A log has forked: receipts no longer tell of all that was pending in it.
    pub(super) fn on_fork(&mut self, topic: TopicId, log: LogId) {
        let outbox = self.topics.get_mut(&topic);
        if let Some(pending) = outbox.and_then(|outbox| outbox.logs.get_mut(&log)) {
            pending.is_recent = false;
        }
    }

    pub(super) fn on_topic_deleted(&mut self, core: &mut Core, topic: TopicId) {
        let logs = self.topics.remove(&topic).map(|outbox| outbox.logs);
        for log in logs.into_iter().flat_map(BTreeMap::into_keys) {
            core.write(Write::Outbox { topic, log, pending: None });
        }
    }

    /// Other nodes are alive than before: what is pending is looked at soon.
    pub(super) fn on_other_members(&mut self, core: &Core) {
        let soon = core.now.elapsed + LOOK_PAUSE_MIN;
        for outbox in self.topics.values_mut() {
            outbox.pause = LOOK_PAUSE_MIN;
            outbox.look_at = outbox.look_at.min(soon);
        }
    }

    /// The topics whose replicas are asked now, those that have waited longest first.
    pub(super) fn due(&mut self, core: &mut Core) -> Vec<TopicId> {
        let now = core.now.elapsed;
        let due = self.topics.iter().filter(|(_, outbox)| outbox.look_at <= now);
        let mut due: Vec<_> = due.map(|(topic, outbox)| (outbox.look_at, *topic)).collect();
        due.sort_unstable();
        due.truncate(OUTBOX_LOOKS_MAX);
        let mut asked = Vec::with_capacity(due.len());
        for (_, topic) in due {
            if core.topics.get(&topic).is_none() {
                // Nothing is held of it, so there is nothing to deliver.
                self.on_topic_deleted(core, topic);
            } else if let Some(outbox) = self.topics.get_mut(&topic) {
                outbox.look_at = now + outbox.pause;
                outbox.pause = (outbox.pause * 2).min(LOOK_PAUSE_MAX);
                asked.push(topic);
            }
        }
        asked
    }

    /// The replicas have said what they hold. This node's own disk counts where all that it wrote
    /// to the topic is flushed.
    pub(super) fn on_found(
        &mut self,
        core: &mut Core,
        found: &Found,
        outgoing: Option<&Outgoing>,
        is_flushed: bool,
    ) {
        let (topic, me) = (found.topic, core.me);
        let Some(known) = core.topics.get_mut(&topic) else {
            return;
        };
        let wanted = known.wanted(&core.members, Acks::Quorum);
        let mut acting = known.placement(&core.members).acting.clone();
        acting.retain(|node| *node != me || is_flushed);
        let holders: Vec<_> = acting.iter().filter_map(|node| found.held.get(node)).collect();
        // All of it has its copies by now.
        let Some(outbox) = self.topics.get_mut(&topic) else {
            return;
        };
        let before = outbox.lacking();
        let mut done = Vec::new();
        for (log, pending) in &mut outbox.logs {
            let to = outgoing.and_then(|outgoing| first_not_pending(outgoing, *log));
            let parts = parts_of(known, *log, pending.from, to.unwrap_or(u64::MAX));
            let lack = lack_of(&parts, &holders, wanted);
            if lack.records == 0 {
                done.push(*log);
            }
            pending.from = lack.first.unwrap_or(pending.from);
            pending.lacking = Some(lack.records);
            pending.copies = lack.copies;
        }
        if outbox.lacking() < before {
            outbox.pause = LOOK_PAUSE_MIN;
        }
        for log in done {
            self.take_out(core, topic, log);
        }
    }

    // --- listing ---------------------------------------------------------------------------

    /// What is pending of the topics after a name.
    pub(super) fn page(
        &self,
        core: &mut Core,
        outgoing: &BTreeMap<TopicId, Outgoing>,
        after: Option<&TopicName>,
        visible: &Visible,
    ) -> OutboxPage {
        let name = |topic: &TopicId| Some((core.topics.name_of(topic)?.clone(), *topic));
        let names = self.topics.keys().filter_map(name).filter(|(name, _)| visible.shows(name));
        let names: BTreeSet<_> = names.collect();
        let mut names = names.into_iter().filter(|(name, _)| after.is_none_or(|it| name > it));
        let page: Vec<_> = names.by_ref().take(OUTBOX_TOPICS_MAX).collect();
        let more = names.next().is_some();
        let pending = |(name, topic)| self.pending_topic(core, outgoing.get(&topic), name, topic);
        let topics = page.into_iter().filter_map(pending).collect();
        OutboxPage { topics, node: core.me, more }
    }

    fn pending_topic(
        &self,
        core: &mut Core,
        outgoing: Option<&Outgoing>,
        name: TopicName,
        topic: TopicId,
    ) -> Option<PendingTopic> {
        let outbox = self.topics.get(&topic)?;
        let known = core.topics.get_mut(&topic)?;
        let wanted = known.wanted(&core.members, Acks::Quorum);
        let home = known.placement(&core.members).home.clone();
        let records = |(log, pending): (&LogId, &PendingLog)| {
            let to = outgoing.and_then(|outgoing| first_not_pending(outgoing, *log));
            let parts = parts_of(known, *log, pending.from, to.unwrap_or(u64::MAX));
            let held: u64 = parts.iter().map(|part| part.to - part.from).sum();
            pending.lacking.map_or(held, |lacking| lacking.min(held))
        };
        let state = |node: &NodeId| core.members.state(node);
        let is_away = |node: &NodeId| *node != core.me && state(node) != MemberState::Alive;
        let logs = outbox.logs.values();
        Some(PendingTopic {
            topic: name,
            records: outbox.logs.iter().map(records).sum(),
            since: logs.clone().map(|log| log.pending.since).min().unwrap_or_default(),
            copies: logs.map(|log| small(log.copies)).min().unwrap_or(0),
            wanted: small(wanted),
            away: home.into_iter().filter(is_away).take(usize::from(REPLICAS_MAX)).collect(),
        })
    }
}

/// Records that lack copies: where the first of them is, how many there are, and how many copies
/// each has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Lack {
    first: Option<u64>,
    records: u64,
    copies: usize,
}

impl Engine {
    pub(in crate::engine) fn tick_outbox(&mut self) {
        for topic in self.publish.outbox.due(&mut self.core) {
            self.survey(topic, Then::Outbox);
        }
    }

    /// The replicas have said what they hold of a topic of which something is pending.
    pub(in crate::engine) fn outbox_found(&mut self, found: &Found) {
        self.confirm(found);
        let is_flushed = self.publish.is_flushed(found.topic);
        let outgoing = self.publish.topics.get(&found.topic);
        self.publish.outbox.on_found(&mut self.core, found, outgoing, is_flushed);
    }

    pub(in crate::engine) fn list_outbox(
        &mut self,
        question: QuestionId,
        after: Option<&TopicName>,
        visible: &Visible,
    ) {
        let page = self.publish.outbox.page(&mut self.core, &self.publish.topics, after, visible);
        self.core.answer(question, Response::Outbox(page));
    }
}

/// Where the batches of a log start that are under way, with none behind them that was told to be
/// pending.
fn first_not_pending(outgoing: &Outgoing, log: LogId) -> Option<u64> {
    let of_log = |sealed: &&Unacknowledged| sealed.batch.header().log() == log;
    let under_way = outgoing.unacknowledged.iter().rev().filter(of_log);
    let not_pending = under_way.take_while(|sealed| !sealed.is_pending);
    not_pending.last().map(|sealed| sealed.batch.header().first)
}

/// What is held here of a part of a log, and where that has forked of its branches.
fn parts_of(known: &Topic, log: LogId, from: u64, to: u64) -> Vec<LogRange> {
    let branches = known.forks.family(log).map(|(branch, _)| branch);
    let logs = std::iter::once(log).chain(branches);
    let logs = logs.filter_map(|log| Some((log, known.logs.get(&log)?)));
    let parts = logs.flat_map(|(log, held)| {
        let part =
            move |first: u64, next: u64| LogRange { log, from: first.max(from), to: next.min(to) };
        held.spans.iter().map(move |span| part(span.first, span.next))
    });
    parts.filter(|part| part.from < part.to).collect()
}

/// What of these parts fewer nodes hold than are wanted.
fn lack_of(parts: &[LogRange], holders: &[&Held], wanted: usize) -> Lack {
    let mut lack = Lack { copies: usize::MAX, ..Lack::default() };
    for part in parts {
        let entries: Vec<_> =
            holders.iter().filter_map(|held| held.frontier.0.get(&part.log)).collect();
        let within = |at: &u64| part.from < *at && *at < part.to;
        let spans = entries.iter().flat_map(|entry| &entry.spans);
        let ends = spans.flat_map(|span| [span.first, span.next]);
        let lows = entries.iter().map(|entry| entry.low);
        let mut at: BTreeSet<_> = ends.chain(lows).filter(within).collect();
        at.extend([part.from, part.to]);
        for (from, to) in at.iter().zip(at.iter().skip(1)) {
            let copies = entries.iter().filter(|entry| entry.covers(*from, *to)).count();
            if copies < wanted {
                lack.first = Some(lack.first.map_or(*from, |first| first.min(*from)));
                lack.records += to - from;
                lack.copies = lack.copies.min(copies);
            }
        }
    }
    lack
}
