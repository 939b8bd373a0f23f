//! `antiphon subscription reset` and `antiphon subscription delete`

use antiphon::model::Cursor;
use serde_json::json;

use crate::{
    arguments::{NamedSubscription, Subscription, SubscriptionAction},
    clock,
    context::Context,
    exit::{Failure, Status},
    printer::OutputError,
};

/// Sets a named subscription to another place, or deletes it.
pub(super) async fn run(context: &mut Context, arguments: Subscription) -> anyhow::Result<Status> {
    match arguments.action {
        SubscriptionAction::Reset(reset) => {
            let NamedSubscription { topic, name } = &reset.named;
            let start = reset.to.start(clock::now())?;
            let client = context.client().await?;
            if client.position(topic, name).await?.is_none() {
                return Err(unknown(&reset.named).into());
            }
            let cursor = client.reset_subscription(topic, name, start).await?;
            say(context, "reset", &reset.named, Some(&cursor))?;
        }
        SubscriptionAction::Delete(named) => {
            let client = context.client().await?;
            if !client.delete_subscription(&named.topic, &named.name).await? {
                return Err(unknown(&named).into());
            }
            say(context, "deleted", &named, None)?;
        }
    }
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
        .with_hint("`antiphon subscriptions TOPIC` lists them")
}
