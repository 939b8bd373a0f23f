//! Creating topics and publishing to them.

use serde_json::Value;

use crate::cluster::{Cluster, SOON, earthquakes, eventually};

#[test]
fn any_name_and_any_bytes_make_the_round() {
    let cluster = Cluster::start(3);
    let topic = "地震 / 🌍";
    let created = cluster.run(0, &["create", topic, "--json"]).ok().object();
    assert_eq!(created["status"], "topic_created");
    assert_eq!((&created["topic"], &created["replicas_wanted"]), (&topic.into(), &3.into()));
    assert_eq!(created["min_copies"], 2);
    assert_eq!(created["replicas"].as_array().unwrap().len(), 3);

    let binary = [0, b'\n', 0xff, b'x', b'\n'];
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), binary).unwrap();
    let empty = cluster.run(0, &["publish", topic, "--json", "--", ""]).ok().object();
    assert_eq!(empty["status"], "published");
    assert!(empty["copies"].as_u64().unwrap() >= 2);
    let path = file.path().to_str().unwrap();
    let words = ["publish", topic, "--file", path, "--key", "k", "--header", "a=1", "--json"];
    let id = cluster.run(0, &words).ok().object()["id"].clone();

    for number in 0..3 {
        let fetched = cluster.run(number, &["fetch", topic, "--json"]).ok().objects();
        assert_eq!(fetched.len(), 2, "{fetched:?}");
        assert_eq!((&fetched[0]["payload"], &fetched[0]["key"]), (&"".into(), &Value::Null));
        assert_eq!(
            (&fetched[1]["payload_base64"], &fetched[1]["key"]),
            (&"AAr/eAo=".into(), &"k".into())
        );
        assert_eq!(fetched[1]["headers"], serde_json::json!([{ "name": "a", "value": "1" }]));
        assert_eq!((&fetched[1]["id"], &fetched[1]["topic"]), (&id, &topic.into()));
        let raw = cluster.run(number, &["fetch", topic, "--from", "-1", "--raw"]).ok();
        assert_eq!(raw.stdout, binary);
    }
}

#[test]
fn headers_of_antiphons_own_cannot_be_forged() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    for name in ["antiphon-id", "antiphon-topic", "Antiphon-Id", "antiphon-expires"] {
        let header = format!("{name}=a");
        let words = ["publish", "t", "m", "--header", &header];
        cluster.run(0, &words).with_status(2).without_data().saying(&[
            name,
            "Antiphon's own",
            "hint:",
        ]);
    }
    cluster.run(0, &["publish", "t", "m", "--header", "my-antiphon-id=a"]).ok();
    cluster.run(0, &["publish", "t", "m", "--id", "a"]).ok();
    let fetched = cluster.run(0, &["fetch", "t", "--format", "%h{antiphon-id}|"]).ok();
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), "|a|");
}

#[test]
fn quiet_says_nothing_but_errors_and_what_was_asked_for() {
    let cluster = Cluster::start(1);
    let quiet = |words: &[&str], input: &[u8]| {
        let finished = cluster.run_with(0, &[&["-q"], words].concat(), input).ok();
        assert_eq!(finished.stderr, "", "{words:?}");
        String::from_utf8(finished.stdout).unwrap()
    };
    for words in [
        &["create", "t"][..],
        &["create", "t", "--if-not-exists"],
        &["alter", "t", "--retain-age", "7d"],
        &["publish", "t", "a"],
        &["subscribe", "t", "--as", "alice", "--to", "end", "--format", " "],
        &["subscription", "reset", "t", "alice", "--to", "start"],
        &["subscription", "delete", "t", "alice"],
    ] {
        assert_eq!(quiet(words, b"").trim(), "", "{words:?}");
    }
    assert_eq!(quiet(&["publish", "t"], b"b\nc\n"), "");
    assert_eq!(quiet(&["publish", "t", "--receipts"], b"d\n").lines().count(), 1);
    assert!(quiet(&["publish", "t", "e", "--json"], b"").contains("\"copies\":1"));
    assert_eq!(quiet(&["fetch", "t"], b""), "a\nb\nc\nd\ne\n");
    assert_eq!(quiet(&["delete", "t", "--yes"], b""), "");
    cluster.run(0, &["-q", "fetch", "t"]).with_status(1).saying(&["error: "]);
}

#[test]
fn a_time_beside_wait_is_no_message() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let words = ["publish", "t", "a", "--wait", "5s"];
    cluster
        .run(0, &words)
        .with_status(2)
        .without_data()
        .saying(&["`--wait 5s`", "hint: write `--wait=5s`"]);
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().stdout, b"");
    cluster.run(0, &["publish", "t", "a", "--wait=5s"]).ok();
    cluster.run(0, &["publish", "t", "--wait", "--", "5s"]).ok();
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().stdout, b"a\n5s\n");
    cluster.run(0, &["outbox", "--wait", "5s"]).with_status(2).saying(&["`--wait=5s`"]);
}

#[test]
fn a_topic_is_created_once() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "quakes"]).ok();
    let again = cluster.run(0, &["create", "quakes"]).with_status(1).without_data();
    again.saying(&["exists already", "hint: ", "--if-not-exists"]);
    let taken = cluster.run(0, &["create", "quakes", "--if-not-exists", "--json"]).ok();
    assert_eq!(taken.object()["status"], "topic_exists");
    let words = ["create", "quakes", "--if-not-exists", "--replicas", "5", "--min-copies", "1"];
    let other = cluster.run(0, &words).with_status(1).without_data();
    other.saying(&[
        "asked for 5 replicas, has 3",
        "hint: `antiphon topic alter quakes --replicas 5`",
    ]);
    let same = ["create", "quakes", "--if-not-exists", "--replicas", "3", "--retain-age", "none"];
    cluster.run(0, &same).ok();
    let missing = cluster.run(0, &["publish", "quaks", "m"]).with_status(1).without_data();
    missing.saying(&["`quaks` does not exist", "hint: ", "`quakes`"]);
    for words in [["fetch", "quaks"], ["info", "quaks"], ["subscribe", "quaks"]] {
        cluster.run(0, &words).with_status(1).without_data().saying(&["`quakes`"]);
    }
    let topics = cluster.run(0, &["topics", "--json"]).ok().object();
    assert_eq!((&topics["topic"], &topics["records"]), (&"quakes".into(), &0.into()));
}

#[test]
fn lines_become_records_and_one_summary() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    let summary = cluster.run_with(1, &["publish", "t", "--json"], b"a\n\nb\r\nc").ok().object();
    assert_eq!(summary["status"], "published");
    assert_eq!(summary["records"], 4);
    let fetched = cluster.run(2, &["fetch", "t", "--raw"]).ok();
    assert_eq!(fetched.stdout, b"ab\rc");
    let receipts = cluster.run_with(1, &["publish", "t", "--receipts", "--json"], b"d\ne\n").ok();
    assert_eq!(receipts.objects().len(), 2);
    let words = ["publish", "t", "--json", "f", "g"];
    assert_eq!(cluster.run(1, &words).ok().objects().len(), 2);
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().lines().len(), 8);
}

#[test]
fn a_line_above_the_limit_is_named_and_the_lines_before_it_stay() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let mut input = b"one\ntwo\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 1024 * 1024 + 1));
    input.extend(b"\nfour\n");
    let failed = cluster.run_with(0, &["publish", "t"], &input).with_status(1).without_data();
    failed.saying(&["line 3", "1048577 bytes", "1048576", "2 records acknowledged", "hint: "]);
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().stdout, b"one\ntwo\n");
}

#[test]
fn too_few_copies_in_time_are_pending_and_delivered_later() {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t", "--replicas", "3", "--min-copies", "3"]).ok();
    cluster.kill(2);
    let words = ["publish", "t", "m", "--timeout", "1s", "--json"];
    let pending =
        cluster.run(0, &words).with_status(3).saying(&["hint", "do not publish"]).object();
    assert_eq!((&pending["status"], &pending["wanted"]), (&"pending".into(), &3.into()));
    assert_eq!(pending["copies"], 2);
    cluster.restart(2, 0);
    eventually("the record reaches the node that returned", SOON, || {
        let fetched = cluster.run(2, &["fetch", "t"]);
        (fetched.status == 0 && fetched.stdout == b"m\n").then_some(())
    });
    cluster.wait_until_complete(0, "t", 3, SOON);
}

#[test]
fn the_earthquakes_are_the_same_at_each_of_eight_nodes() {
    let cluster = Cluster::start(8);
    let (path, _) = earthquakes();
    let content = fs_err::read(path).unwrap();
    cluster.run(3, &["create", "earthquakes", "--replicas", "3"]).ok();
    let summary =
        cluster.run_with(0, &["publish", "earthquakes", "--json"], &content).ok().object();
    assert_eq!(summary["records"], 1_707);
    for number in 0..8 {
        let fetched = cluster.run(number, &["fetch", "earthquakes"]).ok();
        assert!(fetched.stdout == content, "node {number} has other bytes");
    }
}
