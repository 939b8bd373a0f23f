//! `antiphon topic delete`

use serde_json::json;

use super::{confirm::confirm, counted, operator::operating};
use crate::{arguments::Delete, context::Context, exit::Status};

/// Deletes a topic, once the user has said so.
pub(super) async fn run(context: &mut Context, arguments: Delete) -> anyhow::Result<Status> {
    let Delete { topic, yes } = arguments;
    let client = context.client().await?;
    if !yes {
        let surveyed = client.survey(&topic).await?;
        let records = counted(surveyed.summary.records, "record");
        let question =
            format!("delete `{topic}` with {records}? This cannot be undone. Type its name:");
        let what = "a topic is deleted";
        confirm(&mut context.printer, &question, topic.as_str(), what).await?;
    }
    let node = operating(context).await?;
    node.client.delete(&topic).await.map_err(|error| node.explain(error))?;
    let value = json!({ "status": "topic_deleted", "topic": topic.as_str() });
    context.printer.result(&value, format_args!("topic `{topic}` deleted"))?;
    Ok(Status::Done)
}
