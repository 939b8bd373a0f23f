//! Counts, sizes and times as people say them.

use std::time::Duration;

use antiphon::model::WallClock;

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun: `1 record`, `1,707 records`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(count))
}

/// A number of bytes in the unit that it was probably given in: `1 GB`, `64 MiB`, `1.3 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const DECIMAL: [(u64, &str); 5] = [
        (1_000_000_000_000_000, "PB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    const BINARY: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = |(unit, _): &&(u64, &str)| bytes >= *unit;
    let Some((unit, name)) = DECIMAL.iter().find(fits) else {
        return format!("{bytes} B");
    };
    let is_whole = |unit: u64| bytes.is_multiple_of(unit) && bytes / unit < 10_000;
    if is_whole(*unit) {
        return format!("{} {name}", bytes / unit);
    }
    if let Some((unit, name)) = BINARY.iter().find(|(unit, _)| bytes >= *unit && is_whole(*unit)) {
        return format!("{} {name}", bytes / unit);
    }
    // Rounded to tenths without a float.
    let tenths = (u128::from(bytes) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
    }
}

/// How long it is until a time: whole days, or less than one in at most two units.
pub(crate) fn until(time: WallClock, now: WallClock) -> String {
    let left = Duration::from_millis(time.0.saturating_sub(now.0));
    match left.as_secs() / DAY_SECONDS {
        0 => brief(left),
        days => counted(days, "day"),
    }
}

const DAY_SECONDS: u64 = 24 * 60 * 60;

const UNITS: [(u128, &str, &str); 5] = [
    (86_400_000, "day", "d"),
    (3_600_000, "hour", "h"),
    (60_000, "minute", "m"),
    (1_000, "second", "s"),
    (1, "millisecond", "ms"),
];

/// A duration in full: `365 days`, `1 day 12 hours`, `1 minute 30 seconds`.
pub(crate) fn duration(duration: Duration) -> String {
    let parts = parts(duration.as_millis());
    let words = parts.map(|(count, noun, _)| counted(count, noun));
    let words: Vec<_> = words.collect();
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// A duration for a column of a table, in whole seconds and at most two units: `12d 3h`, `1m 30s`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = u128::from(duration.as_secs()) * 1_000;
    let words: Vec<_> =
        parts(seconds).take(2).map(|(count, _, unit)| format!("{count}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

fn parts(mut milliseconds: u128) -> impl Iterator<Item = (u64, &'static str, &'static str)> {
    UNITS.into_iter().filter_map(move |(unit, noun, short)| {
        let count = milliseconds / unit;
        milliseconds %= unit;
        (count > 0).then(|| (u64::try_from(count).unwrap_or(u64::MAX), noun, short))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 7, 999, 1_000, 829_917, 1_234_567, 12_345_678].map(grouped);
        let expected = ["0", "7", "999", "1,000", "829,917", "1,234,567", "12,345,678"];
        assert_eq!(texts, expected);
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(1_707, "record"), "1,707 records");
    }

    #[test]
    fn sizes_read_as_they_were_given() {
        let of = |text: &str| size(text.parse::<bytesize::ByteSize>().unwrap().as_u64());
        for given in ["1 GB", "50 MB", "1.5 GB", "64 MiB", "1 GiB", "128 B", "20 kB", "3 TB"] {
            assert_eq!(of(given), given);
        }
        assert_eq!(size(1_048_577), "1 MB");
        assert_eq!(size(1_333_333), "1.3 MB");
        assert_eq!(size(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn durations_read_as_they_were_given() {
        let text = |text: &str| duration(humantime::parse_duration(text).unwrap());
        let pairs = [
            ("365d", "365 days"),
            ("7d", "7 days"),
            ("1d", "1 day"),
            ("36h", "1 day 12 hours"),
            ("90s", "1 minute 30 seconds"),
            ("1500ms", "1 second 500 milliseconds"),
            ("0s", "0 seconds"),
        ];
        for (given, expected) in pairs {
            assert_eq!(text(given), expected);
        }
    }

    #[test]
    fn what_is_far_away_is_told_in_days() {
        let text = |ms| until(WallClock(ms), WallClock(1_000));
        assert_eq!(text(90 * 86_400_000), "89 days");
        assert_eq!((text(3_601_000), text(0)), ("1h".to_owned(), "0s".to_owned()));
    }

    #[test]
    fn brief_durations_have_two_units() {
        let text = |text: &str| brief(humantime::parse_duration(text).unwrap());
        let pairs =
            [("90s", "1m 30s"), ("400d 3h 5m", "400d 3h"), ("999ms", "0s"), ("1h 1ms", "1h")];
        for (given, expected) in pairs {
            assert_eq!(text(given), expected);
        }
    }
}
