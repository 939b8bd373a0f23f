//! The client: creates topics, publishes, reads, subscribes.
//!
//! A client talks to one node, which does the rest: it finds the replicas, waits for their
//! receipts and fills gaps. When the node fails, the client goes on at another one that it was
//! given, or that its node named. Records keep their ids over such a retry, so nodes and readers
//! recognise a second copy.
//!
//! [`Client`] has what concerns the network. [`Topic`] has what concerns one topic, and is where
//! most programs go on: [`publish`](Topic::publish), [`fetch`](Topic::fetch),
//! [`subscribe`](Topic::subscribe), [`subscribe_as`](Topic::subscribe_as). [`Member`] shares the
//! records of a topic with others.

mod connection;
mod copying;
mod group;
mod info;
mod name;
mod outbox;
mod pattern;
mod protocol;
mod publisher;
mod reader;
mod refusal;
mod subscriber;
mod subscription;
mod terms;
mod topic;

use std::{fmt, sync::Arc, time::Duration};

pub use antiphon::wire::{Acks, LogRange, PendingTopic};
use antiphon::{
    model::{Network, TopicName},
    wire::{ClientRequest, Read, Request, Response},
};
pub use connection::{Connection, ConnectionState};
use futures::{FutureExt, future::BoxFuture};
pub use group::{GroupCounts, GroupOptions, Member, Work};
pub use info::{NodeInfo, NodeState, Replica, TopicInfo, TopicSummary};
use libp2p::Multiaddr;
use name::named;
pub use name::{NameError, ToSubscriberName, ToTopicName, ToTopicPattern};
pub use outbox::Outbox;
pub use pattern::PatternReader;
pub use publisher::{
    Delivery, IN_FLIGHT_DEFAULT, Pending, PublishError, PublishOptions, Publisher, Receipt,
};
pub use reader::{
    BatchPage, BatchReader, Delivered, End, PassedOver, Reader, ReaderOptions, Start,
};
pub use refusal::Refusal;
pub use subscriber::{
    Acknowledgement, COMMIT_INTERVAL_DEFAULT, COMMIT_RECORDS_MAX, NextError, Subscriber,
};
pub use terms::{Created, Retention, TopicChanges, TopicOptions};
use thiserror::Error;
pub use topic::Topic;

/// How requests reach a node: over the network, or within this process.
pub(crate) trait Link: Send + Sync + fmt::Debug {
    /// Sends a request and waits for its answer, at most `timeout`.
    ///
    /// Dropping the future gives up the answer; whether the request is carried out is then not
    /// known.
    fn ask(
        &self,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, LinkError>>;

    /// Whether there is a node at present.
    fn connection(&self) -> Connection {
        Connection::default()
    }
}

/// How much longer than its time a request's answer is waited for, where a node has the request and
/// gives signs of life. A publish whose time is over is about to be answered: it is pending.
pub(crate) fn answer_grace(request: &Request) -> Duration {
    match request {
        Request::Client(ClientRequest::Publish(_)) => PUBLISH_ANSWER_GRACE,
        _ => Duration::ZERO,
    }
}

/// A node that was asked last had at least a second for the copies; as much again for its answer.
const PUBLISH_ANSWER_GRACE: Duration = Duration::from_secs(2);

/// Why a request got no answer. It may have been carried out, unless the error says that it was
/// not.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The request was sent to no node, so nothing was carried out.
    #[error("{0}")]
    NotSent(String),
    /// None of the nodes answered: a connection broke, or could not be opened.
    #[error("no node could be reached: {0}")]
    Unreachable(String),
    /// The node did not answer in time.
    #[error("the node did not answer within {0:?}")]
    TimedOut(Duration),
    /// The node's answer was not understood.
    #[error("the node's answer was not understood: {0}")]
    Malformed(String),
}

/// Why a request was not carried out.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A text in the request is no name. Nothing was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The node refused it; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There was no answer; the error says whether the request may have been carried out.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The node answered something else than was asked.
    #[error("the node answered something else than was asked")]
    Mismatch,
}

/// A connection to the network through one node at a time. Cloning it is cheap; clones share the
/// connection.
///
/// Dropping the last clone of a client that [connected](Self::connect) closes the connection.
#[derive(Debug, Clone)]
pub struct Client {
    link: Arc<dyn Link>,
    timeout: Duration,
}

/// Time for a request, where the program names none: 10 seconds.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

impl Client {
    pub(crate) fn over(link: Arc<dyn Link>) -> Self {
        Self { link, timeout: REQUEST_TIMEOUT_DEFAULT }
    }

    /// The same connection with another time for each request. Publishing has its own:
    /// [`PublishOptions::timeout`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether the client has a node at present, and how that changes: for programs that tell their
    /// users. The client looks for nodes by itself.
    ///
    /// ```
    /// use antiphon_node::client::ConnectionState;
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let client = node.client();
    /// let mut connection = client.connection();
    /// assert_eq!(connection.state(), ConnectionState::Connected(node.id()));
    /// # node.stop().await?;
    /// assert_eq!(connection.changed().await, Some(ConnectionState::Stopped));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection(&self) -> Connection {
        self.link.connection()
    }

    /// A handle of one topic, which need not exist yet. Asks no node.
    ///
    /// ```
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let client = node.client();
    /// let quakes = client.topic("quakes")?;
    /// assert_eq!(quakes.name().as_str(), "quakes");
    /// let wrong = client.topic("").unwrap_err();
    /// assert_eq!(wrong.to_string(), "the name is empty");
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the text is no name of a topic: it is empty, has more than 255 bytes or control
    /// characters, has a part `*` or `>`, or begins with `_antiphon.`.
    pub fn topic(&self, name: impl ToTopicName) -> Result<Topic, NameError> {
        Ok(Topic::new(self.clone(), named(name)?))
    }

    /// Deletes a topic with its records and subscriptions. Nodes that are away do so when they are
    /// back. The name can be used again, for another topic.
    ///
    /// Safe to repeat. Dropped before it returns, the topic is deleted or not.
    ///
    /// # Errors
    /// When the topic does not exist, the node may not change it, or no node can be reached.
    pub async fn delete(&self, topic: &TopicName) -> Result<(), RequestError> {
        match self.ask(ClientRequest::Delete(topic.clone())).await? {
            Response::Deleted => Ok(()),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// All topics of the network, in order of their names.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>, RequestError> {
        let summaries = self.summaries().await?;
        Ok(summaries.into_iter().map(TopicSummary::from).collect())
    }

    /// The nodes that the asked node knows, itself first.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, RequestError> {
        Ok(self.peers().await?.into_iter().map(NodeInfo::from).collect())
    }

    /// Starts publishing to a topic; [`Topic::publisher`] does the same. Asks no node yet, and
    /// starts a task that ends with the publisher.
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn publisher(&self, topic: TopicName, options: PublishOptions) -> Publisher {
        Publisher::start(self.clone(), topic, options)
    }

    /// Starts reading a topic; [`Topic::read`] does the same. Cancel-safe.
    ///
    /// # Errors
    /// When the topic does not exist, a cursor belongs to another topic, or no node can be reached.
    pub async fn reader(
        &self,
        topic: impl ToTopicName,
        options: ReaderOptions,
    ) -> Result<Reader, RequestError> {
        Reader::start(self.clone(), named(topic)?, options).await
    }

    /// Starts reading all topics whose names match a pattern, at most 16,384 of them. A reader
    /// without an end also reads topics that are created later. Cancel-safe.
    ///
    /// In a pattern the part `*` stands for one part of a name, and `>` at the end for the rest:
    /// `sensors.*.cellar`, `sensors.>`.
    ///
    /// # Errors
    /// When too many topics match, a place is a cursor, or no node can be reached.
    pub async fn pattern_reader(
        &self,
        pattern: impl ToTopicPattern,
        options: ReaderOptions,
    ) -> Result<PatternReader, RequestError> {
        PatternReader::start(self.clone(), named(pattern)?, options).await
    }

    /// Starts a named subscription, or continues it where it stands. It commits only when the
    /// program says so, unless it is told to [commit in the background](Subscriber::commit_every).
    ///
    /// # Errors
    /// When the topic does not exist, the name belongs to a group, or too few replicas answer.
    pub async fn subscriber(
        &self,
        topic: impl ToTopicName,
        name: impl ToSubscriberName,
        options: ReaderOptions,
    ) -> Result<Subscriber, RequestError> {
        Subscriber::start(self.clone(), named(topic)?, named(name)?, options).await
    }

    async fn ask(&self, request: impl Into<Request>) -> Result<Response, RequestError> {
        self.ask_within(request, self.timeout).await
    }

    async fn ask_within(
        &self,
        request: impl Into<Request>,
        timeout: Duration,
    ) -> Result<Response, RequestError> {
        match self.link.ask(request.into(), timeout).await? {
            Response::Refused(refusal) => Err(Refusal::from(refusal).into()),
            response => Ok(response),
        }
    }

    async fn read_page(&self, read: Read) -> Result<antiphon::wire::Page, RequestError> {
        let timeout = self.timeout + Duration::from_millis(u64::from(read.wait_ms));
        match self.ask_within(ClientRequest::Read(read), timeout).await? {
            Response::Page(page) => Ok(page),
            _ => Err(RequestError::Mismatch),
        }
    }
}

/// How a client finds its node.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The network.
    pub network: Network,
    /// Nodes to try, in order, each with its peer id at the end: `/ip4/…/tcp/…/p2p/…`. By default
    /// the nodes that run on this machine, then those that mDNS finds on the LAN. Once connected,
    /// the client also knows the nodes that its node knows. While none answers, it tries all of
    /// them again and again.
    pub nodes: Vec<Multiaddr>,
    /// Time to find a node and connect to it; the node may be started meanwhile. By default
    /// [`REQUEST_TIMEOUT_DEFAULT`]. Later requests have the same time.
    pub timeout: Option<Duration>,
}

impl ClientConfig {
    /// The nearest node of the default network.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same options with another [`network`](field@Self::network).
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// The same options with another [`nodes`](field@Self::nodes).
    #[must_use]
    pub fn nodes(self, nodes: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { nodes: nodes.into_iter().collect(), ..self }
    }

    /// The same options with another [`timeout`](field@Self::timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

/// Why a client did not connect.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No node was named, none runs on this machine, and mDNS found none.
    #[error("no node of network `{network}` was found on this machine or on the LAN")]
    NoNode {
        /// The network.
        network: String,
        /// The directories of this machine where nodes enter themselves, each with the reason why
        /// it was left out, if it was.
        looked_in: Vec<String>,
    },
    /// A node address lacks the peer id.
    #[error("the node address {0} lacks the peer id (`/p2p/…`)")]
    WithoutPeer(Multiaddr),
    /// None of the nodes answers: one line for each.
    #[error("no node answers: {}", .0.join("; "))]
    Unreachable(Vec<String>),
}

impl Client {
    /// Connects to a node.
    ///
    /// ```
    /// use antiphon_node::{Client, ClientConfig};
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let nodes = node.addresses();
    /// // With no nodes named: one of this machine, or of the LAN.
    /// let client = Client::connect(ClientConfig::new().nodes(nodes)).await?;
    /// for topic in client.topics().await? {
    ///     println!("{}: {} records", topic.name, topic.records);
    /// }
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When none is found or none answers in time.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        connect(config).await
    }
}

/// The code of a connection is compiled here and not in each program that connects: this function
/// is not asynchronous, and not generic.
fn connect(config: ClientConfig) -> BoxFuture<'static, Result<Client, ConnectError>> {
    async move {
        let timeout = config.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT);
        let link = crate::network::RemoteLink::connect(&config).await?;
        Ok(Client { link: Arc::new(link), timeout })
    }
    .boxed()
}
