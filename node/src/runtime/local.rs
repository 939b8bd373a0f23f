//! Questions from within the process: a client that needs no connection.

use std::time::Duration;

use antiphon::{
    model::NodeId,
    wire::{Request, Response},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Connection, ConnectionState, Link, LinkError, answer_grace};

/// Questions from within the process that wait for the loop to take them. Beyond it the asker
/// waits.
const LOCAL_QUESTIONS_MAX: usize = 256;

/// A question, and where its answer goes.
#[derive(Debug)]
pub(crate) struct LocalQuestion {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Response>,
}

/// Where the loop takes questions from. The node has stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct LocalQuestions {
    questions: mpsc::Receiver<LocalQuestion>,
    state: watch::Sender<ConnectionState>,
}

impl LocalQuestions {
    /// The next question. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<LocalQuestion> {
        self.questions.recv().await
    }
}

impl Drop for LocalQuestions {
    fn drop(&mut self) {
        self.state.send_replace(ConnectionState::Stopped);
    }
}

/// The way to a node in this process.
#[derive(Debug, Clone)]
pub(crate) struct LocalLink {
    questions: mpsc::Sender<LocalQuestion>,
    connection: Connection,
}

impl LocalLink {
    /// A link to a node, and the end that the node's loop holds.
    pub(crate) fn new(node: NodeId) -> (Self, LocalQuestions) {
        let (sender, questions) = mpsc::channel(LOCAL_QUESTIONS_MAX);
        let (state, states) = watch::channel(ConnectionState::Connected(node));
        let link = Self { questions: sender, connection: Connection::new(states) };
        (link, LocalQuestions { questions, state })
    }

    async fn ask(&self, request: Request) -> Result<Response, LinkError> {
        let (answer, answered) = oneshot::channel();
        let stopped = "the node has stopped";
        let sent = self.questions.send(LocalQuestion { request, answer }).await;
        sent.map_err(|_closed| LinkError::NotSent(stopped.into()))?;
        answered.await.map_err(|_closed| LinkError::Unreachable(stopped.into()))
    }
}

impl Link for LocalLink {
    fn ask(
        &self,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, LinkError>> {
        async move {
            let whole = timeout + answer_grace(&request);
            tokio::time::timeout(whole, self.ask(request))
                .await
                .unwrap_or(Err(LinkError::TimedOut(timeout)))
        }
        .boxed()
    }

    fn connection(&self) -> Connection {
        self.connection.clone()
    }
}
