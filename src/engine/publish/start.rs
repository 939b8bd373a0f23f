//! How a log begins, and what is pending: what this node as a writer must ask others.
//!
//! **A sequence number is never used twice in one incarnation.** The first batch of a topic after a
//! start opens a new incarnation, which names the end of the one before. The old log is continued
//! only if the node was stopped cleanly, and every known node says that it knows no more of that
//! log. If one on probation says that there are more nodes, they are not waited for. Records wait
//! for that answer, for no longer than a survey takes.
//!
//! A node that has [`WRITER_LOGS_MAX`](crate::limits::WRITER_LOGS_MAX) logs in the topic begins no
//! more. It continues its newest one, after a crash too, if enough home replicas and all nodes that
//! can be reached have said where that ends. A node that is away may have a batch that nobody
//! acknowledged: then the log forks there, and both branches are kept. Without these answers it
//! publishes nothing to the topic.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::outgoing::{BEHIND_SURVEY_INTERVAL, Behind, Outgoing};
use crate::{
    engine::{Engine, holdings::topic::Topic, inflight::found::Found, survey::Then},
    model::{Entry, Incarnation, LogId, NodeId, Previous, TopicId},
    wire::Acks,
};

impl Engine {
    /// The first record of this node for a topic since it was started.
    pub(in crate::engine) fn begin_log(&mut self, topic: TopicId) {
        let previous = self.newest_own(topic).and_then(|end| self.up_to_cut(topic, end));
        let incarnation = self.unused_incarnation(topic);
        let new = LogId { writer: self.core.me, incarnation };
        let must_continue = self.has_no_room_for(topic, &new);
        let is_left_cleanly = |it: &Incarnation| self.core.config.earlier.contains(it);
        let earlier = previous
            .map(|previous| previous.incarnation)
            .filter(|incarnation| must_continue || is_left_cleanly(incarnation))
            .filter(|incarnation| !self.is_sealed(topic, *incarnation))
            .filter(|incarnation| !self.is_left_for_good(topic, *incarnation, must_continue))
            // What was written before the export, and after it, may be known elsewhere.
            .filter(|_| !self.is_imported(topic));
        let outgoing = Outgoing {
            incarnation,
            parted: None,
            confirming: earlier,
            previous,
            next: 0,
            queued: VecDeque::new(),
            behind: None,
            unacknowledged: VecDeque::new(),
        };
        self.publish.topics.insert(topic, outgoing);
        if earlier.is_some() {
            self.survey(topic, Then::Resume);
        }
    }

    /// The others have said what they hold of the log that this node would continue.
    pub(in crate::engine) fn resume(&mut self, found: &Found) {
        let topic = found.topic;
        let mut known = self.is_exhaustive(found, Duration::ZERO);
        let outgoing = self.publish.topics.get_mut(&topic);
        // Asked twice, and answered once already; or the topic was deleted.
        let Some(earlier) = outgoing.and_then(|outgoing| outgoing.confirming.take()) else {
            return;
        };
        let log = LogId { writer: self.core.me, incarnation: earlier };
        let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let mut end = held.and_then(|held| held.previous(earlier));
        if !self.core.config.earlier.contains(&earlier) {
            // There is no room for a new log. After a crash others may have more of the old one.
            known = found.complete && self.have_all_answered(found);
            let told = found.end_of(&log);
            let told = told.map(|(next, hash)| Previous { incarnation: earlier, next, hash });
            end = end.into_iter().chain(told).max_by_key(|end| end.next);
        }
        let no_more = |entry: &Entry| {
            entry.end().is_none_or(|(next, head)| {
                end.is_some_and(|end| next < end.next || (next, head) == (end.next, end.hash))
            })
        };
        let others = found.held.values().filter_map(|held| held.frontier.0.get(&log));
        let agreed = known && others.into_iter().all(no_more);
        let sealed = self.is_sealed(topic, earlier) || self.is_closed_log(topic, earlier);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        if let Some(end) = end.filter(|_| agreed && !sealed) {
            outgoing.incarnation = earlier;
            outgoing.next = end.next;
            outgoing.previous = Some(end);
            // Its end may have been told to be pending before the stop.
            let survey_at = self.core.now.elapsed + BEHIND_SURVEY_INTERVAL;
            outgoing.behind = Some(Behind { log, first: 0, next: end.next, survey_at });
            self.confirm(found);
        }
        self.seal_ready(topic);
    }

    /// Whether a log of this node cannot begin in a topic.
    fn has_no_room_for(&self, topic: TopicId, log: &LogId) -> bool {
        self.core.topics.get(&topic).is_some_and(|known| known.room_for(log).is_err())
    }

    /// Whether a topic was imported: of what this node wrote to it before, it cannot tell the end.
    pub(in crate::engine) fn is_imported(&self, topic: TopicId) -> bool {
        self.core.topics.get(&topic).is_some_and(Topic::is_imported)
    }

    /// Whether a log of this node has forked, and takes nothing more.
    fn is_sealed(&self, topic: TopicId, incarnation: Incarnation) -> bool {
        let log = LogId { writer: self.core.me, incarnation };
        let known = self.core.topics.get(&topic);
        known.is_some_and(|known| known.forks.sealed_at(log).is_some())
    }

    /// Whether a batch is of a log that this node may write to now.
    pub(in crate::engine) fn writes_to(&self, topic: &TopicId, log: &LogId) -> bool {
        let now = self.publish.incarnation(topic, &self.core.config);
        let current = log.incarnation == now || self.core.config.earlier.contains(&log.incarnation);
        log.writer == self.core.me && current
    }

    /// The newest batch of this node in a topic, from an earlier incarnation.
    fn newest_own(&self, topic: TopicId) -> Option<Previous> {
        let logs = &self.core.topics.get(&topic)?.logs;
        let own = logs.iter().filter(|(id, _)| id.writer == self.core.me);
        // Its clock may have been ahead then, so stamps alone do not tell which log came last.
        let starts = own.clone().filter_map(|(_, log)| log.spans.first());
        let starts = starts.filter(|span| span.first == 0).filter_map(|span| span.base);
        let continued: BTreeSet<_> = starts.collect();
        let is_continued = |previous: &Previous| continued.contains(&previous.hash);
        let ends = own.filter_map(|(id, log)| Some((log.newest(), log.previous(id.incarnation)?)));
        ends.max_by_key(|(stamp, previous)| (!is_continued(previous), *stamp)).map(|(_, end)| end)
    }

    /// The replicas have said what they hold: perhaps all that was told to be pending.
    pub(in crate::engine) fn confirm(&mut self, found: &Found) {
        let topic = found.topic;
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        let wanted = known.wanted(&self.core.members, Acks::Quorum);
        let acting = known.placement(&self.core.members).acting.clone();
        let is_flushed = self.publish.is_flushed(topic);
        // Only the outbox of the start is asked about.
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let Some(behind) = outgoing.behind else {
            return;
        };
        let holds_all = found.holds_all(behind.log, behind.first, behind.next);
        let holds = |node: &&NodeId| holds_all(node) && (**node != self.core.me || is_flushed);
        if acting.iter().filter(holds).count() >= wanted {
            outgoing.behind = None;
            self.settle(topic);
        }
    }
}
