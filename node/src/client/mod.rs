//! The client: creates topics, publishes, reads, subscribes.
//!
//! A client talks to one node, which does the rest: it finds the replicas of a topic, waits until
//! they have flushed a record, and fetches what it lacks. When the node fails, the client goes on
//! at another one that it was given, or that its node named. Records keep their ids over such a
//! retry, so nodes and readers recognise a second copy.
//!
//! - [`Client`] has what concerns the network: topics, nodes, named subscriptions.
//! - [`Topic`] has what concerns one topic, and is where most programs go on:
//!   [`publish`](Topic::publish), [`fetch`](Topic::fetch), [`subscribe`](Topic::subscribe),
//!   [`subscribe_as`](Topic::subscribe_as).
//! - [`Member`] shares the records of a topic with others.
//! - [`PatternReader`] reads all topics whose names match a pattern.

mod checked;
mod connection;
mod copying;
mod group;
mod info;
mod name;
mod operator;
mod outbox;
mod pattern;
mod protocol;
mod publisher;
mod reader;
mod refusal;
mod roster;
mod subscriber;
mod subscription;
mod terms;
mod topic;

use std::{fmt, sync::Arc, time::Duration};

pub use antiphon::{
    model::{
        Hash, Incarnation, NetworkNameError, NodeIdError, Position, RecordIdError, TopicId,
        TopicPatternError,
    },
    wire::{Acks, LogRange, PendingTopic},
};
use antiphon::{
    model::{Network, NodeId, TopicName},
    wire::{ClientRequest, Read, Request, Response},
};
use checked::CheckedLink;
pub use connection::{Connection, ConnectionState};
use futures::{FutureExt, future::BoxFuture};
pub use group::{GroupCounts, GroupOptions, Member, Work};
pub use info::{NodeInfo, NodeState, Replica, TopicInfo, TopicSummary};
use libp2p::Multiaddr;
use name::named;
pub use name::{NameError, ToSubscriberName, ToTopicName, ToTopicPattern};
pub use operator::{Operator, Remaining};
pub use outbox::Outbox;
pub use pattern::PatternReader;
pub use publisher::{
    Delivery, IN_FLIGHT_DEFAULT, Pending, PublishError, PublishOptions, Publisher, Receipt,
};
pub use reader::{
    BatchPage, BatchReader, Delivered, End, PassedOver, Reader, ReaderOptions, Start,
};
pub use refusal::{Refusal, Right};
pub use subscriber::{
    Acknowledgement, COMMIT_INTERVAL_DEFAULT, COMMIT_RECORDS_MAX, NextError, Subscriber,
};
pub use subscription::SubscriptionInfo;
pub use terms::{Created, Retention, TopicChanges, TopicOptions};
use thiserror::Error;
pub use topic::Topic;

use crate::{membership::Membership, operator::OperatorKey};

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
        Connection::stopped()
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

/// Why a request got no answer. The node may have carried it out all the same, except where the
/// error is [`NotSent`](Self::NotSent).
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
    /// The node gave records of a writer that may not write to the topic. It may have been changed
    /// by somebody. None of its answer was used.
    #[error("the node gave records of {writer}, which may not write to `{topic}`")]
    ForeignWriter {
        /// Who signed the records.
        writer: NodeId,
        /// The topic.
        topic: String,
    },
    /// The node's answer was not understood.
    #[error("the node's answer was not understood: {0}")]
    Malformed(String),
}

/// Why a request failed, and whether it may have changed something.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A text that the program gave is no name or pattern. Nothing was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The node refused the request. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There was no answer. The node may have carried the request out, unless this is
    /// [`LinkError::NotSent`].
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The node's answer does not fit the request. It may have carried the request out.
    #[error("the node answered something else than was asked")]
    Mismatch,
}

/// A connection to the network through one node at a time. Cloning it is cheap; clones share the
/// connection.
///
/// [`Client::connect`] makes one, and so does [`Node::client`](crate::Node::client).
/// [`Client::topic`] is the way to a topic. [`RequestError`] says of each failure whether the
/// request may have changed something.
///
/// Dropping the last clone of a client that [connected](Self::connect) closes the connection.
#[derive(Debug, Clone)]
pub struct Client {
    link: Arc<dyn Link>,
    timeout: Duration,
}

/// Time for a request if the program sets none: 10 seconds.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

impl Client {
    pub(crate) fn over(link: Arc<dyn Link>) -> Self {
        Self { link, timeout: REQUEST_TIMEOUT_DEFAULT }
    }

    /// The same connection with another time for each request. After that time a request fails
    /// with [`LinkError`]. Publishing has a time of its own: [`PublishOptions::timeout`].
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
    /// When the text is no name of a topic ([`TopicName`]):
    ///
    /// - it is empty, or has more than 255 bytes;
    /// - it has control characters;
    /// - one of the parts between its dots is `*` or `>`;
    /// - it begins with `_antiphon.`.
    pub fn topic(&self, name: impl ToTopicName) -> Result<Topic, NameError> {
        Ok(Topic::new(self.clone(), named(name)?))
    }

    /// Deletes a topic with its records and subscriptions. This cannot be undone. Nodes that are
    /// away do the same when they are back. The name can be used again, for another topic.
    ///
    /// Dropped before it returns, or failed without an answer, the topic may be deleted or not.
    /// Repeating it is safe.
    ///
    /// # Errors
    /// When the topic does not exist, this client may not delete it ([`Refusal::NotAllowed`]), the
    /// node may not change it, or no node can be reached.
    pub async fn delete(&self, topic: impl ToTopicName) -> Result<(), RequestError> {
        match self.ask(ClientRequest::Delete(named(topic)?)).await? {
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

    /// The nodes that the client's node knows, itself first.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, RequestError> {
        Ok(self.peers().await?.into_iter().map(NodeInfo::from).collect())
    }

    /// Starts publishing to a topic; [`Topic::publisher`] does the same.
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

    /// Starts reading all topics whose names match a pattern, at most 16,384 of them. Cancel-safe.
    ///
    /// In a pattern the part `*` stands for one part of a name. `>` at the end stands for the rest,
    /// which is one part or more: `sensors.*.cellar`, `sensors.>`.
    ///
    /// The options hold for each topic: [`Start::Last`] counts records of each one. A reader with
    /// [`End::Never`] also reads topics that are created later, from their beginning.
    ///
    /// # Errors
    /// When one of these holds:
    ///
    /// - the text is no pattern;
    /// - too many topics match ([`Refusal::TooManyTopics`]);
    /// - the options start or end at a cursor, which is a place in one topic
    ///   ([`Refusal::Invalid`]);
    /// - no node can be reached.
    pub async fn pattern_reader(
        &self,
        pattern: impl ToTopicPattern,
        options: ReaderOptions,
    ) -> Result<PatternReader, RequestError> {
        PatternReader::start(self.clone(), named(pattern)?, options).await
    }

    /// Starts a named subscription, or continues it at its committed position.
    /// [`ReaderOptions::start`] counts only if the name is new.
    ///
    /// The subscription commits only when the program calls [`Subscriber::commit`]. With
    /// [`Subscriber::commit_every`] it commits in the background; [`Topic::subscribe_as`] does that
    /// once a second.
    ///
    /// Dropped before it returns, the name may exist already, and stands at the start.
    ///
    /// # Errors
    /// When one of these holds:
    ///
    /// - the topic does not exist, or the text is no name;
    /// - the name belongs to a group ([`Refusal::Group`]);
    /// - a cursor in the options belongs to another topic;
    /// - the name may be new, and too few replicas answer to be sure ([`Refusal::Away`]);
    /// - no replica can be reached.
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

/// How a client finds its node: [`Client::connect`] takes it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The network of the node.
    pub network: Network,
    /// Nodes to try, in order, each with its peer id at the end: `/ip4/…/tcp/…/p2p/…`. If this is
    /// empty, the client tries the nodes that run on this machine, then those that mDNS finds on
    /// the LAN. Once connected, the client also knows the nodes that its node knows. While none
    /// answers, it tries all of them again and again.
    pub nodes: Vec<Multiaddr>,
    /// Time to find a node and connect to it; the node may be started meanwhile. None means
    /// [`REQUEST_TIMEOUT_DEFAULT`], 10 seconds. Each later request has the same time, unless
    /// [`Client::with_timeout`] sets another.
    pub timeout: Option<Duration>,
    /// The key of a node's operator. With it the client may alter and delete topics, and be that
    /// node's [`Operator`]. Nodes with another operator take it for any client.
    pub operator_key: Option<OperatorKey>,
    /// Who the client is in a closed network. Without it, in a closed network, a client reaches the
    /// nodes of its own user on this machine, as their operator.
    ///
    /// If the membership ends within [two weeks](crate::membership::RENEWED_BEFORE), the client
    /// asks its node for a later pass when it has connected. It keeps that in the directory of the
    /// membership.
    pub membership: Option<Membership>,
}

impl ClientConfig {
    /// The defaults: a node of the network `default` on this machine, or else on the LAN.
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

    /// The same options with another [`operator_key`](field@Self::operator_key).
    #[must_use]
    pub fn operator_key(self, key: OperatorKey) -> Self {
        Self { operator_key: Some(key), ..self }
    }

    /// The same options with another [`membership`](field@Self::membership), and its network.
    #[must_use]
    pub fn membership(self, membership: Membership) -> Self {
        Self { network: membership.network().clone(), membership: Some(membership), ..self }
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
    /// None of the nodes answers. There is one line for each, with the reason.
    #[error("no node answers: {}", .0.join("; "))]
    Unreachable(Vec<String>),
}

impl Client {
    /// Connects to a node. Cancel-safe.
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
    /// When no node is found, none answers within [`ClientConfig::timeout`], or an address lacks
    /// its peer id.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        connect(config).await
    }
}

/// The code of a connection is compiled here and not in each program that connects: this function
/// is not asynchronous, and not generic.
fn connect(config: ClientConfig) -> BoxFuture<'static, Result<Client, ConnectError>> {
    async move {
        let timeout = config.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT);
        let link: Arc<dyn Link> = Arc::new(crate::network::RemoteLink::connect(&config).await?);
        // An operator's client asks its own node, which checks what others give it.
        let member = config.membership.as_ref().filter(|_| config.operator_key.is_none());
        let link = match member {
            Some(member) => Arc::new(CheckedLink::over(link, member.kept())),
            None => link,
        };
        let client = Client { link, timeout };
        if let Some(member) = config.membership.filter(Membership::ends_soon) {
            member.renew(&client).await;
        }
        Ok(client)
    }
    .boxed()
}
