//! A node that is cut off: what it takes is listed, survives restarts, and is delivered.

use std::{io::Write, process::Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Process, SOON, earthquakes, eventually, now};

/// Nodes, of which the first one is cut off from the others: they are stopped as by a debugger, and
/// say nothing. With three of them it is a replica of the topic, with more it is none.
fn cut_off(nodes: usize) -> (Cluster, String) {
    let cluster = Cluster::start(nodes);
    let peer = &cluster.node(0).peer;
    let is_found = |topic: &String| {
        let created = cluster.run(0, &["create", topic, "--json"]).ok().object();
        let replicas = created["replicas"].as_array().expect("a list");
        replicas.iter().any(|replica| replica["peer"] == **peer) == (nodes == 3)
    };
    let topic = (0..100)
        .map(|number| format!("quakes-{number}"))
        .find(is_found)
        .expect("a topic of this kind");
    cluster.run(0, &["publish", &topic, "before", "--acks", "all"]).ok();
    signal_others(&cluster, nodes, Signal::STOP);
    eventually("the others are away", SOON, || {
        let peers = cluster.run(0, &["peers", "--json"]).ok().objects();
        let dead = peers.iter().filter(|peer| peer["state"] == "dead").count();
        (dead == nodes - 1).then_some(())
    });
    (cluster, topic)
}

fn signal_others(cluster: &Cluster, nodes: usize, signal: Signal) {
    (1..nodes).for_each(|number| cluster.signal(number, signal));
}

/// What is pending in the one topic, once there are so many records.
fn wait_for_records(cluster: &Cluster, records: u64) -> Value {
    eventually("so many records are pending", SOON, || {
        let listed = cluster.run(0, &["outbox", "--json"]).ok().objects();
        listed.into_iter().find(|topic| topic["records"] == records)
    })
}

#[test]
fn what_a_node_takes_alone_survives_its_restarts_and_is_delivered_in_order_and_once() {
    let (mut cluster, topic) = cut_off(3);
    let (_, lines) = earthquakes();
    let publish = |cluster: &Cluster, lines: &[Vec<u8>]| {
        let words = ["publish", &topic, "--timeout", "500ms"];
        let finished = cluster.run_with(0, &words, &lines.join(&b'\n')).with_status(3);
        finished.saying(&["outbox", "do not publish them again"]);
    };
    let empty = cluster.run(0, &["outbox"]).ok().without_data();
    empty.saying(&["nothing is pending"]);
    publish(&cluster, &lines[..1_000]);
    let listed = wait_for_records(&cluster, 1_000);
    assert_eq!((&listed["topic"], &listed["wanted"]), (&topic.as_str().into(), &2.into()));
    assert_eq!((&listed["copies"], listed["away"].as_array().unwrap().len()), (&1.into(), 2));
    let table = String::from_utf8(cluster.run(0, &["outbox"]).ok().stdout).unwrap();
    let cells: Vec<_> = table.trim_end().split('\t').collect();
    assert_eq!((cells[0], cells[1], cells[3]), (topic.as_str(), "1000", "1 of 2"));

    cluster.kill(0);
    cluster.restart(0, 0);
    assert_eq!(wait_for_records(&cluster, 1_000)["since"], listed["since"]);
    publish(&cluster, &lines[1_000..1_500]);
    assert_eq!(cluster.stop(0), 0);
    cluster.restart(0, 0);
    wait_for_records(&cluster, 1_500);
    publish(&cluster, &lines[1_500..]);
    wait_for_records(&cluster, 1_707);
    let waited = cluster.run(0, &["outbox", "--wait=1s"]).with_status(3);
    assert!(waited.saying(&["pending: 1,707 records in 1 topic"]).stdout.ends_with(b"1 of 2\n"));

    signal_others(&cluster, 3, Signal::CONT);
    cluster.run(0, &["outbox", "--wait=60s"]).ok().without_data().saying(&["nothing is pending"]);
    let mut expected = b"before\n".to_vec();
    expected.extend([lines.join(&b'\n').as_slice(), b"\n"].concat());
    for number in 0..3 {
        let fetched = cluster.run(number, &["fetch", &topic]).ok();
        assert!(fetched.stdout == expected, "node {number} has other bytes");
    }
}

/// A publish that follows what is pending, and what it has said so far.
struct Publishing {
    process: Process,
    logs: tempfile::TempDir,
}

impl Publishing {
    fn start(cluster: &Cluster, words: &[&str], input: &[u8]) -> Self {
        let logs = tempfile::tempdir().expect("a temporary directory");
        let mut command = cluster.command(0, words);
        command.stdin(Stdio::piped());
        let mut process = Process::start(command, &logs.path().join("log"));
        process.stdin().write_all(input).expect("it reads");
        Self { process, logs }
    }

    fn wait_until_it_says(&self, part: &str) {
        eventually("it says so", SOON, || {
            let said = fs_err::read_to_string(self.logs.path().join("log")).unwrap_or_default();
            said.contains(part).then_some(())
        });
    }
}

#[test]
fn a_publish_that_waits_is_acknowledged_when_nodes_return() {
    let (cluster, topic) = cut_off(3);
    let words = ["publish", &topic, "--wait", "--receipts", "--json"];
    let mut publishing = Publishing::start(&cluster, &words, b"one\ntwo\nthree\n");
    publishing.wait_until_it_says("pending: waiting for copies of 3 records (1 of 2)");
    signal_others(&cluster, 3, Signal::CONT);
    for _ in 0..3 {
        let receipt: Value = serde_json::from_str(&publishing.process.line().unwrap()).unwrap();
        assert_eq!(receipt["status"], "published", "{receipt}");
        assert!(receipt["copies"].as_u64().unwrap() >= 2);
    }
    assert_eq!(publishing.process.wait(), 0);
    assert_eq!(cluster.run(2, &["fetch", &topic]).ok().stdout, b"before\none\ntwo\nthree\n");
}

#[test]
fn a_publish_that_is_told_to_wait_no_longer_leaves_the_records_in_the_outbox() {
    let (cluster, topic) = cut_off(3);
    let words = ["publish", &topic, "one", "two", "--wait"];
    let mut publishing = Publishing::start(&cluster, &words, b"");
    publishing.wait_until_it_says("pending: waiting for copies of 2 records (1 of 2)");
    publishing.process.signal(Signal::INT);
    assert_eq!(publishing.process.wait(), 3);
    publishing.wait_until_it_says("records are in the node's outbox");
    wait_for_records(&cluster, 2);
    let bounded = cluster.run(0, &["publish", &topic, "three", "--wait=1s", "--json"]);
    assert_eq!(bounded.with_status(3).object()["status"], "pending");
    wait_for_records(&cluster, 3);
    signal_others(&cluster, 3, Signal::CONT);
    cluster.run(0, &["outbox", "--wait=60s"]).ok();
    assert_eq!(cluster.run(1, &["fetch", &topic]).ok().stdout, b"before\none\ntwo\nthree\n");
}

#[test]
fn another_node_does_not_answer_for_the_outbox_of_one_that_is_gone() {
    let (mut cluster, topic) = cut_off(3);
    cluster.run(0, &["publish", &topic, "one", "--timeout", "500ms"]).with_status(3);
    let mut waiting = Publishing::start(&cluster, &["outbox", "--wait", "--timeout", "3s"], b"");
    waiting.wait_until_it_says("pending: 1 record in 1 topic");
    cluster.kill(0);
    signal_others(&cluster, 3, Signal::CONT);
    assert_eq!(waiting.process.wait(), 1);
    waiting.wait_until_it_says("hint: ");
}

/// What is in the outbox is on the disk, and no more of it in memory than of a few batches.
#[test]
#[ignore = "a minute and half a gigabyte of disk; with --nocapture it tells how long things take"]
fn much_more_than_memory_is_allowed_goes_into_the_outbox() {
    for nodes in [3, 5] {
        take_much_more(nodes);
    }
}

fn take_much_more(nodes: usize) {
    const LINES: usize = 50_000;
    let (cluster, topic) = cut_off(nodes);
    let mut random = fastrand::Rng::with_seed(1);
    let mut input = String::new();
    for _ in 0..LINES {
        let noise: [u8; 2_048] = std::array::from_fn(|_| random.u8(..));
        input += &data_encoding::HEXLOWER.encode(&noise);
        input.push('\n');
    }
    let before = resident(&cluster);
    let start = now();
    let words = ["publish", &topic, "--wait=1s"];
    cluster.run_with(0, &words, input.as_bytes()).with_status(3);
    let taken = start.elapsed();
    let grown = resident(&cluster).saturating_sub(before);
    signal_others(&cluster, nodes, Signal::CONT);
    let start = now();
    cluster.run(0, &["outbox", "--wait=5m"]).ok();
    let delivered = start.elapsed();
    let replica = if nodes == 3 { "a replica" } else { "no replica" };
    #[expect(clippy::print_stderr, reason = "a measurement")]
    {
        eprintln!(
            "{replica}: {} bytes taken in {taken:?}, memory {before} kB and {grown} kB more, \
             delivered in {delivered:?}",
            input.len()
        );
    }
    let fetched = cluster.run(2, &["fetch", &topic]).ok();
    assert!(fetched.stdout.strip_prefix(b"before\n") == Some(input.as_bytes()));
    assert!(grown < 150_000, "{grown} kB more");
}

/// Memory of the first node, in kB.
fn resident(cluster: &Cluster) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{}/status", cluster.pid(0)));
    let status = status.expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number of kilobytes")
}
