//! A closed network of five machines on two hosts: two network namespaces joined by a cable.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    cluster::{SOON, eventually, now},
    multicast::{IPV4, Lan},
    networks::{Machines, Running, within},
};

/// Starts a node at the address of its host.
fn start(machines: &Machines, machine: &'static str, number: usize, options: &[&str]) -> Running {
    let address = IPV4[number].split('/').next().expect("an address");
    machines.start_at(machine, &format!("/ip4/{address}/tcp/0"), options)
}

/// Connections of a process, as its host's system lists them.
fn connections(host: &str, node: &Running) -> usize {
    let mut list = Command::new("ss");
    list.args(["-Htnp", "state", "established"]);
    let output = within(host, &list).output().expect("`ss` runs");
    let (text, of) = (String::from_utf8_lossy(&output.stdout), format!("pid={},", node.pid()));
    text.lines().filter(|line| line.contains(&of)).count()
}

fn fetched(machines: &Machines, at: &Running) -> Vec<String> {
    let read = machines.ask(at, &["fetch", "quakes"]).ok();
    let text = String::from_utf8_lossy(&read.stdout);
    let mut records: Vec<_> = text.lines().map(str::to_owned).collect();
    records.sort();
    records
}

/// How many records each home replica holds, if all of them hold all there is.
fn held_at_homes(machines: &Machines, at: &Running) -> Option<Vec<u64>> {
    let info = machines.ask(at, &["info", "quakes", "--json"]).ok().object();
    let replicas = info["replicas"].as_array().expect("a list");
    let homes = replicas.iter().filter(|it| it["role"] == "home");
    let whole = homes.map(|it| it["records"].as_u64().filter(|_| it["complete"] == true));
    whole.collect::<Option<Vec<_>>>().filter(|all| all.len() == 3)
}

/// What admins have signed of the ends of logs, as a node knows it.
fn closures(machines: &Machines, at: &Running) -> Vec<Value> {
    let log = machines.ask(at, &["network", "log", "--json"]).ok().objects();
    log.into_iter().filter(|it| it["event"] == "closed").collect()
}

/// Five machines, of which the last one joins while the admin's machine is off.
fn five(machines: &mut Machines, hosts: &[String; 2]) -> Vec<Running> {
    let places = [("first", 0), ("second", 0), ("third", 1), ("fourth", 1), ("fifth", 1)];
    for (machine, host) in places.into_iter().chain([("stranger", 1)]) {
        machines.put(machine, &hosts[host]);
    }
    machines.run("first", &["network", "create", &machines.network, "--name", "first"]).ok();
    let mut nodes = vec![start(machines, "first", 0, &[])];
    let others = &places[1..];
    let (early, late) = others.split_at(3);
    for (machine, host) in early {
        let ticket = machines.ticket(&nodes[0], &[]);
        machines.run(machine, &["join", &ticket, "--name", machine]).ok();
        nodes.push(start(machines, machine, *host, &[]));
    }
    for node in &nodes {
        machines.wait_until_alive(node, 4);
    }
    let contacts = nodes[1..].iter().flat_map(|node| ["--contact", &node.address]);
    let ticket = machines.ticket(&nodes[0], &contacts.collect::<Vec<_>>());
    drop(nodes.remove(0));
    for (machine, host) in late {
        machines.run(machine, &["join", &ticket, "--name", machine]).ok();
        nodes.push(start(machines, machine, *host, &[]));
        machines.wait_until_alive(&nodes[0], 4);
    }
    nodes.insert(0, start(machines, "first", 0, &[]));
    for node in &nodes {
        machines.wait_until_alive(node, 5);
    }
    nodes
}

#[test]
fn a_closed_network_on_two_hosts_lets_in_by_ticket_and_puts_out_at_once() {
    let Some(lan) = Lan::lay(IPV4) else { return };
    let mut machines = Machines::new("separated");
    let mut nodes = five(&mut machines, &lan.hosts);
    machines.ask(&nodes[0], &["create", "quakes", "--replicas", "3"]).ok();
    for node in &nodes {
        let record = format!("of the {}", node.machine);
        machines.ask(node, &["publish", "quakes", &record, "--acks", "all"]).ok();
    }

    // Who knows the name gets no connection.
    let bootstrap = ["--bootstrap", &nodes[2].address];
    let stranger = machines.start("stranger", &bootstrap);
    machines.wait_until_said("stranger", "one of the two belongs to a closed network");
    assert_eq!(machines.ask(&stranger, &["peers", "--json"]).ok().objects().len(), 1);
    drop(stranger);

    let (host, third) = (&lan.hosts[1], nodes.remove(2));
    assert!(connections(host, &third) >= 4, "it is connected to all others");
    let began = now();
    let mut revoke = machines.command("first", &["network", "revoke", "third", "--json"]);
    let revoke = revoke.args(["--node", &nodes[0].address]).spawn().expect("it starts");
    eventually("it has no connection any more", SOON, || {
        (connections(host, &third) == 0).then_some(())
    });
    eprintln!("no connection {} ms after the command began", began.elapsed().as_millis());
    let output = revoke.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("it is text");
    let closed: Value = serde_json::from_str(said.lines().nth(1).expect("two")).expect("JSON");
    assert_eq!(closed, json!({ "status": "closed", "closed": ["quakes"], "frozen": [] }));

    // It does not come back, also not after a restart, and what it writes now is void.
    machines.ask(&third, &["publish", "quakes", "void", "--timeout", "1s"]).with_status(3);
    drop(third);
    let third = start(&machines, "third", 1, &["--bootstrap", &nodes[0].address]);
    machines.wait_until_said("third", "removed from the network");
    for node in &nodes {
        machines.wait_until_alive(node, 4);
    }
    assert_eq!(connections(host, &third), 0);

    // What it wrote before is at every home replica, up to the same cut.
    let all = ["of the fifth", "of the first", "of the fourth", "of the second", "of the third"];
    let cuts = closures(&machines, &nodes[0]);
    assert_eq!(cuts.len(), 1);
    for node in &nodes {
        let held = eventually("all homes hold all of it", SOON, || held_at_homes(&machines, node));
        assert_eq!(held, [5, 5, 5]);
        assert_eq!(fetched(&machines, node), all);
        assert_eq!(closures(&machines, node), cuts);
    }
}
