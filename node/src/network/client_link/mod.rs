//! A client's way to a node: a light libp2p peer with a key of the moment.
//!
//! It listens nowhere and speaks only requests, pings and identify. It uses one node, keeps a
//! second connection to go on with, and learns from its node which others there are. A request
//! goes to another node when the connection breaks, when the node is silent, when it refuses for
//! reasons of its own, and, a publish, when it is late; see `patience` for what that means.
//!
//! All requests may be repeated: publishing names its records, commits are idempotent, the rest
//! reads. It gives no promise of its own: a request whose answer did not come in its time may
//! have been carried out.

mod asks;
mod candidates;
mod connector;
mod driver;
mod nodes;
mod patience;

use std::time::Duration;

use antiphon::wire::{Request, Response};
use candidates::Candidates;
use connector::Connector;
use driver::Driver;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    client::{ClientConfig, ConnectError, Link, LinkError, REQUEST_TIMEOUT_DEFAULT},
    network::runtime_directory::RuntimeDirectory,
    runtime::tasks,
};

/// A connection to a node elsewhere.
#[derive(Debug)]
pub(crate) struct RemoteLink {
    commands: mpsc::Sender<Command>,
    /// Why there is no connection at present; none if there is one.
    trouble: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

/// A request to send, and where its outcome goes.
#[derive(Debug)]
struct Command {
    request: Request,
    answer: oneshot::Sender<Result<Response, LinkError>>,
}

/// Requests that wait for the link. Beyond it, askers wait to hand theirs over.
const COMMANDS_MAX: usize = 64;

impl RemoteLink {
    /// Finds a node and connects to it: the first of `config.nodes` that answers; where none is
    /// named, the first one that runs on this machine; where none does, the first one that mDNS
    /// finds on the LAN.
    ///
    /// # Errors
    /// When none is found or none answers in time. The error says what was tried.
    pub(crate) async fn connect(config: &ClientConfig) -> Result<Self, ConnectError> {
        let candidates = if config.nodes.is_empty() {
            Candidates::of_machine(RuntimeDirectory::open(&config.network).ok())
        } else {
            Candidates::listed(&config.nodes)?
        };
        Self::connect_to(config, candidates).await
    }

    /// Connects to a node that the runtime directory in `place` knows.
    #[cfg(test)]
    pub(super) async fn connect_by(
        config: &ClientConfig,
        place: &std::path::Path,
    ) -> Result<Self, ConnectError> {
        let directory = RuntimeDirectory::open_in(place, &config.network).ok();
        Self::connect_to(config, Candidates::of_machine(directory)).await
    }

    async fn connect_to(
        config: &ClientConfig,
        candidates: Candidates,
    ) -> Result<Self, ConnectError> {
        let time = config.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT);
        let mut connector = Connector::new(&config.network, candidates)?;
        let connected = tokio::time::timeout(time, connector.connect()).await;
        let Ok(Some((node, connection))) = connected else {
            return Err(connector.into_error());
        };
        let driver = Driver::new(connector, node, connection);
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (report, trouble) = watch::channel(None);
        let task = tasks::spawn("client link", driver.run(received, report));
        Ok(Self { commands, trouble, task })
    }
}

impl Drop for RemoteLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link for RemoteLink {
    fn ask(
        &self,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, LinkError>> {
        async move {
            let (answer, outcome) = oneshot::channel();
            let exchange = async {
                let gone = || LinkError::Unreachable("the link has ended".to_owned());
                let command = Command { request, answer };
                self.commands.send(command).await.map_err(|_refused| gone())?;
                outcome.await.map_err(|_dropped| gone())?
            };
            match tokio::time::timeout(timeout, exchange).await {
                Ok(result) => result,
                Err(_elapsed) => Err(match self.trouble.borrow().clone() {
                    Some(trouble) => LinkError::Unreachable(trouble),
                    None => LinkError::TimedOut(timeout),
                }),
            }
        }
        .boxed()
    }
}
