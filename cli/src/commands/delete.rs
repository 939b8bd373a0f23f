//! `antiphon delete`

use std::io::{IsTerminal, stdin};

use antiphon::model::TopicName;
use serde_json::json;

use super::counted;
use crate::{
    arguments::Delete,
    context::Context,
    exit::{Failure, Status},
};

/// Deletes a topic, once the user has said so.
pub(super) async fn run(context: &mut Context, arguments: Delete) -> anyhow::Result<Status> {
    let Delete { topic, yes } = arguments;
    let client = context.client().await?;
    if !yes {
        let surveyed = client.survey(&topic).await?;
        confirm(context, &topic, surveyed.summary.records).await?;
    }
    client.delete(&topic).await?;
    let value = json!({ "status": "topic_deleted", "topic": topic.as_str() });
    context.printer.data(&value, format_args!("topic `{topic}` deleted"))?;
    Ok(Status::Done)
}

async fn confirm(context: &mut Context, topic: &TopicName, records: u64) -> anyhow::Result<()> {
    let refused = || {
        Failure::usage("a topic is deleted only when that is confirmed")
            .with_hint("`--yes` deletes without asking")
    };
    if !stdin().is_terminal() {
        return Err(refused().into());
    }
    let records = counted(records, "record");
    context.printer.note(format_args!("delete `{topic}` with {records} for good? Type its name:"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_bytes| answer)
    });
    if answer.await??.trim() == topic.as_str() { Ok(()) } else { Err(refused().into()) }
}
