//! A node inside a program.

mod closed;
mod port;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use antiphon::{
    engine::{Config, Recovered},
    limits,
    model::{Incarnation, Network, NodeId, NodeKey, Realm, TopicName, roster::Kept},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::{sync::oneshot, task::AbortHandle};
use zeroize::Zeroizing;

pub(crate) use self::closed::{check_may_join, contacts};
use crate::{
    client::{Client, Operator},
    error::{NodeError, StartError},
    network::{Gate, Listen, NetworkError, OperatorPlace, Settings},
    operator::OperatorKey,
    platform::{random_bytes, tasks},
    runtime::{LocalLink, Members, Runtime},
    store::{
        DataDirectory, Life, OperatorKeyFailure, SegmentStore, Store, StoreError, StoreHandle,
        load_key, load_network, load_or_create_key, load_or_create_operator_key, network_path,
    },
};

/// What a node is started with: [`Node::start`] takes it.
///
/// ```
/// use antiphon_node::NodeConfig;
///
/// let address = "/ip4/192.168.1.10/tcp/4001".parse()?;
/// let config = NodeConfig::new("./data").bootstrap([address]).disk_bytes_max(10_000_000_000);
/// # assert_eq!(config.bootstrap.len(), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The directory where the node keeps its topics and its key. It is made if it is missing. Two
    /// nodes never share one.
    pub data: PathBuf,
    /// Where the node listens. If this is empty, it listens on all interfaces, IPv4 and IPv6. It
    /// takes the port of its last run, or a free one.
    pub listen: Vec<Multiaddr>,
    /// Addresses of nodes through which the node joins the network (`/ip4/…/tcp/…/p2p/…`). An
    /// address without a peer id (`/p2p/…`) stands for any node of the network that is there.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether the node creates topics before it has reached any other node. This counts only if
    /// [`NodeConfig::bootstrap`] has addresses. Without it such a node refuses new topics
    /// ([`NotJoined`](crate::Refusal::NotJoined)), because a topic of that name may exist already.
    pub alone: bool,
    /// The network that the node belongs to. Nodes of different networks never join. In a data
    /// directory of a closed network ([`membership`](crate::membership)) it is that one.
    pub network: Network,
    /// Whether the node finds nodes nearby, and is found by them: by mDNS on the LAN, and on this
    /// machine through a directory of the user.
    pub discovery: bool,
    /// Most bytes that its topics may take on the disk. None, the default, means as much as there
    /// is. Before they are used up, the node refuses new records ([`Full`](crate::Refusal::Full)).
    /// It goes on serving what it has. With less than [`NodeConfig::DISK_BYTES_MIN`] it takes no
    /// records.
    pub disk_bytes_max: Option<u64>,
    /// The file with the key of the node's operator ([`OperatorKey`]). It is made if it is missing.
    /// None, the default, means the file `operator` in the data directory. Several nodes may have
    /// one file.
    pub operator_key: Option<PathBuf>,
    /// Whether any client may alter and delete topics through this node, also from other machines.
    /// By default the node's operator and its own program may ([`NotAllowed`]).
    ///
    /// [`NotAllowed`]: crate::Refusal::NotAllowed
    pub open_admin: bool,
    /// For how long another node must have been connected with this one, in all, before this node
    /// deletes a copy on its word, or acknowledges without a copy of its own. 24 hours by default.
    /// With zero every node is believed at once: that is for networks into which nobody else gets.
    pub probation: Duration,
}

impl NodeConfig {
    /// The least [`disk_bytes_max`](field@Self::disk_bytes_max) that leaves room for records: 128
    /// MiB. The node sets a part of that aside for its own work.
    pub const DISK_BYTES_MIN: u64 = crate::store::DISK_BYTES_MIN;

    /// The defaults, with this data directory. The node finds others by itself in the network
    /// `default`, listens on all interfaces, and may fill the disk.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            alone: false,
            network: Network::default(),
            discovery: true,
            disk_bytes_max: None,
            operator_key: None,
            open_admin: false,
            probation: limits::PROBATION_DEFAULT,
        }
    }

    /// A node that listens on this machine alone, at a free port. It looks for no others, and none
    /// finds it. This is for tests, and for programs that are their own network.
    pub fn on_loopback(data: impl Into<PathBuf>) -> Self {
        let address = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::LOCALHOST));
        Self { listen: vec![address.with(Protocol::Tcp(0))], discovery: false, ..Self::new(data) }
    }

    /// The same options with another [`listen`](field@Self::listen).
    #[must_use]
    pub fn listen(self, listen: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { listen: listen.into_iter().collect(), ..self }
    }

    /// The same options with another [`bootstrap`](field@Self::bootstrap).
    #[must_use]
    pub fn bootstrap(self, bootstrap: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { bootstrap: bootstrap.into_iter().collect(), ..self }
    }

    /// The same options with another [`alone`](field@Self::alone).
    #[must_use]
    pub fn alone(self, alone: bool) -> Self {
        Self { alone, ..self }
    }

    /// The same options with another [`network`](field@Self::network).
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// The same options with another [`discovery`](field@Self::discovery).
    #[must_use]
    pub fn discovery(self, discovery: bool) -> Self {
        Self { discovery, ..self }
    }

    /// The same options with another [`disk_bytes_max`](field@Self::disk_bytes_max).
    #[must_use]
    pub fn disk_bytes_max(self, disk_bytes_max: u64) -> Self {
        Self { disk_bytes_max: Some(disk_bytes_max), ..self }
    }

    /// The same options with another [`operator_key`](field@Self::operator_key).
    #[must_use]
    pub fn operator_key(self, file: impl Into<PathBuf>) -> Self {
        Self { operator_key: Some(file.into()), ..self }
    }

    /// The same options with another [`open_admin`](field@Self::open_admin).
    #[must_use]
    pub fn open_admin(self, open_admin: bool) -> Self {
        Self { open_admin, ..self }
    }

    /// The same options with another [`probation`](field@Self::probation).
    #[must_use]
    pub fn probation(self, probation: Duration) -> Self {
        Self { probation, ..self }
    }
}

/// A running node: its task, its data and its place in the network.
///
/// [`Node::client`] is the way to topics. [`Node::stop`] stops the node cleanly.
///
/// **Dropping it** stops it at once, as a crash would. Nothing that was acknowledged is lost, and
/// the other nodes notice within some seconds. Requests of its clients fail from then on, and
/// [`Client::connection`] says that the node has stopped.
///
/// ```
/// use antiphon_node::{Node, NodeConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let data = directory.path();
/// let node = Node::start(NodeConfig::on_loopback(data)).await?;
/// println!("others join by --bootstrap {}", node.addresses()[0]);
/// # let work = async { };
/// tokio::select! {
///     // It has left, or its disk failed.
///     error = node.failed() => return Err(error.into()),
///     () = work => {}
/// }
/// node.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    addresses: Vec<Multiaddr>,
    link: LocalLink,
    stop: Option<oneshot::Sender<()>>,
    /// How the runtime ended, for all who wait for that.
    ended: Shared<BoxFuture<'static, Result<(), NodeError>>>,
    runtime: AbortHandle,
    life: Life,
    /// The lock on the data directory, which ends with the node.
    directory: DataDirectory,
}

/// What was read of a data directory.
struct Opened {
    directory: DataDirectory,
    realm: Realm,
    /// Its closed network; none if it is of an open one.
    kept: Option<Kept>,
    secret: Zeroizing<[u8; 32]>,
    operator: Option<OperatorPlace>,
    store: Arc<dyn Store>,
    recovered: Recovered,
    incarnation: Incarnation,
    life: Life,
    port: u16,
}

impl Node {
    /// Starts a node: opens its data, listens, and begins to join. The node works as soon as this
    /// returns, and finds others meanwhile.
    ///
    /// Dropped before it returns, no node runs. Its directory may stay in use for a moment.
    ///
    /// # Errors
    /// When its data, its key or an address cannot be used. Nothing keeps running then.
    ///
    /// # Panics
    /// When it is polled outside of a tokio runtime, or in one without timers and I/O.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        start(config).await
    }

    async fn start_here(config: NodeConfig) -> Result<Self, StartError> {
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&settings));
        let opened = opened.await.map_err(|error| data_error(&config.data, &error))??;
        let key = NodeKey::from_secret(&opened.secret);
        let id = key.node();
        let stored = &opened.recovered.roster;
        let closed = opened.kept.as_ref().map(|kept| (kept, closed::of_engine(kept, stored)));
        let known = closed
            .as_ref()
            .map(|(kept, closed)| closed::roster_of(kept, stored.iter().chain(&closed.own)));
        let (members, gate) = known.map(Members::closed).unzip();
        let closed = closed.map(|(_, closed)| closed);
        let network = match listen(&config, &opened, gate.as_ref()).await {
            Ok(network) => network,
            Err(error) => {
                // Nothing was written, so the logs go on with the next start.
                let Opened { directory, life, .. } = opened;
                let _ = tokio::task::spawn_blocking(move || life.end(&directory)).await;
                return Err(error);
            }
        };
        let addresses = with_peer(&network.addresses(), id);
        port::remember(&opened.store, &addresses);
        let store =
            StoreHandle::start(opened.store).map_err(|error| data_error(&config.data, &error))?;
        let seed = u64::from_le_bytes(random_bytes());
        let mut engine = Config::new(key, opened.realm, opened.incarnation, seed);
        engine.earlier.clone_from(opened.life.earlier());
        engine.closed = closed;
        engine.open_admin = config.open_admin;
        engine.probation = config.probation;
        let (link, questions) = LocalLink::new(id);
        let members = members.unwrap_or_else(Members::open);
        let runtime = Runtime::new(engine, opened.recovered, (network, members), store, questions);
        let (stop, stopped) = oneshot::channel();
        let task = tasks::spawn("node", runtime.run(stopped));
        let runtime = task.abort_handle();
        let ended = task.map(|outcome| outcome.unwrap_or_else(|error| Err(broken(&error))));
        let ended = ended.boxed().shared();
        tracing::debug!(node = %id, "the node has started");
        let Opened { directory, life, .. } = opened;
        Ok(Self { id, addresses, link, stop: Some(stop), ended, runtime, life, directory })
    }

    /// The id of the node that has this data directory, whether it runs or not.
    ///
    /// # Errors
    /// When there is no key in it, or the key cannot be read.
    pub fn id_of(data: &Path) -> Result<NodeId, StartError> {
        Ok(NodeKey::from_secret(&*load_key(data)?).node())
    }

    /// The node's id, which stays the same over restarts.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where the node listened when it was started, with its peer id at the end of each address.
    /// Addresses that other machines can reach come first, and loopback comes last. Others take
    /// them as [`NodeConfig::bootstrap`], and clients as
    /// [`ClientConfig::nodes`](field@crate::ClientConfig::nodes).
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses.clone()
    }

    /// Where it keeps its data.
    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    /// A client of this node, within the process. It needs no connection, asks no other node, and
    /// is of use until the node ends. Cloning it, or asking for another, is cheap.
    pub fn client(&self) -> Client {
        Client::over(Arc::new(self.link.clone()))
    }

    /// What only an operator may ask of the node: to leave, to declare other nodes lost.
    pub fn operator(&self) -> Operator {
        self.client().operator()
    }

    /// Waits until the node stops by itself. It does so only when something failed, or when it has
    /// [left](NodeError::Left) the network.
    ///
    /// Cancel-safe. Several tasks may await it, also again: each gets the same error.
    pub async fn failed(&self) -> NodeError {
        match self.ended.clone().await {
            Ok(()) => NodeError::Broken("it stopped unasked".into()),
            Err(error) => error,
        }
    }

    /// Stops the node cleanly. It tells the other nodes, for half a second at most, and flushes
    /// what is under way. Requests of its clients that are not answered yet fail.
    ///
    /// Dropped before it returns, the node stops as if it had been dropped.
    ///
    /// # Errors
    /// When the last flush failed, or the node had stopped by itself before. The node has stopped
    /// all the same.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        if let Some(stop) = self.stop.take() {
            // It fails if the node has stopped already; the outcome is below.
            let _ = stop.send(());
        }
        self.ended.clone().await?;
        if let Err(error) = self.life.clone().end(&self.directory) {
            tracing::warn!(%error, "the clean stop was not marked; the next start opens new logs");
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.runtime.abort();
    }
}

/// The code of a node is compiled here and not in each program that starts one: this function is
/// not asynchronous, and not generic.
fn start(config: NodeConfig) -> BoxFuture<'static, Result<Node, StartError>> {
    Node::start_here(config).boxed()
}

fn broken(error: &tokio::task::JoinError) -> NodeError {
    NodeError::Broken(error.to_string())
}

fn data_error(path: &Path, error: &dyn std::fmt::Display) -> StartError {
    StartError::Data { path: path.to_owned(), reason: error.to_string() }
}

/// Opens the data directory, the key and the store. Blocks.
fn open(config: &NodeConfig) -> Result<Opened, StartError> {
    let data = config.data.as_path();
    let directory = DataDirectory::open(data)?;
    let secret = load_or_create_key(&directory)?;
    let operator = open_operator(config, &directory)?;
    let node = NodeKey::from_secret(&secret).node();
    let kept = load_network(directory.path())?;
    let realm = closed::realm_of(config, kept.as_ref(), node)?;
    let catalogue = realm.topic(&TopicName::catalogue());
    if crate::network::runs_here(realm.name(), node) {
        return Err(StartError::Running { path: data.to_owned(), node });
    }
    let in_store = |error: StoreError| match error {
        StoreError::Locked => StartError::DataInUse(data.to_owned()),
        other => data_error(data, &other),
    };
    let store = SegmentStore::open(&directory.store(), catalogue, config.disk_bytes_max)
        .map_err(in_store)?;
    let store = store.with_placed(directory.placed().map_err(|error| data_error(data, &error))?);
    closed::check_network(&store, data, realm.name(), kept.as_ref())?;
    let recovered = store.recover().map_err(in_store)?;
    let port = port::of_last_time(&store).map_err(in_store)?;
    let incarnation = Incarnation(u64::from_le_bytes(random_bytes()));
    let life = Life::begin(&directory, incarnation).map_err(|error| data_error(data, &error))?;
    let store = Arc::new(store);
    Ok(Opened {
        directory,
        realm,
        kept,
        secret,
        operator,
        store,
        recovered,
        incarnation,
        life,
        port,
    })
}

/// Opens the key of the operator. Without room for one, a node runs and nobody operates it from
/// outside.
fn open_operator(
    config: &NodeConfig,
    directory: &DataDirectory,
) -> Result<Option<OperatorPlace>, StartError> {
    let file = config.operator_key.clone().unwrap_or_else(|| directory.operator_key());
    let file = std::path::absolute(&file).unwrap_or(file);
    match load_or_create_operator_key(&file) {
        Ok(secret) => {
            let node = OperatorKey::from_secret(secret).id();
            Ok(Some(OperatorPlace { node, file }))
        }
        Err(OperatorKeyFailure::NotMade(error)) if config.operator_key.is_none() => {
            tracing::warn!(%error, "no key for an operator can be made; nobody can make it leave");
            Ok(None)
        }
        Err(OperatorKeyFailure::NotMade(error)) => {
            Err(StartError::Key { path: file, reason: error.to_string() })
        }
        Err(OperatorKeyFailure::Unusable(reason)) => Err(StartError::Key { path: file, reason }),
    }
}

/// Starts the network: where the configuration says, or at the port of last time, at which the
/// others know this node, or at any.
async fn listen(
    config: &NodeConfig,
    opened: &Opened,
    gate: Option<&Gate>,
) -> Result<crate::network::Network, StartError> {
    let closed = opened.kept.as_ref().map(|kept| closed::way_in(kept, gate));
    let network_file = closed.as_ref().map(|_| network_path(opened.directory.path()));
    let mut bootstrap = config.bootstrap.clone();
    bootstrap.extend(opened.kept.iter().flat_map(contacts));
    let settings = |listen| Settings {
        secret: opened.secret.clone(),
        network: opened.realm.name().clone(),
        listen,
        bootstrap: bootstrap.clone(),
        alone: config.alone,
        discovery: config.discovery,
        runtime_directory: None,
        operator: opened.operator.clone(),
        closed: closed.clone(),
        network_file: network_file.clone(),
    };
    let start_error = |error| match error {
        NetworkError::Listen { address, reason } => StartError::Listen { address, reason },
        NetworkError::Key(reason) => StartError::Key { path: opened.directory.key(), reason },
    };
    if !config.listen.is_empty() {
        let network = crate::network::Network::start(settings(Listen::At(config.listen.clone())));
        return network.await.map_err(start_error);
    }
    if opened.port != 0 {
        match crate::network::Network::start(settings(Listen::Everywhere(opened.port))).await {
            Err(NetworkError::Listen { reason, .. }) => {
                tracing::warn!(
                    "{reason}, where this node listened last time; it takes another one"
                );
            }
            other => return other.map_err(start_error),
        }
    }
    crate::network::Network::start(settings(Listen::Everywhere(0))).await.map_err(start_error)
}

fn with_peer(addresses: &[Multiaddr], id: NodeId) -> Vec<Multiaddr> {
    let peer = libp2p::PeerId::from_bytes(&id.to_peer_id_bytes());
    let peer = peer.expect("a node's name is a peer id");
    addresses.iter().map(|address| address.clone().with(Protocol::P2p(peer))).collect()
}
