//! The changes of one commit.

use std::collections::BTreeMap;

use antiphon::model::{LogId, TopicId};

use super::Table;
use crate::store::keys::{self, COMMITS_KEY};

/// Changes that are flushed together. Of several changes of one key the last one counts, so the
/// state of a log is written once per group however many batches were appended to it.
#[derive(Debug, Default)]
pub(super) struct Group(BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>);

impl Group {
    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None);
    }

    /// Puts a value, or removes the key where there is none.
    pub(super) fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.0.insert((table, key), value);
    }

    pub(super) fn has_batches_of(&self, topic: TopicId, log: LogId) -> bool {
        let prefix = keys::log_key(topic, log);
        let next = self.0.range((Table::Batches, prefix.clone())..).next();
        next.is_some_and(|((table, key), _)| *table == Table::Batches && key.starts_with(&prefix))
    }

    /// Whether it changes what is held, or what is said to be held.
    pub(super) fn has_claims(&self) -> bool {
        self.0.keys().any(|(table, _)| matches!(table, Table::Batches | Table::Logs))
    }

    /// Leaves the number of the commit, in both keyspaces that must agree.
    pub(super) fn number(&mut self, commit: u64) {
        for table in [Table::Batches, Table::Logs] {
            self.put(table, COMMITS_KEY.to_vec(), commit.to_be_bytes().to_vec());
        }
    }

    pub(super) fn into_changes(self) -> impl Iterator<Item = (Table, Vec<u8>, Option<Vec<u8>>)> {
        self.0.into_iter().map(|((table, key), value)| (table, key, value))
    }
}
