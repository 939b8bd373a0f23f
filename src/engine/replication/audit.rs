//! Audits: home replicas prove to each other that they hold what they say.
//!
//! Every minute a home replica draws topics, one of [`AUDIT_TOPICS`], and of each topic one record
//! for each other home replica. The other one proves that it holds the batch with that record. If
//! it does not, it is asked what it holds. It has failed where it says that it holds that batch;
//! what follows is in `members/probation.rs`. One that refuses the proof may be busy; if it goes on
//! for minutes, it has failed as well.
//!
//! Compacted topics are left out: a home replica may have compacted what another one still holds.

use std::{collections::BTreeMap, time::Duration};

use super::possession::{Challenge, Why, draw};
use crate::{
    engine::{Engine, inflight::found::Found},
    limits::{AUDIT_INTERVAL, AUDIT_TOPICS},
    model::{Frontier, LogId, NodeId, Span, TopicId},
    wire::LogRange,
};

/// When home replicas are looked at next.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    next: Option<Duration>,
    /// Where home replicas have trimmed logs, as they said when they did not prove a batch.
    lows: BTreeMap<(TopicId, NodeId, LogId), u64>,
}

/// Logs of which that is remembered.
const LOWS_MAX: usize = 1_024;

/// Whether somebody says that it holds a batch.
fn is_in(frontier: &Frontier, batch: LogRange) -> bool {
    let entry = frontier.0.get(&batch.log).filter(|entry| entry.low <= batch.from);
    let holds = |span: &Span| span.first <= batch.from && batch.to <= span.next;
    entry.is_some_and(|entry| entry.spans.iter().any(holds))
}

impl Engine {
    pub(in crate::engine) fn tick_audits(&mut self) {
        let now = self.core.now.elapsed;
        // Not at the start: nobody is there yet.
        if now < *self.replication.audit.next.get_or_insert(now + AUDIT_INTERVAL) {
            return;
        }
        self.replication.audit.next = Some(now + AUDIT_INTERVAL);
        let mut audited: Vec<TopicId> = Vec::new();
        for topic in self.core.topics.iter_mut() {
            let is_compacted = topic.tombstones_ms().is_some();
            if topic.is_known()
                && !is_compacted
                && topic.holds_batches()
                && topic.belongs_to(&self.core.members, &self.core.me)
            {
                audited.push(topic.id);
            }
        }
        let count = audited.len().div_ceil(AUDIT_TOPICS);
        self.core.random.shuffle(&mut audited);
        for topic in audited.into_iter().take(count) {
            self.audit(topic);
        }
    }

    /// Has each other home replica of a topic prove that it holds one batch.
    fn audit(&mut self, topic: TopicId) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let mine = known.frontier();
        for home in known.placement(&self.core.members).home.clone() {
            if !self.core.members.is_connected(&home) {
                continue;
            }
            let mut parts = Vec::new();
            for (log, entry) in &mine.0 {
                // What it has trimmed it need not prove, and does not count as held there.
                let low = self.replication.audit.lows.get(&(topic, home, *log)).copied();
                let low = low.unwrap_or(0);
                let part =
                    |span: &Span| LogRange { log: *log, from: span.first.max(low), to: span.next };
                parts.extend(entry.spans.iter().map(part).filter(|part| part.from < part.to));
            }
            let nonce = self.core.nonce();
            let drawn = draw(&nonce, &parts, 1);
            if !drawn.is_empty() {
                self.challenge(Challenge { topic, node: home, nonce, why: Why::Audit, drawn });
            }
        }
    }

    /// A home replica that did not prove that it holds a batch has said what it holds.
    pub(in crate::engine) fn audit_found(&mut self, node: NodeId, batch: LogRange, found: &Found) {
        let Some(held) = found.held.get(&node) else {
            return;
        };
        if is_in(&held.frontier, batch) {
            return self.note_proof(node, false);
        }
        let lows = &mut self.replication.audit.lows;
        if lows.len() >= LOWS_MAX {
            lows.clear();
        }
        let low = held.frontier.0.get(&batch.log).map_or(0, |entry| entry.low);
        lows.insert((found.topic, node, batch.log), low);
    }
}
