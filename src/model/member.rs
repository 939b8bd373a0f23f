//! A node's name and key.
//!
//! A node is named by its ed25519 public key. Its text is the libp2p peer id of that key
//! (`12D3KooW…`), so that the name in a multiaddr and the name in a batch are the same.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// A signature over a header or a descriptor.
pub type Signature = [u8; 64];

/// The id of a node: its ed25519 public key. Its text is the libp2p peer id of that key
/// (`12D3KooW…`), as at the end of a multiaddress. A text becomes an id by [`str::parse`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[cbor(with = "minicbor::bytes")] [u8; 32]);

/// What libp2p puts before an ed25519 public key to make a peer id: the identity multihash of
/// the key's protobuf encoding (libp2p specification, peer-ids).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Characters of the end of a peer id that are shown if it is shortened.
const SHORT_END: usize = 8;

impl NodeId {
    /// The id of the node with this public key.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The libp2p peer id as bytes.
    pub fn to_peer_id_bytes(self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The id of the node with this libp2p peer id.
    ///
    /// # Errors
    /// When the peer id is not that of an ed25519 key.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Result<Self, NodeIdError> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX).ok_or(NodeIdError)?;
        <[u8; 32]>::try_from(key).map(Self).map_err(|_malformed| NodeIdError)
    }

    /// The node's place in the key space: the hash that Kademlia uses for its peer id. So our
    /// placement and a lookup in the table agree on who is near.
    pub fn place(&self) -> [u8; 32] {
        Sha256::digest(self.to_peer_id_bytes()).into()
    }

    /// The peer id in short, for people: its last characters. All peer ids begin alike.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text.get(text.len().saturating_sub(SHORT_END)..).unwrap_or(&text).to_owned()
    }

    /// Checks a signature strictly: one message, one key, one valid signature.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
        })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The end differs between nodes; the start is the same for all.
        let text = self.to_string();
        write!(formatter, "…{}", text.get(text.len().saturating_sub(6)..).unwrap_or(&text))
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let bytes = bs58::decode(text).into_vec().map_err(|_malformed| NodeIdError)?;
        Self::from_peer_id_bytes(&bytes)
    }
}

/// A text or bytes that do not name a node.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("not the peer id of an ed25519 key")]
pub struct NodeIdError;

/// A node's secret key: signs batches and descriptors. Wiped from memory when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key with these 32 secret bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The name of the node that has this key.
    pub fn node(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs a message. Deterministic (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeKey({:?})", self.node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_libp2p_peer_id() {
        let node = NodeKey::from_secret(&[7; 32]).node();
        let text = node.to_string();
        assert!(text.starts_with("12D3KooW"), "{text}");
        assert_eq!(text.parse(), Ok(node));
        assert_eq!("12D3KooW".parse::<NodeId>(), Err(NodeIdError));
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError));
    }

    #[test]
    fn signature_binds_message_and_key() {
        let key = NodeKey::from_secret(&[7; 32]);
        let signature = key.sign(b"a");
        assert!(key.node().verify(b"a", &signature));
        assert!(!key.node().verify(b"b", &signature));
        assert!(!NodeKey::from_secret(&[8; 32]).node().verify(b"a", &signature));
        assert!(!NodeId::from_bytes([0; 32]).verify(b"a", &signature));
    }
}
