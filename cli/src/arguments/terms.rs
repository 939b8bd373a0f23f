//! How long topics keep their records.

use std::num::NonZeroU64;

use antiphon::model::{LimitChange, Retention, RetentionChange};
use clap::Args;

use crate::values::{self, Limit};

/// How long tombstones are kept: longer than a reader or a node is away.
const KEEP_TOMBSTONES_MS: u64 = 7 * 24 * 3_600_000;

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Retain {
    /// Delete records that are older than this: `7d`, or `none` for no limit
    #[arg(long = "retain-age", value_name = "DURATION")]
    #[arg(value_parser = values::retain_age)]
    pub(crate) age: Option<Limit>,

    /// Delete the oldest records when a replica has more bytes: `1GB`, or `none` for no limit
    #[arg(long = "retain-bytes", value_name = "SIZE")]
    #[arg(value_parser = values::retain_bytes)]
    pub(crate) bytes: Option<Limit>,

    /// Delete the oldest records when there are more than N, or `none` for no limit
    #[arg(long = "retain-records", value_name = "N")]
    #[arg(value_parser = values::retain_records)]
    pub(crate) records: Option<Limit>,

    /// Keep only the newest record of each key; this cannot be undone
    #[arg(long)]
    pub(crate) compact: bool,

    /// Delete tombstones, records with a key and no payload, after this time [default: 7d]
    #[arg(long = "keep-tombstones", value_name = "DURATION")]
    #[arg(value_parser = values::keep_tombstones, requires = "compact")]
    pub(crate) tombstones: Option<u64>,
}

impl Retain {
    /// The limits of a new topic.
    pub(crate) fn limits(&self) -> Retention {
        let limit = |asked: Option<Limit>| asked.and_then(|limit| limit.0).map(NonZeroU64::get);
        Retention {
            age_ms: limit(self.age),
            bytes: limit(self.bytes),
            records: limit(self.records),
            tombstones_ms: self.tombstones_ms(),
        }
    }

    /// The limits that change.
    pub(crate) fn changes(&self) -> RetentionChange {
        let change = |asked: Option<Limit>| asked.map_or(LimitChange::Keep, |to| to.0.into());
        RetentionChange {
            age_ms: change(self.age),
            bytes: change(self.bytes),
            records: change(self.records),
            tombstones_ms: self.tombstones_ms(),
        }
    }

    fn tombstones_ms(&self) -> Option<u64> {
        self.compact.then(|| self.tombstones.unwrap_or(KEEP_TOMBSTONES_MS))
    }
}
