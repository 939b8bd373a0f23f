//! Groups: records divided among members, whoever of members and nodes fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    thread,
};

use rustix::io::ioctl_fionread;
use serde_json::Value;

use crate::cluster::{Cluster, Process, SOON, eventually, finish};

/// Records as members write them: payload and delivery.
fn written(output: &[u8]) -> Vec<(String, u64)> {
    // A member that was killed may have written a part of a line.
    let whole = output.rsplit(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>();
    let of = |line: &[u8]| {
        let value: Value = serde_json::from_slice(line).expect("each line is JSON");
        let payload = value["payload"].as_str().expect("payloads are text").to_owned();
        (payload, value["deliveries"].as_u64().expect("deliveries are counted"))
    };
    whole.into_iter().filter(|line| !line.is_empty()).map(of).collect()
}

fn numbered(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

#[test]
fn members_that_die_and_a_node_that_dies_cost_no_record() {
    const RECORDS: u32 = 100_000;
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    let words = ["subscribe", "t", "--group", "g", "--visibility", "2s", "--json", "--idle", "10s"];
    let member = |number: usize| cluster.command(number % 3, &words);
    // Two whose output is read by nobody for the moment, and two that go on.
    let mut stuck: Vec<_> = (0..2).map(|number| member(number).spawn().unwrap()).collect();
    let living: Vec<_> = (2..4).map(member).collect();
    let living: Vec<_> = living.into_iter().map(|it| thread::spawn(|| finish(it, b""))).collect();
    let publish = cluster.command(0, &["publish", "t"]);
    let publish = thread::spawn(|| finish(publish, &numbered(0..RECORDS)));
    let mut outputs = Vec::new();
    for member in &mut stuck {
        // What does not fit into the pipe is not written out, and so not acknowledged.
        let mut output = member.stdout.take().unwrap();
        eventually("the member is in the middle of writing", SOON, || {
            (ioctl_fionread(&output).unwrap() > 60_000).then_some(())
        });
        member.kill().unwrap();
        member.wait().unwrap();
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        outputs.push(rest);
    }
    publish.join().unwrap().ok();
    cluster.kill(2);
    let mut counted = 0;
    for member in living {
        let finished = member.join().unwrap().ok();
        let left: Value = serde_json::from_str(finished.stderr.lines().last().unwrap()).unwrap();
        let again = written(&finished.stdout).into_iter().filter(|(_, delivery)| *delivery > 1);
        assert_eq!(left["redelivered"], again.count(), "as it printed them");
        counted += left["redelivered"].as_u64().unwrap();
        outputs.push(finished.stdout);
    }
    assert!(counted > 0, "two members had some when they died");
    let all = outputs.iter().flat_map(|output| written(output));
    let payloads: BTreeSet<_> = all.map(|(payload, _)| payload).collect();
    assert_eq!(payloads.len(), RECORDS as usize);
    let listed = cluster.run(1, &["subscriptions", "t", "--json"]).ok().objects();
    assert_eq!((&listed[0]["records_behind"], &listed[0]["kind"]), (&0.into(), &"group".into()));
}

#[test]
fn a_key_is_worked_on_in_order_by_whoever_has_it() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    for key in ["a", "b", "c", "d", "e"] {
        let lines: Vec<u8> = (0..200).flat_map(|at| format!("{key}{at}\n").into_bytes()).collect();
        cluster.run_with(0, &["publish", "t", "--key", key], &lines).ok();
    }
    let logs = tempfile::tempdir().unwrap();
    let mut members: Vec<_> = (0..3)
        .map(|node| {
            let words = ["subscribe", "t", "--group", "g", "--idle", "2s"];
            let log = logs.path().join(node.to_string());
            Process::start(cluster.command(node, &words), &log)
        })
        .collect();
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    for member in &mut members {
        let mut had: BTreeMap<String, u32> = BTreeMap::new();
        while let Some(line) = member.line() {
            let (key, number) = line.split_at(1);
            let number: u32 = number.parse().unwrap();
            if let Some(before) = had.insert(key.to_owned(), number) {
                assert!(before < number, "{key}{before} before {line}");
            }
            *next.entry(key.to_owned()).or_default() += 1;
        }
        assert_eq!(member.wait(), 0);
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [200; 5]);
}

#[test]
fn a_group_goes_on_where_it_is_and_can_be_reset_and_deleted() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], &numbered(0..20)).ok();
    let take = |node: usize, count: &str| {
        let words = ["subscribe", "t", "--group", "g", "-n", count, "--format", r"%v %n\n"];
        let finished = cluster.run(node, &words).ok();
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        let mut lines: Vec<_> = finished.lines().into_iter().map(text).collect();
        lines.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
        lines
    };
    let first = |range: std::ops::Range<u32>| range.map(|at| format!("{at} 1")).collect::<Vec<_>>();
    assert_eq!(take(0, "5"), first(0..5));
    assert_eq!(take(1, "5"), first(5..10));
    let behind = || cluster.run(2, &["subscriptions", "t", "--json"]).ok().objects();
    assert_eq!(behind()[0]["records_behind"], 10);
    cluster.run(2, &["subscription", "reset", "t", "g", "--to", "-3"]).ok();
    assert_eq!(take(0, "3"), first(17..20));
    cluster.run(1, &["subscription", "delete", "t", "g"]).ok();
    assert!(behind().is_empty());
    assert_eq!(take(2, "1"), first(0..1), "it is new");
}

#[test]
fn what_is_delivered_too_often_is_moved_with_the_reason() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "poison", "--key", "k", "--header", "source=test"]).ok();
    let words = ["subscribe", "t", "--group", "g", "--visibility", "300ms"];
    let words = [&words[..], &["--max-deliveries", "2", "--idle", "2s"]].concat();
    for node in [0, 2] {
        // It ends over the record, which is not written out: there is no room for it.
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_file();
        let mut command = cluster.command(node, &words);
        assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
    }
    let last = cluster.run(1, &words).ok();
    assert_eq!(last.stdout, b"");
    last.saying(&["0 records; 1 record moved to `t.dead`"]);
    let dead = cluster.run(2, &["fetch", "t.dead", "--json"]).ok().objects();
    assert_eq!(dead.len(), 1);
    assert_eq!((&dead[0]["payload"], &dead[0]["key"]), (&"poison".into(), &"k".into()));
    let header = |name: &str| {
        let headers = dead[0]["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header["name"] == name);
        found.map(|header| header["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(header("source").as_deref(), Some("test"));
    assert_eq!(header("antiphon-topic").as_deref(), Some("t"));
    assert_eq!(header("antiphon-group").as_deref(), Some("g"));
    assert_eq!(header("antiphon-deliveries").as_deref(), Some("2"));
    assert_eq!(header("antiphon-reason").as_deref(), Some("not acknowledged in time"));
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_hint() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "0"]).ok();
    let wrong: [&[&str]; 6] = [
        &["subscribe", "t", "--group", "g", "--as", "a"],
        &["subscribe", "t.*", "--group", "g"],
        &["subscribe", "t", "--group", "g", "--key", "k"],
        &["subscribe", "t", "--group", "g", "--to", "end"],
        &["subscribe", "t", "--visibility", "5s"],
        &["subscribe", "t", "--group", "g", "--visibility", "1ms"],
    ];
    for words in wrong {
        cluster.run(0, words).with_status(2).saying(&["error:", "hint:"]);
    }
    cluster.run(0, &["subscribe", "t", "--as", "one", "-n", "1"]).ok();
    let words = ["subscribe", "t", "--group", "one", "-n", "1"];
    cluster.run(0, &words).with_status(2).saying(&["`one` exists", "hint:"]);
    cluster.run(0, &["subscribe", "t", "--group", "many", "-n", "1"]).ok();
    let words = ["subscribe", "t", "--as", "many", "-n", "1"];
    cluster.run(0, &words).with_status(2).saying(&["`many` is a group", "hint:"]);
}
