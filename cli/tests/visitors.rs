//! Nodes that look in for a moment, nodes that say that they stop, and what is told of those that
//! are away.

use serde_json::Value;

use crate::cluster::{Cluster, SOON, eventually};

const TOPICS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

fn peers(cluster: &Cluster, through: usize) -> Vec<Value> {
    cluster.run(through, &["peers", "--json"]).ok().objects()
}

fn wait_for_state(cluster: &Cluster, through: usize, number: usize, state: &str) {
    let peer = cluster.node(number).peer.as_str();
    eventually("the node is known to be away", SOON, || {
        let peers = peers(cluster, through);
        peers.iter().any(|other| other["peer"] == peer && other["state"] == state).then_some(())
    });
}

/// Three nodes with ten topics, and a subscription of each.
fn settled() -> Cluster {
    let cluster = Cluster::start(3);
    for topic in TOPICS {
        cluster.run(0, &["create", topic]).ok();
        cluster.run_with(1, &["publish", topic], b"one\ntwo\nthree\n").ok();
        let read = cluster.run(2, &["subscribe", topic, "--as", "alice", "-n", "2"]).ok();
        assert_eq!(read.lines().len(), 2);
    }
    for through in 0..3 {
        eventually("they are new no longer", SOON, || {
            peers(&cluster, through).iter().all(|peer| peer["newcomer"] == false).then_some(())
        });
    }
    cluster
}

/// Whatever asks many replicas is done at once, without a warning.
fn assert_whole(cluster: &Cluster, topics: &[&str]) {
    let verified = cluster.run(0, &["verify", "--json"]).ok().objects();
    assert_eq!(verified.len(), TOPICS.len());
    let is_whole = |topic: &Value| {
        topic["same"] == true
            && topic["silent"] == 0
            && topic["replicas"].as_array().map(Vec::len) == Some(3)
    };
    assert!(verified.iter().all(is_whole), "{verified:?}");
    for topic in topics {
        let fetched = cluster.run(1, &["fetch", topic]).ok();
        assert_eq!(
            (fetched.stdout.as_slice(), fetched.stderr.as_str()),
            (&b"one\ntwo\nthree\n"[..], "")
        );
        cluster.run(2, &["subscription", "reset", topic, "alice", "--to", "start"]).ok();
        cluster.run(0, &["subscription", "delete", topic, "alice"]).ok();
    }
}

#[test]
fn nodes_that_look_in_for_a_moment_leave_every_topic_whole() {
    let mut cluster = settled();
    let visitors = [cluster.add(), cluster.add()];
    cluster.wait_until_alive(5);
    assert_eq!(cluster.stop(visitors[0]), 0);
    cluster.kill(visitors[1]);
    assert_whole(&cluster, &TOPICS[..3]);
    wait_for_state(&cluster, 0, visitors[0], "stopped");
    wait_for_state(&cluster, 1, visitors[1], "dead");
    assert_whole(&cluster, &TOPICS[3..5]);
    // They come again, and one of those who stay is started again meanwhile.
    for visitor in visitors {
        cluster.restart(visitor, 0);
    }
    cluster.wait_until_alive(5);
    cluster.kill(visitors[0]);
    assert_eq!(cluster.stop(visitors[1]), 0);
    assert_eq!(cluster.stop(2), 0);
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    assert_whole(&cluster, &TOPICS[5..]);
    wait_for_state(&cluster, 2, visitors[0], "dead");
}

#[test]
fn who_is_away_and_how_many_are_needed_is_said() {
    let mut cluster = settled();
    assert_eq!(cluster.stop(1), 0);
    wait_for_state(&cluster, 0, 1, "stopped");
    // One of three may be away.
    cluster.run(0, &["subscription", "reset", "a", "alice", "--to", "start"]).ok();
    let fetched = cluster.run(0, &["fetch", "a"]).ok();
    assert_eq!(fetched.stderr, "");
    let text = "a: 1 of 3 replicas does not answer; the others hold the same 3 records";
    let verified = cluster.run(0, &["verify", "a"]).with_status(1);
    verified.saying(&[&format!("error: {text}"), "antiphon node forget PEER"]);
    cluster.kill(2);
    wait_for_state(&cluster, 0, 2, "dead");
    let short = |number: usize| {
        let peer = &cluster.node(number).peer;
        peer[peer.len() - 8..].to_owned()
    };
    let away = [short(1), short(2)];
    for (words, need) in [
        (vec!["reset", "a", "alice", "--to", "end"], "a reset"),
        (vec!["delete", "a", "alice"], "a deletion"),
    ] {
        let words = [vec!["subscription"], words].concat();
        let refused = cluster.run(0, &words).with_status(1);
        let text = format!("error: 2 of 3 replicas of `a` are away, and {need} needs 2: ");
        refused.saying(&[&text, &away[0], &away[1], "hint: ", "antiphon node forget PEER"]);
    }
    let new = cluster.run(0, &["subscribe", "a", "--as", "bob", "-n", "1"]).with_status(1);
    new.saying(&["and a new subscription needs 2: "]);
    let fetched = cluster.run(0, &["fetch", "a"]).ok();
    assert_eq!(fetched.lines().len(), 3);
    fetched.saying(&["2 of 3 replicas of `a` do not answer", &away[0], &away[1], "hint: "]);
    let told = cluster.run(0, &["verify", "--json"]).with_status(1);
    let objects = told.objects();
    assert!(objects.iter().all(|it| it["same"] == true && it["silent"] == 2), "{objects:?}");
    told.saying(&["10 of 10 topics have replicas that do not answer"]);
    // Those who will not come back are forgotten, and all is done by the one that is left.
    for other in [1, 2] {
        let peer = cluster.node(other).peer.clone();
        cluster.run(0, &["forget", &peer, "--yes"]).ok();
    }
    cluster.run(0, &["verify"]).ok();
    cluster.run(0, &["subscription", "reset", "a", "alice", "--to", "start"]).ok();
    assert_eq!(cluster.run(0, &["fetch", "a"]).ok().stderr, "");
}

#[test]
fn a_lone_node_of_three_acknowledges_nothing_and_says_what_to_do() {
    let mut cluster = Cluster::start(1);
    let created = cluster.run(0, &["create", "t", "--json"]).ok().object();
    assert_eq!((&created["min_copies"], &created["min_copies_auto"]), (&1.into(), &true.into()));
    cluster.run(0, &["publish", "t", "alone"]).ok();
    cluster.add();
    cluster.add();
    cluster.wait_until_alive(3);
    let told = cluster.run(1, &["info", "t"]).ok();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("of which 2 (auto) acknowledge a publish"), "{told}");
    assert_eq!(cluster.stop(1), 0);
    cluster.kill(2);
    for number in [1, 2] {
        let state = if number == 1 { "stopped" } else { "dead" };
        wait_for_state(&cluster, 0, number, state);
    }
    let words = ["publish", "t", "cut off", "--timeout", "500ms"];
    let pending = cluster.run(0, &words).with_status(3);
    let parts =
        ["needs 2 copies", "antiphon node forget PEER", "antiphon topic alter t --min-copies 1"];
    pending.saying(&parts);
    cluster.run(0, &["alter", "t", "--min-copies", "1"]).ok();
    cluster.run(0, &words).ok();
    cluster.run(0, &["alter", "t", "--min-copies", "auto"]).ok();
    cluster.run(0, &words).with_status(3);
    for number in [1, 2] {
        let peer = cluster.node(number).peer.clone();
        cluster.run(0, &["forget", &peer, "--yes"]).ok();
    }
    cluster.run(0, &words).ok();
}
