//! Records that were told to be pending: listed, and followed until they have their copies.

use std::time::Duration;

use antiphon::{
    model::{NodeId, TopicName},
    wire::{Acks, Await, LogRange, PendingTopic, Published, Request, Response},
};

use super::{Client, RequestError};
use crate::runtime::clock::Clock;

/// How long one question is held open. A node that has died is noticed about as soon.
const WAIT: Duration = Duration::from_secs(2);

/// What is pending at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// The node. A client that lost its node goes on at another one, which has an outbox of its own.
    pub node: NodeId,
    /// What is pending, in the order of the topics' names.
    pub topics: Vec<PendingTopic>,
}

impl Client {
    /// What the node that this client talks to was given, told to be pending, and has not brought
    /// to enough replicas yet. Cancel-safe.
    ///
    /// # Errors
    /// When the node cannot be reached, or is too old to know the question.
    pub async fn outbox(&self) -> Result<Outbox, RequestError> {
        let mut topics: Vec<PendingTopic> = Vec::new();
        let mut asked = None;
        loop {
            let after = topics.last().map(|last| last.topic.clone());
            let Response::Outbox(page) = self.ask(Request::Outbox(after)).await? else {
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

    /// Follows records that were told to be pending, which are at `place`
    /// ([`Published::place`]), until they and all before them in that log have the copies that
    /// `acks` asks for, at most for `within`. The answer says how many there are then, and whether
    /// that is enough.
    ///
    /// Any node can be asked, not only the one that took the records, which may be restarted
    /// meanwhile. Cancel-safe: giving up changes nothing about what becomes of the records.
    ///
    /// # Errors
    /// When the topic was deleted, the log has forked so that nobody can tell where the records
    /// are, or no node can be reached. In the last case it can be called again.
    pub async fn wait_until_acknowledged(
        &self,
        topic: &TopicName,
        place: LogRange,
        acks: Acks,
        within: Duration,
    ) -> Result<Published, RequestError> {
        let clock = Clock::start();
        loop {
            let wait = WAIT.min(within.saturating_sub(clock.now().elapsed));
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            let wanted = Await { topic: topic.clone(), place, acks, wait_ms };
            match self.ask_within(Request::Await(wanted), self.timeout + wait).await? {
                Response::Awaited(published) => {
                    if published.acknowledged || clock.now().elapsed >= within {
                        return Ok(published);
                    }
                }
                _ => return Err(RequestError::Mismatch),
            }
        }
    }
}
