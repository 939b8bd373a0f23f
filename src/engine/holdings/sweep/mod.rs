//! Compaction: finding the batches whose records all have a newer record of their key.
//!
//! A batch is compacted as a whole, because its writer signed it as a whole: when every record in
//! it has a later record of the same key. A tombstone is deleted too, when it is old enough and the
//! only record of its key that is left, so that nothing older reappears.
//!
//! **Stamps that count for nothing.** A batch that is stamped in the future is the newest of no
//! key. Nor is a batch whose own log continues with an earlier stamp: its writer's clock was set
//! right in between. Their stamps do not tell when they were published. So they stay until a record
//! of the key is known to be later: one that is stamped long after this disk was seen to hold them,
//! or a later one of the same log. A batch that is stamped a little in the future waits until its
//! time has come.
//!
//! A sweep reads everything that is stored of a topic, from any store ([`Shelf`]). It reads once to
//! learn the newest record of each key, and once more to find batches that hold none of those.
//! Memory is bounded: more than `KEYS_MAX` keys are taken in slices, by their hash, and each slice
//! costs both readings again.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use super::early::Early;
use crate::{
    limits::{CLOCK_DRIFT_MAX, SWEPT_PARTS_MAX},
    model::{Batch, Compacted, LogId, Record, Stamp, WallClock},
    wire::LogRange,
};

/// Keys that are in memory at a time: some 25 MB.
const KEYS_MAX: usize = 256 * 1024;

/// Slices that keys are taken in. A topic with more keys than 64 slices hold is not compacted.
const SLICES_MAX: u32 = 64;

/// Most batches that one sweep may find: some 25 MB of memory. The next one finds the rest. If the
/// keys are in slices, this many batches are looked at, from the start.
const FOUND_MAX: usize = 1024 * 1024;

/// Batches of one log, stamped before earlier ones, that are considered: the last of them. A clock
/// is set right now and then.
const FALLS_MAX: usize = 64;

/// What is looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// All that is held of the topic, each log's in order.
    pub spans: Vec<SweptSpan>,
    /// Tombstones that were published before go.
    pub tombstones_before: WallClock,
    /// What time it is: what is stamped later waits.
    pub now: WallClock,
    /// What is not believed.
    pub early: Early,
}

/// A span of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweptSpan {
    /// The span.
    pub range: LogRange,
    /// Up to where every home replica has it: only there records go, and take others' places.
    pub settled: u64,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// What may go, with what is compacted already beside it. At most [`SWEPT_PARTS_MAX`].
    pub parts: Vec<Compacted>,
    /// Whether there is more that may go.
    pub more: bool,
    /// Bytes of the batches that stay.
    pub bytes: u64,
    /// When the first of the tombstones was published that only wait for their time.
    pub tombstone: Option<WallClock>,
    /// When the time comes of the last of those that may take the place of others then.
    pub waits: Option<WallClock>,
    /// Parts that are stamped in the future, beyond those that were known. At most
    /// [`SWEPT_PARTS_MAX`].
    pub early: Vec<LogRange>,
}

/// What is stored: a batch, or a part that was compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is. It need not name batches: the writer of the range that replaces it does.
    pub part: Compacted,
    /// Bytes of the batch; none where it was compacted.
    pub bytes: Option<u64>,
}

/// What a sweep reads from.
pub trait Shelf {
    /// Why it cannot be read.
    type Error;

    /// Goes through what is stored of a range, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn walk(
        &self,
        range: &LogRange,
        visit: &mut dyn FnMut(&Stored) -> Result<(), Self::Error>,
    ) -> Result<(), Self::Error>;

    /// Reads a batch; none where it is gone or damaged.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&self, stored: &Stored) -> Result<Option<Batch>, Self::Error>;
}

/// A hash of a key, with enough bits that nobody finds two keys of one hash.
type KeyHash = u128;

/// Where a batch stands: the number of its span, and that of its first record.
type At = (u32, u64);

/// Which record is later: by the order in which readers are shown them.
type Place = (Stamp, LogId, u64);

/// How far the stamp of a batch is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It says when the batch was sealed.
    Full,
    /// Its time has not come.
    Waits,
    /// It was wrong. The batch was held here at this time, if that is known.
    No(Option<WallClock>),
}

/// Of a log, where a batch is stamped before an earlier one: its number and its stamp, both rising.
type Falls = Vec<(u64, Stamp)>;

/// The records of a key.
#[derive(Debug, Default)]
struct Key {
    /// The newest of those that every home has, and whose stamps are believed.
    newest: Option<Place>,
    /// Of the others the last one of a log.
    early: Option<(LogId, u64)>,
    is_tombstone: bool,
    /// How many there are, those included that not every home has.
    records: u32,
}

/// What a sweep has come to.
#[derive(Debug, Clone, Default)]
struct State {
    falls: BTreeMap<LogId, Falls>,
    /// What is stamped in the future and was not known to be.
    early: Vec<LogRange>,
    /// Whether the time of a batch has not come.
    waits: Option<WallClock>,
    /// Batches without a record that stays, as far as was seen.
    found: BTreeSet<At>,
    /// Whether something could not be read: what it holds may be older than a tombstone.
    is_blind: bool,
    /// Whether there were more than may be found.
    is_full: bool,
    /// The first tombstone that waits for its time.
    tombstone: Option<WallClock>,
    /// Whether tombstones wait for older records of their keys to go.
    is_blocked: bool,
}

fn hash(key: &[u8]) -> KeyHash {
    let hash = blake3::hash(key);
    let (start, _) = hash.as_bytes().split_first_chunk().expect("32 bytes are more than 16");
    KeyHash::from_be_bytes(*start)
}

/// Which of this many slices a key is in.
fn slice_of(key: KeyHash, slices: u32) -> u32 {
    u32::try_from(key % KeyHash::from(slices)).expect("it is less than the number of slices")
}

impl Key {
    /// Whether a record of the key is known to be later than one whose stamp is not believed, and
    /// which was held here at a time, if that is known. Another clock may be ahead by as much as is
    /// allowed.
    fn is_later_than(&self, (_, log, number): Place, since: Option<WallClock>) -> bool {
        let follows = |(of, at): (LogId, u64)| of == log && at > number;
        let is_after = |stamp: Stamp| {
            since.is_some_and(|since| stamp > Stamp::at(since.plus(CLOCK_DRIFT_MAX)))
        };
        self.early.is_some_and(follows)
            || self.newest.is_some_and(|(stamp, of, at)| follows((of, at)) || is_after(stamp))
    }
}

impl SweptSpan {
    /// Whether a batch may go. The last one of a span says how the log goes on, and stays.
    fn may_go(&self, part: &Compacted) -> bool {
        part.next <= self.settled && part.next < self.range.to
    }
}

impl Sweep {
    /// Looks through all of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn run<S: Shelf>(&self, shelf: &S) -> Result<Swept, S::Error> {
        self.run_with(shelf, KEYS_MAX)
    }

    fn run_with<S: Shelf>(&self, shelf: &S, keys_max: usize) -> Result<Swept, S::Error> {
        let mut begun = State { falls: self.falls(shelf)?, ..State::default() };
        self.find_early(shelf, &mut begun)?;
        let mut slices = 1;
        while slices <= SLICES_MAX {
            if let Some(state) = self.look(shelf, begun.clone(), slices, keys_max)? {
                return self.collect(shelf, state);
            }
            slices *= 2;
        }
        // More keys than are looked at: nothing goes.
        self.collect(shelf, begun)
    }

    /// Where batches are stamped before earlier ones of their logs.
    fn falls<S: Shelf>(&self, shelf: &S) -> Result<BTreeMap<LogId, Falls>, S::Error> {
        let mut all: BTreeMap<LogId, (Stamp, Falls)> = BTreeMap::new();
        for span in &self.spans {
            let (highest, falls) = all.entry(span.range.log).or_default();
            shelf.walk(&span.range, &mut |stored| {
                let Compacted { first, stamp, .. } = stored.part;
                if stamp < *highest {
                    // An earlier one that is no lower says nothing more.
                    while falls.pop_if(|(_, earlier)| *earlier >= stamp).is_some() {}
                    if falls.len() >= FALLS_MAX {
                        falls.remove(0);
                    }
                    falls.push((first, stamp));
                }
                *highest = stamp.max(*highest);
                Ok(())
            })?;
        }
        all.retain(|_, (_, falls)| !falls.is_empty());
        Ok(all.into_iter().map(|(log, (_, falls))| (log, falls)).collect())
    }

    /// How far a batch is believed.
    fn belief(&self, state: &State, part: &Compacted) -> Belief {
        let Compacted { log, first, stamp, .. } = part;
        let falls = state.falls.get(log).into_iter().flatten();
        let is_before = falls.clone().any(|(at, fallen)| first < at && fallen < stamp);
        let known = self.early.part(log, *first);
        if is_before || self.early.has(log, *first, *stamp) {
            Belief::No(known.map(|known| known.since))
        } else if stamp.time() > self.now {
            Belief::Waits
        } else {
            Belief::Full
        }
    }

    /// Finds what is stamped in the future and was not known to be.
    fn find_early<S: Shelf>(&self, shelf: &S, state: &mut State) -> Result<(), S::Error> {
        for span in &self.spans {
            shelf.walk(&span.range, &mut |stored| {
                let part = &stored.part;
                let belief = self.belief(state, part);
                let comes = (belief == Belief::Waits).then(|| part.stamp.time());
                state.waits = state.waits.max(comes);
                let range = LogRange { log: part.log, from: part.first, to: part.next };
                let is_new = stored.bytes.is_some() && belief == Belief::No(None);
                let has_room = state.early.len() < SWEPT_PARTS_MAX;
                match state.early.last_mut() {
                    _ if !is_new => {}
                    Some(last) if last.log == range.log && last.to == range.from => {
                        last.to = range.to;
                    }
                    Some(_) | None if has_room => state.early.push(range),
                    Some(_) | None => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Looks for what may be compacted, with the keys in this many slices; none if those are too
    /// few.
    fn look<S: Shelf>(
        &self,
        shelf: &S,
        mut state: State,
        slices: u32,
        keys_max: usize,
    ) -> Result<Option<State>, S::Error> {
        for slice in 0..slices {
            let is_in = |key: KeyHash| slice_of(key, slices) == slice;
            let Some(keys) = self.learn(shelf, &mut state, is_in, keys_max)? else {
                return Ok(None);
            };
            self.judge(shelf, &mut state, &keys, slice == 0, is_in)?;
        }
        Ok(Some(state))
    }

    /// Reads the batches that are wanted; none of one that cannot be read.
    fn each_batch<S: Shelf>(
        &self,
        shelf: &S,
        mut visit: impl FnMut(&SweptSpan, &Stored, Option<&Batch>, At),
        mut wanted: impl FnMut(&SweptSpan, &Stored, At) -> bool,
    ) -> Result<(), S::Error> {
        for (number, span) in (0_u32..).zip(&self.spans) {
            shelf.walk(&span.range, &mut |stored| {
                let at = (number, stored.part.first);
                if stored.bytes.is_some() && wanted(span, stored, at) {
                    visit(span, stored, shelf.load(stored)?.as_ref(), at);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The newest record of each key of a slice; none where there are too many.
    fn learn<S: Shelf>(
        &self,
        shelf: &S,
        state: &mut State,
        is_in: impl Fn(KeyHash) -> bool,
        keys_max: usize,
    ) -> Result<Option<BTreeMap<KeyHash, Key>>, S::Error> {
        let mut keys: BTreeMap<KeyHash, Key> = BTreeMap::new();
        let is_full = Cell::new(false);
        let mut is_blind = state.is_blind;
        let visit = |span: &SweptSpan, stored: &Stored, batch: Option<&Batch>, _: At| {
            let Some(batch) = batch else {
                is_blind = true;
                return;
            };
            let belief = self.belief(state, &stored.part);
            for (place, record) in records_of(batch) {
                let Some(key) = record.key.as_ref().map(|key| hash(key)).filter(|key| is_in(*key))
                else {
                    continue;
                };
                if keys.len() >= keys_max && !keys.contains_key(&key) {
                    return is_full.set(true);
                }
                let known = keys.entry(key).or_default();
                known.records = known.records.saturating_add(1);
                let is_settled = stored.part.next <= span.settled;
                match belief {
                    Belief::Full if is_settled && known.newest < Some(place) => {
                        known.newest = Some(place);
                        known.is_tombstone = record.is_tombstone();
                    }
                    Belief::No(_) if is_settled => {
                        known.early = known.early.max(Some((place.1, place.2)));
                    }
                    Belief::Full | Belief::Waits | Belief::No(_) => {}
                }
            }
        };
        self.each_batch(shelf, visit, |_, _, _| !is_full.get())?;
        state.is_blind = is_blind;
        Ok((!is_full.get()).then_some(keys))
    }

    /// Finds the batches without a record that stays, of a slice of the keys.
    fn judge<S: Shelf>(
        &self,
        shelf: &S,
        state: &mut State,
        keys: &BTreeMap<KeyHash, Key>,
        is_first: bool,
        is_in: impl Fn(KeyHash) -> bool,
    ) -> Result<(), S::Error> {
        let tombstones_go = !state.is_blind;
        let before = self.tombstones_before;
        let (mut tombstone, mut is_blocked) = (state.tombstone, state.is_blocked);
        let mut is_full = state.is_full;
        let found = RefCell::new(std::mem::take(&mut state.found));
        let believed = &*state;
        let wanted = |span: &SweptSpan, stored: &Stored, at: At| {
            span.may_go(&stored.part) && (is_first || found.borrow().contains(&at))
        };
        let visit = |_: &SweptSpan, stored: &Stored, batch: Option<&Batch>, at: At| {
            let belief = self.belief(believed, &stored.part);
            let stays = |(place, record): (Place, Record)| {
                let Some(key) = record.key.as_ref().map(|key| hash(key)) else { return true };
                if !is_in(key) {
                    return false;
                }
                let Some(known) = keys.get(&key) else { return true };
                match belief {
                    Belief::Full => {}
                    Belief::Waits => return true,
                    Belief::No(since) => return !known.is_later_than(place, since),
                }
                if known.newest != Some(place) {
                    return known.newest < Some(place);
                }
                if !known.is_tombstone {
                    return true;
                }
                let published = stored.part.stamp.time();
                if known.records > 1 {
                    is_blocked = true;
                } else if published >= before {
                    tombstone = Some(tombstone.map_or(published, |first| first.min(published)));
                } else {
                    return !tombstones_go;
                }
                true
            };
            // All are looked at, for the tombstones among them.
            let stay =
                batch.map(|batch| records_of(batch).map(stays).filter(|stays| *stays).count());
            let mut found = found.borrow_mut();
            if stay != Some(0) {
                found.remove(&at);
            } else if is_first && found.len() >= FOUND_MAX {
                is_full = true;
            } else if is_first {
                found.insert(at);
            }
        };
        self.each_batch(shelf, visit, wanted)?;
        (state.found, state.is_full) = (found.into_inner(), is_full);
        (state.tombstone, state.is_blocked) = (tombstone, is_blocked);
        Ok(())
    }

    /// Makes parts of what was found.
    fn collect<S: Shelf>(&self, shelf: &S, state: State) -> Result<Swept, S::Error> {
        let State { tombstone, waits, .. } = state;
        let mut swept = Swept { tombstone, waits, ..Swept::default() };
        for (number, span) in (0_u32..).zip(&self.spans) {
            let mut open: Option<(Compacted, bool)> = None;
            shelf.walk(&span.range, &mut |stored| {
                let part = &stored.part;
                let is_new = stored.bytes.is_some();
                if is_new && !state.found.contains(&(number, part.first)) {
                    swept.bytes = swept.bytes.saturating_add(stored.bytes.unwrap_or(0));
                    swept.take(open.take());
                    return Ok(());
                }
                let joined = open
                    .as_ref()
                    .and_then(|(open, has_new)| Some((open.joined(part)?, *has_new || is_new)));
                if joined.is_none() {
                    swept.take(open.take());
                }
                open = joined.or_else(|| Some((part.clone(), is_new)));
                Ok(())
            })?;
            swept.take(open);
        }
        // What goes now may make room for more, or be what a tombstone waits for.
        swept.more |= (state.is_full || state.is_blocked) && !swept.parts.is_empty();
        swept.early = state.early;
        Ok(swept)
    }
}

impl Swept {
    /// Takes in a part, where anything of it is new.
    fn take(&mut self, part: Option<(Compacted, bool)>) {
        let Some((part, true)) = part else { return };
        if self.parts.len() < SWEPT_PARTS_MAX {
            self.parts.push(part);
        } else {
            self.more = true;
        }
    }
}

/// The records of a batch with their places.
fn records_of(batch: &Batch) -> impl Iterator<Item = (Place, Record)> + '_ {
    let (stamp, log) = (batch.header().stamp, batch.log());
    let records = batch.numbered_records();
    // A verified batch has no other.
    records.filter_map(move |(number, _, record)| Some(((stamp, log, number), record.ok()?)))
}

#[cfg(test)]
mod tests;
