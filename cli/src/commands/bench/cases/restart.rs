//! The start of a node that has data: after a clean stop, and after a kill.

use super::{
    super::{
        load,
        measured::{Measured, Outcome},
        reading,
    },
    Run,
};
use crate::clock;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let (setting, records) = run.large();
    let topic = run.bed.topic("restart", setting.replicas).await?;
    let clients = [run.bed.client(1).await?];
    let load = run.load(setting.size, setting.in_flight, records);
    let progress = run.progress("restart", records);
    load::publish(&clients, &topic, &load, clock::instant(), &progress).await?;
    reading::check(&clients[0], &topic, records).await?;
    let cluster = run.bed.own("restart")?;
    let last = cluster.len();
    let mut outcomes = Vec::new();
    for case in ["restart-clean", "restart-killed"] {
        if case == "restart-clean" {
            cluster.terminate(last).await?;
        } else {
            cluster.kill(last).await?;
        }
        let mut started = Measured::begin();
        cluster.restart(last, 1).await?;
        let now = clock::instant();
        started.done(now, now.duration_since(started.started()));
        cluster.all_alive().await?;
        outcomes.push(
            Outcome::new(case, setting, started)
                .of_latency()
                .with("stored_records", f64::from(u32::try_from(records).unwrap_or(u32::MAX))),
        );
    }
    Ok(outcomes)
}
