//! Where it is measured: nodes of this command's own, or a network that runs already.

use std::time::Duration;

use antiphon::{
    model::{Network, TopicName},
    wire::{Create, MemberState},
};
use antiphon_node::{Client, ClientConfig, Multiaddr};
use anyhow::Context as _;

use super::{
    made::Made,
    usage::{Usage, usage},
};
use crate::{
    arguments::Bench,
    clock,
    cluster::{Cluster, within},
    context::Context,
    exit::Failure,
};

/// Nodes to measure with.
#[derive(Debug)]
pub(super) enum Bed {
    /// Processes of this command.
    Own(Cluster),
    /// A network that others run.
    Running {
        /// Its name.
        network: Network,
        /// The nodes to talk to.
        nodes: Vec<Multiaddr>,
        /// How many of its nodes are alive.
        alive: usize,
        /// The topics that are made there.
        made: Made,
    },
}

impl Bed {
    /// Starts nodes and waits until they know each other.
    pub(super) async fn start(nodes: usize, arguments: &Bench) -> anyhow::Result<Self> {
        let probation = |time: Duration| format!("--probation={}ms", time.as_millis());
        let cluster = Cluster::new("bench")?.closed(arguments.closed);
        let mut cluster = cluster.node_options(arguments.probation.map(probation));
        cluster.start(nodes).await?;
        cluster.all_alive().await?;
        Ok(Self::Own(cluster))
    }

    /// The network that `--node` names.
    pub(super) async fn running(context: &mut Context, made: Made) -> anyhow::Result<Self> {
        let peers = context.client().await?.peers().await?;
        let alive = peers.iter().filter(|peer| peer.state == MemberState::Alive).count();
        let network = context.options.network.clone();
        Ok(Self::Running { network, nodes: context.options.nodes(), alive, made })
    }

    /// The cluster of this command.
    ///
    /// # Errors
    /// When the network is somebody else's: its nodes are neither killed nor measured.
    pub(super) fn own(&mut self, case: &str) -> anyhow::Result<&mut Cluster> {
        match self {
            Self::Own(cluster) => Ok(cluster),
            Self::Running { .. } => {
                let message = format!("`{case}` stops and starts nodes, so it needs its own");
                Err(Failure::usage(message).with_hint("run it without `--node`").into())
            }
        }
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        match self {
            Self::Own(cluster) => cluster.len(),
            Self::Running { alive, .. } => *alive,
        }
    }

    pub(super) fn network(&self) -> &Network {
        match self {
            Self::Own(cluster) => cluster.network(),
            Self::Running { network, .. } => network,
        }
    }

    /// The address of a node; the numbers begin at 1 and go round.
    pub(super) fn address(&self, number: usize) -> &Multiaddr {
        match self {
            Self::Own(cluster) => cluster.address((number - 1) % cluster.len() + 1),
            Self::Running { nodes, .. } => &nodes[(number - 1) % nodes.len()],
        }
    }

    /// A new connection to that node.
    pub(super) async fn client(&self, number: usize) -> anyhow::Result<Client> {
        let nodes = [self.address(number).clone()];
        let config = ClientConfig::new().network(self.network().clone()).nodes(nodes);
        Client::connect(config).await.with_context(|| format!("node {number} cannot be reached"))
    }

    /// A name that no topic has yet, of one that is about to be made.
    pub(super) fn name(&self, purpose: &str) -> anyhow::Result<TopicName> {
        let unique = fastrand::u64(..);
        let name: TopicName = format!("bench-{purpose}-{:x}-{unique:x}", clock::now().0).parse()?;
        if let Self::Running { made, .. } = self {
            made.add(name.clone());
        }
        Ok(name)
    }

    /// Creates a topic with a name that is not there yet, known to all nodes that records are to
    /// go through.
    pub(super) async fn topic(&self, purpose: &str, replicas: u16) -> anyhow::Result<TopicName> {
        let name = self.name(purpose)?;
        self.client(1).await?.create(create(name.clone(), replicas)).await?;
        let known_to = match self {
            Self::Own(cluster) => 1..=cluster.len(),
            Self::Running { nodes, .. } => 1..=nodes.len(),
        };
        for number in known_to {
            let client = self.client(number).await?;
            within(format!("node {number} knows the topic"), async || {
                Ok(client.survey(&name).await.is_ok())
            })
            .await?;
        }
        Ok(name)
    }

    /// What the nodes have used so far; none for those of others.
    pub(super) fn usage(&self) -> Vec<Usage> {
        match self {
            Self::Own(cluster) => {
                let processes = (1..=cluster.len()).filter_map(|number| cluster.process(number));
                processes.filter_map(usage).collect()
            }
            Self::Running { .. } => Vec::new(),
        }
    }

    /// Memory of the node that has most, in MB; none for those of others.
    pub(super) fn memory_megabytes(&self) -> Option<f64> {
        self.usage().iter().map(|usage| usage.memory_megabytes).reduce(f64::max)
    }

    /// Processor time that the nodes use while this command does nothing, in percent of one core:
    /// the sum, and that of the node that uses most.
    pub(super) async fn idle_percent(&self, time: Duration) -> (f64, f64) {
        let before = self.usage();
        tokio::time::sleep(time).await;
        let used = before.iter().zip(self.usage()).map(|(before, after)| {
            after.processor.saturating_sub(before.processor).as_secs_f64() / time.as_secs_f64()
        });
        let used: Vec<f64> = used.map(|share| (share * 1e4).round() / 1e2).collect();
        (used.iter().sum(), used.into_iter().fold(0.0, f64::max))
    }

    /// Ends nodes of this command and waits until they are gone.
    pub(super) async fn stop(&mut self) {
        if let Self::Own(cluster) = self {
            cluster.stop().await;
        }
    }
}

/// A topic with the default floor: with three replicas, two copies are enough.
pub(super) fn create(name: TopicName, replicas: u16) -> Create {
    Create { replicas: Some(replicas), ..Create::new(name) }
}
