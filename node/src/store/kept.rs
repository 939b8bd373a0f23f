//! The file `network`: the closed network that a data directory belongs to.
//!
//! It has the network's door, so a file that others can read is refused, as a key is.

use std::{
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use antiphon::{limits::KEPT_BYTES_MAX, model::roster::Kept};
use zeroize::Zeroizing;

use super::directory::{DataDirectory, DirectoryError};

/// Where the file of a data directory is.
pub(crate) fn network_path(data: &Path) -> PathBuf {
    data.join("network")
}

/// What a data directory has of its closed network; none if it is of an open one.
///
/// # Errors
/// When the file cannot be read, users other than its owner can read it, or it is damaged.
pub(crate) fn load_network(data: &Path) -> Result<Option<Kept>, DirectoryError> {
    let path = network_path(data);
    load_network_file(&path).map_err(|reason| DirectoryError::Network { path, reason })
}

/// The same of a file; why it cannot be used.
pub(crate) fn load_network_file(path: &Path) -> Result<Option<Kept>, String> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        let (mode, path) = (mode & 0o777, path.display());
        return Err(format!("others can use it (mode {mode:03o}); run `chmod 600 {path}`"));
    }
    let most = KEPT_BYTES_MAX as u64 + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEPT_BYTES_MAX + 1));
    (&mut file).take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let kept = Kept::decode(&bytes::Bytes::copy_from_slice(&bytes));
    kept.map(Some).map_err(|error| error.to_string())
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_network(directory: &DataDirectory, kept: &Kept) -> io::Result<()> {
    let path = network_path(directory.path());
    let draft = directory.path().join("network.new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let bytes = Zeroizing::new(kept.encode());
    let mut file =
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, &path)?;
    directory.flush()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use antiphon::model::{
        NodeKey, WallClock,
        roster::{Door, Kept},
    };

    use super::*;

    fn kept() -> Kept {
        let [root, admin, node] = [1, 2, 3].map(|seed| NodeKey::from_secret(&[seed; 32]));
        let name = "lab".parse().unwrap();
        let door = Door::from_bytes([4; 32]);
        let first = (node.node(), "first");
        Kept::found(name, (&root, &admin), door, first, WallClock(5)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_a_damaged_or_open_file_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        let path = network_path(parent.path());
        assert_eq!(load_network(parent.path()).unwrap(), None);
        for _ in 0..2 {
            write_network(&directory, &kept()).unwrap();
            assert_eq!(load_network(parent.path()).unwrap(), Some(kept()));
        }
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let reason = || load_network(parent.path()).unwrap_err().to_string();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(reason().contains("chmod 600"), "{}", reason());
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(reason().contains("cut short"), "{}", reason());
        }
        std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(reason().contains("cut short"), "{}", reason());
    }
}
