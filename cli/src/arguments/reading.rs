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
    #[arg(short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Only records with this key
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Only records that this node has signed
    #[arg(long, value_name = "PEER")]
    pub(crate) writer: Option<PeerArgument>,

    /// Write the payloads alone, with nothing between them
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Write records so: %t topic, %k key, %v payload, %h{NAME} header, %d time, %w writer, …
    ///
    /// Also %T milliseconds since 1970, %s sequence number, %i id, %n the how-manieth delivery in a
    /// group, %% and \n \t \r \0 \\ \xHH. What a record has not is written as nothing; no newline is
    /// added.
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

    /// Stop when no record came for this long, though there are more
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// Print the stored records of topics, and then those to come
///
/// In a pattern the part `*` of a name stands for any one part, and `>` at the end for one or more.
/// Topics that are created later are followed, too, from their beginning; `--from` and `--to` hold
/// for each of those that exist.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscribe quakes
  antiphon subscribe quakes --from end
  antiphon subscribe quakes --as alice          goes on where alice stopped, at any node
  antiphon subscribe quakes --as alice --to end  what alice has not seen yet, and no more
  antiphon subscribe quakes --group alarms      shares them with others of the group
  antiphon subscribe quakes -n 100 --idle 30s
  antiphon subscribe 'sensors.*.temp'           all topics that match, also new ones
  antiphon subscribe 'sensors.>' --format '%t %v\\n'")]
pub(crate) struct Subscribe {
    /// Name of the topic, or a pattern of names
    #[arg(value_parser = values::pattern)]
    pub(crate) topic: TopicPattern,

    /// Keep the position under this name; `--from` counts only while the name is new
    #[arg(long = "as", value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) name: Option<SubscriberName>,

    /// Share the records with all who subscribe with this group, each record with one of them
    ///
    /// A key is with one member at a time, and in order. What a member does not write out in time
    /// is delivered to another one.
    #[arg(long, value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) group: Option<SubscriberName>,

    /// Time for this member of the group to be done with a record; then another one gets it
    #[arg(long, value_name = "DURATION", value_parser = values::visibility,
        default_value = "30s", requires = "group")]
    pub(crate) visibility: Duration,

    /// Deliveries of a record of the group; then it goes to the topic TOPIC.dead
    #[arg(long = "max-deliveries", value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "group")]
    pub(crate) deliveries_max: u32,

    #[command(flatten)]
    pub(crate) reading: Reading,

    /// Stop when no record came for this long
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// List the named subscriptions of a topic, and how far each is behind
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscriptions quakes
  antiphon subscriptions quakes --json | jq 'select(.records_behind > 1000)'

On a terminal the columns are aligned under a header; elsewhere they are separated by tabs:
subscription, records behind, time since the first of them was published, `reader` or `group`.")]
pub(crate) struct Subscriptions {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,
}

/// Set a named subscription to another place, or delete it
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Subscription {
    #[command(subcommand)]
    pub(crate) action: SubscriptionAction,
}

/// What becomes of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum SubscriptionAction {
    Reset(ResetSubscription),
    /// Forget where a subscription stands; who subscribes under the name begins anew
    #[command(after_help = "\
Examples:
  antiphon subscription delete quakes alice")]
    Delete(NamedSubscription),
}

/// Set a subscription to a place, also back
///
/// Who reads under the name now is told so, and goes on at the new place when started again.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscription reset quakes alice --to start
  antiphon subscription reset quakes alice --to @-1h")]
pub(crate) struct ResetSubscription {
    #[command(flatten)]
    pub(crate) named: NamedSubscription,

    /// Where it is to go on: start, end, -N, @-1h, @TIME or a cursor
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
