//! Whether a client has a node at present.

use antiphon::model::NodeId;
use tokio::sync::watch;

/// Whether a client has a node at present.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// This node answers.
    Connected(NodeId),
    /// No node answers. The client goes on looking for one.
    Searching {
        /// How many nodes it knows and tries.
        known: usize,
        /// Why they do not answer: one line for each address.
        causes: Vec<String>,
    },
    /// The client is that of a node in this process, which has stopped.
    Stopped,
}

/// The states of a client's connection, one after the other ([`Client::connection`]).
///
/// [`Client::connection`]: super::Client::connection
#[derive(Debug, Clone)]
pub struct Connection {
    states: watch::Receiver<ConnectionState>,
}

impl Connection {
    pub(crate) fn new(states: watch::Receiver<ConnectionState>) -> Self {
        Self { states }
    }

    /// The state now.
    pub fn state(&self) -> ConnectionState {
        self.states.borrow().clone()
    }

    /// Waits for another state than the one that was seen last; none if there will be no other.
    /// States in between may be left out. Cancel-safe.
    pub async fn changed(&mut self) -> Option<ConnectionState> {
        self.states.changed().await.ok()?;
        Some(self.states.borrow_and_update().clone())
    }

    /// Waits until no node answers, or the client has ended. Cancel-safe.
    pub(crate) async fn lost(&mut self) {
        let is_lost = |state: &ConnectionState| !matches!(state, ConnectionState::Connected(_));
        // An error means that the client has ended.
        let _ = self.states.wait_for(is_lost).await;
    }
}

/// The state of a link that does not say: it never changes.
impl Default for Connection {
    fn default() -> Self {
        Self::new(watch::channel(ConnectionState::Stopped).1)
    }
}
