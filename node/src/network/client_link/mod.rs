//! A client's way to a node: a light libp2p peer with a key of the moment, the operator's key, or
//! that of a member of a closed network.
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
mod identity;
mod nodes;
mod patience;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use antiphon::wire::{Request, Response};
use candidates::Candidates;
use connector::Connector;
use driver::Driver;
use futures::{FutureExt, future::BoxFuture};
use identity::Identity;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    client::{
        ClientConfig, ConnectError, Connection, ConnectionState, Link, LinkError,
        REQUEST_TIMEOUT_DEFAULT, answer_grace,
    },
    network::runtime_directory::Places,
    platform::tasks,
};

/// A connection to a node elsewhere.
#[derive(Debug)]
pub(crate) struct RemoteLink {
    commands: mpsc::Sender<Command>,
    connection: Connection,
    task: JoinHandle<()>,
}

/// A request to send, and where its outcome goes.
#[derive(Debug)]
struct Command {
    request: Request,
    answer: oneshot::Sender<Result<Response, LinkError>>,
    passage: Passage,
}

/// Whether a request was sent to any node. Its asker and the task of the link share it.
#[derive(Debug, Clone, Default)]
struct Passage(Arc<AtomicU8>);

/// It was not sent, and may be.
const WAITING: u8 = 0;
/// It was sent, perhaps more than once.
const SENT: u8 = 1;
/// It was not sent, and will not be.
const WITHDRAWN: u8 = 2;

impl Passage {
    /// Asks whether it may be sent, which it counts as from now on.
    fn open(&self) -> bool {
        let Self(state) = self;
        let before = state.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire);
        before != Err(WITHDRAWN)
    }

    /// Sees to it that it is not sent, unless it was.
    fn close(&self) {
        let Self(state) = self;
        // An error means that it was sent, or that it was withdrawn before.
        let _ = state.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether it was sent.
    fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire) == SENT
    }
}

/// Requests that wait for the link. Beyond it, askers wait to hand theirs over.
const COMMANDS_MAX: usize = 64;

impl RemoteLink {
    /// Finds a node and connects to it: the first of `config.nodes` that answers; where none is
    /// named, the first one that runs on this machine; where none does, the first one that mDNS
    /// finds on the LAN. While none answers, all of this is tried again until the time is over.
    ///
    /// # Errors
    /// When none is found or none answers in time. The error says what was tried.
    pub(crate) async fn connect(config: &ClientConfig) -> Result<Self, ConnectError> {
        let candidates = if config.nodes.is_empty() {
            Candidates::found(Places::of(&config.network))
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
        Self::connect_to(config, Candidates::found(Places::only(place, &config.network))).await
    }

    async fn connect_to(
        config: &ClientConfig,
        candidates: Candidates,
    ) -> Result<Self, ConnectError> {
        let time = config.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT);
        let looked_in = candidates.places();
        let identity = Identity::of(config, &candidates);
        let driver = Driver::new(Connector::new(&config.network, candidates, identity)?);
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (report, states) = watch::channel(driver.state());
        let task = tasks::spawn("client link", driver.run(received, report));
        let link = Self { commands, connection: Connection::new(states), task };
        let connected = tokio::time::timeout(time, link.connected(config)).await;
        let causes = match connected {
            Ok(Ok(())) => return Ok(link),
            Ok(Err(causes)) => causes,
            Err(_elapsed) => match link.connection.state() {
                ConnectionState::Searching { causes, .. } => causes,
                ConnectionState::Connected(_) => return Ok(link),
                ConnectionState::Stopped => Vec::new(),
            },
        };
        Err(if causes.is_empty() {
            ConnectError::NoNode { network: config.network.to_string(), looked_in }
        } else {
            ConnectError::Unreachable(causes)
        })
    }

    /// Waits until a node is connected; why none will be, if all that were named are of another
    /// network.
    async fn connected(&self, config: &ClientConfig) -> Result<(), Vec<String>> {
        let mut connection = self.connection.clone();
        let mut state = connection.state();
        loop {
            match state {
                ConnectionState::Connected(_) => return Ok(()),
                ConnectionState::Searching { known: 0, causes } if !config.nodes.is_empty() => {
                    return Err(causes);
                }
                ConnectionState::Searching { .. } | ConnectionState::Stopped => {}
            }
            state = connection.changed().await.ok_or_else(Vec::new)?;
        }
    }

    /// Why a request had no answer when its time was over.
    fn overdue(&self, is_sent: bool, timeout: Duration) -> LinkError {
        match self.connection.state() {
            ConnectionState::Searching { causes, .. } => unreachable(&causes, is_sent),
            _ if is_sent => LinkError::TimedOut(timeout),
            _ => LinkError::NotSent("the node has too much to do".to_owned()),
        }
    }
}

/// Why a request had no answer where no node can be reached.
fn unreachable(causes: &[String], is_sent: bool) -> LinkError {
    let cause = match causes {
        [] => "none was found on this machine or on the LAN".to_owned(),
        causes => causes.join("; "),
    };
    let unreachable = LinkError::Unreachable(cause);
    if is_sent { unreachable } else { LinkError::NotSent(unreachable.to_string()) }
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
            let passage = Passage::default();
            let grace = answer_grace(&request);
            let command = Command { request, answer, passage: passage.clone() };
            let mut exchange = pin!(async {
                let gone = || LinkError::Unreachable("the link has ended".to_owned());
                self.commands.send(command).await.map_err(|_refused| gone())?;
                outcome.await.map_err(|_dropped| gone())?
            });
            if let Ok(result) = tokio::time::timeout(timeout, &mut exchange).await {
                return result;
            }
            passage.close();
            if passage.is_sent() && !grace.is_zero() {
                let mut connection = self.connection.clone();
                tokio::select! {
                    biased;
                    result = &mut exchange => return result,
                    () = connection.lost() => {}
                    () = tokio::time::sleep(grace) => {}
                }
            }
            Err(self.overdue(passage.is_sent(), timeout))
        }
        .boxed()
    }

    fn connection(&self) -> Connection {
        self.connection.clone()
    }
}
