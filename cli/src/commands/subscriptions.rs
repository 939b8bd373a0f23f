//! `antiphon subscription list`

use std::time::Duration;

use antiphon::{
    model::{Cursor, SubscriberName, TopicName, WallClock},
    wire::Surveyed,
};
use antiphon_node::client::{Client, ReaderOptions, RequestError, Start, SubscriptionInfo};
use serde_json::{Value, json};

use super::fetch::warn_if_incomplete;
use crate::{
    arguments::Subscriptions,
    clock::{self, rfc3339},
    context::Context,
    exit::Status,
    table::Table,
    words,
};

/// A named subscription, and how far it is behind.
struct Behind {
    name: SubscriberName,
    cursor: Cursor,
    is_group: bool,
    records: u64,
    /// When the first record was published that it has not seen.
    since: Option<WallClock>,
}

impl Behind {
    fn kind(&self) -> &'static str {
        if self.is_group { "group" } else { "reader" }
    }
}

/// Lists the named subscriptions of a topic with their lag.
pub(super) async fn run(context: &mut Context, arguments: Subscriptions) -> anyhow::Result<Status> {
    let topic = arguments.topic;
    let client = context.client().await?;
    let surveyed = client.survey(&topic).await?;
    let mut all = Vec::new();
    for subscription in client.subscriptions(&topic).await? {
        all.push(behind(&client, &topic, &surveyed, subscription).await?);
    }
    let printer = &mut context.printer;
    warn_if_incomplete(printer, &surveyed);
    if printer.is_json() {
        for subscription in &all {
            printer.object(&object(&topic, subscription))?;
        }
        return Ok(Status::Done);
    }
    if all.is_empty() {
        printer.note("no subscriptions; `antiphon subscribe TOPIC --as NAME` creates one");
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["SUBSCRIPTION", "RECORDS BEHIND", "TIME BEHIND", "KIND"]);
    let now = clock::now();
    for subscription in &all {
        let time = subscription.since.map_or_else(|| "-".to_owned(), |since| age(now, since));
        let (name, records) = (subscription.name.to_string(), subscription.records.to_string());
        table.push(vec![name, records, time, subscription.kind().to_owned()]);
    }
    printer.table(&table)?;
    Ok(Status::Done)
}

async fn behind(
    client: &Client,
    topic: &TopicName,
    surveyed: &Surveyed,
    subscription: SubscriptionInfo,
) -> Result<Behind, RequestError> {
    let SubscriptionInfo { name, cursor, is_group, records_done, .. } = subscription;
    // Of a group, members may have done any of those.
    let records = records_between(&cursor, surveyed).saturating_sub(records_done);
    let mut since = None;
    if records > 0 {
        let options = ReaderOptions::new().start(Start::At(cursor.clone()));
        let next = client.reader(topic.clone(), options).await?.try_next().await?;
        since = next.and_then(|delivered| delivered.record.time);
    }
    Ok(Behind { name, cursor, is_group, records, since })
}

/// Records that are stored after a position.
pub(super) fn records_between(cursor: &Cursor, surveyed: &Surveyed) -> u64 {
    let of_log = |(log, end): (&_, &antiphon::model::Position)| {
        let from = cursor.next(log).max(surveyed.low.next(log));
        end.next.saturating_sub(from)
    };
    surveyed.end.logs.iter().map(of_log).sum()
}

/// For how long, in whole seconds.
pub(super) fn age(now: WallClock, since: WallClock) -> String {
    words::brief(Duration::from_millis(now.0.saturating_sub(since.0)))
}

fn object(topic: &TopicName, subscription: &Behind) -> Value {
    json!({
        "topic": topic.as_str(),
        "subscription": subscription.name.as_str(),
        "kind": subscription.kind(),
        "records_behind": subscription.records,
        "since": subscription.since.and_then(rfc3339).map(|time| time.to_string()),
        "cursor": subscription.cursor.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::{Incarnation, LogId, NodeId, Position, Retention, TopicId},
        wire::TopicSummary,
    };

    use super::*;

    #[test]
    fn what_is_trimmed_is_not_behind() {
        let topic = TopicId::from_bytes([2; 32]);
        let log =
            |id: u64| LogId { writer: NodeId::from_bytes([1; 32]), incarnation: Incarnation(id) };
        let cursor = |ends: &[(u64, u64)]| {
            let mut cursor = Cursor::start(topic);
            for (id, next) in ends {
                cursor.advance_to(log(*id), Position { next: *next, head: None });
            }
            cursor
        };
        let surveyed = Surveyed {
            summary: TopicSummary {
                name: "t".parse().unwrap(),
                replicas: 1,
                min_copies: 1,
                owners: Vec::new(),
                records: 0,
                nodes_alive: 1,
                retention: Retention::default(),
                floor_follows: false,
            },
            end: cursor(&[(1, 100), (2, 50), (3, 10)]),
            low: cursor(&[(1, 40), (2, 0), (3, 0)]),
            replicas: Vec::new(),
            complete: true,
            forks: Vec::new(),
        };
        assert_eq!(records_between(&cursor(&[(1, 10), (2, 20)]), &surveyed), 60 + 30 + 10);
        assert_eq!(records_between(&surveyed.end, &surveyed), 0);
        assert_eq!(records_between(&cursor(&[(1, 1_000)]), &surveyed), 60, "of others only");
    }

    #[test]
    fn ages_are_whole_seconds() {
        assert_eq!(age(WallClock(90_500), WallClock(0)), "1m 30s");
        assert_eq!(age(WallClock(0), WallClock(5)), "0s", "clocks differ");
    }
}
