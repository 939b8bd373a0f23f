//! Publishing: records go out in batches that fill while the one before is under way.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use antiphon::{
    limits,
    model::{Blob, ProducerId, Record, RecordError, RecordId, TopicName, encode_record},
    wire::{Acks, Publish, Published, Refusal, Request, Response},
};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Client, LinkError, RequestError};
use crate::runtime::{clock::Clock, tasks};

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
}

/// Records that a publisher has under way, where it is not told otherwise. Enough to fill
/// batches over a slow flush.
pub const IN_FLIGHT_DEFAULT: usize = 8_192;

/// How often a request is sent when all nodes refuse it for the moment, with growing pauses.
const ATTEMPTS_MAX: u32 = 6;

/// Time for the next request to become as large as the one before it.
const FILL_TIME: Duration = Duration::from_micros(200);

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            acks: Acks::Quorum,
            timeout: limits::PUBLISH_TIMEOUT_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's name; readers see the same.
    pub id: RecordId,
    /// Where it is. If not `acknowledged`, the copies were not reached in time: the record is
    /// in the node's outbox and will be delivered.
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
    queue: mpsc::Sender<Queued>,
    slots: std::sync::Arc<Semaphore>,
    producer: ProducerId,
    next: u64,
}

#[derive(Debug)]
struct Queued {
    id: RecordId,
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<Receipt, PublishError>>,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

/// The outcome of one publish: a future.
///
/// Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {
    id: RecordId,
    done: oneshot::Receiver<Result<Receipt, PublishError>>,
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
        Pin::new(&mut self.done)
            .poll(context)
            .map(|done| done.unwrap_or(Err(PublishError::Stopped)))
    }
}

impl Publisher {
    pub(super) fn start(client: Client, topic: TopicName, options: PublishOptions) -> Self {
        let capacity = options.in_flight.max(1);
        let (queue, queued) = mpsc::channel(capacity);
        let producer = ProducerId(crate::runtime::random_bytes());
        let worker = Worker { client, topic, options, producer, queued };
        tasks::spawn_detached("publisher", worker.run());
        let slots = std::sync::Arc::new(Semaphore::new(capacity));
        Self { queue, slots, producer, next: 0 }
    }

    /// Queues a record; its [`Delivery`] says what became of it. Waits while the most records
    /// are under way.
    ///
    /// # Errors
    /// When the record is above a limit, or the publisher has stopped. Cancel-safe: a record is
    /// queued when this returns, and not before.
    pub async fn publish(&mut self, record: &Record) -> Result<Delivery, PublishError> {
        let mut bytes = Vec::with_capacity(record.size_bytes() + 32);
        encode_record(record, &mut bytes)?;
        let slot = std::sync::Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_closed| PublishError::Stopped)?;
        let id = RecordId { producer: self.producer, number: self.next };
        let (done, outcome) = oneshot::channel();
        self.queue
            .send(Queued { id, bytes, done, _slot: slot })
            .await
            .map_err(|_closed| PublishError::Stopped)?;
        self.next += 1;
        Ok(Delivery { id, done: outcome })
    }
}

/// Sends what is queued: one request at a time, so that the order holds and the next request
/// fills while this one is under way.
struct Worker {
    client: Client,
    topic: TopicName,
    options: PublishOptions,
    producer: ProducerId,
    queued: mpsc::Receiver<Queued>,
}

impl Worker {
    async fn run(mut self) {
        let mut held: Option<Queued> = None;
        let mut before = 0;
        loop {
            self.let_fill(before).await;
            let first = match held.take() {
                Some(queued) => queued,
                None => match self.queued.recv().await {
                    Some(queued) => queued,
                    None => return,
                },
            };
            let mut waiting = vec![first];
            let mut bytes = waiting[0].bytes.len();
            while waiting.len() < limits::BATCH_RECORDS_MAX as usize {
                let Ok(next) = self.queued.try_recv() else { break };
                if bytes + next.bytes.len() > limits::BATCH_BODY_BYTES_TARGET {
                    held = Some(next);
                    break;
                }
                bytes += next.bytes.len();
                waiting.push(next);
            }
            before = waiting.len();
            self.send(waiting).await;
        }
    }

    /// Those who wait for the records that were just answered publish their next ones now. They
    /// are let go first, so that the next request takes these with it.
    async fn let_fill(&self, before: usize) {
        let clock = Clock::start();
        while self.queued.len() + 1 < before
            && !self.queued.is_closed()
            && clock.now().elapsed < FILL_TIME
        {
            tokio::task::yield_now().await;
        }
    }

    async fn send(&self, waiting: Vec<Queued>) {
        let parts: Vec<&[u8]> = waiting.iter().map(|queued| queued.bytes.as_slice()).collect();
        let records = parts.concat();
        let publish = Publish {
            topic: self.topic.clone(),
            producer: self.producer,
            first: waiting[0].id.number,
            records: Blob(records.into()),
            acks: self.options.acks,
            timeout_ms: u32::try_from(self.options.timeout.as_millis()).unwrap_or(u32::MAX),
        };
        let result = self.ask(publish).await;
        for queued in waiting {
            let receipt = result.clone().map(|published| Receipt { id: queued.id, published });
            // Whoever dropped the delivery does not want to know.
            let _ = queued.done.send(receipt);
        }
    }

    /// Sends a request until it is answered, within the time for one. Sending it again is safe:
    /// the records keep their names. The link has been to other nodes before it says that there
    /// is none, or that one refuses.
    async fn ask(&self, publish: Publish) -> Result<Published, PublishError> {
        let clock = Clock::start();
        let whole = self.options.timeout + self.client.timeout;
        let mut pause = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            let request = Request::Publish(publish.clone());
            let left = whole.saturating_sub(clock.now().elapsed);
            let error = match self.client.ask_within(request, left).await {
                Ok(Response::Published(published)) => return Ok(published),
                Ok(_) => {
                    return Err(PublishError::Unknown(LinkError::Malformed(
                        "not the answer to a publish".into(),
                    )));
                }
                Err(RequestError::Refused(refusal @ (Refusal::Busy | Refusal::Stopping(_)))) => {
                    PublishError::Refused(refusal)
                }
                Err(RequestError::Refused(refusal)) => return Err(refusal.into()),
                Err(RequestError::Link(error)) => PublishError::Unknown(error),
                Err(RequestError::Mismatch) => {
                    PublishError::Unknown(LinkError::Malformed("not an answer".into()))
                }
            };
            if attempt >= ATTEMPTS_MAX || clock.now().elapsed + pause >= whole {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use antiphon::model::WallClock;
    use futures::{FutureExt, future::BoxFuture};

    use super::*;
    use crate::client::Link;

    /// Answers as it was told, and notes how long it was given each time.
    #[derive(Debug)]
    struct Scripted {
        answers: Mutex<Vec<Result<Response, LinkError>>>,
        given: Mutex<Vec<Duration>>,
    }

    impl Link for Scripted {
        fn ask(&self, _: Request, timeout: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
            self.given.lock().unwrap().push(timeout);
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            async move { answer }.boxed()
        }
    }

    const EACH: Duration = Duration::from_millis(100);

    /// Publishes one record; what became of it, and the times that the link was given.
    async fn publish(
        answers: Vec<Result<Response, LinkError>>,
    ) -> (Result<Receipt, PublishError>, Vec<Duration>) {
        let link = Arc::new(Scripted { answers: Mutex::new(answers), given: Mutex::default() });
        let client = Client::over(Arc::clone(&link) as Arc<dyn Link>).with_timeout(EACH);
        let options = PublishOptions { timeout: EACH, ..PublishOptions::default() };
        let mut publisher = client.publisher("t".parse().unwrap(), options);
        let record = Record::new(WallClock(1), b"m".to_vec());
        let outcome = publisher.publish(&record).await.unwrap().await;
        let given = link.given.lock().unwrap().clone();
        (outcome, given)
    }

    fn published() -> Published {
        Published { acknowledged: true, copies: 2, stand_ins: 0, replicas: 3, wanted: 2 }
    }

    #[tokio::test]
    async fn all_attempts_together_have_the_time_of_one() {
        let unreachable = LinkError::Unreachable("nobody".into());
        let (outcome, given) = publish(vec![Err(unreachable.clone())]).await;
        assert_eq!(outcome, Err(PublishError::Unknown(unreachable)));
        assert!(given.len() > 1, "it is tried again: {given:?}");
        assert!(given[0] <= 2 * EACH, "{given:?}");
        assert!(given.is_sorted_by(|one, next| one > next), "{given:?}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_a_busy_node_asked_again() {
        let refused = |refusal| Ok(Response::Refused(refusal));
        let (outcome, given) = publish(vec![refused(Refusal::Full)]).await;
        assert_eq!(outcome, Err(PublishError::Refused(Refusal::Full)));
        assert_eq!(given.len(), 1);
        let then = Ok(Response::Published(published()));
        let (outcome, given) = publish(vec![refused(Refusal::Busy), then]).await;
        assert_eq!(outcome.map(|receipt| receipt.published), Ok(published()));
        assert_eq!(given.len(), 2);
        let (outcome, _) = publish(vec![refused(Refusal::Busy)]).await;
        assert_eq!(outcome, Err(PublishError::Refused(Refusal::Busy)));
    }
}
