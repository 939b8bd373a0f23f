//! `antiphon verify`

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire::{MemberState, Role, Verified},
};
use antiphon_node::client::{Client, RequestError};
use serde_json::{Value, json};

use super::{counted, shown};
use crate::{
    arguments::Verify,
    clock,
    context::Context,
    exit::{Failure, Status},
    table::Table,
};

/// How often it is looked whether a repair is done.
const REPAIR_POLL: Duration = Duration::from_millis(500);

/// What a replica's disk holds of a topic, as far as it was compared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    home: bool,
    /// Parts that it did not answer for.
    silent: u64,
    records: u64,
    lacking: u64,
    damaged: u64,
    differing: u64,
}

/// What came of comparing a topic.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    records: u64,
    lost: u64,
    replicas: BTreeMap<NodeId, Sums>,
}

/// Compares the disks of the replicas.
pub(super) async fn run(context: &mut Context, arguments: Verify) -> anyhow::Result<Status> {
    let client = context.client().await?;
    let topics = match &arguments.topic {
        Some(topic) => vec![topic.clone()],
        None => client.topics().await?.into_iter().map(|topic| topic.name).collect(),
    };
    if topics.is_empty() {
        context.printer.note("no topics yet; `antiphon create TOPIC` makes one");
    }
    let mut unlike = Vec::new();
    for topic in topics {
        let mut comparison = compare(context, &client, &topic).await?;
        if arguments.repair && !comparison.is_whole() {
            show(context, &topic, &comparison)?;
            wait_for_repair(context, &client, &topic, arguments.within).await?;
            comparison = compare(context, &client, &topic).await?;
        }
        show(context, &topic, &comparison)?;
        if !comparison.is_whole() {
            unlike.push(topic);
        }
    }
    if let Some(topic) = unlike.first() {
        let failure = if unlike.len() == 1 {
            Failure::failed(format!("the replicas of `{topic}` do not hold the same, whole"))
        } else {
            Failure::failed(format!("{} topics are not the same at all replicas", unlike.len()))
        };
        let hint = if arguments.repair {
            "`antiphon peers` shows which nodes are away"
        } else {
            "`--repair` waits until they are repaired, and compares again"
        };
        return Err(failure.with_hint(hint).into());
    }
    Ok(Status::Done)
}

/// Compares all of a topic, part by part.
async fn compare(
    context: &mut Context,
    client: &Client,
    topic: &TopicName,
) -> Result<Comparison, RequestError> {
    let surveyed = client.survey(topic).await?;
    let mut after = Cursor::start(surveyed.end.topic);
    let mut comparison = Comparison::default();
    let bar = context.printer.progress();
    loop {
        let verified = client.verify(topic, after).await?;
        comparison.add(&verified);
        bar.set_position(comparison.records);
        if verified.finished {
            bar.finish_and_clear();
            return Ok(comparison);
        }
        after = verified.next;
    }
}

impl Comparison {
    fn add(&mut self, verified: &Verified) {
        self.records += verified.records;
        self.lost += verified.lost;
        for replica in &verified.replicas {
            let sums = self.replicas.entry(replica.node).or_default();
            sums.home |= replica.role == Role::Home;
            sums.silent += u64::from(!replica.answered);
            sums.records += replica.records;
            sums.lacking += replica.lacking;
            sums.damaged += replica.damaged;
            sums.differing += replica.differing;
        }
    }

    /// Whether all home replicas hold the same, whole. What no replica holds any more is lost, and
    /// no difference between them.
    fn is_whole(&self) -> bool {
        self.replicas
            .values()
            .all(|sums| sums.silent + sums.lacking + sums.damaged + sums.differing == 0)
    }
}

/// Waits until all replicas say that they hold all.
async fn wait_for_repair(
    context: &mut Context,
    client: &Client,
    topic: &TopicName,
    within: Duration,
) -> anyhow::Result<()> {
    context.printer.note(format_args!("waiting for the repair of `{topic}`"));
    let deadline = clock::instant().checked_add(within);
    loop {
        let surveyed = client.survey(topic).await?;
        let homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
        let is_whole = |state: MemberState, complete| state == MemberState::Alive && complete;
        if homes.into_iter().all(|home| is_whole(home.state, home.complete)) {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| deadline <= clock::instant()) {
            let within = humantime::format_duration(within);
            return Err(Failure::failed(format!("`{topic}` is not repaired within {within}"))
                .with_hint("`antiphon info TOPIC` shows which replicas are away or incomplete")
                .into());
        }
        clock::sleep_until(clock::instant().checked_add(REPAIR_POLL)).await;
    }
}

fn show(context: &mut Context, topic: &TopicName, comparison: &Comparison) -> anyhow::Result<()> {
    let printer = &mut context.printer;
    if printer.is_json() {
        printer.object(&object(topic, comparison))?;
        return Ok(());
    }
    let verdict = if comparison.is_whole() { "the same at all replicas" } else { "NOT the same" };
    printer.line(format_args!("{topic}: {}, {verdict}", counted(comparison.records, "record")))?;
    if comparison.lost > 0 {
        let lost = counted(comparison.lost, "record");
        printer.line(format_args!("{topic}: {lost} held by no replica any more"))?;
    }
    let header = ["REPLICA", "ROLE", "RECORDS", "LACKING", "DAMAGED", "DIFFERING"];
    let mut table = Table::new(&header);
    for (node, sums) in &comparison.replicas {
        let number = |count: u64| {
            if sums.silent > 0 { "no answer".to_owned() } else { count.to_string() }
        };
        table.push(vec![
            shown(printer, *node),
            role(sums).to_owned(),
            number(sums.records),
            number(sums.lacking),
            number(sums.damaged),
            number(sums.differing),
        ]);
    }
    printer.table(&table)?;
    Ok(())
}

fn role(sums: &Sums) -> &'static str {
    if sums.home { "home" } else { "stand-in" }
}

fn object(topic: &TopicName, comparison: &Comparison) -> Value {
    let replica = |(node, sums): (&NodeId, &Sums)| {
        json!({
            "peer": node.to_string(),
            "role": role(sums),
            "answered": sums.silent == 0,
            "records": sums.records,
            "lacking": sums.lacking,
            "damaged": sums.damaged,
            "differing": sums.differing,
        })
    };
    json!({
        "topic": topic.as_str(),
        "records": comparison.records,
        "lost": comparison.lost,
        "same": comparison.is_whole(),
        "replicas": comparison.replicas.iter().map(replica).collect::<Vec<_>>(),
    })
}
