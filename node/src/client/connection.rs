//! Whether a client has a node at present.

use antiphon::model::NodeId;
use tokio::sync::watch;

/// Whether a client has a node at present.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// This node answers.
    Connected(NodeId),
    /// No node answers. The client looks for one again and again.
    Searching {
        /// How many nodes the client knows and tries.
        known: usize,
        /// Why they do not answer, in one line for each address.
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

    /// A connection that has ended, and never changes.
    pub(crate) fn stopped() -> Self {
        Self::new(watch::channel(ConnectionState::Stopped).1)
    }

    /// The state now.
    pub fn state(&self) -> ConnectionState {
        self.states.borrow().clone()
    }

    /// Waits for the next state, and returns it. None if there will be no other.
    ///
    /// The next one is the newest after the one that this returned last. On the first call, it is
    /// the newest since [`Client::connection`] was called. [`state`](Self::state) does not count as
    /// a look. States in between may be left out. Cancel-safe.
    ///
    /// [`Client::connection`]: super::Client::connection
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
