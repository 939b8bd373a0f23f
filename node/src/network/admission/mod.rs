//! Who gets into a closed network: an upgrade of each new connection, before it can carry anything.
//!
//! The handshake of Noise is bound to the network's *door*, a secret of its members, so nobody else
//! finishes it. Then each end says one [`Hello`], the dialler first: why it belongs to the network.
//! A [`Judge`] decides. Only then is there a multiplexer, and with it all that the node speaks.
//!
//! In an open network there is nothing of this: the same handshake, no hello.

mod exchange;
mod fresh;
mod judge;

use std::{io, sync::Arc};

use antiphon::{
    model::roster::{Charter, Credentials, Door, Roster, Signed, Statement},
    wire::{Hello, Refused},
};
use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};
pub(super) use judge::Judge;
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identity::Keypair,
    noise,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// What the network of a member is started with.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    /// The network's charter.
    pub(crate) charter: Signed<Charter>,
    /// Its door.
    pub(crate) door: Door,
    /// Why this program belongs to it; none for a node's operator.
    pub(crate) own: Option<Credentials>,
    /// What a node has besides; none for a client, which lets nobody but nodes in.
    pub(crate) node: Option<Gate>,
}

/// The ways between a node's judge and the rest of the node.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// The roster: what the store has of it, until the engine tells another one.
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    /// Where statements go that somebody showed who got in, and that the roster does not have.
    pub(crate) admitted: mpsc::Sender<Vec<Statement>>,
}

/// Times that somebody got in by what the roster does not have, and that wait for it. Beyond them,
/// newcomers try again.
pub(crate) const ADMITTED_MAX: usize = 64;

/// Why a connection was not let in, at either end.
#[derive(Debug, Error)]
pub(super) enum AdmissionError {
    /// The handshake failed.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other end said what is no hello.
    #[error("what it says first is not understood: {0}")]
    Garbage(String),
    /// The other end does not let this program in.
    #[error("it does not let this key in: {0}")]
    RefusedBy(Refused),
    /// The other end is not let in here.
    #[error("its key is not let in here: {0}")]
    Refused(Refused),
}

/// Secures a connection, and lets in who belongs to the network.
#[derive(Clone)]
pub(super) struct Admission {
    noise: noise::Config,
    /// None in an open network.
    judge: Option<Arc<Judge>>,
}

impl Admission {
    pub(super) fn new(key: &Keypair, judge: Option<Arc<Judge>>) -> Result<Self, noise::Error> {
        let noise = noise::Config::new(key)?;
        let noise = match &judge {
            Some(judge) => noise.with_prologue(judge.prologue()),
            None => noise,
        };
        Ok(Self { noise, judge })
    }
}

impl UpgradeInfo for Admission {
    type Info = <noise::Config as UpgradeInfo>::Info;
    type InfoIter = <noise::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info()
    }
}

/// A peer that is let in, and the connection to it.
type Secured<T> = (PeerId, noise::Output<T>);

impl<T> InboundConnectionUpgrade<T> for Admission
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = Secured<T>;
    type Error = AdmissionError;
    type Future = BoxFuture<'static, Result<Secured<T>, AdmissionError>>;

    fn upgrade_inbound(self, socket: T, info: Self::Info) -> Self::Future {
        async move {
            let (peer, mut stream) = self.noise.upgrade_inbound(socket, info).await?;
            if let Some(judge) = self.judge {
                exchange::receive(&judge, peer, &mut stream).await?;
            }
            Ok((peer, stream))
        }
        .boxed()
    }
}

impl<T> OutboundConnectionUpgrade<T> for Admission
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = Secured<T>;
    type Error = AdmissionError;
    type Future = BoxFuture<'static, Result<Secured<T>, AdmissionError>>;

    fn upgrade_outbound(self, socket: T, info: Self::Info) -> Self::Future {
        async move {
            let (peer, mut stream) = self.noise.upgrade_outbound(socket, info).await?;
            if let Some(judge) = self.judge {
                exchange::introduce(&judge, peer, &mut stream).await?;
            }
            Ok((peer, stream))
        }
        .boxed()
    }
}
