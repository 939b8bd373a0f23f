//! Which peers follow which topic, as they have said.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{PeerId, gossipsub::TopicHash};

use super::limits::{FOLLOWED_MAX, TOPICS_FOLLOWED_MAX};

/// The peers in each mesh, and the meshes of each peer. So one that is gone costs no more than it
/// followed.
#[derive(Debug, Default)]
pub(super) struct Followers {
    meshes: BTreeMap<TopicHash, BTreeSet<PeerId>>,
    peers: BTreeMap<PeerId, BTreeSet<TopicHash>>,
    /// How many meshes the peers follow, counted for each.
    count: usize,
}

impl Followers {
    /// A peer follows a topic. Returns a peer that follows too many: that one, or the one that
    /// follows most if all together do.
    pub(super) fn joined(&mut self, mesh: TopicHash, peer: PeerId) -> Option<PeerId> {
        let followed = self.peers.entry(peer).or_default();
        if followed.insert(mesh.clone()) {
            self.count += 1;
            self.meshes.entry(mesh).or_default().insert(peer);
        }
        if followed.len() > TOPICS_FOLLOWED_MAX {
            return Some(peer);
        }
        if self.count <= FOLLOWED_MAX {
            return None;
        }
        let most = self.peers.iter().max_by_key(|(_, followed)| followed.len());
        most.map(|(peer, _)| *peer)
    }

    /// How many topics a peer follows.
    pub(super) fn of(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, BTreeSet::len)
    }

    pub(super) fn left(&mut self, mesh: &TopicHash, peer: &PeerId) {
        let Some(followed) = self.peers.get_mut(peer) else { return };
        if !followed.remove(mesh) {
            return;
        }
        if followed.is_empty() {
            self.peers.remove(peer);
        }
        self.leave(mesh, peer);
    }

    /// A peer is gone, which gossipsub does not report.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        for mesh in self.peers.remove(peer).unwrap_or_default() {
            self.leave(&mesh, peer);
        }
    }

    fn leave(&mut self, mesh: &TopicHash, peer: &PeerId) {
        self.count -= 1;
        if let Some(peers) = self.meshes.get_mut(mesh) {
            peers.remove(peer);
            if peers.is_empty() {
                self.meshes.remove(mesh);
            }
        }
    }

    /// Whether others than these follow a topic.
    pub(super) fn is_followed_beyond(&self, mesh: &TopicHash, peers: &[PeerId]) -> bool {
        let followers = self.meshes.get(mesh);
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
        assert!(followers.meshes.is_empty() && followers.peers.is_empty() && followers.count == 0);
    }

    #[test]
    fn who_follows_most_is_named_when_all_follow_too_many() {
        let mut followers = Followers::default();
        let little = PeerId::random();
        let mesh = |number: usize| TopicHash::from_raw(number.to_string());
        assert_eq!(followers.joined(mesh(0), little), None);
        let many: Vec<_> =
            (0..FOLLOWED_MAX / TOPICS_FOLLOWED_MAX).map(|_| PeerId::random()).collect();
        for peer in &many {
            // One leaves the room for the first peer.
            let count = TOPICS_FOLLOWED_MAX - usize::from(peer == &many[0]);
            (0..count).for_each(|number| assert_eq!(followers.joined(mesh(number), *peer), None));
        }
        let most = followers.joined(mesh(1), little).unwrap();
        assert!(many[1..].contains(&most));
        followers.gone(&most);
        assert_eq!(followers.joined(mesh(2), little), None);
        assert_eq!(followers.count, FOLLOWED_MAX - TOPICS_FOLLOWED_MAX + 2);
    }

    #[test]
    fn who_follows_more_than_a_node_may_is_named() {
        let mut followers = Followers::default();
        let peer = PeerId::random();
        let mesh = |number: usize| TopicHash::from_raw(number.to_string());
        for number in 0..TOPICS_FOLLOWED_MAX {
            assert_eq!(followers.joined(mesh(number), peer), None);
        }
        assert_eq!(followers.joined(mesh(TOPICS_FOLLOWED_MAX), peer), Some(peer));
    }
}
