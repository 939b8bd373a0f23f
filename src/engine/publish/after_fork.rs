//! A writer whose own log has forked continues in a new incarnation.
//!
//! Its disk was cloned or restored from a copy while it ran, or somebody has its key. Batches that
//! nobody has acknowledged are sealed again, under the same record names. So a record that is in
//! the branch as well is recognised. Waiting publishers are answered from there.

use std::{collections::VecDeque, time::Duration};

use super::{
    State,
    outgoing::{Parted, Queued, Unacknowledged},
};
use crate::{
    engine::{Engine, input::Config},
    model::{Batch, Incarnation, LogId, Previous, TopicId},
};

/// How long a writer waits until it is known which branch is its own. Then it goes on from the
/// last batch that both have.
const OWN_BRANCH_WITHIN: Duration = Duration::from_secs(2);

impl State {
    /// The incarnation that this node writes a topic in.
    pub(in crate::engine) fn incarnation(&self, topic: &TopicId, config: &Config) -> Incarnation {
        self.topics.get(topic).map_or(config.incarnation, |outgoing| outgoing.incarnation)
    }
}

impl Engine {
    /// A log has forked: if this node writes it, it does so no longer.
    pub(in crate::engine) fn go_on_after_fork(&mut self, topic: TopicId, log: LogId) {
        let sealed = self.core.topics.get(&topic).and_then(|known| known.forks.sealed_at(log));
        if let Some(at) = sealed.filter(|_| log.writer == self.core.me) {
            let until = self.core.now.elapsed + OWN_BRANCH_WITHIN;
            self.leave_log(topic, log, at, Some(Parted { of: log, until }));
        }
    }

    /// This node writes a log no longer. What comes after `at` is sealed again in another one.
    pub(super) fn leave_log(
        &mut self,
        topic: TopicId,
        log: LogId,
        at: u64,
        parted: Option<Parted>,
    ) {
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        // Also of a log that it has left before: a proof may come that says it forked earlier.
        let beyond = |sealed: &Unacknowledged| {
            sealed.batch.header().log() == log && sealed.batch.header().next() > at
        };
        let again: VecDeque<_>;
        (again, outgoing.unacknowledged) =
            std::mem::take(&mut outgoing.unacknowledged).into_iter().partition(beyond);
        // What was told to be pending and is part of the branch goes with it.
        outgoing.behind = outgoing.behind.filter(|it| it.log != log || it.next <= at);
        self.publish.outbox.on_fork(topic, log);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        if outgoing.incarnation == log.incarnation {
            outgoing.begin_anew(&mut self.core.random);
            outgoing.parted = parted;
        } else if again.is_empty() {
            return;
        }
        for sealed in again.into_iter().rev() {
            let runs = sealed.batch.header().runs.clone();
            let (records, waiting) = (sealed.batch.records_bytes(), sealed.waiting);
            outgoing.queued.push_front(Queued { runs, records, waiting });
        }
        self.publish.active.insert(topic);
        self.seal_ready(topic);
    }

    /// A batch has come that continues what this node writes, and this node has not written it: its
    /// directory was cloned, or somebody has its key. It leaves that log.
    pub(in crate::engine) fn written_elsewhere(&mut self, batch: &Batch) {
        let topic = batch.header().topic;
        if let Some(outgoing) = self.publish.topics.get_mut(&topic)
            && batch.header().writer == self.core.me
            && batch.log().incarnation == outgoing.incarnation
            && batch.header().next() >= outgoing.next
            && outgoing.previous.is_none_or(|end| end.hash != batch.hash())
        {
            outgoing.begin_anew(&mut self.core.random);
        }
    }

    /// An incarnation in which nothing of a topic is held.
    pub(in crate::engine) fn unused_incarnation(&mut self, topic: TopicId) -> Incarnation {
        let log = LogId { writer: self.core.me, incarnation: self.core.config.incarnation };
        let known = self.core.topics.get(&topic);
        if known.is_some_and(|known| known.is_imported() || known.logs.contains_key(&log)) {
            return Incarnation(self.core.random.u64(..));
        }
        log.incarnation
    }

    /// Finds out which batch the first one of the new incarnation comes after.
    pub(super) fn find_own_branch(&mut self, topic: TopicId) {
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        // It was found meanwhile.
        let (Some(parted), Some(known)) = (outgoing.parted, self.core.topics.get(&topic)) else {
            return;
        };
        let (forks, of) = (&known.forks, parted.of);
        let sealed = forks.sealed_at(of).unwrap_or_default();
        if let Some(end) = outgoing.previous.filter(|end| end.next > sealed) {
            let is_end = |branch: &LogId| {
                known.logs.get(branch).is_some_and(|log| {
                    log.spans.iter().any(|span| (span.next, span.head) == (end.next, end.hash))
                })
            };
            let own = forks.family(of).map(|(branch, _)| branch).find(is_end);
            if own.is_none()
                && self.core.now.elapsed < parted.until
                && self.forks.is_filing(topic, of)
            {
                return;
            }
            let shared = || {
                let root = forks.family(of).map(|(_, root)| root).min_by_key(|root| root.at)?;
                let incarnation = of.incarnation;
                Some(Previous { incarnation, next: root.at, hash: root.previous? })
            };
            outgoing.previous = match own {
                Some(branch) => Some(Previous { incarnation: branch.incarnation, ..end }),
                None => shared(),
            };
        }
        outgoing.parted = None;
    }
}
