//! Which logs a writer has here that signs more than its share.
//!
//! A topic takes [`WRITER_LOGS_MAX`] logs of a writer. If a writer signs more, and each replica
//! kept those that came first, the replicas would differ for ever. So of a writer that is not
//! established those are kept whose incarnations are lowest. That follows from the set alone. A
//! node never begins more logs than its share, unless its disk was wiped. So only a writer that
//! signs too many loses any.

use crate::{
    engine::{
        Engine,
        holdings::log::{AddError, Added, Log, TooManyLogs},
        inflight::found::Found,
        output::Write,
    },
    limits::WRITER_LOGS_MAX,
    model::{Batch, Entry, Incarnation, LogId, NodeId},
    wire::Held,
};

impl Engine {
    /// Adds a batch of a topic that is known: the log with it, if that changed it. Another log of
    /// its writer may make room for it.
    pub(super) fn add_within_share(
        &mut self,
        batch: &Batch,
    ) -> Result<(Added, Option<Log>), AddError> {
        let (topic, log) = (batch.header().topic, batch.log());
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "the topic was looked up");
            return Ok((Added::Held, None));
        };
        let mut added = known.add(batch);
        if added == Err(AddError::TooManyLogs(TooManyLogs::OfWriter))
            && let Some(other) = known.last_log_of(log.writer)
            && other > log
            && self.is_bound_by_share(&log.writer)
            && let Some(known) = self.core.topics.get_mut(&topic)
        {
            known.let_go(&other);
            self.core.write(Write::Drop { topic, log_id: other, from: 0, to: u64::MAX, log: None });
            added = self.core.topics.get_mut(&topic).map_or(added, |known| known.add(batch));
        }
        let added = added?;
        let logs = self.core.topics.get(&topic).map(|known| &known.logs);
        let log = logs.and_then(|logs| logs.get(&log)).filter(|_| added == Added::New);
        Ok((added, log.cloned()))
    }

    /// Whether a writer has its share of logs and no more. This node itself knows what it began.
    fn is_bound_by_share(&self, writer: &NodeId) -> bool {
        !self.core.members.is_established(self.core.now.elapsed, writer)
    }

    /// This node holds logs for others. Those go that are beyond their writers' shares at every
    /// home replica: that many other logs are proven there, by what their writer signed.
    pub(super) fn let_go_beyond_shares(&mut self, found: &Found) {
        let homes: Vec<_> = found.placement.home.iter().map(|home| found.held.get(home)).collect();
        let Some(known) = self.core.topics.get(&found.topic) else { return };
        let is_beyond = |log: &&LogId| {
            let is_full = |held: Option<&Held>| {
                let Some(logs) = held.map(|held| &held.frontier.0) else { return false };
                let first = LogId { incarnation: Incarnation(0), ..**log };
                let counts = |(id, entry): &(&LogId, &Entry)| {
                    !entry.spans.is_empty() && known.forks.root(id).is_none()
                };
                !logs.contains_key(*log)
                    && logs.range(first..**log).filter(counts).count() >= WRITER_LOGS_MAX
            };
            known.forks.root(log).is_none()
                && !homes.is_empty()
                && homes.iter().copied().all(is_full)
        };
        let beyond: Vec<_> = known.logs.keys().filter(is_beyond).copied().collect();
        for log in beyond {
            if self.is_bound_by_share(&log.writer)
                && let Some(known) = self.core.topics.get_mut(&found.topic)
            {
                known.let_go(&log);
                let (topic, from, to) = (found.topic, 0, u64::MAX);
                self.core.write(Write::Drop { topic, log_id: log, from, to, log: None });
            }
        }
    }
}
