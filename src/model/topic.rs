//! Topics: their names and ids.

use std::{borrow::Borrow, fmt, str::FromStr};

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Realm;
use crate::limits::NAME_BYTES_MAX;

/// What divides a name into parts.
pub(super) const DIVIDER: char = '.';

/// The part of a pattern that stands for one part of a name.
pub(super) const ONE: &str = "*";

/// The last part of a pattern, which stands for one part or more.
pub(super) const REST: &str = ">";

/// Whether a part of the text stands for other parts, as in a pattern.
pub(super) fn has_open_part(text: &str) -> bool {
    text.split(DIVIDER).any(|part| part == ONE || part == REST)
}

/// The name of a network: 1 to 64 ASCII letters, digits, `-`, `_` or `.`, with a letter or a digit
/// first. Nodes of different networks never join. A text becomes a name by [`str::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(String);

impl Network {
    /// The name of the network that a node joins if it is given none.
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
    "a network's name has 1 to 64 letters, digits, `-`, `_` or `.` and starts with a letter or a digit"
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

/// The name of a topic: 1 to 255 bytes of UTF-8 in any script, without control characters. It does
/// not begin with `_antiphon.`.
///
/// Dots divide it into parts, none of which is `*` or `>`: those make a
/// [`TopicPattern`](super::TopicPattern). The `antiphon` command is stricter with new topics: it
/// refuses empty parts, for example.
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
    /// The catalogue: the topic that every node holds, whose records describe all topics.
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
    /// It begins with `_antiphon.`: such names are Antiphon's own.
    #[error("names that start with `{RESERVED_PREFIX}` are reserved")]
    Reserved,
    /// It is a pattern, which stands for several names.
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

impl TryFrom<&str> for TopicName {
    type Error = TopicNameError;

    fn try_from(name: &str) -> Result<Self, TopicNameError> {
        name.parse()
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;

    fn try_from(name: String) -> Result<Self, TopicNameError> {
        name.parse()
    }
}

impl From<&Self> for TopicName {
    fn from(name: &Self) -> Self {
        name.clone()
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

/// A topic's id: BLAKE3 in derive-key mode of its network and its name. It is also the topic's
/// Kademlia key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct TopicId(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl TopicId {
    /// The id of the topic of this name in this network.
    pub fn derive(realm: &Realm, name: &TopicName) -> Self {
        let mut hasher;
        if let Some(network) = realm.id() {
            hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 topic id v2");
            hasher.update(network.as_bytes());
        } else {
            hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 topic id v1");
            // A network's name has no NUL, so no two pairs of names give the same bytes.
            hasher.update(realm.name().0.as_bytes()).update(&[0]);
        }
        hasher.update(name.0.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The id of a later topic of this name, after this many were deleted. Nothing of one of them
    /// can be taken for a part of another.
    pub(super) fn derive_again(realm: &Realm, name: &TopicName, generation: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 topic id again v1");
        hasher.update(&Self::derive(realm, name).0).update(&generation.to_be_bytes());
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

    /// The topic's place in the key space: the hash that Kademlia uses for its key.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_ne!(TopicId::derive(&Realm::default(), &name), Realm::open(other).topic(&name));
        assert!("../x".parse::<Network>().is_err());
        assert!("".parse::<Network>().is_err());
    }
}
