//! What happens in the demo, step by step.

use std::{collections::VecDeque, fmt::Display, time::Duration};

use antiphon::{
    model::{Record, TopicName},
    wire::{Create, MemberState, Surveyed},
};
use antiphon_node::client::{Delivery, PublishOptions, Reader, ReaderOptions};
use anyhow::Context as _;
use bytes::Bytes;

use super::records::check;
use crate::{
    clock,
    cluster::{Cluster, within},
    printer::Printer,
};

/// The topic.
pub(super) const TOPIC: &str = "earthquakes";

const REPLICAS: u16 = 3;

/// Records under way at a time: few, so that the pause of the publisher is seen in the times of
/// the acknowledgements.
const IN_FLIGHT: usize = 32;

/// Time for a reader to get the next record.
const RECORD_WITHIN: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) nodes: usize,
    pub(super) replicas: u16,
    pub(super) records: usize,
    pub(super) acknowledged: usize,
    pub(super) fetched: usize,
    pub(super) received: usize,
    pub(super) longest_pause: Duration,
    pub(super) owner_back: Duration,
}

/// The parts that nodes play, by their numbers.
#[derive(Debug)]
struct Cast {
    owner: usize,
    publisher: usize,
    subscriber: usize,
    fetcher: usize,
}

/// Tells the story; an error when a record is lost, doubled, changed or out of place.
pub(super) async fn tell(
    cluster: &mut Cluster,
    printer: &mut Printer,
    nodes: usize,
    records: &[Bytes],
) -> anyhow::Result<Outcome> {
    let mut steps = Steps { printer, number: 0 };
    steps.say(format_args!("starting {nodes} nodes on this machine"));
    cluster.start(nodes).await?;
    steps.say("waiting until every node is known");
    cluster.all_alive().await?;

    let topic: TopicName = TOPIC.parse()?;
    steps.say(format_args!("creating topic `{topic}` with {REPLICAS} replicas"));
    let cast = create(cluster, &topic, nodes).await?;
    let (owner, subscriber) = (cast.owner, cast.subscriber);
    steps.detail(format_args!("the owner is node {owner}, {}", cluster.peer(owner)));

    steps.say(format_args!("subscribing at node {subscriber}, from the start"));
    let reader = cluster.client(subscriber).await?;
    let options = ReaderOptions::follow();
    let reader = reader.reader(topic.clone(), options).await?;
    let (longest_pause, received) = tokio::try_join!(
        publish(cluster, &mut steps, &cast, &topic, records),
        receive(reader, records.len()),
    )?;
    check("the subscriber", records, &received)?;
    steps.detail("the subscriber got every record, once and in order");

    let fetcher = cast.fetcher;
    steps.say(format_args!("fetching everything from node {fetcher} while the owner is away"));
    let fetched = fetch(cluster, fetcher, &topic).await?;
    check(&format!("node {fetcher}"), records, &fetched)?;
    steps.detail(format_args!("{} records, byte for byte and in order", fetched.len()));

    steps.say(format_args!("restarting the owner, node {owner}, with its data"));
    let started = clock::instant();
    cluster.restart(owner, cast.publisher).await?;
    complete_again(cluster, &cast, &topic).await?;
    let owner_back = started.elapsed();
    let took = clock::readable(owner_back);
    steps.detail(format_args!("it is alive and complete after {took}"));
    Ok(Outcome {
        nodes,
        replicas: REPLICAS,
        records: records.len(),
        acknowledged: records.len(),
        fetched: fetched.len(),
        received: received.len(),
        longest_pause,
        owner_back,
    })
}

/// Says what happens: numbered steps, and what came of them.
struct Steps<'a> {
    printer: &'a mut Printer,
    number: u32,
}

impl Steps<'_> {
    fn say(&mut self, text: impl Display) {
        self.number += 1;
        self.printer.note(format_args!("{}. {text}", self.number));
    }

    fn detail(&mut self, text: impl Display) {
        self.printer.note(format_args!("   {text}"));
    }
}

/// Creates the topic and gives every part to a node of its own. Publisher, subscriber and
/// fetcher are nodes that hold no copy, where there are enough.
async fn create(cluster: &Cluster, topic: &TopicName, nodes: usize) -> anyhow::Result<Cast> {
    let create = Create { replicas: Some(REPLICAS), ..Create::new(topic.clone()) };
    let client = cluster.client(1).await?;
    let (summary, _) = client.create(create).await?;
    let holders: Vec<usize> =
        summary.owners.iter().filter_map(|owner| cluster.number(&owner.to_string())).collect();
    let owner = *holders.first().context("the topic has no owner")?;
    let others = (1..=nodes).filter(|number| !holders.contains(number));
    let mut others = others.chain(holders.iter().copied().skip(1));
    let mut next = || others.next().context("too few nodes");
    Ok(Cast { owner, publisher: next()?, subscriber: next()?, fetcher: next()? })
}

/// Publishes all records through one node and kills the owner in the middle; the longest pause
/// between two acknowledgements.
async fn publish(
    cluster: &mut Cluster,
    steps: &mut Steps<'_>,
    cast: &Cast,
    topic: &TopicName,
    records: &[Bytes],
) -> anyhow::Result<Duration> {
    let half = records.len() / 2;
    let (owner, through) = (cast.owner, cast.publisher);
    steps
        .say(format_args!("publishing {half} of {} records through node {through}", records.len()));
    let options = PublishOptions::new().in_flight(IN_FLIGHT);
    let mut publisher = cluster.client(through).await?.publisher(topic.clone(), options);
    let mut acknowledgements = Acknowledgements::default();
    for (number, payload) in records.iter().enumerate() {
        if number == half {
            steps.say(format_args!("killing the owner, node {owner}, with SIGKILL"));
            cluster.kill(owner).await?;
            steps.say(format_args!("publishing the other records through node {through}"));
        }
        let record = Record::new(clock::now(), payload.clone());
        let delivery = publisher.publish(&record).await?;
        acknowledgements.pending.push_back(delivery);
        if acknowledgements.pending.len() >= IN_FLIGHT {
            acknowledgements.take_one().await?;
        }
    }
    while !acknowledgements.pending.is_empty() {
        acknowledgements.take_one().await?;
    }
    let pause = clock::readable(acknowledgements.longest_pause);
    steps.detail(format_args!("all are acknowledged; the longest pause was {pause}"));
    Ok(acknowledgements.longest_pause)
}

/// Waits for acknowledgements and measures the pauses between them.
#[derive(Debug, Default)]
struct Acknowledgements {
    pending: VecDeque<Delivery>,
    latest: Option<std::time::Instant>,
    longest_pause: Duration,
}

impl Acknowledgements {
    async fn take_one(&mut self) -> anyhow::Result<()> {
        let Some(delivery) = self.pending.pop_front() else {
            return Ok(());
        };
        delivery.await.context("a record was not published")?;
        let now = clock::instant();
        if let Some(latest) = self.latest.replace(now) {
            self.longest_pause = self.longest_pause.max(now - latest);
        }
        Ok(())
    }
}

/// Takes `count` records from a live reader.
async fn receive(mut reader: Reader, count: usize) -> anyhow::Result<Vec<Bytes>> {
    let mut payloads = Vec::with_capacity(count);
    while payloads.len() < count {
        let next = tokio::time::timeout(RECORD_WITHIN, reader.try_next()).await;
        let next = next.with_context(|| {
            format!("the subscriber got {} of {count} records and then nothing", payloads.len())
        })?;
        let delivered = next.context("the subscriber failed")?;
        payloads.push(delivered.context("the subscription ended")?.record.payload);
    }
    Ok(payloads)
}

async fn fetch(cluster: &Cluster, number: usize, topic: &TopicName) -> anyhow::Result<Vec<Bytes>> {
    let client = cluster.client(number).await?;
    let mut reader = client.reader(topic.clone(), ReaderOptions::default()).await?;
    let mut payloads = Vec::new();
    while let Some(delivered) = reader.try_next().await? {
        payloads.push(delivered.record.payload);
    }
    Ok(payloads)
}

/// Waits until `info` shows the owner, and every other replica, alive and complete.
async fn complete_again(cluster: &Cluster, cast: &Cast, topic: &TopicName) -> anyhow::Result<()> {
    let client = cluster.client(cast.publisher).await?;
    let owner = cluster.peer(cast.owner);
    within("the owner is alive and complete".to_owned(), async || {
        let Surveyed { replicas, .. } = client.survey(topic).await?;
        Ok(replicas.iter().any(|replica| {
            replica.state == MemberState::Alive
                && replica.complete
                && replica.node.to_string() == owner
        }))
    })
    .await
}
