//! Clusters of real node processes on loopback, and commands that talk to them.
//!
//! Nothing here waits for time: [`eventually`] waits for conditions, with a deadline.

mod process;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub(crate) use process::{Finished, Process, antiphon, finish};
use rustix::process::Signal;
use tempfile::TempDir;

/// Time for a cluster on a busy machine to come to a state that it comes to by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Names the program under test, as seen from the root of the repository, where it is not the one
/// that cargo has built for the tests.
const PROGRAM_VARIABLE: &str = "ANTIPHON_PROGRAM";

/// The program that the environment names.
pub(crate) fn named_program() -> Option<String> {
    std::env::var(PROGRAM_VARIABLE).ok().filter(|program| !program.is_empty())
}

/// Reads the steady clock.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "deadlines of tests over real processes")]
    Instant::now()
}

/// Asks until `condition` gives a value, at most for `within`; the value.
pub(crate) fn eventually<T>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The earthquakes: the file, and its lines.
pub(crate) fn earthquakes() -> (PathBuf, Vec<Vec<u8>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/earthquakes.ndjson");
    let content = fs_err::read(&path).expect("the events are part of the repository");
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let lines: Vec<Vec<u8>> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1_707);
    (path, lines)
}

/// Nodes that know each other, numbered from 0, in a network of their own. They are killed when
/// this is dropped.
pub(crate) struct Cluster {
    network: String,
    nodes: Vec<Node>,
    directory: TempDir,
    /// What is loaded into nodes to move their clocks.
    clocks: Option<PathBuf>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) peer: String,
    pub(crate) address: String,
    process: Option<Process>,
}

impl Cluster {
    /// Starts nodes that join through the first one, and waits until all are known to all.
    pub(crate) fn start(count: usize) -> Self {
        let mut cluster = Self::empty();
        for _ in 0..count {
            cluster.add();
        }
        cluster.wait_until_alive(count);
        cluster
    }

    /// Starts one node whose clock is ahead, by milliseconds. The library moves clocks.
    pub(crate) fn start_with_clocks(library: PathBuf, ahead_ms: i64) -> Self {
        let mut cluster = Self::empty();
        cluster.clocks = Some(library);
        cluster.set_clock(0, ahead_ms);
        cluster.add();
        cluster
    }

    /// Sets how far a node's clock is ahead of the machine's, in milliseconds.
    pub(crate) fn set_clock(&self, number: usize, ahead_ms: i64) {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.clock(number));
        let mut file = file.expect("the file can be written");
        std::io::Write::write_all(&mut file, &ahead_ms.to_ne_bytes()).expect("it has room");
    }

    fn clock(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node-{number}.clock"))
    }

    /// What a node has logged.
    pub(crate) fn said(&self, number: usize) -> String {
        fs_err::read_to_string(self.log(number)).unwrap_or_default()
    }

    fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = directory.path().file_name().and_then(|name| name.to_str());
        let name = name.expect("its name is text").trim_start_matches('.');
        let network = format!("test-{}-{name}", std::process::id());
        Self { network, nodes: Vec::new(), directory, clocks: None }
    }

    /// Starts one more node; its number.
    pub(crate) fn add(&mut self) -> usize {
        let number = self.nodes.len();
        let node = self.launch(number, 0);
        self.nodes.push(node);
        number
    }

    /// The node of this number.
    pub(crate) fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// The node of this number, if there is one.
    pub(crate) fn get(&self, number: usize) -> Option<&Node> {
        self.nodes.get(number)
    }

    /// The number of the node with this name.
    pub(crate) fn number(&self, peer: &str) -> usize {
        let found = self.nodes.iter().position(|node| node.peer == peer);
        found.unwrap_or_else(|| panic!("{peer} is not of this cluster"))
    }

    /// A node's data directory.
    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node-{number}"))
    }

    /// The network's name.
    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].process.take().expect("the node runs").kill();
    }

    /// Sends a running node a signal.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        self.nodes[number].process.as_ref().expect("the node runs").signal(signal);
    }

    /// The process of a running node.
    pub(crate) fn pid(&self, number: usize) -> i32 {
        let process = self.nodes[number].process.as_ref().expect("the node runs");
        process.pid().as_raw_nonzero().get()
    }

    /// Stops a node with SIGTERM; its exit status.
    pub(crate) fn stop(&mut self, number: usize) -> i32 {
        self.nodes[number].process.take().expect("the node runs").terminate()
    }

    /// Waits until a node has ended by itself; its exit status.
    pub(crate) fn wait(&mut self, number: usize) -> i32 {
        self.nodes[number].process.take().expect("the node runs").wait()
    }

    /// Starts a node again with its data, to join through another one.
    pub(crate) fn restart(&mut self, number: usize, through: usize) {
        self.nodes[number] = self.launch(number, through);
    }

    /// A command that talks to one node.
    pub(crate) fn command(&self, number: usize, words: &[&str]) -> std::process::Command {
        let mut command = antiphon(words);
        let address = &self.node(number).address;
        command.args(["--network", &self.network, "--node", address]);
        command.env("XDG_RUNTIME_DIR", self.runtime_directory());
        command
    }

    /// Where its nodes say how they are operated: in no place that other tests use.
    fn runtime_directory(&self) -> PathBuf {
        let directory = self.directory.path().join("run");
        fs_err::create_dir_all(&directory).expect("it is writable");
        directory
    }

    /// Runs a command that talks to one node.
    pub(crate) fn run(&self, number: usize, words: &[&str]) -> Finished {
        self.run_with(number, words, b"")
    }

    /// Runs a command that talks to one node and reads `input`.
    pub(crate) fn run_with(&self, number: usize, words: &[&str], input: &[u8]) -> Finished {
        // Options before `--`, after which all words are messages.
        let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let mut command = self.command(number, &words[..at]);
        command.args(&words[at..]);
        finish(command, input)
    }

    /// Waits until every running node knows so many that are alive.
    pub(crate) fn wait_until_alive(&self, count: usize) {
        for number in 0..self.nodes.len() {
            if self.nodes[number].process.is_some() {
                eventually("all nodes are known to all", SOON, || {
                    let peers = self.run(number, &["peers", "--json"]);
                    let peers = (peers.status == 0).then(|| peers.objects())?;
                    (peers.iter().filter(|peer| peer["state"] == "alive").count() == count)
                        .then_some(())
                });
            }
        }
    }

    /// The replicas of a topic as `info` at a node shows them, owner first.
    pub(crate) fn replicas(&self, number: usize, topic: &str) -> Vec<serde_json::Value> {
        let info = self.run(number, &["info", topic, "--json"]).ok().object();
        info["replicas"].as_array().expect("the replicas are a list").clone()
    }

    /// Waits until `info` at a node shows so many replicas alive and complete.
    pub(crate) fn wait_until_complete(
        &self,
        number: usize,
        topic: &str,
        count: usize,
        within: Duration,
    ) {
        eventually("the replicas are alive and complete", within, || {
            let replicas = self.replicas(number, topic);
            let complete = |replica: &&serde_json::Value| {
                replica["state"] == "alive" && replica["complete"] == true
            };
            (replicas.iter().filter(complete).count() >= count).then_some(())
        });
    }

    fn launch(&self, number: usize, through: usize) -> Node {
        let mut command = antiphon(&["node", "--json", "--no-discovery", "--data"]);
        command.arg(self.data(number));
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--network", &self.network]);
        command.env("XDG_RUNTIME_DIR", self.runtime_directory());
        if let Some(first) = self.nodes.get(through).filter(|_| through != number) {
            command.args(["--bootstrap", &first.address]);
        }
        if let Some(library) = &self.clocks {
            if !self.clock(number).exists() {
                self.set_clock(number, 0);
            }
            command.env("LD_PRELOAD", library).env("TEST_CLOCK_AHEAD", self.clock(number));
        }
        let mut process = Process::start(command, &self.log(number));
        let (peer, address) = process.ready();
        Node { peer, address, process: Some(process) }
    }

    fn log(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node-{number}.log"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for number in 0..self.nodes.len() {
                let log = fs_err::read_to_string(self.log(number)).unwrap_or_default();
                #[expect(clippy::print_stderr, reason = "a failed test shows the nodes' logs")]
                {
                    eprintln!("--- node {number}\n{log}");
                }
            }
        }
        // Before the directory, so that no node writes to it while it is removed.
        self.nodes.clear();
    }
}
