//! Publishing.

use std::path::PathBuf;

use antiphon::{model::TopicName, wire::Acks};
use bytes::Bytes;
use clap::{Args, ValueEnum};

use super::Patience;
use crate::values;

/// Publish records: arguments, lines of standard input, or a file
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon publish quakes 'M 5.3, 50km NNW of Sangiang' --key us2000crkq
  antiphon publish quakes < events.ndjson
  tail -f log | antiphon publish logs --receipts --json
  antiphon publish images --file map.png --header type=image/png
  antiphon publish orders '12.50' --id order-7       # safe to run again
  antiphon publish quakes --id-from id --key-from net < events.ndjson
  antiphon publish quakes --wait < events.ndjson     even while replicas are away

A record has at most 1 MiB, key and headers included.")]
pub(crate) struct Publish {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Records [default: each line of standard input is one]
    ///
    /// A line ends before its LF. A CR before the LF stays in the record: `tr -d '\r'` removes it.
    /// A byte order mark before the first line is left out. `--file` publishes all bytes.
    #[arg(value_name = "MESSAGE", allow_negative_numbers = true)]
    pub(crate) messages: Vec<String>,

    /// Key of the records: what they are about [default: no key]
    ///
    /// In a compacted topic, an empty record deletes its key.
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Field of each line that is the key; each line is a JSON object [default: no key]
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["key", "messages", "file"])]
    pub(crate) key_from: Option<String>,

    /// Header of the records; may be repeated [default: no headers]
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub(crate) headers: Vec<(String, Bytes)>,

    /// Copies to wait for: at least the topic's `--min-copies`
    #[arg(long, value_enum, default_value = "quorum")]
    pub(crate) acks: AcksWanted,

    /// File to publish as one record; `-` for standard input [default: no file]
    #[arg(long, value_name = "PATH", conflicts_with = "messages")]
    pub(crate) file: Option<PathBuf>,

    /// Print a line for each record of standard input
    #[arg(long, conflicts_with_all = ["messages", "file"])]
    pub(crate) receipts: bool,

    /// Id of the record: published again with the same id, it is stored once [default: no id]
    ///
    /// For one record: a single argument, or a file. Nodes remember ids for ten minutes. Readers
    /// find the id in the header `antiphon-id`.
    #[arg(long, value_parser = values::record_id)]
    pub(crate) id: Option<String>,

    /// Field of each line that is the id; each line is a JSON object [default: no id]
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["id", "messages", "file"])]
    pub(crate) id_from: Option<String>,

    /// Wait until pending records are acknowledged, at most for DURATION [default: do not wait;
    /// without DURATION, no limit]
    ///
    /// While too few replicas answer, records go into the node's outbox at once. Ctrl-C ends
    /// the wait with exit status 3. The records stay in the outbox and are delivered.
    #[arg(long, value_name = "DURATION", value_parser = str::parse::<Patience>)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = Patience::ENDLESS)]
    pub(crate) wait: Option<Patience>,
}

/// How many copies to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksWanted {
    /// One copy
    #[value(name = "1")]
    One,
    /// A majority of the replicas that are alive
    Quorum,
    /// Every replica that is alive
    All,
}

impl From<AcksWanted> for Acks {
    fn from(wanted: AcksWanted) -> Self {
        match wanted {
            AcksWanted::One => Self::One,
            AcksWanted::Quorum => Self::Quorum,
            AcksWanted::All => Self::All,
        }
    }
}
