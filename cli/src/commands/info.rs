//! `antiphon info`

use antiphon::wire::{Forked, Surveyed};
use serde::Serialize;

use super::{create::kept, shown};
use crate::{
    arguments::Info,
    context::Context,
    exit::Status,
    printer::Printer,
    table::Table,
    topic_json::{TopicJson, full_addresses, role},
    words::grouped,
};

/// Shows how far a topic goes and who holds it.
pub(super) async fn run(context: &mut Context, arguments: Info) -> anyhow::Result<Status> {
    let surveyed = context.client().await?.survey(&arguments.topic).await?;
    let printer = &mut context.printer;
    if printer.is_json() {
        printer.object(&InfoJson::new(&surveyed))?;
        return Ok(Status::Done);
    }
    let summary = &surveyed.summary;
    printer.line(format_args!("topic     {}", summary.name))?;
    printer.line(format_args!(
        "replicas  {}, of which {}{} acknowledge a publish",
        summary.replicas,
        summary.min_copies,
        if summary.floor_follows { " (auto)" } else { "" }
    ))?;
    printer.line(format_args!("keeps     {}", kept(&summary.retention)))?;
    // Which of them are stored twice under one name only a reader finds out.
    printer.line(format_args!(
        "records   {} stored; one that was sent twice counts twice",
        grouped(summary.records)
    ))?;
    if printer.is_verbose() {
        printer.line(format_args!("id        {}", surveyed.end.topic))?;
        printer.line(format_args!("cursor    {}", surveyed.end))?;
    }
    printer.line("")?;
    printer.table(&replicas(printer, &surveyed))?;
    if !surveyed.forks.is_empty() {
        printer.line("")?;
        printer.table(&forks(printer, &surveyed))?;
    }
    Ok(Status::Done)
}

fn replicas(printer: &Printer, surveyed: &Surveyed) -> Table {
    let mut header = vec!["REPLICA", "STATE", "ROLE", "RECORDS", "COMPLETE"];
    // `antiphon peers` shows a person where nodes are.
    if !printer.is_brief() {
        header.push("ADDRESSES");
    }
    let mut table = Table::new(&header);
    for replica in &surveyed.replicas {
        let mut row = vec![
            shown(printer, replica.node),
            replica.state_as_str().to_owned(),
            role(replica.role).to_owned(),
            replica.records.map_or_else(|| "-".to_owned(), |records| records.to_string()),
            if replica.complete { "yes" } else { "no" }.to_owned(),
        ];
        if !printer.is_brief() {
            row.push(full_addresses(replica.node, &replica.addresses).join(" "));
        }
        table.push(row);
    }
    table
}

fn forks(printer: &Printer, surveyed: &Surveyed) -> Table {
    let mut table = Table::new(&["FORKED WRITER", "INCARNATION", "AT"]);
    for fork in &surveyed.forks {
        table.push(vec![shown(printer, fork.writer), incarnation(fork), fork.at.to_string()]);
    }
    table
}

fn incarnation(fork: &Forked) -> String {
    format!("{:016x}", fork.incarnation.0)
}

/// The fields that only `info` has.
#[derive(Debug, Serialize)]
struct InfoJson<'a> {
    #[serde(flatten)]
    topic: TopicJson<'a>,
    id: String,
    low: String,
    cursor: String,
    forks: Vec<ForkJson>,
}

#[derive(Debug, Serialize)]
struct ForkJson {
    writer: String,
    incarnation: String,
    at: u64,
}

impl<'a> InfoJson<'a> {
    fn new(surveyed: &'a Surveyed) -> Self {
        let fork = |fork: &Forked| ForkJson {
            writer: fork.writer.to_string(),
            incarnation: incarnation(fork),
            at: fork.at,
        };
        Self {
            topic: TopicJson::surveyed(surveyed),
            id: surveyed.end.topic.to_string(),
            low: surveyed.low.to_string(),
            cursor: surveyed.end.to_string(),
            forks: surveyed.forks.iter().map(fork).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::{Cursor, Incarnation, NodeId, Retention, TopicId},
        wire::{MemberState, ReplicaState, Role, TopicSummary},
    };
    use serde_json::json;

    use super::*;

    fn surveyed() -> Surveyed {
        let node = NodeId::from_bytes([1; 32]);
        let cursor = Cursor::start(TopicId::from_bytes([2; 32]));
        Surveyed {
            summary: TopicSummary {
                name: "t".parse().unwrap(),
                replicas: 3,
                min_copies: 2,
                owners: vec![node],
                records: 5,
                nodes_alive: 3,
                retention: Retention::default(),
                floor_follows: false,
            },
            end: cursor.clone(),
            low: cursor,
            replicas: vec![ReplicaState {
                node,
                role: Role::Home,
                state: MemberState::Alive,
                addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
                records: Some(5),
                complete: true,
                stopped: false,
            }],
            complete: true,
            forks: vec![Forked { writer: node, incarnation: Incarnation(10), at: 7 }],
        }
    }

    #[test]
    fn tables_fit_a_terminal() {
        let mut surveyed = surveyed();
        surveyed.replicas[0].role = Role::StandIn;
        surveyed.replicas[0].state = MemberState::Suspect;
        surveyed.replicas[0].records = Some(12_345_678_901);
        let printer = Printer::to_terminal();
        let lines = replicas(&printer, &surveyed).lines(true);
        assert_eq!(lines[0], "REPLICA   STATE    ROLE      RECORDS      COMPLETE");
        assert!(lines[1].ends_with("suspect  stand-in  12345678901  yes"), "{}", lines[1]);
        let all = lines.into_iter().chain(forks(&printer, &surveyed).lines(true));
        assert!(all.into_iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn json_adds_the_ends_of_the_topic_and_its_forks() {
        let surveyed = surveyed();
        let (node, cursor) = (surveyed.replicas[0].node, surveyed.end.clone());
        let mut expected = serde_json::to_value(TopicJson::surveyed(&surveyed)).unwrap();
        expected["id"] = json!(cursor.topic.to_string());
        expected["low"] = json!(cursor.to_string());
        expected["cursor"] = json!(cursor.to_string());
        expected["forks"] = json!([{
            "writer": node.to_string(), "incarnation": "000000000000000a", "at": 7,
        }]);
        assert_eq!(serde_json::to_value(InfoJson::new(&surveyed)).unwrap(), expected);
    }
}
