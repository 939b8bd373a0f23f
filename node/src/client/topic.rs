//! A handle of one topic.

use std::sync::Arc;

use antiphon::model::{Record, TopicName};
use tokio::sync::Mutex;

use super::{
    COMMIT_INTERVAL_DEFAULT, Client, Created, End, PublishError, PublishOptions, Publisher, Reader,
    ReaderOptions, Receipt, RequestError, Start, Subscriber, ToSubscriberName, TopicChanges,
    TopicInfo, TopicOptions, TopicSummary,
};

/// A handle of one topic, which [`Client::topic`] makes. The topic need not exist yet.
///
/// Cloning it is cheap, and clones share the connection. They also share one [`Publisher`], which
/// the first [`publish`](Self::publish) starts. What is not here is a method of [`Client`], which
/// takes the name: groups, positions of named subscriptions, patterns.
///
/// ```
/// use antiphon_node::client::Start;
/// use futures::TryStreamExt;
///
/// # use antiphon_node::{Node, NodeConfig};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
/// # let client = node.client();
/// let quakes = client.topic("quakes")?;
/// quakes.create_if_missing().await?;
/// quakes.publish("M 5.3, 50km NNW of Sangiang").await?;
///
/// let stored: Vec<_> = quakes.fetch(Start::Beginning).await?.try_collect().await?;
/// assert_eq!(stored[0].record.payload, "M 5.3, 50km NNW of Sangiang");
/// # Ok(node.stop().await?)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Topic {
    client: Client,
    name: TopicName,
    /// What single records go through, from the first one on. Held while a record is queued, so
    /// that clones keep their order.
    publisher: Arc<Mutex<Option<Publisher>>>,
}

impl Topic {
    pub(super) fn new(client: Client, name: TopicName) -> Self {
        Self { client, name, publisher: Arc::default() }
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// The client that this is a handle of.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates the topic with the default terms: three replicas that keep all records.
    /// [`create_with`](Self::create_with) sets others.
    ///
    /// Dropped before it returns, or failed without an answer, the topic may exist or not.
    ///
    /// # Errors
    /// When the topic exists already ([`Refusal::TopicExists`](super::Refusal::TopicExists)), the
    /// node refuses for another reason, or no node can be reached.
    pub async fn create(&self) -> Result<Created, RequestError> {
        self.create_with(TopicOptions::new()).await
    }

    /// Creates the topic as [`create`](Self::create) does, unless it exists already. A topic that
    /// exists keeps its terms, and [`Created::is_new`] is false.
    ///
    /// Many programs may do this at the same time. Repeating it is safe.
    ///
    /// # Errors
    /// When the node refuses, or no node can be reached.
    pub async fn create_if_missing(&self) -> Result<Created, RequestError> {
        self.create_with(TopicOptions::new().if_missing()).await
    }

    /// Creates the topic with these terms.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use antiphon_node::client::TopicOptions;
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let client = node.client();
    /// let week = client.topic("quakes.week")?;
    /// let options = TopicOptions::new().replicas(5).max_age(Duration::from_hours(7 * 24));
    /// let created = week.create_with(options.if_missing()).await?;
    /// assert!(created.is_new);
    /// assert_eq!(created.topic.replicas, 5);
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create). Also when a term is out of bounds:
    /// [`Refusal::Copies`](super::Refusal::Copies) for replicas and `min_copies`,
    /// [`Refusal::Invalid`](super::Refusal::Invalid) for the others.
    pub async fn create_with(&self, options: TopicOptions) -> Result<Created, RequestError> {
        let (topic, existed) = self.client.create(options.into_request(self.name.clone())).await?;
        Ok(Created { topic: topic.into(), is_new: !existed })
    }

    /// Changes the topic's terms, and returns the topic with its new terms. Records that a new
    /// limit excludes are deleted within seconds.
    ///
    /// Dropped before it returns, or failed without an answer, the terms may have changed or not.
    /// Repeating it is safe.
    ///
    /// # Errors
    /// When the topic does not exist, a term is out of bounds, or no node can be reached.
    pub async fn alter(&self, changes: TopicChanges) -> Result<TopicSummary, RequestError> {
        let summary = self.client.alter(changes.into_request(self.name.clone())?).await?;
        Ok(summary.into())
    }

    /// Deletes the topic with its records and subscriptions. This cannot be undone; see
    /// [`Client::delete`].
    ///
    /// # Errors
    /// As [`Client::delete`].
    pub async fn delete(&self) -> Result<(), RequestError> {
        self.client.delete(&self.name).await
    }

    /// The topic's terms, where it starts and ends, and which nodes hold it. Cancel-safe.
    ///
    /// # Errors
    /// When it does not exist or no node can be reached.
    pub async fn info(&self) -> Result<TopicInfo, RequestError> {
        Ok(self.client.survey(&self.name).await?.into())
    }

    /// Publishes a record, and waits until it is acknowledged. Then a majority of the topic's live
    /// replicas, and at least `min_copies` of them, have it flushed to their disks.
    ///
    /// If too few replicas confirm within 10 seconds, the error is
    /// [`Pending`](PublishError::Pending). The record is then stored and will be delivered, and the
    /// error is a handle to wait on. Do not publish it again.
    ///
    /// This handle and its clones send records in the order in which the futures are first polled.
    /// A record that fails does not stop those behind it. While 8,192 records are under way
    /// ([`IN_FLIGHT_DEFAULT`](super::IN_FLIGHT_DEFAULT)), further ones wait.
    ///
    /// Records that are under way at the same time, by this handle or its clones, go out together.
    /// Many of them take little longer than one. So a program with many records publishes them at
    /// the same time, as below. Or it takes a [`publisher`](Self::publisher) and awaits the
    /// deliveries later.
    ///
    /// ```
    /// use antiphon_node::Record;
    /// use futures::{StreamExt, TryStreamExt, stream};
    ///
    /// # use antiphon_node::{Node, NodeConfig, client::PublishError};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let topic = node.client().topic("quakes")?;
    /// # topic.create().await?;
    /// let record = Record::from("M 5.3, 50km NNW of Sangiang");
    /// let receipt = topic.publish(record.with_key("us").with_header("type", "earthquake")).await?;
    /// println!("{} is on {} disks", receipt.id, receipt.copies);
    ///
    /// let records = (0..100).map(|number| topic.publish(format!("number {number}")));
    /// let receipts: Vec<_> = stream::iter(records).buffered(20).try_collect().await?;
    /// assert!(receipts.iter().all(|receipt| receipt.copies >= receipt.wanted));
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the record is not acknowledged in time, is above a limit, is refused, or no node
    /// answers. [`PublishError`] says for each case whether the record is stored, and what to do.
    ///
    /// # Cancellation
    /// **Not cancel-safe.** Dropped before it returns, the record may be stored or not. With an id
    /// ([`Record::with_id`]) you can publish it again, and it is stored once.
    pub async fn publish(&self, record: impl Into<Record>) -> Result<Receipt, PublishError> {
        let record = record.into();
        let mut publisher = self.publisher.lock().await;
        let started = publisher.get_or_insert_with(|| self.publisher(PublishOptions::default()));
        let delivery = started.publish(record).await;
        drop(publisher);
        delivery?.await
    }

    /// Starts publishing with other options, and without waiting for each record. This asks no
    /// node. It starts a task, which ends when the publisher is dropped and what it was given is
    /// sent.
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn publisher(&self, options: PublishOptions) -> Publisher {
        self.client.publisher(self.name.clone(), options)
    }

    /// Reads what is stored, from a place up to the end as it is when this is called. Cancel-safe.
    ///
    /// # Errors
    /// When the topic does not exist, a cursor belongs to another topic, or no node can be reached.
    pub async fn fetch(&self, start: Start) -> Result<Reader, RequestError> {
        self.read(ReaderOptions { start, ..ReaderOptions::default() }).await
    }

    /// Reads what is stored, from a place on, and then live records. This is one stream that does
    /// not end. It has no gap, and gives each record once. Cancel-safe.
    ///
    /// The place is not kept: a program that wants to go on later keeps [`Reader::cursor`], or
    /// subscribes under a name ([`subscribe_as`](Self::subscribe_as)).
    ///
    /// ```
    /// use antiphon_node::client::Start;
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let topic = node.client().topic("lines")?;
    /// # topic.create().await?;
    /// topic.publish("stored").await?;
    /// let mut lines = topic.subscribe(Start::Last(20)).await?;
    /// topic.publish("live").await?;
    /// for expected in ["stored", "live"] {
    ///     let delivered = lines.try_next().await?.expect("it does not end");
    ///     assert_eq!(delivered.record.payload, expected);
    /// }
    /// // Where to go on later, at whichever node: `Start::At(cursor)`.
    /// let cursor = lines.cursor().to_string();
    /// # assert_eq!(cursor.parse().as_ref(), Ok(lines.cursor()));
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the topic does not exist, a cursor belongs to another topic, or no node can be reached.
    pub async fn subscribe(&self, start: Start) -> Result<Reader, RequestError> {
        self.read(ReaderOptions { start, ..ReaderOptions::follow() }).await
    }

    /// Reads the records that the options ask for: of one key or writer, or up to some end.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the topic does not exist, a cursor belongs to another topic, or no node can be reached.
    pub async fn read(&self, options: ReaderOptions) -> Result<Reader, RequestError> {
        self.client.reader(&self.name, options).await
    }

    /// Subscribes under a name. The topic's replicas keep the position of the name. Started again,
    /// at any node, the subscription continues after what was acknowledged and committed. `start`
    /// counts only if the name is new. The stream does not end.
    ///
    /// What is acknowledged is committed in the background: once a second, or as soon as 1,024
    /// records are acknowledged. [`Subscriber::commit_every`] sets another interval. For another
    /// end, or commits by hand alone, take [`Client::subscriber`].
    ///
    /// Dropped before it returns, the name may exist already, and stands at `start`.
    ///
    /// ```
    /// use antiphon_node::client::Start;
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let topic = node.client().topic("quakes")?;
    /// # topic.create().await?;
    /// # topic.publish("first").await?;
    /// # topic.publish("second").await?;
    /// let mut quakes = topic.subscribe_as("alice", Start::Beginning).await?;
    /// if let Some((delivered, acknowledgement)) = quakes.try_next().await? {
    ///     assert_eq!(delivered.record.payload, "first");
    ///     acknowledgement.acknowledge();
    /// }
    /// // At once, and not within a second.
    /// quakes.commit().await?;
    /// drop(quakes);
    ///
    /// let mut quakes = topic.subscribe_as("alice", Start::Beginning).await?;
    /// let (delivered, _) = quakes.try_next().await?.expect("it does not end");
    /// assert_eq!(delivered.record.payload, "second");
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::subscriber`].
    pub async fn subscribe_as(
        &self,
        name: impl ToSubscriberName,
        start: Start,
    ) -> Result<Subscriber, RequestError> {
        let options = ReaderOptions { start, end: End::Never, ..ReaderOptions::default() };
        let subscriber = self.client.subscriber(&self.name, name, options).await?;
        Ok(subscriber.commit_every(COMMIT_INTERVAL_DEFAULT))
    }
}
