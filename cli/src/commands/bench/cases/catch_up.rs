//! A replica that was away gets what it missed, while publishing goes on.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::sync::watch;

use super::{
    super::{
        load::{self, Load},
        measured::{Measured, Outcome},
        reading,
    },
    Run,
};
use crate::{clock, exit::Failure};

/// Records with which the usual rate of publishing is found.
const BASELINE_RECORDS: u64 = 300_000;

/// Time to catch up before it is given up.
const WITHIN: Duration = Duration::from_mins(10);

/// Records that it may lack when it has caught up: what is on its way while it is asked.
const LACKS_MAX: u64 = 10_000;

/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let (setting, missed) = run.large();
    let topic = run.bed.topic("catch-up", setting.replicas).await?;
    let owners = run.bed.client(1).await?.survey(&topic).await?.summary.owners;
    let progress = run.progress("catch-up", missed);
    let baseline_records = run.scaled(BASELINE_RECORDS);
    let load = run.load(setting.size, setting.in_flight, baseline_records);
    let cluster = run.bed.own("catch-up")?;
    let away = owners.last().and_then(|node| cluster.number(&node.to_string()));
    let away = away.ok_or_else(|| Failure::failed("the topic has no replica"))?;
    let through = away % cluster.len() + 1;
    let client = cluster.client(through).await?;
    let clients = [client.clone()];
    let hidden = ProgressBar::hidden();
    let baseline = load::publish(&clients, &topic, &load, clock::instant(), &hidden).await?;

    cluster.kill(away).await?;
    let load = Load { messages: missed, ..load };
    let whole = load::publish(&clients, &topic, &load, clock::instant(), &progress).await?;

    let node = cluster.peer(away).to_owned();
    cluster.restart(away, through).await?;
    let (stop, stopped) = watch::channel(false);
    let load = Load { messages: u64::MAX, stop: Some(stopped), ..load };
    let mut caught_up = Measured::begin();
    let catching_up = async {
        // What is published meanwhile comes by another way, so it is the distance that counts.
        let lacks = async || {
            let replicas = client.survey(&topic).await?.replicas;
            let held = replicas.iter().map(|replica| replica.records.unwrap_or(0));
            let own = replicas.iter().find(|replica| replica.node.to_string() == node);
            let own = own.and_then(|replica| replica.records).unwrap_or(0);
            anyhow::Ok(held.max().unwrap_or(0).saturating_sub(own))
        };
        let until = clock::instant() + WITHIN;
        while lacks().await? > LACKS_MAX {
            if clock::instant() > until {
                return Err(Failure::failed("the replica does not catch up").into());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        caught_up.counted(clock::instant(), missed);
        stop.send_replace(true);
        Ok(())
    };
    let publishing = load::publish(&clients, &topic, &load, clock::instant(), &hidden);
    let (meanwhile, ()) = tokio::try_join!(publishing, catching_up)?;
    let all = baseline.messages + whole.messages + meanwhile.messages;
    reading::check(&client, &topic, all).await?;
    Ok(vec![
        Outcome::new("catch-up", setting, caught_up)
            .with("published_before_per_s", baseline.per_second().round())
            .with("published_meanwhile_per_s", meanwhile.per_second().round()),
    ])
}
