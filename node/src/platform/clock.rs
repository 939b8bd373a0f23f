//! The only place that reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon::{engine::Now, model::WallClock};

/// The clocks of one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the one reader of clocks")]
    pub(crate) fn start() -> Self {
        Self { started: tokio::time::Instant::now() }
    }

    /// What the clocks say.
    pub(crate) fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), wall: wall() }
    }

    /// The instant that is so long after the start.
    pub(crate) fn at(&self, elapsed: Duration) -> tokio::time::Instant {
        self.started + elapsed
    }
}

/// The wall clock. Before 1970 it is 1970.
#[expect(clippy::disallowed_methods, reason = "the one reader of clocks")]
pub(crate) fn wall() -> WallClock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
