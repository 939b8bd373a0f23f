//! `antiphon leave`

use std::time::Duration;

use antiphon::{model::NodeId, wire::Remaining};
use antiphon_node::client::{Client, RequestError};
use indicatif::ProgressBar;
use serde_json::json;

use super::counted;
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
    let client = context.client().await?;
    let peers = client.peers().await?;
    let node = peers.first().map(|peer| peer.node);
    let node = node.ok_or_else(|| Failure::failed("the node does not say who it is"))?;
    context.printer.note(format_args!("node {node} hands over what it holds"));
    let bar = context.printer.spinner();
    let deadline = clock::instant().checked_add(arguments.within);
    let mut remaining = client.leave(node).await?;
    while remaining != Remaining::default() {
        bar.set_message(describe(remaining));
        if deadline.is_some_and(|deadline| deadline <= clock::instant()) {
            return Err(Failure::failed(format!("{} left; the node goes on", describe(remaining)))
                .with_hint("`antiphon peers` shows who is away; `antiphon forget PEER` says who will not come back")
                .into());
        }
        clock::sleep_until(clock::instant().checked_add(ASK_INTERVAL)).await;
        remaining = ask(&client, node, &bar).await?;
    }
    // It says so for a moment, and ends; after that nobody answers under its name.
    let ended_by = clock::instant().checked_add(ENDS_WITHIN);
    while client.leave(node).await.is_ok()
        && ended_by.is_some_and(|ended_by| clock::instant() < ended_by)
    {
        clock::sleep_until(clock::instant().checked_add(ASK_INTERVAL)).await;
    }
    bar.finish_and_clear();
    let value = json!({ "status": "left", "peer": node.to_string() });
    context.printer.status(&value, format_args!("left: {node}; other nodes hold all that it held"));
    Ok(Status::Done)
}

/// How far the node is; a node that has ended had nothing left.
async fn ask(client: &Client, node: NodeId, bar: &ProgressBar) -> Result<Remaining, Failure> {
    match client.leave(node).await {
        Ok(remaining) => Ok(remaining),
        Err(RequestError::Link(error)) => {
            bar.abandon();
            let gone = Failure::failed(format!("the connection to the node is lost: {error}"));
            Err(gone.with_hint("if it has ended, `antiphon peers` no longer lists it"))
        }
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}

fn describe(remaining: Remaining) -> String {
    let (topics, records) = (remaining.topics, remaining.records);
    format!("{} and {}", counted(topics, "topic"), counted(records, "record"))
}
