//! What the `antiphon` command asks, in the protocol's own types.
//!
//! None of it is in the documentation of this crate: these types are those of the crate `antiphon`,
//! which change with the protocol. Programs have [`Topic`](super::Topic) and the methods of
//! [`Client`] that are shown.

use antiphon::{
    model::{Cursor, TopicName},
    wire::{Alter, ClientRequest, Create, Peer, Response, Surveyed, TopicSummary, Verified},
};

use super::{Client, RequestError};

impl Client {
    /// Creates a topic; the flag says whether it was there already, which is an error unless
    /// `create.if_not_exists`.
    ///
    /// # Errors
    /// When the node refuses the terms or cannot be reached.
    #[doc(hidden)]
    pub async fn create(&self, create: Create) -> Result<(TopicSummary, bool), RequestError> {
        match self.ask(ClientRequest::Create(create)).await? {
            Response::Created(summary, existed) => Ok((summary, existed)),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Changes the terms of a topic. What records go by a new limit goes within seconds.
    ///
    /// # Errors
    /// When the topic does not exist, the node may not change it, it refuses the terms, or it
    /// cannot be reached.
    #[doc(hidden)]
    pub async fn alter(&self, alter: Alter) -> Result<TopicSummary, RequestError> {
        match self.ask(ClientRequest::Alter(alter)).await? {
            Response::Altered(summary) => Ok(summary),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// How far a topic goes and who holds it.
    ///
    /// # Errors
    /// When the topic does not exist or the node cannot be reached.
    #[doc(hidden)]
    pub async fn survey(&self, topic: &TopicName) -> Result<Surveyed, RequestError> {
        match self.ask(ClientRequest::Survey(topic.clone())).await? {
            Response::Surveyed(surveyed) => Ok(surveyed),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// All topics of the network, in order of their names.
    ///
    /// # Errors
    /// When the node cannot be reached.
    #[doc(hidden)]
    pub async fn summaries(&self) -> Result<Vec<TopicSummary>, RequestError> {
        let mut topics: Vec<TopicSummary> = Vec::new();
        loop {
            let after = topics.last().map(|topic| topic.name.clone());
            match self.ask(ClientRequest::Topics(after)).await? {
                Response::Topics(page, more) => {
                    let more = more && !page.is_empty();
                    topics.extend(page);
                    if !more {
                        return Ok(topics);
                    }
                }
                _ => return Err(RequestError::Mismatch),
            }
        }
    }

    /// The nodes that the node knows, itself first.
    ///
    /// # Errors
    /// When the node cannot be reached.
    #[doc(hidden)]
    pub async fn peers(&self) -> Result<Vec<Peer>, RequestError> {
        match self.ask(ClientRequest::Peers).await? {
            Response::Peers(peers) => Ok(peers),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Compares what the replicas of a topic have on their disks, after a cursor and for as much
    /// as one request takes; every byte is read and checked. To be called again with the cursor in
    /// the answer until that is finished.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    #[doc(hidden)]
    pub async fn verify(&self, topic: &TopicName, after: Cursor) -> Result<Verified, RequestError> {
        self.compare_replicas(topic, after, false).await
    }

    pub(super) async fn compare_replicas(
        &self,
        topic: &TopicName,
        after: Cursor,
        repairs: bool,
    ) -> Result<Verified, RequestError> {
        match self.ask(ClientRequest::Verify(topic.clone(), after, repairs)).await? {
            Response::Verified(verified) => Ok(verified),
            _ => Err(RequestError::Mismatch),
        }
    }
}
