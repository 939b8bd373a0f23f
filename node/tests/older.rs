//! A data directory that a program from before the first release wrote.
//!
//! `older/` has its key, its salt and what was written of its only segment. That program ran as the
//! one node of network `older`, in November 2026. Nothing in it is ever written again: data that was
//! once written must be readable for ever.

use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use antiphon_node::{
    Client, Node, NodeConfig,
    client::{Delivered, GroupOptions, ReaderOptions, Refusal, RequestError, Start},
};
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::library::{SOON, text};

const KEY: &[u8] = include_bytes!("older/key");
const SALT: &[u8] = include_bytes!("older/salt");
const SEGMENT: &[u8] = include_bytes!("older/segment");

/// The bytes of a segment, most of which are not written yet.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("made");
        let mut file = File::create(&path).expect("made");
        file.write_all(bytes).expect("written");
        file.set_permissions(Permissions::from_mode(0o600)).expect("set");
        file
    };
    file("key", KEY);
    file("store/salt", SALT);
    file("store/segments/00000001.seg", SEGMENT).set_len(SEGMENT_BYTES).expect("extended");
    directory
}

async fn start(data: &Path) -> Node {
    let config = NodeConfig::on_loopback(data).network("older".parse().expect("a name"));
    Node::start(config).await.expect("it opens")
}

async fn stored(client: &Client, topic: &str) -> Vec<Delivered> {
    let topic = client.topic(topic).expect("a name");
    let reader = topic.fetch(Start::Beginning).await.expect("it is known");
    reader.try_collect().await.expect("it is read")
}

async fn texts(client: &Client, topic: &str) -> Vec<String> {
    stored(client, topic).await.iter().map(text).collect()
}

fn numbered(name: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| format!("{name}{number}")).collect()
}

/// All that was stored, once the records with this payload were added to `plain`.
async fn assert_all(client: &Client, added: &[&str]) {
    let kept = [numbered("q3.", 1..=5), numbered("q4.", 1..=5)].concat();
    assert_eq!(texts(client, "quakes").await, kept, "the others were trimmed");
    assert_eq!(texts(client, "config").await, ["a=3", "b=3", ""], "the others were compacted");
    assert_eq!(texts(client, "work").await, numbered("", 1..=6));
    assert_eq!(texts(client, "pending").await, ["waits"]);
    let plain = stored(client, "plain").await;
    let expected = [&["hello", "once"], added].concat();
    assert_eq!(plain.iter().map(text).collect::<Vec<_>>(), expected);
    assert_eq!(plain[0].record.key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(plain[0].record.header("kind").map(|value| &**value), Some(b"x".as_slice()));
    let gone = client.topic("gone").expect("a name").fetch(Start::Beginning).await;
    assert!(matches!(gone, Err(RequestError::Refused(Refusal::UnknownTopic { .. }))), "{gone:?}");
    let outbox = client.outbox().await.expect("it answers");
    let pending: Vec<_> = outbox.topics.iter().map(|topic| topic.topic.as_str()).collect();
    assert_eq!(pending, ["pending"]);
}

#[tokio::test]
async fn a_directory_of_an_older_program_serves_all_it_held_and_is_continued() {
    let directory = directory();
    let node = start(directory.path()).await;
    let client = node.client();
    assert_all(&client, &[]).await;
    // Given ids are known, and subscriptions go on where they stood.
    let plain = client.topic("plain").expect("a name");
    let again = plain.publish(antiphon_node::Record::from("twice").with_id("order-7")).await;
    assert!(again.expect("it is there").duplicate);
    let mut alice =
        client.subscriber("plain", "alice", ReaderOptions::default()).await.expect("it goes on");
    let next = tokio::time::timeout(SOON, alice.try_next()).await.expect("there is one");
    assert_eq!(text(&next.expect("it is read").expect("there is one").0), "once");
    let mut member = client.member("work", "team", GroupOptions::new()).await.expect("it joins");
    let work = tokio::time::timeout(SOON, member.next()).await.expect("there is one");
    assert_eq!(text(&work.expect("it is read")), "3", "1 and 2 are acknowledged");
    member.leave().await.expect("it leaves");
    plain.publish("new").await.expect("it is stored");
    node.stop().await.expect("it stops");
    // What it writes stands behind what was there, and both are read.
    let node = start(directory.path()).await;
    assert_all(&node.client(), &["new"]).await;
    node.stop().await.expect("it stops");
    fs::remove_dir_all(directory.path().join("store/index")).expect("removed");
    let node = start(directory.path()).await;
    assert_all(&node.client(), &["new"]).await;
    node.stop().await.expect("it stops");
    let segment = fs::read(directory.path().join("store/segments/00000001.seg")).expect("read");
    assert!(segment.starts_with(SEGMENT), "nothing of it was changed");
}
