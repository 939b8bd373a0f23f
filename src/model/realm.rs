//! Which network this is, and what the ids of its topics are derived from.

use super::{
    Network, TopicId, TopicName,
    roster::{Charter, NetworkId, TopicIds},
};

/// A network, as far as its topics get their ids from it: its name, or what its root has signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Realm {
    name: Network,
    /// What topics get their ids from; none if that is the name.
    id: Option<NetworkId>,
}

impl Realm {
    /// The open network of this name.
    pub fn open(name: Network) -> Self {
        Self { name, id: None }
    }

    /// The closed network of this charter. One that was open before keeps the ids of its topics.
    pub fn of(charter: &Charter) -> Self {
        let id = match charter.topic_ids {
            TopicIds::ByName => None,
            TopicIds::ByNetworkId => Some(charter.network()),
        };
        Self { name: charter.name.clone(), id }
    }

    /// The network's name.
    pub fn name(&self) -> &Network {
        &self.name
    }

    /// The id of the topic of this name.
    pub fn topic(&self, name: &TopicName) -> TopicId {
        TopicId::derive(self, name)
    }

    /// What topics get their ids from; none if that is the name.
    pub(super) fn id(&self) -> Option<&NetworkId> {
        self.id.as_ref()
    }
}

impl From<Network> for Realm {
    fn from(name: Network) -> Self {
        Self::open(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        NodeKey,
        roster::{Charter, Door},
    };

    fn charter(root: u8, topic_ids: TopicIds) -> Charter {
        let (name, root) = ("lab".parse().unwrap(), NodeKey::from_secret(&[root; 32]).node());
        let mut charter = Charter::first(name, root, Vec::new(), &Door::from_bytes([9; 32]));
        charter.topic_ids = topic_ids;
        charter
    }

    #[test]
    fn networks_of_one_name_have_topics_of_their_own_if_they_are_closed() {
        let name = "t".parse().unwrap();
        let open = Realm::open("lab".parse().unwrap());
        let closed = Realm::of(&charter(1, TopicIds::ByNetworkId));
        let other = Realm::of(&charter(2, TopicIds::ByNetworkId));
        assert_ne!(closed.topic(&name), open.topic(&name));
        assert_ne!(closed.topic(&name), other.topic(&name));
        assert_eq!(closed.name(), open.name());
    }

    #[test]
    fn a_network_that_was_open_keeps_the_ids_of_its_topics() {
        assert_eq!(Realm::of(&charter(1, TopicIds::ByName)), Realm::open("lab".parse().unwrap()));
    }
}
