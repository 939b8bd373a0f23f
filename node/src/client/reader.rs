//! Reading: history and then live records in one stream, each record once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use antiphon::{
    limits,
    model::{
        Batch, Cursor, LogId, NodeId, Position, ProducerId, Record, RecordId, SubscriberName,
        Subscription, TopicName, WallClock,
    },
    wire::{LogRange, Read, Surveyed},
};

use super::{Client, RequestError};

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that is still there.
    #[default]
    Beginning,
    /// After the newest record.
    End,
    /// At the last so many records.
    Last(u64),
    /// At the first record that was published at this time or later.
    Since(WallClock),
    /// At a position.
    At(Cursor),
}

/// How a topic is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReaderOptions {
    /// Where to start.
    pub start: Start,
    /// Whether to go on with live records after the stored ones.
    pub follow: bool,
}

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

/// Producers whose records a reader remembers, to drop second copies. The one that was silent
/// for longest is forgotten first.
const REMEMBERED_PRODUCERS_MAX: usize = 4_096;

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
    seen: Seen,
    lost: Vec<LogRange>,
    ended: bool,
}

impl Reader {
    pub(super) async fn start(
        client: Client,
        topic: TopicName,
        options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let surveyed = client.survey(&topic).await?;
        let start = match &options.start {
            Start::Beginning | Start::Since(_) => Cursor::start(surveyed.end.topic),
            Start::End => surveyed.end.clone(),
            Start::Last(count) => last(&surveyed, *count),
            Start::At(cursor) => cursor.clone(),
        };
        let mut reader = Self {
            client,
            topic,
            surveyed,
            fetched: start.clone(),
            delivered: start,
            ready: VecDeque::new(),
            current: VecDeque::new(),
            seen: Seen::default(),
            lost: Vec::new(),
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

    /// What was passed over since this was last asked, for every node of the network said that it
    /// does not hold it: the disks that did are lost.
    pub fn take_lost(&mut self) -> Vec<LogRange> {
        std::mem::take(&mut self.lost)
    }

    /// The next record; none at the end of what was stored when a reader that does not follow
    /// was started. Cancel-safe: a record is handed out when this returns, and not before.
    ///
    /// # Errors
    /// When no node that holds the records can be reached; the reader stays where it is and
    /// can be asked again.
    pub async fn next(&mut self) -> Result<Option<Delivered>, RequestError> {
        loop {
            if let Some((record, log, position)) = self.current.pop_front() {
                self.delivered.advance_to(log, position);
                return Ok(Some(record));
            }
            if !self.open_next_batch() && !self.fetch().await? {
                return Ok(None);
            }
        }
    }

    /// Takes the records out of the next fetched batch; whether there was one.
    fn open_next_batch(&mut self) -> bool {
        let Some(batch) = self.ready.pop_front() else { return false };
        let header = batch.header();
        let log = batch.log();
        let after = self.delivered.next(&log);
        let since = match self.options.start {
            Start::Since(time) => time,
            _ => WallClock::default(),
        };
        for (number, id, record) in batch.numbered_records() {
            let Ok(record) = record else { break };
            let wanted = number >= after && record.time >= since && self.seen.is_new(id);
            if wanted {
                let position = Position { next: number + 1, head: batch.hash() };
                let (writer, forked) = (header.writer, batch.is_of_branch());
                let delivered = Delivered { id, writer, number, record, forked };
                self.current.push_back((delivered, log, position));
            }
        }
        if self.current.is_empty() {
            self.delivered.advance(&batch);
        } else if let Some((_, _, position)) = self.current.back_mut() {
            // What follows the last wanted record in this batch is passed over with it.
            position.next = header.next();
        }
        true
    }

    /// Fetches the next page; whether there may be more.
    async fn fetch(&mut self) -> Result<bool, RequestError> {
        if self.ended {
            return Ok(false);
        }
        let until = (!self.options.follow).then(|| self.surveyed.end.clone());
        if until.as_ref().is_some_and(|until| self.fetched.reaches(until)) {
            self.ended = true;
            return Ok(false);
        }
        let wait = if self.options.follow { LIVE_WAIT } else { Duration::ZERO };
        let page = self.client.read_page(Read {
            topic: self.topic.clone(),
            after: self.fetched.clone(),
            until,
            bytes_max: u32::try_from(limits::PAGE_BYTES_MAX).expect("a page is below 4 GiB"),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        });
        let page = page.await?;
        if page.batches.is_empty() && page.finished && !self.options.follow {
            // The end that was told is no longer there: what followed a fork is in branches now.
            self.ended = true;
            return Ok(false);
        }
        for batch in page.batches {
            let (log, first) = (batch.log(), batch.header().first);
            let next = self.fetched.next(&log);
            // A branch begins where it parts, and its first batch shows that it is the first.
            if first > next && !batch.is_root() {
                let lost = LogRange { log, from: next, to: first };
                if !page.lost.iter().any(|told| told.log == log && told.to == first) {
                    // Whatever node skipped something: nothing is skipped here.
                    return Err(RequestError::Mismatch);
                }
                if self.lost.len() < limits::FRONTIER_LOGS_MAX {
                    self.lost.push(lost);
                }
            }
            self.fetched.advance(&batch);
            self.ready.push_back(batch);
        }
        Ok(true)
    }

    /// Reads to the end and keeps the last records, for a place in the merged order is known
    /// only from the end.
    async fn skip_to_last(&mut self, count: u64) -> Result<(), RequestError> {
        let follow = std::mem::replace(&mut self.options.follow, false);
        let keep = usize::try_from(count).unwrap_or(usize::MAX);
        let mut kept = VecDeque::new();
        loop {
            while !self.current.is_empty() || self.open_next_batch() {
                kept.extend(self.current.drain(..));
                while kept.len() > keep {
                    if let Some((_, log, position)) = kept.pop_front() {
                        self.delivered.advance_to(log, position);
                    }
                }
            }
            if !self.fetch().await? {
                break;
            }
        }
        self.current = kept;
        self.options.follow = follow;
        self.ended = false;
        Ok(())
    }
}

/// How long a follower lets its node hold a question open.
const LIVE_WAIT: Duration = Duration::from_secs(10);

/// A position from which at least the last `count` records follow.
fn last(surveyed: &Surveyed, count: u64) -> Cursor {
    let mut cursor = surveyed.end.clone();
    for position in cursor.logs.values_mut() {
        position.next = position.next.saturating_sub(count);
    }
    cursor
}

/// Which records were seen, per producer: the numbers below a bound and those above it.
#[derive(Debug, Default)]
struct Seen {
    producers: BTreeMap<ProducerId, Numbers>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Runs of seen numbers, `from` to `to`, exclusive, by `from`. A producer's records come in
    /// order but for second copies, so there are few.
    runs: BTreeMap<u64, u64>,
    used: u64,
}

impl Seen {
    /// Whether the record was not seen before; it is from now on.
    fn is_new(&mut self, id: RecordId) -> bool {
        self.turn += 1;
        if self.producers.len() >= REMEMBERED_PRODUCERS_MAX
            && !self.producers.contains_key(&id.producer)
        {
            let oldest = self.producers.iter().min_by_key(|(_, numbers)| numbers.used);
            if let Some(oldest) = oldest.map(|(producer, _)| *producer) {
                self.producers.remove(&oldest);
            }
        }
        let numbers = self.producers.entry(id.producer).or_default();
        numbers.used = self.turn;
        numbers.insert(id.number)
    }
}

impl Numbers {
    fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(from, to)| (*from, *to));
        let from = match before {
            Some((_, to)) if number < to => return false,
            Some((from, to)) if number == to => from,
            Some(_) | None => number,
        };
        let to = self.runs.remove(&(number + 1)).unwrap_or(number + 1);
        self.runs.insert(from, to);
        true
    }
}

/// A named subscription: a reader whose position is kept on the topic's replicas.
#[derive(Debug)]
pub struct Subscriber {
    reader: Reader,
    name: SubscriberName,
    generation: u64,
    committed: Cursor,
    is_new: bool,
}

impl Subscriber {
    pub(super) async fn start(
        client: Client,
        topic: TopicName,
        name: SubscriberName,
        mut options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let kept = client.position(&topic, &name).await?;
        let generation = kept.as_ref().map_or(0, |subscription| subscription.generation);
        let is_new = kept.is_none();
        if let Some(subscription) = kept {
            options.start = Start::At(subscription.cursor);
        }
        let reader = Reader::start(client, topic, options).await?;
        let committed = Cursor::start(reader.delivered.topic);
        let mut subscriber = Self { reader, name, generation, committed, is_new };
        // A name that starts at the end would otherwise skip what comes before its first commit.
        subscriber.commit().await?;
        Ok(subscriber)
    }

    /// Whether the name was new when this was started.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The reader; records are taken from it.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Keeps the position after the last record that was handed out. A crash before this
    /// repeats records, and loses none.
    ///
    /// # Errors
    /// When no replica can be reached; the position of before holds.
    pub async fn commit(&mut self) -> Result<(), RequestError> {
        let cursor = self.reader.delivered.clone();
        if cursor == self.committed {
            return Ok(());
        }
        let subscription = Subscription { generation: self.generation, cursor: cursor.clone() };
        self.reader.client.commit(&self.reader.topic, &self.name, subscription).await?;
        self.committed = cursor;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_copies_are_seen_in_any_order() {
        let mut numbers = Numbers::default();
        assert!([3, 1, 2, 0, 7].into_iter().all(|number| numbers.insert(number)));
        assert!([0, 1, 2, 3, 7].into_iter().all(|number| !numbers.insert(number)));
        assert_eq!(numbers.runs, BTreeMap::from([(0, 4), (7, 8)]));
        assert!(numbers.insert(4) && numbers.insert(6) && numbers.insert(5));
        assert_eq!(numbers.runs, BTreeMap::from([(0, 8)]));
    }
}
