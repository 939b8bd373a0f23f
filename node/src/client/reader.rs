//! Reading: history and then live records in one stream, each record once.

mod asking;
mod batches;
mod options;
mod passed_over;
mod seen;

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use antiphon::{
    limits,
    model::{
        Batch, Compacted, Cursor, LogId, NodeId, Position, Record, RecordId, TopicName, WallClock,
    },
    wire::{Page, Read, Surveyed},
};
use futures::Stream;

use self::asking::Asked;
pub use self::{
    batches::{BatchPage, BatchReader},
    options::{End, ReaderOptions, Start},
    passed_over::PassedOver,
};
pub(super) use self::{passed_over::advance_over, seen::Seen};
use super::{Client, Refusal, RequestError};

/// A record as a reader gets it. [`Record::published_at`] is the time at which it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The record's id. A record that was stored twice has the same one both times.
    pub id: RecordId,
    /// The node that stored and signed the record first.
    pub writer: NodeId,
    /// Its sequence number in the writer's log, from 0. A writer may have several logs over time.
    pub number: u64,
    /// The record.
    pub record: Record,
    /// Whether the record is in a branch of a fork. Then the writer's key has signed other records
    /// for the same place as well, and readers get both.
    pub forked: bool,
}

#[cfg(feature = "json")]
impl Delivered {
    /// The payload, which is JSON, as a value.
    ///
    /// # Errors
    /// When the payload is no JSON, or the JSON does not fit the type.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.record.to_json()
    }
}

/// A record, its log, and where the reader stood in that log before.
pub(super) type NextOfLog = (Delivered, LogId, Option<Position>);

/// Reads one topic: a [`Stream`] of its records. It also has [`next`](Self::next) and
/// [`try_next`](Self::try_next) of its own, which need no trait in scope.
///
/// [`Topic::fetch`](super::Topic::fetch), [`Topic::subscribe`](super::Topic::subscribe) and
/// [`Topic::read`](super::Topic::read) make one.
///
/// ```
/// use antiphon_node::client::Start;
///
/// # use antiphon_node::{Node, NodeConfig};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
/// # let topic = node.client().topic("quakes")?;
/// # topic.create().await?;
/// # topic.publish("M 5.3").await?;
/// let mut stored = topic.fetch(Start::Beginning).await?;
/// while let Some(delivered) = stored.try_next().await? {
///     println!("{} bytes", delivered.record.payload.len());
/// }
/// # Ok(node.stop().await?)
/// # }
/// ```
///
/// **Order.** Each record comes once. The records of one writer come in the order in which it wrote
/// them. Stored records of several writers are merged by time. Two live readers may see those in
/// different orders.
///
/// **Back-pressure.** The reader asks for records only while it is polled. It holds one page of at
/// most 4 MiB, as the records are stored (compressed). Later records wait in the topic.
///
/// **Errors** are items and not the end: the reader stays where it is, and asks again when it is
/// polled again. Pause before that. Some errors do not pass by themselves, for example if the topic
/// was deleted ([`Refusal::is_passing`]). A loop over `try_next` with `?` ends at the first error.
///
/// **Cancel-safe.** Dropping the future of `next` or `try_next` loses no record, and its request
/// stays under way. Dropping the reader ends it. Another one goes on at its
/// [`cursor`](Self::cursor) with [`Start::At`].
#[derive(Debug)]
#[must_use = "a reader does nothing unless it is polled"]
pub struct Reader {
    client: Client,
    asked: Asked,
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
    /// Whether something was compacted before that end that was not known when it was told: what
    /// took its place may stand behind it.
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
            asked: Asked::default(),
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
    #[doc(hidden)]
    pub fn surveyed(&self) -> &Surveyed {
        &self.surveyed
    }

    /// The position after the last record that was handed out. Its text is valid at any node, and
    /// over restarts.
    pub fn cursor(&self) -> &Cursor {
        &self.delivered
    }

    /// The records that the reader skipped since this was called last. They were trimmed or lost
    /// before they were read.
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
                let earlier =
                    batch.records().map_while(Result::ok).take_while(|it| it.time < Some(time));
                let next = batch.header().first + earlier.count() as u64;
                if next < batch.header().next() {
                    found.insert(log);
                }
                if next > batch.header().first {
                    self.delivered.advance_to(log, Position { next, head: Some(batch.hash()) });
                }
            }
            if !self.fetch().await? {
                return Ok(self.delivered);
            }
        }
    }

    /// The next record, or why there is none now. None at the end, which a reader with
    /// [`End::Never`] does not have. This waits for the next live record, however long that takes.
    ///
    /// Cancel-safe: a record is handed out when this returns, and not before.
    pub async fn next(&mut self) -> Option<Result<Delivered, RequestError>> {
        self.try_next().await.transpose()
    }

    /// The next record; none at the end. The same as [`next`](Self::next), for use with `?`.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When no node that holds the records can be reached, the topic was deleted, or an answer is
    /// malformed. The reader stays where it is, and can be asked again.
    pub async fn try_next(&mut self) -> Result<Option<Delivered>, RequestError> {
        poll_fn(|context| self.poll_record(context)).await
    }

    /// The next record; none at the end.
    fn poll_record(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Delivered>, RequestError>> {
        loop {
            if let Some((record, log, position)) = self.pop_ready() {
                self.delivered.advance_to(log, position);
                return Poll::Ready(Ok(Some(record)));
            }
            if !ready!(self.poll_fetch(context))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// The next of the records that were fetched, its log, and where the reader stood in it before.
    pub(super) fn take_ready(&mut self) -> Option<NextOfLog> {
        let (record, log, position) = self.pop_ready()?;
        let before = self.delivered.logs.get(&log).copied();
        self.delivered.advance_to(log, position);
        Some((record, log, before))
    }

    /// The next of the records that were fetched, its log, and where the reader stands after it.
    fn pop_ready(&mut self) -> Option<(Delivered, LogId, Position)> {
        let held_back = self.left_out();
        loop {
            let from = if held_back == 0 {
                debug_assert!(self.held_back.is_empty(), "nothing is left out");
                &mut self.current
            } else {
                while self.held_back.len() <= held_back
                    && let Some(next) = self.current.pop_front()
                {
                    self.held_back.push_back(next);
                }
                &mut self.held_back
            };
            if from.len() > held_back {
                return from.pop_front();
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
                let position = Position { next: number + 1, head: Some(batch.hash()) };
                let (writer, forked) = (header.writer, batch.is_of_branch());
                let delivered = Delivered { id, writer, number, record, forked };
                self.current.push_back((delivered, log, position));
            }
        }
        // What follows the last wanted record in this batch is passed over with it.
        if let Some((_, _, position)) = self.current.back_mut() {
            position.next = end;
        } else if end > after {
            self.pass_over(log, Position { next: end, head: Some(batch.hash()) });
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

    /// Fetches the next page; whether there may be more. Cancel-safe.
    async fn fetch(&mut self) -> Result<bool, RequestError> {
        poll_fn(|context| self.poll_fetch(context)).await
    }

    /// The request for the next page; none at the end.
    fn question(&mut self) -> Option<Read> {
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
    fn take_page(&mut self, page: Page) -> Result<bool, RequestError> {
        if page.batches.is_empty() && page.finished && self.options.end != End::Never {
            // The end that was told is no longer there: what followed a fork is in branches now. Or
            // nobody gives what is lacking.
            self.passed_over.join(PassedOver { withheld: page.withheld, ..PassedOver::default() });
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

impl Stream for Reader {
    type Item = Result<Delivered, RequestError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_record(context).map(Result::transpose)
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

#[cfg(test)]
mod tests;
