//! The secret keys of a closed network's root and admins, in files.

use std::path::{Path, PathBuf};

use antiphon::model::NodeKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    platform::random_bytes,
    store::{create_key_file, load_key_file},
};

/// Why the key of a root or of an admin cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the key {path} {reason}")]
#[non_exhaustive]
pub struct NetworkKeyError {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used, or was not made.
    pub reason: String,
}

/// Draws a key, and keeps it in a new file that its owner alone can read. The directory must be
/// there.
///
/// # Errors
/// When the file is there already, or cannot be made. Nothing has changed then.
pub fn create_network_key(path: &Path) -> Result<NodeKey, NetworkKeyError> {
    let made = create_key_file(path);
    let secret = made.map_err(|error| NetworkKeyError {
        path: path.to_owned(),
        reason: format!("was not made: {error}"),
    })?;
    Ok(NodeKey::from_secret(&secret))
}

/// Draws the key of an invitation, which goes into its ticket and nowhere else.
pub fn draw_invitation_key() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(random_bytes())
}

/// Reads a key from its file.
///
/// # Errors
/// When the file cannot be read, users other than its owner can read it, or it is no key.
pub fn load_network_key(path: &Path) -> Result<NodeKey, NetworkKeyError> {
    let loaded = load_key_file(path);
    let secret = loaded.map_err(|reason| NetworkKeyError {
        path: path.to_owned(),
        reason: format!("cannot be used: {reason}"),
    })?;
    Ok(NodeKey::from_secret(&secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_never_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lab.admin");
        let made = create_network_key(&path).unwrap();
        assert_eq!(load_network_key(&path).unwrap().node(), made.node());
        let again = create_network_key(&path).unwrap_err();
        assert!(again.to_string().contains("was not made"), "{again}");
        assert_eq!(load_network_key(&path).unwrap().node(), made.node());
        let missing = load_network_key(&home.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("cannot be used"), "{missing}");
    }
}
