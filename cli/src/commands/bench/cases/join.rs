//! Many nodes on this machine find each other; then each publishes, and then nothing happens.

use std::time::Duration;

use antiphon::wire::MemberState;

use super::{
    super::{
        bed::Bed,
        load,
        measured::{Measured, Outcome},
        reading,
    },
    Run,
};
use crate::{
    clock,
    cluster::{Cluster, within},
};

/// Records through each node.
const RECORDS_EACH: u64 = 100;

/// How long the idle nodes are watched, and how long before that nothing is done.
const WATCH: Duration = Duration::from_secs(10);

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let count = run.bed.own("join")?.len();
    run.bed.stop().await;
    let progress = run.progress("join", count as u64);
    let mut joined = Measured::begin();
    let mut cluster = Cluster::new("bench")?.closed(run.arguments.closed);
    cluster.start(count).await?;
    *run.bed = Bed::Own(cluster);
    for number in 1..=count {
        let client = run.bed.client(number).await?;
        within(format!("node {number} knows all {count}"), async || {
            let peers = client.peers().await?;
            Ok(peers.iter().filter(|peer| peer.state == MemberState::Alive).count() >= count)
        })
        .await?;
        let now = clock::instant();
        joined.done(now, now.duration_since(joined.started()));
        progress.inc(1);
    }
    let topic = run.bed.topic("join", run.arguments.replicas).await?;
    let setting = run.setting(run.in_flight());
    let mut clients = Vec::new();
    for number in 1..=count {
        clients.push(run.bed.client(number).await?);
    }
    let load = run.load(setting.size, setting.in_flight, run.messages(RECORDS_EACH));
    let hidden = indicatif::ProgressBar::hidden();
    let published = load::publish(&clients, &topic, &load, clock::instant(), &hidden).await?;
    reading::check(&clients[count - 1], &topic, published.messages).await?;
    drop(clients);
    let watch = if run.arguments.short { Duration::from_secs(1) } else { WATCH };
    tokio::time::sleep(watch).await;
    let (sum, _) = run.bed.idle_percent(watch).await;
    let memory = run.bed.memory_megabytes().unwrap_or(0.0);
    let seconds = (joined.elapsed.as_secs_f64() * 100.0).round() / 100.0;
    Ok(vec![
        Outcome::new("join", setting, joined)
            .of_latency()
            .with("joined_s", seconds)
            .with("idle_cpu_percent_of_all", (sum * 100.0).round() / 100.0)
            .with("node_memory_mb", memory.round()),
    ])
}
