//! How nodes join: by what addresses, what they refuse until they have, and what they say.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Finished, Process, SOON, antiphon, eventually, finish};

/// Nodes that are started one by one, each with a log of its own.
struct Nodes {
    home: TempDir,
    network: String,
}

impl Nodes {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let name = home.path().file_name().and_then(|name| name.to_str()).expect("it is text");
        let network = format!("joining-{}", name.trim_start_matches('.'));
        Self { home, network }
    }

    /// Starts a node of a network with these words; the process and its address.
    fn start_in(&self, network: &str, name: &str, words: &[&str]) -> (Process, String) {
        let mut command = antiphon(&["node", "--json", "-v", "--no-discovery"]);
        command.args(["--network", network]).args(words);
        command.arg("--data").arg(self.home.path().join(name));
        let mut process = Process::start(command, &self.log(name));
        let (_, address) = process.ready();
        (process, address)
    }

    fn start(&self, name: &str, words: &[&str]) -> (Process, String) {
        self.start_in(&self.network, name, words)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.log"))
    }

    fn wait_for(&self, name: &str, text: &str) {
        eventually(&format!("{name} says `{text}`"), SOON, || {
            fs_err::read_to_string(self.log(name)).ok()?.contains(text).then_some(())
        });
    }

    fn run(&self, address: &str, words: &[&str]) -> Finished {
        let mut command = antiphon(words);
        command.args(["--network", &self.network, "--node", address]);
        finish(command, b"")
    }
}

const ANYWHERE: &str = "/ip4/127.0.0.1/tcp/0";

/// A port at which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Each line of a log as a JSON object.
fn objects(log: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(log).expect("there is a log");
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(value.is_object(), "{line}");
        value
    };
    text.lines().map(object).collect()
}

#[test]
fn a_node_that_has_joined_nothing_creates_no_topic() {
    let nodes = Nodes::new();
    let port = free_port();
    let through = format!("127.0.0.1:{port}");
    let (late, address) = nodes.start("late", &["--listen", ANYWHERE, "--bootstrap", &through]);
    let named = format!("/ip4/127.0.0.1/tcp/{port}");
    for words in [["create", "t"].as_slice(), &["publish", "t", "hello"], &["info", "t"]] {
        nodes.run(&address, words).with_status(1).saying(&["has not joined", &named, "--alone"]);
    }
    nodes.wait_for("late", &format!("cannot join through {named}: connection refused"));
    // The one that it waits for comes, and is known by its address alone.
    let (first, _) = nodes.start("first", &["--listen", &named]);
    nodes.wait_for("late", &format!("joined through {named}"));
    nodes.wait_for("late", "joined: 1 other node");
    nodes.run(&address, &["create", "t"]).ok();
    assert_eq!((late.terminate(), first.terminate()), (0, 0));
    // Whatever it said at whatever level is in one form.
    let said = objects(&nodes.log("late"));
    assert!(said.iter().any(|line| line["warning"].is_string()), "{said:?}");
    assert!(said.iter().any(|line| line["note"].is_string()), "{said:?}");
}

#[test]
fn the_first_node_of_a_network_may_be_alone() {
    let nodes = Nodes::new();
    let through = format!("127.0.0.1:{}", free_port());
    let words = ["--listen", ANYWHERE, "--alone", "--bootstrap", &through];
    let (_first, address) = nodes.start("first", &words);
    nodes.run(&address, &["create", "t"]).ok();
}

#[test]
fn a_node_that_cannot_join_says_what_is_wrong() {
    let nodes = Nodes::new();
    let (_other, other) = nodes.start_in("joining-other", "other", &["--listen", ANYWHERE]);
    let (other, _) = other.split_once("/p2p/").expect("a peer id");
    let own = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let peer = "12D3KooWGzBf8EADkjJLTp4QvEUqYYGKbYSbJzmSHVS4Fw5bx3pN";
    let to_itself = format!("{own}/p2p/{peer}");
    let unknown = "/dns/nosuchhost.invalid/tcp/1";
    let mut words = vec!["--listen", &own];
    words.extend(["--bootstrap", other, "--bootstrap", &to_itself, "--bootstrap", unknown]);
    let (node, _) = nodes.start("node", &words);
    nodes.wait_for("node", "is of network `joining-other`, not `");
    nodes.wait_for("node", &format!("cannot join through {own}: it leads back to this node"));
    nodes
        .wait_for("node", "cannot join through /dns/nosuchhost.invalid/tcp/1: nosuchhost.invalid ");
    assert_eq!(node.terminate(), 0);
    let said = objects(&nodes.log("node"));
    let warnings = said.iter().filter(|line| line["warning"].is_string()).count();
    assert_eq!(warnings, 3, "each is said once: {said:?}");
}
