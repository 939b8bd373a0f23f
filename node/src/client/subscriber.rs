//! A named subscription: a reader whose position is kept on the topic's replicas.

mod standing;
mod unacknowledged;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use antiphon::model::{Cursor, SubscriberName, Subscription, TopicName};
use futures::Stream;
use thiserror::Error;

pub use self::standing::{COMMIT_INTERVAL_DEFAULT, COMMIT_RECORDS_MAX};
pub(super) use self::unacknowledged::UNACKNOWLEDGED_MAX;
use self::{standing::Standing, unacknowledged::Ticket};
use super::{Client, Delivered, PassedOver, Reader, ReaderOptions, Refusal, RequestError, Start};
use crate::platform::tasks;

/// Why no record was handed out. The subscriber stays where it is.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextError {
    /// The program has this many records that it did not acknowledge, and gets no more.
    /// Acknowledge some, and ask again.
    #[error("{0} records are not acknowledged; no more are handed out")]
    Unacknowledged(usize),
    /// The records cannot be reached, or the position cannot be stored. Ask again, unless this is a
    /// refusal that does not [pass](super::Refusal::is_passing).
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A named subscription: a [`Stream`] of records, each with an [`Acknowledgement`]. The topic's
/// replicas keep its position. [`Topic::subscribe_as`] and [`Client::subscriber`] make one.
///
/// A program acknowledges records in any order, from any task. A *commit* stores that: in the
/// background ([`commit_every`](Self::commit_every)), or at once ([`commit`](Self::commit)).
///
/// The stored position stands before the first record of each log that is not acknowledged. A log
/// has the records of one writer. When the subscription is started the next time, that record comes
/// again, and so does all that follows it in its log, acknowledged or not. So each record comes at
/// least once.
///
/// Back-pressure, errors and cancel-safety are as with [`Reader`]. At most 65,536 records may be
/// handed out and not acknowledged. Beyond that the next one is [`NextError::Unacknowledged`].
///
/// Several records can be worked on at the same time:
///
/// ```
/// use antiphon_node::client::Start;
/// use futures::StreamExt;
///
/// # use antiphon_node::{Node, NodeConfig, Record};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
/// # let topic = node.client().topic("jobs")?;
/// # topic.create().await?;
/// # for job in ["dig", "fill", "rake", "sow", "weed"] { topic.publish(job).await?; }
/// # async fn work(_record: &Record) {}
/// let mut jobs = topic.subscribe_as("gardener", Start::Beginning).await?;
/// # let jobs = (&mut jobs).take(5);
/// jobs.for_each_concurrent(3, async |job| match job {
///     Ok((delivered, acknowledgement)) => {
///         work(&delivered.record).await;
///         acknowledgement.acknowledge();
///     }
///     Err(error) => eprintln!("{error}"),
/// })
/// .await;
/// # Ok(node.stop().await?)
/// # }
/// ```
///
/// Dropping the subscriber ends it. One that commits in the background then commits a last time, if
/// a node answers. To know that it did, call [`commit`](Self::commit) before.
///
/// [`Topic::subscribe_as`]: super::Topic::subscribe_as
#[derive(Debug)]
#[must_use = "a subscriber does nothing unless it is polled"]
pub struct Subscriber {
    reader: Reader,
    standing: Arc<Standing>,
    is_new: bool,
}

/// Acknowledges one record that a [`Subscriber`] handed out. If this is dropped without
/// [`acknowledge`](Self::acknowledge), the record comes again when the subscription is started the
/// next time. Until then the stored position of its log stays before it.
#[derive(Debug)]
#[must_use = "a record that is not acknowledged comes again"]
pub struct Acknowledgement {
    standing: Arc<Standing>,
    ticket: Ticket,
}

impl Acknowledgement {
    /// Says that the program is done with the record. The next commit of the subscriber stores
    /// that.
    ///
    /// This does not wait. It may be called in any task and any order. It has no effect after the
    /// subscriber was dropped.
    pub fn acknowledge(self) {
        self.standing.acknowledge(self.ticket);
    }
}

impl Subscriber {
    pub(super) async fn start(
        client: Client,
        topic: TopicName,
        name: SubscriberName,
        mut options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let (generation, position) = match client.kept(&topic, &name).await? {
            None => (0, None),
            Some(Subscription { generation, cursor: None, .. }) => (generation + 1, None),
            Some(Subscription { group: Some(_), .. }) => {
                return Err(Refusal::Group(name.to_string()).into());
            }
            Some(Subscription { generation, cursor, .. }) => (generation, cursor),
        };
        let is_new = position.is_none();
        let committed = position.clone();
        if let Some(position) = position {
            options.start = Start::At(position);
        }
        let reader = Reader::start(client.clone(), topic.clone(), options).await?;
        let cursor = reader.cursor().clone();
        let standing = Standing::new(client, (topic, name), generation, cursor, committed);
        // A name that starts at the end would otherwise skip what comes before its first record.
        standing.commit().await?;
        Ok(Self { reader, standing: Arc::new(standing), is_new })
    }

    /// The same subscriber, which commits in the background from now on. It does so once in each
    /// `interval` in which records were acknowledged, and as soon as [`COMMIT_RECORDS_MAX`] are.
    ///
    /// A later call changes the interval. A subscriber of
    /// [`Topic::subscribe_as`](super::Topic::subscribe_as) has [`COMMIT_INTERVAL_DEFAULT`].
    ///
    /// While no node answers, it tries again with the next interval. A refusal that does not pass,
    /// such as [`Refusal::Superseded`], ends the commits, and the next [`next`](Self::next) fails
    /// with it.
    ///
    /// # Panics
    /// When the first call is outside of a tokio runtime.
    pub fn commit_every(self, interval: Duration) -> Self {
        if self.standing.set_interval(interval).is_none() {
            let standing = Arc::clone(&self.standing);
            tasks::spawn_detached("commits", standing.keep_committing(interval));
        }
        self
    }

    /// Whether the name was new when this subscriber was started.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether another subscriber reads under the same name, as the replicas said at the last
    /// commit. Then each of them gets all records, and together they move one position. To share
    /// the records, take a [`Member`](super::Member).
    ///
    /// It takes a few commits of both until the replicas know of the other one. They forget it half
    /// a minute after it has ended.
    pub fn is_shared(&self) -> bool {
        self.standing.is_shared()
    }

    /// The position after the last record that was handed out, whether it is acknowledged or not.
    pub fn cursor(&self) -> &Cursor {
        self.reader.cursor()
    }

    /// The records that the subscriber skipped since this was called last. They were trimmed or
    /// lost before they were read.
    pub fn take_passed_over(&mut self) -> PassedOver {
        self.reader.take_passed_over()
    }

    /// The reader behind this subscriber. Records that a program takes from it have no
    /// [`Acknowledgement`]: the next [`commit`](Self::commit) counts them as acknowledged.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The next record with its [`Acknowledgement`], or why there is none now. None at the end,
    /// which a subscriber with [`End::Never`](super::End::Never) does not have. This needs no trait
    /// in scope; as a [`Stream`] a subscriber does the same. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<(Delivered, Acknowledgement), NextError>> {
        self.try_next().await.transpose()
    }

    /// The next record with its [`Acknowledgement`]; none at the end. The same as
    /// [`next`](Self::next), for use with `?`. Cancel-safe.
    ///
    /// ```no_run
    /// # use antiphon_node::client::{NextError, Subscriber};
    /// # async fn work(mut subscriber: Subscriber) -> Result<(), NextError> {
    /// while let Some((delivered, acknowledgement)) = subscriber.try_next().await? {
    ///     println!("{} bytes", delivered.record.payload.len());
    ///     acknowledgement.acknowledge();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Reader::try_next`]. Also when 65,536 records wait to be acknowledged
    /// ([`NextError::Unacknowledged`]), and when commits in the background have stopped.
    pub async fn try_next(&mut self) -> Result<Option<(Delivered, Acknowledgement)>, NextError> {
        poll_fn(|context| self.poll_record(context)).await
    }

    fn poll_record(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<(Delivered, Acknowledgement)>, NextError>> {
        loop {
            self.standing.check()?;
            if let Some((record, log, before)) = self.reader.take_ready() {
                let after = self.reader.cursor().logs.get(&log).copied();
                let ticket = self.standing.hand_out(log, before, after);
                let standing = Arc::clone(&self.standing);
                return Poll::Ready(Ok(Some((record, Acknowledgement { standing, ticket }))));
            }
            let more = ready!(self.reader.poll_fetch(context))?;
            self.standing.stand_at(self.reader.cursor());
            if !more {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Stores the position on the topic's replicas. In each log it stands before the first record
    /// that is not acknowledged, or after the last one that was handed out. This asks no node if
    /// the position has not moved. A crash before a commit repeats records, and loses none.
    ///
    /// Cancel-safe: the position may be stored or not, and the next commit stores the newer one.
    ///
    /// # Errors
    /// When no replica can be reached; then the earlier position may still hold, and the next
    /// commit tries again. [`Refusal::Superseded`] when the subscription was reset or deleted
    /// meanwhile.
    pub async fn commit(&mut self) -> Result<(), RequestError> {
        self.standing.stand_at(self.reader.cursor());
        self.standing.commit().await
    }
}

impl Stream for Subscriber {
    type Item = Result<(Delivered, Acknowledgement), NextError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_record(context).map(Result::transpose)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.standing.end();
    }
}
