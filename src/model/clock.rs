//! The hybrid logical clock.
//!
//! After "Logical Physical Clocks" (Kulkarni et al., 2014). A stamp is the wall time while that
//! advances, and a counter while it stands still or goes back. So stamps rise along every chain of
//! cause and effect, and stay near the wall time.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use minicbor::{Decode, Encode};

use crate::limits::{CLOCK_DRIFT_MAX, STEPS_MAX, STEPS_SINCE_MS};

/// Wall time in milliseconds since 1970 (UTC). It converts from and to [`SystemTime`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct WallClock(#[n(0)] pub u64);

impl WallClock {
    /// This time and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(milliseconds))
    }
}

/// Why terms or a position are refused that nobody can have reached step by step.
pub(crate) const COUNTED_TOO_FAR: &str = "its changes are counted further than they can be";

/// How far a revision or a generation may have been counted at `now`, if it was at `known` at some
/// time `since`.
pub(super) fn steps_within_reach(known: u64, since: WallClock, now: WallClock) -> u64 {
    let seconds = now.0.saturating_sub(since.0.max(STEPS_SINCE_MS)) / 1_000;
    known.saturating_add(STEPS_MAX).saturating_add(seconds)
}

/// Times before 1970 are taken as 1970.
impl From<SystemTime> for WallClock {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Times that the system cannot hold are taken as 1970.
impl From<WallClock> for SystemTime {
    fn from(time: WallClock) -> Self {
        UNIX_EPOCH.checked_add(Duration::from_millis(time.0)).unwrap_or(UNIX_EPOCH)
    }
}

/// A point of the hybrid clock: 48 bits of milliseconds since 1970, then 16 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Stamp(#[n(0)] u64);

const COUNTER_BITS: u32 = 16;

impl Stamp {
    /// The first stamp of a wall time. Times after the year 10889 are taken as that year.
    pub fn at(time: WallClock) -> Self {
        Self(time.0.min(u64::MAX >> COUNTER_BITS) << COUNTER_BITS)
    }

    /// The last stamp that may be given at a wall time: what is later lies in the future.
    pub fn latest_at(now: WallClock) -> Self {
        Self::at(now.plus(CLOCK_DRIFT_MAX))
    }

    /// The latest of all stamps.
    pub const MAX: Self = Self(u64::MAX);

    /// The wall time of the stamp.
    pub fn time(self) -> WallClock {
        WallClock(self.0 >> COUNTER_BITS)
    }

    /// The next stamp: one more in the counter, which carries into the milliseconds.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.time().0, self.0 & 0xffff)
    }
}

/// The hybrid clock of one node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    latest: Stamp,
}

impl Clock {
    /// A clock whose next stamp is after `latest`, the newest stamp that this node ever gave.
    pub fn after(latest: Stamp) -> Self {
        Self { latest }
    }

    /// Makes a stamp, later than any made or adopted before.
    pub fn tick(&mut self, now: WallClock) -> Stamp {
        self.latest = self.latest.next().max(Stamp::at(now));
        self.latest
    }

    /// Others confirm the time: what this node stamped in its future was stamped by a wrong clock,
    /// and the next stamp is of this time again. Whether that changed anything.
    pub fn confirm(&mut self, now: WallClock) -> bool {
        let was_ahead = self.latest > Stamp::latest_at(now);
        if was_ahead {
            self.latest = Stamp::at(now);
        }
        was_ahead
    }

    /// Adopts a stamp that this node gave itself in an earlier run and forgot. The next one is
    /// later, however far in the future that is.
    pub fn adopt(&mut self, own: Stamp) {
        self.latest = self.latest.max(own);
    }

    /// Observes a stamp from another node. A stamp from too far in the future is not adopted, so
    /// that one wrong clock does not drag the others along.
    pub fn observe(&mut self, now: WallClock, remote: Stamp) {
        if remote <= Stamp::latest_at(now) {
            self.latest = self.latest.max(remote);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_though_the_wall_clock_stands_or_goes_back() {
        let mut clock = Clock::default();
        let first = clock.tick(WallClock(1_000));
        let second = clock.tick(WallClock(1_000));
        let third = clock.tick(WallClock(10));
        assert!(first < second && second < third);
        assert_eq!(third.time(), WallClock(1_000));
        assert_eq!(clock.tick(WallClock(2_000)), Stamp::at(WallClock(2_000)));
    }

    #[test]
    fn a_clock_that_was_ahead_is_set_right_where_others_confirm_the_time() {
        let mut clock = Clock::default();
        let (wrong, now) = (WallClock(90_000_000), WallClock(1_000_000));
        clock.tick(wrong);
        assert!(clock.tick(now) > Stamp::at(wrong), "alone it goes on");
        assert!(clock.confirm(now));
        assert_eq!(clock.tick(now), Stamp::at(now).next());
        assert!(!clock.confirm(WallClock(950_000)), "a time within the drift is no mistake");
        assert!(clock.tick(WallClock(950_000)) > Stamp::at(now));
    }

    #[test]
    fn near_remote_stamps_are_adopted_and_far_ones_are_not() {
        let mut clock = Clock::default();
        let now = WallClock(1_000_000);
        clock.observe(now, Stamp::at(WallClock(1_050_000)));
        assert!(clock.tick(now) > Stamp::at(WallClock(1_050_000)));
        clock.observe(now, Stamp::at(WallClock(1_100_000)));
        assert!(clock.tick(now) < Stamp::at(WallClock(1_100_000)));
    }
}
