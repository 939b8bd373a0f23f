//! `antiphon demo`
//!
//! A cluster of real processes on this machine that loses the owner of a topic in the middle of
//! publishing. Every record is checked.

mod records;
mod story;

use std::path::Path;

use serde_json::{Value, json};

use self::story::Outcome;
use crate::{
    arguments::Demo,
    clock,
    cluster::Cluster,
    context::Context,
    exit::{Failure, Status},
    output_watch::OutputWatch,
    printer::{OutputError, Printer},
    signals::Signals,
};

/// The events that are published where no file is named.
const EARTHQUAKES: &[u8] = include_bytes!("../../../examples/data/earthquakes.ndjson");

/// Starts a cluster, tells its story, and keeps it running unless `--exit`.
pub(super) async fn run(context: &mut Context, arguments: Demo) -> anyhow::Result<Status> {
    let records = match &arguments.file {
        Some(path) => read(path)?,
        None => records::split(EARTHQUAKES),
    };
    // From here on a signal ends the demo in order: no node is left behind.
    let mut signals = Signals::listen()?;
    let open_admin = arguments.open_admin.then(|| "--open-admin".to_owned());
    let mut cluster = Cluster::new("demo")?.node_options(open_admin);
    let printer = &mut context.printer;
    let result = tokio::select! {
        result = story::tell(&mut cluster, printer, arguments.nodes.into(), &records) => result,
        () = signals.next() => Err(Failure::failed("interrupted").into()),
    };
    let result = match result {
        Ok(outcome) => conclude(&mut cluster, printer, &outcome, &arguments, &mut signals).await,
        Err(error) => {
            printer.note(cluster.tails());
            Err(error)
        }
    };
    cluster.stop().await;
    result.map(|()| Status::Done)
}

async fn conclude(
    cluster: &mut Cluster,
    printer: &mut Printer,
    outcome: &Outcome,
    arguments: &Demo,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    printer.data(&summary(outcome), summary_text(outcome))?;
    printer.flush()?;
    if !arguments.exit {
        say_what_to_try(cluster, printer)?;
        let watch = OutputWatch::start();
        tokio::select! {
            () = signals.next() => {}
            () = watch.closed() => {}
        }
        printer.note("stopped: the nodes of the demo have ended, and their data is deleted");
    }
    Ok(())
}

fn summary(outcome: &Outcome) -> Value {
    json!({
        "status": "demo_passed",
        "nodes": outcome.nodes,
        "replicas_wanted": outcome.replicas,
        "records": outcome.records,
        "acknowledged": outcome.acknowledged,
        "fetched": outcome.fetched,
        "received": outcome.received,
        "lost": 0,
        "duplicates": 0,
        "longest_pause_ms": outcome.longest_pause.as_millis(),
        "owner_back_ms": outcome.owner_back.as_millis(),
    })
}

fn summary_text(outcome: &Outcome) -> String {
    format!(
        "demo passed: {} nodes, {} records published and acknowledged, {} fetched, \
         {} received live\n  lost 0, duplicates 0, all in order and byte for byte\n  \
         longest pause of the publisher when the owner was killed: {}\n  \
         the owner was back and complete {} after its restart",
        outcome.nodes,
        outcome.acknowledged,
        outcome.fetched,
        outcome.received,
        clock::readable(outcome.longest_pause),
        clock::readable(outcome.owner_back),
    )
}

fn say_what_to_try(cluster: &Cluster, printer: &mut Printer) -> Result<(), OutputError> {
    let (node, network, topic) = (cluster.address(1), cluster.network(), story::TOPIC);
    // As this program was called, for it need not be in the search path.
    let program = std::env::args().next().unwrap_or_else(|| "antiphon".to_owned());
    let value = json!({
        "event": "running",
        "address": node.to_string(),
        "network": network.as_str(),
    });
    let text = format!(
        "\nthe cluster keeps running; try in another terminal:\n\n  \
         export ANTIPHON_NETWORK={network} ANTIPHON_NODE={node}\n  \
         {program} info {topic}\n  \
         {program} fetch {topic} --from -3\n  \
         {program} subscribe {topic} --from end\n  \
         {program} publish {topic} 'it works'\n  \
         {program} shell\n\n\
         Ctrl-C ends it"
    );
    printer.data(&value, text)?;
    printer.flush()
}

fn read(path: &Path) -> anyhow::Result<Vec<bytes::Bytes>> {
    let records = records::split(&fs_err::read(path)?);
    if records.len() < 2 {
        let message = format!("{} has fewer than two lines", path.display());
        let hint = "the demo publishes one half before the owner is killed and one after";
        return Err(Failure::failed(message).with_hint(hint).into());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_summary_has_the_contracts_fields() {
        let outcome = Outcome {
            nodes: 8,
            replicas: 3,
            records: 1707,
            acknowledged: 1707,
            fetched: 1707,
            received: 1707,
            longest_pause: Duration::from_millis(120),
            owner_back: Duration::from_secs(2),
        };
        let expected = json!({
            "status": "demo_passed", "nodes": 8, "replicas_wanted": 3, "records": 1707,
            "acknowledged": 1707, "fetched": 1707, "received": 1707, "lost": 0, "duplicates": 0,
            "longest_pause_ms": 120, "owner_back_ms": 2000,
        });
        assert_eq!(summary(&outcome), expected);
    }

    #[test]
    fn the_earthquakes_are_all_there() {
        let records = records::split(EARTHQUAKES);
        assert_eq!(records.len(), 1_707);
        assert!(records.iter().all(|record| record.starts_with(b"{") && record.ends_with(b"}")));
    }
}
