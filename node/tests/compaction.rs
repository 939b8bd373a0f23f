//! Reading a compacted topic while more of it goes.

use std::time::Duration;

use antiphon_node::{
    Node, Record, WallClock,
    client::{PublishOptions, Publisher, Start, TopicOptions},
};
use futures::TryStreamExt;

use crate::library::{SOON, node, text};

/// Bytes that no compression makes fewer.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.u8(..)).collect()
}

async fn publish(publisher: &mut Publisher, key: &str, payload: impl Into<bytes::Bytes>) {
    let record = Record::new(WallClock(1), payload).with_key(key.to_owned());
    let delivery = publisher.publish(&record).await.expect("there is room");
    delivery.await.expect("acknowledged");
}

/// The records of the key `k` that there are.
async fn of_key(node: &Node) -> Vec<String> {
    let topic = node.client().topic("t").expect("a name");
    let stored = topic.fetch(Start::Beginning).await.expect("there");
    let stored: Vec<_> = stored.try_collect().await.expect("there");
    stored.iter().filter(|it| it.record.key.as_deref() == Some(b"k")).map(text).collect()
}

#[tokio::test]
async fn a_read_of_what_is_stored_ends_behind_what_took_the_place_of_what_went_meanwhile() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    let options = TopicOptions::new().compacted(Duration::from_hours(1));
    client.topic("t").expect("a name").create_with(options).await.expect("it is made");
    let name = "t".parse().expect("a name");
    let mut publisher = client.publisher(name, PublishOptions::default());
    // More than one page before it.
    for number in 0..12 {
        publish(&mut publisher, &format!("{number}"), noise(number, 600_000)).await;
    }
    publish(&mut publisher, "k", "old").await;
    publish(&mut publisher, "end", "end").await;
    let mut batches = client.batches("t".parse().expect("a name"), None).await.expect("it is read");
    let first = batches.next().await.expect("it is there").expect("there is some");
    assert!(first.batches.len() < 12, "the first page is not all");

    // What follows directly is read in any case.
    publish(&mut publisher, "other", "other").await;
    publish(&mut publisher, "k", "new").await;
    publish(&mut publisher, "end", "end").await;
    let gone = async {
        while of_key(&node).await != ["new"] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("it is compacted");
    let mut read = Vec::new();
    while let Some(page) = batches.next().await.expect("it is there") {
        for batch in page.batches {
            let records = batch.records().map(|record| record.expect("it was verified"));
            let of_key = records.filter(|record| record.key.as_deref() == Some(b"k"));
            read.extend(of_key.map(|record| record.payload));
        }
    }
    assert_eq!(read, ["new"]);
    node.stop().await.expect("it stops cleanly");
}
