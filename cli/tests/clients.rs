//! Programs that use the library as clients, and whose node fails under them.

use std::collections::{BTreeSet, VecDeque};

use antiphon::model::{Record, TopicName, WallClock};
use antiphon_node::{
    Client, ClientConfig,
    client::{Delivery, PublishOptions, Publisher, Reader, ReaderOptions},
};
use rustix::process::Signal;

use crate::cluster::{Cluster, SOON, eventually};

/// Records of one test, and how many of them are acknowledged before the fault.
const RECORDS: usize = 300;
const BEFORE: usize = 50;

/// Few, so that most records are sent after the fault, and some are under way when it comes.
const IN_FLIGHT: usize = 4;

#[test]
fn a_client_goes_on_when_its_node_is_killed() {
    publish_and_follow_through(|cluster| cluster.kill(0));
}

#[test]
fn a_client_goes_on_when_its_node_is_stopped() {
    let cluster = publish_and_follow_through(|cluster| cluster.signal(0, Signal::STOP));
    // What it had under way when it was stopped comes to light now, as second copies.
    cluster.signal(0, Signal::CONT);
    cluster.wait_until_complete(1, "t", 3, SOON);
    for number in 0..3 {
        read_everything(&cluster, number);
    }
}

#[test]
fn a_client_goes_on_when_its_node_ends() {
    publish_and_follow_through(|cluster| assert_eq!(cluster.stop(0), 0));
}

/// Publishes and follows through node 0, which has a fault in the middle: every record must be
/// acknowledged, and be followed and found once.
fn publish_and_follow_through(fault: impl FnOnce(&mut Cluster)) -> Cluster {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    for number in 0..3 {
        eventually("every node knows the topic", SOON, || {
            (cluster.run(number, &["info", "t"]).status == 0).then_some(())
        });
    }
    let address = |number| cluster.node(number).address.parse().expect("an address");
    let network = cluster.network().parse().expect("a name");
    let config = ClientConfig::new().network(network).nodes([address(0), address(1)]);
    let topic: TopicName = "t".parse().expect("a name");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(config).await.expect("the node answers");
        let options = ReaderOptions::follow();
        let reader = client.reader(topic.clone(), options).await.expect("the topic is there");
        let options = PublishOptions::new().in_flight(IN_FLIGHT);
        let publisher = client.publisher(topic, options);
        let both =
            async { tokio::join!(publish(publisher, || fault(&mut cluster)), follow(reader)) };
        tokio::time::timeout(SOON, both).await.expect("all is published and followed in time");
    });
    read_everything(&cluster, 2);
    cluster
}

async fn publish(mut publisher: Publisher, fault: impl FnOnce()) {
    let mut fault = Some(fault);
    let mut under_way: VecDeque<Delivery> = VecDeque::new();
    for number in 0..RECORDS {
        let record = Record::new(WallClock(1), format!("{number:03}").into_bytes());
        under_way.push_back(publisher.publish(&record).await.expect("queued"));
        if number >= BEFORE
            && let Some(fault) = fault.take()
        {
            fault();
        }
        if under_way.len() == IN_FLIGHT {
            settle(under_way.pop_front().expect("there are some")).await;
        }
    }
    for delivery in under_way {
        settle(delivery).await;
    }
}

async fn settle(delivery: Delivery) {
    delivery.await.expect("no publish fails");
}

/// Follows until all records have come, each once. In what order is not promised where they were
/// signed by two nodes.
async fn follow(mut reader: Reader) {
    let mut seen = BTreeSet::new();
    while seen.len() < RECORDS {
        let delivered = reader.try_next().await.expect("the reader goes on").expect("it follows");
        let payload = delivered.record.payload;
        assert!(seen.insert(payload.clone()), "{payload:?} came twice");
    }
}

fn read_everything(cluster: &Cluster, number: usize) {
    let fetched = cluster.run(number, &["fetch", "t"]).ok();
    let mut lines: Vec<String> =
        fetched.lines().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    lines.sort();
    let expected: Vec<String> = (0..RECORDS).map(|number| format!("{number:03}")).collect();
    assert_eq!(lines, expected, "node {number}");
}

#[test]
fn what_is_not_acknowledged_by_hand_comes_again_at_another_node() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "jobs"]).ok();
    let lines: Vec<u8> =
        (0..10).flat_map(|number| format!("job {number}\n").into_bytes()).collect();
    cluster.run_with(0, &["publish", "jobs"], &lines).ok();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let take = |node: usize, count: usize, done: &'static [usize]| {
        let network = cluster.network().parse().expect("a name");
        let address = cluster.node(node).address.parse().expect("an address");
        let config = ClientConfig::new().network(network).nodes([address]);
        runtime.block_on(async move {
            let client = Client::connect(config).await.expect("a node");
            let subscriber = client.subscriber("jobs", "w", ReaderOptions::default()).await;
            let mut subscriber = subscriber.expect("a subscription");
            let mut taken = Vec::new();
            for number in 0..count {
                let (job, acknowledgement) =
                    subscriber.try_next().await.expect("a node").expect("more");
                taken.push(String::from_utf8(job.record.payload.to_vec()).expect("text"));
                if done.contains(&number) {
                    acknowledgement.acknowledge();
                }
            }
            subscriber.commit().await.expect("it is kept");
            taken
        })
    };
    let jobs = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|number| format!("job {number}")).collect()
    };
    assert_eq!(take(0, 6, &[0, 1, 3, 4]), jobs(0..6));
    assert_eq!(take(1, 8, &[0, 1, 2, 3, 4, 5, 6, 7]), jobs(2..10), "the third was not done");
    let behind = cluster.run(2, &["subscriptions", "jobs", "--json"]).ok().object();
    assert_eq!(behind["records_behind"], 0);
}
