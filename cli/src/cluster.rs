//! Nodes on this machine for `demo` and `bench`: child processes of this very program, each with
//! its own data, all in one temporary directory. None outlives the command.

mod closed;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use antiphon::{model::Network, wire::MemberState};
use antiphon_node::{Client, ClientConfig, Multiaddr};
use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use self::closed::Closed;
use crate::{clock, exit::Failure};

/// Time for a node to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Time for the cluster to come to a state that it comes to by itself.
const STATE_WITHIN: Duration = Duration::from_mins(1);

/// How often a state that is waited for is asked for.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Lines of each node's log that are shown when the command fails.
const TAIL_LINES: usize = 5;

/// Nodes on this machine, numbered from 1.
#[derive(Debug)]
pub(crate) struct Cluster {
    network: Network,
    /// Before the directory, so that the nodes are gone before their data is.
    nodes: Vec<Process>,
    directory: TempDir,
    /// Options that all its nodes are started with.
    node_options: Vec<String>,
    /// The keys of their network, if it is closed.
    closed: Option<Box<Closed>>,
}

/// A node's process.
#[derive(Debug)]
struct Process {
    peer: String,
    address: Multiaddr,
    child: Child,
    /// Kept open: a node may write to it at any time.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// No nodes yet. They get a network of their own, so that they meet neither other nodes nor
    /// those of another command; `purpose` is part of its name.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Self> {
        let network = format!("{purpose}-{}-{:x}", std::process::id(), clock::now().0).parse()?;
        let prefix = format!("antiphon-{purpose}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let (nodes, node_options) = (Vec::new(), Vec::new());
        Ok(Self { network, nodes, directory, node_options, closed: None })
    }

    /// The same, with nodes that are started with these options.
    pub(crate) fn node_options(self, options: impl IntoIterator<Item = String>) -> Self {
        Self { node_options: options.into_iter().collect(), ..self }
    }

    /// The same, with nodes of a closed network if that is wanted.
    pub(crate) fn closed(self, is_closed: bool) -> Self {
        Self { closed: is_closed.then(|| Box::new(Closed::new())), ..self }
    }

    /// Starts the first node, and then the others, who join through it.
    pub(crate) async fn start(&mut self, count: usize) -> anyhow::Result<()> {
        let first = self.launch(1, None).await?;
        let bootstrap = first.address.clone();
        self.nodes.push(first);
        let others = (2..=count).map(|number| self.launch(number, Some(&bootstrap)));
        let others = futures::future::try_join_all(others).await?;
        self.nodes.extend(others);
        Ok(())
    }

    /// Waits until node 1 finds all nodes alive.
    pub(crate) async fn all_alive(&self) -> anyhow::Result<()> {
        let (client, count) = (self.client(1).await?, self.nodes.len());
        within(format!("all {count} nodes are alive"), async || {
            let peers = client.peers().await?;
            Ok(peers.iter().filter(|peer| peer.state == MemberState::Alive).count() >= count)
        })
        .await
    }

    /// Kills a node as a power cut would: with SIGKILL.
    pub(crate) async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        Ok(self.node_mut(number).child.kill().await?)
    }

    /// Asks a node to end, as an operator would, and waits until it has.
    pub(crate) async fn terminate(&mut self, number: usize) -> anyhow::Result<()> {
        let process = self.process(number).and_then(|process| i32::try_from(process).ok());
        let process = process.and_then(rustix::process::Pid::from_raw);
        let process = process.with_context(|| format!("node {number} has ended"))?;
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        let status = self.node_mut(number).child.wait().await?;
        anyhow::ensure!(status.success(), "node {number} ended with {status}");
        Ok(())
    }

    /// How many nodes were started.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The process id of a node; none when it has ended.
    pub(crate) fn process(&self, number: usize) -> Option<u32> {
        self.nodes[number - 1].child.id()
    }

    /// Starts a killed node with the data that it left, to join through another one.
    pub(crate) async fn restart(&mut self, number: usize, through: usize) -> anyhow::Result<()> {
        let bootstrap = self.address(through).clone();
        *self.node_mut(number) = self.launch(number, Some(&bootstrap)).await?;
        Ok(())
    }

    /// Ends all nodes and waits until they are gone.
    pub(crate) async fn stop(&mut self) {
        for node in &mut self.nodes {
            // One that is gone already cannot be killed, which is as well.
            let _ = node.child.kill().await;
        }
        self.nodes.clear();
    }

    /// The network of these nodes alone.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Where a node listens, with its peer id.
    pub(crate) fn address(&self, number: usize) -> &Multiaddr {
        &self.nodes[number - 1].address
    }

    /// A node's name.
    pub(crate) fn peer(&self, number: usize) -> &str {
        &self.nodes[number - 1].peer
    }

    /// The number of the node with this name.
    pub(crate) fn number(&self, peer: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.peer == peer).map(|index| index + 1)
    }

    /// A connection to one node and no other.
    pub(crate) async fn client(&self, number: usize) -> anyhow::Result<Client> {
        let nodes = [self.address(number).clone()];
        let config = ClientConfig::new().network(self.network.clone()).nodes(nodes);
        let client = Client::connect(config).await;
        client.with_context(|| format!("node {number} cannot be reached"))
    }

    /// The ends of the nodes' logs.
    pub(crate) fn tails(&self) -> String {
        let mut text = String::from("what the nodes said last:");
        for number in 1..=self.nodes.len() {
            let log = fs_err::read_to_string(self.log(number)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
                let _ = write!(text, "\n  node {number}: {line}");
            }
        }
        text
    }

    fn node_mut(&mut self, number: usize) -> &mut Process {
        &mut self.nodes[number - 1]
    }

    fn data(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node-{number}"))
    }

    fn log(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node-{number}.log"))
    }

    async fn launch(
        &self,
        number: usize,
        bootstrap: Option<&Multiaddr>,
    ) -> anyhow::Result<Process> {
        let data = self.data(number);
        if let Some(closed) = &self.closed {
            closed.admit(&self.network, &self.data(1), &data)?;
        }
        let log = fs_err::OpenOptions::new().create(true).append(true).open(self.log(number))?;
        let mut command = node_command(&self.network, &data)?;
        command.args(&self.node_options);
        if let Some(bootstrap) = bootstrap {
            command.args(["--bootstrap", &bootstrap.to_string()]);
        }
        let mut child = command.stderr(log.into_file()).spawn()?;
        let output = child.stdout.take().expect("the output is piped");
        let mut output = BufReader::new(output).lines();
        let ready = tokio::time::timeout(READY_WITHIN, ready(&mut output)).await;
        let (peer, address) = ready
            .map_err(|_elapsed| Failure::failed(format!("not ready within {READY_WITHIN:?}")))
            .and_then(|ready| ready)
            .with_context(|| format!("node {number} did not start"))?;
        Ok(Process { peer, address, child, _output: output })
    }
}

fn node_command(network: &Network, data: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["node", "--json", "--no-discovery", "--listen", "/ip4/127.0.0.1/tcp/0"])
        .args(["--network", network.as_str(), "--data"])
        .arg(data)
        .env_remove("ANTIPHON_NODE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C at the terminal is for the command, which then ends its nodes.
        .process_group(0);
    Ok(command)
}

/// Reads what a node says until it is ready: its name and its first address.
async fn ready(output: &mut Lines<BufReader<ChildStdout>>) -> Result<(String, Multiaddr), Failure> {
    let mut address = None;
    while let Ok(Some(line)) = output.next_line().await {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        match said["event"].as_str() {
            Some("listening") => {
                let text = said["address"].as_str().unwrap_or_default();
                address = address.or_else(|| text.parse().ok());
            }
            Some("ready") => {
                let peer = said["peer"].as_str().unwrap_or_default().to_owned();
                let address = address.ok_or_else(|| Failure::failed("it listens nowhere"))?;
                return Ok((peer, address));
            }
            _ => {}
        }
    }
    Err(Failure::failed("it ended before it was ready"))
}

/// Asks again and again until a state is reached.
pub(crate) async fn within(
    state: String,
    reached: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asking = async {
        while !reached().await? {
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    };
    tokio::time::timeout(STATE_WITHIN, asking)
        .await
        .with_context(|| format!("it did not happen within {STATE_WITHIN:?} that {state}"))?
}
