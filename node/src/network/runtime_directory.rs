//! How nodes and clients on one machine find each other: a directory with one file per running
//! node, which holds the node's addresses.
//!
//! A node holds a lock while it runs. If the lock is free, the node is gone, however it ended, and
//! a later reader removes its file. The lock is a file of its own, because the file with the
//! addresses is replaced as a whole at each change.
//!
//! Three places can hold such a directory. A node enters itself in the first one that it can use;
//! nodes and clients look through all of them ([`Places`]):
//!
//! 1. `$XDG_RUNTIME_DIR/antiphon`, which is this user's own;
//! 2. `/run/antiphon`, which all users of the machine may read. It belongs to the user of a system
//!    service (`RuntimeDirectory=antiphon` of systemd makes it), or to root;
//! 3. `antiphon-UID` in the directory for temporary files, which is this user's own.
//!
//! A directory that others could write to is refused: they could lead clients to nodes of theirs.

use std::{
    collections::BTreeSet,
    fs::{File, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
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
    kind: Kind,
}

/// The places where nodes of one network may have entered themselves.
#[derive(Debug, Clone)]
pub(super) struct Places {
    network: Network,
    places: Vec<Place>,
}

/// One of the places.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    kind: Kind,
}

/// Who may use a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// This user alone.
    Own,
    /// Its owner writes, and every user of the machine reads. Only root can have made it.
    System,
}

/// A running node as the directory knows it. Its addresses have no peer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

impl RuntimeDirectory {
    /// Opens a network's directory for a node: in the first place that this user can use. It is
    /// made if it does not exist.
    pub(super) fn open(network: &Network) -> io::Result<Self> {
        let mut refused = None;
        for place in usual_places() {
            match place.make().and_then(|()| place.make_for(network)) {
                Ok(directory) => return Ok(directory),
                Err(error) => {
                    tracing::debug!(%error, "a runtime directory cannot be used");
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Opens a network's directory below `place`, which is this user's own.
    pub(super) fn open_in(path: &Path, network: &Network) -> io::Result<Self> {
        let place = Place::own(path.to_owned());
        place.make()?;
        place.make_for(network)
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

    /// Enters a node, until the [`Entry`] is dropped. Its addresses must still be written.
    pub(super) async fn enter(&self, peer: PeerId) -> io::Result<Entry> {
        let path = self.lock_path(peer);
        for _ in 0..LOCK_ATTEMPTS {
            let lock = open_lock(&path, self.kind)?;
            match lock.try_lock() {
                // A reader may have removed the file between the two calls.
                Ok(()) if is_at(&lock, &path) => {
                    return Ok(Entry { directory: self.clone(), peer, _lock: lock });
                }
                // A reader holds the lock for a moment.
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
        make_readable(&temporary, self.directory.kind)?;
        fs_err::rename(&temporary, &path)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.directory.remove(self.peer);
    }
}

/// Where the nodes of a machine that are for all of its users enter themselves.
const SYSTEM_PLACE: &str = "/run/antiphon";

/// The places to look at, the one to be entered first in front.
pub(super) fn usual_places() -> Vec<Place> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_dir());
    let temporary = std::env::temp_dir().join(format!("antiphon-{}", user()));
    runtime
        .map(|path| Place::own(path.join("antiphon")))
        .into_iter()
        .chain([Place { path: SYSTEM_PLACE.into(), kind: Kind::System }, Place::own(temporary)])
        .collect()
}

impl Places {
    /// The usual places.
    pub(super) fn of(network: &Network) -> Self {
        Self { network: network.clone(), places: usual_places() }
    }

    /// One place, which is this user's own.
    pub(super) fn only(path: &Path, network: &Network) -> Self {
        let place = Place::own(path.to_owned());
        Self { network: network.clone(), places: vec![place] }
    }

    /// Whether a node of this name runs.
    pub(super) fn is_held(&self, peer: PeerId) -> bool {
        let mut directories =
            self.places.iter().filter_map(|place| place.directory(&self.network).ok());
        directories.any(|directory| {
            let lock = File::open(directory.lock_path(peer));
            lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
        })
    }

    /// The nodes that run now, in all of the places.
    pub(super) fn nodes(&self) -> Vec<Found> {
        let mut nodes: Vec<Found> = Vec::new();
        for place in &self.places {
            match place.look(&self.network) {
                Ok(found) => nodes.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!(%error, "a runtime directory is left out"),
            }
        }
        // One that is in two places is in the first.
        let mut known = BTreeSet::new();
        nodes.retain(|node| known.insert(node.peer));
        nodes
    }

    /// The directories, each with the reason why it cannot be used, if there is one.
    pub(super) fn described(&self) -> Vec<String> {
        let described = self.places.iter().map(|place| {
            let path = place.path.join(self.network.as_str());
            match place.look(&self.network) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => error.to_string(),
                Ok(_) | Err(_) => path.display().to_string(),
            }
        });
        described.collect()
    }
}

impl Place {
    /// A place of this user alone.
    pub(super) fn own(path: PathBuf) -> Self {
        Self { path, kind: Kind::Own }
    }

    /// Makes the directory of a network in an existing place.
    fn make_for(&self, network: &Network) -> io::Result<RuntimeDirectory> {
        let Self { path, kind } = self;
        let path = path.join(network.as_str());
        make_directory(&path, *kind)?;
        check_owner(&path, user())?;
        Ok(RuntimeDirectory { path, kind: *kind })
    }

    /// Makes the place if it is not there. The place of the system is made by root alone: another
    /// user finds it or does without.
    pub(super) fn make(&self) -> io::Result<()> {
        if self.kind == Kind::Own || user() == 0 {
            make_directory(&self.path, self.kind)?;
        }
        check_owner(&self.path, user())
    }

    /// The nodes of a network that run now. An error of the kind "not found" if none ever did.
    fn look(&self, network: &Network) -> io::Result<Vec<Found>> {
        self.directory(network)?.nodes()
    }

    /// The place itself, if it is there and its owner's alone.
    pub(super) fn checked(&self) -> io::Result<&Path> {
        check_owner(&self.path, self.owner()?)?;
        Ok(&self.path)
    }

    /// The directory of a network, if it is there and its owner's alone.
    fn directory(&self, network: &Network) -> io::Result<RuntimeDirectory> {
        let path = self.checked()?.join(network.as_str());
        check_owner(&path, self.owner()?)?;
        Ok(RuntimeDirectory { path, kind: self.kind })
    }

    fn owner(&self) -> io::Result<u32> {
        match self.kind {
            Kind::Own => Ok(user()),
            Kind::System => Ok(fs_err::symlink_metadata(&self.path)?.uid()),
        }
    }
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Makes a directory and those above it.
fn make_directory(path: &Path, kind: Kind) -> io::Result<()> {
    let mode = match kind {
        Kind::Own => 0o700,
        Kind::System => 0o755,
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    if kind == Kind::System && fs_err::symlink_metadata(path)?.uid() == user() {
        // The process's mask may have taken rights away that the other users need.
        fs_err::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Checks that a path is a directory that nobody but its owner can write to.
fn check_owner(path: &Path, owner: u32) -> io::Result<()> {
    // Not followed if it is a link, which somebody else may have put there.
    let metadata = fs_err::symlink_metadata(path)?;
    if metadata.is_dir() && metadata.uid() == owner && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = if owner == user() {
        format!("{} is not a directory of this user alone", path.display())
    } else {
        format!("{} is not a directory that its owner alone can write to", path.display())
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn open_lock(path: &Path, kind: Kind) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).open(path)?.into_parts().0;
    make_readable(path, kind)?;
    Ok(lock)
}

/// Lets the other users of the machine read a file, if they may.
fn make_readable(path: &Path, kind: Kind) -> io::Result<()> {
    match kind {
        Kind::Own => Ok(()),
        Kind::System => fs_err::set_permissions(path, Permissions::from_mode(0o644)),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let here = file.metadata().map(number);
    let there = fs_err::symlink_metadata(path).map(number);
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Files that are looked at.
pub(super) const FILES_MAX: usize = 4_096;

/// Largest file: all its addresses, each with a peer id, at their longest.
const FILE_BYTES_MAX: u64 = (ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 64)) as u64;

/// How long a node tries to get the lock. Readers hold it for microseconds.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
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
        let open = Permissions::from_mode(0o777);
        fs_err::set_permissions(place.path(), open).unwrap();
        let refused = RuntimeDirectory::open_in(place.path(), &Network::default());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);

        let own = place.path().join("own");
        RuntimeDirectory::open_in(&own, &Network::default()).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let linked = RuntimeDirectory::open_in(&link, &Network::default());
        assert!(linked.is_err(), "a link is not followed");
    }

    fn places(paths: &[(&Path, Kind)]) -> Places {
        let place = |(path, kind): &(&Path, Kind)| Place { path: (*path).to_owned(), kind: *kind };
        Places { network: Network::default(), places: paths.iter().map(place).collect() }
    }

    #[tokio::test]
    async fn nodes_are_found_in_all_places_and_those_of_the_system_by_all_users() {
        let home = tempfile::tempdir().unwrap();
        let (own, system) = (home.path().join("own"), home.path().join("system"));
        let both = places(&[(&own, Kind::Own), (&system, Kind::System)]);
        assert!(both.nodes().is_empty(), "none is there yet");
        let of_system = Place { path: system.clone(), kind: Kind::System };
        make_directory(&system, Kind::System).unwrap();
        let peers = [1, 2].map(|seed| peer_of(NodeKey::from_secret(&[seed; 32]).node()));
        let mut entries = Vec::new();
        for (peer, directory) in [
            (peers[0], RuntimeDirectory::open_in(&own, &Network::default()).unwrap()),
            (peers[1], of_system.make_for(&Network::default()).unwrap()),
        ] {
            let entry = directory.enter(peer).await.unwrap();
            entry.write(&addresses()).unwrap();
            entries.push(entry);
        }
        assert_eq!(both.nodes().iter().map(|node| node.peer).collect::<Vec<_>>(), peers);
        for path in [system.join("default"), entries[1].directory.addresses_path(peers[1])] {
            let mode = fs_err::metadata(path).unwrap().mode();
            assert_eq!((mode & 0o044, mode & 0o022), (0o044, 0), "all read, the owner writes");
        }
        let open = Permissions::from_mode(0o777);
        fs_err::set_permissions(system.join("default"), open).unwrap();
        assert_eq!(both.nodes().len(), 1, "others could write there");
        let described = both.described();
        assert_eq!(described[0], own.join("default").display().to_string());
        assert!(described[1].contains("is not a directory of this user alone"), "{described:?}");
    }
}
