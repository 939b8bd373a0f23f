//! Nodes that die, return, and come late.

use std::{io::Write, process::Stdio, time::Duration};

use serde_json::Value;

use crate::cluster::{Cluster, Process, antiphon, earthquakes, eventually, now};

/// Time for a cluster to bring a node that returned or joined up to date.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(10);

/// Longest that a publisher may pause when the owner is killed.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Publishes the earthquakes line by line, with receipts.
struct Publisher {
    process: Process,
    input: std::process::ChildStdin,
    longest_pause: Duration,
}

impl Publisher {
    fn start(cluster: &Cluster, number: usize, log: &std::path::Path) -> Self {
        let words = ["publish", "earthquakes", "--receipts", "--json"];
        let mut command = cluster.command(number, &words);
        command.stdin(Stdio::piped());
        let mut process = Process::start(command, log);
        let input = process.stdin();
        Self { process, input, longest_pause: Duration::ZERO }
    }

    /// Publishes lines and waits for their receipts, which must be acknowledgements.
    fn publish(&mut self, lines: &[Vec<u8>]) {
        let Self { process, input, longest_pause } = self;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for line in lines {
                    input.write_all(&[line.as_slice(), b"\n"].concat()).expect("it reads");
                }
            });
            let mut latest = now();
            for _ in lines {
                let receipt = process.line().expect("a receipt for each record");
                let receipt: Value = serde_json::from_str(&receipt).expect("it is JSON");
                assert_eq!(receipt["status"], "published", "{receipt}");
                *longest_pause = (*longest_pause).max(latest.elapsed());
                latest = now();
            }
        });
    }

    fn finish(self) -> Duration {
        let Self { mut process, input, longest_pause } = self;
        drop(input);
        assert_eq!(process.wait(), 0);
        longest_pause
    }
}

#[test]
fn nothing_is_lost_when_the_owner_is_killed_while_publishing() {
    let mut cluster = Cluster::start(5);
    let (path, lines) = earthquakes();
    let created = cluster.run(0, &["create", "earthquakes", "--json"]).ok().object();
    let owner = cluster.number(created["replicas"][0]["peer"].as_str().unwrap());
    let through = (owner + 1) % 5;
    let logs = tempfile::tempdir().unwrap();
    let mut publisher = Publisher::start(&cluster, through, &logs.path().join("log"));
    publisher.publish(&lines[..850]);
    cluster.kill(owner);
    publisher.publish(&lines[850..]);
    let pause = publisher.finish();
    assert!(pause < PAUSE_MAX, "the publisher paused for {pause:?}");

    let content = fs_err::read(path).unwrap();
    for number in (0..5).filter(|number| *number != owner) {
        let fetched = cluster.run(number, &["fetch", "earthquakes"]).ok();
        assert!(fetched.stdout == content, "node {number} has other bytes");
    }
    cluster.restart(owner, through);
    let peer = Value::from(cluster.node(owner).peer.clone());
    eventually("the owner is alive and complete", CAUGHT_UP_WITHIN, || {
        let replicas = cluster.replicas(through, "earthquakes");
        let back = |replica: &&Value| {
            replica["peer"] == peer && replica["state"] == "alive" && replica["complete"] == true
        };
        replicas.iter().find(back).map(|_| ())
    });
    let fetched = cluster.run(owner, &["fetch", "earthquakes"]).ok();
    assert!(fetched.stdout == content, "the owner has other bytes");
}

#[test]
fn a_lone_nodes_topic_spreads_to_those_who_join() {
    let mut cluster = Cluster::start(1);
    let created = cluster.run(0, &["create", "t"]).ok();
    created.saying(&["3 replicas wanted, 1 node is here"]);
    let published = cluster.run(0, &["publish", "t", "one", "--json"]).ok().object();
    assert_eq!((&published["copies"], &published["replicas_wanted"]), (&1.into(), &3.into()));
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().stdout, b"one\n");
    assert_eq!(cluster.stop(0), 0);
    cluster.restart(0, 0);
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().stdout, b"one\n");
    cluster.run(0, &["publish", "t", "two"]).ok();

    cluster.add();
    cluster.add();
    cluster.wait_until_complete(0, "t", 3, CAUGHT_UP_WITHIN);
    cluster.kill(0);
    for number in [1, 2] {
        assert_eq!(cluster.run(number, &["fetch", "t"]).ok().stdout, b"one\ntwo\n");
    }
    assert_eq!(cluster.run(1, &["publish", "t", "three", "--json"]).ok().object()["copies"], 2);
}

#[test]
fn what_was_acknowledged_survives_the_kill_of_every_node() {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t", "--acks", "all"], b"one\ntwo\n").ok();
    for number in 0..3 {
        cluster.kill(number);
    }
    cluster.restart(0, 0);
    cluster.restart(1, 0);
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    for number in 0..3 {
        assert_eq!(cluster.run(number, &["fetch", "t"]).ok().stdout, b"one\ntwo\n");
    }
}

#[test]
fn the_next_node_is_tried_when_one_does_not_answer() {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.kill(0);
    let nodes = format!("{},{}", cluster.node(0).address, cluster.node(1).address);
    let mut command = antiphon(&["publish", "t", "m", "--network", cluster.network()]);
    let output = command.env("ANTIPHON_NODE", nodes).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let dead = cluster.run(0, &["topics", "--timeout", "2s"]).with_status(1).without_data();
    dead.saying(&["error: ", "hint: "]);
}

#[test]
fn the_demo_passes() {
    let output = antiphon(&["demo", "--nodes", "5", "--exit", "--json"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["status"], &summary["nodes"]), (&"demo_passed".into(), &5.into()));
    assert_eq!((&summary["fetched"], &summary["records"]), (&1_707.into(), &1_707.into()));
    assert_eq!((&summary["lost"], &summary["duplicates"]), (&0.into(), &0.into()));
}
