//! What a node could not bring to enough replicas yet.

use std::{
    ffi::OsString,
    str::FromStr,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{clock, exit::Failure, values};

/// List records that a node has accepted and not yet replicated
///
/// The node is the one that this command talks to: name it by `--node` if several run here. Pending
/// records are on its disk. They are delivered when replicas are back.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon outbox
  antiphon outbox --json | jq -r 'select(.away != []) | .topic'
  antiphon outbox --wait=10m && poweroff

In a pipe, columns are separated by tabs and have no header: topic, records, age of the oldest, \
copies that exist and that are needed.")]
pub(crate) struct Outbox {
    /// Wait until nothing is pending, at most for DURATION [default: do not wait; without DURATION,
    /// no limit]
    ///
    /// After that time the pending records are listed, with exit status 3.
    #[arg(long, value_name = "DURATION", value_parser = str::parse::<Patience>)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = Patience::ENDLESS)]
    pub(crate) wait: Option<Patience>,
}

/// For how long to wait for copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes.
    Endless,
    /// For so long.
    For(Duration),
}

impl Patience {
    /// How the patience is written that has no end.
    pub(crate) const ENDLESS: &str = "forever";

    /// What is wrong where the time stands behind `--wait` as a word of its own: it would be taken
    /// for something else, such as a message.
    pub(crate) fn detached(words: &[OsString]) -> Option<Failure> {
        let words = words.iter().take_while(|word| *word != "--");
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap_or_default()).collect();
        let time = words.windows(2).find_map(|two| (two[0] == "--wait").then_some(two[1]))?;
        let is_number = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = time == Self::ENDLESS || humantime::parse_duration(time).is_ok();
        (is_number || is_time).then(|| {
            let unit = if is_number { "s" } else { "" };
            let hint = format!(
                "write `--wait={time}{unit}`; if `{time}` is a message, write it before `--wait`"
            );
            Failure::usage(format!("`--wait {time}`: write the time of `--wait` after `=`"))
                .with_hint(hint)
        })
    }

    /// When it is over, if it begins now.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Endless => None,
            Self::For(duration) => clock::instant().checked_add(duration),
        }
    }
}

impl FromStr for Patience {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        if text == Self::ENDLESS {
            return Ok(Self::Endless);
        }
        values::duration(text).map(Self::For)
    }
}
