//! What time it is for this node: it asks others, and goes by most clocks.

use std::time::Duration;

use super::Core;
use crate::{
    engine::{inflight::asks::Purpose, input::Now, output::Report},
    limits::{ASK_TIMEOUT, CLOCKS_MAX, STRANGER_DRIFT_MAX},
    model::{Batch, Header, NodeId, Stamp, WallClock},
    wire::{ClientRequest, Refusal},
};

impl Core {
    /// The moment of an input, by the time that this node goes by. After a jump of its clock the
    /// others are asked.
    pub(in crate::engine) fn read_clock(&mut self, now: Now) {
        let is_first = self.clocks.is_unread();
        let is_set = self.clocks.read(now);
        self.now = self.clocks.agreed(now);
        if is_set && self.members.reachable().is_empty() {
            self.clocks.judge();
            self.now = self.clocks.agreed(now);
        } else if is_set || is_first && self.members.iter().next().is_some() {
            self.clocks.doubt(self.now.elapsed);
            let others = self.members.reachable();
            for node in others.into_iter().take(CLOCKS_MAX) {
                self.ask(node, ClientRequest::Peers, ASK_TIMEOUT, Purpose::Acquaint);
            }
        }
    }

    /// A node has said what its clock reads, in the answer to what it was asked at `sent`. Returns
    /// whether batches that waited for the time can be sealed.
    pub(in crate::engine) fn clock_told(
        &mut self,
        node: NodeId,
        sent: Duration,
        wall: WallClock,
    ) -> bool {
        self.clocks.told(self.now.elapsed, node, sent, wall);
        self.settle_clocks()
    }

    /// Decides what time it is. Returns whether that was in doubt, and is not any more.
    pub(in crate::engine) fn settle_clocks(&mut self) -> bool {
        let others = self.members.reachable();
        let Some(was_in_doubt) = self.clocks.settle(self.now.elapsed, &others) else {
            return false;
        };
        self.now = self.clocks.agreed(self.now);
        if self.clocks.is_confirmed() {
            self.clock.confirm(self.now.wall);
        }
        was_in_doubt
    }

    /// What this node's own clock reads: what it tells others.
    pub(in crate::engine) fn own_wall(&self) -> WallClock {
        self.clocks.own_wall(self.now.elapsed)
    }

    /// A time that is over by this node's own clock and by most others. Records expire by this: one
    /// wrong clock deletes nothing, and the word of others does not either.
    pub(in crate::engine) fn safe_wall(&self) -> WallClock {
        self.own_wall().min(self.now.wall)
    }

    /// Whether nothing may be deleted for its age, or for what is stamped later: this node does not
    /// know what time it is.
    pub(in crate::engine) fn is_time_unsure(&self) -> bool {
        let has_others = self.members.iter().next().is_some();
        self.clocks.is_unsure(self.now.elapsed, has_others)
    }

    /// Why a batch is too early that comes from this node; none if it is taken. A stamp may be ten
    /// minutes ahead. It may be further ahead if the writer is established, for its records may
    /// have been acknowledged before anybody told it what time it is. What an established node
    /// brings, somebody has taken from such a writer.
    pub(in crate::engine) fn too_early(
        &self,
        header: &Header,
        from: Option<NodeId>,
    ) -> Option<Refusal> {
        let now = self.now.elapsed;
        let latest = self.clocks.latest(now).plus(STRANGER_DRIFT_MAX);
        let ahead = header.stamp.time().0.saturating_sub(latest.0);
        let is_established = |node: &NodeId| self.members.is_established(now, node);
        if ahead == 0 || is_established(&header.writer) || from.as_ref().is_some_and(is_established)
        {
            return None;
        }
        let reason = "the batch is stamped more than ten minutes in the future, and its writer is \
                      not established here; was the clock of the writer wrong?";
        let retry_after_ms = u32::try_from(ahead).unwrap_or(u32::MAX);
        Some(Refusal::OverBudget { reason: reason.into(), retry_after_ms })
    }

    /// Tells the operator of clocks that are off.
    pub(in crate::engine) fn report_clocks(&mut self) {
        if let Some(report) = self.clocks.due_report(self.now.elapsed) {
            self.report(report);
        }
    }

    /// Tells the operator of a batch that is stamped in the future.
    pub(in crate::engine) fn note_stamp(&mut self, batch: &Batch) {
        let header = batch.header();
        let is_early = header.stamp > Stamp::latest_at(self.now.wall);
        if is_early && self.clocks.reports_stamp(self.now.elapsed) {
            let ahead = header.stamp.time().0.saturating_sub(self.now.wall.0);
            self.report(Report::EarlyStamp(header.topic, header.writer, ahead));
        }
    }
}
