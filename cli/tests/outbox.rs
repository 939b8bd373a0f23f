//! A node that is cut off: what it takes is listed, survives restarts, and is delivered.

use std::{io::Write, process::Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Process, SOON, earthquakes, eventually};

/// Three nodes, of which the first one has a topic and is cut off from the others: they are stopped
/// as by a debugger, and say nothing.
fn cut_off() -> Cluster {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "quakes"]).ok();
    cluster.run(0, &["publish", "quakes", "before", "--acks", "all"]).ok();
    signal_others(&cluster, Signal::STOP);
    eventually("the others are away", SOON, || {
        let peers = cluster.run(0, &["peers", "--json"]).ok().objects();
        (peers.iter().filter(|peer| peer["state"] == "dead").count() == 2).then_some(())
    });
    cluster
}

fn signal_others(cluster: &Cluster, signal: Signal) {
    cluster.signal(1, signal);
    cluster.signal(2, signal);
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
    let mut cluster = cut_off();
    let (_, lines) = earthquakes();
    let publish = |cluster: &Cluster, lines: &[Vec<u8>]| {
        let words = ["publish", "quakes", "--timeout", "500ms"];
        let finished = cluster.run_with(0, &words, &lines.join(&b'\n')).with_status(3);
        finished.saying(&["outbox", "do not publish them again"]);
    };
    let empty = cluster.run(0, &["outbox"]).ok().without_data();
    empty.saying(&["nothing is pending"]);
    publish(&cluster, &lines[..1_000]);
    let listed = wait_for_records(&cluster, 1_000);
    assert_eq!((&listed["topic"], &listed["wanted"]), (&"quakes".into(), &2.into()));
    assert_eq!((&listed["copies"], listed["away"].as_array().unwrap().len()), (&1.into(), 2));
    let table = String::from_utf8(cluster.run(0, &["outbox"]).ok().stdout).unwrap();
    let cells: Vec<_> = table.trim_end().split('\t').collect();
    assert_eq!((cells[0], cells[1], cells[3]), ("quakes", "1000", "1 of 2"));

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
    assert!(
        waited.saying(&["pending: 1707 records in 1 topic"]).stdout.starts_with(b"quakes\t1707")
    );

    signal_others(&cluster, Signal::CONT);
    cluster.run(0, &["outbox", "--wait=60s"]).ok().without_data().saying(&["nothing is pending"]);
    let mut expected = b"before\n".to_vec();
    lines.iter().for_each(|line| expected.extend([line.as_slice(), b"\n"].concat()));
    for number in 0..3 {
        let fetched = cluster.run(number, &["fetch", "quakes"]).ok();
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
        let logs = tempfile::tempdir().unwrap();
        let mut command = cluster.command(0, words);
        command.stdin(Stdio::piped());
        let mut process = Process::start(command, &logs.path().join("log"));
        process.stdin().write_all(input).unwrap();
        Self { process, logs }
    }

    fn wait_until_it_says(&self, part: &str) {
        eventually("it says so", SOON, || {
            let said = fs_err::read_to_string(self.logs.path().join("log")).unwrap();
            said.contains(part).then_some(())
        });
    }
}

#[test]
fn a_publish_that_waits_is_acknowledged_when_nodes_return() {
    let cluster = cut_off();
    let words = ["publish", "quakes", "--wait", "--receipts", "--json"];
    let mut publishing = Publishing::start(&cluster, &words, b"one\ntwo\nthree\n");
    publishing.wait_until_it_says("pending: waiting for copies of 3 records (1 of 2)");
    signal_others(&cluster, Signal::CONT);
    for _ in 0..3 {
        let receipt: Value = serde_json::from_str(&publishing.process.line().unwrap()).unwrap();
        assert_eq!(receipt["status"], "message_published", "{receipt}");
        assert!(receipt["copies"].as_u64().unwrap() >= 2);
    }
    assert_eq!(publishing.process.wait(), 0);
    assert_eq!(cluster.run(2, &["fetch", "quakes"]).ok().stdout, b"before\none\ntwo\nthree\n");
}

#[test]
fn a_publish_that_is_told_to_wait_no_longer_leaves_the_records_in_the_outbox() {
    let cluster = cut_off();
    let words = ["publish", "quakes", "one", "two", "--wait"];
    let mut publishing = Publishing::start(&cluster, &words, b"");
    publishing.wait_until_it_says("pending: waiting for copies of 2 records (1 of 2)");
    publishing.process.signal(Signal::INT);
    assert_eq!(publishing.process.wait(), 3);
    publishing.wait_until_it_says("the records are in the node's outbox");
    wait_for_records(&cluster, 2);
    let bounded = cluster.run(0, &["publish", "quakes", "three", "--wait=1s", "--json"]);
    assert_eq!(bounded.with_status(3).object()["status"], "pending");
    wait_for_records(&cluster, 3);
    signal_others(&cluster, Signal::CONT);
    cluster.run(0, &["outbox", "--wait=60s"]).ok();
    assert_eq!(cluster.run(1, &["fetch", "quakes"]).ok().stdout, b"before\none\ntwo\nthree\n");
}

/// What is in the outbox is on the disk, and no more of it in memory than of a few batches.
#[test]
#[ignore = "a minute and half a gigabyte of disk; with --nocapture it tells how long things take"]
fn much_more_than_memory_is_allowed_goes_into_the_outbox() {
    const MEGABYTES: usize = 200;
    let cluster = cut_off();
    let mut random = fastrand::Rng::with_seed(1);
    let line = |_| {
        let mut line =
            data_encoding::HEXLOWER.encode(&std::array::from_fn::<_, 2_048, _>(|_| random.u8(..)));
        line.push('\n');
        line
    };
    let input: String = (0..MEGABYTES * 1_000 / 4).map(line).collect();
    let before = resident(&cluster);
    let start = crate::cluster::now();
    let words = ["publish", "quakes", "--wait=1s"];
    let finished = cluster.run_with(0, &words, input.as_bytes()).with_status(3);
    let taken = start.elapsed();
    let grown = resident(&cluster).saturating_sub(before);
    eprintln!("{} bytes taken in {taken:?}; resident: {before} kB and {grown} kB", input.len());
    eprintln!("{}", finished.stderr);
    signal_others(&cluster, Signal::CONT);
    let start = crate::cluster::now();
    let waited = cluster.run(0, &["outbox", "--wait=5m"]).ok();
    eprintln!("delivered in {:?}\n{}", start.elapsed(), waited.stderr);
    let fetched = cluster.run(2, &["fetch", "quakes"]).ok();
    assert!(fetched.stdout.strip_prefix(b"before\n") == Some(input.as_bytes()));
    assert!(grown < 150_000, "{grown} kB more");
}

/// Memory of the first node, in kB.
fn resident(cluster: &Cluster) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{}/status", cluster.pid(0))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
