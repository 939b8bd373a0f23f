//! What a member works on, and how it gets it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Deref,
    time::Duration,
};

use antiphon::{
    limits,
    model::{Batch, Cursor, LogId, TopicId, TopicName},
    wire::{Assignment, LogRange, Read},
};

use crate::client::{Client, Delivered, PassedOver, RequestError, reader::advance_over};

/// Bytes of batches that are kept for the next records of them.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A record for a member to work on. It dereferences to [`Delivered`], so `work.record` is the
/// record.
///
/// The member [acknowledges](super::Member::acknowledge) or [rejects](super::Member::reject) it. If
/// this is dropped without that, the record is delivered again when its time is over.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a record that is not acknowledged goes to another member"]
pub struct Work {
    /// The record, its id and its place.
    pub delivered: Delivered,
    /// Which delivery of the record this is, from 1.
    pub deliveries: u32,
    log: LogId,
    pub(super) bury: Option<String>,
    /// When it goes to others, by this member's clock.
    pub(super) until: Duration,
    pub(super) generation: u64,
}

impl Work {
    pub(super) fn place(&self) -> (LogId, u64) {
        (self.log, self.delivered.number)
    }
}

impl Deref for Work {
    type Target = Delivered;

    fn deref(&self) -> &Delivered {
        &self.delivered
    }
}

/// What was given to a member.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) assignment: Assignment,
    pub(super) until: Duration,
    pub(super) generation: u64,
}

/// Batches that were read.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    batches: VecDeque<Batch>,
    topic: Option<TopicId>,
}

impl Fetched {
    /// Reads the batches that some records are in, as far as they are not here. Cancel-safe.
    pub(super) async fn fetch(
        &mut self,
        client: &Client,
        topic: &TopicName,
        wanted: &[LogRange],
        passed_over: &mut PassedOver,
    ) -> Result<(), RequestError> {
        let mut missing: BTreeMap<LogId, (u64, u64)> = BTreeMap::new();
        for range in wanted.iter().filter(|range| !self.covers(range)) {
            let (from, to) = missing.entry(range.log).or_insert((range.from, range.to));
            (*from, *to) = ((*from).min(range.from), (*to).max(range.to));
        }
        self.trim();
        if missing.is_empty() {
            return Ok(());
        }
        let id = match self.topic {
            Some(id) => id,
            None => *self.topic.insert(client.survey(topic).await?.end.topic),
        };
        let (mut after, mut until) = (Cursor::start(id), Cursor::start(id));
        for (log, (from, to)) in missing {
            super::at(&mut after, log, from);
            super::at(&mut until, log, to);
        }
        while !after.reaches(&until) {
            let read = Read {
                topic: topic.clone(),
                after: after.clone(),
                until: Some(until.clone()),
                bytes_max: u32::try_from(limits::PAGE_BYTES_MAX).unwrap_or(u32::MAX),
                wait_ms: 0,
            };
            let page = client.read_page(read).await?;
            if page.batches.is_empty() {
                break;
            }
            advance_over(&mut after, &page, passed_over)?;
            self.batches.extend(page.batches);
        }
        Ok(())
    }

    /// The records that were given out, by their numbers; without those that are not there.
    pub(super) fn take(&self, assigned: &Assigned) -> BTreeMap<u64, Work> {
        let Assigned { assignment, until, generation } = assigned;
        let range = &assignment.range;
        let mut found = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| overlaps(batch, range)) {
            for (number, id, record) in batch.numbered_records() {
                let Ok(record) = record else { break };
                if number < range.from || number >= range.to {
                    continue;
                }
                let (writer, forked) = (batch.header().writer, batch.is_of_branch());
                let work = Work {
                    delivered: Delivered { id, writer, number, record, forked },
                    deliveries: assignment.deliveries,
                    log: range.log,
                    bury: assignment.bury.clone(),
                    until: *until,
                    generation: *generation,
                };
                found.insert(number, work);
            }
        }
        found
    }

    fn covers(&self, range: &LogRange) -> bool {
        let mut next = range.from;
        for batch in self.batches.iter().filter(|batch| overlaps(batch, range)) {
            if batch.header().first <= next {
                next = next.max(batch.header().next());
            }
        }
        next >= range.to
    }

    /// Lets the oldest go where they are too many.
    fn trim(&mut self) {
        let mut bytes: usize = self.batches.iter().map(|batch| batch.bytes().len()).sum();
        while bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            bytes -= oldest.bytes().len();
        }
    }
}

fn overlaps(batch: &Batch, range: &LogRange) -> bool {
    let header = batch.header();
    batch.log() == range.log && header.first < range.to && header.next() > range.from
}

/// Places as ranges.
pub(super) fn ranges(places: impl Iterator<Item = (LogId, u64)>) -> Vec<LogRange> {
    let mut ranges: Vec<LogRange> = Vec::new();
    for (log, number) in places {
        match ranges.last_mut() {
            Some(last) if last.log == log && last.to == number => last.to += 1,
            Some(_) | None => ranges.push(LogRange { log, from: number, to: number + 1 }),
        }
        if ranges.len() >= limits::GROUP_RANGES_MAX {
            break;
        }
    }
    ranges
}
