//! Descriptors: the signed terms of a topic, which create it, change it and delete it.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    Blob, Hash, NodeId, NodeKey, Realm, Signature, Stamp, TopicId, TopicName, WallClock,
    clock::steps_within_reach, decode_exact, encode_to_bytes,
};
use crate::limits::{
    CHANGES_MAX, DESCRIPTOR_BYTES_MAX, NEEDS_MAX, REPLICAS_DEFAULT, REPLICAS_MAX, WRITERS_MAX,
};

/// How long a topic keeps its records. `None` in a field means unlimited. A batch expires when any
/// limit is exceeded. Up to a thirty-second part more may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Retention {
    /// Age in milliseconds, by the replica's clock of receipt.
    #[n(0)]
    pub age_ms: Option<u64>,
    /// Bytes that a replica keeps, as they are stored.
    #[n(1)]
    pub bytes: Option<u64>,
    /// Records that a replica keeps.
    #[n(2)]
    pub records: Option<u64>,
    /// If set, the topic is compacted: it keeps the newest record of each key. A tombstone is
    /// deleted this many milliseconds after it was published. A compacted topic stays compacted,
    /// because replicas that are made later lack the deleted records too.
    #[n(3)]
    pub tombstones_ms: Option<u64>,
}

impl Retention {
    /// Whether records are kept for ever.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Whether any limit of age, bytes or number is set.
    pub fn has_limits(&self) -> bool {
        [self.age_ms, self.bytes, self.records].iter().any(Option::is_some)
    }
}

/// Who may write to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode)]
pub enum Writers {
    /// Every node of the network.
    #[n(0)]
    #[default]
    Anyone,
    /// The nodes with these keys.
    #[n(1)]
    Listed(#[n(0)] Vec<NodeId>),
    /// Said in a way that only a newer program knows.
    #[n(65535)]
    Unknown,
}

/// What is known of [`Writers`] on the wire.
#[derive(Decode)]
enum KnownWriters {
    #[n(0)]
    Anyone,
    #[n(1)]
    Listed(#[n(0)] Vec<NodeId>),
}

impl<'b, C> Decode<'b, C> for Writers {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let start = decoder.position();
        Ok(match KnownWriters::decode(decoder, context) {
            Ok(KnownWriters::Anyone) => Self::Anyone,
            Ok(KnownWriters::Listed(keys)) => Self::Listed(keys),
            Err(_unknown) => {
                decoder.set_position(start);
                decoder.skip()?;
                Self::Unknown
            }
        })
    }
}

/// The features that a topic may need and that this program has. Each gets its number when it is
/// built.
const FEATURES: [u32; 0] = [];

/// At most [`NEEDS_MAX`] of them.
fn bounded_needs<C>(
    decoder: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<Vec<u32>, minicbor::decode::Error> {
    match decoder.array()? {
        Some(length) if length <= NEEDS_MAX as u64 => {
            (0..length).map(|_| u32::decode(decoder, context)).collect()
        }
        Some(_) | None => Err(minicbor::decode::Error::message("more needs than are allowed")),
    }
}

impl Writers {
    /// Whether a node is one of them.
    pub fn admit(&self, node: &NodeId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Listed(keys) => keys.contains(node),
            Self::Unknown => false,
        }
    }
}

/// What a topic is: the terms under which it was created or altered.
///
/// [`Descriptor::new`] is the only way to make one: what is not said then has its default, so a new
/// field changes no other place.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "super::Share")]
pub struct Descriptor {
    /// Version of this encoding. It is private, so that nobody else writes a literal.
    #[n(0)]
    version: u8,
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
    /// Who created the topic or changed it last, and signed this.
    #[n(7)]
    pub creator: NodeId,
    /// When this was signed. Of two descriptors of one revision the earlier one holds.
    #[n(8)]
    pub created: Stamp,
    /// Counts changes. Of two descriptors of one topic the higher revision holds.
    #[n(9)]
    pub revision: u64,
    /// How many topics had this name before, and were deleted.
    #[cbor(n(10), skip_if = "is_default")]
    pub generation: u64,
    /// Whether the topic is deleted. It never comes back; another one may get the name.
    #[cbor(n(11), skip_if = "is_default")]
    pub deleted: bool,
    /// The id for which the records of an imported topic are signed. It is then the topic's id.
    #[n(12)]
    pub origin: Option<TopicId>,
    /// The features that a node must have to hold the topic, or to write to it. A node without one
    /// of them keeps the descriptor and spreads it, and does nothing else for the topic.
    #[cbor(n(17), decode_with = "bounded_needs", skip_if = "Vec::is_empty", default)]
    pub needs: Vec<u32>,
    /// Whether `min_copies` follows the network, see [`floor`](Self::floor). The field then has the
    /// number of the time when this was signed, for programs that do not know this field.
    #[cbor(n(19), skip_if = "is_default", default)]
    pub floor_follows: bool,
}

/// From this many nodes on, two copies are the least, if the topic names no number.
const NODES_FOR_TWO_COPIES: usize = 3;

/// `min_copies` of a topic that follows the network: two if three or more nodes belong to it, else
/// one. So one disk that is cut off from the others acknowledges nothing alone.
pub fn floor_that_follows(replicas: u16, nodes: usize) -> u16 {
    if nodes >= NODES_FOR_TWO_COPIES { 2.min(replicas) } else { 1 }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Descriptor {
    /// The version of descriptors that this program writes.
    pub const VERSION: u8 = 1;

    /// The terms of a new topic: [`REPLICAS_DEFAULT`] replicas, two copies, records without a
    /// limit, and everybody may write.
    pub fn new(name: TopicName, creator: NodeId, created: Stamp) -> Self {
        Self {
            version: Self::VERSION,
            name,
            replicas: REPLICAS_DEFAULT,
            min_copies: floor_that_follows(REPLICAS_DEFAULT, NODES_FOR_TWO_COPIES),
            retention: Retention::default(),
            writers: Writers::Anyone,
            encryption_key: None,
            creator,
            created,
            revision: 0,
            generation: 0,
            deleted: false,
            origin: None,
            needs: Vec::new(),
            floor_follows: false,
        }
    }

    /// The same terms as the next revision, which this node signs.
    #[must_use]
    pub fn revised_by(self, creator: NodeId, created: Stamp) -> Self {
        Self { creator, created, revision: self.revision.saturating_add(1), ..self }
    }

    /// The id of the topic.
    pub fn id(&self, realm: &Realm) -> TopicId {
        match (self.origin, self.generation) {
            (Some(origin), _) => origin,
            (None, 0) => TopicId::derive(realm, &self.name),
            (None, generation) => TopicId::derive_again(realm, &self.name, generation),
        }
    }

    /// Whether this descriptor replaces `other`, of the same name. This is a total order, so all
    /// nodes that saw the same descriptors choose the same one. A deletion outlives every change
    /// that did not know of it.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |d: &Self| {
            (d.generation, d.deleted, d.revision, std::cmp::Reverse((d.created, d.creator)))
        };
        rank(self) > rank(other)
    }

    /// Whether its generation and its revision are no further than they can have been counted by
    /// `now`. `newest` is what is known of its name, and `current` of its topic.
    pub fn is_within_reach(
        &self,
        newest: Option<&Self>,
        current: Option<&Self>,
        now: WallClock,
    ) -> bool {
        let at = |terms: &Self, count| (count, terms.created.time());
        let unknown = (0, WallClock(0));
        let generation = newest.map_or(unknown, |newest| at(newest, newest.generation));
        let revision = current.map_or(unknown, |current| at(current, current.revision));
        self.generation <= steps_within_reach(generation.0, generation.1, now)
            && self.revision <= steps_within_reach(revision.0, revision.1, now)
    }

    /// Copies below which nothing is acknowledged, in a network of this many nodes.
    pub fn floor(&self, nodes: usize) -> u16 {
        if self.floor_follows { floor_that_follows(self.replicas, nodes) } else { self.min_copies }
    }

    /// Whether a node may change the terms and delete the topic: any node that may write. Where
    /// that is not understood, newer nodes have judged it.
    pub fn may_alter(&self, node: &NodeId) -> bool {
        self.writers == Writers::Unknown || self.writers.admit(node)
    }

    /// Whether this program understands all that it must know to hold the topic.
    pub fn is_understood(&self) -> bool {
        self.writers != Writers::Unknown && self.unknown_need().is_none()
    }

    fn unknown_need(&self) -> Option<u32> {
        self.needs.iter().copied().find(|need| !FEATURES.contains(need))
    }

    /// What this program does not understand, in words; none if it understands all.
    pub fn not_understood(&self) -> Option<String> {
        let what = match self.unknown_need() {
            Some(need) => format!("feature {need}"),
            None if self.is_understood() => return None,
            None => "who may write".to_owned(),
        };
        Some(format!("topic `{}` needs a newer version of Antiphon ({what})", self.name))
    }

    /// Whether all fields are in bounds.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self) -> Result<(), DescriptorError> {
        if self.version != Self::VERSION {
            return Err(DescriptorError::Version(self.version));
        }
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            return Err(DescriptorError::Replicas(self.replicas));
        }
        if !(1..=self.replicas).contains(&self.min_copies) {
            return Err(DescriptorError::MinCopies(self.min_copies, self.replicas));
        }
        let Retention { age_ms, bytes, records, tombstones_ms } = self.retention;
        if [age_ms, bytes, records, tombstones_ms].contains(&Some(0)) {
            return Err(DescriptorError::Retention);
        }
        if self.revision.max(self.generation) > CHANGES_MAX {
            return Err(DescriptorError::Malformed("counted too far"));
        }
        match &self.writers {
            Writers::Listed(keys) if keys.len() > WRITERS_MAX => {
                Err(DescriptorError::Writers(keys.len()))
            }
            Writers::Listed(_) | Writers::Anyone | Writers::Unknown => Ok(()),
        }
    }

    /// Signs the descriptor; `key` must be its creator's.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, key: &NodeKey) -> Result<SignedDescriptor, DescriptorError> {
        assert_eq!(self.creator, key.node(), "a descriptor is signed by its creator");
        if self.writers == Writers::Unknown {
            return Err(DescriptorError::Malformed("it is not known who may write"));
        }
        self.check()?;
        let terms = encode_to_bytes(&self);
        let signature = key.sign(&signing_input(&terms));
        let hash = hash_of(&terms);
        let bytes = encode_to_bytes(&Envelope { terms: Blob(terms), signature });
        Ok(SignedDescriptor { descriptor: self, hash, bytes })
    }
}

/// Why a descriptor is not accepted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DescriptorError {
    /// Zero or too many replicas.
    #[error("{0} replicas asked; 1 to {REPLICAS_MAX} are allowed")]
    Replicas(u16),
    /// `min_copies` is zero, or above the replicas.
    #[error("{0} copies are not from 1 to {1}, the number of replicas")]
    MinCopies(u16, u16),
    /// A topic that keeps nothing.
    #[error("a limit is zero, so the topic would keep nothing")]
    Retention,
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

/// Names terms: the hash of their bytes, without the signature.
fn hash_of(terms: &[u8]) -> Hash {
    Hash(blake3::hash(terms).into())
}

/// A descriptor whose signature is its creator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDescriptor {
    descriptor: Descriptor,
    hash: Hash,
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
            Ok(Self { descriptor, hash: hash_of(&envelope.terms), bytes })
        } else {
            Err(DescriptorError::Malformed("the signature is not its creator's"))
        }
    }

    /// The terms.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The hash of the signed bytes of the terms. Another signature of the same terms changes
    /// nothing.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether this replaces `other`, of the same name: [`Descriptor::supersedes`], and of two of
    /// one rank the one with the smaller hash. So all nodes choose the same one, even if somebody
    /// signs two of one rank.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.descriptor.supersedes(&other.descriptor)
            || !other.descriptor.supersedes(&self.descriptor) && self.hash < other.hash
    }

    /// The bytes as they were signed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<C> Encode<C> for SignedDescriptor {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.bytes)?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallClock;

    fn descriptor(key: &NodeKey) -> Descriptor {
        Descriptor::new("quakes".parse().unwrap(), key.node(), Stamp::at(WallClock(5)))
    }

    #[test]
    fn a_floor_follows_the_network_or_stays() {
        let key = NodeKey::from_secret(&[1; 32]);
        let fixed = Descriptor { min_copies: 1, ..descriptor(&key) };
        let follows = Descriptor { floor_follows: true, ..fixed.clone() };
        let single = Descriptor { replicas: 1, ..follows.clone() };
        for (nodes, floor) in [(1, 1), (2, 1), (3, 2), (10_000, 2)] {
            assert_eq!((fixed.floor(nodes), single.floor(nodes)), (1, 1));
            assert_eq!(follows.floor(nodes), floor);
        }
        let signed = follows.clone().sign(&key).unwrap();
        let read = SignedDescriptor::verify(signed.bytes().clone()).unwrap();
        assert_eq!(*read.descriptor(), follows);
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
    fn what_is_needed_and_not_known_is_told_in_words() {
        let key = NodeKey::from_secret(&[1; 32]);
        assert_eq!(descriptor(&key).not_understood(), None);
        let needs = Descriptor { needs: vec![7], ..descriptor(&key) };
        assert!(!needs.is_understood());
        let text = "topic `quakes` needs a newer version of Antiphon (feature 7)";
        assert_eq!(needs.not_understood().as_deref(), Some(text));
        let signed = needs.clone().sign(&key).unwrap();
        let read = SignedDescriptor::verify(signed.bytes().clone()).unwrap();
        assert_eq!(*read.descriptor(), needs);
        let many = Descriptor { needs: vec![7; NEEDS_MAX + 1], ..needs }.sign(&key).unwrap();
        assert!(SignedDescriptor::verify(many.bytes().clone()).is_err());
    }

    #[test]
    fn writers_that_are_said_in_another_way_are_nobody_here() {
        // A list with an entry that is no key, and a variant that is not known.
        for bytes in [&[0x82, 0x01, 0x81, 0x81, 0x61, b'x'][..], &[0x82, 0x02, 0x81, 0x80]] {
            let writers: Writers = minicbor::decode(bytes).unwrap();
            assert_eq!(writers, Writers::Unknown);
            let key = NodeKey::from_secret(&[1; 32]);
            assert!(!writers.admit(&key.node()));
            let terms = Descriptor { writers, ..descriptor(&key) };
            assert!(!terms.is_understood() && terms.may_alter(&key.node()));
            assert!(terms.not_understood().unwrap().contains("who may write"));
            assert!(terms.sign(&key).is_err());
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

    #[test]
    fn of_two_of_one_rank_every_node_chooses_the_same_one() {
        let key = NodeKey::from_secret(&[1; 32]);
        let signed = |replicas| Descriptor { replicas, ..descriptor(&key) }.sign(&key).unwrap();
        let (one, other) = (signed(3), signed(4));
        assert!(!one.descriptor().supersedes(other.descriptor()));
        assert!(!other.descriptor().supersedes(one.descriptor()));
        assert_ne!(one.supersedes(&other), other.supersedes(&one));
        assert!(!one.supersedes(&one.clone()));
    }

    #[test]
    fn nobody_counts_so_far_that_others_cannot_count_on() {
        let key = NodeKey::from_secret(&[1; 32]);
        for (generation, revision) in [(u64::MAX, 0), (0, CHANGES_MAX + 1)] {
            let far = Descriptor { revision, generation, ..descriptor(&key) };
            assert!(far.sign(&key).is_err());
        }
    }

    #[test]
    fn a_deletion_holds_against_changes_and_not_against_a_new_topic() {
        let key = NodeKey::from_secret(&[1; 32]);
        let deleted = Descriptor { revision: 1, deleted: true, ..descriptor(&key) };
        let altered = Descriptor { revision: 7, ..descriptor(&key) };
        let again = Descriptor { generation: 1, ..descriptor(&key) };
        assert!(deleted.supersedes(&altered) && !altered.supersedes(&deleted));
        assert!(again.supersedes(&deleted) && !deleted.supersedes(&again));
        let realm = Realm::default();
        assert_ne!(again.id(&realm), deleted.id(&realm));
        assert_eq!(altered.id(&realm), deleted.id(&realm));
    }
}
