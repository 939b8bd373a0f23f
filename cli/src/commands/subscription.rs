//! `antiphon subscription reset` and `antiphon subscription delete`

use antiphon::model::Cursor;
use serde_json::json;

use crate::{
    arguments::{NamedSubscription, ResetSubscription},
    clock,
    context::Context,
    exit::{Failure, Status},
    printer::OutputError,
};

/// Moves a named subscription to another place.
pub(super) async fn reset(
    context: &mut Context,
    arguments: ResetSubscription,
) -> anyhow::Result<Status> {
    let NamedSubscription { topic, name } = &arguments.named;
    let start = arguments.to.start(clock::now())?;
    let client = context.client().await?;
    if client.position(topic, name).await?.is_none() {
        return Err(unknown(&arguments.named).into());
    }
    let cursor = client.reset_subscription(topic, name, start).await?;
    say(context, "reset", &arguments.named, Some(&cursor))?;
    Ok(Status::Done)
}

/// Deletes a named subscription.
pub(super) async fn delete(
    context: &mut Context,
    named: NamedSubscription,
) -> anyhow::Result<Status> {
    let client = context.client().await?;
    if !client.delete_subscription(&named.topic, &named.name).await? {
        return Err(unknown(&named).into());
    }
    say(context, "deleted", &named, None)?;
    Ok(Status::Done)
}

fn say(
    context: &mut Context,
    status: &str,
    NamedSubscription { topic, name }: &NamedSubscription,
    cursor: Option<&Cursor>,
) -> Result<(), OutputError> {
    let value = json!({
        "status": status,
        "topic": topic.as_str(),
        "subscription": name.as_str(),
        "cursor": cursor.map(Cursor::to_string),
    });
    context.printer.result(&value, format_args!("{status}: `{name}` of `{topic}`"))
}

fn unknown(NamedSubscription { topic, name }: &NamedSubscription) -> Failure {
    Failure::failed(format!("`{topic}` has no subscription `{name}`"))
        .with_hint("`antiphon subscription list TOPIC` lists those that exist")
}
