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
    engine::{
        Engine,
        inflight::asks::Purpose,
        input::Now,
        output::{Output, Report},
        planted::{Bug, planted},
    },
    limits::{
        ASK_TIMEOUT, CLOCK_AGE_MAX, CLOCK_DRIFT_MAX, CLOCK_OFF_MIN, CLOCK_WAIT_MAX, CLOCKS_MAX,
    },
    model::{Batch, NodeId, Stamp, WallClock},
    wire::Request,
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
    fn agreed(&self, now: Now) -> Now {
        let start = self.agreed.saturating_add(milliseconds(now.elapsed));
        Now { wall: WallClock(u64::try_from(start).unwrap_or(0)), ..now }
    }

    /// Reads the own clock; whether it was set since it was last read.
    fn read(&mut self, now: Now) -> bool {
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

    /// Forgets what is too old, and decides by which time this node goes.
    fn judge(&mut self) {
        let Some(own) = self.own else { return };
        let contradicts =
            |measure: &&Measure| differs(measure.start, own, CLOCK_OFF_MIN, measure.error);
        let voices = self.measured.len() + 1;
        let against = self.measured.values().filter(contradicts).count();
        self.agreed = own;
        if against * 2 > voices && !planted(Bug::ClockBelieved) {
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

    /// Whether the others are asked just now: nothing is stamped, and nothing is deleted.
    pub(in crate::engine) fn is_in_doubt(&self) -> bool {
        self.doubt_until.is_some() && !planted(Bug::ClockBelieved)
    }

    /// Whether most clocks say that this node's own one is right.
    pub(in crate::engine) fn is_own_right(&self) -> bool {
        self.is_confirmed() && self.own == Some(self.agreed)
    }

    /// Whether more than half of the clocks, more than this node's own one, read the time that
    /// this node goes by.
    fn is_confirmed(&self) -> bool {
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

    pub(in crate::engine) fn forget(&mut self, node: &NodeId) {
        self.measured.remove(node);
    }
}

impl Engine {
    /// The moment of an input, by the time that this node goes by. After a jump of its clock the
    /// others are asked.
    pub(in crate::engine) fn read_clock(&mut self, now: Now) {
        let is_first = self.clocks.own.is_none();
        let is_set = self.clocks.read(now);
        self.now = self.clocks.agreed(now);
        if is_set && self.members.reachable().is_empty() {
            self.clocks.judge();
            self.now = self.clocks.agreed(now);
        } else if is_set || is_first && self.members.iter().next().is_some() {
            self.doubt_clock();
        }
    }

    /// Nothing is stamped until the others have said what time it is, for a moment.
    fn doubt_clock(&mut self) {
        self.clocks.doubt_until = Some(self.now.elapsed + CLOCK_WAIT_MAX);
        let others = self.members.reachable();
        for node in others.into_iter().take(CLOCKS_MAX) {
            self.ask(node, Request::Peers, ASK_TIMEOUT, Purpose::Acquaint);
        }
    }

    /// A node that knows no other clock asks the first node that it reaches before it stamps.
    pub(in crate::engine) fn connected_for_clock(&mut self) {
        if self.clocks.measured.is_empty() && self.clocks.doubt_until.is_none() {
            self.clocks.doubt_until = Some(self.now.elapsed + CLOCK_WAIT_MAX);
        }
    }

    /// What this node's own clock reads: what it tells others.
    pub(in crate::engine) fn own_wall(&self) -> WallClock {
        let own = self.clocks.own.unwrap_or_default();
        let wall = own.saturating_add(milliseconds(self.now.elapsed));
        WallClock(u64::try_from(wall).unwrap_or(0))
    }

    /// A time that is over by this node's own clock and by most others: what goes for its age goes
    /// by this. The word of others deletes nothing, and neither does one wrong clock.
    pub(in crate::engine) fn safe_wall(&self) -> WallClock {
        self.own_wall().min(self.now.wall)
    }

    /// A node has said what its clock reads, in the answer to what it was asked at `sent`.
    pub(in crate::engine) fn clock_told(&mut self, node: NodeId, sent: Duration, wall: WallClock) {
        let now = self.now.elapsed;
        let half = now.saturating_sub(sent) / 2;
        let start = start_of(wall, sent + half);
        let measure = Measure { start, error: milliseconds(half).saturating_add(1), at: now };
        self.clocks.note(node, measure);
        self.judge_clocks();
    }

    /// Decides what time it is. Where that was in doubt, and is not any more, what waits is sealed.
    fn judge_clocks(&mut self) {
        let elapsed = self.now.elapsed;
        self.clocks.measured.retain(|_, other| elapsed.saturating_sub(other.at) < CLOCK_AGE_MAX);
        let before = self.clocks.agreed;
        self.clocks.judge();
        let was_in_doubt = self.clocks.doubt_until.is_some();
        if self.clocks.doubt_until.is_some_and(|until| elapsed < until)
            && (self.clocks.is_disputed || !self.are_all_measured())
        {
            // It goes on as before, whatever its own clock says now.
            self.clocks.agreed = before;
            return;
        }
        self.clocks.doubt_until = None;
        self.now = self.clocks.agreed(self.now);
        if self.clocks.is_confirmed() {
            self.clock.confirm(self.now.wall);
        }
        if was_in_doubt {
            self.seal_waiting();
        }
    }

    /// Whether all that can be asked what time it is have said so, and anybody can.
    fn are_all_measured(&self) -> bool {
        let reachable = self.members.reachable();
        let mut asked = reachable.iter().take(CLOCKS_MAX);
        !reachable.is_empty() && asked.all(|node| self.clocks.measured.contains_key(node))
    }

    pub(in crate::engine) fn tick_clocks(&mut self) {
        self.judge_clocks();
        if self.clocks.is_in_doubt() || self.now.elapsed < self.clocks.next_report {
            return;
        }
        let is_off = |own: &i64| own.unsigned_abs() > milliseconds(CLOCK_OFF_MIN).unsigned_abs();
        let own = self.clocks.own_offset().filter(is_off);
        let report = match (own, self.clocks.furthest()) {
            (Some(ahead), _) => Report::OwnClockOff(ahead),
            (None, Some((node, ahead))) => Report::ClockOff(node, ahead),
            (None, None) => return,
        };
        self.clocks.next_report = self.now.elapsed + REPORT_INTERVAL;
        self.outputs.push_back(Output::Report(report));
    }

    /// Whether nothing may be deleted for its age, or for what is stamped later: this node does not
    /// know what time it is.
    pub(in crate::engine) fn is_time_unsure(&self) -> bool {
        let is_lonely = self.clocks.measured.is_empty()
            && self.members.iter().next().is_some()
            && self.now.elapsed < LONELY_MAX;
        (self.clocks.is_in_doubt() || self.clocks.is_disputed || is_lonely)
            && !planted(Bug::ClockBelieved)
    }

    /// Tells the operator of a batch that is stamped in the future.
    pub(in crate::engine) fn note_stamp(&mut self, batch: &Batch) {
        let header = batch.header();
        let is_early = header.stamp > Stamp::latest_at(self.now.wall);
        if is_early
            && !self.clocks.is_in_doubt()
            && self.now.elapsed >= self.clocks.next_stamp_report
        {
            self.clocks.next_stamp_report = self.now.elapsed + REPORT_INTERVAL;
            let ahead = header.stamp.time().0.saturating_sub(self.now.wall.0);
            let report = Report::EarlyStamp(header.topic, header.writer, ahead);
            self.outputs.push_back(Output::Report(report));
        }
    }
}

#[cfg(test)]
mod tests;
