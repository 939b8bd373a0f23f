//! Records that are stored and have too few copies yet.

use std::{fmt, sync::Arc, time::Duration};

use antiphon::{
    model::{RecordId, TopicName},
    wire::{Acks, LogRange, Published},
};

use super::Receipt;
use crate::{
    client::{Client, ConnectionState, Refusal, RequestError},
    platform::clock::Clock,
};

/// How long a node holds one question open. A node that has died is noticed about as soon.
const ASK_FOR: Duration = Duration::from_secs(2);

/// Pause before another node is asked, where one did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where the records of a publisher go.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) client: Client,
    pub(super) topic: TopicName,
    pub(super) acks: Acks,
}

/// A record that is stored on too few disks so far: a handle to [wait](Self::wait) on.
///
/// The node that took the record keeps it in its outbox on disk, over restarts too, and delivers it
/// when replicas are back. Dropping this changes nothing about that.
///
/// ```
/// use antiphon_node::client::{PublishError, Receipt, Topic};
///
/// # #[expect(dead_code, reason = "a record is pending only where nodes are away")]
/// async fn publish(topic: &Topic, line: &str) -> Result<Receipt, Box<dyn std::error::Error>> {
///     match topic.publish(line).await {
///         Err(PublishError::Pending(mut pending)) => {
///             eprintln!("on {} of {} disks so far", pending.copies(), pending.wanted());
///             Ok(pending.wait().await?)
///         }
///         outcome => Ok(outcome?),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Pending(Box<State>);

#[derive(Clone)]
struct State {
    id: RecordId,
    published: Published,
    destination: Arc<Destination>,
}

impl Pending {
    pub(super) fn new(id: RecordId, published: Published, destination: Arc<Destination>) -> Self {
        Self(Box::new(State { id, published, destination }))
    }

    /// The record's id.
    pub fn id(&self) -> RecordId {
        self.0.id
    }

    /// Disks that have the record flushed, as far as is known: at least 1, and fewer than
    /// [`wanted`](Self::wanted).
    pub fn copies(&self) -> u16 {
        self.0.published.copies
    }

    /// How many copies the acknowledgement needs.
    pub fn wanted(&self) -> u16 {
        self.0.published.wanted
    }

    /// How many replicas the topic wants.
    pub fn replicas(&self) -> u16 {
        self.0.published.replicas
    }

    /// Whether the record was stored before, or was on its way; see [`Receipt::duplicate`].
    pub fn is_duplicate(&self) -> bool {
        self.0.published.duplicate
    }

    /// Whether fewer nodes are there than copies are wanted. The record then stays pending until
    /// nodes are back, or are forgotten (`antiphon node forget`), or the topic needs fewer copies.
    pub fn has_too_few_nodes(&self) -> bool {
        self.0.published.too_few_nodes
    }

    /// Where the record is: a part of a log of the node that took it. A log is acknowledged in
    /// order. So a program with many pending records of one log waits for the last one alone.
    ///
    /// None if the node must write the record again first, because its log has forked
    /// ([`Refusal::Forked`]). Such a record is delivered, but [`wait`](Self::wait) fails at once.
    pub fn place(&self) -> Option<LogRange> {
        self.0.published.place
    }

    /// Waits until the record has its copies, however long that takes. While no node answers, this
    /// goes on asking; the node that took the record may be restarted meanwhile.
    ///
    /// Cancel-safe: bound it with [`tokio::time::timeout`], or call it again.
    ///
    /// # Errors
    /// The record may still be delivered later. This fails when one of these holds:
    ///
    /// - the topic was deleted;
    /// - the log has forked, so that nobody can tell where the record is;
    /// - the client is that of a node in this process that has stopped.
    pub async fn wait(&mut self) -> Result<Receipt, RequestError> {
        loop {
            if let Some(receipt) = self.wait_within(Duration::MAX).await? {
                return Ok(receipt);
            }
        }
    }

    /// Waits as [`wait`](Self::wait) does, for about `within` at most. None if the record is still
    /// pending: [`copies`](Self::copies) then says how many copies there are now. Cancel-safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_within(&mut self, within: Duration) -> Result<Option<Receipt>, RequestError> {
        let state = &mut *self.0;
        let Published { place, duplicate, .. } = state.published;
        let place = place.ok_or(Refusal::Forked)?;
        let Destination { client, topic, acks } = &*state.destination;
        let clock = Clock::start();
        loop {
            let left = within.saturating_sub(clock.now().elapsed);
            match client.copies_of(topic, place, *acks, ASK_FOR.min(left)).await {
                Ok(published) => {
                    state.published = Published { place: Some(place), duplicate, ..published };
                    if published.acknowledged {
                        return Ok(Some(Receipt::new(state.id, &state.published)));
                    }
                }
                Err(error) if may_pass(client, &error) => {
                    tokio::time::sleep(RETRY_PAUSE.min(left)).await;
                }
                Err(error) => return Err(error),
            }
            if clock.now().elapsed >= within {
                return Ok(None);
            }
        }
    }
}

/// Whether it is of use to ask again.
fn may_pass(client: &Client, error: &RequestError) -> bool {
    match error {
        RequestError::Link(_) => client.connection().state() != ConnectionState::Stopped,
        RequestError::Refused(refusal) => refusal.is_passing(),
        RequestError::Name(_) | RequestError::Mismatch => false,
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { id, published, .. } = &*self.0;
        formatter.debug_tuple("Pending").field(id).field(published).finish()
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, copies, wanted) = (self.id(), self.copies(), self.wanted());
        write!(
            formatter,
            "record {id} is pending: it is on {copies} of {wanted} disks, and will be delivered"
        )
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.0.id, self.0.published) == (other.0.id, other.0.published)
    }
}

impl Eq for Pending {}
