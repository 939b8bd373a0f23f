//! Terms that were asked for, of a topic that is there already and has others.

use std::num::NonZeroU64;

use antiphon::wire::TopicSummary;

use crate::{
    arguments::Create,
    exit::Failure,
    values::{Floor, Limit},
};

/// A term that was asked for and that the topic does not have.
struct Differing {
    /// What was asked for, and what there is.
    said: String,
    /// The option of `alter` that sets it.
    option: String,
}

/// Why a topic that is there is not the one that was asked for; none where it has all the terms
/// that were given.
pub(super) fn check(asked: &Create, has: &TopicSummary) -> Result<(), Failure> {
    let differing = differing(asked, has);
    if differing.is_empty() {
        return Ok(());
    }
    let said: Vec<_> = differing.iter().map(|term| term.said.as_str()).collect();
    let options: Vec<_> = differing.iter().map(|term| term.option.as_str()).collect();
    let message = format!("topic `{}` has other terms: {}", has.name, said.join("; "));
    let name = crate::hints::quoted(has.name.as_str());
    let hint = format!("`antiphon topic alter {name} {}` changes them", options.join(" "));
    Err(Failure::failed(message).with_hint(hint))
}

fn differing(asked: &Create, has: &TopicSummary) -> Vec<Differing> {
    let number = |asked: Option<u16>, has: u16, option: &str, what: &str| {
        let asked = asked.filter(|asked| *asked != has)?;
        Some(Differing {
            said: format!("asked for {asked} {what}, has {has}"),
            option: format!("{option} {asked}"),
        })
    };
    let limit = |asked: Option<Limit>, has: Option<u64>, option: &str, text: fn(u64) -> String| {
        let asked = asked?.0.map(NonZeroU64::get);
        if asked == has {
            return None;
        }
        let text = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), text);
        let option = format!("{option} {}", text(asked));
        Some(Differing { said: format!("asked for `{option}`, has `{}`", text(has)), option })
    };
    let (retain, kept) = (&asked.retain, &has.retention);
    let tombstones = retain.tombstones.map(|asked| Limit(NonZeroU64::new(asked)));
    let compaction = match kept.tombstones_ms {
        None if retain.compact => Some(Differing {
            said: "asked for compaction, has none".to_owned(),
            option: "--compact".to_owned(),
        }),
        None => None,
        Some(_) => limit(tombstones, kept.tombstones_ms, "--compact --keep-tombstones", age),
    };
    let terms = [
        number(asked.replicas, has.replicas, "--replicas", "replicas"),
        floor(asked.min_copies, has),
        limit(retain.age, kept.age_ms, "--retain-age", age),
        limit(retain.bytes, kept.bytes, "--retain-bytes", size),
        limit(retain.records, kept.records, "--retain-records", |records| records.to_string()),
        compaction,
    ];
    terms.into_iter().flatten().collect()
}

fn floor(asked: Option<Floor>, has: &TopicSummary) -> Option<Differing> {
    let (asked, is_same) = match asked? {
        Floor::Auto => ("auto".to_owned(), has.floor_follows),
        Floor::Copies(copies) => (copies.to_string(), copies == has.min_copies),
    };
    let auto = if has.floor_follows { " (auto)" } else { "" };
    (!is_same).then(|| Differing {
        said: format!("asked for {asked} copies at least, has {}{auto}", has.min_copies),
        option: format!("--min-copies {asked}"),
    })
}

/// Milliseconds as options take them, in the largest unit of which they are a multiple.
fn age(milliseconds: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    in_units(milliseconds, &units, "ms")
}

/// Bytes as options take them.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("MB", 1_000_000)];
    in_units(bytes, &units, "B")
}

fn in_units(number: u64, units: &[(&str, u64)], least: &str) -> String {
    let fitting = units.iter().find(|(_, of)| number >= *of && number.is_multiple_of(*of));
    fitting
        .map_or_else(|| format!("{number}{least}"), |(unit, of)| format!("{}{unit}", number / of))
}

#[cfg(test)]
mod tests {
    use antiphon::model::Retention;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn asked(options: &str) -> Create {
        let line = format!("antiphon create t --if-not-exists {options}");
        let words: Vec<_> = line.split_whitespace().map(std::ffi::OsString::from).collect();
        match Arguments::read(&words).unwrap().command {
            Command::Create(create) => create,
            other => panic!("{other:?}"),
        }
    }

    fn topic(retention: Retention) -> TopicSummary {
        TopicSummary {
            name: "t".parse().unwrap(),
            replicas: 3,
            min_copies: 2,
            owners: Vec::new(),
            records: 0,
            nodes_alive: 3,
            retention,
            floor_follows: false,
        }
    }

    #[test]
    fn terms_that_are_the_same_or_not_given_do_not_differ() {
        let kept = Retention {
            age_ms: Some(604_800_000),
            bytes: Some(1_000_000_000),
            records: None,
            tombstones_ms: Some(3_600_000),
        };
        for same in [
            "",
            "--replicas 3 --min-copies 2",
            "--retain-age 7d --retain-bytes 1GB --retain-records none",
            "--compact",
            "--compact --keep-tombstones 1h",
        ] {
            assert_eq!(check(&asked(same), &topic(kept)), Ok(()), "{same}");
        }
    }

    #[test]
    fn each_term_that_differs_is_named_with_the_way_to_change_it() {
        let kept = Retention { age_ms: Some(604_800_000), ..Retention::default() };
        for (options, said, hint) in [
            ("--replicas 5", "asked for 5 replicas, has 3", "--replicas 5"),
            ("--min-copies 1", "asked for 1 copies at least, has 2", "--min-copies 1"),
            ("--retain-age 90s", "asked for `--retain-age 90s`, has `7d`", "--retain-age 90s"),
            ("--retain-age none", "has `7d`", "--retain-age none"),
            ("--retain-bytes 1GiB", "has `none`", "--retain-bytes 1GiB"),
            ("--retain-records 10", "has `none`", "--retain-records 10"),
            ("--compact", "asked for compaction, has none", "--compact"),
        ] {
            let failure = check(&asked(options), &topic(kept)).unwrap_err();
            assert!(failure.to_string().contains(said), "{failure}");
            let hint = format!("antiphon topic alter t {hint}`");
            assert!(failure.hint().unwrap().contains(&hint), "{failure:?}");
        }
        let compacted = Retention { tombstones_ms: Some(604_800_000), ..kept };
        let failure = check(&asked("--compact --keep-tombstones 1h"), &topic(compacted));
        assert!(failure.unwrap_err().to_string().contains("--keep-tombstones 1h`, has `7d`"));
    }
}
