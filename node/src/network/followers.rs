//! Which peers follow which topic, as they have said.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{PeerId, gossipsub::TopicHash};

/// The peers in each mesh. Bounded by what gossipsub lets one peer subscribe to.
#[derive(Debug, Default)]
pub(super) struct Followers(BTreeMap<TopicHash, BTreeSet<PeerId>>);

impl Followers {
    pub(super) fn joined(&mut self, mesh: TopicHash, peer: PeerId) {
        self.0.entry(mesh).or_default().insert(peer);
    }

    pub(super) fn left(&mut self, mesh: &TopicHash, peer: &PeerId) {
        if let Some(peers) = self.0.get_mut(mesh) {
            peers.remove(peer);
            if peers.is_empty() {
                self.0.remove(mesh);
            }
        }
    }

    /// A peer is gone, which gossipsub does not report.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.0.retain(|_, peers| {
            peers.remove(peer);
            !peers.is_empty()
        });
    }

    /// Whether others than these follow a topic.
    pub(super) fn is_followed_beyond(&self, mesh: &TopicHash, peers: &[PeerId]) -> bool {
        let followers = self.0.get(mesh);
        followers.is_some_and(|followers| followers.iter().any(|peer| !peers.contains(peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_who_follows_beyond_those_who_are_sent_it_anyway() {
        let mesh = TopicHash::from_raw("t");
        let (one, other) = (PeerId::random(), PeerId::random());
        let mut followers = Followers::default();
        assert!(!followers.is_followed_beyond(&mesh, &[]));
        followers.joined(mesh.clone(), one);
        assert!(followers.is_followed_beyond(&mesh, &[]));
        assert!(!followers.is_followed_beyond(&mesh, &[one]));
        followers.joined(mesh.clone(), other);
        assert!(followers.is_followed_beyond(&mesh, &[one]));
        followers.left(&mesh, &other);
        assert!(!followers.is_followed_beyond(&mesh, &[one]));
        followers.gone(&one);
        assert!(followers.0.is_empty());
    }
}
