//! Records acknowledged per second.

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
    let load = Load::unpaced(setting.size, setting.in_flight, each);
    let progress = run.progress("publish", each * clients.len() as u64);
    let published = load::publish(&clients, &topic, &load, clock::instant(), &progress).await?;
    reading::check(&clients[0], &topic, published.messages).await?;
    let outcome = Outcome::new("publish", setting, published);
    Ok(match run.bed.memory_megabytes() {
        Some(megabytes) => outcome.with("node_memory_mb", megabytes.round()),
        None => outcome,
    })
}

/// Connections to as many nodes as there are, in turn.
async fn clients(bed: &Bed, count: u16) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 1..=usize::from(count) {
        clients.push(bed.client(number).await?);
    }
    Ok(clients)
}
