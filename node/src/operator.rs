//! The key of a node's operator, as commands and programs have it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use antiphon::model::{NodeId, NodeKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    network::operator_key_of,
    store::{load_key_file, operator_key_path},
};

/// The secret key of a node's operator.
///
/// A client that has it ([`ClientConfig::operator_key`](field@crate::ClientConfig::operator_key))
/// may end the node, declare others lost, and alter and delete topics. Each node keeps such a key
/// in the file `operator` of its data directory, which its user alone can read, unless
/// [`NodeConfig::operator_key`](field@crate::NodeConfig::operator_key) names another file. To
/// operate a node of another machine, copy its file.
#[derive(Clone)]
pub struct OperatorKey {
    secret: Zeroizing<[u8; 32]>,
}

/// Why the key of an operator cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the operator's key {path} cannot be used: {reason}")]
#[non_exhaustive]
pub struct OperatorKeyError {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub reason: String,
}

impl OperatorKey {
    /// Reads a key from its file.
    ///
    /// # Errors
    /// When the file cannot be read, users other than its owner can read it, or it is no key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, OperatorKeyError> {
        let path = path.as_ref();
        let failed = |reason| OperatorKeyError { path: path.to_owned(), reason };
        Ok(Self { secret: load_key_file(path).map_err(failed)? })
    }

    /// Reads the key in a node's data directory.
    ///
    /// # Errors
    /// As [`OperatorKey::load`].
    pub fn of_data(data: impl AsRef<Path>) -> Result<Self, OperatorKeyError> {
        Self::load(operator_key_path(data.as_ref()))
    }

    /// The key for a node that runs on this machine; none if no such node has left word where its
    /// key is.
    ///
    /// # Errors
    /// When the key is known and cannot be read: the node may be another user's.
    pub fn of_node(node: NodeId) -> Result<Option<Self>, OperatorKeyError> {
        operator_key_of(node).map(Self::load).transpose()
    }

    /// The key with these secret bytes.
    pub(crate) fn from_secret(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { secret }
    }

    /// The name under which a client with this key connects.
    pub(crate) fn id(&self) -> NodeId {
        NodeKey::from_secret(&self.secret).node()
    }

    /// The secret bytes.
    pub(crate) fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OperatorKey").finish_non_exhaustive()
    }
}
