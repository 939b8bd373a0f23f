//! Reading: history and then live records in one stream, each record once.

mod batches;
mod options;
mod passed_over;
mod seen;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use antiphon::{
    limits,
    model::{
        Batch, Compacted, Cursor, LogId, NodeId, Position, Record, RecordId, TopicName, WallClock,
    },
    wire::{Page, Read, Surveyed},
};

pub use self::{
    batches::{BatchPage, BatchReader},
    options::{End, ReaderOptions, Start},
    passed_over::PassedOver,
};
pub(super) use self::{passed_over::advance_over, seen::Seen};
use super::{Client, Refusal, RequestError};

/// A record as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its name.
    pub id: RecordId,
    /// The node that signed it.
    pub writer: NodeId,
    /// Its sequence number in the writer's log.
    pub number: u64,
    /// The record.
    pub record: Record,
    /// Whether it is in a branch: its writer, or whoever has the writer's key, signed something
    /// else for the same place as well, and both are shown.
    pub forked: bool,
}

#[cfg(feature = "json")]
impl Delivered {
    /// The payload, which is JSON, as a value.
    ///
    /// # Errors
    /// When the payload is not JSON, or not that of such a value.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.record.to_json()
    }
}

/// Reads one topic.
///
/// Memory is bounded by one page of batches: what is not asked for is not fetched.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    topic: TopicName,
    options: ReaderOptions,
    surveyed: Surveyed,
    /// Up to where pages were fetched.
    fetched: Cursor,
    /// Up to where records were handed out.
    delivered: Cursor,
    ready: VecDeque<Batch>,
    current: VecDeque<(Delivered, LogId, Position)>,
    /// The last records so far, where it is not known yet whether they are wanted.
    held_back: VecDeque<(Delivered, LogId, Position)>,
    seen: Seen,
    passed_over: PassedOver,
    /// What was compacted before the batches of the last page.
    compacted: Vec<Compacted>,
    /// Where a read of what is stored ends.
    stored_end: Cursor,
    /// Whether something was compacted before that end that was not known when it was told: what took
    /// its place may stand behind it.
    end_is_late: bool,
    ended: bool,
}

impl Reader {
    pub(super) async fn start(
        client: Client,
        topic: TopicName,
        options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let surveyed = client.survey(&topic).await?;
        let is_foreign = |cursor: &Cursor| cursor.topic != surveyed.end.topic;
        if matches!(&options.start, Start::At(cursor) if is_foreign(cursor))
            || matches!(&options.end, End::At(cursor) if is_foreign(cursor))
        {
            return Err(Refusal::ForeignCursor.into());
        }
        // Where records were taken away the numbers do not tell how many are left.
        let is_compacted = surveyed.summary.retention.tombstones_ms.is_some();
        let start = match &options.start {
            Start::End => surveyed.end.clone(),
            Start::Last(count) if options.is_whole() && !is_compacted => last(&surveyed, *count),
            Start::Beginning | Start::Since(_) | Start::Last(_) => {
                Cursor::start(surveyed.end.topic)
            }
            Start::At(cursor) => cursor.clone(),
        };
        let stored_end = surveyed.end.clone();
        let mut reader = Self {
            client,
            topic,
            surveyed,
            fetched: start.clone(),
            delivered: start,
            ready: VecDeque::new(),
            current: VecDeque::new(),
            held_back: VecDeque::new(),
            seen: Seen::of_at_most(PRODUCERS_MAX),
            passed_over: PassedOver::default(),
            compacted: Vec::new(),
            stored_end,
            end_is_late: false,
            ended: false,
            options,
        };
        if let Start::Last(count) = reader.options.start {
            reader.skip_to_last(count).await?;
        }
        Ok(reader)
    }

    /// The state of the topic when the reader started.
    pub fn surveyed(&self) -> &Surveyed {
        &self.surveyed
    }

    /// The position after the last record that was handed out.
    pub fn cursor(&self) -> &Cursor {
        &self.delivered
    }

    /// What was passed over since this was last asked.
    pub fn take_passed_over(&mut self) -> PassedOver {
        std::mem::take(&mut self.passed_over)
    }

    /// Reads to the end, to see where in each log the first record of this time or later is; from
    /// there on all such records follow.
    pub(super) async fn seek(mut self, time: WallClock) -> Result<Cursor, RequestError> {
        let mut found = BTreeSet::new();
        loop {
            while let Some(batch) = self.ready.pop_front() {
                let log = batch.log();
                if found.contains(&log) {
                    continue;
                }
                let earlier = batch.records().map_while(Result::ok).take_while(|it| it.time < time);
                let next = batch.header().first + earlier.count() as u64;
                if next < batch.header().next() {
                    found.insert(log);
                }
                if next > batch.header().first {
                    self.delivered.advance_to(log, Position { next, head: batch.hash() });
                }
            }
            if !self.fetch().await? {
                return Ok(self.delivered);
            }
        }
    }

    /// The next record; none at the end of what was stored when a reader that does not follow
    /// was started. Cancel-safe: a record is handed out when this returns, and not before.
    ///
    /// # Errors
    /// When no node that holds the records can be reached; the reader stays where it is and
    /// can be asked again.
    pub async fn next(&mut self) -> Result<Option<Delivered>, RequestError> {
        Ok(self.next_of_log().await?.map(|(record, ..)| record))
    }

    /// The next record, its log, and where the reader stood in it before; otherwise as
    /// [`Self::next`].
    pub(super) async fn next_of_log(
        &mut self,
    ) -> Result<Option<(Delivered, LogId, Option<Position>)>, RequestError> {
        loop {
            if let Some(next) = self.take_ready() {
                return Ok(Some(next));
            }
            if !self.fetch().await? {
                return Ok(None);
            }
        }
    }

    /// The next of the records that were fetched, its log, and where the reader stood in it before.
    pub(super) fn take_ready(&mut self) -> Option<(Delivered, LogId, Option<Position>)> {
        let held_back = self.left_out();
        loop {
            while self.held_back.len() <= held_back
                && let Some(next) = self.current.pop_front()
            {
                self.held_back.push_back(next);
            }
            if self.held_back.len() > held_back
                && let Some((record, log, position)) = self.held_back.pop_front()
            {
                let before = self.delivered.logs.get(&log).copied();
                self.delivered.advance_to(log, position);
                return Some((record, log, before));
            }
            if !self.open_next_batch() {
                return None;
            }
        }
    }

    /// How many of the last records are not handed out.
    fn left_out(&self) -> usize {
        match self.options.end {
            End::BeforeLast(count) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// Takes the records out of the next fetched batch; whether there was one.
    fn open_next_batch(&mut self) -> bool {
        let Some(batch) = self.ready.pop_front() else { return false };
        let header = batch.header();
        let log = batch.log();
        let after = self.delivered.next(&log);
        let end = match &self.options.end {
            End::At(cursor) => cursor.next(&log).min(header.next()),
            _ => header.next(),
        };
        let is_of_writer = self.options.writer.is_none_or(|writer| writer == header.writer);
        let all = is_of_writer.then(|| batch.numbered_records()).into_iter().flatten();
        for (number, id, record) in all.take_while(|(number, ..)| *number < end) {
            let Ok(record) = record else { break };
            let wanted = number >= after && self.options.wants(&record) && self.seen.is_new((), id);
            if wanted {
                let position = Position { next: number + 1, head: batch.hash() };
                let (writer, forked) = (header.writer, batch.is_of_branch());
                let delivered = Delivered { id, writer, number, record, forked };
                self.current.push_back((delivered, log, position));
            }
        }
        // What follows the last wanted record in this batch is passed over with it.
        if let Some((_, _, position)) = self.current.back_mut() {
            position.next = end;
        } else if end > after {
            self.pass_over(log, Position { next: end, head: batch.hash() });
        }
        true
    }

    /// Moves on in a log of which nothing is wanted up to here: at once, or with the last record of
    /// it that is held back.
    fn pass_over(&mut self, log: LogId, to: Position) {
        match self.held_back.iter_mut().rev().find(|(_, of, _)| *of == log) {
            Some((.., position)) => *position = to,
            None => self.delivered.advance_to(log, to),
        }
    }

    /// Fetches the next page; whether there may be more.
    async fn fetch(&mut self) -> Result<bool, RequestError> {
        loop {
            if let Some(read) = self.question() {
                let page = self.client.read_page(read).await?;
                return self.take_page(page);
            }
            if !self.end_is_late || self.options.end != End::Stored {
                return Ok(false);
            }
            // Of each key the newest record is read that there is when the read ends.
            let surveyed = self.client.survey(&self.topic).await?;
            self.stored_end = surveyed.end;
            (self.end_is_late, self.ended) = (false, false);
        }
    }

    /// The client that is asked.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What is to be asked for the next page; none at the end.
    pub(super) fn question(&mut self) -> Option<Read> {
        if self.ended {
            return None;
        }
        let until = match &self.options.end {
            End::Never => None,
            End::At(cursor) => Some(cursor.clone()),
            End::Stored | End::Before(_) | End::BeforeLast(_) => Some(self.stored_end.clone()),
        };
        if until.as_ref().is_some_and(|until| self.fetched.reaches(until)) {
            self.ended = true;
            return None;
        }
        let wait = if until.is_none() { LIVE_WAIT } else { Duration::ZERO };
        Some(Read {
            topic: self.topic.clone(),
            after: self.fetched.clone(),
            until,
            bytes_max: u32::try_from(limits::PAGE_BYTES_MAX).expect("a page is below 4 GiB"),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        })
    }

    /// Takes the answer to a question; whether there may be more.
    pub(super) fn take_page(&mut self, page: Page) -> Result<bool, RequestError> {
        if page.batches.is_empty() && page.finished && self.options.end != End::Never {
            // The end that was told is no longer there: what followed a fork is in branches now.
            self.ended = true;
            return Ok(false);
        }
        advance_over(&mut self.fetched, &page, &mut self.passed_over)?;
        self.ready.extend(page.batches);
        self.end_is_late |= !page.compacted.is_empty();
        self.compacted = page.compacted;
        Ok(true)
    }

    /// Reads to the end and keeps the last records, for a place in the merged order is known
    /// only from the end.
    async fn skip_to_last(&mut self, count: u64) -> Result<(), RequestError> {
        let follows = self.options.end == End::Never;
        if follows {
            self.options.end = End::Stored;
        }
        let keep = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(self.left_out());
        loop {
            while !self.current.is_empty() || self.open_next_batch() {
                self.held_back.extend(self.current.drain(..));
                while self.held_back.len() > keep {
                    if let Some((_, log, position)) = self.held_back.pop_front() {
                        self.delivered.advance_to(log, position);
                    }
                }
            }
            if !self.fetch().await? {
                break;
            }
        }
        self.current = std::mem::take(&mut self.held_back);
        if follows {
            self.options.end = End::Never;
            self.ended = false;
        }
        Ok(())
    }
}

/// Producers whose records a reader of one topic remembers, to drop second copies.
const PRODUCERS_MAX: usize = 4_096;

/// How long a follower lets its node hold a question open.
pub(super) const LIVE_WAIT: Duration = Duration::from_secs(10);

/// A position from which at least the last `count` records follow.
fn last(surveyed: &Surveyed, count: u64) -> Cursor {
    let mut cursor = surveyed.end.clone();
    for position in cursor.logs.values_mut() {
        position.next = position.next.saturating_sub(count);
    }
    cursor
}
