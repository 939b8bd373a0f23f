//! Nodes of one LAN that find each other by mDNS: two network namespaces joined by a cable.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::cluster::{Process, SOON, eventually};

/// Two hosts on one LAN, as far as their network goes. They share nothing else that nodes find
/// each other by.
pub(crate) struct Lan {
    home: TempDir,
    pub(crate) hosts: [String; 2],
}

pub(crate) const IPV4: [&str; 2] = ["10.77.0.1/24", "10.77.0.2/24"];
const IPV6: [&str; 2] = ["fd77::1/64", "fd77::2/64"];

impl Lan {
    /// Joins two hosts with these addresses. None, and it is said why, where this machine cannot.
    pub(crate) fn lay(addresses: [&str; 2]) -> Option<Self> {
        let lan = Self::connect().and_then(|lan| {
            for (host, address) in lan.hosts.iter().zip(addresses) {
                plug_in(host, address)?;
            }
            Ok(lan)
        });
        Self::or_skip(lan)
    }

    /// Two hosts whose cable is not plugged in.
    fn apart() -> Option<Self> {
        Self::or_skip(Self::connect())
    }

    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn or_skip(lan: Result<Self, String>) -> Option<Self> {
        lan.inspect_err(|reason| {
            eprintln!("skipped: this machine joins no network namespaces: {reason}");
        })
        .ok()
    }

    fn connect() -> Result<Self, String> {
        let home = tempfile::tempdir().expect("a temporary directory");
        // Names of namespaces and of interfaces (15 bytes) are the machine's.
        let name = home.path().file_name().and_then(|name| name.to_str()).expect("it is text");
        let id = name.trim_start_matches(".tmp").to_owned();
        let lan = Self { home, hosts: [format!("ap{id}a"), format!("ap{id}b")] };
        let [one, two] = &lan.hosts;
        ip(&["netns", "add", one])?;
        ip(&["netns", "add", two])?;
        ip(&["link", "add", one, "netns", one, "type", "veth", "peer", "name", two, "netns", two])?;
        for host in [one, two] {
            ip(&["-n", host, "link", "set", "lo", "up"])?;
            fs_err::create_dir(lan.run(host)).expect("it is writable");
        }
        Ok(lan)
    }

    fn run(&self, host: &str) -> PathBuf {
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

    fn start(&self, host: &str) -> (Process, String) {
        let mut node = self.command(host, &["node", "--json", "--data"]);
        node.arg(self.home.path().join(host));
        let mut process = Process::start(node, &self.log(host));
        let (_, address) = process.ready();
        (process, address)
    }

    fn log(&self, host: &str) -> PathBuf {
        self.home.path().join(format!("{host}.log"))
    }

    /// Waits until a node has said this.
    fn wait_for(&self, host: &str, text: &str) {
        eventually(&format!("{host} says `{text}`"), SOON, || {
            fs_err::read_to_string(self.log(host)).ok()?.contains(text).then_some(())
        });
    }

    /// How often a node has said this.
    fn count(&self, host: &str, text: &str) -> usize {
        fs_err::read_to_string(self.log(host)).expect("there is a log").matches(text).count()
    }

    /// Waits until each host sees so many nodes that are alive.
    fn wait_for_alive(&self, count: usize) {
        eventually(&format!("each node sees {count}"), SOON, || {
            let all = self.hosts.iter().all(|host| {
                let output = self.command(host, &["peers", "--json"]).output().expect("it runs");
                let text = String::from_utf8(output.stdout).expect("it is text");
                text.lines().filter(|line| line.contains("\"alive\"")).count() == count
            });
            all.then_some(())
        });
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

/// A host gets an address on the LAN.
fn plug_in(host: &str, address: &str) -> Result<(), String> {
    let words = ["-n", host, "address", "add", address, "dev", host];
    // Otherwise an IPv6 address is looked at for a second before it is one.
    let nodad = address.contains(':').then_some("nodad");
    ip(&words.into_iter().chain(nodad).collect::<Vec<_>>())?;
    ip(&["-n", host, "link", "set", host, "up"])
}

/// A host loses an address.
fn unplug(host: &str, address: &str) -> Result<(), String> {
    ip(&["-n", host, "address", "delete", address, "dev", host])
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
    let Some(lan) = Lan::lay(IPV4) else { return };
    let [one, two] = &lan.hosts;
    let (_nodes, addresses): (Vec<_>, Vec<_>) =
        [lan.start(one), lan.start(two)].into_iter().unzip();
    assert!(addresses[0].starts_with("/ip4/10.77.0.1/"), "others can reach it: {addresses:?}");
    lan.wait_for_alive(2);
    publish_here_fetch_there(&lan, one, two);
}

#[test]
fn hosts_without_ipv4_are_a_cluster_as_well() {
    let Some(lan) = Lan::lay(IPV6) else { return };
    let [one, two] = &lan.hosts;
    let (_nodes, addresses): (Vec<_>, Vec<_>) =
        [lan.start(one), lan.start(two)].into_iter().unzip();
    assert!(addresses[1].starts_with("/ip6/fd77::2/"), "others can reach it: {addresses:?}");
    lan.wait_for_alive(2);
    publish_here_fetch_there(&lan, one, two);
}

#[test]
fn a_lan_that_comes_later_goes_and_comes_back_needs_no_restart() {
    let Some(lan) = Lan::apart() else { return };
    let [one, two] = &lan.hosts;
    let (_nodes, addresses): (Vec<_>, Vec<_>) =
        [lan.start(one), lan.start(two)].into_iter().unzip();
    assert!(addresses[0].starts_with("/ip4/127.0.0.1/"), "{addresses:?}");
    lan.wait_for(one, "no address that others can reach");
    for (host, address) in lan.hosts.iter().zip(IPV4) {
        plug_in(host, address).unwrap();
    }
    lan.wait_for_alive(2);
    lan.wait_for(one, "now also at /ip4/10.77.0.1/");
    lan.wait_for(two, "now also at /ip4/10.77.0.2/");
    // It goes, and another address comes.
    unplug(two, IPV4[1]).unwrap();
    lan.wait_for_alive(1);
    lan.wait_for(two, "no longer at /ip4/10.77.0.2/");
    plug_in(two, "10.77.0.9/24").unwrap();
    lan.wait_for_alive(2);
    lan.wait_for(two, "now also at /ip4/10.77.0.9/");
    assert_eq!(lan.count(one, "now also at /ip4/10.77.0.1/"), 1, "it is said once");
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
