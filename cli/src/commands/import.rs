//! `antiphon topic import`

mod creation;
mod pages;

use std::{
    io::{Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use antiphon::{
    model::TopicName,
    wire::{
        Outcome, Refusal,
        archive::{ArchiveError, Contents, Decoder},
    },
};
use antiphon_node::client::{self, Client, RequestError};
use anyhow::Context as _;
use fs_err::File;
use indicatif::ProgressBar;
use serde_json::json;

use self::{
    creation::create,
    pages::{Page, Pages},
};
use super::counted;
use crate::{
    archive::{ArchiveReader, ReadError},
    arguments::Import,
    clock,
    context::Context,
    exit::{Failure, Status},
    words,
};

/// Pause before what did not reach enough replicas is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Records, by what became of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    imported: u64,
    present: u64,
    trimmed: u64,
}

impl Tally {
    fn all(self) -> u64 {
        self.imported + self.present + self.trimmed
    }
}

/// Stores an exported topic.
pub(super) async fn run(context: &mut Context, arguments: Import) -> anyhow::Result<Status> {
    let mut file = open(&arguments.file)?;
    let length = file.metadata()?.len();
    let bar = context.printer.progress_of_bytes("verified", length);
    let contents = verify(&mut file, &arguments.file, &bar).await?;
    bar.finish_and_clear();
    let Some(opening) = contents.opening() else {
        return Err(ArchiveError::Truncated.into());
    };
    let had = &opening.descriptor.descriptor().name;
    let name = arguments.name.as_ref().unwrap_or(had).clone();
    let client = context.client().await?;
    let existed = create(&client, opening, &name, &arguments).await?;
    let before = client.survey(&name).await?;

    file.seek(SeekFrom::Start(0))?;
    let mut pages = Pages::new(ArchiveReader::new(file), &contents, name.clone(), before);
    let bar = context.printer.progress_of("imported", contents.records());
    let mut tally = Tally::default();
    let sender = Sender { client, timeout: context.options.timeout };
    while let Some(page) = pages.next().context("the file has changed since it was verified")? {
        sender.store(page, &mut tally).await?;
        bar.set_position(tally.all());
    }
    bar.finish_and_clear();
    let value = json!({
        "status": "imported",
        "topic": name.as_str(),
        "topic_created": !existed,
        "batches": contents.batches(),
        "records": contents.records(),
        "imported": tally.imported,
        "present": tally.present,
        "trimmed": tally.trimmed,
        "bytes": length,
    });
    context.printer.result(&value, text(&name, existed, tally, length))?;
    Ok(Status::Done)
}

fn text(name: &TopicName, existed: bool, tally: Tally, length: u64) -> String {
    let topic = if existed { "topic" } else { "new topic" };
    let mut parts =
        vec![format!("{} imported into {topic} `{name}`", counted(tally.imported, "record"))];
    if tally.present > 0 {
        parts.push(format!("{} there before", tally.present));
    }
    if tally.trimmed > 0 {
        parts.push(format!("{} skipped, deleted by retention before", tally.trimmed));
    }
    parts.push(format!("{} verified", words::size(length)));
    parts.join(", ")
}

fn open(path: &Path) -> anyhow::Result<File> {
    if path == Path::new("-") {
        let message = "an import reads its file twice, so it cannot be standard input";
        return Err(Failure::usage(message).with_hint("write it to a file first").into());
    }
    Ok(File::open(path)?)
}

/// Reads all of a file and verifies it: what it has.
async fn verify(file: &mut File, path: &Path, bar: &ProgressBar) -> anyhow::Result<Contents> {
    let mut reader = ArchiveReader::new(file);
    let mut sections = 0;
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(reader.into_decoder().contents().clone()),
            Err(ReadError::Input(error)) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
            Err(ReadError::Archive(error)) => {
                return Err(damaged(path, &error, reader.decoder()).into());
            }
        }
        bar.set_position(reader.decoder().position());
        sections += 1;
        if sections % SECTIONS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Sections that are verified before an interruption is looked for.
const SECTIONS_PER_TURN: u64 = 64;

/// What is wrong with a file, and how much of it is not.
fn damaged(path: &Path, error: &ArchiveError, decoder: &Decoder) -> Failure {
    let (path, position, contents) = (path.display(), decoder.position(), decoder.contents());
    match error {
        ArchiveError::NotAnArchive => {
            return Failure::failed(format!("{path} is not an exported topic")).with_hint(
                "`antiphon topic export TOPIC FILE` writes one; lines are published with \
                 `antiphon publish TOPIC < FILE`",
            );
        }
        ArchiveError::Version => {
            return Failure::failed(format!("{path}: {error}"))
                .with_hint("a newer `antiphon` wrote it; compare `antiphon --version`");
        }
        _ => {}
    }
    let batches = if contents.batches() == 1 { "batch" } else { "batches" };
    let good = format!(
        "{} {batches} with {} before that are undamaged; nothing was imported",
        contents.batches(),
        counted(contents.records(), "record"),
    );
    if *error == ArchiveError::Truncated {
        let message = format!("{path} ends after byte {position}, before its end mark: {good}");
        return Failure::failed(message).with_hint(
            "copy it again; if the export was interrupted, run `antiphon topic export` again, and \
                it resumes",
        );
    }
    Failure::failed(format!("{path} is damaged after byte {position} ({error}): {good}"))
        .with_hint("copy the file again, or export the topic again")
}

/// Brings batches to the replicas.
struct Sender {
    client: Client,
    /// Time for a page to reach enough of them.
    timeout: Duration,
}

impl Sender {
    /// Stores a page; what does not reach enough replicas is sent again for a while.
    async fn store(&self, mut page: Page, tally: &mut Tally) -> anyhow::Result<()> {
        let deadline = clock::instant().checked_add(self.timeout);
        let mut again = false;
        loop {
            let outcomes = match self.client.import(page.to_request()).await {
                Ok(outcomes) => outcomes,
                Err(RequestError::Refused(
                    client::Refusal::Busy | client::Refusal::OverBudget { .. },
                )) => page.all_refused(&Refusal::Busy),
                Err(error) => return Err(error).context(stopped(*tally)),
            };
            let refusal = page.keep_refused(&outcomes, |outcome, records| match outcome {
                // It was not on enough replicas a moment ago.
                Outcome::Stored => tally.imported += records,
                Outcome::Present if again => tally.imported += records,
                Outcome::Present => tally.present += records,
                Outcome::Trimmed => tally.trimmed += records,
                Outcome::Refused(_) => {}
            });
            let Some(refusal) = refusal else {
                return Ok(());
            };
            let may_pass = matches!(
                refusal,
                Refusal::Busy | Refusal::Full(_) | Refusal::Stopping(_) | Refusal::Unreachable
            );
            if !may_pass {
                return Err(RequestError::from(client::Refusal::from(refusal)))
                    .context(stopped(*tally));
            }
            if deadline.is_some_and(|deadline| deadline <= clock::instant()) {
                return Err(pending(&refusal, self.timeout, *tally).into());
            }
            again = true;
            clock::sleep_until(clock::instant().checked_add(RETRY_PAUSE)).await;
        }
    }
}

fn stopped(tally: Tally) -> String {
    let records = counted(tally.imported + tally.present, "record");
    format!("the import stopped with {records} in the topic; run it again, and it resumes")
}

fn pending(refusal: &Refusal, timeout: Duration, tally: Tally) -> Failure {
    let within = humantime::format_duration(timeout);
    let reason = match refusal {
        Refusal::Unreachable => String::new(),
        refusal => format!(" ({refusal})"),
    };
    let stopped = stopped(tally);
    Failure::pending(format!(
        "too few replicas have the next records after {within}{reason}; {stopped}"
    ))
    .with_hint("`antiphon peers` shows which nodes are away")
}
