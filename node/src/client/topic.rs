//! A handle of one topic.

use std::sync::Arc;

use antiphon::model::{Record, TopicName};
use tokio::sync::Mutex;

use super::{
    COMMIT_INTERVAL_DEFAULT, Client, Created, End, PublishError, PublishOptions, Publisher, Reader,
    ReaderOptions, Receipt, RequestError, Start, Subscriber, ToSubscriberName, TopicChanges,
    TopicInfo, TopicOptions, TopicSummary,
};

/// One topic: what a program does with it, as futures and streams.
///
/// Cloning it is cheap. Clones share the connection, and records that they
/// [`publish`](Self::publish) keep the order of the calls: the first call starts a [`Publisher`]
/// for all of them. What is not here is a method of [`Client`], which takes the name.
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

    /// Creates the topic with the default terms; [`create_with`](Self::create_with) names others.
    /// Dropped before it returns, the topic exists or not.
    ///
    /// # Errors
    /// [`Refusal::TopicExists`](super::Refusal::TopicExists) where it exists already, another
    /// refusal, or when no node can be reached.
    pub async fn create(&self) -> Result<Created, RequestError> {
        self.create_with(TopicOptions::new()).await
    }

    /// Creates the topic as [`create`](Self::create) does, unless it exists already. Many programs
    /// may do so at the same time.
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
    /// As [`create`](Self::create); [`Refusal::Invalid`](super::Refusal::Invalid) where a term is
    /// out of bounds.
    pub async fn create_with(&self, options: TopicOptions) -> Result<Created, RequestError> {
        let (topic, existed) = self.client.create(options.into_request(self.name.clone())).await?;
        Ok(Created { topic: topic.into(), is_new: !existed })
    }

    /// Changes the topic's terms; the terms that it then has. Records that a new limit excludes go
    /// within seconds.
    ///
    /// # Errors
    /// When the topic does not exist, a term is out of bounds, or no node can be reached.
    pub async fn alter(&self, changes: TopicChanges) -> Result<TopicSummary, RequestError> {
        let summary = self.client.alter(changes.into_request(self.name.clone())).await?;
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

    /// The topic's terms, how far it goes, and who holds it.
    ///
    /// # Errors
    /// When it does not exist or no node can be reached.
    pub async fn info(&self) -> Result<TopicInfo, RequestError> {
        Ok(self.client.survey(&self.name).await?.into())
    }

    /// Publishes a record, and waits until as many disks have it flushed as an acknowledgement
    /// needs.
    ///
    /// If too few replicas confirm within 10 seconds, the error is
    /// [`Pending`](PublishError::Pending): the record is stored, will be delivered, and can be
    /// waited for.
    ///
    /// Records that are published at the same time, by this handle or its clones, go out together
    /// with no more waiting than one alone. Who publishes many one after the other takes a
    /// [`Self::publisher`] and awaits the deliveries later, or publishes at the same time:
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
    /// Waits, as [`Publisher::publish`] does, while the most records are under way.
    /// **Not cancel-safe**: dropped before it returns, the record was published or not.
    pub async fn publish(&self, record: impl Into<Record>) -> Result<Receipt, PublishError> {
        let record = record.into();
        let mut publisher = self.publisher.lock().await;
        let started = publisher.get_or_insert_with(|| self.publisher(PublishOptions::default()));
        let delivery = started.queue(record).await;
        drop(publisher);
        delivery?.await
    }

    /// Starts publishing with other options, and without waiting for each record. Asks no node yet,
    /// and starts a task that ends with the publisher.
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn publisher(&self, options: PublishOptions) -> Publisher {
        self.client.publisher(self.name.clone(), options)
    }

    /// Reads what is stored, from a place on to the end as it is now.
    ///
    /// # Errors
    /// When the topic does not exist or no node can be reached.
    pub async fn fetch(&self, start: Start) -> Result<Reader, RequestError> {
        self.read(ReaderOptions { start, ..ReaderOptions::default() }).await
    }

    /// Reads what is stored, from a place on, and then live records. This is one stream that does
    /// not end. It has no gap, and each record once.
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
    /// When the topic does not exist or no node can be reached.
    pub async fn subscribe(&self, start: Start) -> Result<Reader, RequestError> {
        self.read(ReaderOptions { start, ..ReaderOptions::follow() }).await
    }

    /// The records that the options ask for: of one key or writer, or to some end.
    ///
    /// # Errors
    /// When the topic does not exist, a cursor is one of another topic, or no node can be reached.
    pub async fn read(&self, options: ReaderOptions) -> Result<Reader, RequestError> {
        self.client.reader(&self.name, options).await
    }

    /// Subscribes under a name. The topic's replicas keep the position of the name, so the
    /// subscription continues after what was acknowledged and committed under it, at any node.
    /// `start` counts where the name is new. Does not end.
    ///
    /// What is acknowledged is committed in the background, once a second or as soon as 1,024
    /// records are. [`Client::subscriber`] takes other options, and commits only when told.
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
    /// When the topic does not exist or no replica can be reached.
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
