//! The one place where the command reads a clock, and how it writes times.

use std::{
    fmt::{self, Display},
    time::{Duration, Instant, SystemTime},
};

use antiphon::model::WallClock;
use jiff::Timestamp;

/// Wall time, for the records that are published and for the times that users name.
pub(crate) fn now() -> WallClock {
    #[expect(clippy::disallowed_methods, reason = "the command's one read of the wall clock")]
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    WallClock(since_1970.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// Time that only goes forward, for durations and deadlines.
pub(crate) fn instant() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the command's one read of the steady clock")]
    Instant::now()
}

/// Waits until `deadline`; for ever when there is none.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// A duration for people: whole milliseconds below ten seconds, whole seconds above.
pub(crate) fn readable(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

/// A time in RFC 3339, in UTC with milliseconds; none after the year 9999, which no honest clock
/// shows.
pub(crate) fn rfc3339(time: WallClock) -> Option<impl Display> {
    let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(milliseconds).ok()?;
    Some(fmt::from_fn(move |formatter| write!(formatter, "{time:.3}")))
}
