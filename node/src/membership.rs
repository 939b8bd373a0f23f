//! Closed networks: how one is made, how a machine joins one, and who a client is in it.
//!
//! A data directory that has the file `network` belongs to a closed network, and so does the node
//! that is started in it. [`found`] makes the first such directory, [`join`] makes others, with a
//! ticket. The file has the network's *door*, a secret that all its members share.

mod place;
mod renewal;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use antiphon::model::{
    Network, NodeId, NodeKey,
    roster::{
        Door, Founding, Kept, KeptError, Known, NetworkId, Ticket, TicketContact, TicketError,
    },
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use thiserror::Error;
use zeroize::Zeroizing;

use self::place::Place;
pub use self::renewal::RENEWED_BEFORE;
use crate::{
    network::{Closed, network_file_of},
    platform::{clock::wall, random_bytes},
    store::{DirectoryError, load_key, load_network, load_network_file},
};

/// Why a data directory did not become one of a closed network. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The directory is in use, or it cannot be used.
    #[error("{0}")]
    Data(String),
    /// It belongs to a closed network already.
    #[error("the data directory {path} belongs to network `{network}` already")]
    Belongs {
        /// The directory.
        path: PathBuf,
        /// The name of the network.
        network: String,
    },
    /// It belongs to a node of an open network.
    #[error("the data directory {0} has the records of a node of an open network")]
    Used(PathBuf),
    /// It belongs to a node of another network.
    #[error("{0}")]
    Elsewhere(String),
    /// Another process uses it.
    #[error("the data directory {0} is used by another node")]
    InUse(PathBuf),
    /// It belongs to no closed network.
    #[error("the directory {0} belongs to no closed network")]
    Open(PathBuf),
    /// The text is no ticket.
    #[error("{0}")]
    Ticket(#[from] TicketError),
    /// The ticket or the name of the machine does not do.
    #[error("{0}")]
    Refused(#[from] KeptError),
    /// The file could not be written.
    #[error("the network was not kept in {path}: {error}")]
    NotKept {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl From<DirectoryError> for MembershipError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InUse(path) => Self::InUse(path),
            other => Self::Data(other.to_string()),
        }
    }
}

/// Makes a closed network of this name, with the keys of its root and of its first admin. The node
/// of the data directory is its first member, under the name `label`. Blocks.
///
/// Who has the root's key *is* the network, so it does not stay on a node. The admin's key admits
/// members and removes them. Neither is kept in the data directory.
///
/// # Errors
/// When the directory is in use, or has been used, or cannot be written.
pub fn found(
    data: impl AsRef<Path>,
    name: Network,
    keys: (&NodeKey, &NodeKey),
    label: &str,
) -> Result<NetworkId, MembershipError> {
    let place = Place::open(data.as_ref())?;
    place.check_unused()?;
    let door = Door::from_bytes(random_bytes());
    let kept = Kept::found(name, keys, door, (place.key.node(), label), wall())?;
    place.keep(&kept)?;
    Ok(kept.network())
}

/// Whether a data directory can become one of a closed network, as far as can be seen without
/// opening it.
///
/// # Errors
/// When it belongs to one already, or its files cannot be read.
pub fn check_unused(data: impl AsRef<Path>) -> Result<(), MembershipError> {
    let path = data.as_ref();
    match load_network(path)? {
        None => Ok(()),
        Some(kept) => Err(belongs(path, &kept)),
    }
}

fn belongs(path: &Path, kept: &Kept) -> MembershipError {
    let network = kept.charter.terms().name.to_string();
    MembershipError::Belongs { path: path.to_owned(), network }
}

/// What a ticket says of a node through which newcomers join; none if the address has no peer id
/// at its end.
pub fn contact(address: &Multiaddr) -> Option<TicketContact> {
    let mut address = address.clone();
    let Some(Protocol::P2p(peer)) = address.pop() else { return None };
    let node = NodeId::from_peer_id_bytes(&peer.to_bytes()).ok()?;
    Some(TicketContact { node, address: address.to_string() })
}

/// Makes an open network a closed one, with the keys of its root and of its first admin. Its nodes
/// become members when they [join](join()), each with its own ticket. Nothing is kept anywhere.
///
/// # Errors
/// When a name cannot be used, or more nodes and writers are known than a ticket can introduce.
pub fn found_from_open(
    name: Network,
    keys: (&NodeKey, &NodeKey),
    known: &Known,
) -> Result<Founding, MembershipError> {
    let door = Door::from_bytes(random_bytes());
    Ok(Founding::sign(name, keys, door, known, wall())?)
}

/// Makes the data directory one of a closed network, by a ticket. Its node becomes a member when it
/// reaches one. If the network was open before, the directory may be that of one of its nodes.
/// Blocks.
///
/// # Errors
/// When the ticket cannot be used, the directory is in use, has records of another network, or
/// cannot be written.
pub fn join(
    data: impl AsRef<Path>,
    ticket: &str,
    label: &str,
) -> Result<NetworkId, MembershipError> {
    let ticket: Ticket = ticket.parse()?;
    let place = Place::open(data.as_ref())?;
    let kept = Kept::join(&ticket, &place.key, label)?;
    place.check_stored(&kept)?;
    place.keep(&kept)?;
    Ok(kept.network())
}

/// The id of the node or client that this directory makes a member. An admin signs a pass for it,
/// with which it [joins](join) then. A key is made if there is none. Blocks.
///
/// # Errors
/// When the directory is in use, or belongs to a closed network, or cannot be written.
pub fn own_id(data: impl AsRef<Path>) -> Result<NodeId, MembershipError> {
    let mut place = Place::open(data.as_ref())?;
    place.keep_key();
    Ok(place.key.node())
}

/// Who a client is in a closed network: a key, and why it belongs to the network.
///
/// [`ClientConfig::membership`](field@crate::ClientConfig::membership) takes it. [`join`] makes a
/// directory for a client as for a node, with a ticket for clients.
#[derive(Clone)]
pub struct Membership {
    directory: PathBuf,
    secret: Zeroizing<[u8; 32]>,
    kept: Kept,
}

impl Membership {
    /// Reads the membership in a directory.
    ///
    /// # Errors
    /// When it belongs to no closed network, or its files cannot be used.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, MembershipError> {
        let path = directory.as_ref();
        let kept = load_network(path)?.ok_or_else(|| MembershipError::Open(path.to_owned()))?;
        let directory = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { directory, secret: load_key(path)?, kept })
    }

    /// The network's name.
    pub fn network(&self) -> &Network {
        &self.kept.charter.terms().name
    }

    /// The network's id.
    pub fn network_id(&self) -> NetworkId {
        self.kept.network()
    }

    /// Its own id.
    pub fn id(&self) -> NodeId {
        NodeKey::from_secret(&self.secret).node()
    }

    /// The nodes that its ticket named, each with its peer id.
    pub fn contacts(&self) -> Vec<Multiaddr> {
        crate::node::contacts(&self.kept)
    }

    /// All that the directory has of the network. It has the network's door, which is a secret.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(crate) fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }

    /// What a client of this membership needs of the network.
    pub(crate) fn closed(&self) -> Closed {
        let Kept { charter, door, own, .. } = self.kept.clone();
        Closed { charter, door, own: Some(own), node: None }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Membership").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// The closed network of a node that runs on this machine, for its operator; none if the node is of
/// an open one, or if this user may not know.
pub(crate) fn of_local_node(node: PeerId) -> Option<Closed> {
    let file = network_file_of(node)?;
    match load_network_file(&file) {
        Ok(kept) => {
            kept.map(|Kept { charter, door, .. }| Closed { charter, door, own: None, node: None })
        }
        Err(reason) => {
            tracing::debug!(file = %file.display(), reason, "a closed network cannot be used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::roster::{Invitation, MemberKind, Pass};

    use super::*;
    use crate::{Client, ClientConfig, Node, NodeConfig, StartError};

    #[tokio::test]
    async fn a_network_that_was_made_lets_in_its_operator_and_who_has_a_ticket() {
        let parent = tempfile::tempdir().unwrap();
        let [data, laptop, open] = ["data", "laptop", "open"].map(|name| parent.path().join(name));
        let name: Network = "lab".parse().unwrap();
        let keys = [1, 2].map(|number| NodeKey::from_secret(&[number; 32]));
        let keys = (&keys[0], &keys[1]);
        check_unused(&data).unwrap();
        let founded = found(&data, name.clone(), keys, "first").unwrap();
        assert!(matches!(check_unused(&data), Err(MembershipError::Belongs { .. })));
        let again = found(&data, name.clone(), keys, "first");
        assert!(matches!(again, Err(MembershipError::Belongs { .. })));

        let kept = load_network(&data).unwrap().unwrap();
        let (admin, invite) = (keys.1, NodeKey::from_secret(&[7; 32]));
        let subject = (invite.node(), MemberKind::Invite);
        let mut pass = Pass::new(kept.network(), subject, admin.node(), wall());
        pass.invitation = Some(Invitation { admits: MemberKind::Client, uses: 1, until: None });
        let pass = (pass.sign(admin).unwrap(), [7; 32]);
        let ticket = Ticket::invitation(kept.charter, kept.door, vec![], pass).to_string();
        assert_eq!(join(&laptop, &ticket, "laptop").unwrap(), founded);

        let node = Node::start(NodeConfig::on_loopback(&data)).await.unwrap();
        let config = ClientConfig::new().nodes(node.addresses());
        let member = Membership::load(&laptop).unwrap();
        Client::connect(config.clone().membership(member)).await.unwrap();
        // By the links that the node has left on this machine.
        Client::connect(config.network(name.clone())).await.unwrap();
        node.stop().await.unwrap();

        let for_client = Node::start(NodeConfig::on_loopback(&laptop)).await;
        assert!(matches!(for_client, Err(StartError::NetworkFile { .. })));
        let elsewhere = NodeConfig::on_loopback(&data).network("else".parse().unwrap());
        let elsewhere = Node::start(elsewhere).await;
        assert!(
            matches!(elsewhere, Err(StartError::OtherNetwork { network, .. }) if network == "lab")
        );
        std::fs::remove_file(data.join("network")).unwrap();
        let without = Node::start(NodeConfig::on_loopback(&data).network(name.clone())).await;
        assert!(matches!(without, Err(StartError::Namesake { .. })));

        let node = Node::start(NodeConfig::on_loopback(&open).network(name.clone())).await.unwrap();
        node.stop().await.unwrap();
        assert!(matches!(found(&open, name, keys, "first"), Err(MembershipError::Used(_))));
    }
}
