//! Checkpoints: the small state, at the beginning of a segment.
//!
//! A checkpoint is a group of frames that holds all logs, subscriptions, descriptors, contacts and
//! facts. It allows old segments to be deleted, and a rebuild of the index starts from it. Two
//! rules make both right:
//!
//! - A segment is deleted only when the two newest checkpoints stand in later ones. So there are
//!   always two copies of the small state, and all frames behind the older one.
//! - A rebuild looks for the newest whole checkpoint. Of what stands before it only the batches
//!   count, and only those that lie in a span of their log as the checkpoint has it: all others had
//!   been dropped. What stands behind it is applied in order.
//!
//! So a dropped batch does not come back when the frame that dropped it is gone, though its own
//! bytes may still be there.
//!
//! Where the small state is large, not every segment begins with one: it would be most of what is
//! written.

use super::{frame::Kind, group::Group, index::Index, record::put_state};
use crate::store::{StoreError, keys::Table};

/// A checkpoint is made when this many times its bytes were written behind the last one.
pub(super) const SPACING: usize = 4;

/// Bytes of one frame of a checkpoint, about: damage costs one of them.
const PART_BYTES: usize = 64 * 1024;

/// Writes the small state as frames. None when it is larger than `bytes_max`.
pub(super) fn write(
    index: &Index,
    group: &mut Group,
    bytes_max: usize,
) -> Result<Option<()>, StoreError> {
    let mut payload = Vec::new();
    for table in Table::STATE {
        for entry in index.entries(table) {
            let (key, value) = entry?;
            put_state(&mut payload, &[&[table.tag()], &key[..]].concat(), &value);
            if payload.len() >= PART_BYTES {
                group.push(Kind::Checkpoint, &[&payload]);
                payload.clear();
            }
            if group.end() + payload.len() > bytes_max {
                return Ok(None);
            }
        }
    }
    // One frame at least, so that the checkpoint of an empty store is one.
    group.push(Kind::Checkpoint, &[&payload]);
    group.close(true);
    Ok(Some(()))
}
