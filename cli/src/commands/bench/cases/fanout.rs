//! Live delivery: how long after a record was due a subscriber has it, and how many it gets.

use std::{path::Path, time::Instant};

use antiphon::model::{Network, TopicName};
use antiphon_node::{Client, Multiaddr, Node, NodeConfig, client::Reader};
use anyhow::Context as _;
use indicatif::ProgressBar;

use super::{
    super::{
        bed::Bed,
        load::{self, Load},
        measured::{Measured, Outcome},
        reading::{follow, receive},
    },
    Run,
};
use crate::{clock, cluster::within, exit::Failure};

/// Records per second.
const RATE: u32 = 1_000;

const SECONDS: u32 = 10;

/// Records before the load that are not measured, one after the other: some two seconds.
const WARM_UP_RECORDS: u64 = 3_000;

/// Records where it goes as fast as it can.
const RECORDS: u64 = 1_000_000;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = vec![paced(run).await?];
    // Before the network holds much: nodes that join get their share of it at once.
    if matches!(run.bed, Bed::Own(_)) {
        outcomes.push(between_nodes(run).await?);
    }
    outcomes.push(most(run).await?);
    Ok(outcomes)
}

fn paced_load(run: &Run<'_>) -> Load {
    let rate = run.arguments.rate.unwrap_or(RATE);
    let messages = u64::from(rate) * u64::from(run.seconds(SECONDS));
    let setting = run.setting(run.in_flight());
    Load { rate: Some(rate), ..run.load(setting.size, setting.in_flight, messages) }
}

/// At a pace, from a client of one node to clients of the others.
async fn paced(run: &Run<'_>) -> anyhow::Result<Outcome> {
    let load = paced_load(run);
    let (publisher, subscribers) = clients(run).await?;
    let topic = run.bed.topic("fanout", run.arguments.replicas).await?;
    let progress = run.progress("fanout", load.messages);
    let received = deliver(&publisher, &subscribers, &topic, &load, true, &progress).await?;
    Ok(Outcome::new("fanout", run.setting(load.in_flight), received)
        .of_latency()
        .with("subscribers", f64::from(run.arguments.subscribers)))
}

/// As fast as it goes; what each subscriber receives per second.
async fn most(run: &Run<'_>) -> anyhow::Result<Outcome> {
    let in_flight = run.arguments.in_flight.unwrap_or(super::IN_FLIGHT_DEFAULT * 16);
    let setting = run.setting(in_flight);
    let (publisher, subscribers) = clients(run).await?;
    let topic = run.bed.topic("fanout", setting.replicas).await?;
    let count = run.messages(RECORDS / u64::from(run.arguments.subscribers));
    let load = run.load(setting.size, in_flight, count);
    let progress = run.progress("fanout-most", count);
    let received = deliver(&publisher, &subscribers, &topic, &load, false, &progress).await?;
    Ok(Outcome::new("fanout-most", setting, received)
        .with("subscribers", f64::from(run.arguments.subscribers)))
}

/// At a pace, from a node within this process to another one: what a program that embeds a node
/// sees.
async fn between_nodes(run: &mut Run<'_>) -> anyhow::Result<Outcome> {
    let load = paced_load(run);
    let setting = run.setting(load.in_flight);
    let topic = run.bed.topic("fanout", setting.replicas).await?;
    let data = tempfile::Builder::new().prefix("antiphon-bench-").tempdir()?;
    let (network, bootstrap) = (run.bed.network(), run.bed.address(1));
    let publisher = embed(&data.path().join("publisher"), network, bootstrap).await?;
    let subscriber = embed(&data.path().join("subscriber"), network, bootstrap).await?;
    for node in [&publisher, &subscriber] {
        let client = node.client();
        within("the nodes within this process know the others".to_owned(), async || {
            let alive = client.peers().await?.len();
            Ok(alive >= setting.nodes + 2 && client.survey(&topic).await.is_ok())
        })
        .await?;
    }
    let progress = run.progress("fanout-nodes", load.messages);
    let subscribers = [subscriber.client()];
    let client = publisher.client();
    let received = deliver(&client, &subscribers, &topic, &load, true, &progress).await?;
    for node in [publisher, subscriber] {
        node.stop().await.context("a node did not stop")?;
    }
    Ok(Outcome::new("fanout-nodes", setting, received).of_latency().with("subscribers", 1.0))
}

async fn embed(data: &Path, network: &Network, bootstrap: &Multiaddr) -> anyhow::Result<Node> {
    let config = NodeConfig::on_loopback(data).network(network.clone());
    let config = config.bootstrap([bootstrap.clone()]);
    Ok(Node::start(config).await?)
}

/// A publisher at the first node, and subscribers at the others in turn.
async fn clients(run: &Run<'_>) -> anyhow::Result<(Client, Vec<Client>)> {
    let publisher = run.bed.client(1).await?;
    let nodes = run.bed.nodes();
    let mut subscribers = Vec::new();
    for number in 0..usize::from(run.arguments.subscribers) {
        let others = nodes.saturating_sub(1).max(1);
        subscribers.push(run.bed.client(number % others + 2).await?);
    }
    Ok((publisher, subscribers))
}

/// Has records received by all before it is measured, so that the nodes know of each other who
/// follows, and those that have just joined hold their part.
async fn warm_up(
    publisher: &Client,
    topic: &TopicName,
    readers: &mut [Reader],
    load: &Load,
) -> anyhow::Result<()> {
    let count = WARM_UP_RECORDS.min(load.messages);
    let load = Load { rate: None, in_flight: 1, messages: count, ..load.clone() };
    let (clients, hidden) = ([publisher.clone()], ProgressBar::hidden());
    let publishing = load::publish(&clients, topic, &load, clock::instant(), &hidden);
    let receiving = readers.iter_mut().map(|reader| async move {
        for _ in 0..count {
            reader.try_next().await?.context("the subscription ended")?;
        }
        anyhow::Ok(())
    });
    tokio::try_join!(publishing, futures::future::try_join_all(receiving))?;
    Ok(())
}

/// Publishes while all subscribers receive; every one gets every record. The receipts of all of
/// them, and the records of one.
async fn deliver(
    publisher: &Client,
    subscribers: &[Client],
    topic: &TopicName,
    load: &Load,
    timed: bool,
    progress: &ProgressBar,
) -> anyhow::Result<Measured> {
    let mut readers = Vec::new();
    for client in subscribers {
        readers.push(follow(client, topic).await?);
    }
    warm_up(publisher, topic, &mut readers, load).await?;
    let started: Instant = clock::instant();
    let mut receiving = tokio::task::JoinSet::new();
    for reader in readers {
        receiving.spawn(receive(reader, load.messages, started, timed));
    }
    let clients = [publisher.clone()];
    let published = load::publish(&clients, topic, load, started, progress);
    let received = async {
        let mut all = Measured::begin_at(started);
        while let Some(one) = receiving.join_next().await {
            let one = one.context("a subscriber ended")??;
            if one.messages != load.messages {
                return Err(Failure::failed("a subscriber lacks records").into());
            }
            all.add(&one);
        }
        anyhow::Ok(all)
    };
    let (_, mut received) = tokio::try_join!(published, received)?;
    received.messages = load.messages;
    Ok(received)
}
