//! `--from`: where reading starts.

use std::{str::FromStr, time::Duration};

use antiphon::model::{Cursor, CursorError, Network, TopicId, TopicName, WallClock};
use antiphon_node::client::Start;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::exit::Failure;

/// What `--from` may say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// `start`: at the oldest record.
    #[default]
    Start,
    /// `end`: after the newest record.
    End,
    /// `-N`: at the last N records.
    Last(u64),
    /// `@-1h`: at the first record of this much time ago.
    Ago(Duration),
    /// `@TIME`: at the first record of this time.
    At(WallClock),
    /// A cursor: where a reader stood before.
    Cursor(Cursor),
}

const HINT: &str = "`--from` takes `start`, `end`, `-10` (the last ten), `@-1h`, \
    `@2026-11-22T10:00`, `@2026-11-22T10:00:00Z` or a cursor from `antiphon info`";

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
                count.parse().map_err(|_invalid| usage(format!("`{text}` is not a count")))?;
            return Ok(Self::Last(count));
        }
        if let Some(ago) = text.strip_prefix("@-") {
            let ago = humantime::parse_duration(ago)
                .map_err(|error| usage(format!("`{text}` is not a time ago: {error}")))?;
            return Ok(Self::Ago(ago));
        }
        if let Some(time) = text.strip_prefix('@') {
            return instant(time).map(Self::At).map_err(usage);
        }
        match text.parse() {
            Ok(cursor) => Ok(Self::Cursor(cursor)),
            Err(CursorError::Damaged) => Err(usage(CursorError::Damaged.to_string())),
            Err(CursorError::Prefix) => Err(usage(format!("`{text}` is no place to start"))),
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
            .map_err(|error| format!("`{text}` is not a time: {error}"))?,
    };
    u64::try_from(time.as_millisecond())
        .map(WallClock)
        .map_err(|_negative| format!("`{text}` is before 1970, when no record was published"))
}

impl Place {
    /// The start for a reader of `topic` at the time `now`.
    ///
    /// # Errors
    /// When the time is to come, or the cursor is of another topic.
    pub(crate) fn resolve(
        &self,
        now: WallClock,
        network: &Network,
        topic: &TopicName,
    ) -> Result<Start, Failure> {
        Ok(match self {
            Self::Start => Start::Beginning,
            Self::End => Start::End,
            Self::Last(count) => Start::Last(*count),
            Self::Ago(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                Start::Since(WallClock(now.0.saturating_sub(ago)))
            }
            Self::At(time) if *time > now => {
                let hint = "`--from end` waits for what comes; times without an offset are local";
                return Err(Failure::usage("the time is in the future").with_hint(hint));
            }
            Self::At(time) => Start::Since(*time),
            Self::Cursor(cursor) if cursor.topic != TopicId::derive(network, topic) => {
                let message = format!("the cursor is not one of topic `{topic}`");
                let hint = "a cursor holds for its own topic and network; \
                    `antiphon info TOPIC` shows the topic's";
                return Err(Failure::usage(message).with_hint(hint));
            }
            Self::Cursor(cursor) => Start::At(cursor.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallClock = WallClock(1_800_000_000_000);

    fn resolve(text: &str) -> Result<Start, Failure> {
        let topic = "quakes".parse().unwrap();
        text.parse::<Place>()?.resolve(NOW, &Network::default(), &topic)
    }

    #[test]
    fn places() {
        assert_eq!(resolve("start"), Ok(Start::Beginning));
        assert_eq!(resolve("end"), Ok(Start::End));
        assert_eq!(resolve("-10"), Ok(Start::Last(10)));
        assert_eq!(resolve("@-1h"), Ok(Start::Since(WallClock(NOW.0 - 3_600_000))));
        let time = Start::Since(WallClock(1_517_363_399_650));
        assert_eq!(resolve("@2018-01-31T01:49:59.650Z"), Ok(time.clone()));
        assert_eq!(resolve("@2018-01-31T02:49:59.65+01:00"), Ok(time));
    }

    #[test]
    fn times_without_an_offset_are_local() {
        let local: DateTime = "2018-01-31T10:00".parse().unwrap();
        let time = TimeZone::system().to_timestamp(local).unwrap();
        let expected = WallClock(u64::try_from(time.as_millisecond()).unwrap());
        assert_eq!(resolve("@2018-01-31T10:00"), Ok(Start::Since(expected)));
    }

    #[test]
    fn cursors_hold_for_their_topic() {
        let topic = |name: &str| TopicId::derive(&Network::default(), &name.parse().unwrap());
        let own = Cursor::start(topic("quakes"));
        assert_eq!(resolve(&own.to_string()), Ok(Start::At(own)));
        let other = Cursor::start(topic("other")).to_string();
        let error = resolve(&other).unwrap_err();
        assert!(error.to_string().contains("not one of topic `quakes`"), "{error}");
        assert!(error.hint().unwrap().contains("antiphon info"));
    }

    #[test]
    fn what_is_none_of_these_gets_a_hint() {
        for wrong in ["", "5", "-", "-x", "@", "@-", "@soon", "@2999-01-01T00:00Z", "c1:AAAA"] {
            let error = resolve(wrong).unwrap_err();
            assert!(error.hint().is_some(), "{wrong}: {error}");
        }
    }
}
