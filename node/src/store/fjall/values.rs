//! What lies under the keys, and whose fault it is when that is not what it should be.

use antiphon::model::{Batch, Hash};
use bytes::Bytes;

use crate::store::{StoreError, keys::Place};

/// Bytes of the hash before each stored batch.
pub(super) const HASH_BYTES: usize = 32;

/// A batch as it is stored. Copied on purpose: the tree keeps the value in memory until it is
/// flushed, and a batch that came over the network shares its memory with a whole message.
pub(super) fn stored(batch: &Batch) -> Vec<u8> {
    [batch.hash().0.as_slice(), batch.bytes()].concat()
}

/// The batch in a stored value, which shares the value's memory.
pub(super) fn restore(mut value: Bytes, place: &Place) -> Result<Batch, StoreError> {
    let action = "reading a batch";
    let hash = value.first_chunk::<HASH_BYTES>().copied();
    let hash = hash.ok_or_else(|| damaged(action, "it is cut short"))?;
    let bytes = value.split_off(HASH_BYTES);
    let batch =
        Batch::restore(bytes, Hash(hash)).map_err(|error| damaged(action, &error.to_string()))?;
    // The key says where it is filed.
    let batch = batch.filed(place.log.incarnation);
    if Place::of(&batch) == *place {
        Ok(batch)
    } else {
        Err(damaged(action, "another batch is in its place"))
    }
}

pub(super) fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory does not fail")
}

pub(super) fn decode<'b, T: minicbor::Decode<'b, ()>>(
    value: &'b [u8],
    action: &'static str,
) -> Result<T, StoreError> {
    minicbor::decode(value).map_err(|error| damaged(action, &error.to_string()))
}

pub(super) fn array<const N: usize>(
    value: &[u8],
    action: &'static str,
) -> Result<[u8; N], StoreError> {
    value.try_into().ok().ok_or_else(|| damaged(action, "a number of another length"))
}

pub(super) fn damaged(action: &'static str, reason: &str) -> StoreError {
    StoreError::Damaged { action, reason: reason.to_owned() }
}

/// Whose fault an error of fjall is.
pub(super) fn failed(action: &'static str, error: &::fjall::Error) -> StoreError {
    use std::io::ErrorKind;

    use ::fjall::{Error, LsmError};
    match error {
        Error::Locked => StoreError::Locked,
        Error::Poisoned => StoreError::Latched,
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => match error.kind() {
            // A file that is shorter than what was written to it.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                damaged(action, &error.to_string())
            }
            _ => StoreError::Io { action, reason: error.to_string() },
        },
        error => damaged(action, &error.to_string()),
    }
}
