//! Commands that end a node: whom they mean, and that they are not meant by accident.

use std::{path::Path, process::Command};

use tempfile::TempDir;

use crate::cluster::{Finished, Process, SOON, antiphon, eventually, finish};

/// A network of nodes that find each other, each of a user of its own.
pub(crate) struct Users {
    network: String,
    homes: TempDir,
}

impl Users {
    pub(crate) fn new(purpose: &str) -> Self {
        let homes = tempfile::tempdir().expect("a temporary directory");
        Self { network: format!("test-{purpose}-{}", std::process::id()), homes }
    }

    pub(crate) fn home(&self, user: &str) -> std::path::PathBuf {
        let home = self.homes.path().join(user);
        fs_err::create_dir_all(home.join("run")).expect("it is writable");
        home
    }

    /// A command of a user.
    pub(crate) fn command(&self, user: &str, words: &[&str]) -> Command {
        let home = self.home(user);
        let mut command = antiphon(words);
        command.env("XDG_RUNTIME_DIR", home.join("run")).env("XDG_DATA_HOME", home.join("share"));
        command.env("ANTIPHON_NETWORK", &self.network);
        command
    }

    pub(crate) fn run(&self, user: &str, words: &[&str]) -> Finished {
        finish(self.command(user, words), b"")
    }

    /// Starts a node of a user that joins through another one; its name and its address.
    pub(crate) fn start(
        &self,
        user: &str,
        data: &Path,
        through: Option<&str>,
    ) -> (Process, String, String) {
        self.start_with(user, data, through, &[])
    }

    /// The same, with more options.
    pub(crate) fn start_with(
        &self,
        user: &str,
        data: &Path,
        through: Option<&str>,
        options: &[&str],
    ) -> (Process, String, String) {
        let mut command =
            self.command(user, &["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.args(options).arg("--data").arg(data);
        if let Some(address) = through {
            command.args(["--bootstrap", address]);
        }
        let mut process = Process::start(command, &data.with_extension("log"));
        let (peer, address) = process.ready();
        (process, peer, address)
    }

    pub(crate) fn wait_until_alive(&self, user: &str, count: usize) {
        eventually("all nodes are known", SOON, || {
            let peers = self.run(user, &["peers", "--json"]);
            let alive = peers.objects().iter().filter(|peer| peer["state"] == "alive").count();
            (alive == count).then_some(())
        });
    }
}

#[test]
fn leave_is_for_the_only_node_of_this_user() {
    let users = Users::new("leave-own");
    let data = |name: &str| users.homes.path().join(name);
    let (mut alices, alice, address) = users.start("alice", &data("a"), None);
    let (mut bobs, bob, _) = users.start("bob", &data("b"), Some(&address));
    users.wait_until_alive("alice", 2);
    users.wait_until_alive("bob", 2);

    // Carol has no node; mDNS may find two, and the address of one is known to her.
    let none = users.run("carol", &["leave", "--yes", "--timeout", "2s"]).with_status(1);
    none.without_data().saying(&["no node of this user", "hint: ", "antiphon node leave PEER"]);
    // Without a terminal to ask at it must be said.
    users.run("alice", &["leave"]).with_status(2).without_data().saying(&["`--yes`"]);
    let forget = ["forget", bob.as_str()];
    users.run("alice", &forget).with_status(2).without_data().saying(&["`--yes`"]);
    assert!(alices.ended().is_none() && bobs.ended().is_none());

    let left = users.run("alice", &["leave", "--yes", "--json"]).ok().object();
    assert_eq!((&left["status"], &left["peer"]), (&"left".into(), &alice.as_str().into()));
    assert_eq!(alices.wait(), 0);
    // As often as it is said: the other one is not hers.
    users.run("alice", &["leave", "--yes"]).with_status(1).saying(&["no node of this user"]);
    assert!(bobs.ended().is_none());
}

#[test]
fn one_of_several_is_named() {
    let users = Users::new("leave-named");
    let data = |name: &str| users.homes.path().join(name);
    let (mut first, one, address) = users.start("alice", &data("a"), None);
    let (mut second, two, _) = users.start("alice", &data("b"), Some(&address));
    let (mut third, three, _) = users.start("alice", &data("c"), Some(&address));
    users.wait_until_alive("alice", 3);
    let several = users.run("alice", &["leave", "--yes"]).with_status(2).without_data();
    let short = |peer: &str| peer[peer.len() - 8..].to_owned();
    let [one, two_short, three_short] = [&one, &two, &three].map(|peer| short(peer));
    several.saying(&["3 nodes of this user", &one, &two_short, &three_short, "hint: "]);
    let nodes = [&mut first, &mut second, &mut third];
    assert!(nodes.into_iter().all(|node| node.ended().is_none()));

    let path = data("b");
    let words = ["leave", "--yes", "--data", path.to_str().unwrap()];
    users.run("alice", &words).ok().saying(&[&two_short]);
    assert_eq!(second.wait(), 0);
    users.run("alice", &["leave", "--yes", &three]).ok().saying(&[&three_short]);
    assert_eq!(third.wait(), 0);
    users.run("alice", &["leave", "--yes"]).with_status(1).saying(&["no other node", "hint: "]);
    assert!(first.ended().is_none(), "the last one has nobody to hand over to");

    users.run("alice", &["leave", "--yes", &three]).with_status(1).saying(&["not known"]);
    let empty = users.homes.path().join("empty");
    fs_err::create_dir(&empty).unwrap();
    let words = ["leave", "--yes", "--data", empty.to_str().unwrap()];
    users.run("alice", &words).with_status(1).saying(&["key"]);
}

#[test]
fn the_shell_ends_no_node_that_is_not_meant() {
    let users = Users::new("leave-shell");
    let data = |name: &str| users.homes.path().join(name);
    let (mut first, _, address) = users.start("alice", &data("a"), None);
    let (mut second, ..) = users.start("alice", &data("b"), Some(&address));
    users.wait_until_alive("alice", 2);
    for line in ["leave\n", "leave --yes\n"] {
        let shell = finish(users.command("alice", &["shell"]), line.as_bytes());
        shell.with_status(2).saying(&["error: "]);
    }
    assert!(first.ended().is_none() && second.ended().is_none());
}
