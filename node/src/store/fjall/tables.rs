//! The keyspaces, how each is tuned, and the questions they are asked.

use std::ops::Range;

use ::fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, Slice,
};
use antiphon::model::{Batch, LogId, TopicId};

use super::values::{array, damaged, failed, restore};
use crate::store::{
    StoreError,
    keys::{COMMITS_KEY, Place},
};

/// Bytes of batches in memory before they are moved from the journal to their files. Each move
/// holds commits up for a few flushes, so not smaller. When the disk is slow up to four more such
/// tables wait to be moved, so not larger: five of them must fit into a node's 150 MB.
const BATCHES_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// The same for each of the other keyspaces, which hold little.
const OTHERS_MEMORY_BYTES: u64 = 1024 * 1024;

/// Size of a file of batches, in bytes. A file goes when all of its batches were removed.
const BATCHES_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Values of this many bytes are kept apart from their keys. A batch of one small record has
/// half of it.
const SEPARATED_BYTES_MIN: u32 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Batches,
    Logs,
    Removals,
    Subscriptions,
    Descriptors,
    Contacts,
    Forks,
    Facts,
}

pub(super) struct Tables {
    batches: Keyspace,
    logs: Keyspace,
    removals: Keyspace,
    subscriptions: Keyspace,
    descriptors: Keyspace,
    contacts: Keyspace,
    forks: Keyspace,
    facts: Keyspace,
}

impl Tables {
    pub(super) fn open(database: &Database) -> Result<Self, StoreError> {
        let open = |name, options: fn() -> KeyspaceCreateOptions| {
            let keyspace = database.keyspace(name, options);
            keyspace.map_err(|error| failed("opening a keyspace", &error))
        };
        Ok(Self {
            batches: open("batches", batches_options)?,
            logs: open("logs", other_options)?,
            removals: open("removals", other_options)?,
            subscriptions: open("subscriptions", other_options)?,
            descriptors: open("descriptors", other_options)?,
            contacts: open("contacts", other_options)?,
            forks: open("forks", other_options)?,
            facts: open("facts", other_options)?,
        })
    }

    pub(super) fn get(&self, table: Table) -> &Keyspace {
        match table {
            Table::Batches => &self.batches,
            Table::Logs => &self.logs,
            Table::Removals => &self.removals,
            Table::Subscriptions => &self.subscriptions,
            Table::Descriptors => &self.descriptors,
            Table::Contacts => &self.contacts,
            Table::Forks => &self.forks,
            Table::Facts => &self.facts,
        }
    }

    /// Whether nothing was ever stored.
    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        for keyspace in [&self.batches, &self.logs, &self.subscriptions, &self.contacts] {
            if !keyspace.is_empty().map_err(|error| failed("opening a keyspace", &error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number of the last commit that reached a keyspace.
    pub(super) fn commits(&self, table: Table) -> Result<u64, StoreError> {
        let action = "reading the number of commits";
        let value = self.get(table).get(COMMITS_KEY);
        match value.map_err(|error| failed(action, &error))? {
            Some(value) => array(&value, action).map(u64::from_be_bytes),
            None => Ok(0),
        }
    }

    /// The batches of a log that start at a record or later, in order.
    pub(super) fn batches_from(
        &self,
        topic: TopicId,
        log: LogId,
        first: u64,
    ) -> impl Iterator<Item = Result<Place, StoreError>> {
        let start = Place::floor(topic, log, first).to_key();
        let end = Place::ceiling(topic, log, u64::MAX).to_key();
        self.batches.range(start..=end).map(place)
    }

    /// All entries of a small keyspace, in the order of their keys.
    pub(super) fn entries(
        &self,
        table: Table,
        action: &'static str,
    ) -> Result<Vec<(Slice, Slice)>, StoreError> {
        let entries = self.get(table).iter().map(Guard::into_inner);
        entries.collect::<Result<_, _>>().map_err(|error| failed(action, &error))
    }

    /// The batch of a log that holds the record `at`, if any does: the last to start there or
    /// before.
    pub(super) fn last_batch_at(
        &self,
        topic: TopicId,
        log: LogId,
        at: u64,
    ) -> Result<Option<Place>, StoreError> {
        let first = Place::floor(topic, log, 0).to_key();
        let last = Place::ceiling(topic, log, at).to_key();
        self.batches.range(first..=last).next_back().map(place).transpose()
    }

    /// The batches of a log that start and end within a range of records, in order, at most
    /// `count_max`.
    pub(super) fn batches_before(
        &self,
        topic: TopicId,
        log: LogId,
        records: Range<u64>,
        count_max: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let first = Place::floor(topic, log, records.start).to_key();
        let end = Place::floor(topic, log, records.end).to_key();
        let within = |place: &Result<Place, _>| {
            place.as_ref().map_or(true, |place| place.next <= records.end)
        };
        self.batches.range(first..end).map(place).filter(within).take(count_max).collect()
    }

    pub(super) fn batches_of(
        &self,
        topic: TopicId,
    ) -> impl Iterator<Item = Result<Place, StoreError>> {
        self.batches.prefix(topic.as_bytes()).map(place)
    }

    /// Reads a batch; none when it was removed.
    pub(super) fn load(&self, place: &Place) -> Result<Option<Batch>, StoreError> {
        let value = self.batches.get(place.to_key());
        let value = value.map_err(|error| failed("reading a batch", &error))?;
        value.map(|value| restore(value.into(), place)).transpose()
    }
}

/// The place in the key of a batch; the batch itself is not read.
pub(super) fn place(entry: Guard) -> Result<Place, StoreError> {
    let action = "reading the key of a batch";
    let key = entry.key().map_err(|error| failed(action, &error))?;
    Place::from_key(&key).ok_or_else(|| damaged(action, "malformed key"))
}

/// Bodies are kept apart from keys: they are written twice, to the journal and to their file,
/// and never again. Within the tree each compaction would copy them, some ten times over the
/// life of a large log. They are not compressed here; that is the writer's choice, once for all
/// replicas.
fn batches_options() -> KeyspaceCreateOptions {
    let separation = KvSeparationOptions::default()
        .separation_threshold(SEPARATED_BYTES_MIN)
        .file_target_size(BATCHES_FILE_BYTES)
        .compression(CompressionType::None);
    KeyspaceCreateOptions::default()
        .max_memtable_size(BATCHES_MEMORY_BYTES)
        .with_kv_separation(Some(separation))
        // A batch is looked up after its key was seen, so a filter says nothing new.
        .expect_point_read_hits(true)
}

fn other_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(OTHERS_MEMORY_BYTES)
}
