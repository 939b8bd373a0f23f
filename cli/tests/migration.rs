//! An open network with records becomes a closed one, machine by machine, while publishing goes on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;

use crate::{
    cluster::{SOON, eventually},
    networks::{Machines, Running},
};

/// Exit statuses of a publish.
const ACKNOWLEDGED: i32 = 0;
const PENDING: i32 = 3;

/// Publishes one record after another to `orders`, each until a node takes it.
struct Publisher {
    /// The records, and the status of each.
    taken: Arc<Mutex<Vec<(String, i32)>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Publisher {
    /// Through the machines, which are at these addresses, before and after restarts.
    fn start(machines: &Arc<Machines>, addresses: Vec<(&'static str, String)>) -> Self {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (machines, told, asked) = (Arc::clone(machines), Arc::clone(&taken), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut attempts = 0;
            for number in 0.. {
                let record = format!("order {number}");
                loop {
                    if asked.load(Ordering::Relaxed) {
                        return;
                    }
                    let (machine, address) = &addresses[attempts % addresses.len()];
                    attempts += 1;
                    let words = ["publish", "orders", &record, "--node", address];
                    let words = [&words[..], &["--timeout", "2s"]].concat();
                    // What waits in an outbox is not published again, and comes, too.
                    let status = machines.run(machine, &words).status;
                    if status == ACKNOWLEDGED || status == PENDING {
                        told.lock().expect("no panic").push((record, status));
                        break;
                    }
                }
            }
        });
        Self { taken, stop, thread }
    }

    fn acknowledged(&self) -> usize {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().filter(|(_, status)| *status == ACKNOWLEDGED).count()
    }

    /// Waits until a few more are acknowledged.
    fn goes_on(&self, when: &str) {
        let before = self.acknowledged();
        eventually(&format!("publishing goes on {when}"), SOON, || {
            (self.acknowledged() >= before + 5).then_some(())
        });
    }

    /// All that nodes have taken.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it has not panicked");
        let taken = std::mem::take(&mut *self.taken.lock().expect("no panic"));
        taken.into_iter().map(|(record, _)| record).collect()
    }
}

fn listening(node: &Running) -> String {
    node.address.split("/p2p/").next().expect("a start").to_owned()
}

fn peer(node: &Running) -> String {
    node.address.rsplit('/').next().expect("an end").to_owned()
}

fn fetched(machines: &Machines, at: &Running, topic: &str) -> Vec<String> {
    let read = machines.ask(at, &["fetch", topic]);
    String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect()
}

/// Nodes of an open network that know each other.
fn open(machines: &Machines, names: &[&'static str]) -> Vec<Running> {
    let mut nodes: Vec<Running> = Vec::new();
    for machine in names {
        let through = nodes.first().map(|node| node.address.clone());
        let options: Vec<_> = through.iter().flat_map(|it| ["--bootstrap", it]).collect();
        nodes.push(machines.start(machine, &options));
    }
    for node in &nodes {
        machines.wait_until_alive(node, names.len());
    }
    nodes
}

/// A node writes a record, and leaves the network.
fn writes_and_leaves(machines: &Machines, node: &Running, topic: &str, record: &str) -> String {
    machines.ask(node, &["publish", topic, record, "--acks", "all"]).ok();
    machines.ask(node, &["leave", "--yes"]).ok();
    peer(node)
}

/// What `network create --from-open` says.
struct Made(Value);

impl Made {
    fn at(machines: &Machines, node: &Running) -> Self {
        let create = ["network", "create", &machines.network, "--from-open", "--json"];
        Self(machines.ask(node, &create).ok().object())
    }

    fn former_writers(&self) -> Vec<&str> {
        let former = self.0["former_writers"].as_array().expect("a list");
        former.iter().filter_map(Value::as_str).collect()
    }

    fn ticket_file(&self, peer: &str) -> &str {
        let mut tickets = self.0["tickets"].as_array().expect("a list").iter();
        let own = tickets.find(|ticket| ticket["peer"] == peer).expect("each has one");
        own["ticket_file"].as_str().expect("a path")
    }
}

/// Restarts each of the nodes as a member of the closed network.
fn move_all(machines: &Machines, nodes: &mut Vec<Running>, made: &Made, publisher: &Publisher) {
    for number in 0..nodes.len() {
        let (address, machine) = (listening(&nodes[number]), nodes[number].machine);
        let file = made.ticket_file(&peer(&nodes[number]));
        let text = fs_err::read_to_string(file).expect("it is readable");
        let in_use = machines.run(machine, &["join", &text]).with_status(1);
        in_use.saying(&["is used by another node", "hint: stop the node"]);
        drop(nodes.remove(number));
        if number != 1 {
            // Else one node is on either side, and both wait for it.
            publisher.goes_on("without it");
        }
        let file = machines.secret_file(machine, &text);
        machines.run(machine, &["join", "--ticket-file", &file]).ok();
        nodes.insert(number, machines.start_at(machine, &address, &[]));
        machines.wait_until_alive(&nodes[0], number + 1);
        publisher.goes_on("in two networks");
    }
    for node in nodes.iter() {
        machines.wait_until_alive(node, nodes.len());
    }
}

/// Records that a subscriber reads, each once.
fn subscribed(machines: &Machines, at: &Running, count: usize) -> BTreeSet<String> {
    let words = ["subscribe", "orders", "--as", "alice", "-n", &count.to_string()];
    let read = machines.ask(at, &words).ok();
    String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect()
}

const OF_THE_GONE: &str = "of the one that is gone";
const OF_THE_LATE: &str = "of one that came late";

#[test]
fn an_open_network_is_closed_with_its_records_while_publishing_goes_on() {
    let machines = Arc::new(Machines::new("migrated"));
    let mut nodes = open(&machines, &["first", "second", "third", "gone"]);
    let gone = nodes.pop().expect("the last one");
    for topic in ["orders", "quakes"] {
        machines.ask(&gone, &["create", topic, "--replicas", "3"]).ok();
    }
    machines.ask(&gone, &["publish", "orders", OF_THE_GONE, "--acks", "all"]).ok();
    let gone = writes_and_leaves(&machines, &gone, "quakes", "M 5.3");
    let addresses = nodes.iter().map(|node| (node.machine, node.address.clone())).collect();
    let publisher = Publisher::start(&machines, addresses);
    publisher.goes_on("in the open network");
    let before = subscribed(&machines, &nodes[0], 3);

    let made = Made::at(&machines, &nodes[0]);
    assert_eq!(made.former_writers(), [&gone]);
    // Nobody knows of it when the tickets are made.
    let late = machines.start("late", &["--bootstrap", &nodes[2].address]);
    machines.wait_until_alive(&late, 4);
    let late = writes_and_leaves(&machines, &late, "orders", OF_THE_LATE);
    move_all(&machines, &mut nodes, &made, &publisher);
    let taken = publisher.stop();
    for node in &nodes {
        machines.ask(node, &["outbox", "--wait"]).ok();
    }
    for node in &nodes {
        eventually("every record is there", SOON, || {
            let there: BTreeSet<_> = fetched(&machines, node, "orders").into_iter().collect();
            assert!(!there.contains(OF_THE_LATE), "nobody admitted it");
            let is_whole = taken.iter().all(|record| there.contains(record));
            (is_whole && there.contains(OF_THE_GONE)).then_some(())
        });
        assert_eq!(fetched(&machines, node, "quakes"), ["M 5.3"]);
    }
    // The position of a subscription was kept: it goes on where it was.
    let all = fetched(&machines, &nodes[1], "orders");
    let after = subscribed(&machines, &nodes[1], all.len() - before.len());
    assert!(before.is_disjoint(&after), "{before:?}");
    let all: BTreeSet<_> = all.into_iter().collect();
    assert_eq!(&(&before | &after) ^ &all, BTreeSet::new(), "{} of {}", after.len(), all.len());

    // A machine that comes with a ticket gets the topics that were made by who is gone.
    let ticket = machines.ticket(&nodes[0], &[]);
    machines.run("fourth", &["join", &ticket]).ok();
    nodes.push(machines.start("fourth", &[]));
    machines.wait_until_alive(&nodes[3], 4);
    eventually("it has the topics", SOON, || {
        (fetched(&machines, &nodes[3], "quakes") == ["M 5.3"]).then_some(())
    });
    let members = machines.ask(&nodes[3], &["network", "members", "--json"]).ok().objects();
    assert!(members.iter().any(|it| it["kind"] == "former writer" && it["peer"] == gone.as_str()));
    // The open half has no way in.
    let stranger = machines.start("stranger", &["--bootstrap", &nodes[0].address]);
    assert_eq!(machines.ask(&stranger, &["peers", "--json"]).ok().objects().len(), 1);

    // What an unseen writer wrote is not lost.
    machines.wait_until_said("first", "records of a writer do not count");
    let admit = ["network", "admit", &late, "--former", "--name", "late"];
    machines.ask(&nodes[0], &admit).ok();
    for node in &nodes {
        eventually("its record counts", SOON, || {
            let there = fetched(&machines, node, "orders");
            there.iter().any(|record| record == OF_THE_LATE).then_some(())
        });
    }
}

#[test]
fn an_open_network_that_cannot_be_closed_stays_as_it_is() {
    let machines = Machines::new("stays-open");
    let nodes = open(&machines, &["first", "second"]);
    let name = machines.network.clone();
    let create = ["network", "create", &name, "--from-open"];
    let none = machines.run("nowhere", &[&create[..], &["--timeout", "1s"]].concat());
    none.with_status(1).without_data().saying(&["hint: "]);
    assert!(!machines.home("nowhere").join("config/antiphon").join(&name).exists());

    machines.ask(&nodes[0], &["create", "quakes", "--replicas", "2"]).ok();
    machines.ask(&nodes[0], &["publish", "quakes", "M 5.3", "--acks", "all"]).ok();
    let made = Made::at(&machines, &nodes[0]);
    let again = machines.ask(&nodes[0], &create).with_status(1);
    again.without_data().saying(&["is there already", "hint: "]);
    let (contact, peers) = (nodes[0].address.clone(), [peer(&nodes[0]), peer(&nodes[1])]);
    let tickets = peers.each_ref().map(|peer| made.ticket_file(peer));
    drop(nodes);
    let others = machines.run("first", &["join", "--ticket-file", tickets[1]]);
    others.with_status(1).saying(&["the ticket is for", "hint: "]);
    // A ticket of a closed network that was never open.
    let founded = machines.run("founder", &["network", "create", &name]);
    founded.ok();
    let strange = machines.run("founder", &["network", "invite"]).ok();
    let strange = String::from_utf8(strange.stdout).unwrap();
    let refused = machines.run("first", &["join", strange.trim()]).with_status(1);
    refused.saying(&["of a node of an open network", "--from-open"]);
    machines.run("first", &["join", "--ticket-file", tickets[0]]).ok();

    // Records of an open network of another name.
    let other = Machines::new("another");
    let node = other.start("first", &[]);
    other.ask(&node, &["create", "quakes"]).ok();
    drop(node);
    let invite = ["network", "invite", "--contact", &contact, "--json"];
    let ticket = machines.run("first", &invite).ok().object();
    let data = other.path("first", &format!("share/antiphon/{}", other.network));
    let words = ["join", ticket["ticket"].as_str().unwrap(), "--data", &data];
    let refused = machines.run("first", &words).with_status(1);
    refused.saying(&["belongs to network", &other.network, "hint: "]);
    assert!(!std::path::Path::new(&data).join("network").exists());
}
