//! Publishing again under an id that was given.

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, earthquakes, eventually};

/// The id and the line of an earthquake.
fn earthquake(number: usize) -> (String, String) {
    let (_, lines) = earthquakes();
    let event: Value = serde_json::from_slice(&lines[number]).expect("a line is an object");
    let id = event["id"].as_str().expect("each has one");
    (id.to_owned(), String::from_utf8_lossy(&lines[number]).into_owned())
}

#[test]
fn an_earthquake_is_published_once_through_whichever_node_and_after_restarts() {
    let mut cluster = Cluster::start(4);
    cluster.run(0, &["create", "quakes", "--replicas", "3"]).ok();
    let (id, line) = earthquake(0);
    let words = ["publish", "quakes", &line, "--id", &id, "--json"];
    let first = cluster.run(0, &words).ok().object();
    assert_eq!((&first["status"], &first["duplicate"]), (&"published".into(), &false.into()));
    for node in [3, 2, 1, 0] {
        let again = cluster.run(node, &words).ok().object();
        assert_eq!((&again["duplicate"], &again["id"]), (&true.into(), &first["id"]), "{again}");
        assert!(again["copies"].as_u64().unwrap() >= 2, "{again}");
    }
    let text = cluster.run(2, &words[..5]).ok();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let expected = format!("duplicate of {}, flushed on ", first["id"].as_str().unwrap());
    assert!(text.starts_with(&expected), "{text}");

    for node in 0..4 {
        cluster.kill(node);
    }
    for node in 0..4 {
        cluster.restart(node, usize::from(node == 0));
    }
    cluster.wait_until_alive(4);
    eventually("the topic is known again", SOON, || {
        (cluster.run(1, &["info", "quakes"]).status == 0).then_some(())
    });
    let again = cluster.run(1, &words).ok().object();
    assert_eq!((&again["duplicate"], &again["id"]), (&true.into(), &first["id"]), "{again}");

    let (other, line) = earthquake(1);
    let words = ["publish", "quakes", &line, "--id", &other, "--json"];
    assert_eq!(cluster.run(1, &words).ok().object()["duplicate"], json!(false));
    for node in 0..4 {
        let fetched = cluster.run(node, &["fetch", "quakes", "--json"]).ok().objects();
        let ids = fetched.iter().map(|record| record["headers"].clone());
        let headers = |id: &str| json!([{ "name": "antiphon-id", "value": id }]);
        assert!(ids.eq([headers(&id), headers(&other)]), "at node {node}: {fetched:?}");
        assert_eq!(fetched[0]["id"], first["id"]);
    }
    let info = cluster.run(0, &["info", "quakes", "--json"]).ok().object();
    assert_eq!(info["records"], json!(2), "second copies would be counted: {info}");
}

#[test]
fn what_is_pending_is_a_duplicate_once_it_has_its_copies() {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "quakes", "--replicas", "3", "--min-copies", "3"]).ok();
    cluster.kill(2);
    let (id, line) = earthquake(2);
    let words = ["publish", "quakes", &line, "--id", &id, "--json", "--timeout", "1s"];
    let pending = cluster.run(0, &words).with_status(3).saying(&["hint", "safe"]).object();
    assert_eq!((&pending["status"], &pending["duplicate"]), (&"pending".into(), &false.into()));
    let pending = cluster.run(1, &words).with_status(3).saying(&["hint", "safe"]).object();
    assert_eq!((&pending["status"], &pending["duplicate"]), (&"pending".into(), &true.into()));
    assert_eq!((&pending["copies"], &pending["wanted"]), (&2.into(), &3.into()));
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    cluster.wait_until_complete(0, "quakes", 3, SOON);
    let published = cluster.run(2, &words[..6]).ok().object();
    assert_eq!((&published["duplicate"], &published["copies"]), (&true.into(), &3.into()));
    assert_eq!(published["id"], pending["id"]);
    assert_eq!(cluster.run(1, &["fetch", "quakes"]).ok().lines().len(), 1);
}

#[test]
fn a_file_that_was_published_in_part_is_published_again() {
    let cluster = Cluster::start(4);
    cluster.run(0, &["create", "quakes", "--replicas", "3"]).ok();
    let (_, lines) = earthquakes();
    let part = lines[..200].join(&b'\n');
    let words = ["publish", "quakes", "--id-from", "id", "--json"];
    let summary = cluster.run_with(0, &words, &part).ok().object();
    assert_eq!((&summary["records"], &summary["duplicates"]), (&200.into(), &0.into()));
    let more = lines[100..300].join(&b'\n');
    let summary = cluster.run_with(3, &words, &more).ok().object();
    assert_eq!((&summary["records"], &summary["duplicates"]), (&200.into(), &100.into()));
    let mut expected = lines[..300].join(&b'\n');
    expected.push(b'\n');
    for node in 0..4 {
        let fetched = cluster.run(node, &["fetch", "quakes"]).ok();
        assert!(fetched.stdout == expected, "node {node} has others, or another order");
    }
    let wrong = cluster.run_with(1, &words, b"{\"id\": \"a\"}\nb\n").with_status(1);
    wrong.without_data().saying(&["line 2", "`id`", "1 record acknowledged", "hint"]);
}

#[test]
fn an_id_is_for_one_record() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let refused = |words: &[&str], parts: &[&str]| {
        cluster.run_with(0, words, b"a\nb\n").with_status(2).without_data().saying(parts);
    };
    refused(&["publish", "t", "a", "b", "--id", "7"], &["these are 2", "hint: "]);
    refused(&["publish", "t", "--id", "7"], &["each line", "hint: "]);
    refused(&["publish", "t", "a", "--id", ""], &["has 0 bytes; 1 to 255", "hint: "]);
    let long = "x".repeat(256);
    refused(&["publish", "t", "a", "--id", &long], &["has 256 bytes; 1 to 255", "hint: "]);
    assert_eq!(cluster.run(0, &["fetch", "t"]).ok().lines().len(), 0, "nothing was stored");
    let words = ["publish", "t", "--file", "-", "--id", &long[1..], "--json"];
    assert_eq!(cluster.run_with(0, &words, b"a\nb\n").ok().object()["duplicate"], json!(false));
    assert_eq!(cluster.run_with(0, &words, b"c").ok().object()["duplicate"], json!(true));
    assert_eq!(cluster.run(0, &["fetch", "t", "--raw"]).ok().stdout, b"a\nb\n");
    let empty = cluster.run_with(0, &["publish", "t", "--id-from", "a"], b"{\"a\": \"\"}\n");
    empty.with_status(1).saying(&["line 1", "1 to 255", "hint: "]);
    refused(&["publish", "t", "a", "--id-from", "a"], &["cannot be used together"]);
    let missing = cluster.run(0, &["publish", "tt", "a", "--id", "7"]).with_status(1);
    missing.without_data().saying(&["`tt` does not exist", "hint: "]);
}
