//! What only the operator of a node may ask.

use antiphon::{
    model::{Cursor, NodeId, TopicName},
    wire,
    wire::{ClientRequest, Response, Verified},
};

use super::{Client, RequestError};

/// What only the operator of a node may ask of it: [`Client::operator`] makes one.
///
/// ```no_run
/// use antiphon_node::{Client, ClientConfig, OperatorKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lost = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X".parse()?;
/// let key = OperatorKey::of_data("/var/lib/antiphon")?;
/// let client = Client::connect(ClientConfig::new().operator_key(key)).await?;
/// client.operator().forget(lost).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Operator {
    pub(super) client: Client,
}

/// What a node that leaves still has to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Remaining {
    /// Topics of which it holds something.
    pub topics: u64,
    /// Records that it holds.
    pub records: u64,
}

impl Remaining {
    /// Whether nothing is left.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl From<wire::Remaining> for Remaining {
    fn from(remaining: wire::Remaining) -> Self {
        Self { topics: remaining.topics, records: remaining.records }
    }
}

impl Client {
    /// What only the operator of the client's node may ask.
    ///
    /// The node refuses it ([`Refusal::NotAllowed`](super::Refusal::NotAllowed)) unless one of
    /// these holds:
    ///
    /// - the client is that of the node's own program ([`Node::client`](crate::Node::client));
    /// - the client connected with the operator's key
    ///   ([`ClientConfig::operator_key`](field@super::ClientConfig::operator_key)).
    pub fn operator(&self) -> Operator {
        Operator { client: self.clone() }
    }
}

impl Operator {
    /// Asks the node that the client talks to, which the caller must name, to leave the network.
    /// The node first hands over all that it holds. This returns what it still has to hand over.
    ///
    /// Call this again, with pauses, until nothing remains. Then the node ends, and
    /// [`Node::failed`](crate::Node::failed) says [`Left`](crate::NodeError::Left). Cancel-safe:
    /// once asked, the node goes on by itself.
    ///
    /// # Errors
    /// When this client may not ask it, there is no other node
    /// ([`Refusal::Alone`](super::Refusal::Alone)), or the node cannot be reached: it may have
    /// ended already.
    pub async fn leave(&self, node: NodeId) -> Result<Remaining, RequestError> {
        match self.client.ask(ClientRequest::Leave(node)).await? {
            Response::Leaving(remaining) => Ok(remaining.into()),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Tells all nodes that one of them is lost. Its places go to others at once, and no reader
    /// waits for what it alone may hold. If it comes back, it is a node like any other.
    ///
    /// It is not forgotten if this returns false: the node that the client talks to is connected to
    /// it, or does not know it.
    ///
    /// # Errors
    /// When this client may not ask it, or no node can be reached.
    pub async fn forget(&self, node: NodeId) -> Result<bool, RequestError> {
        match self.client.ask(ClientRequest::Forget(node)).await? {
            Response::Forgotten(known) => Ok(known),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Does what `Client::verify` does, and has the node repair its copies at once.
    ///
    /// # Errors
    /// When this client may not ask it, the topic does not exist, or no replica can be reached.
    #[doc(hidden)]
    pub async fn verify(&self, topic: &TopicName, after: Cursor) -> Result<Verified, RequestError> {
        self.client.compare_replicas(topic, after, true).await
    }
}
