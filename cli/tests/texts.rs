//! The errors of commands that talk to nodes, word by word.

use std::fmt::Write as _;

use crate::cluster::{Cluster, Finished};

/// Runs commands at a node, one after the other; what each prints and how it ends. Names that
/// differ from run to run are replaced.
fn transcript(cluster: &Cluster, commands: &[&str]) -> String {
    let mut text = String::new();
    for line in commands {
        let words = shlex::split(line).expect("its quotes are closed");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Finished { status, stdout, stderr } = cluster.run_with(0, &words, b"one\ntwo\n");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let _ = writeln!(text, "$ antiphon {line}\n{stdout}{stderr}status: {status}\n");
    }
    for number in 0.. {
        let Some(node) = cluster.get(number) else { break };
        let name = format!("NODE-{number}");
        text = text.replace(&node.address, &format!("/ip4/ADDRESS/p2p/{name}"));
        text = text.replace(&node.peer, &name).replace(&node.peer[node.peer.len() - 8..], &name);
    }
    let text = text.replace(cluster.network(), "NETWORK");
    text.split_inclusive(char::is_whitespace).map(without_record_id).collect()
}

/// A word, with `RECORD` in the place of a record's id.
fn without_record_id(word: &str) -> String {
    let is_id = |id: &str| id.len() >= 20 && id.chars().all(|c| c.is_ascii_alphanumeric());
    match word.split_once('-') {
        Some((id, rest)) if is_id(id) => format!("RECORD-{rest}"),
        _ => word.to_owned(),
    }
}

#[test]
fn errors_of_topics_and_records() {
    let cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    fs_err::write(&other, "no export").unwrap();
    let import = format!("topic import {}", other.display());
    let commands = [
        "topics",
        "create quakes",
        "create quakes",
        "create quakes --if-not-exists --replicas 5 --min-copies 1",
        "create more --min-copies 4",
        "create more --min-copies 2 --replicas 2",
        "topics 'qua*'",
        "info quaks",
        "info nothing",
        "topic alter quakes",
        "topic alter quakes --min-copies 9",
        "topic alter quakes --retain-age 7d",
        "topic delete quakes",
        "topic verify nothing",
        "publish nothing x",
        "publish quakes x --header antiphon-id=a",
        "publish quakes x y --id a",
        "publish quakes --id a",
        "publish quakes --key-from net",
        "publish quakes --file /nowhere",
        "publish more x --timeout 1s",
        "fetch nothing",
        "fetch quakes --from end --to start",
        "fetch quakes --cursor",
        "fetch quakes --from -1 -n 0 --format '%q'",
        "topic export nothing -",
        "topic export quakes /nowhere/file",
        "topic import /nowhere",
        "topic import -",
        import.as_str(),
    ];
    let path = directory.path().display().to_string();
    insta::assert_snapshot!(transcript(&cluster, &commands).replace(&path, "DIRECTORY"));
}

#[test]
fn errors_of_subscriptions_and_nodes() {
    let cluster = Cluster::start(1);
    let peer = cluster.node(0).peer.clone();
    let alive = format!("node forget {} --yes", &peer[peer.len() - 8..]);
    let commands = [
        "create t",
        "publish t one",
        "subscription list t",
        "subscription reset t alice --to start",
        "subscription delete t alice",
        "subscribe t --as alice --to end",
        "subscribe t --as alice --to end",
        "subscribe t --as alice --group alarms",
        "subscribe t --as alice --to -1",
        "subscribe t --group alarms --key k",
        "subscribe t --group alice --idle 1s",
        "subscribe 't.*' --as alice",
        "subscribe 't.*' --group alarms",
        "subscribe 't.*' --json --cursor",
        "subscribe t --to start",
        "fetch t --writer zzzzzz",
        "node forget zzzzzz",
        "node forget abc",
        alive.as_str(),
        "node leave",
        "node leave --yes",
        "node leave --data /nowhere --yes",
    ];
    insta::assert_snapshot!(transcript(&cluster, &commands));
}
