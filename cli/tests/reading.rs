//! Fetching, subscribing, and the shell.

use std::process::Stdio;

use crate::cluster::{Cluster, Process, SOON, eventually};

fn numbered(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|number| format!("record {number}\n").into_bytes()).collect()
}

#[test]
fn a_named_subscription_goes_on_at_another_node() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..1_200)).ok();
    let words = ["subscribe", "t", "--as", "alice", "-n", "500"];
    let first = cluster.run(1, &words).ok().saying(&["alice"]);
    assert!(first.stdout == numbered(0..500));
    let second = cluster.run(2, &words).ok();
    assert!(second.stdout == numbered(500..1_000), "it goes on at record 501");
    let words = ["subscribe", "t", "--as", "alice", "--idle", "1s", "--json"];
    let rest = cluster.run(0, &words).ok();
    assert_eq!(rest.objects().len(), 200);
    let said: serde_json::Value =
        serde_json::from_str(rest.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(said["status"], "subscribed");
    assert_eq!((&said["topic"], &said["subscription"]), (&"t".into(), &"alice".into()));
}

#[test]
fn two_who_read_under_one_name_are_both_told() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    let directory = tempfile::tempdir().unwrap();
    let words = ["subscribe", "t", "--as", "alice", "--json"];
    let logs = ["first", "second"].map(|name| directory.path().join(name));
    let start = |number: usize| Process::start(cluster.command(number, &words), &logs[number]);
    let said = |number: usize, what: &str| {
        fs_err::read_to_string(&logs[number]).is_ok_and(|log| log.contains(what))
    };
    let first = start(0);
    let mut second = start(1);
    eventually("both have begun", SOON, || {
        [0, 1].into_iter().all(|number| said(number, "subscribed")).then_some(())
    });
    let mut published = 0;
    eventually("both are told", SOON, || {
        cluster.run(2, &["publish", "t", "x"]).ok();
        published += 1;
        [0, 1].into_iter().all(|number| said(number, "same name")).then_some(())
    });
    // Nothing is refused, and nobody is locked out: both have all of it.
    for process in [&first, &second] {
        for _ in 0..published {
            assert!(process.line().is_some());
        }
    }
    second.signal(rustix::process::Signal::INT);
    assert_eq!(second.wait(), 0);
    assert_eq!(first.terminate(), 0);
    // One run after the other is as it should be.
    let again =
        cluster.run(2, &["subscribe", "t", "--as", "alice", "--from", "start", "--idle", "1s"]);
    assert!(!again.ok().stderr.contains("same name"));
}

#[test]
fn subscriptions_are_listed_reset_and_deleted_at_any_node() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["subscriptions", "t"]).ok().saying(&["no subscriptions"]);
    cluster.run_with(0, &["publish", "t"], &numbered(0..10)).ok();
    let read = |node: usize, name: &str, count: &str| {
        cluster.run(node, &["subscribe", "t", "--as", name, "-n", count]).ok().stdout
    };
    assert_eq!(read(0, "alice", "4"), numbered(0..4));
    assert_eq!(read(1, "bob", "10"), numbered(0..10));
    let behind = |node: usize| {
        let listed = cluster.run(node, &["subscriptions", "t", "--json"]).ok().objects();
        let of = |it: &serde_json::Value| {
            (it["subscription"].as_str().unwrap().to_owned(), it["records_behind"].as_u64())
        };
        listed.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(behind(2), [("alice".to_owned(), Some(6)), ("bob".to_owned(), Some(0))]);
    let reset = ["subscription", "reset", "t", "bob", "--to", "-3", "--json"];
    let reset = cluster.run(2, &reset).ok().object();
    assert_eq!((&reset["status"], &reset["subscription"]), (&"reset".into(), &"bob".into()));
    assert_eq!(read(0, "bob", "3"), numbered(7..10));
    cluster.run(1, &["subscription", "reset", "t", "bob", "--to", "@-1h"]).ok();
    assert_eq!(read(2, "bob", "2"), numbered(0..2));
    cluster.run(0, &["subscription", "delete", "t", "bob"]).ok();
    assert_eq!(behind(1), [("alice".to_owned(), Some(6))]);
    assert_eq!(read(1, "bob", "1"), numbered(0..1), "it is new");
    for action in [&["delete"][..], &["reset", "--to", "end"]] {
        let words = [&["subscription"], action, &["t", "carol"]].concat();
        cluster.run(0, &words).with_status(1).saying(&["no subscription `carol`", "hint:"]);
    }
}

#[test]
fn a_name_that_began_at_the_end_of_an_empty_topic_misses_nothing() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let words = ["subscribe", "t", "--as", "bob", "--from", "end", "--to", "end"];
    assert_eq!(cluster.run(0, &words).ok().stdout, b"");
    cluster.run_with(0, &["publish", "t"], &numbered(0..3)).ok();
    assert_eq!(cluster.run(0, &words).ok().stdout, numbered(0..3));
}

#[test]
fn who_reads_under_a_name_is_told_when_it_is_reset() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "0"]).ok();
    let logs = tempfile::tempdir().unwrap();
    let command = cluster.command(0, &["subscribe", "t", "--as", "bob"]);
    let mut subscriber = Process::start(command, &logs.path().join("log"));
    assert_eq!(subscriber.line().as_deref(), Some("0"));
    eventually("its position is kept", SOON, || {
        let listed = cluster.run(0, &["subscriptions", "t", "--json"]).ok().objects();
        (listed.first()?["records_behind"] == 0).then_some(())
    });
    cluster.run(0, &["subscription", "reset", "t", "bob", "--to", "start"]).ok();
    cluster.run(0, &["publish", "t", "1"]).ok();
    assert_eq!(subscriber.line().as_deref(), Some("1"));
    assert_eq!(subscriber.wait(), 1);
    let again = cluster.run(0, &["subscribe", "t", "--as", "bob", "-n", "2"]).ok();
    assert_eq!(again.stdout, b"0\n1\n");
}

#[test]
fn a_named_subscription_keeps_its_position_when_it_is_stopped() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..10)).ok();
    let logs = tempfile::tempdir().unwrap();
    let command = cluster.command(0, &["subscribe", "t", "--as", "bob"]);
    let subscriber = Process::start(command, &logs.path().join("log"));
    for number in 0..10 {
        assert_eq!(subscriber.line(), Some(format!("record {number}")));
    }
    assert_eq!(subscriber.terminate(), 0);
    cluster.run(0, &["publish", "t", "record 10"]).ok();
    let next = cluster.run(0, &["subscribe", "t", "--as", "bob", "-n", "1"]).ok();
    assert_eq!(next.stdout, b"record 10\n");
}

#[test]
fn history_and_live_records_are_one_stream() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..100)).ok();
    let logs = tempfile::tempdir().unwrap();
    let command = cluster.command(2, &["subscribe", "t", "-n", "300"]);
    let mut subscriber = Process::start(command, &logs.path().join("log"));
    assert_eq!(subscriber.line().as_deref(), Some("record 0"));
    cluster.run_with(1, &["publish", "t"], &numbered(100..200)).ok();
    cluster.run_with(1, &["publish", "t"], &numbered(200..300)).ok();
    let mut lines: Vec<String> = std::iter::from_fn(|| subscriber.line()).collect();
    // Records of two writers that are on their way together may come in either order.
    lines.sort_by_key(|line| line["record ".len()..].parse::<u32>().unwrap());
    let expected: Vec<String> = (1..300).map(|number| format!("record {number}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(subscriber.wait(), 0);
}

#[test]
fn reading_starts_where_it_is_told_to() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..10)).ok();
    let fetch = |words: &[&str]| cluster.run(0, &[&["fetch", "t"], words].concat()).ok().stdout;
    assert_eq!(fetch(&["--from", "-3"]), numbered(7..10));
    assert_eq!(fetch(&["-n", "2"]), numbered(0..2));
    assert_eq!(fetch(&["--from", "end"]), b"");
    assert_eq!(fetch(&["--from", "@-1h"]), numbered(0..10));
    let cursor = cluster.run(0, &["info", "t", "--json"]).ok().object()["cursor"].clone();
    cluster.run_with(0, &["publish", "t"], &numbered(10..12)).ok();
    assert_eq!(fetch(&["--from", cursor.as_str().unwrap()]), numbered(10..12));
}

#[test]
fn reading_ends_where_it_is_told_to() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..10)).ok();
    let fetch = |words: &[&str]| cluster.run(0, &[&["fetch", "t"], words].concat()).ok();
    assert_eq!(fetch(&["--to", "-3"]).stdout, numbered(0..7));
    assert_eq!(fetch(&["--from", "-5", "--to", "-3"]).stdout, numbered(2..7));
    assert_eq!(fetch(&["--to", "-20"]).stdout, b"");
    assert_eq!(fetch(&["--to", "@-1h"]).stdout, b"");
    let part = fetch(&["-n", "4", "--json"]).stderr;
    let said: serde_json::Value = serde_json::from_str(part.lines().last().unwrap()).unwrap();
    let cursor = said["cursor"].as_str().unwrap();
    assert_eq!(fetch(&["--to", cursor]).stdout, numbered(0..4), "in the middle of a batch");
    assert_eq!(fetch(&["--from", "-2", "--to", cursor]).stdout, numbered(2..4), "before that");
    // A named subscription ends there, and goes on there.
    let subscribe =
        |words: &[&str]| cluster.run(0, &[&["subscribe", "t", "--as", "a"], words].concat());
    assert_eq!(subscribe(&["--to", cursor]).ok().stdout, numbered(0..4));
    assert_eq!(subscribe(&["--to", "end"]).ok().stdout, numbered(4..10));
    assert_eq!(subscribe(&["--to", "end"]).ok().stdout, b"");
    subscribe(&["--to", "-3"]).with_status(2).saying(&["would count as read", "hint:"]);
    cluster
        .run(0, &["fetch", "t", "--to", "start"])
        .with_status(2)
        .saying(&["nothing is stored before"]);
}

#[test]
fn records_are_chosen_by_key_and_writer_and_written_as_wanted() {
    let cluster = Cluster::start(2);
    cluster.run(0, &["create", "t"]).ok();
    for (node, key, payload) in [(0, "a", "1"), (1, "b", "2"), (0, "b", "3"), (1, "a", "4")] {
        let words = ["publish", "t", payload, "--key", key, "--header", "source=x"];
        cluster.run(node, &words).ok();
    }
    let lines = |words: &[&str]| {
        let fetched = cluster.run(0, &[&["fetch", "t"], words].concat()).ok();
        let text = String::from_utf8(fetched.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&["--key", "a"]), ["1", "4"]);
    assert_eq!(lines(&["--key", "a", "--from", "-1"]).len(), 1, "the last of those");
    assert_eq!(lines(&["--key", "c"]), [""; 0]);
    let peer = cluster.node(1).peer.as_str();
    assert_eq!(lines(&["--writer", peer]), ["2", "4"]);
    let written = lines(&["--writer", peer, "--format", r"%t %k %h{source} %v %w%%\n"]);
    assert_eq!(written, [format!("t a x 4 {peer}%"), format!("t b x 2 {peer}%")]);
    cluster
        .run(0, &["fetch", "t", "--format", "%q"])
        .with_status(2)
        .saying(&["`%q`", "%v payload"]);
    cluster.run(0, &["fetch", "t", "--format", "%v", "--json"]).with_status(2);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..50_000)).ok();
    let mut child = cluster.command(0, &["fetch", "t"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_shell_takes_commands_from_a_script() {
    let cluster = Cluster::start(1);
    let script = b"create 'my topic'\npublish 'my topic' 'a b'\n3\nmy topic\n\nexit\ntopics\n";
    let shell = cluster.run_with(0, &["shell"], script).ok();
    let text = String::from_utf8(shell.stdout).unwrap();
    assert_eq!(text.lines().last(), Some("a b"), "{text}");
    assert!(!text.contains("antiphon>"), "{text}");
    let failing = cluster.run_with(0, &["shell"], b"info nothing\ntopics\n").with_status(1);
    assert!(failing.saying(&["`nothing` does not exist"]).stdout.starts_with(b"my topic"));
}

#[test]
fn receipts_come_while_the_input_is_open() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let logs = tempfile::tempdir().unwrap();
    let mut command = cluster.command(0, &["publish", "t", "--receipts", "--json"]);
    command.stdin(Stdio::piped());
    let mut publisher = Process::start(command, &logs.path().join("log"));
    let mut input = publisher.stdin();
    for number in 0..3 {
        std::io::Write::write_all(&mut input, format!("{number}\n").as_bytes()).unwrap();
        assert!(publisher.line().unwrap().contains("published"));
    }
    drop(input);
    assert_eq!(publisher.wait(), 0);
    eventually("the records are there", SOON, || {
        (cluster.run(0, &["fetch", "t"]).ok().stdout == b"0\n1\n2\n").then_some(())
    });
}

#[test]
fn a_reader_goes_on_behind_the_cursor_of_a_record() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], b"1\n2\n3\n").ok();
    let records = cluster.run(0, &["fetch", "t", "--json", "--cursor"]).ok().objects();
    let cursors: Vec<_> = records.iter().map(|it| it["cursor"].as_str().unwrap()).collect();
    let formatted = cluster.run(0, &["fetch", "t", "--format", "%c\\n"]).ok();
    let formatted = String::from_utf8(formatted.stdout).unwrap();
    assert_eq!(formatted.lines().collect::<Vec<_>>(), cursors);
    for (cursor, rest) in cursors.iter().zip([&b"2\n3\n"[..], b"3\n", b""]) {
        assert_eq!(cluster.run(0, &["fetch", "t", "--from", cursor]).ok().stdout, rest);
    }
    let without = cluster.run(0, &["fetch", "t", "--json"]).ok().objects();
    assert!(without.iter().all(|record| record.get("cursor").is_none()));
}
