//! Questions from within the process: a client that needs no connection.

use std::time::Duration;

use antiphon::wire::{Request, Response};
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use crate::client::{Link, LinkError};

/// Questions from within the process that wait for the loop to take them. Beyond it the asker
/// waits.
const LOCAL_QUESTIONS_MAX: usize = 256;

/// A question, and where its answer goes.
#[derive(Debug)]
pub(crate) struct LocalQuestion {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Response>,
}

/// Where the loop takes questions from.
pub(crate) type LocalQuestions = mpsc::Receiver<LocalQuestion>;

/// The way to a node in this process.
#[derive(Debug, Clone)]
pub(crate) struct LocalLink(mpsc::Sender<LocalQuestion>);

impl LocalLink {
    /// A link, and the end that the node's loop holds.
    pub(crate) fn new() -> (Self, LocalQuestions) {
        let (sender, receiver) = mpsc::channel(LOCAL_QUESTIONS_MAX);
        (Self(sender), receiver)
    }

    async fn ask(&self, request: Request) -> Result<Response, LinkError> {
        let stopped = || LinkError::Unreachable("the node has stopped".into());
        let (answer, answered) = oneshot::channel();
        self.0.send(LocalQuestion { request, answer }).await.map_err(|_closed| stopped())?;
        answered.await.map_err(|_closed| stopped())
    }
}

impl Link for LocalLink {
    fn ask(
        &self,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, LinkError>> {
        async move {
            tokio::time::timeout(timeout, self.ask(request))
                .await
                .unwrap_or(Err(LinkError::TimedOut(timeout)))
        }
        .boxed()
    }
}
