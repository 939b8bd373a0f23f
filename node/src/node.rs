//! A node inside a program.

use std::path::PathBuf;

use antiphon::model::{Network, NodeId};
use libp2p::Multiaddr;
use thiserror::Error;

use crate::client::Client;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where it keeps its topics and its key. Made if it is not there.
    pub data: PathBuf,
    /// Where it listens. Where nothing is given: on all interfaces, at the port of last time or
    /// one that is free.
    pub listen: Vec<Multiaddr>,
    /// Nodes to join through, each with its peer id (`/ip4/…/tcp/…/p2p/…`).
    pub bootstrap: Vec<Multiaddr>,
    /// The network. Nodes of another one never join.
    pub network: Network,
    /// Whether nodes nearby are found by themselves: by mDNS on the LAN, and on this machine
    /// through a runtime directory.
    pub discovery: bool,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another node uses the data directory.
    #[error("the data directory {0} is used by another node")]
    DataInUse(PathBuf),
    /// The data directory or its content cannot be used.
    #[error("the data directory {path} cannot be used: {reason}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is unreadable, or readable by others.
    #[error("the key {path} cannot be used: {reason}")]
    Key {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot listen at an address: the port is taken, or the address is not this machine's.
    #[error("cannot listen at {address}: {reason}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why.
        reason: String,
    },
    /// A bootstrap address lacks the peer id.
    #[error("the bootstrap address {0} lacks the peer id (`/p2p/…`)")]
    BootstrapWithoutPeer(Multiaddr),
}

/// Why a node stopped by itself.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NodeError {
    /// The disk failed. What was acknowledged is on other nodes, and on this disk as far as it
    /// can be read.
    #[error("the store failed: {0}")]
    Store(String),
    /// A part of the program ended unexpectedly.
    #[error("a part of the node ended unexpectedly: {0}")]
    Broken(String),
}

/// A running node. Dropping it stops it at once; [`Node::stop`] stops it cleanly.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// Starts a node: opens its data, listens, and begins to join.
    ///
    /// # Errors
    /// When its data, its key or an address cannot be used. Nothing keeps running then.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let _ = config;
        std::future::pending().await
    }

    /// The node's name.
    pub fn id(&self) -> NodeId {
        unreachable!()
    }

    /// Where it listens, with its peer id at the end of each address.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        Vec::new()
    }

    /// A client of this node, within the process.
    pub fn client(&self) -> Client {
        unreachable!()
    }

    /// Waits until the node stops by itself, which it does only when something failed.
    /// Cancel-safe.
    pub async fn failed(&mut self) -> NodeError {
        std::future::pending().await
    }

    /// Stops the node: what is under way is flushed, the other nodes are told by the closed
    /// connections.
    ///
    /// # Errors
    /// When the last flush failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        std::future::pending().await
    }
}
