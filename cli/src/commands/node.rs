//! `antiphon node`

use std::{path::PathBuf, time::Duration};

use antiphon::model::Network;
use antiphon_node::{NodeConfig, NodeError, membership::Membership};
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
    let is_usual = arguments.data.is_none();
    let data = arguments.data.map_or_else(|| default_data(&network), Ok)?;
    if is_usual || context.printer.is_watched() {
        let data = data.display();
        context.printer.note(format_args!("data directory {data}, network `{network}`"));
    }
    let is_closed = Membership::load(&data).is_ok();
    let joins_through = arguments.bootstrap.clone();
    let mut config = NodeConfig::new(data)
        .listen(arguments.listen)
        .bootstrap(arguments.bootstrap)
        .alone(arguments.alone)
        .network(network.clone())
        .discovery(!arguments.no_discovery)
        .open_admin(arguments.open_admin);
    config.probation = arguments.probation.unwrap_or(config.probation);
    config.disk_bytes_max = arguments.max_disk;
    config.operator_key.clone_from(&context.options.operator_key);
    let starting = antiphon_node::Node::start(config);
    let node = tokio::select! {
        node = starting => node?,
        () = signals.next() => return Ok(Status::Done),
    };
    // A node serves others: it goes on when nobody reads its output any more.
    unless_closed(announce(&mut context.printer, &node))?;
    context.printer.note(who_may_join(&network, is_closed));
    for address in &joins_through {
        context.printer.note(format_args!("joining through {address}"));
    }
    if context.printer.is_watched() {
        show_next_steps(&mut context.printer, &node, !arguments.no_discovery);
    }
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
            context.printer.detail("stopping; press Ctrl-C again to stop at once");
            tokio::select! {
                stopped = node.stop() => Ok(stopped.map(|()| Status::Done)?),
                () = signals.next_after(SAME_SIGNAL) => Err(Failure::failed(FORCED).into()),
            }
        }
    }
}

/// Who may join the network, and how to change that.
fn who_may_join(network: &Network, is_closed: bool) -> String {
    if is_closed {
        format!("the network `{network}` is closed: others join with `antiphon network invite`")
    } else {
        format!(
            "the network `{network}` is open: all that reach this node may join; `antiphon network \
             create {network} --from-open` closes it"
        )
    }
}

/// What is said where the second signal ends a node.
const FORCED: &str = "forced to stop before all writes were flushed";

/// A signal that comes so soon after the first is the same one: `timeout` and terminals send it to
/// the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// What somebody who has just started a node may want to do.
fn show_next_steps(printer: &mut Printer, node: &antiphon_node::Node, is_found: bool) {
    if is_found {
        printer.note("nodes of this machine and this LAN find it");
    }
    // What stays on this machine leads nobody here.
    let leads_here = |address: &&antiphon_node::Multiaddr| {
        let text = address.to_string();
        !text.starts_with("/ip4/127.") && !text.starts_with("/ip6/::1/")
    };
    if let Some(address) = node.addresses().first().filter(leads_here) {
        printer.note(format_args!("others join with `antiphon node --bootstrap {address}`"));
    }
    printer
        .note("in another terminal: `antiphon create quakes`, `antiphon peers`; Ctrl-C stops it");
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
pub(super) fn default_data(network: &Network) -> anyhow::Result<PathBuf> {
    let base = dirs::data_dir().ok_or_else(|| {
        Failure::usage("this user has no data directory").with_hint("name one with `--data DIR`")
    })?;
    Ok(base.join("antiphon").join(network.as_str()))
}
