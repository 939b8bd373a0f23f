//! Topics: creating, listing, comparing, altering and deleting them.

use std::time::Duration;

use antiphon::model::{TopicName, TopicPattern};
use clap::Args;

use super::Retain;
use crate::values::{self, Floor};

/// Create a topic
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon create quakes
  antiphon create quakes --replicas 5 --min-copies 3
  antiphon create quakes --retain-age 7d --retain-bytes 1GB
  antiphon create stations --compact
  antiphon create quakes --if-not-exists --json

Retention: each replica deletes whole batches, the oldest first. It may keep up to 1/32 more than the \
limits say.

Compaction: a batch is deleted once each of its records has a newer record with the same key. Records \
without a key stay.")]
pub(crate) struct Create {
    /// Name of the topic: up to 255 bytes in any script
    #[arg(value_parser = values::new_topic)]
    pub(crate) topic: TopicName,

    /// Nodes that store the topic [default: 3]
    ///
    /// If there are fewer nodes, the topic spreads as others join.
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Fewest copies that acknowledge a record: a number, or `auto` [default: auto]
    ///
    /// `auto` is 2 while three or more nodes belong to the network, else 1. A node that is away
    /// belongs to it until it is forgotten.
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,

    #[command(flatten)]
    pub(crate) retain: Retain,

    /// Succeed if the topic exists already, with the terms that are given
    #[arg(long)]
    pub(crate) if_not_exists: bool,
}

/// List the topics of the network, or those that match a pattern
///
/// In a pattern, `*` stands for one part of a name, and `>` at the end for one or more parts.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topics
  antiphon topics 'sensors.*.temp'
  antiphon topics 'sensors.>' --json | jq -r .topic

In a pipe, columns are separated by tabs and have no header: topic, replicas wanted, fewest copies, \
replicas that exist, records.")]
pub(crate) struct Topics {
    /// Only topics whose names match [default: all topics]
    #[arg(value_parser = values::pattern)]
    pub(crate) pattern: Option<TopicPattern>,
}

/// Show the replicas of a topic and what they hold
///
/// `--verbose` and `--json` add addresses, the topic's id, and the cursor at its end.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon info quakes
  antiphon info quakes --json | jq -r .cursor")]
pub(crate) struct Info {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,
}

/// Compare what the replicas of topics have on their disks
///
/// Every replica reads all its records and checks every byte. Damaged records are fetched again
/// from another replica. The command fails unless all replicas hold the same.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topic verify quakes
  antiphon topic verify                               all topics
  antiphon topic verify quakes --repair               wait for the repair, and compare again

In a pipe, columns are separated by tabs and have no header: replica, role, records held, missing, \
damaged, different.")]
pub(crate) struct Verify {
    /// Name of the topic [default: all topics]
    #[arg(value_parser = values::topic)]
    pub(crate) topic: Option<TopicName>,

    /// If replicas differ, wait until they are repaired, and compare again; for the operator of the
    /// connected node
    #[arg(long)]
    pub(crate) repair: bool,

    /// Longest time to wait for the repair of a topic
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "5m")]
    pub(crate) within: Duration,
}

/// Change how long a topic keeps its records, and on how many nodes
///
/// Options that are not given leave their terms unchanged. Higher limits do not bring deleted
/// records back.
///
/// The operator of the connected node may do this: the user who runs it, or `--operator-key`.
/// Others may if the node is started with `--open-admin`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topic alter quakes --retain-age 30d
  antiphon topic alter quakes --retain-bytes 1GB --retain-age none
  antiphon topic alter quakes --compact
  antiphon topic alter quakes --replicas 5 --min-copies 3")]
pub(crate) struct Alter {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Nodes that store the topic [default: unchanged]
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Fewest copies that acknowledge a record: a number, or `auto` [default: unchanged]
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,

    #[command(flatten)]
    pub(crate) retain: Retain,
}

/// Delete a topic with all its records and subscriptions
///
/// This cannot be undone. A node that is away deletes its copies when it comes back. A new topic
/// may have the same name.
///
/// The operator of the connected node may do this: the user who runs it, or `--operator-key`.
/// Others may if the node is started with `--open-admin`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topic delete quakes
  antiphon topic delete quakes --yes                  do not ask, for scripts")]
pub(crate) struct Delete {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
