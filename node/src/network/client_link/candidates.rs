//! The nodes that a client may go to, and the order in which it tries them.

use libp2p::{Multiaddr, PeerId};

use crate::{
    client::ConnectError,
    network::{
        runtime_directory::{Found, RuntimeDirectory},
        translate::split_peer,
    },
};

/// The nodes that a client may go to.
#[derive(Debug)]
pub(super) struct Candidates {
    source: Source,
    nodes: Vec<Candidate>,
    /// Where in `nodes` the next one is.
    next: usize,
}

/// A node that a client may go to.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

/// Where candidates come from.
#[derive(Debug)]
enum Source {
    /// They were named.
    Listed,
    /// They run on this machine.
    Machine(Option<RuntimeDirectory>),
    /// They are on the LAN; they come while the client waits.
    Lan,
}

/// Candidates that are remembered.
const CANDIDATES_MAX: usize = 256;

impl Candidates {
    /// The nodes that were named.
    pub(super) fn listed(addresses: &[Multiaddr]) -> Result<Self, ConnectError> {
        let mut candidates = Self { source: Source::Listed, nodes: Vec::new(), next: 0 };
        for address in addresses {
            let (bare, Some(peer)) = split_peer(address.clone()) else {
                return Err(ConnectError::WithoutPeer(address.clone()));
            };
            candidates.add(peer, bare);
        }
        Ok(candidates)
    }

    /// The nodes that run on this machine.
    pub(super) fn of_machine(directory: Option<RuntimeDirectory>) -> Self {
        let mut candidates =
            Self { source: Source::Machine(directory), nodes: Vec::new(), next: 0 };
        candidates.refresh();
        candidates
    }

    /// No node yet; [`Candidates::add`] brings those that are found on the LAN.
    pub(super) fn of_lan() -> Self {
        Self { source: Source::Lan, nodes: Vec::new(), next: 0 }
    }

    /// Whether they come from the LAN, so that it is not yet known of what network they are.
    pub(super) fn are_of_lan(&self) -> bool {
        matches!(self.source, Source::Lan)
    }

    /// Whether the LAN is to be searched when none of these answers.
    pub(super) fn may_be_widened(&self) -> bool {
        matches!(self.source, Source::Machine(_))
    }

    /// Whether there is no node left, and none can come.
    pub(super) fn are_exhausted(&self) -> bool {
        matches!(self.source, Source::Listed) && self.nodes.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The next one to try, round and round.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        let candidate = self.nodes.get(self.next).or_else(|| {
            self.next = 0;
            self.nodes.first()
        });
        self.next += 1;
        candidate.cloned()
    }

    /// Adds an address of a node.
    pub(super) fn add(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.peer == peer) {
            if !node.addresses.contains(&address) {
                node.addresses.push(address);
            }
        } else if self.nodes.len() < CANDIDATES_MAX {
            self.nodes.push(Candidate { peer, addresses: vec![address] });
        }
    }

    /// Leaves a node out: it is of another network.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.nodes.retain(|node| node.peer != *peer);
    }

    /// Looks again which nodes run on this machine.
    pub(super) fn refresh(&mut self) {
        let Source::Machine(Some(directory)) = &self.source else {
            return;
        };
        match directory.nodes() {
            Ok(found) => {
                let candidate = |Found { peer, addresses }| Candidate { peer, addresses };
                self.nodes = found.into_iter().map(candidate).take(CANDIDATES_MAX).collect();
            }
            Err(error) => tracing::debug!(%error, "the runtime directory is unreadable"),
        }
    }
}
