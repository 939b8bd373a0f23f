//! Copying topics: what goes with their batches out of a network, and their batches into one.

use antiphon::{
    model::{Cursor, ForkProof, SignedDescriptor, TopicId, TopicName},
    wire,
    wire::{ClientRequest, Import, NodeRequest, Outcome, Response},
};

use super::{BatchReader, Client, Refusal, RequestError};

impl Client {
    /// Starts reading the batches of a topic as they were signed, after a cursor or from the start.
    ///
    /// # Errors
    /// When the topic does not exist, the cursor is one of another topic, or the node cannot be
    /// reached.
    #[doc(hidden)]
    pub async fn batches(
        &self,
        topic: TopicName,
        after: Option<Cursor>,
    ) -> Result<BatchReader, RequestError> {
        BatchReader::start(self.clone(), topic, after).await
    }

    /// The terms of a topic as they were signed.
    ///
    /// # Errors
    /// When the node does not know the topic or cannot be reached.
    #[doc(hidden)]
    pub async fn describe(&self, topic: &TopicName) -> Result<SignedDescriptor, RequestError> {
        match self.ask(ClientRequest::Describe(topic.clone())).await? {
            Response::Described(Some(bytes)) => SignedDescriptor::verify(bytes.0)
                .ok()
                .filter(|signed| signed.descriptor().name == *topic)
                .ok_or(RequestError::Mismatch),
            Response::Described(None) => {
                let name = topic.to_string();
                Err(Refusal::UnknownTopic { name, nearest: None }.into())
            }
            _ => Err(RequestError::Mismatch),
        }
    }

    /// The proofs of a topic's forks that the node knows: those by which it files what it shows.
    ///
    /// # Errors
    /// When the node cannot be reached.
    #[doc(hidden)]
    pub async fn fork_proofs(&self, topic: TopicId) -> Result<Vec<ForkProof>, RequestError> {
        match self.ask(NodeRequest::Frontier(topic, None, None)).await? {
            Response::Held(held) => {
                let proofs = held.forks.iter().flat_map(wire::Proofs::iter);
                let proofs = proofs.map(ForkProof::verify).collect::<Result<Vec<_>, _>>();
                proofs.map_err(|_malformed| RequestError::Mismatch)
            }
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Stores batches that were exported; what became of each. What is stored or was there before
    /// is on as many replicas, flushed, as an acknowledgement needs. Asking again is safe.
    ///
    /// # Errors
    /// When the topic does not exist, has another id than the batches are signed for, or the node
    /// cannot be reached.
    #[doc(hidden)]
    pub async fn import(&self, import: Import) -> Result<Vec<Outcome>, RequestError> {
        let count = import.replicate.batches.len();
        match self.ask(ClientRequest::Import(import)).await? {
            Response::Replicated(outcomes) if outcomes.len() == count => Ok(outcomes),
            _ => Err(RequestError::Mismatch),
        }
    }
}
