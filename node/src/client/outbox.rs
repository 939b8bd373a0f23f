//! Records that are pending at a node: listed, and how many copies they have.

use std::time::Duration;

use antiphon::{
    model::{NodeId, TopicName},
    wire::{Acks, Await, ClientRequest, LogRange, PendingTopic, Published, Response},
};

use super::{Client, RequestError};

/// The pending records of one node, counted by topic. They are stored on that node's disk, and not
/// yet on enough replicas ([`PublishError::Pending`](super::PublishError::Pending)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outbox {
    /// The node that was asked. Each node has an outbox of its own, and a client may have changed
    /// its node since it published.
    pub node: NodeId,
    /// What is pending, in the order of the topics' names.
    pub topics: Vec<PendingTopic>,
}

impl Client {
    /// The records that are [pending](super::PublishError::Pending) at the node that this client
    /// talks to, counted by topic. Records that a publisher still waits for are not among them.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When no node can be reached, or the node is too old to know the request.
    pub async fn outbox(&self) -> Result<Outbox, RequestError> {
        let mut topics: Vec<PendingTopic> = Vec::new();
        let mut asked = None;
        loop {
            let after = topics.last().map(|last| last.topic.clone());
            let Response::Outbox(page) = self.ask(ClientRequest::Outbox(after)).await? else {
                return Err(RequestError::Mismatch);
            };
            let node = page.node;
            if *asked.get_or_insert(node) != node {
                (topics, asked) = (Vec::new(), None);
                continue;
            }
            let more = page.more && !page.topics.is_empty();
            topics.extend(page.topics);
            if !more {
                return Ok(Outbox { node, topics });
            }
        }
    }

    /// How many copies the records at `place` and all before them in that log have, as soon as
    /// those are enough for `acks`, and after `wait` otherwise.
    pub(super) async fn copies_of(
        &self,
        topic: &TopicName,
        place: LogRange,
        acks: Acks,
        wait: Duration,
    ) -> Result<Published, RequestError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let wanted = Await { topic: topic.clone(), place, acks, wait_ms };
        match self.ask_within(ClientRequest::Await(wanted), self.timeout + wait).await? {
            Response::Awaited(published) => Ok(published),
            _ => Err(RequestError::Mismatch),
        }
    }
}
