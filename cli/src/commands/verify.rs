//! `antiphon topic verify`

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire::{MemberState, Role, Verified},
};
use antiphon_node::client::Client;
use serde_json::{Value, json};

use super::{
    counted,
    operator::{Operating, operating},
    shown,
};
use crate::{
    arguments::Verify,
    clock,
    context::Context,
    exit::{Failure, Status},
    hints,
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
    // Repair is the operator's.
    let repairs = if arguments.repair { Some(operating(context).await?) } else { None };
    let topics = match &arguments.topic {
        Some(topic) => vec![topic.clone()],
        None => client.topics().await?.into_iter().map(|topic| topic.name).collect(),
    };
    if topics.is_empty() {
        context.printer.note("no topics yet; `antiphon create TOPIC` creates one");
    }
    let mut compared = Vec::new();
    for topic in topics {
        let mut comparison = compare(context, &client, repairs.as_ref(), &topic).await?;
        if arguments.repair && !comparison.is_whole() {
            show(context, &topic, &comparison)?;
            wait_for_repair(context, &client, &topic, arguments.within).await?;
            comparison = compare(context, &client, repairs.as_ref(), &topic).await?;
        }
        show(context, &topic, &comparison)?;
        compared.push((topic, comparison));
    }
    match failure(&compared, arguments.repair) {
        Some(failure) => Err(failure.into()),
        None => Ok(Status::Done),
    }
}

/// What is wrong with all that was compared, in one sentence.
fn failure(compared: &[(TopicName, Comparison)], repaired: bool) -> Option<Failure> {
    let of_all = compared.len();
    let unlike: Vec<_> = compared.iter().filter(|(_, it)| !it.is_same()).collect();
    let hint = if repaired {
        "`antiphon peers` shows which nodes are away"
    } else {
        "`--repair` waits until they are repaired, and compares again"
    };
    match unlike[..] {
        [] => {}
        [(topic, _)] => {
            let message = format!("the replicas of `{topic}` differ, or have damaged records");
            return Some(Failure::failed(message).with_hint(hint));
        }
        [(first, _), ..] => {
            let count = unlike.len();
            let message = format!(
                "the replicas of {count} of {of_all} topics differ, or have damaged records: \
                    `{first}` is one"
            );
            return Some(Failure::failed(message).with_hint(hint));
        }
    }
    let unsure: Vec<_> = compared.iter().filter(|(_, it)| it.silent() > 0).collect();
    let message = match unsure[..] {
        [] => return None,
        [(topic, comparison)] => format!("{topic}: {}", comparison.verdict()),
        _ => format!(
            "{} of {of_all} topics have replicas that do not answer; the others hold the same",
            unsure.len()
        ),
    };
    Some(Failure::failed(message).with_hint(hints::AWAY))
}

/// Compares all of a topic, part by part.
async fn compare(
    context: &mut Context,
    client: &Client,
    repairs: Option<&Operating>,
    topic: &TopicName,
) -> anyhow::Result<Comparison> {
    let surveyed = client.survey(topic).await?;
    let mut after = Cursor::start(surveyed.end.topic);
    let mut comparison = Comparison::default();
    let bar = context.printer.progress();
    loop {
        let verified = match repairs {
            Some(asked) => {
                let verified = asked.client.operator().verify(topic, after).await;
                verified.map_err(|error| asked.explain(error))?
            }
            None => client.verify(topic, after).await?,
        };
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

    /// Whether all that answer hold the same, whole. What no replica holds any more is lost, and no
    /// difference between them.
    fn is_same(&self) -> bool {
        self.replicas.values().all(|sums| sums.lacking + sums.damaged + sums.differing == 0)
    }

    /// Replicas that did not answer for all.
    fn silent(&self) -> usize {
        self.replicas.values().filter(|sums| sums.silent > 0).count()
    }

    /// Whether all replicas answer, and hold the same.
    fn is_whole(&self) -> bool {
        self.is_same() && self.silent() == 0
    }

    fn verdict(&self) -> String {
        let records = counted(self.records, "record");
        let (silent, all) = (self.silent(), self.replicas.len());
        let do_not = if silent == 1 { "does not" } else { "do not" };
        match (self.is_same(), silent) {
            (true, 0) => format!("{records}, the same at all replicas"),
            (false, 0) => format!("{records}, NOT the same"),
            (true, _) => format!(
                "{silent} of {all} replicas {do_not} answer; the others hold the same {records}"
            ),
            (false, _) => {
                format!("{records}, NOT the same, and {silent} of {all} replicas {do_not} answer")
            }
        }
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
    printer.line(format_args!("{topic}: {}", comparison.verdict()))?;
    if comparison.lost > 0 {
        let lost = counted(comparison.lost, "record");
        printer.line(format_args!("{topic}: {lost} lost, held by no replica"))?;
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
        "same": comparison.is_same(),
        "silent": comparison.silent(),
        "replicas": comparison.replicas.iter().map(replica).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(topic: &str, others: &[Sums]) -> (TopicName, Comparison) {
        let sums = Sums { home: true, records: 5, ..Sums::default() };
        let all = (1..).zip([sums, sums].into_iter().chain(others.iter().copied()));
        let replicas = all.map(|(number, sums)| (NodeId::from_bytes([number; 32]), sums));
        let comparison = Comparison { records: 5, lost: 0, replicas: replicas.collect() };
        (topic.parse().unwrap(), comparison)
    }

    fn said(compared: &[(TopicName, Comparison)]) -> Option<String> {
        failure(compared, false).map(|failure| failure.to_string())
    }

    #[test]
    fn who_does_not_answer_is_no_difference() {
        let silent = Sums { home: true, silent: 1, ..Sums::default() };
        let lacking = Sums { home: true, records: 4, lacking: 1, ..Sums::default() };
        let (whole, away) = (compared("a", &[]), compared("b", &[silent, silent]));
        let unlike = compared("c", &[silent, lacking]);
        assert_eq!(said(&[compared("a", &[])]), None);
        let expected = "b: 2 of 4 replicas do not answer; the others hold the same 5 records";
        assert_eq!(said(&[whole, away]).as_deref(), Some(expected));
        let all = [compared("a", &[silent]), compared("b", &[silent]), compared("d", &[])];
        let expected = "2 of 3 topics have replicas that do not answer; the others hold the same";
        assert_eq!(said(&all).as_deref(), Some(expected));
        let expected = "the replicas of `c` differ, or have damaged records";
        assert_eq!(said(&[unlike, compared("d", &[silent])]).as_deref(), Some(expected));
    }
}
