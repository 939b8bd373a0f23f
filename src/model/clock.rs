//! The hybrid logical clock.
//!
//! After "Logical Physical Clocks" (Kulkarni et al., 2014): a stamp is wall time where that
//! advances and a counter where it does not, so stamps of one node always rise and a stamp
//! made after seeing another is later than it. Stamps order what readers are shown; nothing
//! that must be correct depends on them.

use std::{fmt, time::Duration};

use minicbor::{Decode, Encode};

use crate::limits::CLOCK_DRIFT_MAX;

/// Wall time in milliseconds since 1970 (UTC), as a node's runtime reads it.
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

    /// Takes note of a stamp that this node gave itself, in an earlier life that it forgot. The
    /// next one is later, however far in the future that is.
    pub fn adopt(&mut self, own: Stamp) {
        self.latest = self.latest.max(own);
    }

    /// Takes note of a stamp from elsewhere. A stamp from too far in the future is not adopted,
    /// so that one wrong clock does not drag the others along.
    pub fn observe(&mut self, now: WallClock, remote: Stamp) {
        if remote <= Stamp::at(now.plus(CLOCK_DRIFT_MAX)) {
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
    fn near_remote_stamps_are_adopted_and_far_ones_are_not() {
        let mut clock = Clock::default();
        let now = WallClock(1_000_000);
        clock.observe(now, Stamp::at(WallClock(1_050_000)));
        assert!(clock.tick(now) > Stamp::at(WallClock(1_050_000)));
        clock.observe(now, Stamp::at(WallClock(1_100_000)));
        assert!(clock.tick(now) < Stamp::at(WallClock(1_100_000)));
    }
}
