//! Earthquakes, published as their sensors would report them: in the order and, sped up, at the pace
//! in which they happened.
//!
//! ```sh
//! cargo run --example sensors                      # a week in half a minute, on a node of its own
//! cargo run --example sensors -- --speed 100000    # in six seconds
//! cargo run --example sensors -- --node /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
//! cargo run --example sensors -- events.ndjson     # others: a JSON object a line, oldest first
//! ```
//!
//! Each event is one record: the line is the payload, the network that reported it the key, and what
//! a reader may choose by stands in headers, so that it need not parse the payload.

#![expect(clippy::print_stdout, reason = "it tells what it does")]

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use antiphon_node::{
    Client, ClientConfig, Multiaddr, Network, Node, NodeConfig, Record, TopicName,
    client::{Delivery, PublishError, PublishOptions, ReaderOptions, Receipt, Topic},
};
use anyhow::Context;
use clap::Parser;
use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde::Deserialize;

/// One week of the USGS feed of all earthquakes (U.S. public domain).
const WEEK: &str = include_str!("data/earthquakes.ndjson");

/// Publishes earthquakes as their sensors would report them.
#[derive(Debug, Parser)]
struct Options {
    /// Events, a JSON object a line, oldest first; without it, one week of them
    file: Option<PathBuf>,
    /// How many times faster than they happened
    #[arg(long, default_value_t = 20_000.0)]
    speed: f64,
    /// The topic; made if it is not there
    #[arg(long, default_value = "quakes")]
    topic: TopicName,
    /// A running node to publish through; without it, a node of its own
    #[arg(long, value_name = "MULTIADDR")]
    node: Option<Multiaddr>,
    /// The network of that node
    #[arg(long, default_value_t)]
    network: Network,
}

/// What is looked at of an event; the record has all of it.
#[derive(Debug, Deserialize)]
struct Event {
    id: String,
    /// Milliseconds since 1970.
    time: u64,
    net: String,
    mag: Option<f64>,
    place: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Event {
    fn record(&self, line: &str) -> Record {
        let mut record = Record::from(line)
            .with_key(self.net.clone())
            .with_header("content-type", "application/json")
            .with_header("id", self.id.clone())
            .with_header("type", self.kind.clone());
        if let Some(magnitude) = self.mag {
            record = record.with_header("magnitude", magnitude.to_string());
        }
        record
    }

    /// As a line for people.
    fn line(&self) -> String {
        let time =
            i64::try_from(self.time).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let time = time.unwrap_or_default().strftime("%a %d %b %H:%M").to_string();
        let magnitude = self.mag.unwrap_or_default();
        format!("{time}  {:4} M {magnitude:.1}  {}", self.net, self.place)
    }
}

/// What became of the records.
#[derive(Debug, Default)]
struct Summary {
    acknowledged: usize,
    pending: usize,
    by_network: BTreeMap<String, usize>,
}

impl Summary {
    fn count(&mut self, outcome: Result<Receipt, PublishError>) -> Result<(), PublishError> {
        match outcome {
            Ok(_) => self.acknowledged += 1,
            Err(PublishError::Pending(_)) => self.pending += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    anyhow::ensure!(options.speed > 0.0, "the speed must be above 0");
    let text = match &options.file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?,
        None => WEEK.to_owned(),
    };
    let Some(address) = options.node.clone() else {
        let data = tempfile::tempdir()?;
        let node = Node::start(NodeConfig::on_loopback(data.path())).await?;
        println!("a node of its own, at {}", node.addresses()[0]);
        run(&node.client(), &options, &text).await?;
        return Ok(node.stop().await?);
    };
    let network = options.network.clone();
    let config = ClientConfig::new().network(network).nodes([address]);
    run(&Client::connect(config).await?, &options, &text).await
}

async fn run(client: &Client, options: &Options, text: &str) -> anyhow::Result<()> {
    let topic = client.topic(&options.topic)?;
    let terms = topic.create_if_missing().await?.topic;
    println!(
        "topic {}: {} replicas wanted, {} nodes",
        terms.name, terms.replicas, terms.nodes_alive
    );
    let summary = publish(&topic, text, options.speed).await?;
    println!("{} records acknowledged, {} pending", summary.acknowledged, summary.pending);
    let networks = summary.by_network.iter().map(|(network, count)| format!("{network} {count}"));
    println!("by network: {}", networks.collect::<Vec<_>>().join(", "));
    for network in summary.by_network.keys() {
        if let Some(strongest) = strongest(&topic, network).await? {
            println!("strongest: {}", strongest.line());
        }
    }
    Ok(())
}

/// Publishes each event when it is due, while the receipts of those before come in.
async fn publish(topic: &Topic, text: &str, speed: f64) -> anyhow::Result<Summary> {
    let mut publisher = topic.publisher(PublishOptions::default());
    let mut under_way: FuturesUnordered<Delivery> = FuturesUnordered::new();
    let mut summary = Summary::default();
    let mut before = None;
    for (number, line) in (1..).zip(text.lines()) {
        let event: Event =
            serde_json::from_str(line).with_context(|| format!("line {number} is no event"))?;
        let gap = event.time.saturating_sub(before.unwrap_or(event.time));
        before = Some(event.time);
        let due = tokio::time::sleep(Duration::from_millis(gap).div_f64(speed));
        tokio::pin!(due);
        loop {
            tokio::select! {
                Some(outcome) = under_way.next() => summary.count(outcome)?,
                () = &mut due => break,
            }
        }
        if event.mag.is_some_and(|magnitude| magnitude >= 5.0) {
            println!("{}", event.line());
        }
        under_way.push(publisher.publish(&event.record(line)).await?);
        *summary.by_network.entry(event.net).or_default() += 1;
    }
    while let Some(outcome) = under_way.next().await {
        summary.count(outcome)?;
    }
    Ok(summary)
}

/// The strongest earthquake that the topic has of a network: reads the records of this key.
async fn strongest(topic: &Topic, network: &str) -> anyhow::Result<Option<Event>> {
    let options = ReaderOptions::new().key(network.to_owned());
    let mut records = topic.read(options).await?;
    let mut strongest: Option<Event> = None;
    while let Some(delivered) = records.try_next().await? {
        let event: Event = delivered.json()?;
        if strongest.as_ref().is_none_or(|so_far| event.mag > so_far.mag) {
            strongest = Some(event);
        }
    }
    Ok(strongest)
}
