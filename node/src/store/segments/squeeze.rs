//! Where there is no room for records, space is looked for everywhere.
//!
//! Usually a segment is moved when less than half of it is used: more would cost more writing than
//! it gains. On a full disk every part counts. Segments are moved together, the emptiest first, as
//! long as each gains a little. That needs one spare segment, which commits leave to it
//! ([`UPKEEP_SPARES`](super::UPKEEP_SPARES)): when the content of a segment is moved, that segment
//! is the next spare one.
//!
//! - A segment is moved whole or not at all: what is written meanwhile must not take the space that
//!   the rest of it needs.
//! - Only what was written counts as a gain. The end of a segment that no batch fitted is none, and
//!   would be none again: what is moved once is not moved again before more of it is dropped.
//! - Segments behind the older one of the two newest checkpoints may not go. Where there is
//!   something to gain among them the next segment is begun early, with two checkpoints.

use super::{
    SegmentStore,
    active::{Active, Writer},
    checkpoint,
    compaction::{Compaction, used},
    frame::{Found, Scan},
    group::{COMMIT_BYTES, Group},
    index::Index,
    record::OPENING_BYTES,
};
use crate::store::StoreError;

/// The part of a segment that must be gained by moving the rest of it.
const GAIN_PART: usize = 32;

impl SegmentStore {
    /// Moves one segment of which something is gained. Whether there may be more to do.
    pub(super) fn squeeze(&self, writer: &mut Writer, index: &Index) -> Result<bool, StoreError> {
        writer.compaction = None;
        let Some(segment) = self.emptiest(writer) else {
            return self.begin_early(writer, index);
        };
        let live = writer.usage.get(&segment).copied().unwrap_or_default();
        let rest = writer.active.as_ref().map_or(0, Active::rest);
        let room = rest + writer.spares.len() * self.options.segment_bytes;
        if writer.unfit == Some((segment, live, room)) {
            return Ok(false);
        }
        let compaction = self.begin_with(segment);
        let (end, lengths) = self.content(index, &compaction)?;
        writer.ends.insert(segment, end);
        if self.dead_bytes(writer, segment) < self.gain_min() {
            return Ok(true);
        }
        if !self.fits(writer, checkpoint_bytes(index)?, &lengths) {
            writer.unfit = Some((segment, live, room));
            return Ok(false);
        }
        let mut rest = Some(compaction);
        while let Some(compaction) = rest {
            rest = self.step(writer, index, compaction)?;
        }
        Ok(true)
    }

    fn gain_min(&self) -> usize {
        self.options.segment_bytes / GAIN_PART
    }

    /// Bytes that were written to a segment, are of no use, and would not be written again. As long
    /// as it is not known how far a segment was written, that is all that is not used.
    fn dead_bytes(&self, writer: &Writer, segment: u32) -> usize {
        let live = writer.usage.get(&segment).copied().unwrap_or_default();
        let end = writer.ends.get(&segment).copied().unwrap_or(self.options.segment_bytes);
        let again = OPENING_BYTES + writer.checkpoint_bytes;
        end.saturating_sub(again).saturating_sub(usize::try_from(live).unwrap_or(usize::MAX))
    }

    /// The segment of which least is used, among those that may go and gain something.
    fn emptiest(&self, writer: &Writer) -> Option<u32> {
        let sealed = writer.usage.range(..writer.checkpoints[1]);
        let gaining = sealed.filter(|(segment, live)| {
            **live > 0
                && self.dead_bytes(writer, **segment) >= self.gain_min()
                && writer.stuck.get(segment) != Some(live)
        });
        gaining.min_by_key(|(_, live)| **live).map(|(segment, _)| *segment)
    }

    /// How far a segment is written, and the lengths of the frames that are used.
    fn content(
        &self,
        index: &Index,
        compaction: &Compaction,
    ) -> Result<(usize, Vec<usize>), StoreError> {
        let Compaction { segment, bytes, .. } = compaction;
        let mut end = OPENING_BYTES;
        let mut lengths = Vec::new();
        for found in Scan::new(bytes, self.salt, *segment, OPENING_BYTES, 0) {
            let frame = match found {
                Found::Damaged(range) => {
                    end = range.end;
                    continue;
                }
                Found::Frame(frame) => frame,
            };
            end = frame.end();
            if let Some(used) = used(index, bytes, &frame)? {
                lengths.push(used.frame_bytes(&frame));
            }
        }
        Ok((end, lengths))
    }

    /// Whether frames of these lengths find room, one behind the other, with a checkpoint of this
    /// many bytes in each segment that is begun. Each frame counts as a group of its own.
    fn fits(&self, writer: &Writer, checkpoint_bytes: usize, lengths: &[usize]) -> bool {
        let mut rest = writer.active.as_ref().map_or(0, Active::rest);
        let mut spares = writer.spares.len();
        for length in lengths {
            let length = COMMIT_BYTES + length;
            if length > rest {
                let Some(fewer) = spares.checked_sub(1) else { return false };
                spares = fewer;
                rest = self.options.segment_bytes.saturating_sub(begun_with(checkpoint_bytes, 1));
            }
            let Some(less) = rest.checked_sub(length) else { return false };
            rest = less;
        }
        true
    }

    /// Begins the next segment with two checkpoints, so that those before it may go, if something
    /// is gained by that. Whether it was.
    fn begin_early(&self, writer: &mut Writer, index: &Index) -> Result<bool, StoreError> {
        let Some(active) = &writer.active else { return Ok(false) };
        let (active, at, rest) = (active.segment, active.at, active.rest());
        let kept = writer.usage.range(writer.checkpoints[1]..active);
        let is_gain = |segment: &u32| self.dead_bytes(writer, *segment) >= self.gain_min();
        let is_any = kept.map(|(segment, _)| segment).any(is_gain);
        // What the active one has left is of use, so only what it has written counts.
        let live = writer.usage.get(&active).copied().unwrap_or_default();
        let checkpoint_bytes = checkpoint_bytes(index)?;
        let dead = at.saturating_sub(begun_with(checkpoint_bytes, 2));
        let dead = dead.saturating_sub(usize::try_from(live).unwrap_or(usize::MAX));
        if !is_any && dead < rest.max(self.gain_min()) {
            return Ok(false);
        }
        let least = writer.usage.range(writer.checkpoints[1]..=active).map(|(_, live)| *live).min();
        let least = usize::try_from(least.unwrap_or_default()).unwrap_or(usize::MAX);
        let needed =
            begun_with(checkpoint_bytes, 2).saturating_add(least).saturating_add(least / 16);
        if writer.spares.is_empty() || needed > self.options.segment_bytes {
            return Ok(false);
        }
        self.begin_next(writer, 2 * checkpoint_bytes, 0)?;
        // What was left of it is given up.
        writer.ends.insert(active, self.options.segment_bytes);
        self.write_checkpoint(writer, index, checkpoint_bytes)?;
        self.write_checkpoint(writer, index, 0)?;
        self.latching(|| writer.flush())?;
        Ok(true)
    }
}

/// Bytes that a segment begins with: this many checkpoints, and what closes the first group behind
/// them.
fn begun_with(checkpoint_bytes: usize, checkpoints: usize) -> usize {
    OPENING_BYTES + checkpoints * checkpoint_bytes + 4 * COMMIT_BYTES
}

/// Bytes that a checkpoint would have now.
fn checkpoint_bytes(index: &Index) -> Result<usize, StoreError> {
    let mut group = Group::new(0, 0, 0, 0);
    checkpoint::write(index, &mut group, usize::MAX)?;
    Ok(group.end())
}
