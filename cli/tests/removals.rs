//! The logs of members who were removed end at the same cut at every node.

use serde_json::{Value, json};

use crate::{
    cluster::{SOON, eventually},
    networks::{Machines, Running},
};

/// Three machines, and a topic at all of them to which the third has written.
fn three(purpose: &str) -> (Machines, [Running; 3]) {
    let machines = Machines::new(purpose);
    let first = machines.founded();
    let ticket = machines.ticket(&first, &["--uses", "2"]);
    for machine in ["second", "third"] {
        machines.run(machine, &["join", &ticket, "--name", machine]).ok();
    }
    let nodes = [first, machines.start("second", &[]), machines.start("third", &[])];
    for node in &nodes {
        machines.wait_until_alive(node, 3);
    }
    machines.ask(&nodes[0], &["create", "quakes", "--replicas", "3"]).ok();
    machines.ask(&nodes[0], &["publish", "quakes", "of the first"]).ok();
    for record in ["one", "two"] {
        machines.ask(&nodes[2], &["publish", "quakes", record, "--acks", "all"]).ok();
    }
    (machines, nodes)
}

/// What a revocation says: of the removal, and of the logs.
fn revoked(machines: &Machines, at: &Running, options: &[&str], status: i32) -> Vec<Value> {
    let words = [&["network", "revoke", "third", "--json"], options].concat();
    let finished = machines.ask(at, &words);
    assert_eq!(finished.status, status, "{}", finished.stderr);
    finished.objects()
}

fn fetched(machines: &Machines, at: &Running) -> Vec<String> {
    let read = machines.ask(at, &["fetch", "quakes"]).ok();
    let mut records: Vec<_> =
        String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect();
    records.sort();
    records
}

fn closed_topics(machines: &Machines, at: &Running) -> Option<u64> {
    let members = machines.ask(at, &["network", "members", "--json"]).ok().objects();
    members.iter().find(|it| it["name"] == "third")?["closed_topics"].as_u64()
}

#[test]
fn the_logs_of_who_is_put_out_end_where_they_ended_at_every_node() {
    let (machines, [first, second, third]) = three("closed");
    let said = revoked(&machines, &first, &[], 0);
    assert_eq!(said[0]["status"], "removed");
    assert_eq!(said[1], json!({ "status": "closed", "closed": ["quakes"], "frozen": [] }));
    for node in [&first, &second] {
        eventually("it knows of the end", SOON, || {
            (closed_topics(&machines, node) == Some(1)).then_some(())
        });
        assert_eq!(fetched(&machines, node), ["of the first", "one", "two"]);
    }
    let log = machines.ask(&second, &["network", "log", "--json"]).ok().objects();
    let events: Vec<_> = log.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events.last(), Some(&"closed"), "{events:?}");
    // It is said once. Who is out writes on by itself, and nobody takes it.
    let again = revoked(&machines, &first, &[], 0);
    assert_eq!(again, [json!({ "status": "closed", "closed": [], "frozen": [] })]);
    machines.ask(&third, &["publish", "quakes", "void", "--timeout", "1s"]).with_status(3);
    for node in [&first, &second] {
        assert_eq!(fetched(&machines, node), ["of the first", "one", "two"]);
    }
}

#[test]
fn logs_are_closed_when_nodes_that_were_away_are_back() {
    let (machines, [first, second, _third]) = three("frozen");
    drop(second);
    eventually("one is away", SOON, || {
        let peers = machines.ask(&first, &["peers", "--json"]).ok().objects();
        peers.iter().any(|peer| peer["state"] == "dead").then_some(())
    });
    let said = revoked(&machines, &first, &[], 3);
    assert_eq!(said[0]["status"], "removed");
    assert_eq!((&said[1]["status"], &said[1]["closed"]), (&json!("frozen"), &json!([])));
    let frozen = &said[1]["frozen"][0];
    assert_eq!(
        (frozen["topic"].as_str(), closed_topics(&machines, &first)),
        (Some("quakes"), Some(0))
    );
    assert_eq!(frozen["waiting_for"].as_array().map(Vec::len), Some(1), "{frozen}");
    assert_eq!(fetched(&machines, &first).len(), 3, "what it wrote counts");

    let second = machines.start("second", &["--bootstrap", &first.address]);
    machines.wait_until_alive(&first, 2);
    let said = eventually("it answers, too", SOON, || {
        let words = ["network", "revoke", "third", "--json"];
        let finished = machines.ask(&first, &words);
        (finished.status == 0).then(|| finished.objects())
    });
    assert_eq!(said, [json!({ "status": "closed", "closed": ["quakes"], "frozen": [] })]);
    for node in [&first, &second] {
        assert_eq!(fetched(&machines, node), ["of the first", "one", "two"]);
    }
}

#[test]
fn who_does_not_want_to_wait_says_so() {
    let (machines, [first, second, _third]) = three("at-once");
    drop(second);
    eventually("one is away", SOON, || {
        let peers = machines.ask(&first, &["peers", "--json"]).ok().objects();
        peers.iter().any(|peer| peer["state"] == "dead").then_some(())
    });
    let said = revoked(&machines, &first, &["--now"], 0);
    assert_eq!(said[1], json!({ "status": "closed", "closed": ["quakes"], "frozen": [] }));
    let second = machines.start("second", &["--bootstrap", &first.address]);
    machines.wait_until_alive(&first, 2);
    for node in [&first, &second] {
        assert_eq!(fetched(&machines, node), ["of the first", "one", "two"]);
    }
}

#[test]
fn a_writer_that_is_admitted_again_writes_on() {
    let (machines, [first, second, third]) = three("back");
    let said = revoked(&machines, &first, &[], 0);
    let admit = ["network", "admit", said[0]["peer"].as_str().unwrap(), "--name", "third"];
    machines.ask(&first, &admit).ok();
    for node in [&first, &second, &third] {
        machines.wait_until_alive(node, 3);
    }
    machines.ask(&third, &["publish", "quakes", "again"]).ok();
    for node in [&first, &second, &third] {
        assert_eq!(fetched(&machines, node), ["again", "of the first", "one", "two"]);
    }
}
