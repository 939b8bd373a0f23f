//! A paced load while the topic's owner is killed with SIGKILL.

use std::time::Duration;

use super::{
    super::{
        load::{self, Load},
        measured::Outcome,
        reading,
    },
    Run,
};
use crate::{clock, exit::Failure};

const RATE: u32 = 1_000;

/// A third of it before the owner is killed.
const SECONDS: u32 = 9;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let rate = run.arguments.rate.unwrap_or(RATE);
    let seconds = run.seconds(SECONDS);
    let setting = run.setting(run.in_flight());
    let topic = run.bed.topic("failover", setting.replicas).await?;
    let owners = run.bed.client(1).await?.survey(&topic).await?.summary.owners;
    let records = u64::from(rate) * u64::from(seconds);
    let load = Load { rate: Some(rate), ..run.load(setting.size, setting.in_flight, records) };
    let progress = run.progress("failover", records);
    let cluster = run.bed.own("failover")?;
    let owner = owners.first().and_then(|owner| cluster.number(&owner.to_string()));
    let owner = owner.ok_or_else(|| Failure::failed("the topic has no owner"))?;
    let through = owner % cluster.len() + 1;
    let client = cluster.client(through).await?;
    let clients = [client.clone()];
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1) * seconds / 3).await;
        cluster.kill(owner).await
    };
    let publishing = load::publish(&clients, &topic, &load, clock::instant(), &progress);
    let (published, ()) = tokio::try_join!(publishing, kill)?;
    reading::check(&client, &topic, published.messages).await?;
    cluster.restart(owner, through).await?;
    cluster.all_alive().await?;
    // As the load is paced, the longest latency is the pause that was felt.
    Ok(vec![Outcome::new("failover", setting, published).of_latency()])
}
