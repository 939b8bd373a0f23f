//! How a read goes through several logs at once.
//!
//! A k-way merge over places, the small keys of batches. The bytes of a batch are read when its
//! turn comes, so that a page of thousands of logs does not hold one batch of each in memory. A
//! compacted range has no turn of its own: it comes with the batch that follows it.

use std::{cmp::Reverse, collections::BinaryHeap};

use antiphon::{
    engine::{Damage, Early, Stored},
    limits::COMPACTED_START_BYTES_MAX,
    model::{Batch, Compacted, LogId, ShortHash, Stamp},
    wire::{LogRange, Page},
};

use super::{Reading, StoreError};

/// What a compacted range adds to the bytes of a page.
fn compacted_bytes(part: &Compacted) -> usize {
    COMPACTED_START_BYTES_MAX + (ShortHash::BYTES + 1) * part.batches.len()
}

/// The outcome of reading a batch.
#[derive(Debug)]
pub(super) enum Loaded {
    Batch(Batch),
    /// It is in a compacted range: this one.
    Compacted(Compacted),
    /// It was removed in the meantime.
    Gone,
    /// It exists and cannot be read.
    Damaged(Damage),
}

/// Walks one log from the batch or the range that starts at or before the first requested record.
pub(super) trait Walk {
    /// What comes next; none after the last.
    fn next(&mut self) -> Result<Option<Stored>, StoreError>;

    /// The bytes of what `next` returned last.
    fn load(&mut self) -> Result<Loaded, StoreError>;
}

/// A log and how far it has been read.
struct Source<W> {
    walk: W,
    /// The record that comes next.
    at: u64,
    /// The record after the last one wanted.
    to: u64,
}

/// What comes next in a log.
enum Step {
    /// A batch, by where it is.
    Batch(Next),
    /// All that was asked for has been read.
    Finished,
    /// A gap or damage: the log cannot be read further. With what was compacted right before that.
    Broken(Option<Compacted>),
}

/// A batch that waits for its turn.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    batch: Compacted,
    /// What was compacted right before it, as one range.
    before: Option<Compacted>,
}

impl<W: Walk> Source<W> {
    /// Moves to the next batch, over what was compacted before it, also if that is all that was
    /// requested.
    fn step(&mut self) -> Result<Step, StoreError> {
        if self.at >= self.to {
            return Ok(Step::Finished);
        }
        let mut before: Option<Compacted> = None;
        while let Some(Stored { mut part, bytes }) = self.walk.next()? {
            if bytes.is_none()
                && let Loaded::Compacted(loaded) = self.walk.load()?
            {
                // Of one that is damaged the index still knows where it is.
                part = loaded;
            }
            let joined = match before {
                Some(ref before) => before.joined(&part),
                None => part.covers(&part.log, self.at).then(|| part.clone()),
            };
            let Some(joined) = joined else { break };
            self.at = part.next;
            if bytes.is_some() {
                return Ok(Step::Batch(Next { batch: part, before }));
            }
            before = Some(joined);
        }
        Ok(Step::Broken(before))
    }
}

/// The order in which batches of different logs are shown, and which log it is.
type Turn = Reverse<(Stamp, LogId, u64, usize, Next)>;

fn turn(index: usize, early: &Early, next: Next) -> Turn {
    let Compacted { stamp, log, first, .. } = next.batch;
    Reverse((early.order(&log, first, stamp), log, first, index, next))
}

/// Merges logs into a page of at most `bytes_max` bytes, but of at least one batch.
pub(super) fn merge<W: Walk>(
    logs: Vec<(LogRange, W)>,
    early: &Early,
    bytes_max: usize,
) -> Result<Reading, StoreError> {
    let source = |(range, walk): (LogRange, W)| Source { walk, at: range.from, to: range.to };
    let mut sources: Vec<_> = logs.into_iter().map(source).collect();
    let mut page = Page { finished: true, ..Page::default() };
    let mut damages = Vec::new();
    let mut turns = BinaryHeap::new();
    for (index, source) in sources.iter_mut().enumerate() {
        match source.step()? {
            Step::Batch(next) => turns.push(turn(index, early, next)),
            Step::Finished => {}
            Step::Broken(part) => {
                page.finished = false;
                page.compacted.extend(part);
            }
        }
    }
    let mut bytes = 0;
    while let Some(Reverse((.., index, Next { batch: place, before }))) = turns.pop() {
        if bytes >= bytes_max && !page.batches.is_empty() {
            page.finished = false;
            break;
        }
        let source = &mut sources[index];
        let batch = match source.walk.load()? {
            Loaded::Batch(batch) => batch,
            // A part may have taken its place meanwhile.
            Loaded::Gone | Loaded::Compacted(_) => {
                page.finished = false;
                continue;
            }
            // It ends the log for its reader; the other logs go on.
            Loaded::Damaged(damage) => {
                page.finished = false;
                damages.push(damage);
                continue;
            }
        };
        debug_assert_eq!((batch.hash(), batch.header().first), (place.head, place.first));
        bytes += batch.bytes().len() + before.as_ref().map_or(0, compacted_bytes);
        if bytes > bytes_max && !page.batches.is_empty() {
            page.finished = false;
            break;
        }
        page.compacted.extend(before);
        page.batches.push(batch);
        match source.step()? {
            Step::Batch(next) => turns.push(turn(index, early, next)),
            Step::Finished => {}
            Step::Broken(part) => {
                page.finished = false;
                page.compacted.extend(part);
            }
        }
    }
    Ok(Reading { page, damages })
}
