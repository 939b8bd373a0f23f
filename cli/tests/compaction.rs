//! Topics that keep the newest record of each key.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::cluster::{Cluster, SOON, earthquakes, eventually};

/// Time for a few sweeps, ten seconds apart, on a busy machine.
const A_FEW_SWEEPS: Duration = Duration::from_mins(1);

/// The records that are left, by their numbers on the disks: a compacted topic has gaps.
fn left(cluster: &Cluster, node: usize, topic: &str) -> Vec<Value> {
    cluster.run(node, &["fetch", topic, "--json"]).ok().objects()
}

fn payload(record: &Value) -> String {
    record["payload"].as_str().expect("a text").to_owned()
}

/// Publishes each record as a batch of its own.
fn publish(cluster: &Cluster, topic: &str, records: &[(&str, &str)]) {
    for (key, value) in records {
        cluster.run(0, &["publish", topic, value, "--key", key]).ok();
    }
}

#[test]
fn the_newest_record_of_each_key_is_left_on_every_replica() {
    let mut cluster = Cluster::start(3);
    let created = cluster.run(0, &["create", "stations", "--compact", "--json"]).ok().object();
    let week_ms = 7 * 24 * 3_600_000_u64;
    assert_eq!(
        (&created["compact"], &created["keep_tombstones_ms"]),
        (&true.into(), &week_ms.into())
    );
    publish(&cluster, "stations", &[("fixed", "kept")]);
    for number in 0..10 {
        let value = number.to_string();
        publish(&cluster, "stations", &[("a", &value), ("b", &value)]);
    }
    publish(&cluster, "stations", &[("last", "end")]);
    for node in 0..3 {
        eventually("the older ones are gone", A_FEW_SWEEPS, || {
            (left(&cluster, node, "stations").len() == 4).then_some(())
        });
    }
    let read = cluster.run(1, &["fetch", "stations", "--format", "%k=%v\n"]).ok();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "fixed=kept\na=9\nb=9\nlast=end\n");
    assert!(!read.stderr.contains("trimmed"), "{}", read.stderr);
    cluster.wait_until_complete(1, "stations", 3, SOON);
    cluster.run(2, &["verify", "stations"]).ok();

    // A node without its disk takes over what is left, and it is enough.
    cluster.kill(2);
    for entry in fs_err::read_dir(cluster.data(2)).unwrap() {
        let path = entry.unwrap().path();
        // It is the same node.
        if path.is_dir() {
            fs_err::remove_dir_all(path).unwrap();
        } else if !path.ends_with("key") {
            fs_err::remove_file(path).unwrap();
        }
    }
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    cluster.wait_until_complete(2, "stations", 3, SOON);
    assert_eq!(left(&cluster, 2, "stations").len(), 4);

    // And so does another network.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stations.antiphon");
    let file = file.to_str().unwrap();
    cluster.run(1, &["export", "stations", file]).ok();
    let other = Cluster::start(1);
    other.run(0, &["import", file, "--min-copies", "1"]).ok();
    let read = other.run(0, &["fetch", "stations", "--format", "%k=%v\n"]).ok();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "fixed=kept\na=9\nb=9\nlast=end\n");
    let info = other.run(0, &["info", "stations", "--json"]).ok().object();
    assert_eq!(info["compact"], true);
    other.run(0, &["verify", "stations"]).ok();
}

#[test]
fn subscriptions_and_groups_go_on_over_what_is_gone() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t", "--compact"]).ok();
    publish(&cluster, "t", &[("a", "0"), ("b", "1"), ("a", "2")]);
    let read = |name: &str, option: &str, count: &str| {
        let words = ["subscribe", "t", option, name, "--from", "start", "-n", count];
        String::from_utf8(cluster.run(1, &words).ok().stdout).unwrap()
    };
    assert_eq!(read("reader", "--as", "1"), "0\n");
    publish(&cluster, "t", &[("b", "3"), ("a", "4"), ("c", "5")]);
    eventually("the older ones are gone", A_FEW_SWEEPS, || {
        (left(&cluster, 2, "t").len() == 3).then_some(())
    });
    assert_eq!(read("reader", "--as", "3"), "3\n4\n5\n");
    assert_eq!(read("workers", "--group", "3"), "3\n4\n5\n");
    let listed = cluster.run(2, &["subscriptions", "t", "--json"]).ok().objects();
    assert!(listed.iter().all(|it| it["records_behind"] == 0), "{listed:?}");
}

#[test]
fn tombstones_go_in_time() {
    let cluster = Cluster::start(1);
    let words = ["create", "t", "--compact", "--keep-tombstones", "20s"];
    cluster.run(0, &words).ok();
    publish(&cluster, "t", &[("a", "0"), ("a", ""), ("b", "1")]);
    eventually("what it hides is gone", A_FEW_SWEEPS, || {
        (left(&cluster, 0, "t").len() == 2).then_some(())
    });
    assert_eq!(payload(&left(&cluster, 0, "t")[0]), "", "it is shown to readers meanwhile");
    eventually("it is gone", A_FEW_SWEEPS, || (left(&cluster, 0, "t").len() == 1).then_some(()));
}

#[test]
fn the_newest_event_of_each_network_is_left_of_real_data() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "quakes"]).ok();
    let (path, lines) = earthquakes();
    let events = fs_err::read(path).unwrap();
    // In small batches, for whole batches go.
    for part in events.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>().chunks(20) {
        cluster.run_with(0, &["publish", "quakes", "--key-from", "net"], &part.concat()).ok();
    }
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for line in &lines {
        let event: Value = serde_json::from_slice(line).unwrap();
        let network = event["net"].as_str().unwrap().to_owned();
        newest.insert(network, String::from_utf8(line.clone()).unwrap());
    }
    // A topic that is there is compacted from then on.
    let altered = cluster.run(1, &["alter", "quakes", "--compact"]).ok();
    assert!(String::from_utf8_lossy(&altered.stdout).contains("the newest record of each key"));
    let of_each = |records: Vec<Value>| -> BTreeMap<String, String> {
        let key = |record: &Value| record["key"].as_str().unwrap().to_owned();
        records.iter().map(|record| (key(record), payload(record))).collect()
    };
    let kept = eventually("older events are gone", A_FEW_SWEEPS, || {
        let kept = left(&cluster, 2, "quakes");
        (kept.len() < lines.len() / 2).then_some(kept)
    });
    assert_eq!(of_each(kept), newest);
}

#[test]
fn wrong_words_get_a_hint_and_change_nothing() {
    let cluster = Cluster::start(1);
    let wrong = |words: &[&str], texts: &[&str]| {
        cluster.run(0, words).with_status(2).without_data().saying(texts);
    };
    wrong(&["create", "t", "--compact", "--keep-tombstones", "0s"], &["nobody", "hint: "]);
    wrong(&["create", "t", "--compact", "--keep-tombstones", "soon"], &["hint: ", "7d"]);
    wrong(&["create", "t", "--keep-tombstones", "7d"], &["--compact"]);
    cluster.run(0, &["info", "t"]).with_status(1);
    cluster.run(0, &["create", "t"]).ok();
    let lines = b"{\"net\": \"us\"}\n{\"other\": 1}\n";
    let refused = cluster.run_with(0, &["publish", "t", "--key-from", "net"], lines);
    refused.with_status(1).saying(&["line 2", "`net`", "hint: "]);
}
