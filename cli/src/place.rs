//! `--from` and `--to`: where reading starts and ends.

use std::{str::FromStr, time::Duration};

use antiphon::model::{Cursor, CursorError, WallClock};
use antiphon_node::client::{End, Start};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{exit::Failure, values};

/// What `--from` and `--to` may say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// `start`: before the oldest record.
    #[default]
    Start,
    /// `end`: after the newest record.
    End,
    /// `-N`: before the last N records.
    Last(u64),
    /// `@-1h`: before the first record of this much time ago.
    Ago(Duration),
    /// `@TIME`: before the first record of this time.
    At(WallClock),
    /// A cursor: where a reader stood before.
    Cursor(Cursor),
}

const HINT: &str = "a place is `start`, `end`, `-10` (the last ten), `@-1h`, \
    `@2026-11-22T10:00`, `@2026-11-22T10:00:00Z` or a cursor from `antiphon info -v`";

impl FromStr for Place {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let usage = |message: String| Failure::usage(message).with_hint(HINT);
        match text {
            "start" => return Ok(Self::Start),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if let Some(count) = text.strip_prefix('-') {
            let count =
                count.parse().map_err(|_error| usage(format!("`{text}` is not a place")))?;
            return Ok(Self::Last(count));
        }
        if let Some(ago) = text.strip_prefix("@-") {
            return values::read_duration(ago).map(Self::Ago).map_err(usage);
        }
        if let Some(time) = text.strip_prefix('@') {
            return instant(time).map(Self::At).map_err(usage);
        }
        match text.parse() {
            Ok(cursor) => Ok(Self::Cursor(cursor)),
            Err(CursorError::Prefix) => Err(usage(format!("`{text}` is not a place"))),
            Err(error) => Err(usage(error.to_string())),
        }
    }
}

/// A time in RFC 3339, or without an offset in this machine's time zone.
fn instant(text: &str) -> Result<WallClock, String> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => text
            .parse::<DateTime>()
            .and_then(|time| TimeZone::system().to_timestamp(time))
            .map_err(|_error| format!("`{text}` is not a time"))?,
    };
    u64::try_from(time.as_millisecond())
        .map(WallClock)
        .map_err(|_negative| format!("`{text}` is before 1970"))
}

impl Place {
    /// Where a reader starts at the time `now`.
    ///
    /// # Errors
    /// When the time is to come.
    pub(crate) fn start(&self, now: WallClock) -> Result<Start, Failure> {
        self.check(now)?;
        Ok(match self {
            Self::Start => Start::Beginning,
            Self::End => Start::End,
            Self::Last(count) => Start::Last(*count),
            Self::Ago(ago) => Start::Since(before(now, *ago).into()),
            Self::At(time) => Start::Since((*time).into()),
            Self::Cursor(cursor) => Start::At(cursor.clone()),
        })
    }

    /// Where it ends.
    ///
    /// # Errors
    /// As [`Self::start`], and when nothing can be before it.
    pub(crate) fn end(&self, now: WallClock) -> Result<End, Failure> {
        self.check(now)?;
        Ok(match self {
            Self::Start => {
                let hint = "`--to end` stops at what is stored";
                return Err(Failure::usage("nothing is stored before the start").with_hint(hint));
            }
            Self::End => End::Stored,
            Self::Last(count) => End::BeforeLast(*count),
            Self::Ago(ago) => End::Before(before(now, *ago).into()),
            Self::At(time) => End::Before((*time).into()),
            Self::Cursor(cursor) => End::At(cursor.clone()),
        })
    }

    fn check(&self, now: WallClock) -> Result<(), Failure> {
        match self {
            Self::At(time) if *time > now => {
                let hint = "`antiphon subscribe TOPIC --from end` waits for new records; times \
                    without an offset are local";
                Err(Failure::usage("the time is in the future").with_hint(hint))
            }
            _ => Ok(()),
        }
    }
}

fn before(now: WallClock, ago: Duration) -> WallClock {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    WallClock(now.0.saturating_sub(ago))
}

/// Whether nothing can be between two places, whatever the topic has.
pub(crate) fn is_empty(start: &Start, end: &End) -> bool {
    match (start, end) {
        (Start::Since(from), End::Before(to)) => to <= from,
        (Start::End, End::Before(_) | End::BeforeLast(_)) => true,
        (Start::At(from), End::At(to)) => from != to && from.reaches(to),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallClock = WallClock(1_800_000_000_000);

    fn resolve(text: &str) -> Result<Start, Failure> {
        text.parse::<Place>()?.start(NOW)
    }

    #[test]
    fn places() {
        assert_eq!(resolve("start"), Ok(Start::Beginning));
        assert_eq!(resolve("end"), Ok(Start::End));
        assert_eq!(resolve("-10"), Ok(Start::Last(10)));
        assert_eq!(resolve("@-1h"), Ok(Start::Since(WallClock(NOW.0 - 3_600_000).into())));
        let time = Start::Since(WallClock(1_517_363_399_650).into());
        assert_eq!(resolve("@2018-01-31T01:49:59.650Z"), Ok(time.clone()));
        assert_eq!(resolve("@2018-01-31T02:49:59.65+01:00"), Ok(time));
    }

    #[test]
    fn ends() {
        let end = |text: &str| text.parse::<Place>()?.end(NOW);
        assert_eq!(end("end"), Ok(End::Stored));
        assert_eq!(end("-10"), Ok(End::BeforeLast(10)));
        assert_eq!(end("@-1h"), Ok(End::Before(WallClock(NOW.0 - 3_600_000).into())));
        for wrong in ["start", "@2999-01-01T00:00Z"] {
            assert!(end(wrong).unwrap_err().hint().is_some(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_between_a_place_and_an_earlier_one() {
        let between = |from: &str, to: &str| {
            let (from, to): (Place, Place) = (from.parse().unwrap(), to.parse().unwrap());
            is_empty(&from.start(NOW).unwrap(), &to.end(NOW).unwrap())
        };
        assert!(between("@-1m", "@-1h") && between("@-1h", "@-1h") && between("end", "@-1h"));
        assert!(between("end", "-3"));
        for (from, to) in
            [("@-1h", "@-1m"), ("start", "@-1h"), ("end", "end"), ("-10", "-5"), ("-5", "-10")]
        {
            assert!(!between(from, to), "{from} {to}");
        }
    }

    #[test]
    fn times_without_an_offset_are_local() {
        let local: DateTime = "2018-01-31T10:00".parse().unwrap();
        let time = TimeZone::system().to_timestamp(local).unwrap();
        let expected = WallClock(u64::try_from(time.as_millisecond()).unwrap());
        assert_eq!(resolve("@2018-01-31T10:00"), Ok(Start::Since(expected.into())));
    }

    #[test]
    fn a_bare_number_and_places_of_newer_programs_are_refused_as_such() {
        let said = |text| resolve(text).unwrap_err().to_string();
        assert_eq!(said("0"), "offsets are of ordered topics");
        assert_eq!(said("17"), "offsets are of ordered topics");
        assert_eq!(said("o1:AA"), "a place of a kind that this program does not know");
    }

    #[test]
    fn what_is_none_of_these_gets_a_hint() {
        for wrong in ["", "5", "-", "-x", "@", "@-", "@soon", "@2999-01-01T00:00Z", "c1:AAAA"] {
            let error = resolve(wrong).unwrap_err();
            assert!(error.hint().is_some(), "{wrong}: {error}");
        }
    }
}
