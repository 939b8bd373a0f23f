//! One record at a time: through the library, and by the command from its start to its exit.

use std::process::Stdio;

use anyhow::Context as _;

use super::{
    super::{
        load,
        measured::{Measured, Outcome},
        reading,
    },
    Run,
};
use crate::{clock, exit::Failure};

const RECORDS: u64 = 5_000;

/// Runs of the command.
const COMMANDS: u64 = 50;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let setting = run.setting(1);
    let records = run.messages(RECORDS);
    let topic = run.bed.topic("latency", setting.replicas).await?;
    let client = run.bed.client(1).await?;
    let load = run.load(setting.size, 1, records);
    let progress = run.progress("latency", records);
    let clients = [client.clone()];
    let published = load::publish(&clients, &topic, &load, clock::instant(), &progress).await?;

    let commands = run.scaled(COMMANDS).max(3);
    let progress = run.progress("publish-command", commands);
    let mut by_command = Measured::begin();
    let payload = run.payloads.text(setting.size);
    for _ in 0..commands {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command
            .args(["publish", topic.as_str(), &payload, "--quiet"])
            .args(["--network", run.bed.network().as_str()])
            .args(["--node", &run.bed.address(1).to_string()])
            .env_remove("ANTIPHON_NODE")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let began = clock::instant();
        let status = command.status().await.context("the command does not start")?;
        if !status.success() {
            return Err(Failure::failed(format!("`antiphon publish` ended with {status}")).into());
        }
        let now = clock::instant();
        by_command.done(now, now.duration_since(began));
        progress.inc(1);
    }
    reading::check(&client, &topic, records + commands).await?;
    let library = Outcome::new("latency", setting, published).of_latency();
    let by_command = Outcome::new("publish-command", setting, by_command).of_latency();
    Ok(vec![library, by_command])
}
