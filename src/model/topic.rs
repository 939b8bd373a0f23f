//! Topics: their names, their ids and the signed descriptor that creates them.

use std::{borrow::Borrow, fmt, str::FromStr};

use bytes::Bytes;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    Blob, NodeId, NodeKey, Signature, Stamp, decode_exact, encode_to_bytes, pattern::has_open_part,
};
use crate::limits::{DESCRIPTOR_BYTES_MAX, NAME_BYTES_MAX, REPLICAS_MAX, WRITERS_MAX};

/// The name of a network. Nodes of different networks never join.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(String);

impl Network {
    /// The network that a node joins when it names none.
    pub const DEFAULT: &'static str = "default";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Network {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that cannot name a network.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "a network's name has 1 to 64 letters, digits, `-`, `_` or `.` and starts with none of the latter three"
)]
pub struct NetworkNameError;

impl FromStr for Network {
    type Err = NetworkNameError;

    /// A network's name becomes part of protocol names and of a directory's name.
    fn from_str(name: &str) -> Result<Self, NetworkNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        let allowed = |byte: u8| plain(byte) || b"-_.".contains(&byte);
        let valid = (1..=64).contains(&name.len())
            && name.bytes().next().is_some_and(plain)
            && name.bytes().all(allowed);
        if valid { Ok(Self(name.to_owned())) } else { Err(NetworkNameError) }
    }
}

/// The name of a topic: 1 to 255 bytes of UTF-8 in any script, without control characters. Dots
/// divide it into parts, none of which is `*` or `>`: those make a
/// [`TopicPattern`](super::TopicPattern).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct TopicName(#[cbor(decode_with = "decode_topic_name")] String);

fn decode_topic_name<C>(
    decoder: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<String, minicbor::decode::Error> {
    let name = decode_name(decoder, context)?;
    if has_open_part(&name) {
        return Err(minicbor::decode::Error::message("a pattern in place of a topic name"));
    }
    Ok(name)
}

pub(super) fn decode_name<C>(
    decoder: &mut minicbor::Decoder<'_>,
    _: &mut C,
) -> Result<String, minicbor::decode::Error> {
    let name = decoder.str()?;
    check_name(name).map_err(|_malformed| minicbor::decode::Error::message("not a topic name"))?;
    Ok(name.to_owned())
}

/// Names that start so are Antiphon's own.
pub(super) const RESERVED_PREFIX: &str = "_antiphon.";

impl TopicName {
    /// The catalogue: the system topic that lists all topics.
    pub fn catalogue() -> Self {
        Self(format!("{RESERVED_PREFIX}catalogue"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of Antiphon's own.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED_PREFIX)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text cannot name a topic.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TopicNameError {
    /// It is empty.
    #[error("the name is empty")]
    Empty,
    /// It is too long.
    #[error("the name has {0} bytes, more than the limit of {NAME_BYTES_MAX}")]
    TooLong(usize),
    /// It has control characters.
    #[error("the name has control characters")]
    Control,
    /// It is reserved.
    #[error("names that start with `{RESERVED_PREFIX}` are reserved")]
    Reserved,
    /// It stands for several names.
    #[error("a part `*` or `>` makes a pattern and not the name of a topic")]
    Wildcard,
}

/// What any name, of a topic or a subscription, must satisfy.
pub(super) fn check_name(name: &str) -> Result<(), TopicNameError> {
    match name {
        "" => Err(TopicNameError::Empty),
        _ if name.len() > NAME_BYTES_MAX => Err(TopicNameError::TooLong(name.len())),
        _ if name.chars().any(char::is_control) => Err(TopicNameError::Control),
        _ => Ok(()),
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(name: &str) -> Result<Self, TopicNameError> {
        check_name(name)?;
        if has_open_part(name) {
            return Err(TopicNameError::Wildcard);
        }
        let name = Self(name.to_owned());
        if name.is_reserved() { Err(TopicNameError::Reserved) } else { Ok(name) }
    }
}

/// A topic's id: BLAKE3 in derive-key mode of the network's and the topic's name. It is also
/// the topic's Kademlia key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct TopicId(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl TopicId {
    /// The id of the topic of this name in this network.
    pub fn derive(network: &Network, name: &TopicName) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 topic id v1");
        // A network's name has no NUL, so no two pairs of names give the same bytes.
        hasher.update(network.0.as_bytes()).update(&[0]).update(name.0.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where the topic stands in the key space: the hash that Kademlia gives its key.
    pub fn place(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// How long a topic keeps its records. `None` in each field means: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Retention {
    /// Longest age in milliseconds, by the replica's clock of receipt.
    #[n(0)]
    pub age_ms: Option<u64>,
    /// Most bytes that a replica keeps.
    #[n(1)]
    pub bytes: Option<u64>,
    /// Most records that a replica keeps.
    #[n(2)]
    pub records: Option<u64>,
}

/// Who may write to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub enum Writers {
    /// Every node of the network.
    #[n(0)]
    #[default]
    Anyone,
    /// The nodes with these keys.
    #[n(1)]
    Listed(#[n(0)] Vec<NodeId>),
}

/// What a topic is: the terms under which it was created.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "super::Share")]
pub struct Descriptor {
    /// Version of this encoding.
    #[n(0)]
    pub version: u8,
    /// The topic's name.
    #[n(1)]
    pub name: TopicName,
    /// Replicas wanted (R). A smaller network holds as many as it has nodes.
    #[n(2)]
    pub replicas: u16,
    /// Copies below which nothing is acknowledged.
    #[n(3)]
    pub min_copies: u16,
    /// How long records are kept.
    #[n(4)]
    pub retention: Retention,
    /// Who may write.
    #[n(5)]
    pub writers: Writers,
    /// Id of the key that payloads are encrypted with; none if they are not.
    #[n(6)]
    pub encryption_key: Option<Blob>,
    /// Who created the topic, and signed this.
    #[n(7)]
    pub creator: NodeId,
    /// When this was signed. Of two descriptors of one revision the earlier one holds.
    #[n(8)]
    pub created: Stamp,
    /// Counts changes; of two descriptors of one topic the higher revision holds.
    #[n(9)]
    pub revision: u64,
}

impl Descriptor {
    /// The version of descriptors that this program writes.
    pub const VERSION: u8 = 1;

    /// Whether this descriptor replaces `other`, of the same topic. A total order on
    /// descriptors, so all nodes that saw the same ones settle on the same.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |d: &Self| (d.revision, std::cmp::Reverse((d.created, d.creator)));
        rank(self) > rank(other)
    }

    fn check(&self) -> Result<(), DescriptorError> {
        if self.version != Self::VERSION {
            return Err(DescriptorError::Version(self.version));
        }
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            return Err(DescriptorError::Replicas(self.replicas));
        }
        if !(1..=self.replicas).contains(&self.min_copies) {
            return Err(DescriptorError::MinCopies(self.min_copies, self.replicas));
        }
        match &self.writers {
            Writers::Listed(keys) if keys.len() > WRITERS_MAX => {
                Err(DescriptorError::Writers(keys.len()))
            }
            Writers::Listed(_) | Writers::Anyone => Ok(()),
        }
    }

    /// Signs the descriptor; `key` must be its creator's.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, key: &NodeKey) -> Result<SignedDescriptor, DescriptorError> {
        assert_eq!(self.creator, key.node(), "a descriptor is signed by its creator");
        self.check()?;
        let terms = encode_to_bytes(&self);
        let signature = key.sign(&signing_input(&terms));
        let bytes = encode_to_bytes(&Envelope { terms: Blob(terms), signature });
        Ok(SignedDescriptor { descriptor: self, bytes })
    }
}

/// Why a descriptor is not accepted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DescriptorError {
    /// Zero or too many replicas.
    #[error("{0} replicas asked; 1 to {REPLICAS_MAX} are allowed")]
    Replicas(u16),
    /// A floor of zero copies, or above the replicas.
    #[error("a floor of {0} copies asked; 1 to {1}, the number of replicas, are allowed")]
    MinCopies(u16, u16),
    /// Too many keys.
    #[error("{0} writers listed, more than the limit of {WRITERS_MAX}")]
    Writers(usize),
    /// Written by a newer program.
    #[error("a topic descriptor of version {0}, which this program does not know")]
    Version(u8),
    /// Too large, undecodable, or the signature is not the creator's.
    #[error("malformed topic descriptor: {0}")]
    Malformed(&'static str),
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "super::Share")]
struct Envelope {
    #[n(0)]
    terms: Blob,
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: Signature,
}

fn signing_input(terms: &[u8]) -> Vec<u8> {
    [b"antiphon/descriptor/1\0", terms].concat()
}

/// A descriptor whose signature is its creator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDescriptor {
    descriptor: Descriptor,
    bytes: Bytes,
}

impl SignedDescriptor {
    /// Decodes a descriptor and checks its bounds and its signature.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn verify(bytes: Bytes) -> Result<Self, DescriptorError> {
        if bytes.len() > DESCRIPTOR_BYTES_MAX {
            return Err(DescriptorError::Malformed("too large"));
        }
        let envelope: Envelope =
            decode_exact(&bytes).map_err(|_malformed| DescriptorError::Malformed("no envelope"))?;
        let descriptor: Descriptor = decode_exact(&envelope.terms)
            .map_err(|_malformed| DescriptorError::Malformed("no terms"))?;
        descriptor.check()?;
        if descriptor.creator.verify(&signing_input(&envelope.terms), &envelope.signature) {
            Ok(Self { descriptor, bytes })
        } else {
            Err(DescriptorError::Malformed("the signature is not its creator's"))
        }
    }

    /// The terms.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The bytes as they were signed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallClock;

    fn descriptor(key: &NodeKey) -> Descriptor {
        Descriptor {
            version: Descriptor::VERSION,
            name: "quakes".parse().unwrap(),
            replicas: 3,
            min_copies: 2,
            retention: Retention::default(),
            writers: Writers::Anyone,
            encryption_key: None,
            creator: key.node(),
            created: Stamp::at(WallClock(5)),
            revision: 0,
        }
    }

    #[test]
    fn names() {
        assert_eq!("".parse::<TopicName>(), Err(TopicNameError::Empty));
        assert_eq!("a\u{7}".parse::<TopicName>(), Err(TopicNameError::Control));
        assert!("ü".repeat(127).parse::<TopicName>().is_ok());
        assert_eq!("ü".repeat(128).parse::<TopicName>(), Err(TopicNameError::TooLong(256)));
        assert_eq!("_antiphon.x".parse::<TopicName>(), Err(TopicNameError::Reserved));
        assert!("地震 / 🌍".parse::<TopicName>().is_ok());
    }

    #[test]
    fn networks_separate_ids() {
        let name: TopicName = "t".parse().unwrap();
        let other: Network = "lab-2".parse().unwrap();
        assert_ne!(TopicId::derive(&Network::default(), &name), TopicId::derive(&other, &name));
        assert!("../x".parse::<Network>().is_err());
        assert!("".parse::<Network>().is_err());
    }

    #[test]
    fn signed_terms_hold_and_changed_ones_do_not() {
        let key = NodeKey::from_secret(&[1; 32]);
        let signed = descriptor(&key).sign(&key).unwrap();
        assert_eq!(SignedDescriptor::verify(signed.bytes().clone()), Ok(signed.clone()));
        for position in 0..signed.bytes().len() {
            let mut damaged = signed.bytes().to_vec();
            damaged[position] ^= 1;
            assert!(SignedDescriptor::verify(damaged.into()).is_err(), "byte {position}");
        }
    }

    #[test]
    fn bounds() {
        let key = NodeKey::from_secret(&[1; 32]);
        let none = Descriptor { replicas: 0, ..descriptor(&key) };
        assert_eq!(none.sign(&key), Err(DescriptorError::Replicas(0)));
        let floor = Descriptor { min_copies: 4, ..descriptor(&key) };
        assert_eq!(floor.sign(&key), Err(DescriptorError::MinCopies(4, 3)));
    }

    #[test]
    fn the_earlier_of_two_creations_holds() {
        let key = NodeKey::from_secret(&[1; 32]);
        let early = descriptor(&key);
        let late = Descriptor { created: Stamp::at(WallClock(6)), ..early.clone() };
        let altered = Descriptor { revision: 1, ..late.clone() };
        assert!(early.supersedes(&late) && !late.supersedes(&early));
        assert!(altered.supersedes(&early) && !early.supersedes(&early));
    }
}
