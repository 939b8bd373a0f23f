//! The nodes of this machine's user.

use std::io;

use antiphon::model::{Network, NodeId};
use libp2p::{Multiaddr, multiaddr::Protocol};

use super::{runtime_directory::RuntimeDirectory, translate::node_of};

/// A node that runs on this machine under this user, and finds others by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// The node.
    pub node: NodeId,
    /// Where it listens, with its peer id at the end of each address.
    pub addresses: Vec<Multiaddr>,
}

impl LocalNode {
    /// All of them in a network, in order of their names. Nodes of other users, of the LAN and
    /// those that were started without discovery are not among them.
    ///
    /// # Errors
    /// When the user's runtime directory cannot be read.
    pub fn all(network: &Network) -> io::Result<Vec<Self>> {
        let found = RuntimeDirectory::open(network)?.nodes()?;
        let local = found.into_iter().filter_map(|found| {
            let whole = |address: Multiaddr| address.with(Protocol::P2p(found.peer));
            let addresses = found.addresses.into_iter().map(whole).collect();
            node_of(&found.peer).map(|node| Self { node, addresses })
        });
        Ok(local.collect())
    }
}
