//! The nodes of this machine's user.

use std::io;

use antiphon::model::{Network, NodeId};
use libp2p::{Multiaddr, multiaddr::Protocol};

use super::{runtime_directory::RuntimeDirectory, translate::node_of};

/// A node that runs on this machine under this user, and finds others by itself
/// ([`NodeConfig::discovery`](field@crate::NodeConfig::discovery)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// The node.
    pub node: NodeId,
    /// Where it listens, with its peer id at the end of each address.
    pub addresses: Vec<Multiaddr>,
}

impl LocalNode {
    /// All of them in a network, in order of their ids. Not among them are nodes of other users,
    /// nodes of other machines, and nodes that were started without discovery.
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
