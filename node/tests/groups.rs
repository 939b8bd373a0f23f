//! Members of groups, as programs use them.

use std::time::Duration;

use antiphon_node::{
    Client, Record,
    client::{GroupOptions, Member, Topic, Work},
};

use crate::library::{SOON, node, text, topic};

/// A topic of records of one key.
async fn with_records(client: &Client, count: usize) -> Topic {
    let topic = topic(client, "jobs").await;
    for number in 0..count {
        let record = Record::from(number.to_string()).with_key("k");
        topic.publish(record).await.expect("published");
    }
    topic
}

/// A member that takes all that there is, and whose time for it is not over in a test.
async fn join(client: &Client) -> Member {
    let visibility = Duration::from_hours(1);
    let options = GroupOptions::new().visibility(visibility);
    client.member("jobs", "workers", options).await.expect("it joins")
}

async fn next(member: &mut Member) -> (String, u32, Work) {
    let work = tokio::time::timeout(SOON, member.next()).await.expect("there is more");
    let work = work.expect("the node runs");
    (text(&work), work.deliveries, work)
}

#[tokio::test]
async fn what_a_member_leaves_goes_to_others_at_once_and_does_not_count() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    with_records(&client, 4).await;
    let mut first = join(&client).await;
    let (_, _, work) = next(&mut first).await;
    first.acknowledge(work);
    let (payload, _, _dropped) = next(&mut first).await;
    assert_eq!(payload, "1");
    assert_eq!(first.leave().await.expect("it leaves").records, 2);
    let mut second = join(&client).await;
    for number in 1..4 {
        let (payload, deliveries, work) = next(&mut second).await;
        assert_eq!((payload, deliveries), (number.to_string(), 1));
        second.acknowledge(work);
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_is_rejected_comes_again_before_what_follows_of_its_key() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    with_records(&client, 3).await;
    let mut member = join(&client).await;
    let (payload, _, work) = next(&mut member).await;
    assert_eq!(payload, "0");
    member.reject(work, "not yet", Duration::ZERO);
    for expected in [("0", 2), ("1", 1), ("2", 1)] {
        let (payload, deliveries, work) = next(&mut member).await;
        assert_eq!((payload.as_str(), deliveries), expected);
        member.acknowledge(work);
    }
    assert_eq!(member.counts().redelivered, 1);
    node.stop().await.expect("it stops");
}
