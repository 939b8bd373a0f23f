//! A writer that was removed and is a member again begins new logs.
//!
//! The admin who removed it may have looked where its logs end, and may sign that later. If the
//! writer went on with the old logs, what it writes now would be beyond these cuts.

use crate::{
    engine::{Engine, roster::Counts},
    model::{Incarnation, LogId, Previous, TopicId, roster::Cut},
};

impl Engine {
    /// Leaves the logs that this node wrote before it was removed: it was admitted again.
    pub(in crate::engine) fn leave_logs_before_removal(&mut self) {
        let writer = self.core.me;
        let topics = self.publish.topics.iter();
        let logs: Vec<_> = topics.map(|(topic, it)| (*topic, it.incarnation)).collect();
        for (topic, incarnation) in logs {
            self.leave_log(topic, LogId { writer, incarnation }, 0, None);
        }
    }

    /// An admin says where a log ends: if this node writes it, it does so no longer.
    pub(in crate::engine) fn leave_closed_log(&mut self, topic: TopicId, log: LogId, cut: Cut) {
        if log.writer != self.core.me {
            return;
        }
        let writes = |incarnation| incarnation == log.incarnation;
        if !self.publish.topics.get(&topic).is_some_and(|it| writes(it.incarnation)) {
            return;
        }
        self.leave_log(topic, log, cut.next, None);
        if let Some(outgoing) = self.publish.topics.get_mut(&topic) {
            outgoing.previous = end_of(log.incarnation, cut);
        }
    }

    /// Whether this node does not go on with a log though it was stopped cleanly. With no room for
    /// another log it goes on with one that is not closed.
    pub(super) fn is_left_for_good(
        &self,
        topic: TopicId,
        incarnation: Incarnation,
        must_continue: bool,
    ) -> bool {
        let was_removed = self.roster.turn(&self.core.me) > 0;
        self.is_closed_log(topic, incarnation) || was_removed && !must_continue
    }

    /// Whether an admin has said where a log of this node ends.
    pub(super) fn is_closed_log(&self, topic: TopicId, incarnation: Incarnation) -> bool {
        let log = LogId { writer: self.core.me, incarnation };
        matches!(self.counts(&topic, &log), Counts::To(_))
    }

    /// The end of a log of this node, as far as it counts.
    pub(super) fn up_to_cut(&self, topic: TopicId, end: Previous) -> Option<Previous> {
        let log = LogId { writer: self.core.me, incarnation: end.incarnation };
        match self.counts(&topic, &log) {
            Counts::To(cut) if end.next > cut.next => end_of(end.incarnation, cut),
            _ => Some(end),
        }
    }
}

/// Where a log ends, as the one before the next.
fn end_of(incarnation: Incarnation, cut: Cut) -> Option<Previous> {
    cut.head.map(|hash| Previous { incarnation, next: cut.next, hash })
}
