//! A directory that is to belong to a closed network. It becomes one, or it stays as it was.

use std::path::{Path, PathBuf};

use antiphon::model::{
    NodeKey,
    roster::{Kept, TopicIds},
};

use super::{MembershipError, belongs, check_unused};
use crate::{
    error::StartError,
    node::check_may_join,
    store::{
        DataDirectory, key_path, load_network, load_or_create_key, network_path, write_network,
    },
};

/// A directory that this process alone uses, and its key.
pub(super) struct Place {
    /// Dropped first, while the directory is locked.
    made: Made,
    directory: DataDirectory,
    pub(super) key: NodeKey,
}

impl Place {
    /// Opens a directory that belongs to no closed network, and makes its key if there is none.
    /// Unless something is [kept](Self::keep) in it, what was made goes again.
    pub(super) fn open(data: &Path) -> Result<Self, MembershipError> {
        check_unused(data)?;
        let mut made = Made::nothing_yet(data);
        let directory = DataDirectory::open(data)?;
        // Before, the files may be those of somebody who was faster.
        made.goes = true;
        if let Some(kept) = load_network(directory.path())? {
            return Err(belongs(directory.path(), &kept));
        }
        let key = NodeKey::from_secret(&*load_or_create_key(&directory)?);
        Ok(Self { made, directory, key })
    }

    /// Whether a node has stored nothing here.
    ///
    /// # Errors
    /// When one has.
    pub(super) fn check_unused(&self) -> Result<(), MembershipError> {
        if self.directory.is_used() {
            return Err(MembershipError::Used(self.directory.path().to_owned()));
        }
        Ok(())
    }

    /// Whether what is stored here may belong to a network: nothing is, or it is of the open
    /// network that this one was.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn check_stored(&self, kept: &Kept) -> Result<(), MembershipError> {
        if !self.directory.is_used() {
            return Ok(());
        }
        if kept.charter.terms().topic_ids != TopicIds::ByName {
            return self.check_unused();
        }
        check_may_join(&self.directory, kept).map_err(|error| match error {
            StartError::Namesake { .. } | StartError::OtherNetwork { .. } => {
                MembershipError::Elsewhere(error.to_string())
            }
            _ => MembershipError::Data(error.to_string()),
        })
    }

    /// Writes what the directory belongs to.
    pub(super) fn keep(mut self, kept: &Kept) -> Result<(), MembershipError> {
        write_network(&self.directory, kept).map_err(|error| MembershipError::NotKept {
            path: self.directory.path().to_owned(),
            error,
        })?;
        self.keep_key();
        Ok(())
    }

    /// Keeps the key, whether the directory belongs to a network or not.
    pub(super) fn keep_key(&mut self) {
        self.made.goes = false;
    }
}

/// What was not there before.
struct Made {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
    goes: bool,
}

impl Made {
    fn nothing_yet(data: &Path) -> Self {
        // The lock is the last one, so that nobody else comes in between.
        let files = [network_path(data), data.join("network.new"), key_path(data)];
        let files = files.into_iter().chain([data.join("lock")]);
        let files = files.filter(|path| !path.exists()).collect();
        let directory = (!data.exists()).then(|| data.to_owned());
        Self { files, directory, goes: false }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.goes {
            return;
        }
        for file in &self.files {
            // It may not have been made.
            let _ = std::fs::remove_file(file);
        }
        if let Some(directory) = &self.directory {
            // What others put there meanwhile stays.
            let _ = std::fs::remove_dir(directory);
        }
    }
}
