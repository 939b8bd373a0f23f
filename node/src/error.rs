//! Why a node did not start, and why it stopped by itself.

use std::path::PathBuf;

use antiphon::model::NodeId;
use libp2p::Multiaddr;
use thiserror::Error;

use crate::store::{DirectoryError, StoreError};

/// Why a node did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another node uses the data directory.
    #[error("the data directory {0} is used by another node")]
    DataInUse(PathBuf),
    /// The data directory is that of a node of another network.
    #[error("the data directory {path} belongs to network `{network}`")]
    OtherNetwork {
        /// The directory.
        path: PathBuf,
        /// The network of its node.
        network: String,
    },
    /// The node of this key runs already with another data directory. One of the directories is a
    /// copy of the other.
    #[error("node {node} runs already on this machine, and {path} is a copy of its data directory")]
    Running {
        /// The directory that was to be used.
        path: PathBuf,
        /// The node.
        node: NodeId,
    },
    /// The node's key file is missing, but its records are there. Put the file back, or start with
    /// an empty directory: that makes another node.
    #[error("the key {path} is gone, but the records of its node are there")]
    KeyGone {
        /// Where the file was.
        path: PathBuf,
    },
    /// The data directory or its content cannot be used.
    #[error("the data directory {path} cannot be used: {reason}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The file with the closed network that the directory belongs to cannot be read, users other
    /// than its owner can read it, or it is of another key.
    #[error("the network file {path} cannot be used: {reason}")]
    NetworkFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The data directory is that of a node of another network that has the same name.
    #[error("the data directory {path} belongs to another network `{network}`: {which}")]
    Namesake {
        /// The directory.
        path: PathBuf,
        /// The name of both networks.
        network: String,
        /// How the network of the directory differs.
        which: &'static str,
    },
    /// The key file of the node, or that of its operator, cannot be read, or users other than its
    /// owner can read it.
    #[error("the key {path} cannot be used: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The node cannot listen at an address: another program has the port, or the address is not
    /// this machine's.
    #[error("cannot listen at {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        reason: String,
    },
}

/// Why a node stopped by itself.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeError {
    /// The disk failed. What was acknowledged is on other nodes, and on this disk as far as it
    /// can be read.
    #[error("the store failed: {0}")]
    Store(String),
    /// Its data directory, or a file in it, was deleted or replaced while the node ran. The node
    /// has acknowledged nothing since then.
    #[error("the node stopped: {0}")]
    DataGone(String),
    /// Somebody asked the node to leave the network, and other nodes hold all that it held. This is
    /// no failure.
    #[error("the node has left the network")]
    Left,
    /// A part of the program ended unexpectedly.
    #[error("a part of the node ended unexpectedly: {0}")]
    Broken(String),
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Displaced { .. } => Self::DataGone(error.to_string()),
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InUse(path) => Self::DataInUse(path),
            DirectoryError::KeyGone { path } => Self::KeyGone { path },
            DirectoryError::Unusable { path, reason } => Self::Data { path, reason },
            DirectoryError::Network { path, reason } => Self::NetworkFile { path, reason },
            DirectoryError::Key { path, reason } => Self::Key { path, reason },
        }
    }
}
