//! The terms of topics: how long records are kept, changing that, and deletion.

use antiphon::model::{Retention, TopicName};
use clap::Args;

use crate::values::{self, Floor, Limit};

/// How long tombstones are kept: longer than a reader or a node is away.
const KEEP_TOMBSTONES_MS: u64 = 7 * 24 * 3_600_000;

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Retain {
    /// Delete records that are older than this: `7d`, `none` [default: none]
    #[arg(long = "retain-age", value_name = "DURATION")]
    #[arg(value_parser = values::retain_age)]
    pub(crate) age: Option<Limit>,

    /// Delete the oldest when a replica has more bytes than this: `1GB`, `none`
    #[arg(long = "retain-bytes", value_name = "SIZE")]
    #[arg(value_parser = values::retain_bytes)]
    pub(crate) bytes: Option<Limit>,

    /// Delete the oldest when there are more records than this: `N`, `none`
    #[arg(long = "retain-records", value_name = "N")]
    #[arg(value_parser = values::retain_records)]
    pub(crate) records: Option<Limit>,

    /// Keep only the newest record of each key; this cannot be undone
    #[arg(long)]
    pub(crate) compact: bool,

    /// Delete a record with a key and no payload after this time [default: 7d]
    #[arg(long = "keep-tombstones", value_name = "DURATION")]
    #[arg(value_parser = values::keep_tombstones, requires = "compact")]
    pub(crate) tombstones: Option<u64>,
}

impl Retain {
    /// The limits of a new topic.
    pub(crate) fn limits(&self) -> Retention {
        let limit = |asked: Option<Limit>| asked.and_then(|limit| limit.0);
        Retention {
            age_ms: limit(self.age),
            bytes: limit(self.bytes),
            records: limit(self.records),
            tombstones_ms: self.tombstones_ms(),
        }
    }

    /// The limits that are to be changed, where zero stands for none.
    pub(crate) fn changes(&self) -> Retention {
        let change = |asked: Option<Limit>| asked.map(|limit| limit.0.unwrap_or(0));
        Retention {
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

/// Change how long a topic keeps its records, and on how many nodes
///
/// Other terms stay as they are. Higher limits do not bring deleted records back.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon alter quakes --retain-age 30d
  antiphon alter quakes --retain-bytes 1GB --retain-age none
  antiphon alter quakes --compact
  antiphon alter quakes --replicas 5 --min-copies 3")]
pub(crate) struct Alter {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Nodes that store the topic
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Least copies that acknowledge a record: `M`, or `auto`, which follows the number of nodes
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,

    #[command(flatten)]
    pub(crate) retain: Retain,
}

/// Delete a topic with all its records and subscriptions
///
/// This cannot be undone. A node that is away deletes its copies when it comes back. The name can be
/// used again, for a new topic.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon delete quakes
  antiphon delete quakes --yes                  do not ask, for scripts")]
pub(crate) struct Delete {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
