//! `antiphon outbox`

use std::time::{Duration, Instant};

use antiphon::{model::NodeId, wire::PendingTopic};
use antiphon_node::client::Outbox;
use serde_json::{Value, json};

use super::{counted, subscriptions::age};
use crate::{
    arguments, clock,
    clock::rfc3339,
    context::Context,
    exit::{Failure, Status},
    printer::Printer,
    signals::Signals,
    table::Table,
};

/// How often the node is asked whether its outbox is empty.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// Lists what is pending at the node, or waits until nothing is.
pub(super) async fn run(
    context: &mut Context,
    arguments: arguments::Outbox,
) -> anyhow::Result<Status> {
    let client = context.client().await?;
    let topics = match arguments.wait {
        None => client.outbox().await?.topics,
        Some(patience) => wait(context, patience.deadline()).await?,
    };
    let printer = &mut context.printer;
    list(printer, &topics)?;
    if topics.is_empty() {
        printer.note("nothing is pending at this node");
    } else if arguments.wait.is_some() {
        return Ok(Status::Pending);
    }
    Ok(Status::Done)
}

/// Waits until nothing is pending, the time is over, or a signal comes; what is pending then.
async fn wait(
    context: &mut Context,
    deadline: Option<Instant>,
) -> anyhow::Result<Vec<PendingTopic>> {
    let client = context.client().await?;
    let mut signals = Signals::listen()?;
    let mut told = None;
    let mut asked = None;
    loop {
        let Outbox { node, topics, .. } = client.outbox().await?;
        if *asked.get_or_insert(node) != node {
            // What another node says of its own outbox is no answer.
            return Err(Failure::failed("the node no longer answers; its outbox cannot be read")
                .with_hint(
                    "pending records are on its disk; start the node again, and it delivers them",
                )
                .into());
        }
        let records: u64 = topics.iter().map(|topic| topic.records).sum();
        if topics.is_empty() || deadline.is_some_and(|deadline| deadline <= clock::instant()) {
            return Ok(topics);
        }
        if told != Some(records) {
            told = Some(records);
            let (records, topics) =
                (counted(records, "record"), counted(topics.len() as u64, "topic"));
            context.printer.note(format_args!("pending: {records} in {topics}"));
        }
        let next = clock::instant().checked_add(ASK_INTERVAL);
        tokio::select! {
            () = signals.next() => return Ok(topics),
            () = clock::sleep_until(next) => {}
        }
    }
}

fn list(printer: &mut Printer, topics: &[PendingTopic]) -> anyhow::Result<()> {
    if printer.is_json() {
        for topic in topics {
            printer.object(&object(topic))?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["TOPIC", "RECORDS", "OLDEST", "COPIES"]);
    let now = clock::now();
    for topic in topics {
        table.push(vec![
            topic.topic.to_string(),
            topic.records.to_string(),
            age(now, topic.since),
            format!("{} of {}", topic.copies, topic.wanted),
        ]);
    }
    if !topics.is_empty() {
        printer.table(&table)?;
    }
    Ok(())
}

fn object(topic: &PendingTopic) -> Value {
    json!({
        "topic": topic.topic.as_str(),
        "records": topic.records,
        "since": rfc3339(topic.since).map(|time| time.to_string()),
        "copies": topic.copies,
        "wanted": topic.wanted,
        "away": topic.away.iter().map(NodeId::to_string).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use antiphon::model::WallClock;

    use super::*;

    #[test]
    fn json_says_since_when_and_who_is_away() {
        let node = NodeId::from_bytes([1; 32]);
        let topic = PendingTopic {
            topic: "quakes".parse().unwrap(),
            records: 1_707,
            since: WallClock(1_517_363_399_650),
            copies: 1,
            wanted: 2,
            away: vec![node],
        };
        let expected = json!({
            "topic": "quakes", "records": 1_707, "since": "2018-01-31T01:49:59.650Z",
            "copies": 1, "wanted": 2, "away": [node.to_string()],
        });
        assert_eq!(object(&topic), expected);
    }
}
