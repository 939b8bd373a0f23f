//! Fetching, subscribing, and what becomes of subscriptions.

use std::time::Duration;

use antiphon::model::{SubscriberName, TopicName, TopicPattern};
use clap::{Args, Subcommand};

use crate::{peer::PeerArgument, place::Place, template::Template, values};

/// How `fetch` and `subscribe` choose and write records.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Reading {
    /// Where to start: start, end, -N, @-1h, @TIME or a cursor [default: start]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<Place>,

    /// Where to stop: end, -N (before the last N), @-1h, @TIME or a cursor
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) to: Option<Place>,

    /// Stop after this many records
    #[arg(short = 'n', value_name = "N", value_parser = values::number::<u64>(0..=u64::MAX))]
    pub(crate) count: Option<u64>,

    /// Only records with this key
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Only records that this node has signed
    #[arg(long, value_name = "PEER")]
    pub(crate) writer: Option<PeerArgument>,

    /// Give each record of `--json` the cursor behind it, to go on there later: `--from CURSOR`
    #[arg(long, conflicts_with_all = ["raw", "format"])]
    pub(crate) cursor: bool,

    /// Write payloads only, with nothing between them, as they are on a terminal as well
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Write records like this: %t topic, %k key, %v payload, %h{NAME} header, %d time, …
    ///
    /// Also %w writer, %T milliseconds since 1970, %s sequence number, %i id, %n number of this
    /// delivery in a group, %c the cursor behind it, %% and \n \t \r \0 \\ \xHH. Missing fields are empty. No newline is added.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "raw"])]
    pub(crate) format: Option<Template>,
}

/// Print the stored records of a topic, then exit
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

    /// Stop when no record has come for this long, even if there are more
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// Print the stored records of topics, and then those to come
///
/// In a pattern, the part `*` stands for any one part of a name, and `>` at the end for one or more
/// parts. Topics that are created later are followed from their beginning. `--from` and `--to` count
/// for those that exist.
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

    /// Keep the position under this name; `--from` counts only if the name is new
    #[arg(long = "as", value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) name: Option<SubscriberName>,

    /// Share the records with the other members of this group: each record goes to one of them
    ///
    /// Records of one key go to one member at a time, in order. Records that a member does not write
    /// out in time are delivered to another one.
    #[arg(long, value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) group: Option<SubscriberName>,

    /// Time for this member to finish a record; then another one gets it
    #[arg(long, value_name = "DURATION", value_parser = values::visibility,
        default_value = "30s", requires = "group")]
    pub(crate) visibility: Duration,

    /// Deliveries of a record in the group; then it is moved to the topic TOPIC.dead
    #[arg(long = "max-deliveries", value_name = "N", default_value_t = 5,
        value_parser = values::number::<u32>(1..=1_000_000), requires = "group")]
    pub(crate) deliveries_max: u32,

    #[command(flatten)]
    pub(crate) reading: Reading,

    /// Stop when no record has come for this long
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// List the named subscriptions of a topic, and how far each is behind
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscriptions quakes
  antiphon subscriptions quakes --json | jq 'select(.records_behind > 1000)'

Elsewhere than on a terminal, columns are separated by tabs and have no header: subscription, records \
behind, time since the first of them was published, `reader` or `group`.")]
pub(crate) struct Subscriptions {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,
}

/// Move or delete a named subscription
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Subscription {
    #[command(subcommand)]
    pub(crate) action: SubscriptionAction,
}

/// What becomes of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum SubscriptionAction {
    Reset(ResetSubscription),
    /// Delete a subscription and its position
    #[command(after_help = "\
Examples:
  antiphon subscription delete quakes alice")]
    Delete(NamedSubscription),
}

/// Move a subscription to a place, forwards or back
///
/// A reader that is running under the name ends, and starts at the new place when it is run again.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscription reset quakes alice --to start
  antiphon subscription reset quakes alice --to @-1h")]
pub(crate) struct ResetSubscription {
    #[command(flatten)]
    pub(crate) named: NamedSubscription,

    /// The place: start, end, -N, @-1h, @TIME or a cursor
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) to: Place,
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct NamedSubscription {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Name of the subscription
    #[arg(value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) name: SubscriberName,
}
