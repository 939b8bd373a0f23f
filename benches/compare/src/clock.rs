//! The one place that reads the clock.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn microseconds_since(start: Instant) -> f64 {
    now().duration_since(start).as_secs_f64() * 1e6
}
