//! `antiphon create`

use std::time::Duration;

use antiphon::{limits::REPLICAS_DEFAULT, model::Retention, wire, wire::TopicSummary};

use super::differing;
use crate::{
    arguments::Create,
    context::Context,
    exit::{Failure, Status},
    printer::Printer,
    topic_json::{TopicDone, TopicJson},
    values::Floor,
    words::{self, counted},
};

/// Creates a topic.
pub(super) async fn run(context: &mut Context, arguments: Create) -> anyhow::Result<Status> {
    let replicas = arguments.replicas.unwrap_or(REPLICAS_DEFAULT);
    let min_copies = match arguments.min_copies {
        Some(Floor::Copies(floor)) => Some(floor),
        Some(Floor::Auto) | None => None,
    };
    if let Some(floor) = min_copies.filter(|floor| *floor > replicas) {
        let message = format!("`--min-copies {floor}` is more than the {replicas} replicas");
        let hint =
            format!("ask for more `--replicas`, or for `--min-copies` of at most {replicas}");
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let client = context.client().await?;
    let create = wire::Create {
        replicas: arguments.replicas,
        min_copies,
        if_not_exists: arguments.if_not_exists,
        retention: arguments.retain.limits(),
        ..wire::Create::new(arguments.topic.clone())
    };
    let (summary, existed) = client.create(create).await?;
    if existed {
        differing::check(&arguments, &summary)?;
    }
    let status = if existed { "topic_exists" } else { "topic_created" };
    let done = TopicDone { status, topic: TopicJson::new(&summary) };
    context.printer.result(&done, text(&summary, existed))?;
    say_what_lacks(&mut context.printer, &summary);
    Ok(Status::Done)
}

/// Says that there are fewer nodes than replicas, and what follows from it.
pub(super) fn say_what_lacks(printer: &mut Printer, summary: &TopicSummary) {
    let here = summary.nodes_alive;
    if here >= u32::from(summary.replicas) {
        return;
    }
    let wanted = counted(summary.replicas.into(), "replica");
    let nodes = counted(here.into(), "node");
    let are = if here == 1 { "is" } else { "are" };
    printer
        .note(format_args!("{wanted} wanted, {nodes} {are} here: the topic spreads as nodes join"));
    if here < u32::from(summary.min_copies) {
        printer.warning(
            format_args!(
                "a publish needs {} copies, so records stay pending until more nodes join",
                summary.min_copies
            ),
            "start another node with `antiphon node`, or lower `--min-copies` with `antiphon \
                topic alter`",
        );
    }
}

/// What a topic keeps, in words that follow "keeps".
pub(super) fn kept(retention: &Retention) -> String {
    let age = retention.age_ms.map(|age| words::duration(Duration::from_millis(age)));
    let bytes = retention.bytes.map(words::size);
    let records = retention.records.map(|records| counted(records, "record"));
    let most = [bytes, records].into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let most = (!most.is_empty()).then(|| format!("at most {most}"));
    let compacted = retention.tombstones_ms.map(|_| "the newest record of each key".to_owned());
    let age = age.map(|age| if compacted.is_some() { format!("for {age}") } else { age });
    let parts: Vec<_> = [compacted, age, most].into_iter().flatten().collect();
    if parts.is_empty() { "all records".to_owned() } else { parts.join(", ") }
}

/// The terms of a topic: a sentence each.
pub(super) fn terms(summary: &TopicSummary) -> String {
    let copies = match summary.min_copies {
        1 => "1 copy".to_owned(),
        more => format!("{more} copies"),
    };
    let auto = if summary.floor_follows { " (auto)" } else { "" };
    format!("A publish needs {copies}{auto}. It keeps {}.", kept(&summary.retention))
}

fn text(summary: &TopicSummary, existed: bool) -> String {
    let name = &summary.name;
    let start = if existed { format!("`{name}` exists") } else { format!("created `{name}`") };
    let replicas = counted(summary.replicas.into(), "replica");
    let nodes = counted(summary.owners.len() as u64, "node");
    format!("{start}: {replicas}, on {nodes} now. {}", terms(summary))
}

#[cfg(test)]
mod tests {
    use antiphon::model::NodeId;

    use super::*;

    fn summary(retention: Retention) -> TopicSummary {
        TopicSummary {
            name: "quakes".parse().unwrap(),
            replicas: 3,
            min_copies: 2,
            owners: vec![NodeId::from_bytes([1; 32])],
            records: 0,
            nodes_alive: 1,
            retention,
            floor_follows: false,
        }
    }

    #[test]
    fn the_text_has_a_sentence_for_each_term() {
        let summary = summary(Retention::default());
        let created = "created `quakes`: 3 replicas, on 1 node now. \
                       A publish needs 2 copies. It keeps all records.";
        assert_eq!(text(&summary, false), created);
        assert!(text(&summary, true).starts_with("`quakes` exists: 3 replicas, "));
    }

    #[test]
    fn what_is_kept_reads_as_it_was_asked_for() {
        const DAY: u64 = 86_400_000;
        let all = Retention::default();
        let compacted = Retention { tombstones_ms: Some(DAY), ..all };
        let texts = [
            (all, "all records"),
            (Retention { age_ms: Some(7 * DAY), ..all }, "7 days"),
            (
                Retention { age_ms: Some(7 * DAY), bytes: Some(1_000_000_000), ..all },
                "7 days, at most 1 GB",
            ),
            (
                Retention { bytes: Some(1 << 30), records: Some(10_000), ..all },
                "at most 1 GiB and 10,000 records",
            ),
            (compacted, "the newest record of each key"),
            (
                Retention { age_ms: Some(365 * DAY), ..compacted },
                "the newest record of each key, for 365 days",
            ),
            (
                Retention { records: Some(1), ..compacted },
                "the newest record of each key, at most 1 record",
            ),
        ];
        for (retention, expected) in texts {
            assert_eq!(kept(&retention), expected);
        }
    }

    #[test]
    fn a_floor_that_follows_is_marked() {
        let fixed = TopicSummary { min_copies: 1, ..summary(Retention::default()) };
        assert!(terms(&fixed).starts_with("A publish needs 1 copy. "));
        let follows = TopicSummary { min_copies: 2, floor_follows: true, ..fixed };
        assert!(terms(&follows).starts_with("A publish needs 2 copies (auto). "));
    }
}
