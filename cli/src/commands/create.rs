//! `antiphon create`

use std::time::Duration;

use antiphon::{
    limits::REPLICAS_DEFAULT,
    model::{NodeId, Retention},
    wire,
    wire::TopicSummary,
};
use bytesize::ByteSize;
use humantime::format_duration;
use serde_json::{Value, json};

use super::counted;
use crate::{
    arguments::Create,
    context::Context,
    exit::{Failure, Status},
};

/// Creates a topic.
pub(super) async fn run(context: &mut Context, arguments: Create) -> anyhow::Result<Status> {
    let replicas = arguments.replicas.unwrap_or(REPLICAS_DEFAULT);
    if let Some(floor) = arguments.min_copies.filter(|floor| *floor > replicas) {
        let message = format!("a floor of {floor} copies is more than the {replicas} replicas");
        let hint =
            format!("ask for more `--replicas`, or for `--min-copies` of at most {replicas}");
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let client = context.client().await?;
    let create = wire::Create {
        replicas: arguments.replicas,
        min_copies: arguments.min_copies,
        if_not_exists: arguments.if_not_exists,
        retention: arguments.retain.limits(),
        ..wire::Create::new(arguments.topic)
    };
    let (summary, existed) = client.create(create).await?;
    context.printer.data(&object(&summary, existed), text(&summary, existed))?;
    if summary.nodes_alive < u32::from(summary.replicas) {
        let wanted = counted(summary.replicas.into(), "replica");
        let here = counted(summary.nodes_alive.into(), "node");
        context
            .printer
            .note(format_args!("{wanted} wanted, {here} here: the topic fills up as nodes join"));
    }
    Ok(Status::Done)
}

/// How long records are kept, in words.
pub(super) fn retention_text(retention: &Retention) -> String {
    let age = retention.age_ms.map(|age| format_duration(Duration::from_millis(age)).to_string());
    let bytes = retention.bytes.map(|bytes| ByteSize::b(bytes).display().si().to_string());
    let records = retention.records.map(|records| counted(records, "record"));
    let limits: Vec<_> = [age, bytes, records].into_iter().flatten().collect();
    let limits = if limits.is_empty() { String::new() } else { limits.join(" or ") };
    match (retention.tombstones_ms, limits.is_empty()) {
        (None, true) => "kept for ever".to_owned(),
        (None, false) => format!("keeps {limits}"),
        (Some(_), true) => "keeps the newest record of each key".to_owned(),
        (Some(_), false) => format!("keeps the newest record of each key, of {limits}"),
    }
}

fn object(summary: &TopicSummary, existed: bool) -> Value {
    json!({
        "status": if existed { "topic_exists" } else { "topic_created" },
        "topic": summary.name.as_str(),
        "replicas": summary.replicas,
        "min_copies": summary.min_copies,
        "owners": summary.owners.iter().map(NodeId::to_string).collect::<Vec<_>>(),
        "retain_age_ms": summary.retention.age_ms,
        "retain_bytes": summary.retention.bytes,
        "retain_records": summary.retention.records,
        "compact": summary.retention.tombstones_ms.is_some(),
        "keep_tombstones_ms": summary.retention.tombstones_ms,
    })
}

fn text(summary: &TopicSummary, existed: bool) -> String {
    format!(
        "topic `{}` {}: {}, acknowledged from {} on, {} now, {}",
        summary.name,
        if existed { "exists" } else { "created" },
        counted(summary.replicas.into(), "replica"),
        if summary.min_copies == 1 {
            "1 copy".to_owned()
        } else {
            format!("{} copies", summary.min_copies)
        },
        counted(summary.owners.len() as u64, "holder"),
        retention_text(&summary.retention),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_whether_the_topic_was_there() {
        let owner = NodeId::from_bytes([1; 32]);
        let summary = TopicSummary {
            name: "t".parse().unwrap(),
            replicas: 3,
            min_copies: 2,
            owners: vec![owner],
            records: 0,
            nodes_alive: 1,
            retention: Retention { bytes: Some(1_000), ..Retention::default() },
        };
        let expected = json!({
            "status": "topic_created", "topic": "t", "replicas": 3, "min_copies": 2,
            "owners": [owner.to_string()],
            "retain_age_ms": null, "retain_bytes": 1_000, "retain_records": null,
            "compact": false, "keep_tombstones_ms": null,
        });
        assert_eq!(object(&summary, false), expected);
        assert_eq!(object(&summary, true)["status"], "topic_exists");
    }
}
