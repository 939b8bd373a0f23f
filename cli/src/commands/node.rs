//! `antiphon node`

use std::path::PathBuf;

use antiphon::model::Network;
use antiphon_node::{NodeConfig, NodeError};
use serde_json::json;

use crate::{
    arguments::Node,
    context::Context,
    exit::{Failure, Status},
    printer::{OutputError, Printer, unless_closed},
    signals::Signals,
};

/// Runs a node until it is asked to stop, or fails.
pub(super) async fn run(context: &mut Context, arguments: Node) -> anyhow::Result<Status> {
    let mut signals = Signals::listen()?;
    let network = context.options.network.clone();
    let data = if let Some(data) = arguments.data {
        data
    } else {
        let data = default_data(&network)?;
        context.printer.note(format_args!("data directory {}", data.display()));
        data
    };
    let starting = antiphon_node::Node::start(NodeConfig {
        data,
        listen: arguments.listen,
        bootstrap: arguments.bootstrap,
        network,
        discovery: !arguments.no_discovery,
        disk_bytes_max: arguments.max_disk,
    });
    let mut node = tokio::select! {
        node = starting => node?,
        () = signals.next() => return Ok(Status::Done),
    };
    // A node serves others: it goes on when nobody reads its output any more.
    unless_closed(announce(&mut context.printer, &node))?;
    tokio::select! {
        error = node.failed() => match error {
            NodeError::Left => {
                let value = json!({ "event": "left", "peer": node.id().to_string() });
                let text = "left: other nodes hold all that this one held";
                unless_closed(context.printer.data(&value, text).and_then(|()| context.printer.flush()))?;
                Ok(Status::Done)
            }
            error => Err(error.into()),
        },
        () = signals.next() => {
            context.printer.detail("stopping; once more stops at once");
            tokio::select! {
                stopped = node.stop() => Ok(stopped.map(|()| Status::Done)?),
                () = signals.next() => Err(Failure::failed("stopped before all was flushed").into()),
            }
        }
    }
}

fn announce(printer: &mut Printer, node: &antiphon_node::Node) -> Result<(), OutputError> {
    for address in node.addresses() {
        let value = json!({ "event": "listening", "address": address.to_string() });
        printer.data(&value, format_args!("listening {address}"))?;
    }
    let value = json!({ "event": "ready", "peer": node.id().to_string() });
    printer.data(&value, "ready")?;
    printer.flush()
}

/// The user's data directory, such as `~/.local/share/antiphon/default`. Each network has its
/// own, for a node belongs to one.
fn default_data(network: &Network) -> anyhow::Result<PathBuf> {
    let base = dirs::data_dir().ok_or_else(|| {
        Failure::usage("this user has no data directory").with_hint("name one with `--data DIR`")
    })?;
    Ok(base.join("antiphon").join(network.as_str()))
}
