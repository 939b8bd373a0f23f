//! The store of a node: fjall, a log-structured merge tree with one journal for all keyspaces.
//!
//! Chosen by measurement: a commit costs what a raw append and `fdatasync` cost. What it keeps
//! in memory is bounded here, each bound with its reason. `keys` has the layout.

mod claims;
mod group;
mod journal;
mod tables;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use ::fjall::{Database, Iter, PersistMode};
use antiphon::{
    engine::{Log, Recovered, Write},
    model::{Batch, ForkProof, LogId, SignedDescriptor, Subscription, TopicId},
    wire::{Contact, LogRange, Page},
};

use self::{
    group::Group,
    tables::{Table, Tables},
    values::{array, damaged, decode, encode, failed, stored},
};
use super::{
    Store, StoreError,
    keys::{self, COMMITS_KEY, FORMAT, FORMAT_FACT, Place},
    merge::{Walk, merge},
};

/// Cache of blocks and batches, in bytes. Small: keys of batches are most of what is worth it,
/// and the operating system caches the files anyway.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of all journals beyond which keyspaces are flushed so that the oldest journal can go.
/// The smallest that fjall allows: a start reads all journals.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Files that are kept open. Most of the process's descriptors are for sockets.
const FILES_OPEN_MAX: usize = 128;

/// Threads for flushing and compaction. One is enough, for bodies are not compacted; of two or
/// more, fjall's first one spins as long as another one compacts.
const WORKER_THREADS: usize = 1;

/// Batches that one removal takes out per flush: some 10 MB of memory. A log may have millions.
const REMOVALS_MAX: usize = 32 * 1024;

/// A store in a directory.
pub(crate) struct FjallStore {
    database: Database,
    tables: Tables,
    catalogue: TopicId,
    /// Commits of batches and logs over the life of the store, see `claims`.
    commits: AtomicU64,
    /// Set by the first failed write and never cleared.
    latched: AtomicBool,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FjallStore").field("latched", &self.latched).finish_non_exhaustive()
    }
}

impl FjallStore {
    /// Opens the store in `directory`, which is made if it is not there, and finishes what a
    /// crash interrupted. `catalogue` is the topic whose batches are recovered.
    ///
    /// # Errors
    /// When the disk fails, when the data is damaged or of a newer format, or when another
    /// process has the store open.
    pub(crate) fn open(directory: &Path, catalogue: TopicId) -> Result<Self, StoreError> {
        let database = match open_database(directory) {
            Err(error @ ::fjall::Error::JournalRecovery(_)) => {
                if !journal::cut_torn_tail(directory)? {
                    return Err(failed("opening the store", &error));
                }
                open_database(directory)
            }
            opened => opened,
        };
        let database = database.map_err(|error| failed("opening the store", &error))?;
        let tables = Tables::open(&database)?;
        let commits = tables.commits(Table::Batches)?.max(tables.commits(Table::Logs)?);
        let store = Self {
            database,
            tables,
            catalogue,
            commits: AtomicU64::new(commits),
            latched: AtomicBool::new(false),
        };
        store.check_format()?;
        // Before anything is written, which would make the numbers agree that it compares.
        store.check_claims()?;
        store.finish_removals()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let action = "reading the format of the store";
        match self.fact(FORMAT_FACT)? {
            Some(found) => {
                let found = u32::from_be_bytes(array(&found, action)?);
                if found > FORMAT {
                    return Err(StoreError::NewerFormat { found, known: FORMAT });
                }
                Ok(())
            }
            None if self.tables.is_empty()? => {
                self.write(Table::Facts, FORMAT_FACT, &FORMAT.to_be_bytes())
            }
            None => Err(damaged(action, "it is not there")),
        }
    }

    /// Writes one value, flushed.
    fn write(&self, table: Table, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut group = Group::default();
        group.put(table, key.as_bytes().to_vec(), value.to_vec());
        self.latching(|| self.flush(group))
    }

    /// Runs a write, unless an earlier one failed.
    fn latching(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.latched.load(Ordering::Acquire) {
            return Err(StoreError::Latched);
        }
        write().inspect_err(|_| self.latched.store(true, Ordering::Release))
    }

    /// Writes a group to the journal, flushes it, and only then shows it to readers.
    fn flush(&self, mut group: Group) -> Result<(), StoreError> {
        if group.has_claims() {
            group.number(self.commits.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (table, key, value) in group.into_changes() {
            let keyspace = self.tables.get(table);
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(|error| failed("writing", &error))
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut group = Group::default();
        for write in writes {
            match write {
                Write::Append { batch, log } => {
                    let place = Place::of(batch);
                    group.put(Table::Batches, place.to_key(), stored(batch));
                    group.put(Table::Logs, keys::log_key(place.topic, place.log), encode(log));
                }
                Write::Drop { topic, log_id, from, to, log } => {
                    // Batches that are not written yet would not be found.
                    if group.has_batches_of(*topic, *log_id) {
                        self.flush(std::mem::take(&mut group))?;
                    }
                    group.set(
                        Table::Logs,
                        keys::log_key(*topic, *log_id),
                        log.as_ref().map(encode),
                    );
                    self.remove(&mut group, *topic, *log_id, *from..*to)?;
                }
                Write::Quarantine { damage, log } => {
                    let key = keys::log_key(damage.topic, damage.log);
                    group.put(Table::Logs, key, encode(log));
                }
                Write::Subscription { topic, name, subscription } => {
                    let key = keys::subscription_key(*topic, name);
                    match subscription {
                        Some(kept) => group.put(Table::Subscriptions, key, encode(kept)),
                        None => group.remove(Table::Subscriptions, key),
                    }
                }
                Write::Descriptor(topic, descriptor) => {
                    let value = descriptor.bytes().to_vec();
                    group.put(Table::Descriptors, topic.as_bytes().to_vec(), value);
                }
                Write::Fork(proof) => {
                    // One key for one proof, however often it is told.
                    let key = blake3::hash(proof.bytes()).as_bytes().to_vec();
                    group.put(Table::Forks, key, proof.bytes().to_vec());
                }
                Write::Contact(contact) => {
                    group.put(Table::Contacts, contact.node.as_bytes().to_vec(), encode(contact));
                }
                Write::Forget(node) => group.remove(Table::Contacts, node.as_bytes().to_vec()),
            }
        }
        self.flush(group)
    }

    /// Removes the batches of a log that lie within a range of records.
    ///
    /// The last part is left in the group. Where there are more parts, the first one carries the
    /// changed log and a note of the removal, so that a crash leaves no log that claims batches
    /// which are gone and no batch that is never removed.
    fn remove(
        &self,
        group: &mut Group,
        topic: TopicId,
        log: LogId,
        Range { mut start, end }: Range<u64>,
    ) -> Result<(), StoreError> {
        let note = keys::log_key(topic, log);
        let mut noted = false;
        loop {
            let places = self.tables.batches_before(topic, log, start..end, REMOVALS_MAX)?;
            let more = places.len() == REMOVALS_MAX;
            for place in &places {
                group.remove(Table::Batches, place.to_key());
            }
            let Some(last) = places.last().filter(|_| more) else {
                if noted {
                    group.remove(Table::Removals, note);
                }
                return Ok(());
            };
            start = last.next;
            let rest = [end.to_be_bytes(), start.to_be_bytes()].concat();
            group.put(Table::Removals, note.clone(), rest);
            noted = true;
            self.flush(std::mem::take(group))?;
        }
    }

    /// Finishes removals that a crash interrupted.
    fn finish_removals(&self) -> Result<(), StoreError> {
        let action = "reading unfinished removals";
        for (key, value) in self.tables.entries(Table::Removals, action)? {
            let (topic, log) =
                keys::parse_log_key(&key).ok_or_else(|| damaged(action, "malformed key"))?;
            // Of a removal from the start on only the end was noted once.
            let (end, start) = value.split_at(value.len().min(size_of::<u64>()));
            let end = u64::from_be_bytes(array(end, action)?);
            let start =
                if start.is_empty() { 0 } else { u64::from_be_bytes(array(start, action)?) };
            let mut group = Group::default();
            self.remove(&mut group, topic, log, start..end)?;
            group.remove(Table::Removals, key.to_vec());
            self.latching(|| self.flush(group))?;
        }
        Ok(())
    }

    fn walk(&self, topic: TopicId, range: &LogRange) -> Result<FjallWalk<'_>, StoreError> {
        let start = self.tables.last_batch_at(topic, range.log, range.from)?;
        let start = start.unwrap_or_else(|| Place::floor(topic, range.log, range.from));
        let end = Place::ceiling(topic, range.log, u64::MAX);
        let rest = self.tables.get(Table::Batches).range(start.to_key()..=end.to_key());
        Ok(FjallWalk { tables: &self.tables, rest })
    }

    fn recover_logs(&self) -> Result<BTreeMap<TopicId, BTreeMap<LogId, Log>>, StoreError> {
        let action = "reading the logs";
        let mut logs = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (key, value) in self.tables.entries(Table::Logs, action)? {
            if *key == COMMITS_KEY {
                continue;
            }
            let (topic, log) =
                keys::parse_log_key(&key).ok_or_else(|| damaged(action, "malformed key"))?;
            logs.entry(topic).or_default().insert(log, decode(&value, action)?);
        }
        Ok(logs)
    }

    fn recover_catalogue(&self) -> Result<Vec<Batch>, StoreError> {
        let mut batches = Vec::new();
        for place in self.tables.batches_of(self.catalogue) {
            let place = place?;
            match self.tables.load(&place) {
                Ok(batch) => batches.extend(batch),
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::warn!(log = ?place.log, at = place.first, %error, "a damaged batch of the catalogue is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batches)
    }
}

fn open_database(directory: &Path) -> ::fjall::Result<Database> {
    Database::builder(directory)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .max_cached_files(Some(FILES_OPEN_MAX))
        .worker_threads(WORKER_THREADS)
        .open()
}

impl Store for FjallStore {
    fn recover(&self) -> Result<Recovered, StoreError> {
        let action = "reading subscriptions";
        let mut subscriptions = BTreeMap::new();
        for (key, value) in self.tables.entries(Table::Subscriptions, action)? {
            let name = keys::parse_subscription_key(&key)
                .ok_or_else(|| damaged(action, "malformed key"))?;
            subscriptions.insert(name, decode::<Subscription>(&value, action)?);
        }
        let action = "reading descriptors";
        let descriptors = self.tables.entries(Table::Descriptors, action)?;
        let descriptors = descriptors
            .into_iter()
            .map(|(_, value)| SignedDescriptor::verify(value.to_vec().into()))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(action, &error.to_string()))?;
        let action = "reading contacts";
        let contacts = self.tables.entries(Table::Contacts, action)?;
        let contacts = contacts
            .iter()
            .map(|(_, value)| decode::<Contact>(value, action))
            .collect::<Result<_, _>>()?;
        let action = "reading proofs of forks";
        let forks = self.tables.entries(Table::Forks, action)?;
        let forks = forks
            .into_iter()
            .map(|(_, value)| ForkProof::verify(&value.to_vec().into()))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(action, &error.to_string()))?;
        Ok(Recovered {
            logs: self.recover_logs()?,
            catalogue: self.recover_catalogue()?,
            descriptors,
            subscriptions,
            contacts,
            forks,
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.latching(|| self.apply(writes))
    }

    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        bytes_max: usize,
    ) -> Result<Page, StoreError> {
        let mut logs = Vec::with_capacity(ranges.len());
        for range in ranges {
            logs.push((*range, self.walk(topic, range)?));
        }
        merge(logs, bytes_max)
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tables.get(Table::Facts).get(name);
        let value = value.map_err(|error| failed("reading a fact", &error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        assert_ne!(name, FORMAT_FACT, "the format is the store's own fact");
        self.write(Table::Facts, name, value)
    }
}

struct FjallWalk<'a> {
    tables: &'a Tables,
    rest: Iter,
}

impl Walk for FjallWalk<'_> {
    fn next(&mut self) -> Result<Option<Place>, StoreError> {
        self.rest.next().map(tables::place).transpose()
    }

    fn load(&mut self, place: &Place) -> Result<Option<Batch>, StoreError> {
        self.tables.load(place)
    }
}
