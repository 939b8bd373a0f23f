//! Publish throughput of a cluster of real processes: R = 3, one publisher.
//!
//! `cargo bench -p antiphon-cli --bench publish [-- --records N --size BYTES --in-flight N --rounds N]`
//!
//! Three `antiphon node` processes on loopback, each with its own data directory; every record
//! is signed, and acknowledged when two of three disks have it flushed. Prints a line per round
//! and one JSON line with the median and the spread. What was published is fetched at the end,
//! so a figure is never one of records that are not there.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, prints, and ends when something fails"
)]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use antiphon::{
    model::{Record, TopicName, WallClock},
    wire::Create,
};
use antiphon_node::{
    Client, ClientConfig, Multiaddr,
    client::{PublishOptions, ReaderOptions},
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
struct Load {
    records: usize,
    size: usize,
    in_flight: usize,
    rounds: usize,
}

struct Node {
    process: Child,
    address: Multiaddr,
}

impl Node {
    fn start(directory: &std::path::Path, bootstrap: Option<&Multiaddr>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["node", "--network", "bench", "--no-discovery"]);
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--data"]).arg(directory);
        if let Some(address) = bootstrap {
            command.arg("--bootstrap").arg(address.to_string());
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the node starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line.expect("the node speaks");
            if let Some(text) = line.strip_prefix("listening ") {
                address.get_or_insert_with(|| text.parse().expect("an address"));
            }
            if line == "ready" {
                break;
            }
        }
        Self { process, address: address.expect("the node listens") }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(load()));
}

fn load() -> Load {
    let mut load = Load { records: 200_000, size: 128, in_flight: 512, rounds: 5 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        // `cargo bench` adds this one.
        if name == "--bench" {
            continue;
        }
        let value = arguments.next().and_then(|value| value.parse().ok()).expect("a number");
        match name.as_str() {
            "--records" => load.records = value,
            "--size" => load.size = value,
            "--in-flight" => load.in_flight = value,
            "--rounds" => load.rounds = value,
            other => panic!("unknown option {other}"),
        }
    }
    load
}

async fn run(load: Load) {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..3 {
        let data = directory.path().join(format!("node-{number}"));
        nodes.push(Node::start(&data, nodes.first().map(|node| &node.address)));
    }
    let config = ClientConfig {
        network: "bench".parse().unwrap(),
        nodes: vec![nodes[0].address.clone()],
        timeout: None,
    };
    let client = Client::connect(config).await.expect("a node answers");
    while client.peers().await.unwrap().iter().filter(|peer| peer.state.as_str() == "alive").count()
        < 3
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut rates = Vec::new();
    for round in 0..load.rounds {
        let topic: TopicName = format!("bench-{round}").parse().unwrap();
        let create = Create {
            name: topic.clone(),
            replicas: Some(3),
            min_copies: Some(2),
            if_not_exists: false,
        };
        client.create(create).await.expect("the topic is created");
        let elapsed = publish(&client, &topic, load).await;
        let rate = load.records as f64 / elapsed.as_secs_f64();
        let fetched = count(&client, &topic).await;
        assert_eq!(fetched.0, load.records, "all that was acknowledged is there");
        println!(
            "round {round}: {rate:.0} acknowledged records/s, fetched at {:.0} records/s",
            load.records as f64 / fetched.1.as_secs_f64(),
        );
        rates.push(rate);
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{{\"case\":\"publish\",\"nodes\":3,\"replicas\":3,\"size\":{},\"in_flight\":{},\"messages\":{},\
         \"msgs_per_s\":{:.0},\"msgs_per_s_min\":{:.0},\"msgs_per_s_max\":{:.0}}}",
        load.size,
        load.in_flight,
        load.records,
        rates[rates.len() / 2],
        rates[0],
        rates[rates.len() - 1],
    );
}

/// Publishes all records; the time from the first call to the last acknowledgement.
async fn publish(client: &Client, topic: &TopicName, load: Load) -> Duration {
    let options = PublishOptions { in_flight: load.in_flight, ..PublishOptions::default() };
    let mut publisher = client.publisher(topic.clone(), options);
    let record = Record::new(WallClock(1), vec![b'x'; load.size]);
    let started = Instant::now();
    let mut under_way = VecDeque::new();
    for _ in 0..load.records {
        if under_way.len() >= load.in_flight {
            let delivery: antiphon_node::client::Delivery = under_way.pop_front().unwrap();
            assert!(delivery.await.expect("published").published.acknowledged);
        }
        under_way.push_back(publisher.publish(&record).await.expect("queued"));
    }
    for delivery in under_way {
        assert!(delivery.await.expect("published").published.acknowledged);
    }
    started.elapsed()
}

async fn count(client: &Client, topic: &TopicName) -> (usize, Duration) {
    let started = Instant::now();
    let mut reader = client.reader(topic.clone(), ReaderOptions::default()).await.expect("read");
    let mut count = 0;
    while reader.next().await.expect("read").is_some() {
        count += 1;
    }
    (count, started.elapsed())
}
