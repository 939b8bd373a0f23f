//! Where the key of a node's operator is, and its closed network, for commands of this machine.
//!
//! A node leaves links in the directory where nodes of the machine find each other, also without
//! discovery: `PEER.operator` leads to the file with the key, `PEER.network` to the one with the
//! network. The files say who may read them.

use std::{
    io,
    path::{Path, PathBuf},
};

use antiphon::model::NodeId;
use libp2p::PeerId;

use super::{
    runtime_directory::{FILES_MAX, Place, usual_places},
    translate::peer_of,
};

/// Who operates a node, and the file with that key.
#[derive(Debug, Clone)]
pub(crate) struct OperatorPlace {
    /// The name of a client that has the key.
    pub(crate) node: NodeId,
    /// The file, as an absolute path.
    pub(crate) file: PathBuf,
}

/// A link of a running node. Dropping it removes it.
#[derive(Debug)]
pub(super) struct MachineLink(PathBuf);

/// Where a link leads.
#[derive(Debug, Clone, Copy)]
enum LeadsTo {
    OperatorKey,
    Network,
}

impl LeadsTo {
    const ALL: [Self; 2] = [Self::OperatorKey, Self::Network];

    /// The ending of such links' names.
    fn ending(self) -> &'static str {
        match self {
            Self::OperatorKey => ".operator",
            Self::Network => ".network",
        }
    }
}

impl MachineLink {
    /// Leaves the links to the operator's key and to the network, as far as there are such files.
    pub(super) fn leave_all(
        place: Option<&Path>,
        node: PeerId,
        [operator_key, network]: [Option<&Path>; 2],
    ) -> [Option<Self>; 2] {
        let leave = |file: Option<&Path>, leads_to| Self::leave(place, node, file?, leads_to);
        [leave(operator_key, LeadsTo::OperatorKey), leave(network, LeadsTo::Network)]
    }

    /// Leaves a link in the first place that this user can use, or in the one that is given, and
    /// removes those that lead nowhere any more. None if there is no such place: a node can run
    /// without it.
    fn leave(place: Option<&Path>, node: PeerId, file: &Path, leads_to: LeadsTo) -> Option<Self> {
        let places = place.map_or_else(usual_places, |path| vec![Place::own(path.to_owned())]);
        let places = places.into_iter();
        let mut links = places.filter_map(|place| match leave_in(&place, node, file, leads_to) {
            Ok(link) => Some(link),
            Err(error) => {
                tracing::debug!(%error, "no link to a file of the node is left there");
                None
            }
        });
        links.next()
    }
}

impl Drop for MachineLink {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs_err::remove_file(&self.0);
    }
}

/// Where the key of a running node's operator is, if that node has left word.
pub(crate) fn operator_key_of(node: NodeId) -> Option<PathBuf> {
    let key_in = |place: &Place| file_in(place, peer_of(node), LeadsTo::OperatorKey);
    usual_places().iter().find_map(key_in)
}

/// Where the closed network of a running node is, if that node has left word.
pub(crate) fn network_file_of(node: PeerId) -> Option<PathBuf> {
    usual_places().iter().find_map(|place| file_in(place, node, LeadsTo::Network))
}

fn file_in(place: &Place, node: PeerId, leads_to: LeadsTo) -> Option<PathBuf> {
    let directory = place.checked().ok()?;
    std::fs::read_link(directory.join(format!("{node}{}", leads_to.ending()))).ok()
}

fn leave_in(
    place: &Place,
    node: PeerId,
    file: &Path,
    leads_to: LeadsTo,
) -> io::Result<MachineLink> {
    place.make()?;
    let directory = place.checked()?;
    clean(directory)?;
    let path = directory.join(format!("{node}{}", leads_to.ending()));
    match fs_err::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(file, &path)?;
    Ok(MachineLink(path))
}

/// Removes links of nodes that were killed and whose files are gone.
fn clean(directory: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(directory)?.take(FILES_MAX) {
        let path = entry?.path();
        let is_link = path.to_str().is_some_and(|path| {
            LeadsTo::ALL.iter().any(|leads_to| path.ends_with(leads_to.ending()))
        });
        let leads = || std::fs::metadata(&path).map(|_| ());
        if is_link && leads().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // Another node may be removing it, too.
            let _ = fs_err::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use antiphon::model::NodeKey;

    use super::*;

    #[test]
    fn a_running_node_says_where_the_key_is_and_links_that_lead_nowhere_go() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::own(home.path().join("run"));
        let nodes = [1, 2].map(|seed| peer_of(NodeKey::from_secret(&[seed; 32]).node()));
        let keys = [1, 2].map(|number| home.path().join(format!("key-{number}")));
        assert_eq!(file_in(&place, nodes[0], LeadsTo::OperatorKey), None, "no place yet");
        for key in &keys {
            std::fs::write(key, "").unwrap();
        }
        let killed = leave_in(&place, nodes[0], &keys[0], LeadsTo::OperatorKey).unwrap();
        assert_eq!(file_in(&place, nodes[0], LeadsTo::OperatorKey).as_ref(), Some(&keys[0]));
        assert_eq!(file_in(&place, nodes[1], LeadsTo::OperatorKey), None);
        std::mem::forget(killed);
        std::fs::remove_file(&keys[0]).unwrap();
        // A node that starts again replaces its own.
        let first = leave_in(&place, nodes[1], &keys[0], LeadsTo::OperatorKey).unwrap();
        std::mem::forget(first);
        let second = leave_in(&place, nodes[1], &keys[1], LeadsTo::OperatorKey).unwrap();
        assert_eq!(file_in(&place, nodes[0], LeadsTo::OperatorKey), None, "it led nowhere");
        assert_eq!(file_in(&place, nodes[1], LeadsTo::OperatorKey).as_ref(), Some(&keys[1]));
        drop(second);
        assert_eq!(file_in(&place, nodes[1], LeadsTo::OperatorKey), None);
    }
}
