//! Help and wrong usage, for which no node is needed.

use antiphon::model::{Cursor, Realm, TopicId};
use serde_json::Value;

use crate::cluster::{Finished, antiphon};

fn run(words: &[&str]) -> Finished {
    let output = antiphon(words).output().expect("the command starts");
    Finished {
        status: output.status.code().expect("it ended by itself"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Asserts wrong usage: status 2, no data, the cause and the next step.
fn wrong(words: &[&str], parts: &[&str]) {
    run(words).with_status(2).without_data().saying(&["error: ", "hint: "]).saying(parts);
}

/// `src/arguments/help/tests.rs` reads the help of every command.
#[test]
fn help_and_the_version_are_data() {
    for words in [&["--help"][..], &["help", "topic", "create"], &["node", "run", "--help"]] {
        let help = run(words).ok();
        assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: antiphon "), "{words:?}");
        assert_eq!(help.stderr, "");
    }
    assert!(run(&["--version"]).ok().stdout.starts_with(b"antiphon "));
}

#[test]
fn completions_and_man_pages_are_written() {
    let script = String::from_utf8(run(&["completions", "bash"]).ok().stdout).unwrap();
    assert!(script.contains("subscription__subcmd__reset"), "{script}");
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    run(&["man", pages.to_str().unwrap()]).ok();
    let page = |name: &str| fs_err::read_to_string(pages.join(name));
    assert!(page("antiphon.1").unwrap().contains("antiphon\\-topic(1)"));
    assert!(page("antiphon-topic-create.1").unwrap().contains("Retention"));
    assert!(page("antiphon-alter.1").is_err(), "an earlier spelling has no page");
}

#[test]
fn commands_and_options_that_are_not_there() {
    wrong(&[], &["no command", "--help"]);
    wrong(&["creat", "t"], &["creat", "create"]);
    wrong(&["topics", "--al"], &["--al"]);
    wrong(&["create"], &["<TOPIC>"]);
    wrong(&["publish", "t", "a", "--file", "b"], &["--file"]);
}

#[test]
fn a_benchmark_is_of_its_own_nodes_or_of_running_ones() {
    let node = format!(
        "/ip4/127.0.0.1/tcp/1/p2p/{}",
        antiphon::model::NodeKey::from_secret(&[1; 32]).node()
    );
    wrong(&["bench", "--node", &node, "--nodes", "3"], &["`--nodes` starts nodes"]);
    wrong(&["bench", "--node", &node, "--probation", "0s"], &["`--probation` is for nodes"]);
    wrong(&["bench", "--node", &node, "--closed"], &["`--closed` is for nodes"]);
    wrong(&["bench", "failover", "--node", &node], &["`failover` stops and starts nodes"]);
    wrong(&["bench", "--size", "2MiB"], &["a payload has 8 to"]);
    wrong(&["bench", "everything"], &["everything", "fanout"]);
}

#[test]
fn replicas_out_of_bounds() {
    wrong(&["create", "t", "--replicas", "0"], &["from 1 to 32"]);
    wrong(&["create", "t", "--replicas", "33"], &["from 1 to 32"]);
    wrong(&["create", "t", "--min-copies", "0"], &["from 1 to 32"]);
    wrong(&["create", "t", "--replicas", "2", "--min-copies", "3"], &["--replicas"]);
}

#[test]
fn names_that_are_none() {
    let long = "x".repeat(256);
    for (name, cause) in [("", "empty"), (long.as_str(), "256 bytes"), ("a\tb", "control")] {
        wrong(&["create", name], &[cause, "255"]);
        wrong(&["fetch", name], &[cause, "255"]);
        wrong(&["subscribe", "t", "--as", name], &[cause, "255"]);
    }
    for hidden in ["a\u{200b}b", "a\u{202e}b"] {
        wrong(&["create", hidden], &["invisible"]);
    }
    wrong(&["topics", "--network", "../x"], &["network"]);
}

#[test]
fn patterns_that_are_none_and_those_where_a_name_is_needed() {
    for words in [&["create", "a.*"][..], &["publish", "a.>", "m"], &["fetch", "a.*"]] {
        wrong(words, &["a part `*` or `>`", "antiphon topics PATTERN", "antiphon subscribe"]);
    }
    for command in ["subscribe", "topics"] {
        wrong(&[command, "a.>.b"], &["nothing follows it", "sensors.>"]);
        wrong(&[command, ""], &["empty", "255"]);
    }
    wrong(&["subscribe", "a.*", "--as", "alice"], &["one topic", "`--as`"]);
    let cursor = Cursor::start(TopicId::from_bytes([1; 32])).to_string();
    wrong(&["subscribe", "a.*", "--from", &cursor], &["one topic", "with a pattern"]);
    wrong(&["subscribe", "a.*", "--to", &cursor], &["one topic", "with a pattern"]);
}

#[test]
fn addresses_that_are_none() {
    wrong(
        &["topics", "--node", "localhost:4001"],
        &["is not an address", "/dns/localhost/tcp/4001/p2p/"],
    );
    wrong(&["topics", "--node", "/ip4/127.0.0.1/tcp/4001"], &["lacks the peer id", "/p2p/"]);
    wrong(&["node", "--bootstrap", "/ip4/127.0.0.1"], &["no host and port", "/p2p/"]);
    wrong(&["node", "--bootstrap", "/ip4/127.0.0.1/udp/1/quic-v1"], &["QUIC", "/tcp/1"]);
    wrong(&["node", "--bootstrap", "here"], &["is not an address", "/p2p/"]);
    wrong(&["node", "--listen", "4001"], &["is not an address", "/ip4/0.0.0.0/tcp/4001"]);
    let output = antiphon(&["topics"]).env("ANTIPHON_NODE", "here").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn durations_headers_and_places_that_are_none() {
    wrong(&["topics", "--timeout", "10"], &["`10s`"]);
    wrong(&["topics", "--timeout", "0s"], &["zero"]);
    wrong(&["publish", "t", "m", "--header", "a"], &["no `=`", "source=usgs"]);
    wrong(&["publish", "t", "m", "--acks", "2"], &["quorum"]);
    for (from, to) in [("@-1m", "@-1h"), ("end", "@-1h"), ("end", "-1")] {
        let words = ["fetch", "t", "--from", from, "--to", to];
        wrong(&words, &["nothing is between", "later place"]);
    }
    wrong(&["fetch", "t", "--from", "yesterday"], &["is not a place", "@-1h"]);
    wrong(&["fetch", "t", "--from", "@2999-01-01T00:00Z"], &["in the future"]);
    wrong(&["demo", "--nodes", "1"], &["--nodes"]);
}

#[test]
fn a_cursor_that_is_cut_short() {
    let other = TopicId::derive(&Realm::default(), &"other".parse().unwrap());
    let cursor = Cursor::start(other).to_string();
    wrong(&["fetch", "t", "--from", &cursor[..cursor.len() - 2]], &["cut short"]);
}

#[test]
fn files_that_are_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    fs_err::write(&path, vec![0; 1024 * 1024 + 1]).unwrap();
    let path = path.to_str().unwrap();
    let large = run(&["publish", "t", "--file", path]).with_status(1).without_data();
    large.saying(&["1,048,577 bytes", "1 MiB", "hint: "]);
    let missing = run(&["publish", "t", "--file", "/nowhere"]).with_status(1).without_data();
    missing.saying(&["/nowhere"]);
}

#[test]
fn errors_are_objects_with_json() {
    let both = run(&["fetch", "t", "--json", "--raw"]).with_status(2).without_data();
    both.saying(&["{\"error\":", "`--raw`"]);
    for words in [["create", "", "--json"], ["--json", "create", ""]] {
        let failed = run(&words).with_status(2).without_data();
        let error: Value = serde_json::from_str(&failed.stderr).unwrap();
        assert!(error["error"].as_str().unwrap().contains("empty"));
        assert!(error["hint"].as_str().unwrap().contains("255"));
    }
}
