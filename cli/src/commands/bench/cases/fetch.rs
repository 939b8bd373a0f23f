//! Stored records read from the start: through the library, and by `fetch --raw`.

use std::process::Stdio;

use antiphon::model::TopicName;
use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::io::AsyncReadExt;

use super::{
    super::{
        load,
        measured::{Measured, Outcome},
        reading,
    },
    Run,
};
use crate::{clock, exit::Failure};

const RECORDS: u64 = 1_000_000;

/// Bytes of the command's output that are taken at a time.
const PIPE_BYTES: usize = 64 * 1024;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let setting = run.setting(1);
    let records = run.messages(RECORDS);
    let topic = run.bed.topic("fetch", setting.replicas).await?;
    let client = run.bed.client(1).await?;
    let load = run.load(setting.size, super::IN_FLIGHT_DEFAULT * 16, records);
    let hidden = ProgressBar::hidden();
    load::publish(&[client], &topic, &load, clock::instant(), &hidden).await?;

    // Through another node than the one that published.
    let client = run.bed.client(2).await?;
    let progress = run.progress("fetch", records);
    let library = reading::read_all(&client, &topic, &progress).await?;
    let progress = run.progress("fetch-raw", records);
    let by_command = by_command(run, &topic, &progress).await?;
    for (how, there) in [("the library", library.messages), ("the command", by_command.messages)] {
        if there != records {
            let text = format!("{records} records were acknowledged, {how} fetched {there}");
            return Err(Failure::failed(text).into());
        }
    }
    let library = Outcome::new("fetch", setting, library);
    Ok(vec![library, Outcome::new("fetch-raw", setting, by_command)])
}

async fn by_command(
    run: &Run<'_>,
    topic: &TopicName,
    progress: &ProgressBar,
) -> anyhow::Result<Measured> {
    let size = u64::from(run.setting(1).size);
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command
        .args(["fetch", topic.as_str(), "--raw"])
        .args(["--network", run.bed.network().as_str()])
        .args(["--node", &run.bed.address(2).to_string()])
        .env_remove("ANTIPHON_NODE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut measured = Measured::begin();
    let mut child = command.spawn().context("the command does not start")?;
    let mut output = child.stdout.take().context("the output is piped")?;
    let mut buffer = vec![0; PIPE_BYTES];
    let mut bytes: u64 = 0;
    loop {
        let taken = output.read(&mut buffer).await?;
        if taken == 0 {
            break;
        }
        bytes += taken as u64;
        let new = bytes / size - measured.messages;
        measured.counted(clock::instant(), new);
        progress.inc(new);
    }
    let status = child.wait().await?;
    if !status.success() {
        return Err(Failure::failed(format!("`antiphon fetch` ended with {status}")).into());
    }
    measured.counted(clock::instant(), 0);
    Ok(measured)
}
