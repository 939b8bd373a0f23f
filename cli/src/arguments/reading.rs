//! Fetching and subscribing.

use std::time::Duration;

use antiphon::model::{SubscriberName, TopicName, TopicPattern};
use clap::Args;

use crate::{peer::PeerArgument, place::Place, template::Template, values};

/// How `fetch` and `subscribe` choose and write records.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Reading {
    /// Where to start: start, end, -N, @-1h, @TIME or a cursor [default: start]
    ///
    /// -N starts at the last N records, @-1h at the records of the last hour.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<Place>,

    /// Where to stop: the same places [default: fetch stops at the end, subscribe does not stop]
    ///
    /// -N stops before the last N records.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) to: Option<Place>,

    /// Stop after N records [default: no limit]
    #[arg(short = 'n', value_name = "N", value_parser = values::number::<u64>(0..=u64::MAX))]
    pub(crate) count: Option<u64>,

    /// Only records with this key [default: all]
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Only records that this node has signed [default: all]
    #[arg(long, value_name = "PEER")]
    pub(crate) writer: Option<PeerArgument>,

    /// Add to each record of `--json` the cursor behind it, for a later `--from`
    #[arg(long, conflicts_with_all = ["raw", "format"])]
    pub(crate) cursor: bool,

    /// Write payloads only, with nothing between them and nothing escaped
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Write records like this: %t topic, %k key, %v payload, %h{NAME} header, %d time [default:
    /// the payload and a newline]
    ///
    /// Also %w writer, %T milliseconds since 1970, %s sequence number, %i id, %n number of this
    /// delivery in a group, %c the cursor behind it, %%, and \n \t \r \0 \\ \xHH. Missing fields
    /// are empty. No newline is added.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "raw"])]
    pub(crate) format: Option<Template>,
}

/// Print the stored records of a topic
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon fetch quakes
  antiphon fetch quakes --from -10
  antiphon fetch quakes --from @-1h --json | jq .payload
  antiphon fetch quakes --from @2026-11-22T10:00 --to @2026-11-22T11:00
  antiphon fetch quakes --key us --format '%d %k %h{source} %v\\n'
  antiphon fetch images -n 1 --raw > map.png")]
pub(crate) struct Fetch {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    #[command(flatten)]
    pub(crate) reading: Reading,

    /// Stop when no record arrives for this long, even before the end [default: do not stop]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// Print the stored records of topics, and then new ones
///
/// In a pattern, `*` stands for one part of a name, and `>` at the end for one or more parts.
/// Topics that are created later are followed from their start. `--from` and `--to` apply to topics
/// that exist at the start.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscribe quakes
  antiphon subscribe quakes --from end
  antiphon subscribe quakes --as alice           resumes where alice stopped
  antiphon subscribe quakes --as alice --to end  what alice has not seen yet
  antiphon subscribe quakes --group alarms       shares records with the group
  antiphon subscribe quakes -n 100 --idle 30s
  antiphon subscribe 'sensors.*.temp'            all topics that match, new ones too
  antiphon subscribe 'sensors.>' --format '%t %v\\n'")]
pub(crate) struct Subscribe {
    /// Name of the topic, or a pattern of names
    #[arg(value_parser = values::pattern)]
    pub(crate) topic: TopicPattern,

    /// Keep the position under this name; `--from` applies only if the name is new [default: no
    /// name]
    #[arg(long = "as", value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) name: Option<SubscriberName>,

    /// Share the records with the other members of this group: each record goes to one member
    /// [default: no group]
    ///
    /// Records of one key go to one member at a time, in order. If a member does not print a record
    /// within `--visibility`, another member gets it.
    #[arg(long, value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) group: Option<SubscriberName>,

    /// Time for this member to print a record; then another member gets it
    #[arg(long, value_name = "DURATION", value_parser = values::visibility,
        default_value = "30s", requires = "group")]
    pub(crate) visibility: Duration,

    /// Most deliveries of a record in the group; then it is moved to the topic TOPIC.dead
    #[arg(long = "max-deliveries", value_name = "N", default_value_t = 5,
        value_parser = values::number::<u32>(1..=1_000_000), requires = "group")]
    pub(crate) deliveries_max: u32,

    #[command(flatten)]
    pub(crate) reading: Reading,

    /// Stop when no record arrives for this long [default: do not stop]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}
