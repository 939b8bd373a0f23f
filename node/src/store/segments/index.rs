//! The index: where each batch lies, and the small state, in one keyspace of fjall.
//!
//! A commit never flushes the index, and need not. The index carries the number of the last group
//! that it knows ([`Position`]), and all of it is in one keyspace. So after a crash it is what it
//! was after that group. The segments have what followed.
//!
//! Its memory is limited here, each limit with its reason.

use std::{
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use ::fjall::{
    Database, Guard, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, UserKey, UserValue,
};
use antiphon::model::{LogId, TopicId};

use super::changes::Changes;
use crate::store::{
    StoreError,
    keys::{self, Entry, Place, Position, Table},
    placed::Placed,
};

/// Cache of blocks, in bytes. The operating system caches the files anyway.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of all journals beyond which the oldest one is made superfluous. The smallest that fjall
/// allows: a start reads all journals.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of changes in memory before they are moved from the journal to a table: some 40,000
/// batches.
const MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// Files that are kept open. Most of the process's descriptors are for sockets.
const FILES_OPEN_MAX: usize = 64;

/// Threads for flushing and compaction. One is enough for so little; of two or more, fjall's
/// first one spins as long as another one compacts.
const WORKER_THREADS: usize = 1;

/// The name of the keyspace.
const KEYSPACE: &str = "index";

/// An open index.
pub(super) struct Index {
    database: Database,
    keyspace: Keyspace,
    placed: Placed,
}

impl Index {
    /// Opens the index in a directory, which is made if it is not there. fjall may panic over
    /// damaged files; that is an error like others.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        shielded("opening the index", || {
            let database = Database::builder(directory)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .max_cached_files(Some(FILES_OPEN_MAX))
                .worker_threads(WORKER_THREADS)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMORY_BYTES);
            let keyspace = database.keyspace(KEYSPACE, options)?;
            let placed = Placed::open("the index", directory.to_owned())?;
            Ok(Self { database, keyspace, placed })
        })
    }

    /// Whether it is at its name.
    pub(super) fn check_place(&self) -> Result<(), StoreError> {
        self.placed.check()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = shielded(READING, || self.keyspace.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Applies changes as one: after a crash all of them are there or none.
    pub(super) fn write(&self, changes: Changes) -> Result<(), StoreError> {
        shielded("writing the index", || {
            let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
            for (key, value) in changes.into_inner() {
                match value {
                    Some(value) => batch.insert(&self.keyspace, key, value),
                    None => batch.remove(&self.keyspace, key),
                }
            }
            batch.commit()
        })
    }

    /// Makes sure that what was written stays, also when the power fails.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        shielded("flushing the index", || self.database.persist(PersistMode::SyncAll))
    }

    /// All entries of a table, in the order of their keys, which are given without their tag.
    pub(super) fn entries(
        &self,
        table: Table,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + use<> {
        let mut entries = self.keyspace.prefix([table.tag()]);
        std::iter::from_fn(move || read(|| entries.next())).map(|entry| {
            let (key, value) = entry?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()))
        })
    }

    /// How far the segments are known to it; none where it is not whole.
    pub(super) fn position(&self) -> Result<Option<Position>, StoreError> {
        let value = self.get(&keys::POSITION_KEY)?;
        value.map(|value| Position::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// The entry of a batch; none when it was removed.
    pub(super) fn entry(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let value = self.get(&place.to_index_key())?;
        value.map(|value| Entry::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// The batches between two places, in order.
    pub(super) fn batches(&self, places: RangeInclusive<Place>) -> Batches {
        self.places(Table::Batches, places)
    }

    fn places(&self, table: Table, places: RangeInclusive<Place>) -> Batches {
        let (start, end) = (places.start().to_key_of(table), places.end().to_key_of(table));
        Batches(self.keyspace.range(start..=end))
    }

    /// The entry of the header of a trimmed batch.
    pub(super) fn header(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let value = self.get(&place.to_key_of(Table::Headers))?;
        value.map(|value| Entry::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// The headers of a log, in order.
    pub(super) fn headers(&self, topic: TopicId, log: LogId) -> Batches {
        let places = Place::floor(topic, log, 0)..=Place::ceiling(topic, log, u64::MAX);
        self.places(Table::Headers, places)
    }

    /// All headers, in order.
    pub(super) fn all_headers(&self) -> Batches {
        Batches(self.keyspace.prefix([Table::Headers.tag()]))
    }

    /// The last header of a log that starts at a record or before.
    pub(super) fn last_header_at(
        &self,
        topic: TopicId,
        log: LogId,
        at: u64,
    ) -> Result<Option<(Place, Entry)>, StoreError> {
        let places = Place::floor(topic, log, 0)..=Place::ceiling(topic, log, at);
        self.places(Table::Headers, places).next_back().transpose()
    }

    /// All batches, in order.
    pub(super) fn all_batches(&self) -> Batches {
        Batches(self.keyspace.prefix([Table::Batches.tag()]))
    }

    /// The batches of a topic, in order.
    pub(super) fn batches_of(&self, topic: TopicId) -> Batches {
        Batches(self.keyspace.prefix(keys::index_key(Table::Batches, topic.as_bytes())))
    }

    /// The batches behind a place, in order; all of them where none is given.
    pub(super) fn batches_behind(&self, place: Option<&Place>) -> Batches {
        let start = place.map_or_else(|| vec![Table::Batches.tag()], |place| place.to_index_key());
        let start = std::ops::Bound::Excluded(start);
        let end = std::ops::Bound::Excluded(vec![Table::Batches.tag() + 1]);
        Batches(self.keyspace.range((start, end)))
    }

    /// The batches of a log that start at a record or later, in order.
    pub(super) fn batches_from(&self, topic: TopicId, log: LogId, first: u64) -> Batches {
        self.batches(Place::floor(topic, log, first)..=Place::ceiling(topic, log, u64::MAX))
    }

    /// The last batch of a log that starts at a record or before.
    pub(super) fn last_batch_at(
        &self,
        topic: TopicId,
        log: LogId,
        at: u64,
    ) -> Result<Option<(Place, Entry)>, StoreError> {
        let mut batches =
            self.batches(Place::floor(topic, log, 0)..=Place::ceiling(topic, log, at));
        batches.next_back().transpose()
    }

    #[cfg(test)]
    pub(super) fn rotate(&self) {
        self.keyspace.rotate_memtable_and_wait().expect("a healthy index");
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Index").finish_non_exhaustive()
    }
}

/// Goes through batches of one log or of several, or through headers.
pub(super) struct Batches(::fjall::Iter);

impl Iterator for Batches {
    type Item = Result<(Place, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        read(|| self.0.next()).map(batch)
    }
}

impl DoubleEndedIterator for Batches {
    fn next_back(&mut self) -> Option<Self::Item> {
        read(|| self.0.next_back()).map(batch)
    }
}

const READING: &str = "reading the index";

/// A key and its value.
type KeyValue = (UserKey, UserValue);

/// Takes a step through the index.
fn read(step: impl FnOnce() -> Option<Guard>) -> Option<Result<KeyValue, StoreError>> {
    shielded(READING, || step().map(Guard::into_inner).transpose()).transpose()
}

fn batch(entry: Result<KeyValue, StoreError>) -> Result<(Place, Entry), StoreError> {
    let (key, value) = entry?;
    let place = key.get(1..).and_then(Place::from_key).ok_or_else(malformed)?;
    Ok((place, Entry::decode(&value).ok_or_else(malformed)?))
}

/// The index is of no use as it is.
pub(super) fn malformed() -> StoreError {
    StoreError::Index { action: READING, reason: "a malformed entry".to_owned() }
}

/// Runs what may fail, and panic, over damaged files.
fn shielded<T>(
    action: &'static str,
    call: impl FnOnce() -> ::fjall::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| failed(action, &error)),
        Err(_) => Err(StoreError::Index { action, reason: "it panicked".to_owned() }),
    }
}

fn failed(action: &'static str, error: &::fjall::Error) -> StoreError {
    use ::fjall::Error;
    let reason = match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => error.to_string(),
        error => error.to_string(),
    };
    StoreError::Index { action, reason }
}
