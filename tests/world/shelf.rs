//! How a disk that is data is read: batches, and what compaction left of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use antiphon::{
    engine::{Early, Shelf, Stored},
    limits::HEADERS_PER_PAGE_MAX,
    model::{Batch, Compacted, LogId, SignedHeader, Stamp, TopicId},
    wire::{LogRange, Page},
};

/// Where something stands: topic, log, and number of its first record.
pub(crate) type Place = (TopicId, LogId, u64);

/// What is stored of one topic.
pub(crate) struct TopicShelf<'a> {
    pub(crate) topic: TopicId,
    pub(crate) batches: &'a BTreeMap<Place, Batch>,
    pub(crate) compacted: &'a BTreeMap<Place, Compacted>,
    /// Batches that cannot be read.
    pub(crate) damaged: &'a BTreeSet<Place>,
    /// Of batches that retention let go.
    pub(crate) headers: &'a BTreeMap<Place, SignedHeader>,
}

impl TopicShelf<'_> {
    /// What stands in a log, in order.
    fn items(&self, log: LogId) -> Vec<Stored> {
        let places = (self.topic, log, 0)..=(self.topic, log, u64::MAX);
        let batch = |(_, batch): (&Place, &Batch)| {
            let header = batch.header();
            let part = Compacted {
                log,
                first: header.first,
                next: header.next(),
                base: header.previous.map(|previous| previous.hash),
                head: batch.hash(),
                stamp: header.stamp,
                batches: Vec::new(),
            };
            Stored { part, bytes: Some(batch.bytes().len() as u64) }
        };
        let batches = self.batches.range(places.clone()).map(batch);
        let parts = self.compacted.range(places);
        let parts = parts.map(|(_, part)| Stored { part: part.clone(), bytes: None });
        let mut items: Vec<_> = batches.chain(parts).collect();
        items.sort_by_key(|item| item.part.first);
        items
    }

    /// Reads ranges of logs, merged by stamp; a log ends at its first hole. What compaction took away
    /// comes with the batch that follows.
    pub(crate) fn read(&self, ranges: &[LogRange], early: &Early, bytes_max: usize) -> Page {
        let (mut batches, mut compacted) = (Vec::new(), Vec::<Compacted>::new());
        let mut finished = true;
        for range in ranges {
            let mut at = range.from;
            let mut open: Option<Compacted> = None;
            // A log keeps its own order, whatever its stamps say.
            let mut order = Stamp::default();
            for item in self.items(range.log) {
                let place = (self.topic, range.log, item.part.first);
                let is_next = item.part.first <= at && at < item.part.next;
                if !is_next || at >= range.to && open.is_none() || self.damaged.contains(&place) {
                    continue;
                }
                at = item.part.next;
                if item.bytes.is_none() {
                    let joined = open.as_ref().and_then(|open| open.joined(&item.part));
                    open = joined.or(Some(item.part));
                    continue;
                }
                compacted.extend(open.take());
                order = early.order(&range.log, place.2, item.part.stamp).max(order);
                batches.extend(self.batches.get(&place).map(|batch| (order, batch.clone())));
            }
            finished &= at >= range.to && open.is_none();
            compacted.extend(open);
        }
        batches.sort_by_key(|(order, batch)| (*order, batch.log(), batch.header().first));
        let batches: Vec<_> = batches.into_iter().map(|(_, batch)| batch).collect();
        let (all, mut bytes) = (batches.len(), 0);
        let fits = |batch: &Batch| {
            bytes += batch.bytes().len();
            bytes <= bytes_max || bytes == batch.bytes().len()
        };
        let batches: Vec<_> = batches.into_iter().take_while(fits).collect();
        finished &= batches.len() == all;
        // One whose batch is missing ends its log.
        let is_there = |part: &Compacted| {
            let next = self.batches.get(&(self.topic, part.log, part.next));
            next.is_some_and(|next| part.precedes(next))
        };
        compacted
            .retain(|part| !is_there(part) || batches.iter().any(|batch| part.precedes(batch)));
        Page { batches, finished, compacted, headers: self.headers_at(ranges), ..Page::default() }
    }

    /// The headers of single records that were let go.
    fn headers_at(&self, ranges: &[LogRange]) -> Vec<SignedHeader> {
        let header = |range: &LogRange| {
            let at = range.as_position()?;
            let before = (self.topic, range.log, 0)..=(self.topic, range.log, at);
            let header = self.headers.range(before).next_back().map(|(_, header)| header);
            header.filter(|header| header.header().next() > at).cloned()
        };
        let mut headers: Vec<_> = ranges.iter().filter_map(header).collect();
        headers.dedup();
        headers.truncate(HEADERS_PER_PAGE_MAX);
        headers
    }

    /// What compaction took away of a range.
    pub(crate) fn compacted_in(&self, range: &LogRange) -> Vec<Compacted> {
        let items = self.items(range.log).into_iter().filter(|item| item.bytes.is_none());
        let parts = items.map(|item| item.part);
        parts.filter(|part| part.first < range.to && range.from < part.next).collect()
    }
}

impl Shelf for TopicShelf<'_> {
    type Error = Infallible;

    fn walk(
        &self,
        range: &LogRange,
        visit: &mut dyn FnMut(&Stored) -> Result<(), Infallible>,
    ) -> Result<(), Infallible> {
        let items = self.items(range.log);
        let mut within =
            items.iter().filter(|item| range.from <= item.part.first && item.part.next <= range.to);
        within.try_for_each(visit)
    }

    fn load(&self, stored: &Stored) -> Result<Option<Batch>, Infallible> {
        let place = (self.topic, stored.part.log, stored.part.first);
        let batch = self.batches.get(&place).filter(|_| !self.damaged.contains(&place));
        Ok(batch.cloned())
    }
}

/// Carries a compaction out: what it took away.
pub(crate) fn compact(
    batches: &mut BTreeMap<Place, Batch>,
    compacted: &mut BTreeMap<Place, Compacted>,
    topic: TopicId,
    part: &Compacted,
) -> Vec<Batch> {
    let places = (topic, part.log, part.first)..(topic, part.log, part.next);
    let gone = batches.extract_if(places.clone(), |_, _| true).map(|(_, batch)| batch);
    let gone: Vec<Batch> = gone.collect();
    let parts = compacted.extract_if(places.clone(), |_, _| true);
    let mut named: Vec<_> = parts.map(|((.., first), part)| (first, part.batches)).collect();
    named.extend(gone.iter().map(|batch| (batch.header().first, vec![batch.hash().into()])));
    named.sort_by_key(|(first, _)| *first);
    let named = named.into_iter().flat_map(|(_, named)| named).collect();
    compacted.insert(places.start, part.in_place_of(named));
    gone
}

/// Removes what compaction left of a range.
pub(crate) fn drop_parts(
    compacted: &mut BTreeMap<Place, Compacted>,
    topic: TopicId,
    range: &LogRange,
) {
    compacted.retain(|(of, log, first), part| {
        (*of, *log) != (topic, range.log) || *first < range.from || part.next > range.to
    });
}
