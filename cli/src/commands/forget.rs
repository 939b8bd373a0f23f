//! `antiphon node forget`

use serde_json::json;

use super::{confirm::confirm, operator::operating};
use crate::{
    arguments::Forget,
    context::Context,
    exit::{Failure, Status},
};

/// Says that a node will not come back.
pub(super) async fn run(context: &mut Context, arguments: Forget) -> anyhow::Result<Status> {
    let client = context.client().await?;
    let node = arguments.peer.find(&client).await?;
    if !arguments.yes {
        let question =
            format!("declare node {node} lost, with the records that it alone holds? Type `yes`:");
        confirm(&mut context.printer, &question, "yes", "a node is forgotten").await?;
    }
    let asked = operating(context).await?;
    let forgotten = asked.client.operator().forget(node).await;
    if forgotten.map_err(|error| asked.explain(error))? {
        let value = json!({ "status": "forgotten", "peer": node.to_string() });
        context.printer.result(&value, format_args!("forgotten: {node}"))?;
        return Ok(Status::Done);
    }
    let peers = client.peers().await?;
    let failure = if peers.iter().any(|peer| peer.node == node) {
        Failure::failed(format!("node {node} is alive"))
            .with_hint("stop it first, or end it with `antiphon node leave PEER`")
    } else {
        Failure::failed(format!("node {node} is not known"))
            .with_hint("`antiphon peers` lists all known nodes")
    };
    Err(failure.into())
}
