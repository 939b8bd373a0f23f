//! From topics to files, and from files to topics.

use std::path::PathBuf;

use antiphon::model::TopicName;
use clap::{Args, ValueEnum};

use crate::values::{self, Floor};

/// Write a topic to a file: all its records, as they were signed
///
/// It exports the records that are stored at its start, and writes to FILE.part until it is
/// complete. Run it again after an interruption, and it resumes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topic export quakes quakes.antiphon
  antiphon topic export quakes - | ssh elsewhere 'cat > quakes.antiphon'
  antiphon topic export quakes quakes.ndjson --format ndjson
  antiphon topic import quakes.antiphon               here or in another network

With --format ndjson each line is a record as `fetch --json` prints it, for people and other programs. \
Such a file cannot be imported. Named subscriptions are not exported.")]
pub(crate) struct Export {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// File to write; `-` for standard output, which cannot be resumed
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Form of the file
    #[arg(long, value_enum, default_value = "archive")]
    pub(crate) format: ExportFormat,

    /// Replace FILE, and do not resume an earlier export
    #[arg(long)]
    pub(crate) force: bool,
}

/// What an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Signed batches, which can be imported
    Archive,
    /// One JSON object per line, which cannot be imported
    Ndjson,
}

/// Store the records of an exported topic, with their signatures
///
/// The whole file is verified first; nothing of a damaged file is stored. The topic is created with
/// its former terms, unless it exists. Records that exist already are not stored twice: run an
/// import again after an interruption. Imported records are on as many disks as published ones.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topic import quakes.antiphon
  antiphon topic import quakes.antiphon --network lab
  antiphon topic import quakes.antiphon --as quakes-2026
  antiphon topic import quakes.antiphon --min-copies 1   into a network of one node")]
pub(crate) struct Import {
    /// File that `antiphon topic export` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Name of the topic [default: its former name]
    #[arg(long = "as", value_name = "NAME", value_parser = values::new_topic)]
    pub(crate) name: Option<TopicName>,

    /// Nodes that store the topic, if the topic is created [default: as before]
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Fewest copies that acknowledge a record, if the topic is created [default: as before]
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,
}
