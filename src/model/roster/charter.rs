//! The charter: who the admins of a closed network are. Its root signs it.

use minicbor::{Decode, Decoder, Encode, decode};

use super::{
    rights::{Grant, Rights},
    statement::{Signed, StatementError, Terms, VERSION, list},
};
use crate::{
    limits::{ADMINS_MAX, CHANGES_MAX, GRANTS_MAX},
    model::{Hash, Network, NodeId, NodeKey, TopicPattern},
};

/// The id of a closed network: BLAKE3 in derive-key mode of its root's public key and its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct NetworkId(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl NetworkId {
    /// The id of the network of this name and root.
    pub fn derive(root: &NodeId, name: &Network) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 network id v1");
        hasher.update(root.as_bytes()).update(name.as_str().as_bytes());
        Self(hasher.finalize().into())
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for NetworkId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl std::fmt::Debug for NetworkId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The secret that a program must know to finish a handshake with a node of a closed network.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Door(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl Door {
    /// The door with these bytes, which are random.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a charter says of it.
    pub fn hash(&self) -> Hash {
        Hash(blake3::hash(&self.0).into())
    }

    /// What both ends of a handshake put before it. Of two that differ in it, none gets in.
    pub fn prologue(&self, network: &NetworkId) -> Vec<u8> {
        [b"antiphon/door/1\0", network.as_bytes().as_slice(), &self.0].concat()
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Door(secret)")
    }
}

/// An admin, who admits and removes members.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Admin {
    /// The admin's key.
    #[n(0)]
    pub key: NodeId,
    /// The topics within which it may grant rights.
    #[n(1)]
    pub scope: TopicPattern,
}

/// How the ids of topics are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum TopicIds {
    /// From the network's name, as in an open network. Kept by a network that was open before.
    #[n(0)]
    ByName,
    /// From the network's id: a batch of one network is never valid in another one of its name.
    #[default]
    #[n(1)]
    ByNetworkId,
}

/// Who the admins of a network are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Charter {
    /// Version of this encoding.
    #[n(0)]
    pub(super) version: u8,
    /// The network's name.
    #[cbor(n(1), decode_with = "network_name", encode_with = "encode_network_name")]
    pub name: Network,
    /// The root's key. It signs the charter.
    #[n(2)]
    pub root: NodeId,
    /// Counts changes. Of two charters the higher revision holds.
    #[n(3)]
    pub revision: u64,
    /// The admins, at most [`ADMINS_MAX`].
    #[cbor(n(4), decode_with = "list::<_, _, ADMINS_MAX>")]
    pub admins: Vec<Admin>,
    /// The hash of the door.
    #[n(5)]
    pub door: Hash,
    /// How topics get their ids.
    #[n(6)]
    pub topic_ids: TopicIds,
    /// What a node may do whose pass has no grants.
    #[cbor(n(7), decode_with = "list::<_, _, GRANTS_MAX>")]
    pub of_nodes: Vec<Grant>,
    /// What a client may do whose pass has no grants.
    #[cbor(n(8), decode_with = "list::<_, _, GRANTS_MAX>")]
    pub of_clients: Vec<Grant>,
    /// Reserved: the root that signs the next charters.
    #[n(9)]
    pub(super) next_root: Option<NodeId>,
}

fn network_name<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Network, decode::Error> {
    let name = decoder.str()?.parse();
    name.map_err(|_malformed| decode::Error::message("not the name of a network"))
}

fn encode_network_name<C, W: minicbor::encode::Write>(
    name: &Network,
    encoder: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    encoder.str(name.as_str())?.ok()
}

impl Charter {
    /// The first charter of a network: nodes may do all but operate other nodes, clients may read,
    /// write and create, in all topics.
    pub fn first(name: Network, root: NodeId, admins: Vec<Admin>, door: &Door) -> Self {
        let everywhere = |rights| Grant { rights, topics: all_topics(), subscriptions: None };
        let of_clients = Rights::READ.and(Rights::WRITE).and(Rights::CREATE);
        let of_nodes = of_clients.and(Rights::MANAGE).and(Rights::HOLD);
        Self {
            version: VERSION,
            name,
            root,
            revision: 0,
            admins,
            door: door.hash(),
            topic_ids: TopicIds::default(),
            of_nodes: vec![everywhere(of_nodes)],
            of_clients: vec![everywhere(of_clients)],
            next_root: None,
        }
    }

    /// The id of the network.
    pub fn network(&self) -> NetworkId {
        NetworkId::derive(&self.root, &self.name)
    }

    /// The topics within which an admin may grant rights; none if it is no admin.
    pub fn scope_of(&self, admin: &NodeId) -> Option<&TopicPattern> {
        self.admins.iter().find(|known| known.key == *admin).map(|known| &known.scope)
    }

    /// Signs the charter with the root's key.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, root: &NodeKey) -> Result<Signed<Self>, StatementError> {
        Signed::sign(self, &[root])
    }
}

/// `>`
fn all_topics() -> TopicPattern {
    ">".parse().expect("a pattern")
}

impl Terms for Charter {
    const DOMAIN: &'static str = "antiphon/charter/1";

    fn check(&self) -> Result<(), StatementError> {
        if self.next_root.is_some() {
            return Err(StatementError::Malformed("it names another root"));
        }
        if self.revision > CHANGES_MAX {
            return Err(StatementError::Malformed("counted too far"));
        }
        let lists = [self.of_nodes.len(), self.of_clients.len()];
        if self.admins.len() > ADMINS_MAX || lists.iter().any(|list| *list > GRANTS_MAX) {
            return Err(StatementError::Malformed("a list is too long"));
        }
        let mut keys: Vec<_> = self.admins.iter().map(|admin| admin.key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(StatementError::Malformed("an admin is named twice"));
        }
        Ok(())
    }

    fn signers(&self) -> Vec<NodeId> {
        vec![self.root]
    }
}

impl Signed<Charter> {
    /// Whether this replaces `other`, of the same network: the higher revision, and of two of one
    /// revision the smaller hash.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |charter: &Self| (charter.terms().revision, std::cmp::Reverse(charter.hash()));
        rank(self) > rank(other)
    }
}
