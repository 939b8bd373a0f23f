//! `antiphon info`

use antiphon::wire::{Forked, ReplicaState, Role, Surveyed};
use serde_json::{Value, json};

use super::{create::retention_text, full_addresses};
use crate::{arguments::Info, context::Context, exit::Status, table::Table};

/// Shows how far a topic goes and who holds it.
pub(super) async fn run(context: &mut Context, arguments: Info) -> anyhow::Result<Status> {
    let surveyed = context.client().await?.survey(&arguments.topic).await?;
    let printer = &mut context.printer;
    if printer.is_json() {
        printer.object(&object(&surveyed))?;
        return Ok(Status::Done);
    }
    let summary = &surveyed.summary;
    printer.line(format_args!("topic      {}", summary.name))?;
    printer.line(format_args!(
        "replicas   {} wanted, acknowledged from {} on",
        summary.replicas, summary.min_copies
    ))?;
    printer.line(format_args!("retention  {}", retention_text(&summary.retention)))?;
    printer.line(format_args!("records    {}", summary.records))?;
    printer.line(format_args!("cursor     {}", surveyed.end))?;
    let mut table = Table::new(&["REPLICA", "STATE", "ROLE", "RECORDS", "COMPLETE", "ADDRESSES"]);
    for replica in &surveyed.replicas {
        table.push(row(replica));
    }
    printer.line("")?;
    for line in table.lines(printer.is_terminal()) {
        printer.line(line)?;
    }
    if !surveyed.forks.is_empty() {
        let mut table = Table::new(&["FORKED WRITER", "INCARNATION", "AT"]);
        for fork in &surveyed.forks {
            table.push(vec![fork.writer.to_string(), incarnation(fork), fork.at.to_string()]);
        }
        printer.line("")?;
        for line in table.lines(printer.is_terminal()) {
            printer.line(line)?;
        }
    }
    Ok(Status::Done)
}

fn row(replica: &ReplicaState) -> Vec<String> {
    vec![
        replica.node.to_string(),
        replica.state.as_str().to_owned(),
        role(replica.role).to_owned(),
        replica.records.map_or_else(|| "-".to_owned(), |records| records.to_string()),
        if replica.complete { "yes" } else { "no" }.to_owned(),
        full_addresses(replica.node, &replica.addresses).join(" "),
    ]
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Home => "home",
        Role::StandIn => "stand-in",
    }
}

fn incarnation(fork: &Forked) -> String {
    format!("{:016x}", fork.incarnation.0)
}

fn object(surveyed: &Surveyed) -> Value {
    let owner = |replica: &ReplicaState| {
        json!({
            "peer": replica.node.to_string(),
            "state": replica.state.as_str(),
            "role": role(replica.role),
            "records": replica.records,
            "complete": replica.complete,
            "addresses": full_addresses(replica.node, &replica.addresses),
        })
    };
    let fork = |fork: &Forked| {
        json!({
            "writer": fork.writer.to_string(),
            "incarnation": incarnation(fork),
            "at": fork.at,
        })
    };
    json!({
        "topic": surveyed.summary.name.as_str(),
        "replicas": surveyed.summary.replicas,
        "min_copies": surveyed.summary.min_copies,
        "owners": surveyed.replicas.iter().map(owner).collect::<Vec<_>>(),
        "retain_age_ms": surveyed.summary.retention.age_ms,
        "retain_bytes": surveyed.summary.retention.bytes,
        "retain_records": surveyed.summary.retention.records,
        "compact": surveyed.summary.retention.tombstones_ms.is_some(),
        "keep_tombstones_ms": surveyed.summary.retention.tombstones_ms,
        "records": surveyed.summary.records,
        "low": surveyed.low.to_string(),
        "cursor": surveyed.end.to_string(),
        "forks": surveyed.forks.iter().map(fork).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::{Cursor, Incarnation, NodeId, Retention, TopicId},
        wire::{MemberState, TopicSummary},
    };

    use super::*;

    #[test]
    fn json_has_the_contracts_fields() {
        let node = NodeId::from_bytes([1; 32]);
        let cursor = Cursor::start(TopicId::from_bytes([2; 32]));
        let surveyed = Surveyed {
            summary: TopicSummary {
                name: "t".parse().unwrap(),
                replicas: 3,
                min_copies: 2,
                owners: vec![node],
                records: 5,
                nodes_alive: 3,
                retention: Retention::default(),
            },
            end: cursor.clone(),
            low: cursor.clone(),
            replicas: vec![ReplicaState {
                node,
                role: Role::Home,
                state: MemberState::Alive,
                addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
                records: Some(5),
                complete: true,
            }],
            complete: true,
            forks: vec![Forked { writer: node, incarnation: Incarnation(10), at: 7 }],
        };
        let expected = json!({
            "topic": "t", "replicas": 3, "min_copies": 2, "records": 5,
            "owners": [{
                "peer": node.to_string(), "state": "alive", "role": "home", "records": 5,
                "complete": true, "addresses": [format!("/ip4/127.0.0.1/tcp/1/p2p/{node}")],
            }],
            "retain_age_ms": null, "retain_bytes": null, "retain_records": null,
            "compact": false, "keep_tombstones_ms": null,
            "cursor": cursor.to_string(), "low": cursor.to_string(),
            "forks": [{
                "writer": node.to_string(), "incarnation": "000000000000000a", "at": 7,
            }],
        });
        assert_eq!(object(&surveyed), expected);
    }
}
