//! How nodes and clients on one machine find each other: a directory with one file per running
//! node, which holds the node's addresses.
//!
//! A node holds a lock as long as it runs. Where the lock can be had, the node is gone, however
//! it ended, and whoever looks next removes its file. The lock is a file of its own: the file
//! with the addresses is replaced as a whole at each change, and a lock would be replaced with
//! it.
//!
//! The directory is the user's own. One that others could write to is refused: they could lead
//! clients to nodes of theirs.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use antiphon::{
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    model::Network,
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::translate::{is_loopback, split_peer};

/// The directory of one network.
#[derive(Debug, Clone)]
pub(super) struct RuntimeDirectory {
    path: PathBuf,
}

/// A running node as the directory knows it. Its addresses have no peer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

impl RuntimeDirectory {
    /// Opens a network's directory in the usual place, `$XDG_RUNTIME_DIR/antiphon`, or else in
    /// a directory of this user for temporary files. It is made if it is not there.
    pub(super) fn open(network: &Network) -> io::Result<Self> {
        Self::open_in(&usual_place(), network)
    }

    /// Opens a network's directory below `place`.
    pub(super) fn open_in(place: &Path, network: &Network) -> io::Result<Self> {
        make_own(place)?;
        let path = place.join(network.as_str());
        make_own(&path)?;
        Ok(Self { path })
    }

    /// The nodes that run now. Files of nodes that do not are removed.
    pub(super) fn nodes(&self) -> io::Result<Vec<Found>> {
        let mut nodes = Vec::new();
        for entry in fs_err::read_dir(&self.path)?.take(FILES_MAX) {
            let name = entry?.file_name();
            let Some(peer) = name.to_str().and_then(|name| name.parse::<PeerId>().ok()) else {
                continue;
            };
            match self.look_at(peer) {
                Ok(found) => nodes.extend(found),
                Err(error) => tracing::debug!(%error, %peer, "a node's file is left out"),
            }
        }
        nodes.sort_by_key(|found| found.peer);
        Ok(nodes)
    }

    /// Enters a node, until the [`Entry`] is dropped. Its addresses are to be written yet.
    pub(super) async fn enter(&self, peer: PeerId) -> io::Result<Entry> {
        let path = self.lock_path(peer);
        for _ in 0..LOCK_ATTEMPTS {
            let lock = open_lock(&path)?;
            match lock.try_lock() {
                // Whoever looks may have removed the file between the two calls.
                Ok(()) if is_at(&lock, &path) => {
                    return Ok(Entry { directory: self.clone(), peer, _lock: lock });
                }
                // Whoever looks holds the lock for a moment.
                Ok(()) | Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds the node's lock"))
    }

    fn look_at(&self, peer: PeerId) -> io::Result<Option<Found>> {
        match fs_err::File::open(self.lock_path(peer)) {
            Ok(lock) => match lock.file().try_lock_shared() {
                Ok(()) => {
                    self.remove(peer);
                    return Ok(None);
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.remove(peer);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let path = self.addresses_path(peer);
        if fs_err::metadata(&path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
        }
        let text = fs_err::read_to_string(path)?;
        let named = text.lines().filter_map(|line| line.parse().ok()).map(split_peer);
        let own = named.filter(|(_, name)| *name == Some(peer)).map(|(address, _)| address);
        Ok(Some(Found { peer, addresses: own.take(ADDRESSES_MAX).collect() }))
    }

    fn remove(&self, peer: PeerId) {
        // Somebody else may be removing them, too.
        let _ = fs_err::remove_file(self.addresses_path(peer));
        let _ = fs_err::remove_file(self.lock_path(peer));
    }

    fn addresses_path(&self, peer: PeerId) -> PathBuf {
        self.path.join(peer.to_string())
    }

    fn lock_path(&self, peer: PeerId) -> PathBuf {
        self.path.join(format!("{peer}.lock"))
    }
}

/// A running node's place in the directory. Dropping it removes the node from there.
#[derive(Debug)]
pub(super) struct Entry {
    directory: RuntimeDirectory,
    peer: PeerId,
    _lock: File,
}

impl Entry {
    /// Replaces the node's addresses. Those within the machine come first: they are the nearest.
    pub(super) fn write(&self, addresses: &[Multiaddr]) -> io::Result<()> {
        let mut addresses: Vec<_> = addresses.iter().collect();
        addresses.sort_by_key(|address| !is_loopback(address));
        let mut text = String::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let whole = split_peer(address.clone()).0.with(Protocol::P2p(self.peer));
            text.push_str(&whole.to_string());
            text.push('\n');
        }
        let path = self.directory.addresses_path(self.peer);
        let temporary = path.with_extension("new");
        fs_err::write(&temporary, text)?;
        fs_err::rename(&temporary, &path)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.directory.remove(self.peer);
    }
}

fn usual_place() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(runtime) = runtime.filter(|path| path.is_dir()) {
        return runtime.join("antiphon");
    }
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("antiphon-{user}"))
}

/// Makes a directory that only this user can use; checks that it is one if it was there.
fn make_own(path: &Path) -> io::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    // Not followed if it is a link, which somebody else may have put there.
    let metadata = fs_err::symlink_metadata(path)?;
    let own = metadata.is_dir()
        && metadata.uid() == rustix::process::getuid().as_raw()
        && metadata.mode() & 0o022 == 0;
    if own {
        Ok(())
    } else {
        let message = format!("{} is not a directory of this user alone", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    Ok(options.create(true).truncate(false).write(true).open(path)?.into_parts().0)
}

fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let here = file.metadata().map(number);
    let there = fs_err::symlink_metadata(path).map(number);
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Files that are looked at.
const FILES_MAX: usize = 4_096;

/// Largest file: all its addresses, each with a peer id, at their longest.
const FILE_BYTES_MAX: u64 = (ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 64)) as u64;

/// How long a node tries to have the lock that those who look hold for microseconds.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use antiphon::model::NodeKey;

    use super::*;
    use crate::network::translate::peer_of;

    fn addresses() -> Vec<Multiaddr> {
        ["/ip4/10.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001"].map(|a| a.parse().unwrap()).into()
    }

    #[tokio::test]
    async fn a_running_node_is_found_and_an_ended_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let directory =
            RuntimeDirectory::open_in(&place.path().join("a"), &Network::default()).unwrap();
        let peer = peer_of(NodeKey::from_secret(&[1; 32]).node());
        let entry = directory.enter(peer).await.unwrap();
        entry.write(&addresses()).unwrap();
        let found = directory.nodes().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].peer, peer);
        assert!(is_loopback(&found[0].addresses[0]), "the nearest first: {found:?}");
        let other = RuntimeDirectory::open_in(&place.path().join("a"), &"x".parse().unwrap());
        assert!(other.unwrap().nodes().unwrap().is_empty(), "networks are apart");

        drop(entry);
        assert!(directory.nodes().unwrap().is_empty());
        assert_eq!(fs_err::read_dir(&directory.path).unwrap().count(), 0, "nothing is left");
    }

    #[tokio::test]
    async fn what_a_killed_node_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let directory =
            RuntimeDirectory::open_in(&place.path().join("a"), &Network::default()).unwrap();
        let peer = peer_of(NodeKey::from_secret(&[1; 32]).node());
        let whole = addresses()[0].clone().with(Protocol::P2p(peer)).to_string();
        for with_lock in [true, false] {
            fs_err::write(directory.addresses_path(peer), &whole).unwrap();
            if with_lock {
                fs_err::write(directory.lock_path(peer), "").unwrap();
            }
            assert!(directory.nodes().unwrap().is_empty());
            assert_eq!(fs_err::read_dir(&directory.path).unwrap().count(), 0);
        }
        // It can come back.
        let entry = directory.enter(peer).await.unwrap();
        entry.write(&addresses()).unwrap();
        assert_eq!(directory.nodes().unwrap().len(), 1);
    }

    #[test]
    fn a_directory_of_others_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        fs_err::set_permissions(place.path(), open).unwrap();
        let refused = RuntimeDirectory::open_in(place.path(), &Network::default());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);

        let own = place.path().join("own");
        make_own(&own).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(make_own(&link).is_err(), "a link is not followed");
    }
}
