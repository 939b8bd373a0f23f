//! `antiphon topic export`

mod destination;

use std::path::Path;

use antiphon::{
    model::{Batch, Compacted, Hash, LogId, TopicName},
    wire::{
        LogRange,
        archive::{ArchiveError, Encoder, Opening, Passed, Section},
    },
};
use antiphon_node::client::{
    BatchPage, BatchReader, Client, PassedOver, ReaderOptions, Refusal, RequestError,
};
use anyhow::Context as _;
use serde_json::{Value, json};

use self::destination::Destination;
use super::{counted, fetch};
use crate::{
    arguments::{Export, ExportFormat},
    context::Context,
    exit::{Failure, Status},
    json::{Form, RecordPrinter},
    printer::Printer,
    words,
};

/// Writes a topic to a file.
pub(super) async fn run(context: &mut Context, arguments: Export) -> anyhow::Result<Status> {
    match arguments.format {
        ExportFormat::Archive => export(context, arguments).await,
        ExportFormat::Ndjson => export_lines(context, arguments).await,
    }
}

/// Whether it writes to standard output and to no file.
pub(super) fn is_to_output(arguments: &Export) -> bool {
    destination::is_output(&arguments.file)
}

async fn export(context: &mut Context, arguments: Export) -> anyhow::Result<Status> {
    let Export { topic, file, force, .. } = arguments;
    let (mut destination, encoder) = Destination::open(&file, force)?;
    let before = encoder.contents().records();
    let mut archive = Archive { client: context.client().await?, encoder, topic };
    let written = archive.write(context, &mut destination, &file).await;
    let (batches, passed) = match written {
        Ok(written) => written,
        Err(error) => {
            destination.abandon(true);
            return Err(error);
        }
    };
    let bytes = destination.finish(&mut context.printer)?;
    fetch::tell_passed_over(&mut context.printer, &passed);
    fetch::warn_if_incomplete(&mut context.printer, batches.surveyed());
    let contents = archive.encoder.contents();
    let value = json!({
        "status": "exported",
        "topic": archive.topic.as_str(),
        "file": file.display().to_string(),
        "batches": contents.batches(),
        "records": contents.records(),
        "bytes": bytes,
        "records_before": before,
        "cursor": contents.cursor().map(ToString::to_string),
    });
    say_done(context, &file, &value, contents.records(), bytes)
}

/// An archive that is being written.
struct Archive {
    client: Client,
    encoder: Encoder,
    topic: TopicName,
}

impl Archive {
    /// Writes what the archive does not have yet.
    async fn write(
        &mut self,
        context: &mut Context,
        destination: &mut Destination,
        file: &Path,
    ) -> anyhow::Result<(BatchReader, PassedOver)> {
        let cursor = self.encoder.contents().cursor().cloned();
        let mut batches = match self.client.batches(self.topic.clone(), cursor).await {
            Err(RequestError::Refused(Refusal::ForeignCursor)) => {
                return Err(of_another_topic(file).into());
            }
            batches => batches?,
        };
        if self.encoder.contents().opening().is_none() {
            let descriptor = self.client.describe(&self.topic).await?;
            let network = context.options.network.clone();
            let opening = Opening::new(network, descriptor, batches.surveyed().end.topic);
            let opening = Section::Opening(Box::new(opening));
            destination.write(&mut context.printer, &self.encoder.encode(&opening)?)?;
        } else {
            let records = counted(self.encoder.contents().records(), "record");
            context.printer.note(format_args!("resuming an export of {records}"));
        }
        let surveyed = batches.surveyed();
        let total = surveyed.end.records().saturating_sub(surveyed.low.records());
        let bar = context.printer.progress_of("exported", total);
        let mut passed = PassedOver::default();
        while let Some(page) = batches.next().await.with_context(|| interrupted(file))? {
            for part in self.sections(&page).await? {
                destination.write(&mut context.printer, &part)?;
            }
            passed.trimmed.extend(page.trimmed);
            passed.lost.extend(page.lost);
            bar.set_position(self.encoder.contents().records());
        }
        passed.withheld.extend_from_slice(batches.withheld());
        destination.write(&mut context.printer, &self.encoder.finish()?)?;
        bar.finish_and_clear();
        Ok((batches, passed))
    }

    /// What a page of batches adds to the archive.
    async fn sections(&mut self, page: &BatchPage) -> anyhow::Result<Vec<bytes::Bytes>> {
        let mut parts = Vec::with_capacity(page.batches.len());
        for batch in &page.batches {
            if self.encoder.contents().lacks_proof_of(batch) {
                let proofs = self.client.fork_proofs(batch.header().topic).await?;
                for proof in proofs {
                    if !self.encoder.contents().forks().contains(&proof) {
                        parts.push(self.encode(&Section::Fork(proof))?);
                    }
                }
            }
            while let Some(section) = self.before(page, batch) {
                parts.push(self.encode(&section)?);
            }
            parts.push(self.encode(&Section::Batch(batch.clone()))?);
        }
        Ok(parts)
    }

    /// What comes next of what is missing before a batch; none where the batch does.
    fn before(&self, page: &BatchPage, batch: &Batch) -> Option<Section> {
        let (log, first) = (batch.log(), batch.header().first);
        let logs = &self.encoder.contents().cursor()?.logs;
        let position = logs.get(&log);
        let next = position.map_or(0, |position| position.next);
        if next >= first || position.is_none() && batch.is_root() {
            return None;
        }
        missing_at(page, log, position.map_or((0, None), |at| (at.next, at.head)), first)
    }

    fn encode(&mut self, section: &Section) -> Result<bytes::Bytes, Failure> {
        self.encoder.encode(section).map_err(|error| {
            let hint = "`--force` exports it again";
            match error {
                ArchiveError::BeyondFork | ArchiveError::Order | ArchiveError::Unproven => {
                    Failure::failed("a log of the topic has forked since the export began")
                        .with_hint(hint)
                }
                error => Failure::failed(error.to_string()).with_hint(hint),
            }
        })
    }
}

/// Writes records for people and other programs.
async fn export_lines(context: &mut Context, arguments: Export) -> anyhow::Result<Status> {
    let Export { topic, file, force, .. } = arguments;
    let client = context.client().await?;
    let mut reader = client.reader(topic.clone(), ReaderOptions::default()).await?;
    let mut destination = Destination::anew(&file, force)?;
    let surveyed = reader.surveyed();
    let total = surveyed.end.records() - surveyed.low.records();
    let bar = context.printer.progress_of("exported", total);
    let mut records = RecordPrinter::new(Form::Json { with_cursor: false });
    let (mut count, mut line) = (0, Vec::new());
    loop {
        let delivered = match reader.try_next().await {
            Ok(Some(delivered)) => delivered,
            Ok(None) => break,
            Err(error) => {
                destination.abandon(false);
                return Err(error.into());
            }
        };
        line.clear();
        records.write_json(&mut line, &topic, &delivered)?;
        destination.write(&mut context.printer, &line)?;
        count += 1;
        bar.set_position(count);
    }
    let bytes = destination.finish(&mut context.printer)?;
    bar.finish_and_clear();
    fetch::tell_passed_over(&mut context.printer, &reader.take_passed_over());
    fetch::warn_if_incomplete(&mut context.printer, reader.surveyed());
    let value = json!({
        "status": "exported",
        "topic": topic.as_str(),
        "file": file.display().to_string(),
        "records": count,
        "bytes": bytes,
        "cursor": reader.cursor().to_string(),
    });
    say_done(context, &file, &value, count, bytes)
}

/// Says what was written: as data, unless the export itself is that.
fn say_done(
    context: &mut Context,
    file: &Path,
    value: &Value,
    records: u64,
    bytes: u64,
) -> anyhow::Result<Status> {
    let printer: &mut Printer = &mut context.printer;
    let text = format!("{} exported, {}", counted(records, "record"), words::size(bytes));
    if destination::is_output(file) {
        printer.status(value, text);
    } else {
        printer.result(value, format_args!("{text}: {}", file.display()))?;
    }
    Ok(Status::Done)
}

fn interrupted(file: &Path) -> String {
    if destination::is_output(file) {
        "the export is incomplete".to_owned()
    } else {
        "the export was interrupted; run it again, and it resumes".to_owned()
    }
}

/// What is missing of a log at a place in it, behind the batch of this hash, and before a batch.
fn missing_at(
    page: &BatchPage,
    log: LogId,
    (next, head): (u64, Option<Hash>),
    first: u64,
) -> Option<Section> {
    if let Some(part) = page.compacted.iter().find(|part| part.covers(&log, next)) {
        // Some of it may be there already, as batches, or may have been passed over.
        let base = if part.first == next { part.base } else { head };
        return Some(Section::Compacted(Compacted { first: next, base, ..part.clone() }));
    }
    let covers = |range: &&LogRange| range.log == log && range.from <= next && next < range.to;
    let passed = |ranges: &[LogRange], trimmed| {
        let range = ranges.iter().find(covers)?;
        let range = LogRange { from: next, to: range.to.min(first), ..*range };
        Some(Section::Passed(Passed { range, trimmed }))
    };
    passed(&page.trimmed, true).or_else(|| passed(&page.lost, false))
}

fn of_another_topic(file: &Path) -> Failure {
    let part = destination::part_of(file);
    Failure::failed(format!("{} is the beginning of another topic's export", part.display()))
        .with_hint("name another file, or replace it with `--force`")
}

#[cfg(test)]
mod tests {
    use antiphon::model::{Incarnation, NodeId, Stamp};

    use super::*;

    #[test]
    fn all_that_is_missing_before_a_batch_is_told_in_order() {
        let log = |number| LogId {
            writer: NodeId::from_bytes([1; 32]),
            incarnation: Incarnation(number),
        };
        let range = |number, from, to| LogRange { log: log(number), from, to };
        let (head, stamp, batches) = (Hash([7; 32]), Stamp::default(), Vec::new());
        let base = Some(Hash([6; 32]));
        let part = Compacted { log: log(1), first: 9, next: 12, base, head, stamp, batches };
        let page = BatchPage {
            batches: Vec::new(),
            lost: vec![range(1, 5, 9), range(2, 0, 9), range(1, 9, 9)],
            trimmed: vec![range(1, 12, 14), range(1, 3, 5)],
            compacted: vec![part.clone()],
        };
        let before = |number, at, to| missing_at(&page, log(number), (at, Some(Hash([5; 32]))), to);
        let passed = |number, from, to, trimmed| {
            Some(Section::Passed(Passed { range: range(number, from, to), trimmed }))
        };
        assert_eq!(before(1, 3, 14), passed(1, 3, 5, true));
        assert_eq!(before(1, 4, 14), passed(1, 4, 5, true));
        assert_eq!(before(1, 5, 14), passed(1, 5, 9, false));
        assert_eq!(before(1, 9, 14), Some(Section::Compacted(part.clone())));
        let rest = Compacted { first: 10, base: Some(Hash([5; 32])), ..part };
        assert_eq!(before(1, 10, 14), Some(Section::Compacted(rest)), "from within it");
        assert_eq!(before(1, 12, 14), passed(1, 12, 14, true));
        assert_eq!(before(2, 0, 9), passed(2, 0, 9, false));
        assert_eq!(before(2, 9, 14), None);
    }
}
