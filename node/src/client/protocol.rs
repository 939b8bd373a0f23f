//! What the `antiphon` command asks, in the protocol's own types.
//!
//! None of it is in the documentation of this crate: these types are those of the crate `antiphon`,
//! which change with the protocol. Programs have [`Topic`](super::Topic) and the methods of
//! [`Client`] that are shown.

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire::{
        Alter, ClientRequest, Create, Peer, Remaining, Response, Surveyed, TopicSummary, Verified,
    },
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

    /// Tells all nodes that one of them is gone for ever: its places go to others at once, and no
    /// reader waits for what it may hold. Whether the asked node knew it and is not connected to
    /// it; only then it is forgotten.
    ///
    /// # Errors
    /// When the node cannot be reached.
    #[doc(hidden)]
    pub async fn forget(&self, node: NodeId) -> Result<bool, RequestError> {
        match self.ask(ClientRequest::Forget(node)).await? {
            Response::Forgotten(known) => Ok(known),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Asks the node that this client talks to, which the caller must name, to leave the network.
    /// The node first hands over all that it holds. This returns what it still has to hand over.
    ///
    /// Call this again, with pauses, until nothing remains. Then the node ends, and
    /// [`Node::failed`](crate::Node::failed) says [`Left`](crate::NodeError::Left). Cancel-safe:
    /// once asked, the node goes on by itself.
    ///
    /// # Errors
    /// When there is no other node ([`Refusal::Alone`](super::Refusal::Alone)), or the node cannot
    /// be reached: it may have ended already.
    pub async fn leave(&self, node: NodeId) -> Result<Remaining, RequestError> {
        match self.ask(ClientRequest::Leave(node)).await? {
            Response::Leaving(remaining) => Ok(remaining),
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
        match self.ask(ClientRequest::Verify(topic.clone(), after)).await? {
            Response::Verified(verified) => Ok(verified),
            _ => Err(RequestError::Mismatch),
        }
    }
}
