//! Proof that a node holds a batch: a hash that nobody can make without its bytes.

use crate::model::{Batch, Hash, NodeId};

/// The proof of this node that it holds a batch: BLAKE3, keyed with the asker's nonce, over the
/// node's public key and the bytes of the batch.
///
/// The key keeps an old answer from being given again. The name keeps a node from passing the
/// question on to one that holds the batch, and its answer back.
pub fn possession(node: &NodeId, nonce: &[u8; 32], batch: &Batch) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(nonce);
    hasher.update(node.as_bytes()).update(batch.bytes());
    Hash(hasher.finalize().into())
}
