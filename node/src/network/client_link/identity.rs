//! As whom a client connects.

use antiphon::model::NodeId;
use libp2p::PeerId;
use zeroize::Zeroizing;

use super::candidates::Candidates;
use crate::{
    client::ClientConfig,
    membership,
    network::{admission::Closed, translate::node_of},
    operator::OperatorKey,
};

/// As whom a client connects: with a key, or else with one of the moment.
pub(super) struct Identity {
    pub(super) secret: Option<Zeroizing<[u8; 32]>>,
    /// What it needs in a closed network.
    pub(super) closed: Option<Closed>,
}

impl Identity {
    /// The operator, if there is a key of one; or a member. A client that is neither is the
    /// operator of the first node of this machine that is of a closed network and of this user.
    pub(super) fn of(config: &ClientConfig, candidates: &Candidates) -> Self {
        let key = config.operator_key.as_ref().map(|key| key.secret().clone());
        if let Some(member) = &config.membership {
            let mut closed = member.closed();
            if key.is_some() {
                closed.own = None;
            }
            let secret = key.unwrap_or_else(|| member.secret().clone());
            return Self { secret: Some(secret), closed: Some(closed) };
        }
        let local = candidates.peers().find_map(|peer| Some((peer, local_network(peer)?)));
        match local {
            Some((peer, closed)) => {
                let secret = key.or_else(|| local_key(node_of(&peer)?));
                Self { secret, closed: Some(closed) }
            }
            None => Self { secret: key, closed: None },
        }
    }
}

fn local_network(peer: PeerId) -> Option<Closed> {
    membership::of_local_node(peer)
}

fn local_key(node: NodeId) -> Option<Zeroizing<[u8; 32]>> {
    match OperatorKey::of_node(node) {
        Ok(key) => key.map(|key| key.secret().clone()),
        Err(error) => {
            tracing::debug!(%error, "the operator's key of a node of this machine cannot be used");
            None
        }
    }
}
