//! What time it is, by this node's clock and by those of the others.
//!
//! Regular answers between nodes say what the answerer's clock reads. It was read between request
//! and answer, so the difference to the own clock is known to half a round trip. A node goes by the
//! median of its own clock and all clocks that it has measured lately. One wrong clock moves
//! nobody, and nodes that have measured the same clocks agree on the time. Of two middle ones, a
//! node takes the one nearer to its own clock, so two nodes that disagree keep theirs.
//!
//! A measured clock is stored as what it read when this engine started. So a jump of the own clock
//! is recognised, and does not change what is known of the others. After a jump, and after a start,
//! a node is *in doubt* for a moment: it measures before it stamps.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{input::Now, output::Report},
    limits::{CLOCK_AGE_MAX, CLOCK_DRIFT_MAX, CLOCK_OFF_MIN, CLOCK_WAIT_MAX, CLOCKS_MAX},
    model::{NodeId, WallClock},
};

/// A measurement that is older than this is replaced by any other one.
const FRESH: Duration = Duration::from_secs(10);

/// Time between two reports of one kind.
const REPORT_INTERVAL: Duration = Duration::from_mins(1);

/// How long after its start a node deletes nothing by the time alone while it has heard of others
/// and measured none of them.
const LONELY_MAX: Duration = Duration::from_mins(1);

/// The clock of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measure {
    /// What it read when this engine started, in milliseconds since 1970.
    start: i64,
    /// How far that may be off.
    error: i64,
    at: Duration,
}

/// The clocks that a node knows.
#[derive(Debug, Default)]
pub(in crate::engine) struct Clocks {
    measured: BTreeMap<NodeId, Measure>,
    /// What this node's own clock read when the engine started; none before the first input.
    own: Option<i64>,
    /// The same of the time that it goes by.
    agreed: i64,
    /// Until when the others are asked before anything is stamped.
    doubt_until: Option<Duration>,
    /// Whether half of the clocks or more contradict the time that this node goes by.
    is_disputed: bool,
    /// When the next report of a clock may be made, and of a stamp.
    next_report: Duration,
    next_stamp_report: Duration,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a clock read at the start that reads this now.
fn start_of(wall: WallClock, elapsed: Duration) -> i64 {
    i64::try_from(wall.0).unwrap_or(i64::MAX).saturating_sub(milliseconds(elapsed))
}

fn differs(one: i64, other: i64, by: Duration, error: i64) -> bool {
    one.abs_diff(other) > milliseconds(by).saturating_add(error).unsigned_abs()
}

impl Clocks {
    /// The moment, with the time that this node goes by.
    pub(in crate::engine) fn agreed(&self, now: Now) -> Now {
        let start = self.agreed.saturating_add(milliseconds(now.elapsed));
        Now { wall: WallClock(u64::try_from(start).unwrap_or(0)), ..now }
    }

    /// Whether the own clock was never read.
    pub(in crate::engine) fn is_unread(&self) -> bool {
        self.own.is_none()
    }

    /// Reads the own clock; whether it was set since it was last read.
    pub(in crate::engine) fn read(&mut self, now: Now) -> bool {
        let own = start_of(now.wall, now.elapsed);
        let before = self.own.replace(own);
        let Some(before) = before else {
            self.agreed = own;
            return false;
        };
        let is_set = differs(own, before, CLOCK_OFF_MIN, 0);
        if is_set {
            // A machine that slept counts no time either: what was measured may be wrong as well.
            self.measured.clear();
        } else if self.agreed == before {
            self.agreed = own;
        }
        is_set
    }

    /// A node has said what its clock reads, in the answer to what it was asked at `sent`.
    pub(in crate::engine) fn told(
        &mut self,
        now: Duration,
        node: NodeId,
        sent: Duration,
        wall: WallClock,
    ) {
        let half = now.saturating_sub(sent) / 2;
        let start = start_of(wall, sent + half);
        self.note(node, Measure { start, error: milliseconds(half).saturating_add(1), at: now });
    }

    fn note(&mut self, node: NodeId, measure: Measure) {
        let known = self.measured.get(&node);
        let is_better = known.is_none_or(|known| {
            measure.error <= known.error
                || measure.at.saturating_sub(known.at) >= FRESH
                || differs(measure.start, known.start, Duration::ZERO, measure.error + known.error)
        });
        let has_room = known.is_some() || self.measured.len() < CLOCKS_MAX;
        if is_better && has_room {
            self.measured.insert(node, measure);
        }
    }

    /// Nothing is stamped for a moment, until the others have said what time it is.
    pub(in crate::engine) fn doubt(&mut self, now: Duration) {
        self.doubt_until = Some(now + CLOCK_WAIT_MAX);
    }

    /// The same, where no other clock is known and no doubt is open.
    pub(in crate::engine) fn doubt_if_lonely(&mut self, now: Duration) {
        if self.measured.is_empty() && self.doubt_until.is_none() {
            self.doubt(now);
        }
    }

    /// Forgets what is too old, and decides by which time this node goes. In doubt it waits until
    /// all these nodes are measured. Returns none while the doubt goes on, else whether it ended.
    pub(in crate::engine) fn settle(&mut self, now: Duration, others: &[NodeId]) -> Option<bool> {
        self.measured.retain(|_, other| now.saturating_sub(other.at) < CLOCK_AGE_MAX);
        let before = self.agreed;
        self.judge();
        if self.doubt_until.is_some_and(|until| now < until)
            && (self.is_disputed || !self.are_all_measured(others))
        {
            // It goes on as before, whatever its own clock says now.
            self.agreed = before;
            return None;
        }
        Some(self.doubt_until.take().is_some())
    }

    /// Whether all that can be asked what time it is have said so, and anybody can.
    fn are_all_measured(&self, others: &[NodeId]) -> bool {
        let mut asked = others.iter().take(CLOCKS_MAX);
        !others.is_empty() && asked.all(|node| self.measured.contains_key(node))
    }

    /// Decides by which time this node goes.
    pub(in crate::engine) fn judge(&mut self) {
        let Some(own) = self.own else { return };
        let contradicts =
            |measure: &&Measure| differs(measure.start, own, CLOCK_OFF_MIN, measure.error);
        let voices = self.measured.len() + 1;
        let against = self.measured.values().filter(contradicts).count();
        self.agreed = own;
        if against * 2 > voices {
            let mut starts: Vec<i64> =
                self.measured.values().map(|measure| measure.start).collect();
            starts.push(own);
            starts.sort_unstable();
            let middle = [(starts.len() - 1) / 2, starts.len() / 2].map(|at| starts[at]);
            let nearer = middle.into_iter().min_by_key(|start| start.abs_diff(own));
            self.agreed = nearer.unwrap_or(own);
        }
        let agrees = |start: i64, error: i64| !differs(start, self.agreed, CLOCK_DRIFT_MAX, error);
        let others =
            self.measured.values().filter(|other| agrees(other.start, other.error)).count();
        let agreeing = others + usize::from(agrees(own, 0));
        self.is_disputed = agreeing * 2 <= voices;
    }

    /// The latest time that it may be: where clocks are disputed, that of the one that is furthest
    /// ahead.
    pub(in crate::engine) fn latest(&self, now: Duration) -> WallClock {
        let others = self.measured.values().map(|measure| measure.start);
        let disputed = others.chain(self.own).filter(|_| self.is_disputed);
        let start = disputed.max().map_or(self.agreed, |start| start.max(self.agreed));
        let wall = start.saturating_add(milliseconds(now));
        WallClock(u64::try_from(wall).unwrap_or(0))
    }

    /// Whether the others are asked just now: nothing is stamped, and nothing is deleted.
    pub(in crate::engine) fn is_in_doubt(&self) -> bool {
        self.doubt_until.is_some()
    }

    /// Whether most clocks say that this node's own one is right.
    pub(in crate::engine) fn is_own_right(&self) -> bool {
        self.is_confirmed() && self.own == Some(self.agreed)
    }

    /// Whether more than half of the clocks, more than this node's own one, read the time that
    /// this node goes by.
    pub(in crate::engine) fn is_confirmed(&self) -> bool {
        !self.measured.is_empty() && !self.is_disputed && self.doubt_until.is_none()
    }

    /// How far the clock of a node is ahead of the time that this node goes by.
    pub(in crate::engine) fn offset(&self, node: &NodeId) -> Option<i64> {
        self.measured.get(node).map(|measure| measure.start.saturating_sub(self.agreed))
    }

    /// The same for its own clock, where there is anything to compare it with.
    pub(in crate::engine) fn own_offset(&self) -> Option<i64> {
        let own = self.own.filter(|_| !self.measured.is_empty())?;
        Some(own.saturating_sub(self.agreed))
    }

    /// The other clock that is off furthest, if any is.
    fn furthest(&self) -> Option<(NodeId, i64)> {
        let is_off = |(_, other): &(&NodeId, &Measure)| {
            differs(other.start, self.agreed, CLOCK_OFF_MIN, other.error)
        };
        let off = self.measured.iter().filter(is_off);
        let off = off.map(|(node, other)| (*node, other.start.saturating_sub(self.agreed)));
        off.max_by_key(|(_, offset)| offset.unsigned_abs())
    }

    /// What this node's own clock reads: what it tells others.
    pub(in crate::engine) fn own_wall(&self, now: Duration) -> WallClock {
        let wall = self.own.unwrap_or_default().saturating_add(milliseconds(now));
        WallClock(u64::try_from(wall).unwrap_or(0))
    }

    /// Whether this node does not know what time it is.
    pub(in crate::engine) fn is_unsure(&self, now: Duration, has_others: bool) -> bool {
        let is_lonely = self.measured.is_empty() && has_others && now < LONELY_MAX;
        self.is_in_doubt() || self.is_disputed || is_lonely
    }

    /// What to tell the operator about clocks that are off, if it is time.
    pub(in crate::engine) fn due_report(&mut self, now: Duration) -> Option<Report> {
        if self.is_in_doubt() || now < self.next_report {
            return None;
        }
        let is_off = |own: &i64| own.unsigned_abs() > milliseconds(CLOCK_OFF_MIN).unsigned_abs();
        let report = match (self.own_offset().filter(is_off), self.furthest()) {
            (Some(ahead), _) => Report::OwnClockOff(ahead),
            (None, Some((node, ahead))) => Report::ClockOff(node, ahead),
            (None, None) => return None,
        };
        self.next_report = now + REPORT_INTERVAL;
        Some(report)
    }

    /// Whether a stamp from the future is reported now: not in doubt, and not too often.
    pub(in crate::engine) fn reports_stamp(&mut self, now: Duration) -> bool {
        let reports = !self.is_in_doubt() && now >= self.next_stamp_report;
        if reports {
            self.next_stamp_report = now + REPORT_INTERVAL;
        }
        reports
    }

    pub(in crate::engine) fn forget(&mut self, node: &NodeId) {
        self.measured.remove(node);
    }
}

#[cfg(test)]
mod tests;
