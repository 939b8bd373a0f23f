//! Changes of the index, and the bytes of each segment that are still of use.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

use antiphon::{
    engine::Log,
    model::{LogId, TopicId},
};

use super::index::{Index, malformed};
use crate::store::{
    StoreError,
    keys::{self, Entry, Place, Position, Table},
};

/// Changes that one application to the index takes: some 10 MB of memory. A removal of a log may
/// need millions.
const CHANGES_MAX: usize = 32 * 1024;

/// Changes that are applied together. Of several changes of one key the last one counts.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    pub(super) fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.0.insert(key, value);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.0.get(key)
    }

    pub(super) fn into_inner(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.0.into_iter()
    }

    /// Whether batches between two places are among them, or headers.
    fn touches(&self, places: &RangeInclusive<Place>) -> bool {
        [Table::Batches, Table::Headers].into_iter().any(|table| {
            let (start, end) = (places.start().to_key_of(table), places.end().to_key_of(table));
            self.0.range(start..=end).next().is_some()
        })
    }
}

/// Bytes of each segment that are of use: those that the index points to.
pub(super) type Usage = BTreeMap<u32, u64>;

/// Brings the index in line with frames, one after the other.
#[derive(Debug)]
pub(super) struct Applier<'a> {
    index: &'a Index,
    usage: &'a mut Usage,
    changes: Changes,
    /// Logs that have changed. They are encoded once, however many batches were appended.
    logs: BTreeMap<(TopicId, LogId), Option<Log>>,
    touched: BTreeSet<u32>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(index: &'a Index, usage: &'a mut Usage) -> Self {
        Self {
            index,
            usage,
            changes: Changes::default(),
            logs: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// A batch lies here now, and no longer where it may have lain.
    pub(super) fn insert(&mut self, place: &Place, entry: &Entry) -> Result<(), StoreError> {
        let key = place.to_index_key();
        self.forget(&key, |entry| entry.length)?;
        *self.usage.entry(entry.segment).or_default() += u64::from(entry.length);
        self.touched.insert(entry.segment);
        self.changes.set(key, Some(entry.encode()));
        self.spill()
    }

    pub(super) fn remove(&mut self, place: &Place) -> Result<(), StoreError> {
        let key = place.to_index_key();
        if self.forget(&key, |entry| entry.length)? {
            self.changes.set(key, None);
        }
        self.spill()
    }

    /// The header of a batch lies here now. Where it is known to lie further on that stays.
    pub(super) fn insert_header(&mut self, place: &Place, entry: &Entry) -> Result<(), StoreError> {
        let key = place.to_key_of(Table::Headers);
        let known = self.entry(&key)?;
        if known.is_some_and(|known| (known.segment, known.offset) > (entry.segment, entry.offset))
        {
            return Ok(());
        }
        self.forget(&key, Entry::header_bytes)?;
        *self.usage.entry(entry.segment).or_default() += u64::from(entry.header_bytes());
        self.touched.insert(entry.segment);
        self.changes.set(key, Some(entry.encode()));
        self.spill()
    }

    pub(super) fn remove_header(&mut self, place: &Place) -> Result<(), StoreError> {
        let key = place.to_key_of(Table::Headers);
        if self.forget(&key, Entry::header_bytes)? {
            self.changes.set(key, None);
        }
        self.spill()
    }

    /// A batch is not held any more; its header may be kept.
    pub(super) fn let_go(
        &mut self,
        place: &Place,
        entry: &Entry,
        log: Option<&Log>,
    ) -> Result<(), StoreError> {
        self.remove(place)?;
        // A compacted part has none.
        match log.filter(|log| !entry.is_compacted && log.keeps_header(place.next)) {
            Some(_) => self.insert_header(place, entry),
            None => Ok(()),
        }
    }

    /// Takes the bytes of a batch, or of its header, out of the account. Whether there is one.
    fn forget(&mut self, key: &[u8], bytes: fn(&Entry) -> u32) -> Result<bool, StoreError> {
        let Some(entry) = self.entry(key)? else {
            return Ok(false);
        };
        let live = self.usage.entry(entry.segment).or_default();
        *live = live.saturating_sub(u64::from(bytes(&entry)));
        self.touched.insert(entry.segment);
        Ok(true)
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let decode = |value: &Vec<u8>| Entry::decode(value).ok_or_else(malformed);
        match self.changes.get(key) {
            Some(value) => value.as_ref().map(decode).transpose(),
            None => self.index.get(key)?.as_ref().map(decode).transpose(),
        }
    }

    pub(super) fn log(&self, topic: TopicId, log: LogId) -> Result<Option<Log>, StoreError> {
        if let Some(log) = self.logs.get(&(topic, log)) {
            return Ok(log.clone());
        }
        let key = keys::log_key(topic, log);
        let value = match self.changes.get(&key) {
            Some(value) => value.clone(),
            None => self.index.get(&key)?,
        };
        value.map(|value| minicbor::decode(&value).map_err(|_malformed| malformed())).transpose()
    }

    pub(super) fn set_log(&mut self, topic: TopicId, log_id: LogId, log: Option<&Log>) {
        self.logs.insert((topic, log_id), log.cloned());
    }

    /// Sets a value of the small state.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        if let Some((topic, log)) = key.split_first().and_then(|(tag, key)| {
            (*tag == Table::Logs.tag()).then(|| keys::parse_log_key(key)).flatten()
        }) {
            // What was gathered of it before does not count any more.
            self.logs.remove(&(topic, log));
        }
        self.changes.set(key.to_vec(), value.map(<[u8]>::to_vec));
        self.spill()
    }

    /// Removes the batches of a log that lie within a range of records, and those headers that the
    /// log does not keep as it is then.
    pub(super) fn drop_records(
        &mut self,
        topic: TopicId,
        log_id: LogId,
        records: Range<u64>,
        log: Option<&Log>,
    ) -> Result<(), StoreError> {
        // What is not written yet would not be found.
        let all = Place::floor(topic, log_id, 0)..=Place::ceiling(topic, log_id, u64::MAX);
        if self.changes.touches(&all) {
            self.write()?;
        }
        let from = Place::floor(topic, log_id, records.start);
        let batches = self.index.batches(from..=Place::floor(topic, log_id, records.end));
        for batch in batches {
            let (place, entry) = batch?;
            if place.next <= records.end {
                self.let_go(&place, &entry, log)?;
            }
        }
        for header in self.index.headers(topic, log_id) {
            let (place, _) = header?;
            if log.is_some_and(|log| log.keeps_header(place.next)) {
                break;
            }
            self.remove_header(&place)?;
        }
        Ok(())
    }

    /// A compacted part lies here now, and nothing any more of what was within it.
    pub(super) fn compact(&mut self, place: &Place, entry: &Entry) -> Result<(), StoreError> {
        let Place { topic, log, first, next, .. } = *place;
        let within = Place::floor(topic, log, first)..=Place::floor(topic, log, next);
        if self.changes.touches(&within) {
            self.write()?;
        }
        for batch in self.index.batches(within) {
            let (place, _) = batch?;
            if place.next <= next {
                self.remove(&place)?;
            }
        }
        self.insert(place, entry)
    }

    /// Segments that are gone need no account.
    pub(super) fn forget_segment(&mut self, segment: u32) {
        self.usage.remove(&segment);
        self.touched.insert(segment);
    }

    /// Applies a part where there is much. The position is not moved by that, so after a crash
    /// the frames are applied again, which changes nothing that is right already.
    fn spill(&mut self) -> Result<(), StoreError> {
        if self.changes.0.len() < CHANGES_MAX { Ok(()) } else { self.write() }
    }

    /// Applies what has gathered.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        for ((topic, log_id), log) in std::mem::take(&mut self.logs) {
            self.changes.set(keys::log_key(topic, log_id), log.as_ref().map(keys::encode));
        }
        for segment in std::mem::take(&mut self.touched) {
            let live = self.usage.get(&segment).map(|live| live.to_be_bytes().to_vec());
            self.changes.set(keys::index_key(Table::Usage, &segment.to_be_bytes()), live);
        }
        self.index.write(std::mem::take(&mut self.changes))
    }

    /// Applies the rest, and that all up to a position is known.
    pub(super) fn finish(mut self, position: Position) -> Result<(), StoreError> {
        self.changes.set(keys::POSITION_KEY.to_vec(), Some(position.encode()));
        self.write()
    }
}
