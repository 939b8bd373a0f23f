//! How a read goes through several logs at once.
//!
//! A k-way merge over places, the small keys of batches. The bytes of a batch are read when its
//! turn comes, so that a page of thousands of logs does not hold one batch of each in memory.

use std::{cmp::Reverse, collections::BinaryHeap};

use antiphon::{
    engine::Damage,
    model::{Batch, LogId, Stamp},
    wire::{LogRange, Page},
};

use super::{Reading, StoreError, keys::Place};

/// What became of a batch that is to be read.
#[derive(Debug)]
pub(super) enum Loaded {
    Batch(Batch),
    /// It was removed in the meantime.
    Gone,
    /// It is there and cannot be read.
    Damaged(Damage),
}

/// Walks one log from the batch that starts at or before the first record asked for.
pub(super) trait Walk {
    /// The next batch; none after the last.
    fn next(&mut self) -> Result<Option<Place>, StoreError>;

    /// The bytes of the batch that `next` told of last.
    fn load(&mut self, place: &Place) -> Result<Loaded, StoreError>;
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
    Batch(Place),
    /// All that was asked for has been read.
    Finished,
    /// A hole or damage: the log cannot be read further.
    Broken,
}

impl<W: Walk> Source<W> {
    fn step(&mut self) -> Result<Step, StoreError> {
        if self.at >= self.to {
            return Ok(Step::Finished);
        }
        let Some(place) = self.walk.next()? else {
            return Ok(Step::Broken);
        };
        if place.first > self.at || place.next <= self.at {
            return Ok(Step::Broken);
        }
        self.at = place.next;
        Ok(Step::Batch(place))
    }
}

/// The order in which batches of different logs are shown, and which log it is.
type Turn = Reverse<(Stamp, LogId, u64, usize, Place)>;

fn turn(index: usize, place: Place) -> Turn {
    Reverse((place.stamp, place.log, place.first, index, place))
}

/// Merges logs into a page of at most `bytes_max` bytes, but of at least one batch.
pub(super) fn merge<W: Walk>(
    logs: Vec<(LogRange, W)>,
    bytes_max: usize,
) -> Result<Reading, StoreError> {
    let source = |(range, walk): (LogRange, W)| Source { walk, at: range.from, to: range.to };
    let mut sources: Vec<_> = logs.into_iter().map(source).collect();
    let mut page = Page { finished: true, ..Page::default() };
    let mut damages = Vec::new();
    let mut turns = BinaryHeap::new();
    for (index, source) in sources.iter_mut().enumerate() {
        match source.step()? {
            Step::Batch(place) => turns.push(turn(index, place)),
            Step::Finished => {}
            Step::Broken => page.finished = false,
        }
    }
    let mut bytes = 0;
    while let Some(Reverse((.., index, place))) = turns.pop() {
        if bytes >= bytes_max && !page.batches.is_empty() {
            page.finished = false;
            break;
        }
        let source = &mut sources[index];
        let batch = match source.walk.load(&place)? {
            Loaded::Batch(batch) => batch,
            Loaded::Gone => {
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
        debug_assert_eq!(Place::of(&batch), place);
        bytes += batch.bytes().len();
        if bytes > bytes_max && !page.batches.is_empty() {
            page.finished = false;
            break;
        }
        page.batches.push(batch);
        match source.step()? {
            Step::Batch(place) => turns.push(turn(index, place)),
            Step::Finished => {}
            Step::Broken => page.finished = false,
        }
    }
    Ok(Reading { page, damages })
}
