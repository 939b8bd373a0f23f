//! Publishing: records go out in batches that fill while the one before is under way.

mod drafts;
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
    model::{ProducerId, Record, RecordError, RecordId, TopicName, encode_record},
    wire::{Acks, Published, Refusal},
};
use futures::FutureExt;
use thiserror::Error;

use self::{
    drafts::{Drafts, Place},
    worker::Worker,
};
use super::{Client, LinkError};
use crate::runtime::tasks;

/// How records are published.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// How many copies to wait for.
    pub acks: Acks,
    /// Time in which the copies are to be reached; then the answer is `pending`. Where no node
    /// answers, a publish fails after this and the client's time for a request together.
    pub timeout: Duration,
    /// Most records under way at a time; [`Publisher::publish`] waits beyond it.
    pub in_flight: usize,
    /// Whether records go into the node's outbox at once, instead of waiting for `timeout`, as long
    /// as copies are out of reach: after a publish that was told to be pending, the next ones are
    /// told so as soon as the node has them flushed, until one is acknowledged again (tried once a
    /// second). For those who follow what is pending
    /// ([`Client::wait_until_acknowledged`]); others would be told `pending` needlessly.
    pub outbox_at_once: bool,
}

/// Records that a publisher has under way, where it is not told otherwise. Enough to fill
/// batches over a slow flush.
pub const IN_FLIGHT_DEFAULT: usize = 8_192;

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            acks: Acks::Quorum,
            timeout: limits::PUBLISH_TIMEOUT_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
            outbox_at_once: false,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's name; readers see the same.
    pub id: RecordId,
    /// Where it is. If not `acknowledged`, the copies were not reached in time: the record is
    /// in the node's outbox and will be delivered; see
    /// [`Client::wait_until_acknowledged`].
    pub published: Published,
}

/// Why a record was not published.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PublishError {
    /// The record is above a limit; nothing was sent.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The node refused it; nothing was stored.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer came: the record may be stored or not.
    #[error("it is not known whether the record was stored: {0}")]
    Unknown(LinkError),
    /// The publisher has stopped.
    #[error("the publisher has stopped")]
    Stopped,
}

/// Publishes records to one topic, in the order of the calls.
///
/// Dropping it lets records under way go on; await their [`Delivery`] to know what became of
/// them.
#[derive(Debug)]
pub struct Publisher {
    drafts: Arc<Drafts>,
    producer: ProducerId,
    next: u64,
    /// The record being published, encoded; kept for the next one's sake.
    encoded: Vec<u8>,
}

/// The outcome of one publish: a future.
///
/// Awaiting it tells the publisher that the caller has no more to add for now: what it has goes
/// out. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {
    id: RecordId,
    place: Place,
}

impl Delivery {
    /// The record's name, known before it is stored.
    pub fn id(&self) -> RecordId {
        self.id
    }
}

impl Future for Delivery {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        match self.place.outcome.poll_unpin(context) {
            Poll::Ready(outcome) => {
                let published = outcome.unwrap_or(Err(PublishError::Stopped));
                Poll::Ready(published.map(|published| Receipt { id, published }))
            }
            Poll::Pending => {
                self.place.wanted.notify_one();
                Poll::Pending
            }
        }
    }
}

impl Publisher {
    pub(super) fn start(client: Client, topic: TopicName, options: PublishOptions) -> Self {
        let drafts = Arc::new(Drafts::new(options.in_flight));
        let producer = ProducerId(crate::runtime::random_bytes());
        let worker = Worker::new(client, topic, options, producer, Arc::clone(&drafts));
        tasks::spawn_detached("publisher", worker.run());
        Self { drafts, producer, next: 0, encoded: Vec::new() }
    }

    /// Queues a record; its [`Delivery`] says what became of it. Waits while the most records
    /// are under way.
    ///
    /// # Errors
    /// When the record is above a limit, or the publisher has stopped. Cancel-safe: a record is
    /// queued when this returns, and not before.
    pub async fn publish(&mut self, record: &Record) -> Result<Delivery, PublishError> {
        self.encoded.clear();
        encode_record(record, &mut self.encoded)?;
        self.drafts.take_room().await?;
        let id = RecordId { producer: self.producer, number: self.next };
        let place = self.drafts.add(id.number, &self.encoded)?;
        self.next += 1;
        Ok(Delivery { id, place })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.drafts.end();
    }
}

#[cfg(test)]
mod tests;
