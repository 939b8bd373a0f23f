//! What a reader of many topics asks its node, and how the topics are divided among questions.
//!
//! Each question is for many topics, and a topic is in one question at a time. A topic that is new
//! is asked for at once and for a short time, so that it soon joins a question that has room.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, ready},
    time::Duration,
};

use antiphon::{
    limits::READ_MANY_TOPICS_MAX,
    model::{Cursor, TopicName, TopicPattern},
    wire::{ClientRequest, Names, NamesWanted, ReadMany, Request, Response, TopicPage, TopicRead},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::TOPICS_MAX;
use crate::client::{Client, Refusal, RequestError, reader::LIVE_WAIT};

/// Most questions for records under way: half of what one connection has under way, so that other
/// requests over it do not wait for records.
pub(super) const QUESTIONS_MAX: usize = 64;

/// Topics of one question, where there are few: a question is sent again with each answer.
const QUESTION_TOPICS_MIN: usize = 32;

/// About how many bytes of batches one answer has: all under way have 32 MiB at most.
const ANSWER_BYTES: u32 = 512 * 1024;

/// How long a question for topics is held open that could join another question. That one waits
/// as long at most for them.
const SHORT_WAIT: Duration = Duration::from_millis(250);

/// The digest of names for those who know none.
pub(super) const NOTHING_KNOWN: [u8; 32] = [0; 32];

impl Client {
    /// The names of topics that match, and their digest. Where they are to be others than those
    /// that are `known`, their change is waited for; none if they did not change.
    pub(super) async fn names(
        &self,
        pattern: &TopicPattern,
        known: [u8; 32],
        wait: bool,
    ) -> Result<([u8; 32], Vec<TopicName>), RequestError> {
        let wait = if wait { LIVE_WAIT } else { Duration::ZERO };
        let mut names: Vec<TopicName> = Vec::new();
        let mut first = None;
        loop {
            let request = Request::Client(ClientRequest::Names(NamesWanted {
                pattern: pattern.clone(),
                known,
                after: names.last().cloned(),
                wait_ms: milliseconds(wait),
            }));
            let Response::Names(Names { digest, page, more }) =
                self.ask_within(request, self.timeout + wait).await?
            else {
                return Err(RequestError::Mismatch);
            };
            // What changes between two pages is told by the next question.
            let digest = *first.get_or_insert(digest);
            let more = more && !page.is_empty();
            names.extend(page);
            if names.len() > TOPICS_MAX {
                return Err(too_many());
            }
            if !more {
                return Ok((digest, names));
            }
        }
    }

    async fn read_many(
        &self,
        topics: Vec<TopicRead>,
        wait: Duration,
    ) -> Result<Vec<TopicPage>, RequestError> {
        let (bytes_max, wait_ms) = (ANSWER_BYTES, milliseconds(wait));
        let request =
            Request::Client(ClientRequest::ReadMany(ReadMany { topics, bytes_max, wait_ms }));
        match self.ask_within(request, self.timeout + wait).await? {
            Response::Pages(pages) => Ok(pages),
            _ => Err(RequestError::Mismatch),
        }
    }
}

pub(super) fn too_many() -> RequestError {
    Refusal::TooManyTopics(TOPICS_MAX).into()
}

fn milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

/// What was answered.
pub(super) enum Answer {
    /// Names that match, and their digest.
    Names(Result<([u8; 32], Vec<TopicName>), RequestError>),
    /// Batches of these topics.
    Pages(Vec<TopicName>, Result<Vec<TopicPage>, RequestError>),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Questions {
    under_way: FuturesUnordered<BoxFuture<'static, (u64, Answer)>>,
    /// How many topics each question for records has.
    sizes: BTreeMap<u64, usize>,
    /// The question whose topics are to join another one.
    short: Option<u64>,
    /// Whether names are asked for.
    names: bool,
    next: u64,
    /// The topics that are in no question, those first that are asked for first.
    idle: VecDeque<TopicName>,
}

impl Questions {
    /// Takes in a topic that is in no question.
    pub(super) fn push(&mut self, name: TopicName) {
        self.idle.push_back(name);
    }

    /// Gives up all questions.
    pub(super) fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    /// The next answer.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some((number, answer)) = ready!(self.under_way.poll_next_unpin(context)) else {
            return Poll::Ready(None);
        };
        match &answer {
            Answer::Names(_) => self.names = false,
            Answer::Pages(..) => {
                self.sizes.remove(&number);
                self.short.take_if(|short| *short == number);
            }
        }
        Poll::Ready(Some(answer))
    }

    /// Whether names are to be asked for.
    pub(super) fn lacks_names(&self) -> bool {
        !self.names
    }

    /// Asks to be told of names when they are others than those that are known.
    pub(super) fn ask_names(&mut self, client: &Client, pattern: &TopicPattern, known: [u8; 32]) {
        self.names = true;
        let (client, pattern) = (client.clone(), pattern.clone());
        let names = async move { (0, Answer::Names(client.names(&pattern, known, true).await)) };
        self.under_way.push(names.boxed());
    }

    /// Asks for all topics that are in no question, but for those that are about to join others.
    pub(super) fn ask_records(
        &mut self,
        client: &Client,
        topics: usize,
        cursor: impl Fn(&TopicName) -> Option<Cursor>,
    ) {
        let room = topics.div_ceil(QUESTIONS_MAX / 2);
        let room = room.clamp(QUESTION_TOPICS_MIN, READ_MANY_TOPICS_MAX);
        while !self.idle.is_empty() && self.sizes.len() < QUESTIONS_MAX {
            let count = self.idle.len().min(room);
            let is_short = self.sizes.values().any(|size| size + count <= room);
            if is_short && self.short.is_some() {
                // It is back in a moment, and then they are asked for together.
                return;
            }
            self.next += 1;
            let (number, client) = (self.next, client.clone());
            let names: Vec<_> = self.idle.drain(..count).collect();
            let read = |name: &TopicName| TopicRead { topic: name.clone(), after: cursor(name) };
            let topics = names.iter().map(read).collect();
            self.short = if is_short { Some(number) } else { self.short };
            self.sizes.insert(number, count);
            let wait = if is_short { SHORT_WAIT } else { LIVE_WAIT };
            let pages = async move {
                let pages = client.read_many(topics, wait).await;
                (number, Answer::Pages(names, pages))
            };
            self.under_way.push(pages.boxed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{Arc, Mutex},
    };

    use tokio::sync::oneshot;

    use super::*;
    use crate::client::{Link, LinkError};

    /// A node that is answered for by the test: what it was asked, and where the answers go.
    #[derive(Debug, Default)]
    struct Node(Mutex<Vec<(ReadMany, oneshot::Sender<Response>)>>);

    impl Link for Node {
        fn ask(
            &self,
            request: Request,
            timeout: Duration,
        ) -> BoxFuture<'_, Result<Response, LinkError>> {
            let Request::Client(ClientRequest::ReadMany(read)) = request else {
                panic!("not asked: {request:?}")
            };
            let (sender, receiver) = oneshot::channel();
            self.0.lock().unwrap().push((read, sender));
            async move { receiver.await.map_err(|_dropped| LinkError::TimedOut(timeout)) }.boxed()
        }
    }

    struct Bed {
        node: Arc<Node>,
        client: Client,
        questions: Questions,
        topics: usize,
    }

    impl Bed {
        fn new() -> Self {
            let node = Arc::new(Node::default());
            let client = Client::over(Arc::<Node>::clone(&node));
            Self { node, client, questions: Questions::default(), topics: 0 }
        }

        fn add(&mut self, count: usize) {
            for number in self.topics..self.topics + count {
                self.questions.push(format!("t.{number}").parse().unwrap());
            }
            self.topics += count;
        }

        /// Asks, and takes an answer if there is one: of how many topics it is.
        fn turn(&mut self) -> Option<usize> {
            self.questions.ask_records(&self.client, self.topics, |_| None);
            let Answer::Pages(names, pages) =
                poll_fn(|context| self.questions.poll_answer(context)).now_or_never()??
            else {
                panic!("names were not asked for")
            };
            assert_eq!(pages, Ok(Vec::new()));
            let count = names.len();
            for name in names {
                self.questions.push(name);
            }
            Some(count)
        }

        /// How many topics each open question has, and how long it is held open.
        fn open(&self) -> Vec<(usize, u32)> {
            let open = self.node.0.lock().unwrap();
            open.iter().map(|(read, _)| (read.topics.len(), read.wait_ms)).collect()
        }

        fn answer(&mut self, index: usize) {
            let (_, answer) = self.node.0.lock().unwrap().remove(index);
            answer.send(Response::Pages(Vec::new())).unwrap();
        }
    }

    const LONG: u32 = 10_000;
    const SHORT: u32 = 250;

    #[tokio::test]
    async fn new_topics_are_asked_for_at_once_and_join_the_others() {
        let mut bed = Bed::new();
        bed.add(10);
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(10, LONG)]);
        bed.add(2);
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(10, LONG), (2, SHORT)]);
        // One more waits for the short question rather than to have its own.
        bed.add(1);
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(10, LONG), (2, SHORT)]);
        // The long one is back first: it waits for the short one.
        bed.answer(0);
        assert_eq!(bed.turn(), Some(10));
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(2, SHORT)]);
        bed.answer(0);
        assert_eq!(bed.turn(), Some(2));
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(13, LONG)]);
    }

    #[tokio::test]
    async fn questions_and_their_topics_are_bounded() {
        let mut bed = Bed::new();
        bed.add(100);
        assert_eq!(bed.turn(), None);
        assert_eq!(bed.open(), [(32, LONG), (32, LONG), (32, LONG), (4, LONG)]);
        bed.add(TOPICS_MAX - 100);
        assert_eq!(bed.turn(), None);
        let open = bed.open();
        assert_eq!(open.len(), QUESTIONS_MAX);
        assert!(open.iter().all(|(topics, _)| *topics <= READ_MANY_TOPICS_MAX), "{open:?}");
        bed.questions.clear();
        assert!(bed.questions.sizes.is_empty() && bed.questions.lacks_names());
    }
}
