//! Publishing: records go out in batches that fill while the one before is under way.

mod drafts;
mod outcome;
mod pending;
mod worker;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use antiphon::{
    limits,
    model::{
        GIVEN_ID_HEADER, ProducerId, Record, RecordId, TopicName, check_user_headers, encode_record,
    },
    wire::{Acks, Published},
};
use futures::FutureExt;
use tokio::sync::oneshot::error::RecvError;

use self::{
    drafts::{Common, Drafts, Outcome},
    pending::Destination,
    worker::Worker,
};
pub use self::{
    outcome::{PublishError, Receipt},
    pending::Pending,
};
use super::Client;
use crate::platform::{clock::wall, tasks};

/// How records are published.
///
/// ```
/// use std::time::Duration;
///
/// use antiphon_node::PublishOptions;
///
/// let options = PublishOptions::new().timeout(Duration::from_secs(2)).stop_at_failure(true);
/// # assert!(options.stop_at_failure);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How many copies to wait for.
    pub acks: Acks,
    /// Time for a record to reach its copies; 10 seconds by default. Until then the publisher tries
    /// again, at other nodes as well. When the time is over, a record that a node has stored is
    /// [pending](PublishError::Pending). If no node answered, the publish fails.
    pub timeout: Duration,
    /// Most records under way at a time, 1 or more; [`IN_FLIGHT_DEFAULT`] by default. Beyond that
    /// [`Publisher::publish`] waits.
    pub in_flight: usize,
    /// Whether the publisher stops when a record fails, so that no later one overtakes it; not so
    /// by default. Records behind it fail with [`PublishError::Stopped`]: they were not sent. A
    /// pending record is no failure in this sense, because it keeps its place.
    pub stop_at_failure: bool,
    /// Whether records are pending at once while copies are out of reach, instead of after
    /// `timeout`; not so by default. This is for programs that wait for pending records by
    /// themselves ([`Pending::wait`]).
    ///
    /// - The publisher waits for the copies of the first record for a second at most.
    /// - Once a record is pending, the next ones are pending as soon as the node has flushed them.
    /// - Once a second the publisher tries whether copies can be reached again.
    pub outbox_at_once: bool,
}

/// Most records that a publisher has under way by default. They keep a node busy even if its disk
/// flushes slowly.
pub const IN_FLIGHT_DEFAULT: usize = 8_192;

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            acks: Acks::Quorum,
            timeout: limits::PUBLISH_TIMEOUT_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
            stop_at_failure: false,
            outbox_at_once: false,
        }
    }
}

impl PublishOptions {
    /// The defaults: a majority of the topic's live replicas within 10 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same options with another [`acks`](field@Self::acks).
    #[must_use]
    pub fn acks(self, acks: Acks) -> Self {
        Self { acks, ..self }
    }

    /// The same options with another [`timeout`](field@Self::timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same options with another [`in_flight`](field@Self::in_flight).
    #[must_use]
    pub fn in_flight(self, in_flight: usize) -> Self {
        Self { in_flight, ..self }
    }

    /// The same options with another [`stop_at_failure`](field@Self::stop_at_failure).
    #[must_use]
    pub fn stop_at_failure(self, stop_at_failure: bool) -> Self {
        Self { stop_at_failure, ..self }
    }

    /// The same options with another [`outbox_at_once`](field@Self::outbox_at_once).
    #[must_use]
    pub fn outbox_at_once(self, outbox_at_once: bool) -> Self {
        Self { outbox_at_once, ..self }
    }
}

/// Publishes records to one topic, in the order of the calls. [`Topic::publisher`] makes one.
///
/// Each record has an id before it is sent: a random number of this publisher (its producer), and a
/// counter. If a node does not answer, the publisher sends the record again under the same id. Then
/// nodes ask the topic's replicas before they store it, and readers drop a second copy. Another
/// publisher, or a later run of the program, draws other ids. Give a record an id of your own
/// ([`Record::with_id`]) if one of those may publish it again.
///
/// Dropping the publisher does not stop what is under way: its task goes on to send what was
/// queued. That ends with the tokio runtime. So await each [`Delivery`] before the program ends.
///
/// [`Topic::publisher`]: super::Topic::publisher
#[derive(Debug)]
pub struct Publisher {
    drafts: Arc<Drafts>,
    topic: TopicName,
    producer: ProducerId,
    next: u64,
    /// The record being published, encoded; kept for the next one's sake.
    encoded: Vec<u8>,
}

/// The outcome of one publish: a future that resolves to a [`Receipt`] or a [`PublishError`].
///
/// The record is sent whether this is awaited or not. While it is awaited, the publisher does not
/// wait for more records to send with this one. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a record may be pending or not stored; only its delivery says so"]
pub struct Delivery {
    id: RecordId,
    common: Arc<Common>,
    /// The outcome of the request; none while this was not waited for.
    outcome: Option<Outcome>,
}

impl Delivery {
    /// The record's id, known before the record is stored.
    pub fn id(&self) -> RecordId {
        self.id
    }
}

impl Future for Delivery {
    type Output = Result<Receipt, PublishError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { id, common, outcome } = self.get_mut();
        // Once a record of the request was told, the others only look.
        if let Some(outcome) = common.outcome.peek() {
            return Poll::Ready(told(*id, outcome, common));
        }
        let outcome = outcome.get_or_insert_with(|| common.outcome.clone());
        match outcome.poll_unpin(context) {
            Poll::Ready(outcome) => Poll::Ready(told(*id, &outcome, common)),
            Poll::Pending => {
                common.wanted.notify_one();
                Poll::Pending
            }
        }
    }
}

/// What became of one record of a request.
fn told(
    id: RecordId,
    outcome: &Result<Result<Published, PublishError>, RecvError>,
    common: &Common,
) -> Result<Receipt, PublishError> {
    match outcome {
        Ok(Ok(published)) if published.acknowledged => Ok(Receipt::new(id, published)),
        Ok(Ok(published)) => {
            let destination = Arc::clone(&common.destination);
            Err(PublishError::Pending(Pending::new(id, *published, destination)))
        }
        Ok(Err(error)) => Err(error.clone().of_record(id)),
        Err(_) => Err(PublishError::Stopped),
    }
}

impl Publisher {
    pub(super) fn start(client: Client, topic: TopicName, options: PublishOptions) -> Self {
        let destination =
            Destination { client: client.clone(), topic: topic.clone(), acks: options.acks };
        let drafts = Arc::new(Drafts::new(destination, options.in_flight));
        let producer = ProducerId::random(crate::platform::random_bytes());
        let worker = Worker::new(client, topic.clone(), options, Arc::clone(&drafts));
        tasks::spawn_detached("publisher", worker.run());
        Self { drafts, topic, producer, next: 0, encoded: Vec::new() }
    }

    /// Queues a record; its [`Delivery`] says what became of it. A record without a time gets that
    /// of this machine's clock.
    ///
    /// This waits while [`in_flight`](field@PublishOptions::in_flight) records are under way.
    /// Cancel-safe: a record is queued when this returns, and not before.
    ///
    /// ```
    /// # use antiphon_node::{Node, NodeConfig, Record, client::PublishOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let topic = node.client().topic("lines")?;
    /// # topic.create().await?;
    /// let mut publisher = topic.publisher(PublishOptions::default());
    /// let mut deliveries = Vec::new();
    /// for line in ["one", "two", "three"] {
    ///     deliveries.push(publisher.publish(line).await?);
    /// }
    /// for delivery in deliveries {
    ///     delivery.await?;
    /// }
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When one of these holds; nothing was queued then:
    ///
    /// - the record is above a limit, or has a header of Antiphon's own (`antiphon-…`);
    /// - its id is empty or too long;
    /// - the publisher has stopped.
    pub fn publish(
        &mut self,
        record: impl Into<Record>,
    ) -> impl Future<Output = Result<Delivery, PublishError>> {
        // Before the future is made: records are large, and so is a future that holds one.
        let encoded = self.encode(record.into());
        self.queue(encoded)
    }

    /// Encodes a record. Returns its name, if it has an id that its publisher gave it.
    fn encode(&mut self, mut record: Record) -> Result<Option<RecordId>, PublishError> {
        record.time.get_or_insert_with(wall);
        let given = record.id.take();
        if given.is_some() {
            // It may have been read with another one.
            record.headers.retain(|(name, _)| name != GIVEN_ID_HEADER);
        }
        check_user_headers(&record)?;
        let name = match given {
            Some(id) => {
                let name = RecordId::given(&self.topic, &id)?;
                record.headers.push((GIVEN_ID_HEADER.to_owned(), id.into()));
                Some(name)
            }
            None => None,
        };
        self.encoded.clear();
        encode_record(&record, &mut self.encoded)?;
        Ok(name)
    }

    /// Queues the record that was just encoded.
    async fn queue(
        &mut self,
        encoded: Result<Option<RecordId>, PublishError>,
    ) -> Result<Delivery, PublishError> {
        let name = encoded?;
        self.drafts.take_room().await?;
        let id = name.unwrap_or(RecordId { producer: self.producer, number: self.next });
        let common = self.drafts.add(id, &self.encoded)?;
        self.next += u64::from(name.is_none());
        Ok(Delivery { id, common, outcome: None })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.drafts.end();
    }
}

#[cfg(test)]
mod tests;
