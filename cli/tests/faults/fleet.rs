//! Nodes as processes that keep their place: each has its data, its address and its port for good.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use antiphon::{
    model::{Record, TopicName, WallClock},
    wire::{Create, MemberState, Surveyed, TopicSummary},
};
use antiphon_node::{
    Client, ClientConfig, Multiaddr,
    client::{PublishOptions, ReaderOptions},
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{
    cluster::{Process, SOON, antiphon, eventually},
    load::{Arrival, Name, block_on},
    machine::{self, disk::Disk, lan::Lan},
};

/// Time for a node to answer one question of the test.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Lines of a node's log that a failure shows.
const LOG_LINES: usize = 12;

/// A node's place, whether it runs or not.
pub(crate) struct Slot {
    pub(crate) data: PathBuf,
    host: String,
    port: u16,
    /// Its name, once it has run.
    pub(crate) peer: Option<String>,
    process: Option<Process>,
    /// Where it is told to join through; else all nodes of the fleet.
    pub(crate) bootstrap: Option<Vec<String>>,
}

impl Slot {
    /// Its address for others.
    pub(crate) fn address(&self) -> Option<String> {
        let peer = self.peer.as_ref()?;
        Some(format!("/ip4/{}/tcp/{}/p2p/{peer}", self.host, self.port))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }
}

/// The nodes. Everything that was made for them goes when this is dropped.
pub(crate) struct Fleet {
    pub(crate) network: String,
    pub(crate) nodes: Vec<Slot>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) lan: Option<Lan>,
    home: TempDir,
}

impl Fleet {
    /// No node yet.
    pub(crate) fn empty() -> Self {
        let home = machine::home();
        let network = home.path().file_name().and_then(|name| name.to_str());
        let network = network.expect("its name is text").to_owned();
        Self { network, nodes: Vec::new(), disks: Vec::new(), lan: None, home }
    }

    /// Nodes on loopback that know each other.
    pub(crate) fn start(count: usize) -> Self {
        let mut fleet = Self::empty();
        for _ in 0..count {
            fleet.add();
        }
        fleet.wait_until_alive(count);
        fleet
    }

    /// Nodes on loopback, each with a disk of its own.
    pub(crate) fn on_disks(count: usize, mebibytes: u32) -> Result<Self, String> {
        let mut fleet = Self::empty();
        for number in 0..count {
            let disk = Disk::make(fleet.home.path(), number, mebibytes)?;
            let data = disk.path().join("data");
            fleet.disks.push(disk);
            fleet.add_at(data, "127.0.0.1");
        }
        fleet.wait_until_alive(count);
        Ok(fleet)
    }

    /// Nodes on hosts of their own, joined by a switch.
    pub(crate) fn on_lan(count: usize) -> Result<Self, String> {
        let mut fleet = Self::empty();
        let lan = Lan::lay(count)?;
        let addresses: Vec<String> = (0..count).map(|number| lan.address(number)).collect();
        fleet.lan = Some(lan);
        for (number, address) in addresses.iter().enumerate() {
            fleet.add_at(fleet.home.path().join(format!("node-{number}")), address);
        }
        fleet.wait_until_alive(count);
        Ok(fleet)
    }

    /// Starts one more node on loopback; its number.
    pub(crate) fn add(&mut self) -> usize {
        let data = self.home.path().join(format!("node-{}", self.nodes.len()));
        self.add_at(data, "127.0.0.1")
    }

    pub(crate) fn add_at(&mut self, data: PathBuf, host: &str) -> usize {
        let number = self.reserve(data, host);
        self.launch(number).expect("the node starts");
        number
    }

    /// A place for a node that is not started.
    pub(crate) fn reserve(&mut self, data: PathBuf, host: &str) -> usize {
        let (host, port) = (host.to_owned(), free_port());
        self.nodes.push(Slot { data, host, port, peer: None, process: None, bootstrap: None });
        self.nodes.len() - 1
    }

    /// Starts a node with what its data directory holds, or says why it did not start.
    pub(crate) fn launch(&mut self, number: usize) -> Result<(), String> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != number);
        let others = others.filter_map(|(_, slot)| slot.address()).collect();
        let slot = &self.nodes[number];
        assert!(!slot.runs(), "node {number} runs");
        let mut words = vec!["node".to_owned(), "--json".to_owned(), "--no-discovery".to_owned()];
        words.extend(["--network".to_owned(), self.network.clone()]);
        words.extend(["--data".to_owned(), slot.data.display().to_string()]);
        let listen = format!("/ip4/{}/tcp/{}", slot.host, slot.port);
        words.extend(["--listen".to_owned(), listen]);
        for address in slot.bootstrap.clone().unwrap_or(others) {
            words.extend(["--bootstrap".to_owned(), address]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let namespace = self.lan.as_ref().map(|lan| lan.host(number));
        let command = machine::bound(antiphon(&words), namespace.as_deref());
        let said = self.log_bytes(number);
        let mut process = Process::start(command, &self.log_path(number));
        let Some((peer, _)) = process.try_ready() else {
            let log = fs_err::read(self.log_path(number)).unwrap_or_default();
            let new = log.get(usize::try_from(said).unwrap_or(0)..).unwrap_or_default();
            return Err(String::from_utf8_lossy(new).trim().to_owned());
        };
        self.nodes[number].peer = Some(peer);
        self.nodes[number].process = Some(process);
        Ok(())
    }

    fn log_path(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("node-{number}.log"))
    }

    /// Where files of the test may be put.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].process.take().expect("the node runs").kill();
    }

    /// Stops a node with SIGTERM; its exit status.
    pub(crate) fn stop(&mut self, number: usize) -> i32 {
        self.nodes[number].process.take().expect("the node runs").terminate()
    }

    /// Sends a running node a signal.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        self.nodes[number].process.as_ref().expect("the node runs").signal(signal);
    }

    pub(crate) fn pid(&self, number: usize) -> Pid {
        self.nodes[number].process.as_ref().expect("the node runs").pid()
    }

    /// The exit status of a node that has ended by itself, and its last words.
    pub(crate) fn ended(&mut self, number: usize) -> Option<String> {
        let status = self.nodes[number].process.as_mut()?.ended()?;
        self.nodes[number].process = None;
        Some(format!("{status}: {}", self.last_words(number)))
    }

    /// How much a node has logged, in bytes.
    pub(crate) fn log_bytes(&self, number: usize) -> u64 {
        fs_err::metadata(self.log_path(number)).map_or(0, |log| log.len())
    }

    /// The last error or warning in a node's log.
    pub(crate) fn last_words(&self, number: usize) -> String {
        let log = fs_err::read_to_string(self.log_path(number)).unwrap_or_default();
        let telling = |line: &&str| line.contains("error") || line.contains("ERROR");
        let line = log.lines().rev().find(telling).or_else(|| log.lines().last());
        line.unwrap_or_default().to_owned()
    }

    /// The ends of all logs, for a failure.
    pub(crate) fn logs(&self) -> String {
        let end = |number| {
            let log = fs_err::read_to_string(self.log_path(number)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES);
            format!("--- node {number}\n{}", lines[from..].join("\n"))
        };
        (0..self.nodes.len()).map(end).collect::<Vec<_>>().join("\n")
    }

    /// The number of the node with this name.
    pub(crate) fn number(&self, peer: &str) -> Option<usize> {
        self.nodes.iter().position(|slot| slot.peer.as_deref() == Some(peer))
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].runs()).collect()
    }

    /// How a client talks to these nodes, tried in order.
    pub(crate) fn config(&self, numbers: &[usize]) -> ClientConfig {
        let addresses = numbers.iter().filter_map(|number| self.nodes[*number].address());
        let parse = |address: String| address.parse::<Multiaddr>().expect("an address");
        let network = self.network.parse().expect("a network");
        ClientConfig::new().network(network).nodes(addresses.map(parse)).timeout(ANSWER_WITHIN)
    }

    async fn client(&self, number: usize) -> Result<Client, String> {
        Client::connect(self.config(&[number])).await.map_err(|error| error.to_string())
    }

    /// Waits until every running node knows so many that are alive.
    pub(crate) fn wait_until_alive(&self, count: usize) {
        for number in self.running() {
            eventually(&format!("node {number} sees {count} alive"), SOON, || {
                let peers = block_on(async { self.client(number).await.ok()?.peers().await.ok() })?;
                let alive = peers.iter().filter(|peer| peer.state == MemberState::Alive).count();
                (alive == count).then_some(())
            });
        }
    }

    pub(crate) fn create(&self, topic: &TopicName, replicas: u16, min_copies: u16) -> TopicSummary {
        let create = Create {
            replicas: Some(replicas),
            min_copies: Some(min_copies),
            ..Create::new(topic.clone())
        };
        let created = block_on(async {
            let client = self.client(0).await?;
            client.create(create).await.map_err(|error| error.to_string())
        });
        created.expect("the topic is created").0
    }

    /// How a node sees a topic.
    pub(crate) fn survey(&self, number: usize, topic: &TopicName) -> Result<Surveyed, String> {
        block_on(async {
            let client = self.client(number).await?;
            client.survey(topic).await.map_err(|error| error.to_string())
        })
    }

    /// Publishes one record at a node, and at no other.
    pub(crate) fn publish(&self, number: usize, topic: &TopicName) -> Result<(), String> {
        block_on(async {
            let client = self.client(number).await?;
            let mut publisher = client.publisher(topic.clone(), PublishOptions::default());
            let delivery = publisher.publish(&Record::new(WallClock(1), "x")).await;
            let outcome = match delivery {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            outcome.map(|_receipt| ()).map_err(|error| error.to_string())
        })
    }

    /// Runs the command against a node.
    fn say(&self, number: usize, words: &[&str]) -> Result<Output, String> {
        let address = self.nodes[number].address().ok_or("the node has no address")?;
        let mut command = antiphon(words);
        command.args(["--network", &self.network, "--node", &address]);
        command.output().map_err(|error| error.to_string())
    }

    /// What `antiphon topic verify` says of a topic at the end, where it repairs what it finds.
    pub(crate) fn verify(&self, number: usize, topic: &TopicName) -> Result<String, String> {
        let words = ["verify", topic.as_str(), "--repair", "--within", "60s", "--json"];
        let output = self.say(number, &words)?;
        let (said, why) = (output.stdout, output.stderr);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&said)) } else { Err(text(&[said, why].concat())) }
    }

    /// Tells a node that another one, which does not run, will not come back.
    pub(crate) fn forget(&self, number: usize, gone: usize) -> Result<(), String> {
        let peer = self.nodes[gone].peer.as_deref().ok_or("the node never ran")?;
        let output = self.say(number, &["forget", peer, "--yes"])?;
        if output.status.success() { Ok(()) } else { Err(complaint(&output)) }
    }

    /// Lets a node hand over what it holds, and waits until it has ended.
    pub(crate) fn leave(&mut self, number: usize) -> Result<(), String> {
        let output = self.say(number, &["leave", "--yes", "--within", "60s"])?;
        if !output.status.success() {
            return Err(complaint(&output));
        }
        let process = self.nodes[number].process.as_mut().ok_or("the node does not run")?;
        let status = process.wait();
        self.nodes[number].process = None;
        if status == 0 { Ok(()) } else { Err(format!("it ended with {status}")) }
    }

    /// All that a node serves of a topic.
    pub(crate) fn fetch(&self, number: usize, topic: &TopicName) -> Result<Vec<Arrival>, String> {
        block_on(async {
            let client = self.client(number).await?;
            let reader = client.reader(topic.clone(), ReaderOptions::default()).await;
            let mut reader = reader.map_err(|error| error.to_string())?;
            let mut arrivals = Vec::new();
            while let Some(delivered) =
                reader.try_next().await.map_err(|error| error.to_string())?
            {
                let name = Name::of_payload(&delivered.record.payload);
                arrivals.push(Arrival { name, writer: delivered.writer });
            }
            Ok(arrivals)
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows the nodes' logs")]
            {
                eprintln!("{}", self.logs());
            }
        }
        // Before their disks and their directories.
        for slot in &mut self.nodes {
            slot.process = None;
        }
        self.disks.clear();
        self.lan = None;
    }
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address").port()
}

/// Runs a tool; what it said, or why it failed.
pub(crate) fn tool(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {said}", words.join(" ")))
}

/// What a command complained of.
fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
