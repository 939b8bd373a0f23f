//! `antiphon fetch`

use std::collections::BTreeSet;

use antiphon::{
    model::{NodeId, TopicName},
    wire::{LogRange, Role, Surveyed},
};
use antiphon_node::client::{Client, End, PassedOver, Reader, ReaderOptions};
use bytes::Bytes;
use serde_json::json;

use super::counted;
use crate::{
    arguments::{Fetch, Reading},
    clock,
    context::Context,
    exit::{Failure, Status},
    hints,
    json::{Form, RecordPrinter},
    peer::PeerArgument,
    place::{self, Place},
    printer::Printer,
};

/// Prints what is stored of a topic.
pub(super) async fn run(context: &mut Context, arguments: Fetch) -> anyhow::Result<Status> {
    let mut options = reader_options(true, &arguments.reading, End::Stored)?;
    let mut records = RecordPrinter::new(form(context, &arguments.reading)?);
    let client = context.client().await?;
    let topic = arguments.topic;
    options.writer = writer(&client, Some(&topic), &arguments.reading).await?;
    let mut reader = client.reader(topic.clone(), options).await?;
    let printer = &mut context.printer;
    let limit = arguments.reading.count.unwrap_or(u64::MAX);
    let mut count = 0;
    while count < limit {
        let next = reader.try_next();
        let next = match arguments.idle {
            Some(idle) => tokio::time::timeout(idle, next).await.ok(),
            None => Some(next.await),
        };
        let Some(next) = next else {
            let hint = "`antiphon info TOPIC` shows which replicas are away";
            printer.warning("no record arrived for that long; more may be stored", hint);
            break;
        };
        let Some(delivered) = next? else {
            break;
        };
        records.print(printer, &topic, &delivered, None, Some(reader.cursor()))?;
        count += 1;
    }
    printer.flush()?;
    if count == 0 && limit > 0 && printer.is_terminal() {
        let filtered = arguments.reading.key.is_some() || arguments.reading.writer.is_some();
        printer.note(if filtered { "no record matches" } else { "no records" });
    }
    tell_passed_over(printer, &reader.take_passed_over());
    warn_if_incomplete(printer, reader.surveyed());
    if arguments.reading.count.is_some() {
        say_where(printer, &reader, count);
    }
    Ok(Status::Done)
}

/// Says what a reader passed over, for retention let it go or nobody has it any more.
pub(super) fn tell_passed_over(printer: &mut Printer, passed_over: &PassedOver) {
    let PassedOver { trimmed, lost, withheld, .. } = passed_over;
    if !trimmed.is_empty() {
        let value = |range: &LogRange| {
            json!({
                "writer": range.log.writer.to_string(),
                "from": range.from,
                "to": range.to,
            })
        };
        let records = trimmed.iter().map(|range| range.to - range.from).sum();
        let ranges: Vec<_> = trimmed.iter().map(value).collect();
        let text = format!("trimmed: {} skipped, deleted by retention", counted(records, "record"));
        printer.status(&json!({ "status": "trimmed", "records": records, "ranges": ranges }), text);
    }
    for lost in lost {
        printer.warning(
            format_args!(
                "records {} to {} of {} are lost: no node of the network holds them",
                lost.from,
                lost.to - 1,
                lost.log.writer
            ),
            "more `--replicas` and `--min-copies` survive the loss of more disks",
        );
    }
    for withheld in withheld {
        printer.warning(
            format_args!(
                "records {} to {} of {} are withheld: their writer has signed that they exist, and \
                 no node gives them",
                withheld.from,
                withheld.to - 1,
                withheld.log.writer
            ),
            "the writer is new to the network, or unknown; try again when it can be reached",
        );
    }
}

/// Says that there may be more than was told of.
pub(super) fn warn_if_incomplete(printer: &mut Printer, surveyed: &Surveyed) {
    if surveyed.complete {
        return;
    }
    let homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
    let away: Vec<_> = homes.clone().filter(|home| home.records.is_none()).collect();
    let ids: Vec<_> = away.iter().map(|home| home.node.short()).collect();
    let (away, homes, topic) = (away.len(), homes.count(), &surveyed.summary.name);
    let (do_, ids) = (if away == 1 { "does" } else { "do" }, ids.join(", "));
    printer.warning(
        format_args!(
            "{away} of {homes} replicas of `{topic}` {do_} not answer; acknowledged records may be \
             missing: {ids}"
        ),
        hints::AWAY,
    );
}

/// Says where to go on, to those who read page by page.
fn say_where(printer: &mut Printer, reader: &Reader, count: u64) {
    let cursor = reader.cursor().to_string();
    let text = format!("{}; continue with --from {cursor}", counted(count, "record"));
    printer.status(&json!({ "status": "fetched", "records": count, "cursor": cursor }), text);
}

/// How records are written.
pub(super) fn form(context: &Context, reading: &Reading) -> Result<Form, Failure> {
    let is_json = context.printer.is_json();
    if reading.cursor && !is_json {
        let hint = "`--json --cursor`, or `%c` in a `--format`";
        return Err(Failure::usage("`--cursor` is for `--json`").with_hint(hint));
    }
    Ok(match &reading.format {
        _ if is_json => Form::Json { with_cursor: reading.cursor },
        Some(template) => Form::Template(template.clone()),
        None if reading.raw => Form::Raw,
        None => Form::Text,
    })
}

/// What to read, from where to where, of one topic or of several.
pub(super) fn reader_options(
    is_of_one: bool,
    reading: &Reading,
    end: End,
) -> Result<ReaderOptions, Failure> {
    let places = [reading.from.as_ref(), reading.to.as_ref()];
    if !is_of_one && places.into_iter().flatten().any(|place| matches!(place, Place::Cursor(_))) {
        let hint = "with a pattern a place is `start`, `end`, `-N`, `@-1h` or `@TIME`";
        let message = "a cursor is a place in one topic; a pattern matches several";
        return Err(Failure::usage(message).with_hint(hint));
    }
    let now = clock::now();
    let start = reading.from.clone().unwrap_or_default().start(now)?;
    let end = match &reading.to {
        Some(to) => to.end(now)?,
        None => end,
    };
    if place::is_empty(&start, &end) {
        let hint = "`--to` must be a later place than `--from`";
        return Err(Failure::usage("nothing is between `--from` and `--to`").with_hint(hint));
    }
    let key = reading.key.as_ref().map(|key| Bytes::copy_from_slice(key.as_bytes()));
    let mut options = ReaderOptions::new().start(start).end(end);
    options.key = key;
    Ok(options)
}

/// The node whose records are wanted: one that the network knows, or that wrote to the topic.
pub(super) async fn writer(
    client: &Client,
    topic: Option<&TopicName>,
    reading: &Reading,
) -> anyhow::Result<Option<NodeId>> {
    let Some(argument) = &reading.writer else { return Ok(None) };
    if let PeerArgument::Whole(node) = argument {
        return Ok(Some(*node));
    }
    let mut nodes: BTreeSet<_> = client.peers().await?.iter().map(|peer| peer.node).collect();
    if let Some(topic) = topic {
        nodes.extend(client.survey(topic).await?.end.logs.keys().map(|log| log.writer));
    }
    Ok(Some(argument.among(nodes)?))
}
