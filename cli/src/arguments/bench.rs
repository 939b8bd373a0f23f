//! What `bench` measures, and how.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::values;

/// Measure publishing, reading, live delivery and failures
///
/// It starts nodes of its own on this machine, each a process, unless `--node` names a running one.
/// At a running node it creates topics whose names begin with `bench-`, and deletes them at the
/// end. Published records are fetched and counted, so no figure counts lost records.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon bench
  antiphon bench publish --size 1KiB --in-flight 8192 --rounds 5
  antiphon bench publish fetch --json
  antiphon bench publish latency --closed
  antiphon bench fanout --subscribers 20 --nodes 5 --rate 20000
  antiphon bench publish --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…
  antiphon bench all --plot plots --csv figures.csv

Times are in milliseconds. With `--rate` they count from the moment at which a record was due. So a \
pause counts for all records that were due in it.

In a pipe, columns are separated by tabs and have no header: case, records, records per second, MB/s, \
p50, p90, p99, p99.9, longest, range of the rounds, other figures.")]
pub(crate) struct Bench {
    /// What to measure [default: publish, latency, fetch and fanout]
    #[arg(value_enum, value_name = "CASE")]
    pub(crate) cases: Vec<BenchCase>,

    /// Bytes of a record's payload [default: 128; catch-up and restart 1KiB]
    #[arg(long, value_name = "BYTES", value_parser = values::payload_bytes)]
    pub(crate) size: Option<u32>,

    /// Fill the records from this file [default: noise, which does not compress]
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_from: Option<PathBuf>,

    /// Records, or topics for `create` and `topics` [default: enough for some seconds]
    #[arg(long, alias = "messages", value_name = "N")]
    #[arg(value_parser = values::number::<u64>(1..=u64::MAX))]
    pub(crate) records: Option<u64>,

    /// Records that a publisher has in flight [default: 512]
    #[arg(long, value_name = "N", value_parser = values::number::<u32>(1..=1_000_000))]
    pub(crate) in_flight: Option<u32>,

    /// Publishers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = values::number::<u16>(1..=256))]
    pub(crate) publishers: u16,

    /// Subscribers of `fanout`, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = values::number::<u16>(1..=1_000))]
    pub(crate) subscribers: u16,

    /// Records per second [default: 1000 for fanout and failover, else no limit]
    #[arg(long, value_name = "N", value_parser = values::number::<u32>(1..=1_000_000))]
    pub(crate) rate: Option<u32>,

    /// Seconds of a load with `--rate` [default: 10]
    #[arg(long, value_name = "S", value_parser = values::number::<u32>(1..=86_400))]
    pub(crate) seconds: Option<u32>,

    /// Nodes to start [default: 3; join 50]
    #[arg(long, value_name = "N", value_parser = values::number::<u16>(1..=128))]
    pub(crate) nodes: Option<u16>,

    /// Probation of the nodes that it starts, as of `antiphon node` [default: 24h]
    ///
    /// `0s` measures nodes that have known each other for a day.
    #[arg(long, value_name = "DURATION", value_parser = values::duration_or_zero)]
    pub(crate) probation: Option<Duration>,

    /// Start nodes of a closed network
    #[arg(long)]
    pub(crate) closed: bool,

    /// Replicas of the topics
    #[arg(long, value_name = "N", value_parser = values::replicas, default_value = "3")]
    pub(crate) replicas: u16,

    /// Rounds of each case; the median is printed, and the range
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = values::number::<u16>(1..=100))]
    pub(crate) rounds: u16,

    /// Do a hundredth of the work, as a trial
    #[arg(long)]
    pub(crate) short: bool,

    /// Keep the topics that it creates at a running node
    #[arg(long)]
    pub(crate) keep: bool,

    /// File for the figures, as comma-separated values [default: no file]
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Directory for plots of the figures, as SVG and PNG [default: no plots]
    ///
    /// With `publish`, the record size, records in flight, nodes and replicas are varied too.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
}

/// What `bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum BenchCase {
    /// Topics created one after the other
    Create,
    /// Records acknowledged per second
    Publish,
    /// One record at a time, and the `publish` command from start to exit
    Latency,
    /// Stored records read, through the library and by `fetch --raw`
    Fetch,
    /// Live delivery: at a pace, and as fast as it goes
    Fanout,
    /// A paced load while the topic's owner is killed
    Failover,
    /// A replica that was away gets what it missed
    CatchUp,
    /// Many topics at once, and what they cost an idle node
    Topics,
    /// Many nodes find each other
    Join,
    /// The start of a node with data
    Restart,
    /// All of these
    All,
}
