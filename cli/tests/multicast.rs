//! Nodes of one LAN that find each other by mDNS: two network namespaces joined by a cable.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::cluster::{Process, SOON, eventually};

/// Two hosts on one LAN, as far as their network goes. They share nothing else that nodes find
/// each other by.
struct Lan {
    home: TempDir,
    hosts: [String; 2],
}

impl Lan {
    /// Joins two hosts, or says why this machine cannot.
    fn lay() -> Result<Self, String> {
        let home = tempfile::tempdir().expect("a temporary directory");
        // Names of namespaces and of interfaces (15 bytes) are the machine's.
        let id = std::process::id() % 100_000;
        let lan = Self { home, hosts: [format!("ap{id}a"), format!("ap{id}b")] };
        let [one, two] = &lan.hosts;
        ip(&["netns", "add", one])?;
        ip(&["netns", "add", two])?;
        ip(&["link", "add", one, "netns", one, "type", "veth", "peer", "name", two, "netns", two])?;
        for (host, address) in [(one, "10.77.0.1/24"), (two, "10.77.0.2/24")] {
            ip(&["-n", host, "address", "add", address, "dev", host])?;
            ip(&["-n", host, "link", "set", "lo", "up"])?;
            ip(&["-n", host, "link", "set", host, "up"])?;
            fs_err::create_dir(lan.run(host)).expect("it is writable");
        }
        Ok(lan)
    }

    fn run(&self, host: &str) -> std::path::PathBuf {
        self.home.path().join(format!("run-{host}"))
    }

    /// A command on one of the hosts.
    fn command(&self, host: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", host, env!("CARGO_BIN_EXE_antiphon")]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.env_remove("ANTIPHON_NODE").env_remove("RUST_LOG");
        command.env("XDG_RUNTIME_DIR", self.run(host)).env("ANTIPHON_NETWORK", "test-multicast");
        command
    }

    fn start(&self, host: &str) -> Process {
        let mut node = self.command(host, &["node", "--json", "--data"]);
        node.arg(self.home.path().join(host));
        let mut process = Process::start(node, &self.home.path().join(format!("{host}.log")));
        process.ready();
        process
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            // What was not made cannot be removed.
            let _ = ip(&["netns", "delete", host]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| format!("`ip` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[test]
fn two_hosts_of_one_lan_are_a_cluster_with_no_option() {
    let lan = match Lan::lay() {
        Ok(lan) => lan,
        Err(reason) => {
            eprintln!("skipped: this machine joins no network namespaces: {reason}");
            return;
        }
    };
    let [one, two] = &lan.hosts;
    let _nodes = [lan.start(one), lan.start(two)];
    eventually("each node sees the other", SOON, || {
        let both = [one, two].into_iter().all(|host| {
            let output = lan.command(host, &["peers", "--json"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().filter(|line| line.contains("\"alive\"")).count() == 2
        });
        both.then_some(())
    });
    publish_here_fetch_there(&lan, one, two);
}

fn publish_here_fetch_there(lan: &Lan, one: &str, two: &str) {
    let done = |host, words: &[&str]| {
        let output = lan.command(host, words).output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the output is text")
    };
    done(one, &["create", "t", "--replicas", "2"]);
    done(one, &["publish", "t", "over the cable", "--acks", "all"]);
    assert_eq!(done(two, &["fetch", "t"]), "over the cable\n");
    assert!(Path::new(&lan.run(one)).exists());
}
