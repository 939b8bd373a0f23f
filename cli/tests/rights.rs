//! Who may end a node, declare one lost, repair, alter and delete.
//!
//! A user here has directories of its own, and so neither finds the nodes of another user nor their
//! keys: a client of another machine.

use std::{os::unix::fs::PermissionsExt, path::Path};

use crate::{
    cluster::{Process, SOON, eventually, finish},
    operator::Users,
};

/// Two nodes of alice, with a topic; the first one's peer id and address.
struct Alices {
    users: Users,
    first: Process,
    second: Process,
    peer: String,
    address: String,
    /// The second node's peer id.
    other: String,
}

impl Alices {
    fn start(purpose: &str, options: &[&str]) -> Self {
        let users = Users::new(purpose);
        let data = |name: &str| users.home("alice").join(name);
        let (first, peer, address) = users.start_with("alice", &data("a"), None, options);
        let (second, other, _) = users.start_with("alice", &data("b"), Some(&address), options);
        let alices = Self { users, first, second, peer, address, other };
        eventually("the nodes know each other", SOON, || {
            let peers = alices.users.run("alice", &alices.at_first(&["peers", "--json"]));
            let alive = peers.objects().iter().filter(|peer| peer["state"] == "alive").count();
            (alive == 2).then_some(())
        });
        for words in [&["create", "t"][..], &["publish", "t", "one"]] {
            alices.users.run("alice", &alices.at_first(words)).ok();
        }
        alices
    }

    /// The five commands that need a right, each with words that its refusal has.
    fn commands(&self) -> [(Vec<&str>, [&'static str; 2]); 5] {
        let operate = "run it on the node's machine";
        [
            (vec!["node", "leave", &self.peer, "--yes"], ["only its operator", operate]),
            (vec!["node", "forget", &self.other, "--yes"], ["only the operator", operate]),
            (vec!["topic", "verify", "t", "--repair"], ["may repair topic `t`", operate]),
            (
                vec!["topic", "alter", "t", "--retain-age", "7d"],
                ["may alter topic `t`", "`--open-admin`"],
            ),
            (vec!["topic", "delete", "t", "--yes"], ["may delete topic `t`", "`--open-admin`"]),
        ]
    }

    /// The words of a command that talks to the first node.
    fn at_first<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--node", &self.address]].concat()
    }

    /// The key of the first node's operator.
    fn key(&self, node: &str) -> std::path::PathBuf {
        self.users.home("alice").join(node).join("operator")
    }

    fn run_here(&mut self) -> bool {
        self.first.ended().is_none() && self.second.ended().is_none()
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_client_of_another_machine_ends_repairs_alters_and_deletes_nothing() {
    let mut alices = Alices::start("rights-refused", &[]);
    for (words, parts) in alices.commands() {
        let refused = alices.users.run("mallory", &alices.at_first(&words)).with_status(1);
        refused.without_data().saying(&parts).saying(&["hint: ", "`--operator-key FILE`"]);
    }
    // All else is for everybody.
    for words in [&["topic", "verify", "t"][..], &["publish", "t", "two"], &["info", "t"]] {
        alices.users.run("mallory", &alices.at_first(words)).ok();
    }
    let fetched = alices.users.run("mallory", &alices.at_first(&["fetch", "t"])).ok();
    assert_eq!(fetched.lines(), [b"one", b"two"]);
    assert!(alices.run_here());
}

#[test]
fn the_key_of_a_nodes_operator_is_needed_and_enough() {
    let alices = Alices::start("rights-key", &[]);
    let (right, wrong) = (alices.key("a"), alices.key("b"));
    assert_eq!((mode(&right), mode(&wrong)), (0o600, 0o600));
    assert_ne!(fs_err::read(&right).unwrap(), fs_err::read(&wrong).unwrap());
    assert_ne!(fs_err::read(&right).unwrap(), fs_err::read(right.with_file_name("key")).unwrap());

    let alter = ["topic", "alter", "t", "--retain-age", "7d", "--operator-key"];
    let with = |key: &Path| {
        let words = [&alter[..], &[key.to_str().expect("a text")]].concat();
        alices.users.run("bob", &alices.at_first(&words))
    };
    with(&wrong).with_status(1).without_data().saying(&["may alter topic `t`"]);
    let nowhere = alices.users.home("bob").join("nowhere");
    with(&nowhere).with_status(1).without_data().saying(&["nowhere cannot be used", "hint: "]);
    // A copy, on purpose.
    let copy = alices.users.home("bob").join("copy");
    fs_err::copy(&right, &copy).unwrap();
    fs_err::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).unwrap();
    with(&copy).with_status(1).without_data().saying(&["others can use it", "chmod 600"]);
    fs_err::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
    with(&copy).ok();
    let mut delete =
        alices.users.command("bob", &alices.at_first(&["topic", "delete", "t", "--yes"]));
    delete.env("ANTIPHON_OPERATOR_KEY", &copy);
    finish(delete, b"").ok();
}

#[test]
fn the_user_of_a_node_needs_no_option() {
    let mut alices = Alices::start("rights-own", &["--no-discovery"]);
    // The topic has one node's word only while the other one is there.
    for (words, _) in alices.commands().into_iter().skip(2) {
        alices.users.run("alice", &alices.at_first(&words)).ok();
    }
    // Several at the same time, more than one peer id has connections.
    alices.users.run("alice", &alices.at_first(&["create", "u"])).ok();
    let alter = alices.at_first(&["topic", "alter", "u", "--retain-age", "7d"]);
    std::thread::scope(|scope| {
        let (users, words) = (&alices.users, &alter);
        let alter = move || users.run("alice", words);
        let running: Vec<_> = (0..6).map(|_| scope.spawn(alter)).collect();
        for command in running {
            command.join().expect("it ran").ok();
        }
    });
    let leave = ["node", "leave", &alices.peer, "--yes"];
    alices.users.run("alice", &alices.at_first(&leave)).ok();
    assert_eq!(alices.first.wait(), 0);
}

#[test]
fn with_open_admin_anybody_alters_and_deletes_and_still_ends_no_node() {
    let mut alices = Alices::start("rights-open", &["--open-admin"]);
    let commands = alices.commands();
    for (words, parts) in &commands[..3] {
        let refused = alices.users.run("mallory", &alices.at_first(words)).with_status(1);
        refused.without_data().saying(parts);
    }
    for (words, _) in &commands[3..] {
        alices.users.run("mallory", &alices.at_first(words)).ok();
    }
    assert!(alices.run_here());
}

#[test]
fn several_nodes_may_have_one_operator() {
    let users = Users::new("rights-shared");
    let key = users.home("alice").join("shared");
    let options = ["--operator-key", key.to_str().expect("a text")];
    let data = |name: &str| users.home("alice").join(name);
    let (_first, _, address) = users.start_with("alice", &data("a"), None, &options);
    let (mut second, peer, _) = users.start_with("alice", &data("b"), Some(&address), &options);
    assert_eq!(mode(&key), 0o600);
    assert!(!data("a").join("operator").exists());
    users.wait_until_alive("alice", 2);
    let leave = ["node", "leave", &peer, "--yes", "--node", &address];
    users.run("bob", &leave).with_status(1).saying(&["only its operator"]);
    users.run("bob", &[&leave[..], &options].concat()).ok();
    assert_eq!(second.wait(), 0);
}
