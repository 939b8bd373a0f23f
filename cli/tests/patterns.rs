//! Many topics at once: patterns of names.

use crate::cluster::{Cluster, Process, SOON, eventually};

/// The lines `NAME NUMBER` of a topic.
fn lines(name: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("{name} {number}")).collect()
}

fn publish(cluster: &Cluster, node: usize, name: &str, range: std::ops::Range<u32>) {
    let input: Vec<u8> = range.flat_map(|number| format!("{number}\n").into_bytes()).collect();
    cluster.run_with(node, &["publish", name], &input).ok();
}

/// A subscriber that writes `NAME PAYLOAD` a line, and ends after so many.
fn subscriber(cluster: &Cluster, node: usize, words: &[&str], log: &tempfile::TempDir) -> Process {
    let words = [&["subscribe"], words, &["--format", r"%t %v\n"]].concat();
    let command = cluster.command(node, &words);
    Process::start(command, &log.path().join("log"))
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn all_topics_that_match_are_followed_also_those_created_later() {
    let cluster = Cluster::start(3);
    for name in ["sensors.a.temp", "sensors.b.temp", "sensors.a.wind", "sensors", "other"] {
        cluster.run(0, &["create", name]).ok();
        publish(&cluster, 0, name, 0..40);
    }
    let log = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let mut subscriber = subscriber(&cluster, 2, &["sensors.*.temp", "-n", "200"], &log);
    let first = subscriber.line().unwrap();
    // Live: at another node, to a topic that was not there, and to those that do not match.
    publish(&cluster, 1, "sensors.a.temp", 40..60);
    publish(&cluster, 1, "sensors.a.wind", 40..60);
    cluster.run(1, &["create", "sensors.c.temp"]).ok();
    cluster.run(1, &["create", "sensors.c.temp.raw"]).ok();
    publish(&cluster, 1, "sensors.c.temp.raw", 0..40);
    publish(&cluster, 0, "sensors.c.temp", 0..40);
    publish(&cluster, 2, "sensors.b.temp", 40..60);
    publish(&cluster, 1, "sensors.c.temp", 40..80);
    let mut read = vec![first];
    read.extend(std::iter::from_fn(|| subscriber.line()));
    expected.extend(lines("sensors.a.temp", 0..60));
    expected.extend(lines("sensors.b.temp", 0..60));
    expected.extend(lines("sensors.c.temp", 0..80));
    assert_eq!(sorted(read), sorted(expected), "each record once");
    assert_eq!(subscriber.wait(), 0);
}

#[test]
fn a_pattern_that_matches_nothing_yet_waits_for_topics() {
    let cluster = Cluster::start(2);
    let log = tempfile::tempdir().unwrap();
    let path = log.path().join("log");
    let mut subscriber = subscriber(&cluster, 1, &["a.>", "-n", "3"], &log);
    eventually("it says so", SOON, || {
        let said = fs_err::read_to_string(&path).unwrap_or_default();
        said.contains("`a.>`, which no topic matches yet").then_some(())
    });
    cluster.run(0, &["create", "a"]).ok();
    cluster.run(0, &["create", "a.b.c"]).ok();
    publish(&cluster, 0, "a", 0..1);
    publish(&cluster, 0, "a.b.c", 0..3);
    let read: Vec<_> = std::iter::from_fn(|| subscriber.line()).collect();
    assert_eq!(read, lines("a.b.c", 0..3));
    assert_eq!(subscriber.wait(), 0);
}

#[test]
fn a_pattern_is_followed_at_another_node_when_its_node_is_killed() {
    let mut cluster = Cluster::start(3);
    for name in ["a.1", "a.2"] {
        cluster.run(0, &["create", name]).ok();
        publish(&cluster, 0, name, 0..20);
    }
    let log = tempfile::tempdir().unwrap();
    let first = cluster.node(2).address.as_str();
    let words = ["a.*", "-n", "100", "--node", first];
    let mut subscriber = subscriber(&cluster, 1, &words, &log);
    // With the last of these it has all that there was.
    let mut read: Vec<_> = (0..40).map(|_| subscriber.line().unwrap()).collect();
    cluster.kill(2);
    publish(&cluster, 0, "a.1", 20..40);
    cluster.run(1, &["create", "a.3"]).ok();
    publish(&cluster, 1, "a.3", 0..20);
    publish(&cluster, 1, "a.2", 20..40);
    read.extend(std::iter::from_fn(|| subscriber.line()));
    let expected = [lines("a.1", 0..40), lines("a.2", 0..40), lines("a.3", 0..20)].concat();
    assert_eq!(sorted(read), sorted(expected), "each record once");
    assert_eq!(subscriber.wait(), 0);
}

#[test]
fn places_and_choices_hold_for_each_topic_that_matches() {
    let cluster = Cluster::start(1);
    for name in ["a.1", "a.2", "b"] {
        cluster.run(0, &["create", name]).ok();
        publish(&cluster, 0, name, 0..10);
        cluster.run(0, &["publish", name, "keyed", "--key", "k"]).ok();
    }
    let read = |words: &[&str]| {
        let words = [&["subscribe", "a.*", "--format", r"%t %v\n"], words].concat();
        let text = String::from_utf8(cluster.run(0, &words).ok().stdout).unwrap();
        sorted(text.lines().map(str::to_owned).collect())
    };
    let all = |numbers: std::ops::Range<u32>| {
        [lines("a.1", numbers.clone()), lines("a.2", numbers)].concat()
    };
    let keyed = ["a.1 keyed", "a.2 keyed"].map(str::to_owned);
    // To the end of what is stored; to follow and find nothing more is the same.
    for end in [&["--to", "end"][..], &["--idle", "1s"]] {
        let from_to = |words: &[&str]| read(&[words, end].concat());
        assert_eq!(from_to(&[]), sorted([all(0..10), keyed.to_vec()].concat()));
        assert_eq!(from_to(&["--from", "-3"]), sorted([all(8..10), keyed.to_vec()].concat()));
        assert_eq!(from_to(&["--from", "end"]), [""; 0]);
        assert_eq!(from_to(&["--from", "@-1h", "--key", "k"]), keyed);
        let elsewhere = antiphon::model::NodeKey::from_secret(&[1; 32]).node().to_string();
        assert_eq!(from_to(&["--writer", &elsewhere]), [""; 0]);
    }
    assert_eq!(read(&["--to", "-5"]), all(0..6));
    let objects = cluster.run(0, &["subscribe", "*", "--json", "-n", "11"]).ok().objects();
    assert!(objects.iter().all(|object| object["topic"] == "b"), "{objects:?}");
    let cursor = cluster.run(0, &["info", "a.1", "--json"]).ok().object()["cursor"].clone();
    for option in ["--from", "--to"] {
        let words = ["subscribe", "a.*", option, cursor.as_str().unwrap()];
        cluster.run(0, &words).with_status(2).without_data().saying(&["one topic", "hint:"]);
    }
}

#[test]
fn topics_are_listed_by_a_pattern() {
    let cluster = Cluster::start(1);
    for name in ["sensors.a.temp", "sensors.a.wind", "sensors.b.temp", "quakes"] {
        cluster.run(0, &["create", name]).ok();
    }
    let listed = |words: &[&str]| {
        let words = [&["topics", "--json"], words].concat();
        let objects = cluster.run(0, &words).ok().objects();
        let name = |topic: &serde_json::Value| topic["topic"].as_str().unwrap().to_owned();
        objects.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["sensors.*.temp"]), ["sensors.a.temp", "sensors.b.temp"]);
    assert_eq!(listed(&["sensors.a.>"]), ["sensors.a.temp", "sensors.a.wind"]);
    assert_eq!(listed(&["quakes"]), ["quakes"]);
    assert_eq!(listed(&[]).len(), 4);
    let none = cluster.run(0, &["topics", "x.*"]).ok().without_data();
    none.saying(&["no topic matches `x.*`"]);
    let plain = cluster.run(0, &["topics", "*"]).ok();
    assert!(plain.stdout.starts_with(b"quakes\t"), "{plain:?}");
}

#[test]
fn a_pattern_in_place_of_a_name_changes_nothing() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "a.b"]).ok();
    for words in [
        &["create", "a.*"][..],
        &["publish", "a.>", "x"],
        &["fetch", "a.*"],
        &["info", "*"],
        &["verify", "a.*"],
        &["subscription", "delete", "a.*", "alice"],
    ] {
        let refused = cluster.run(0, words).with_status(2).without_data();
        refused.saying(&["a part `*` or `>`", "hint:", "antiphon topics PATTERN"]);
    }
    let topics = cluster.run(0, &["topics", "--json"]).ok().objects();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0]["records"], 0);
}
