//! Many topics at once: how fast they are created, what they cost idle nodes, and how long it
//! takes to list them.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, stream};

use super::{
    super::{
        bed::create,
        measured::{Measured, Outcome},
    },
    Run,
};
use crate::{clock, exit::Failure};

const TOPICS: u64 = 10_000;

/// Topics that are being created at a time.
const AT_A_TIME: u32 = 64;

/// Time for what the creation left to be done, before the nodes are taken to be idle.
const SETTLE: Duration = Duration::from_secs(10);

/// How long the idle nodes are watched.
const WATCH: Duration = Duration::from_secs(10);

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let count = run.messages(TOPICS);
    let client = run.bed.client(1).await?;
    let progress = run.progress("topics", count);
    let mut measured = Measured::begin();
    let replicas = run.arguments.replicas;
    let names = (0..count).map(|_| run.bed.name("topics"));
    let mut creating = stream::iter(names)
        .map(|name| {
            let client = &client;
            async move {
                let began = clock::instant();
                client.create(create(name?, replicas)).await?;
                anyhow::Ok(began)
            }
        })
        .buffer_unordered(AT_A_TIME as usize);
    while let Some(began) = creating.next().await {
        let now = clock::instant();
        measured.done(now, now.duration_since(began?));
        progress.inc(1);
    }
    drop(creating);
    let began = clock::instant();
    let listed = client.topics().await.context("the topics are not listed")?.len();
    let listing = began.elapsed();
    if (listed as u64) < count {
        return Err(Failure::failed(format!("{listed} of {count} topics are listed")).into());
    }
    let outcome = Outcome::new("topics", run.setting(AT_A_TIME), measured)
        .with("list_ms", (listing.as_secs_f64() * 1e4).round() / 10.0);
    let Some(memory) = run.bed.memory_megabytes() else { return Ok(vec![outcome]) };
    let (settle, watch) = if run.arguments.short {
        (Duration::from_secs(1), Duration::from_secs(1))
    } else {
        (SETTLE, WATCH)
    };
    tokio::time::sleep(settle).await;
    let (_, most) = run.bed.idle_percent(watch).await;
    Ok(vec![outcome.with("idle_cpu_percent", most).with("node_memory_mb", memory.round())])
}
