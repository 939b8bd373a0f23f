//! Topics, streams and handles over real nodes in this process.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use antiphon_node::{
    Client, ClientConfig, Node, NodeConfig, NodeError, Record, TopicName, WallClock,
    client::{
        ConnectionState, Delivered, LinkError, NameError, NodeState, PublishError, PublishOptions,
        ReaderOptions, Refusal, RequestError, Start, Topic, TopicChanges, TopicOptions,
    },
};
use futures::{FutureExt, StreamExt, TryStreamExt, future::join_all};
use tempfile::TempDir;

/// Time for nodes on a busy machine to do what they do by themselves.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn node(bootstrap: Option<&Node>) -> (Node, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bootstrap = bootstrap.map(|node| node.addresses()[0].clone());
    let config = NodeConfig::on_loopback(directory.path()).bootstrap(bootstrap);
    (Node::start(config).await.expect("a node"), directory)
}

pub(crate) async fn topic(client: &Client, name: &str) -> Topic {
    let topic = client.topic(name).expect("a name");
    topic.create_if_missing().await.expect("it is made");
    topic
}

pub(crate) fn text(delivered: &Delivered) -> String {
    String::from_utf8(delivered.record.payload.to_vec()).expect("it is text")
}

/// Waits until a node sees so many alive.
pub(crate) async fn until_alive(client: &Client, count: usize) {
    let seen = async {
        loop {
            let nodes = client.nodes().await.expect("it runs");
            let alive = nodes.iter().filter(|node| node.state == NodeState::Alive).count();
            if alive == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, seen).await.expect("they meet");
}

#[tokio::test]
async fn a_record_that_says_no_time_gets_that_of_the_clock_and_others_keep_theirs() {
    let (node, _directory) = node(None).await;
    let topic = topic(&node.client(), "t").await;
    topic.publish("now").await.expect("published");
    let old = Record::new(WallClock(1_517_363_399_650), "then");
    topic.publish(old.clone().with_key("k").with_header("h", "v")).await.expect("published");
    let stored: Vec<_> =
        topic.fetch(Start::Beginning).await.expect("there").try_collect().await.expect("there");
    let [now, then] = &stored[..] else { panic!("{stored:?}") };
    assert!(now.record.time > Some(WallClock(1_700_000_000_000)), "{now:?}");
    assert_eq!(then.record.time, old.time);
    assert_eq!(then.record.key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(then.record.header("h").map(|value| &**value), Some(b"v".as_slice()));
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn clones_of_a_handle_publish_in_the_order_of_the_calls() {
    let (node, _directory) = node(None).await;
    let topic = topic(&node.client(), "t").await;
    let clones: Vec<Topic> = std::iter::repeat_n(topic.clone(), 300).collect();
    let published = (0..).zip(&clones).map(|(number, clone)| clone.publish(format!("{number}")));
    for (number, receipt) in (0..).zip(join_all(published).await) {
        let receipt = receipt.expect("published");
        assert_eq!(receipt.id.number, number, "all are of one producer");
    }
    let stored = topic.fetch(Start::Beginning).await.expect("there");
    let stored: Vec<String> =
        stored.map_ok(|delivered| text(&delivered)).try_collect().await.expect("there");
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(stored, expected);
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn names_may_be_texts_and_the_error_says_what_is_wrong_with_one() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    let name: TopicName = "t".parse().expect("a name");
    assert_eq!(client.topic(&name).expect("a name").name(), &name);
    assert_eq!(client.topic(String::from("t")).expect("a name").name(), &name);
    let wrong = |name: &str| client.topic(name).expect_err("no name").to_string();
    assert_eq!(wrong(""), "the name is empty");
    assert_eq!(wrong("a.*"), "a part `*` or `>` makes a pattern and not the name of a topic");
    assert_eq!(wrong(&"x".repeat(256)), "the name has 256 bytes, more than the limit of 255");
    topic(&client, "t").await;
    let error = client.subscriber("t", "", ReaderOptions::default()).await.expect_err("no name");
    assert!(matches!(error, RequestError::Name(NameError::Name(_))), "{error:?}");
    let error = client.pattern_reader("a.>.b", ReaderOptions::follow()).await.expect_err("none");
    assert_eq!(error.to_string(), "`>` stands for the rest of a name, and nothing follows it");
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_record_under_a_given_id_is_stored_once_whatever_handle_publishes_it() {
    let (node, _directory) = node(None).await;
    let topic = topic(&node.client(), "orders").await;
    let order = Record::json(&serde_json::json!({ "total": 12.5 })).expect("it is JSON");
    let first = topic.publish(order.clone().with_id("7")).await.expect("published");
    assert!(!first.duplicate);
    let mut publisher = topic.publisher(PublishOptions::default());
    let again = publisher.publish(order.with_id("7")).await.expect("queued").await;
    let again = again.expect("it is there");
    assert_eq!((again.id, again.duplicate), (first.id, true));
    topic.publish(b"plain bytes").await.expect("published");
    let stored: Vec<_> =
        topic.fetch(Start::Beginning).await.expect("there").try_collect().await.expect("there");
    let [order, plain] = &stored[..] else { panic!("{stored:?}") };
    let value: serde_json::Value = order.json().expect("it is JSON");
    assert_eq!(value["total"], 12.5);
    assert_eq!(order.record.header("antiphon-id").map(|id| &**id), Some(b"7".as_slice()));
    assert_eq!(order.record.id, None);
    assert!(plain.json::<serde_json::Value>().is_err());
    // What was read with an id is published again without it.
    let refused = topic.publish(&order.record).await.expect_err("the header is not its own");
    assert!(matches!(refused, PublishError::Record(_)), "{refused:?}");
    let copy = order.record.clone().without_own_headers();
    assert!(!topic.publish(copy).await.expect("published").duplicate);
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_reader_starts_at_a_time() {
    let (node, _directory) = node(None).await;
    let topic = topic(&node.client(), "t").await;
    let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day);
    // A record of 1970 keeps its time.
    for number in 0..4 {
        let record = Record::from(number.to_string()).with_time(day(number));
        topic.publish(record).await.expect("published");
    }
    for (start, expected) in [(Start::Beginning, 0..4), (Start::Since(day(2)), 2..4)] {
        let found = topic.fetch(start).await.expect("there");
        let times: Vec<_> =
            found.map_ok(|it| it.record.published_at()).try_collect().await.expect("there");
        assert_eq!(times, expected.map(day).map(Some).collect::<Vec<_>>());
    }
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn terms_are_named_when_a_topic_is_made_and_can_be_changed() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    let topic = client.topic("t").expect("a name");
    let day = Duration::from_hours(24);
    let options = TopicOptions::new().replicas(5).min_copies(1).max_age(day).max_records(10);
    let created = topic.create_with(options.clone()).await.expect("it is made");
    assert!(created.is_new);
    assert_eq!((created.topic.replicas, created.topic.min_copies), (5, 1));
    assert_eq!(created.topic.retention, options.retention);
    let exists = topic.create().await;
    assert_eq!(exists, Err(Refusal::TopicExists("t".into()).into()));
    let again = topic.create_if_missing().await.expect("it is there");
    assert_eq!((again.topic, again.is_new), (created.topic, false));

    let changes = TopicChanges::new().replicas(3).max_age(None).max_bytes(2_000_000);
    let altered = topic.alter(changes.min_copies(None)).await.expect("it is altered");
    assert_eq!((altered.replicas, altered.min_copies_follow), (3, true));
    let retention = altered.retention;
    assert_eq!((retention.max_age, retention.max_records), (None, Some(10)));
    assert_eq!(retention.max_bytes, Some(2_000_000));

    topic.publish("x").await.expect("published");
    let info = topic.info().await.expect("it is there");
    assert_eq!((info.summary.name.as_str(), info.summary.records), ("t", 1));
    assert_eq!((&info.summary.holders[..], info.is_complete), (&[node.id()][..], true));
    let [replica] = &info.replicas[..] else { panic!("{info:?}") };
    assert_eq!((replica.node, replica.state), (node.id(), NodeState::Alive));
    let listed = client.topics().await.expect("it runs");
    assert_eq!(listed.len(), 1);
    topic.delete().await.expect("it is deleted");
    let gone = topic.info().await.expect_err("it is gone");
    assert!(matches!(gone, RequestError::Refused(Refusal::UnknownTopic { .. })), "{gone:?}");
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_pending_record_is_an_error_and_is_waited_for_until_nodes_come() {
    let (first, _directory) = node(None).await;
    let topic = first.client().topic("t").expect("a name");
    topic.create_with(TopicOptions::new().min_copies(2)).await.expect("it is made");
    let timeout = Duration::from_millis(100);
    let mut publisher = topic.publisher(PublishOptions::new().timeout(timeout));
    let outcome = publisher.publish("kept").await.expect("queued").await;
    let Err(PublishError::Pending(mut pending)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((pending.copies(), pending.wanted()), (1, 2));
    assert!(pending.has_too_few_nodes());
    assert_eq!(pending.wait_within(Duration::ZERO).await, Ok(None));
    let (second, _other_directory) = node(Some(&first)).await;
    let receipt = tokio::time::timeout(SOON, pending.wait()).await.expect("in time");
    let receipt = receipt.expect("a node answers");
    assert_eq!((receipt.id, receipt.copies), (pending.id(), 2));
    second.stop().await.expect("it stops cleanly");
    first.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_durable_stream_goes_on_at_another_node_after_what_was_acknowledged() {
    let (first, _directory) = node(None).await;
    let (second, _other_directory) = node(Some(&first)).await;
    until_alive(&first.client(), 2).await;
    until_alive(&second.client(), 2).await;
    let here = topic(&first.client(), "jobs").await;
    for job in ["dig", "fill", "rake", "sow"] {
        here.publish(job).await.expect("published");
    }
    let mut jobs = here.subscribe_as("gardener", Start::Beginning).await.expect("subscribed");
    assert!(jobs.is_new());
    let mut out = Vec::new();
    for _ in 0..4 {
        let (delivered, acknowledgement) = jobs.next().await.expect("no end").expect("a job");
        out.push((text(&delivered), acknowledgement));
    }
    for (job, acknowledgement) in out {
        // The third is left undone, so the fourth comes again with it.
        if job != "rake" {
            acknowledgement.acknowledge();
        }
    }
    jobs.commit().await.expect("it is kept");
    drop(jobs);

    let there = second.client().topic("jobs").expect("a name");
    let mut jobs = there.subscribe_as("gardener", Start::Beginning).await.expect("subscribed");
    assert!(!jobs.is_new());
    for expected in ["rake", "sow"] {
        let (delivered, acknowledgement) = jobs.next().await.expect("no end").expect("a job");
        assert_eq!(text(&delivered), expected);
        acknowledgement.acknowledge();
    }
    // Live, from the other node.
    here.publish("weed").await.expect("published");
    let (delivered, _) = jobs.next().await.expect("no end").expect("a job");
    assert_eq!(text(&delivered), "weed");
    second.stop().await.expect("it stops cleanly");
    first.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_pattern_is_a_stream_of_all_its_topics_those_made_later_included() {
    let (node, _directory) = node(None).await;
    let client = node.client();
    topic(&client, "sensors.attic").await.publish("21").await.expect("published");
    topic(&client, "other").await.publish("no").await.expect("published");
    let mut records =
        client.pattern_reader("sensors.>", ReaderOptions::follow()).await.expect("started");
    let mut seen = BTreeSet::new();
    let (name, delivered) = StreamExt::next(&mut records).await.expect("no end").expect("a record");
    seen.insert((name.to_string(), text(&delivered)));
    topic(&client, "sensors.cellar").await.publish("12").await.expect("published");
    let (name, delivered) = records.next().await.expect("no end").expect("a record");
    seen.insert((name.to_string(), text(&delivered)));
    let expected = [("sensors.attic", "21"), ("sensors.cellar", "12")];
    assert_eq!(seen, expected.map(|(name, text)| (name.into(), text.into())).into());
    drop(records);
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn the_client_of_a_node_that_has_stopped_says_at_once_that_nothing_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(NodeConfig::on_loopback(directory.path())).await.unwrap();
    let topic = node.client().topic("t").unwrap();
    topic.create().await.unwrap();
    let mut connection = topic.client().connection();
    assert_eq!(connection.state(), ConnectionState::Connected(node.id()));
    node.stop().await.unwrap();
    assert_eq!(connection.changed().await, Some(ConnectionState::Stopped));
    assert_eq!(connection.changed().await, None);
    let error = topic.publish("too late").await.unwrap_err();
    assert_eq!(error.to_string(), "the record was not stored: the node has stopped");
    assert!(matches!(error, PublishError::NotSent(_)), "{error:?}");
    let error = topic.client().topics().await.unwrap_err();
    assert_eq!(error, RequestError::Link(LinkError::NotSent("the node has stopped".into())));
}

#[tokio::test]
async fn a_client_whose_node_has_stopped_goes_on_when_it_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(NodeConfig::on_loopback(directory.path())).await.unwrap();
    let mut config = NodeConfig::on_loopback(directory.path());
    config.listen = vec![node.addresses()[0].iter().take(2).collect()];
    let nodes = node.addresses();
    let client = Client::connect(ClientConfig::new().nodes(nodes)).await.unwrap();
    let topic = client.topic("t").unwrap();
    topic.create().await.unwrap();
    let mut connection = client.connection();
    node.stop().await.unwrap();
    let state = connection.changed().await;
    assert!(matches!(state, Some(ConnectionState::Searching { known: 1, .. })), "{state:?}");
    let mut publisher = topic.publisher(PublishOptions::new().timeout(Duration::from_millis(100)));
    let error = publisher.publish("in vain").await.unwrap().await.unwrap_err();
    assert!(matches!(error, PublishError::NotSent(_)), "{error:?}");
    let (published, node) = tokio::join!(topic.publish("kept"), Node::start(config));
    let node = node.unwrap();
    published.unwrap();
    assert_eq!(connection.changed().await, Some(ConnectionState::Connected(node.id())));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn all_who_wait_for_a_node_to_fail_are_told_why_however_often_they_ask() {
    let (first, _directory) = node(None).await;
    let (second, _other_directory) = node(Some(&first)).await;
    until_alive(&first.client(), 2).await;
    until_alive(&second.client(), 2).await;
    assert!(first.failed().now_or_never().is_none(), "it runs");
    let left = async {
        loop {
            // It has ended, or is about to.
            if first.operator().leave(first.id()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let all = async { tokio::join!(first.failed(), first.failed(), left) };
    let (one, other, ()) = tokio::time::timeout(SOON, all).await.expect("it leaves");
    assert_eq!((&one, &other), (&NodeError::Left, &NodeError::Left));
    assert_eq!(first.failed().await, NodeError::Left);
    assert_eq!(first.stop().await, Err(NodeError::Left));
    second.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_node_that_is_dropped_has_stopped_for_its_clients() {
    let (node, _directory) = node(None).await;
    let mut connection = node.client().connection();
    drop(node);
    assert_eq!(connection.changed().await, Some(ConnectionState::Stopped));
}
