//! Records acknowledged per second.

use std::time::Duration;

use antiphon_node::Client;

use super::{
    super::{
        bed::Bed,
        load::{self, Load},
        measured::{Outcome, Setting},
        reading,
    },
    Run,
};
use crate::clock;

/// Some seconds of work.
const RECORDS: u64 = 1_000_000;

/// How often the memory of the nodes is looked at.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

/// Bytes after which a case ends where the records are large.
const BYTES: u64 = 256_000_000;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let setting = run.setting(run.in_flight());
    let records = run.messages(records(setting.size));
    Ok(vec![publish(run, setting, records).await?])
}

/// As many as are some seconds of work.
pub(super) fn records(size: u32) -> u64 {
    RECORDS.min(BYTES / u64::from(size))
}

pub(super) async fn publish(
    run: &Run<'_>,
    setting: Setting,
    records: u64,
) -> anyhow::Result<Outcome> {
    let topic = run.bed.topic("publish", setting.replicas).await?;
    let clients = clients(run.bed, run.arguments.publishers).await?;
    let each = records.div_ceil(clients.len() as u64);
    let rate = run.arguments.rate.map(|rate| (rate / u32::from(run.arguments.publishers)).max(1));
    let load = Load { rate, ..run.load(setting.size, setting.in_flight, each) };
    let progress = run.progress("publish", each * clients.len() as u64);
    let mut most_memory: Option<f64> = None;
    let published = tokio::select! {
        published = load::publish(&clients, &topic, &load, clock::instant(), &progress) => published?,
        () = watch_memory(run.bed, &mut most_memory) => unreachable!("it watches without end"),
    };
    reading::check(&clients[0], &topic, published.messages).await?;
    let (first, last) = (published.rate_within(0.0, 0.1), published.rate_within(0.9, 1.0));
    let mut outcome = Outcome::new("publish", setting, published);
    if let (Some(first), Some(last)) = (first, last) {
        outcome = outcome.with("first_tenth_per_s", first.round());
        outcome = outcome.with("last_tenth_per_s", last.round());
    }
    if let Some(megabytes) = most_memory.or_else(|| run.bed.memory_megabytes()) {
        outcome = outcome.with("node_memory_mb", megabytes.round());
    }
    Ok(outcome)
}

/// Notes the most memory that any node has.
async fn watch_memory(bed: &Bed, most: &mut Option<f64>) {
    loop {
        tokio::time::sleep(MEMORY_EVERY).await;
        *most = bed.memory_megabytes().into_iter().chain(*most).reduce(f64::max);
    }
}

/// Connections to as many nodes as there are, in turn.
async fn clients(bed: &Bed, count: u16) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 1..=usize::from(count) {
        clients.push(bed.client(number).await?);
    }
    Ok(clients)
}
