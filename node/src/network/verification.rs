//! Verification of gossip, away from the loop of the swarm: each message costs a hash of all
//! its bytes and a signature check.

use std::collections::BTreeMap;

use antiphon::wire::{Gossip, WireError};
use futures::{StreamExt, stream::FuturesOrdered};
use libp2p::{
    PeerId,
    gossipsub::{Message, MessageId, TopicHash},
};
use thiserror::Error;
use tokio::task::JoinHandle;

use super::protocols::Protocols;
use crate::platform::tasks;

/// The messages that are being verified. They leave in the order in which they came, so that a
/// log's batches keep theirs.
#[derive(Debug, Default)]
pub(super) struct Verification {
    tasks: FuturesOrdered<JoinHandle<Verdict>>,
    /// How many are of each peer. One whose task was lost keeps its place, at the end of the
    /// process.
    of_peers: BTreeMap<PeerId, usize>,
}

/// The verdict on a message.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) message: MessageId,
    /// The neighbour that it came from.
    pub(super) source: PeerId,
    pub(super) result: Result<Gossip, GossipError>,
}

/// Why a message is not passed on.
#[derive(Debug, Error)]
pub(super) enum GossipError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the batch belongs to another topic than its mesh")]
    Topic,
}

/// Messages that are being verified at the same time; 21 MB at most.
const VERIFICATIONS_MAX: usize = 64;

/// The same that came from one peer, so that others have their turn.
const VERIFICATIONS_PER_PEER_MAX: usize = 16;

impl Verification {
    /// Begins to verify a message; false if there are too many.
    pub(super) fn begin(
        &mut self,
        protocols: &Protocols,
        id: MessageId,
        source: PeerId,
        message: Message,
    ) -> bool {
        let of_peer = self.of_peers.get(&source).copied().unwrap_or(0);
        if self.tasks.len() >= VERIFICATIONS_MAX || of_peer >= VERIFICATIONS_PER_PEER_MAX {
            return false;
        }
        self.of_peers.insert(source, of_peer + 1);
        let protocols = protocols.clone();
        self.tasks.push_back(tasks::spawn("verify gossip", async move {
            let Message { data, topic, .. } = message;
            Verdict { message: id, source, result: verify(data, &topic, &protocols) }
        }));
        true
    }

    /// The next verdict; none if nothing is being verified. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Verdict> {
        loop {
            match self.tasks.next().await? {
                Ok(verdict) => {
                    if let Some(count) = self.of_peers.get_mut(&verdict.source) {
                        *count -= 1;
                        if *count == 0 {
                            self.of_peers.remove(&verdict.source);
                        }
                    }
                    return Some(verdict);
                }
                // The process is being shut down; the message is as good as lost.
                Err(error) => tracing::debug!(%error, "a message was not verified"),
            }
        }
    }
}

fn verify(data: Vec<u8>, mesh: &TopicHash, protocols: &Protocols) -> Result<Gossip, GossipError> {
    let gossip = Gossip::decode(data.into())?;
    if protocols.mesh(gossip.header().topic).hash() == *mesh {
        Ok(gossip)
    } else {
        Err(GossipError::Topic)
    }
}
