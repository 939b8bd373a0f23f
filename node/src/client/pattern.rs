//! Reading all topics whose names match a pattern, those created later included.

mod following;
mod questions;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use antiphon::{
    limits,
    model::{Cursor, TopicName, TopicPattern},
};
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};

use self::following::Following;
use super::{
    Client, Refusal, RequestError,
    reader::{Delivered, End, PassedOver, Reader, ReaderOptions, Start},
};

/// Most topics that one reader reads: as many as its share of one connection's questions asks
/// for. Each has its name and its cursor in memory.
const TOPICS_MAX: usize = questions::QUESTIONS_MAX * limits::READ_MANY_TOPICS_MAX;

/// Topics whose start is looked for at the same time. Where the last records are wanted, each of
/// them has that many in memory.
const STARTS_AT_ONCE: usize = 8;

/// Reads all topics whose names match a pattern, and gives each record with its topic.
/// [`Client::pattern_reader`] makes one.
///
/// **Order.** The records of one writer in one topic come in the order in which it wrote them. No
/// order is promised among topics. A reader that ends reads one topic after the other.
///
/// **Memory** is bounded: at most 64 answers of some 512 KiB, and the name and the cursor of each
/// topic. While the reader is not polled, it asks for nothing.
///
/// As a [`Stream`] it gives the same as [`next`](Self::next).
///
/// ```
/// use antiphon_node::client::ReaderOptions;
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
/// let mut records = client.pattern_reader("sensors.*", ReaderOptions::follow()).await?;
/// if let Some((topic, delivered)) = records.try_next().await? {
///     println!("{topic}: {} bytes", delivered.record.payload.len());
/// }
/// # Ok(node.stop().await?)
/// # }
/// ```
#[derive(Debug)]
pub struct PatternReader {
    source: Source,
    passed_over: PassedOver,
}

#[derive(Debug)]
enum Source {
    /// What is stored, one topic after the other.
    Stored(Box<Stored>),
    /// All that comes.
    Following(Box<Following>),
}

impl PatternReader {
    pub(super) async fn start(
        client: Client,
        pattern: TopicPattern,
        options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        if matches!(options.start, Start::At(_)) || matches!(options.end, End::At(_)) {
            let why = "a cursor is a place in one topic, and a pattern stands for several";
            return Err(Refusal::Invalid(why.to_owned()).into());
        }
        let (digest, names) = client.names(&pattern, questions::NOTHING_KNOWN, false).await?;
        let source = if options.end == End::Never {
            let starts = starts(&client, names, &options).await?;
            Source::Following(Box::new(Following::new(client, pattern, options, digest, starts)))
        } else {
            let (names, reader) = (names.into(), Reading::None);
            Source::Stored(Box::new(Stored { client, options, names, reader }))
        };
        Ok(Self { source, passed_over: PassedOver::default() })
    }

    /// How many topics the reader reads now. For a reader that ends, these are the ones that it has
    /// not read to their ends.
    pub fn topics(&self) -> usize {
        match &self.source {
            Source::Stored(stored) => stored.names.len(),
            Source::Following(following) => following.topics(),
        }
    }

    /// The records that the reader skipped since this was called last. They were trimmed or lost
    /// before they were read.
    pub fn take_passed_over(&mut self) -> PassedOver {
        std::mem::take(&mut self.passed_over)
    }

    /// The next record and its topic, or why there is none now. None at the end, which a reader
    /// with [`End::Never`] does not have. Cancel-safe: a record is handed out when this returns,
    /// and not before.
    pub async fn next(&mut self) -> Option<Result<(TopicName, Delivered), RequestError>> {
        self.try_next().await.transpose()
    }

    /// The next record and its topic; none at the end. The same as [`next`](Self::next), for use
    /// with `?`. Cancel-safe.
    ///
    /// # Errors
    /// When no node that holds the records can be reached, or too many topics match. The reader
    /// stays where it is, and can be asked again.
    pub async fn try_next(&mut self) -> Result<Option<(TopicName, Delivered)>, RequestError> {
        poll_fn(|context| self.poll_record(context)).await
    }

    fn poll_record(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<(TopicName, Delivered)>, RequestError>> {
        match &mut self.source {
            Source::Stored(stored) => stored.poll_record(context, &mut self.passed_over),
            Source::Following(following) => {
                following.poll_record(context, &mut self.passed_over).map_ok(Some)
            }
        }
    }
}

impl Stream for PatternReader {
    type Item = Result<(TopicName, Delivered), RequestError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_record(context).map(Result::transpose)
    }
}

/// Where each of the topics starts that exist already; at its beginning where nothing is said.
async fn starts(
    client: &Client,
    names: Vec<TopicName>,
    options: &ReaderOptions,
) -> Result<Vec<(TopicName, Option<Cursor>)>, RequestError> {
    if let Start::Beginning | Start::Since(_) | Start::At(_) = options.start {
        return Ok(names.into_iter().map(|name| (name, None)).collect());
    }
    let found = stream::iter(names).map(|name| async move {
        let start = match options.start {
            Start::Last(_) => {
                let reader = client.reader(name.clone(), options.clone()).await;
                reader.map(|reader| reader.cursor().clone())
            }
            _ => client.survey(&name).await.map(|surveyed| surveyed.end),
        };
        (name, start)
    });
    let mut found = found.buffer_unordered(STARTS_AT_ONCE);
    let mut starts = Vec::new();
    while let Some((name, start)) = found.next().await {
        match start {
            Ok(start) => starts.push((name, Some(start))),
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(starts)
}

/// Whether a topic is not there any more.
fn is_unknown(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused(Refusal::UnknownTopic { .. }))
}

/// Reads what is stored, one topic after the other.
#[derive(Debug)]
struct Stored {
    client: Client,
    options: ReaderOptions,
    /// The topics that are not read to their ends, the one that is being read first.
    names: VecDeque<TopicName>,
    reader: Reading,
}

/// The reader of the topic that comes first.
enum Reading {
    None,
    Starting(BoxFuture<'static, Result<Reader, RequestError>>),
    Started(Box<Reader>),
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Starting(_) => "Starting",
            Self::Started(_) => "Started",
        })
    }
}

impl Stored {
    fn poll_record(
        &mut self,
        context: &mut Context<'_>,
        passed_over: &mut PassedOver,
    ) -> Poll<Result<Option<(TopicName, Delivered)>, RequestError>> {
        while let Some(name) = self.names.front() {
            let next = match &mut self.reader {
                Reading::None => {
                    let (client, options) = (self.client.clone(), self.options.clone());
                    self.reader =
                        Reading::Starting(Reader::start(client, name.clone(), options).boxed());
                    continue;
                }
                Reading::Starting(starting) => match ready!(starting.poll_unpin(context)) {
                    Ok(reader) => {
                        self.reader = Reading::Started(Box::new(reader));
                        continue;
                    }
                    Err(error) => {
                        self.reader = Reading::None;
                        Err(error)
                    }
                },
                Reading::Started(reader) => {
                    let next = ready!(reader.poll_next_unpin(context));
                    passed_over.join(reader.take_passed_over());
                    next.transpose()
                }
            };
            match next {
                Ok(Some(delivered)) => return Poll::Ready(Ok(Some((name.clone(), delivered)))),
                Err(error) if !is_unknown(&error) => return Poll::Ready(Err(error)),
                Ok(None) | Err(_) => {
                    self.names.pop_front();
                    self.reader = Reading::None;
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}
