//! The data directory of a node.
//!
//! ```text
//! lock     held while a node runs
//! key      the node's secret key, see `identity`
//! operator the secret key of the node's operator, if it is in no other file
//! life     made anew at each start, see `life`
//! network  the closed network that it belongs to, if it does, see `kept`
//! stopped  the mark of a clean stop, while no node runs
//! store/   the segments and their index, see `segments`
//! ```

use std::{
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::placed::Placed;

/// Why a data directory cannot be used. Nothing in it has changed.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    /// Another node uses it.
    #[error("the data directory {0} is used by another node")]
    InUse(PathBuf),
    /// The key is gone, and what its node stored is not.
    #[error("the key {path} is gone, but the records of its node are there")]
    KeyGone {
        /// Where it was.
        path: PathBuf,
    },
    /// It cannot be made, read or written.
    #[error("the data directory {path} cannot be used: {reason}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file of its network cannot be read, is open to others, or is damaged.
    #[error("the network file {path} cannot be used: {reason}")]
    Network {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key in it cannot be read, is open to others, or is no key.
    #[error("the key {path} cannot be used: {reason}")]
    Key {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: std::fs::File,
}

impl DataDirectory {
    /// Opens a data directory. Where it is not there it is made, open to its owner only.
    ///
    /// # Errors
    /// When another node uses it, or when it cannot be made or written.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        // From here on the working directory does not matter: it may be renamed.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let unusable = |error: io::Error| DirectoryError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        make(path).map_err(unusable)?;
        let lock = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What must stay at its name while the node runs. The key must have been made.
    pub(crate) fn placed(&self) -> io::Result<Vec<Placed>> {
        Ok(vec![
            Placed::open("the data directory", self.path.clone())?,
            Placed::open("the lock file", self.path.join("lock"))?,
            Placed::open("the key", self.key())?,
        ])
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the key is.
    pub(crate) fn key(&self) -> PathBuf {
        key_path(&self.path)
    }

    /// Where the key of the operator is, if it is in no other file.
    pub(crate) fn operator_key(&self) -> PathBuf {
        operator_key_path(&self.path)
    }

    /// Whether a node has stored anything here.
    pub(crate) fn is_used(&self) -> bool {
        let entries = std::fs::read_dir(self.store().join("segments"));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Flushes the names of the files in the directory.
    pub(super) fn flush(&self) -> io::Result<()> {
        flush_directory(&self.path)
    }
}

/// Where the key of a data directory is.
pub(crate) fn key_path(data: &Path) -> PathBuf {
    data.join("key")
}

/// Where the key of the operator of a data directory's node is, if it is in no other file.
pub(crate) fn operator_key_path(data: &Path) -> PathBuf {
    data.join("operator")
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(io::Error::other("it is a file"));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A power cut must not take the directory away with what is flushed inside it.
    path.canonicalize()?.ancestors().skip(1).take(1).try_for_each(flush_directory)
}

/// Flushes the names in a directory, so that what was created and removed stays so.
pub(super) fn flush_directory(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_node_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let directory = DataDirectory::open(&path).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(matches!(&error, DirectoryError::InUse(in_use) if *in_use == path), "{error}");
        drop(directory);
        assert_eq!(DataDirectory::open(&path).unwrap().path(), path);
    }

    #[test]
    fn a_file_is_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        let path = path.display();
        let expected = format!("the data directory {path} cannot be used: it is a file");
        assert_eq!(error.to_string(), expected);
    }
}
