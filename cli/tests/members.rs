//! Nodes that leave, nodes that are given up, and what disks really hold.

use std::io::Write;

use crate::cluster::{Cluster, SOON, eventually};

fn publish(cluster: &Cluster, number: usize, lines: std::ops::Range<u32>) {
    let lines: Vec<String> = lines.map(|line| format!("line {line}")).collect();
    let text = lines.join("\n");
    cluster.run_with(number, &["publish", "t"], text.as_bytes()).ok();
}

fn knows(cluster: &Cluster, number: usize, peer: &str) -> bool {
    let peers = cluster.run(number, &["peers", "--json"]).ok().objects();
    peers.iter().any(|other| other["peer"] == peer)
}

#[test]
fn a_node_hands_over_what_it_holds_and_ends() {
    let mut cluster = Cluster::start(4);
    let created = cluster.run(0, &["create", "t", "--json"]).ok().object();
    publish(&cluster, 0, 0..200);
    let owner = cluster.number(created["replicas"][0]["peer"].as_str().unwrap());
    let peer = cluster.node(owner).peer.clone();
    let left = cluster.run(owner, &["leave", "--yes", "--json"]).ok().object();
    assert_eq!((&left["status"], &left["peer"]), (&"left".into(), &peer.as_str().into()));
    assert_eq!(cluster.wait(owner), 0);
    let other = (owner + 1) % 4;
    assert!(!knows(&cluster, other, &peer), "nobody waits for it");
    let verified = cluster.run(other, &["verify", "t", "--repair", "--json"]).ok().object();
    assert_eq!((&verified["same"], &verified["records"]), (&true.into(), &200.into()));
    assert_eq!(verified["replicas"].as_array().unwrap().len(), 3);
    // Started again, it is a member like any other.
    cluster.restart(owner, other);
    eventually("it is back", SOON, || knows(&cluster, other, &peer).then_some(()));
}

#[test]
fn a_node_that_is_there_or_unknown_is_not_forgotten() {
    let mut cluster = Cluster::start(3);
    let peer = cluster.node(2).peer.clone();
    cluster.run(0, &["forget", &peer, "--yes"]).with_status(1).saying(&["is alive", "hint:"]);
    // The end of a peer id, which tables show, names the node as well; what they share does not.
    let end = &peer[peer.len() - 8..];
    cluster.run(0, &["forget", end, "--yes"]).with_status(1).saying(&["is alive", end]);
    cluster.run(0, &["forget", "12D3KooW", "--yes"]).with_status(1).saying(&["fits 3 nodes", end]);
    cluster.kill(2);
    eventually("it counts as away", SOON, || {
        let peers = cluster.run(0, &["peers", "--json"]).ok().objects();
        let away = peers.iter().find(|other| other["peer"] == peer.as_str())?;
        (away["state"] != "alive").then_some(())
    });
    cluster.run(0, &["forget", &peer, "--yes"]).ok();
    for number in [0, 1] {
        eventually("it is forgotten", SOON, || (!knows(&cluster, number, &peer)).then_some(()));
    }
    cluster.run(0, &["forget", &peer, "--yes"]).with_status(1).saying(&["is not known", "hint:"]);
}

#[test]
fn damage_on_a_disk_is_found_and_repaired() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    publish(&cluster, 0, 0..100);
    // One record by itself is stored as it is, so that it is found.
    cluster.run(0, &["publish", "t", "to be damaged"]).ok();
    cluster.run(0, &["verify", "t", "--repair"]).ok();
    damage(&cluster.data(1).join("store/segments"), b"to be damaged");
    let told = cluster.run(0, &["verify", "t", "--json"]).with_status(1).objects();
    let peer = cluster.node(1).peer.as_str();
    let replicas = told[0]["replicas"].as_array().unwrap();
    let damaged = replicas.iter().find(|replica| replica["peer"] == peer).unwrap();
    assert!(damaged["damaged"].as_u64() > Some(0), "{damaged}");
    let repaired = cluster.run(2, &["verify", "t", "--repair", "--json"]).ok().objects();
    assert_eq!(repaired.last().unwrap()["same"], true);
}

/// Flips a bit of a record in the segments of a store.
fn damage(segments: &std::path::Path, record: &[u8]) {
    for entry in fs_err::read_dir(segments).expect("it is readable") {
        let path = entry.expect("it is readable").path();
        let mut content = fs_err::read(&path).expect("it is readable");
        let Some(at) = content.windows(record.len()).position(|bytes| bytes == record) else {
            continue;
        };
        content[at] ^= 1;
        // In place: the node has the file open.
        let mut file = fs_err::OpenOptions::new().write(true).open(&path).expect("it is writable");
        file.write_all(&content).expect("it is written");
        return;
    }
    panic!("no segment has the record");
}
