//! From topics to files, and from files to topics.

use std::path::PathBuf;

use antiphon::model::TopicName;
use clap::{Args, ValueEnum};

use crate::values::{self, Floor};

/// Write a topic to a file: all its records, as they were signed
///
/// Exports what was stored at the start. It writes to FILE.part until it is complete. Run it again
/// after an interruption, and it resumes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon export quakes quakes.antiphon
  antiphon export quakes - | ssh elsewhere 'cat > quakes.antiphon'
  antiphon export quakes quakes.ndjson --format ndjson
  antiphon import quakes.antiphon               here or in another network

With --format ndjson each line is a record as `fetch --json` prints it, for people and other programs. \
Such a file cannot be imported. Named subscriptions are not exported.")]
pub(crate) struct Export {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// File to write; `-` for standard output, which cannot be resumed
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What to write
    #[arg(long, value_enum, default_value = "archive")]
    pub(crate) format: ExportFormat,

    /// Replace FILE, and do not resume an earlier export
    #[arg(long)]
    pub(crate) force: bool,
}

/// What an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Batches as they were signed, which can be imported
    Archive,
    /// One JSON object a line, which cannot
    Ndjson,
}

/// Store the records of an exported topic, with their signatures
///
/// The whole file is verified first; of a damaged one nothing is stored. The topic is created as it
/// was, unless it exists. Records that exist already are recognised, so run an import again that was
/// interrupted. Imported records are on as many disks as published ones.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon import quakes.antiphon
  antiphon import quakes.antiphon --network lab
  antiphon import quakes.antiphon --as quakes-2026
  antiphon import quakes.antiphon --min-copies 1   into a network of one node")]
pub(crate) struct Import {
    /// File that `antiphon export` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Name of the topic [default: the name that it had]
    #[arg(long = "as", value_name = "NAME", value_parser = values::new_topic)]
    pub(crate) name: Option<TopicName>,

    /// Nodes that store the topic, if it is created [default: as before]
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Least copies that acknowledge a record, if it is created [default: as before]
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,
}
