//! The outbox: records that were answered `pending` and are not known to have their copies yet.
//!
//! The records themselves are in the node's logs, and repair and handover bring them to the
//! replicas. The outbox keeps from which record on each log is pending: in memory and, before the
//! publisher is answered, on the disk. So a restart forgets nothing. A range leaves the outbox when
//! a quorum of the topic's replicas has said that it holds it, flushed: by receipts, or else in a
//! survey. Topics without pending records cost nothing, also after a start.
//!
//! The catalogue is left out. Creating a topic is answered when the topic is known here, and each
//! node has the catalogue anyway.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::outgoing::{Outgoing, Unacknowledged};
use crate::{
    engine::{
        Engine,
        holdings::{Pending, topic::Topic},
        ids::QuestionId,
        inflight::found::Found,
        output::Write,
        planted::{Bug, planted},
        survey::Then,
    },
    limits::{OUTBOX_LOOKS_MAX, REPLICAS_MAX},
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

/// What is pending.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    topics: BTreeMap<TopicId, Outbox>,
}

impl State {
    /// With what the store kept.
    pub(in crate::engine) fn recovered(kept: BTreeMap<TopicId, BTreeMap<LogId, Pending>>) -> Self {
        let mut topics = BTreeMap::new();
        for (topic, logs) in kept {
            let mut outbox = Outbox::new(FIRST_LOOK);
            let logs = logs.into_iter();
            outbox.logs = logs.map(|(log, it)| (log, PendingLog::new(it, 0, false))).collect();
            topics.insert(topic, outbox);
        }
        Self { topics }
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
    /// A batch is answered as pending, or is sealed again after that.
    pub(in crate::engine) fn put_in_outbox(
        &mut self,
        topic: TopicId,
        batch: &Batch,
        copies: usize,
    ) {
        if topic == self.core.topics.catalogue() {
            return;
        }
        let (header, look_at) = (batch.header(), self.core.now.elapsed + LOOK_PAUSE_MIN);
        let outbox =
            self.publish.outbox.topics.entry(topic).or_insert_with(|| Outbox::new(look_at));
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
        self.core.write(Write::Outbox { topic, log, pending: Some(pending) });
    }

    /// Receipts have come: all that was told to be pending may have its copies.
    pub(in crate::engine) fn outbox_settled(&mut self, topic: TopicId) {
        let Some(outbox) = self.publish.outbox.topics.get(&topic) else {
            return;
        };
        let Some(outgoing) = self.publish.topics.get(&topic) else {
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
            self.take_from_outbox(topic, log);
        }
    }

    /// A log has forked: receipts no longer tell of all that was pending in it.
    pub(in crate::engine) fn outbox_forked(&mut self, topic: TopicId, log: LogId) {
        let outbox = self.publish.outbox.topics.get_mut(&topic);
        if let Some(pending) = outbox.and_then(|outbox| outbox.logs.get_mut(&log)) {
            pending.is_recent = false;
        }
    }

    fn take_from_outbox(&mut self, topic: TopicId, log: LogId) {
        if let Some(outbox) = self.publish.outbox.topics.get_mut(&topic)
            && outbox.logs.remove(&log).is_some()
        {
            if outbox.logs.is_empty() {
                self.publish.outbox.topics.remove(&topic);
            }
            self.core.write(Write::Outbox { topic, log, pending: None });
        }
    }

    /// A topic is deleted.
    pub(in crate::engine) fn empty_outbox(&mut self, topic: TopicId) {
        let logs = self.publish.outbox.topics.remove(&topic).map(|outbox| outbox.logs);
        for log in logs.into_iter().flat_map(BTreeMap::into_keys) {
            self.core.write(Write::Outbox { topic, log, pending: None });
        }
    }

    /// Other nodes are alive than before: what is pending is looked at soon.
    pub(in crate::engine) fn outbox_soon(&mut self) {
        let soon = self.core.now.elapsed + LOOK_PAUSE_MIN;
        for outbox in self.publish.outbox.topics.values_mut() {
            outbox.pause = LOOK_PAUSE_MIN;
            outbox.look_at = outbox.look_at.min(soon);
        }
    }

    pub(in crate::engine) fn tick_outbox(&mut self) {
        let now = self.core.now.elapsed;
        let due = self.publish.outbox.topics.iter().filter(|(_, outbox)| outbox.look_at <= now);
        let mut due: Vec<_> = due.map(|(topic, outbox)| (outbox.look_at, *topic)).collect();
        due.sort_unstable();
        for (_, topic) in due.into_iter().take(OUTBOX_LOOKS_MAX) {
            if self.core.topics.get(&topic).is_none() {
                // Nothing is held of it, so there is nothing to deliver.
                self.empty_outbox(topic);
                continue;
            }
            if let Some(outbox) = self.publish.outbox.topics.get_mut(&topic) {
                outbox.look_at = now + outbox.pause;
            }
            self.survey(topic, Then::Outbox);
        }
    }

    /// The replicas have said what they hold.
    pub(in crate::engine) fn outbox_found(&mut self, found: &Found) {
        self.confirm(found);
        let topic = found.topic;
        let me = self.core.me;
        let flushed = self.publish.unflushed.iter().all(|(_, other, ..)| *other != topic);
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let wanted = known.wanted(&self.core.members, Acks::Quorum);
        let mut acting = known.placement(&self.core.members).acting.clone();
        acting.retain(|node| *node != me || flushed);
        let holders: Vec<_> = acting.iter().filter_map(|node| found.held.get(node)).collect();
        let Some(outbox) = self.publish.outbox.topics.get_mut(&topic) else {
            return;
        };
        let outgoing = self.publish.topics.get(&topic);
        let before = outbox.lacking();
        let mut done = Vec::new();
        for (log, pending) in &mut outbox.logs {
            let to = outgoing.and_then(|outgoing| first_not_pending(outgoing, *log));
            let parts = parts_of(known, *log, pending.from, to.unwrap_or(u64::MAX));
            let lack = lack_of(&parts, &holders, wanted);
            if lack.records == 0 || planted(Bug::OutboxForgotten) {
                done.push(*log);
            }
            pending.from = lack.first.unwrap_or(pending.from);
            pending.lacking = Some(lack.records);
            pending.copies = lack.copies;
        }
        let moves = outbox.lacking() < before;
        outbox.pause = if moves { LOOK_PAUSE_MIN } else { (outbox.pause * 2).min(LOOK_PAUSE_MAX) };
        for log in done {
            self.take_from_outbox(topic, log);
        }
    }

    // --- listing ---------------------------------------------------------------------------

    pub(in crate::engine) fn list_outbox(
        &mut self,
        question: QuestionId,
        after: Option<&TopicName>,
    ) {
        let name = |topic: &TopicId| Some((self.core.topics.name_of(topic)?.clone(), *topic));
        let names: BTreeSet<_> = self.publish.outbox.topics.keys().filter_map(name).collect();
        let mut names = names.into_iter().filter(|(name, _)| after.is_none_or(|it| name > it));
        let page: Vec<_> = names.by_ref().take(crate::limits::OUTBOX_TOPICS_MAX).collect();
        let more = names.next().is_some();
        let page = page.into_iter().filter_map(|(name, topic)| self.pending_topic(name, topic));
        let page = OutboxPage { topics: page.collect(), node: self.core.me, more };
        self.core.answer(question, Response::Outbox(page));
    }

    fn pending_topic(&mut self, name: TopicName, topic: TopicId) -> Option<PendingTopic> {
        let outbox = self.publish.outbox.topics.get(&topic)?;
        let known = self.core.topics.get_mut(&topic)?;
        let wanted = known.wanted(&self.core.members, Acks::Quorum);
        let home = known.placement(&self.core.members).home.clone();
        let outgoing = self.publish.topics.get(&topic);
        let records = |(log, pending): (&LogId, &PendingLog)| {
            let to = outgoing.and_then(|outgoing| first_not_pending(outgoing, *log));
            let parts = parts_of(known, *log, pending.from, to.unwrap_or(u64::MAX));
            let held: u64 = parts.iter().map(|part| part.to - part.from).sum();
            pending.lacking.map_or(held, |lacking| lacking.min(held))
        };
        let state = |node: &NodeId| self.core.members.state(node);
        let is_away = |node: &NodeId| *node != self.core.me && state(node) != MemberState::Alive;
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
