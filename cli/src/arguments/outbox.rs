//! What a node could not bring to enough replicas yet.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{clock, exit::Failure, values};

/// List what is pending at a node: taken, and not known to have its copies yet
///
/// The node is the one that this command talks to: name it by `--node` where several run here. What
/// is pending is on its disk, and goes to the replicas by itself when they are back.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon outbox
  antiphon outbox --json | jq -r 'select(.away != []) | .topic'
  antiphon outbox --wait=10m && poweroff

On a terminal the columns are aligned under a header; elsewhere they are separated by tabs:
topic, records, age of the oldest, copies that there are and that are wanted.")]
pub(crate) struct Outbox {
    /// Wait until nothing is pending, for at most so long [default: without an end]
    ///
    /// Exit status 3 if something still is, which is listed.
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
