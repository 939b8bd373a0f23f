//! What `bench` measures, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::values;

/// Measure publishing, reading, live delivery, failures and many topics
///
/// Starts nodes of its own on this machine, each a process, unless `--node` names a running one: there
/// it creates topics whose names begin with `bench-`. What was published is fetched and counted, so
/// that no figure is one of records that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon bench
  antiphon bench publish --size 1KiB --in-flight 8192 --rounds 5
  antiphon bench publish fetch --json
  antiphon bench fanout --subscribers 20 --nodes 5 --rate 20000
  antiphon bench publish --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…
  antiphon bench all --plot plots --csv figures.csv

Times are in milliseconds. Where the load has a given pace they count from when a record was due,
not from when it was sent, so that a pause is felt by all that was due in it. On a terminal the
columns are aligned under a header; elsewhere they are separated by tabs: case, records, records per
second, MB/s, p50, p90, p99, p99.9, longest, range of the rounds, what else there is to tell.")]
pub(crate) struct Bench {
    /// What to measure [default: publish, latency, fetch and fanout]
    #[arg(value_enum, value_name = "CASE")]
    pub(crate) cases: Vec<BenchCase>,

    /// Bytes of a record's payload [default: 128; catch-up and restart 1KiB]
    #[arg(long, value_name = "BYTES", value_parser = values::payload_bytes)]
    pub(crate) size: Option<u32>,

    /// Fill the records with what this file holds, in place of noise that no compression makes smaller
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_from: Option<PathBuf>,

    /// Records, or topics for `create` and `topics` [default: what takes some seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,

    /// Records that a publisher has under way at a time [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight: Option<u32>,

    /// Publishers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) publishers: u16,

    /// Subscribers of `fanout`, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) subscribers: u16,

    /// Records per second: fanout and failover [default: 1000], publish [default: all it can]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,

    /// Seconds of a paced load [default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: Option<u32>,

    /// Nodes to start [default: 3; join 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) nodes: Option<u16>,

    /// Replicas of the topics
    #[arg(long, value_name = "N", value_parser = values::replicas, default_value = "3")]
    pub(crate) replicas: u16,

    /// How often each case is measured; the median is told, with the least and the most
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,

    /// Do a hundredth of the work: shows that it works, not how fast
    #[arg(long)]
    pub(crate) short: bool,

    /// Write the figures to a file as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Draw the figures into a directory, as SVG and PNG
    ///
    /// With `publish` the load is varied as well: by record size, records in flight, nodes and replicas.
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
