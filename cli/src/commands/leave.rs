//! `antiphon node leave`

use std::time::Duration;

use antiphon::model::NodeId;
use antiphon_node::client::{Client, Refusal, Remaining, RequestError};
use serde_json::json;

use super::{
    confirm::confirm,
    counted,
    operator::{Meant, meant},
};
use crate::{
    arguments::Leave,
    clock,
    context::Context,
    exit::{Failure, Status},
};

/// How often the node is asked how far it is. It waits a little longer than this before it ends.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Time for a node that has nothing left to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Lets the node hand over what it holds, and waits until it has.
pub(super) async fn run(context: &mut Context, arguments: Leave) -> anyhow::Result<Status> {
    let Meant { node, asked } = meant(context, arguments.peer, arguments.data).await?;
    let client = &asked.client;
    let operator = client.operator();
    if arguments.yes {
        context.printer.note(format_args!("node {node} hands over what it holds"));
    } else {
        let question = format!("node {node} hands over all that it holds, then ends. Type `yes`:");
        confirm(&mut context.printer, &question, "yes", "a node leaves").await?;
    }
    let bar = context.printer.spinner();
    let deadline = clock::instant().checked_add(arguments.within);
    let mut remaining =
        operator.leave(node).await.map(Some).map_err(|error| asked.explain(error))?;
    while let Some(left) = remaining.filter(|left| !left.is_nothing()) {
        bar.set_message(describe(left));
        if deadline.is_some_and(|deadline| deadline <= clock::instant()) {
            let hint = "`antiphon peers` lists the nodes that are away; declare lost ones with \
                        `antiphon node forget PEER`";
            let message = format!("{} left; the node goes on handing over", describe(left));
            return Err(Failure::failed(message).with_hint(hint).into());
        }
        clock::sleep_until(clock::instant().checked_add(ASK_INTERVAL)).await;
        remaining = ask(client, node).await?;
    }
    // It says so for a moment, and ends; after that nobody answers under its name.
    let ended_by = clock::instant().checked_add(ENDS_WITHIN);
    while operator.leave(node).await.is_ok()
        && ended_by.is_some_and(|ended_by| clock::instant() < ended_by)
    {
        clock::sleep_until(clock::instant().checked_add(ASK_INTERVAL)).await;
    }
    bar.finish_and_clear();
    let value = json!({ "status": "left", "peer": node.to_string() });
    let text = format!("left: {node}; other nodes hold all that it held");
    context.printer.result(&value, text)?;
    Ok(Status::Done)
}

/// How far the node is; nothing when it has ended, and the others know it no more.
async fn ask(client: &Client, node: NodeId) -> anyhow::Result<Option<Remaining>> {
    let error = match client.operator().leave(node).await {
        Ok(remaining) => return Ok(Some(remaining)),
        Err(error) => error,
    };
    // Another node answers in its place, or none.
    let is_elsewhere = matches!(
        error,
        RequestError::Link(_)
            | RequestError::Refused(Refusal::Invalid(_) | Refusal::NotAllowed { .. })
    );
    if !is_elsewhere {
        return Err(error.into());
    }
    if client.peers().await.is_ok_and(|peers| peers.iter().all(|peer| peer.node != node)) {
        return Ok(None);
    }
    let lost = Failure::failed(format!("the connection to the node is lost: {error}"));
    Err(lost.with_hint("if it has ended, `antiphon peers` no longer lists it").into())
}

fn describe(remaining: Remaining) -> String {
    let (topics, records) = (remaining.topics, remaining.records);
    format!("{} and {}", counted(topics, "topic"), counted(records, "record"))
}
