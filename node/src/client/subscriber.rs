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
    /// The program has as many records as it may have that it did not acknowledge. Acknowledge
    /// some, and ask again.
    #[error("{0} records are not acknowledged; no more are handed out")]
    Unacknowledged(usize),
    /// The records cannot be reached, or the position cannot be kept. It can be asked again, but
    /// for a refusal that does not [pass](super::Refusal::is_passing).
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A named subscription: a [`Stream`] of records, each with what it is acknowledged by. The topic's
/// replicas keep its position.
///
/// A program acknowledges records in any order, from any task. What is acknowledged is kept by a
/// commit: in the background ([`commit_every`](Self::commit_every)), or at once by
/// [`commit`](Self::commit). A record that is not acknowledged comes again when the subscription is
/// started the next time, and with it everything after it of the same log. So each record comes at
/// least once.
///
/// Back-pressure, errors and cancel-safety are as with [`Reader`]. Where 65,536 records are out and
/// not acknowledged, the subscriber gives [`NextError::Unacknowledged`] until some are.
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
/// Dropping the subscriber ends it. One that commits in the background then commits a last time, as
/// far as a node answers.
#[derive(Debug)]
#[must_use = "a subscriber does nothing unless it is polled"]
pub struct Subscriber {
    reader: Reader,
    standing: Arc<Standing>,
    is_new: bool,
    commits: bool,
}

/// Stands for one record that was handed out, until it is acknowledged. Dropped without that, the
/// record comes again when the subscription is started the next time.
#[derive(Debug)]
#[must_use = "a record that is not acknowledged comes again"]
pub struct Acknowledgement {
    standing: Arc<Standing>,
    ticket: Ticket,
}

impl Acknowledgement {
    /// The record is done with. That is kept with the next commit of its subscriber.
    ///
    /// Does not wait, and may be called in any task and any order. After the subscriber was dropped
    /// it has no effect.
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
        Ok(Self { reader, standing: Arc::new(standing), is_new, commits: false })
    }

    /// The same subscriber, which commits in the background from now on: once in each `interval` in
    /// which records were acknowledged, and sooner where [`COMMIT_RECORDS_MAX`] were.
    ///
    /// While no node answers, it tries again with the next interval. A refusal that does not pass,
    /// such as [`Refusal::Superseded`], ends it, and is the error of the next [`next`](Self::next).
    pub fn commit_every(mut self, interval: Duration) -> Self {
        if !std::mem::replace(&mut self.commits, true) {
            let standing = Arc::clone(&self.standing);
            tasks::spawn_detached("commits", standing.keep_committing(interval));
        }
        self
    }

    /// Whether the name was new when this was started.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether another subscriber reads under the same name, as the last commit was told: each gets
    /// all records, and together they move one position. It takes a few commits of both until the
    /// replicas know, and half a minute until they forget one that has ended.
    pub fn is_shared(&self) -> bool {
        self.standing.is_shared()
    }

    /// The position after the last record that was handed out, whether it is acknowledged or not.
    pub fn cursor(&self) -> &Cursor {
        self.reader.cursor()
    }

    /// What was passed over since this was last asked.
    pub fn take_passed_over(&mut self) -> PassedOver {
        self.reader.take_passed_over()
    }

    /// The reader. What is taken from it counts as acknowledged with the next
    /// [`commit`](Self::commit).
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The next record with what it is acknowledged by, or why there is none now; none at the end.
    /// Without a trait in scope; as a [`Stream`] a subscriber does the same. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<(Delivered, Acknowledgement), NextError>> {
        self.try_next().await.transpose()
    }

    /// The next record with what it is acknowledged by; none at the end. Cancel-safe.
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
    /// As [`Reader::try_next`], when 65,536 records wait to be acknowledged, and when commits in
    /// the background have stopped.
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

    /// Keeps the position after the last record that was handed out, or before the first one of
    /// each log that is not acknowledged. Asks no node where the position has not moved. A crash
    /// before this repeats records, and loses none.
    ///
    /// Cancel-safe: the position may be kept or not, and the next commit keeps the one of then.
    ///
    /// # Errors
    /// When no replica can be reached; then the position of before holds. [`Refusal::Superseded`]
    /// when the subscription was reset or deleted meanwhile.
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
