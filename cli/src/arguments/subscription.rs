//! Named subscriptions.

use antiphon::model::{SubscriberName, TopicName};
use clap::Args;

use crate::{place::Place, values};

/// List the named subscriptions of a topic, and how far each is behind
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscription list quakes
  antiphon subscription list quakes --json | jq 'select(.records_behind > 1000)'

In a pipe, columns are separated by tabs and have no header: subscription, records behind, time since \
the first of them was published, `reader` or `group`.")]
pub(crate) struct Subscriptions {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,
}

/// Move a subscription to a place, forwards or back
///
/// A reader that runs under the name ends. When it is run again, it starts at the new place.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscription reset quakes alice --to start
  antiphon subscription reset quakes alice --to @-1h")]
pub(crate) struct ResetSubscription {
    #[command(flatten)]
    pub(crate) named: NamedSubscription,

    /// Where to start: start, end, -N, @-1h, @TIME or a cursor
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
