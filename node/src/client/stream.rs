//! Readers as streams.
//!
//! No task stands behind them: a page is asked for when a stream is polled and has no record left.
//! The question stays under way when whoever waited for a record gives up, so that a stream in a
//! `select!` asks no more often than one that is awaited. [`Reader::next`] would ask again.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use antiphon::{
    model::{Cursor, LogId, Position, TopicName},
    wire::Page,
};
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};

use super::{
    Acknowledgement, Delivered, NextError, PassedOver, PatternReader, Reader, RequestError,
    Subscriber,
};

/// The question under way, if there is one.
#[derive(Default)]
struct Asked(Option<BoxFuture<'static, Result<Page, RequestError>>>);

impl fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Asked").field(&self.0.is_some()).finish()
    }
}

type Next = Option<(Delivered, LogId, Option<Position>)>;

impl Asked {
    fn poll_next(
        &mut self,
        reader: &mut Reader,
        context: &mut Context<'_>,
    ) -> Poll<Result<Next, RequestError>> {
        loop {
            if let Some(next) = reader.take_ready() {
                return Poll::Ready(Ok(Some(next)));
            }
            let question = match &mut self.0 {
                Some(question) => question,
                nothing => {
                    let Some(read) = reader.question() else { return Poll::Ready(Ok(None)) };
                    let client = reader.client().clone();
                    nothing.insert(async move { client.read_page(read).await }.boxed())
                }
            };
            let page = ready!(question.poll_unpin(context));
            self.0 = None;
            if !reader.take_page(page?)? {
                return Poll::Ready(Ok(None));
            }
        }
    }
}

/// A [`Reader`] as a stream of records.
///
/// **Back-pressure.** Nothing is asked for unless the stream is polled, and memory is bounded by one
/// page. What comes meanwhile waits in the topic.
///
/// **Errors** are items and not the end: the stream stays where it is, and asks again when it is
/// polled again. Some do not pass by themselves, such as a topic that was deleted; `try_next` with
/// `?` ends at the first.
///
/// **Cancel-safe.** Dropping the future of `next` or `try_next` loses no record, and the question
/// stays under way. Dropping the stream ends it; [`cursor`](Self::cursor) tells where another one
/// would go on.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct ReaderStream {
    reader: Reader,
    asked: Asked,
}

impl ReaderStream {
    /// The position after the last record that came out.
    pub fn cursor(&self) -> &Cursor {
        self.reader.cursor()
    }

    /// What was passed over since this was last asked.
    pub fn take_passed_over(&mut self) -> PassedOver {
        self.reader.take_passed_over()
    }

    /// The reader, at the same place. A question under way is given up.
    pub fn into_reader(self) -> Reader {
        self.reader
    }
}

impl Stream for ReaderStream {
    type Item = Result<Delivered, RequestError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { reader, asked } = self.get_mut();
        let next = ready!(asked.poll_next(reader, context));
        Poll::Ready(next.map(|next| next.map(|(delivered, ..)| delivered)).transpose())
    }
}

impl Reader {
    /// The records that follow as a [`Stream`].
    pub fn into_stream(self) -> ReaderStream {
        ReaderStream { reader: self, asked: Asked::default() }
    }
}

/// A [`Subscriber`] as a stream of records, each with what it is acknowledged by.
///
/// A record is done with when it is [acknowledged](Self::acknowledge), in whatever order, and that
/// counts for good when [`commit`](Self::commit) has kept the position. What is not acknowledged
/// comes again when the subscription is started the next time, and after it everything of the same
/// log.
///
/// Back-pressure, errors and cancel-safety are as with [`ReaderStream`]. Where 65,536 records are
/// out and not acknowledged the stream gives [`NextError::Unacknowledged`] until some are.
///
/// Records are worked on at the same time where the stream is one branch of a `select!`, and the work
/// that is done another:
///
/// ```
/// use antiphon_node::client::{Delivered, Start};
/// use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
///
/// # use antiphon_node::{Node, NodeConfig};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
/// # let topic = node.client().topic("jobs")?;
/// # topic.create().await?;
/// # for job in ["dig", "fill", "rake", "sow", "weed"] { topic.publish(job).await?; }
/// # async fn work(_record: &Delivered) {}
/// # let mut left = 5;
/// let mut jobs = topic.subscribe_as("gardener", Start::Beginning).await?;
/// let mut under_way = FuturesUnordered::new();
/// loop {
///     tokio::select! {
///         Some(job) = jobs.next(), if under_way.len() < 3 => {
///             let (record, acknowledgement) = job?;
///             under_way.push(async move { work(&record).await; acknowledgement });
///         }
///         Some(acknowledgement) = under_way.next() => {
///             jobs.acknowledge(acknowledgement);
///             jobs.commit().await?;
/// #           left -= 1;
/// #           if left == 0 { break }
///         }
///     }
/// }
/// # Ok(node.stop().await?)
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct SubscriberStream {
    subscriber: Subscriber,
    asked: Asked,
}

impl SubscriberStream {
    /// A record is done with; see [`Subscriber::acknowledge`].
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        self.subscriber.acknowledge(acknowledgement);
    }

    /// Keeps the position before the first record of each log that is not acknowledged; see
    /// [`Subscriber::commit`]. Asks nobody where it has not moved. Cancel-safe: the position may be
    /// kept or not, and the next commit keeps the one of then.
    ///
    /// # Errors
    /// As [`Subscriber::commit`].
    pub async fn commit(&mut self) -> Result<(), RequestError> {
        self.subscriber.commit().await
    }

    /// As [`Subscriber::is_shared`].
    pub fn is_shared(&self) -> bool {
        self.subscriber.is_shared()
    }

    /// Whether the name was new when this was started.
    pub fn is_new(&self) -> bool {
        self.subscriber.is_new()
    }

    /// What was passed over since this was last asked.
    pub fn take_passed_over(&mut self) -> PassedOver {
        self.subscriber.reader().take_passed_over()
    }

    /// The subscriber, at the same place. A question under way is given up.
    pub fn into_subscriber(self) -> Subscriber {
        self.subscriber
    }
}

impl Stream for SubscriberStream {
    type Item = Result<(Delivered, Acknowledgement), NextError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { subscriber, asked } = self.get_mut();
        if let Err(full) = subscriber.check_room() {
            return Poll::Ready(Some(Err(full)));
        }
        let next = ready!(asked.poll_next(subscriber.reader(), context));
        let next = next.map(|next| next.map(|next| subscriber.hand_out(next)));
        Poll::Ready(next.map_err(NextError::from).transpose())
    }
}

impl Subscriber {
    /// The records that follow as a [`Stream`], to be acknowledged by hand.
    pub fn into_stream(self) -> SubscriberStream {
        SubscriberStream { subscriber: self, asked: Asked::default() }
    }
}

impl PatternReader {
    /// The records that follow, each with its topic, as a [`Stream`]. Back-pressure, errors and
    /// cancel-safety are as with [`ReaderStream`], but that as many pages are held as there are
    /// questions under way.
    ///
    /// ```
    /// use antiphon_node::client::ReaderOptions;
    /// use futures::TryStreamExt;
    ///
    /// # use antiphon_node::{Node, NodeConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    /// # let client = node.client();
    /// # let topic = client.topic("sensors.attic")?;
    /// # topic.create().await?;
    /// # topic.publish("21").await?;
    /// let reader = client.pattern_reader("sensors.*", ReaderOptions::follow()).await?;
    /// let mut records = reader.into_stream();
    /// if let Some((topic, delivered)) = records.try_next().await? {
    ///     println!("{topic}: {} bytes", delivered.record.payload.len());
    /// }
    /// # Ok(node.stop().await?)
    /// # }
    /// ```
    pub fn into_stream(self) -> BoxStream<'static, Result<(TopicName, Delivered), RequestError>> {
        let records = stream::unfold(self, |mut reader| async {
            let next = reader.next().await.transpose()?;
            Some((next, reader))
        });
        records.boxed()
    }
}

#[cfg(test)]
mod tests;
