//! Readers and subscribers over a node that the test answers for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use antiphon::{
    model::{
        Draft, Hash, Incarnation, NodeKey, Previous, ProducerId, Realm, Record, Retention, Run,
        Stamp, TopicId, encode_record,
    },
    wire::{self, ClientRequest, Request, Response, Surveyed, TopicSummary},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};

use super::*;
use crate::client::{
    Acknowledgement, COMMIT_RECORDS_MAX, Client, Link, LinkError, NextError, Subscriber, Topic,
};

type Answer = Result<Page, LinkError>;

/// Gives pages as the test lets it; until then a question waits.
#[derive(Debug, Default)]
struct Node {
    asked: Mutex<usize>,
    answers: Mutex<VecDeque<Answer>>,
    committed: Mutex<Vec<u64>>,
    /// Whether commits are refused.
    is_superseded: Mutex<bool>,
}

impl Node {
    fn answer(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn committed(&self) -> Vec<u64> {
        self.committed.lock().unwrap().clone()
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Link for Node {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let at_once = match request {
            Request::Client(ClientRequest::Survey(_)) => Response::Surveyed(surveyed()),
            Request::Client(ClientRequest::Position(..)) => Response::Position(None),
            Request::Client(ClientRequest::Commit(_, _, kept, _)) => {
                let next = kept.cursor.unwrap().logs.values().map(|position| position.next).sum();
                if *self.is_superseded.lock().unwrap() {
                    Response::Refused(wire::Refusal::Superseded)
                } else {
                    self.committed.lock().unwrap().push(next);
                    Response::Committed(1, None)
                }
            }
            Request::Client(ClientRequest::Read(_)) => {
                *self.asked.lock().unwrap() += 1;
                let answered = poll_fn(|_| {
                    let answer = self.answers.lock().unwrap().pop_front();
                    answer.map_or(Poll::Pending, |answer| Poll::Ready(answer.map(Response::Page)))
                });
                return answered.boxed();
            }
            other => panic!("not asked: {other:?}"),
        };
        std::future::ready(Ok(at_once)).boxed()
    }
}

fn topic_id() -> TopicId {
    TopicId::derive(&Realm::default(), &"t".parse().unwrap())
}

fn surveyed() -> Surveyed {
    let summary = TopicSummary {
        name: "t".parse().unwrap(),
        replicas: 1,
        min_copies: 1,
        owners: Vec::new(),
        records: 0,
        nodes_alive: 1,
        retention: Retention::default(),
        floor_follows: false,
    };
    let start = Cursor::start(topic_id());
    Surveyed {
        summary,
        end: start.clone(),
        low: start,
        replicas: Vec::new(),
        complete: true,
        forks: Vec::new(),
    }
}

/// A page with one batch of the records from `first` on, each of which says its number.
fn page(first: u64, count: u32) -> Page {
    let key = NodeKey::from_secret(&[1; 32]);
    let mut body = Vec::new();
    for number in first..first + u64::from(count) {
        encode_record(&Record::from(number.to_string()), &mut body).unwrap();
    }
    let incarnation = Incarnation(1);
    let previous = Previous { incarnation, next: first, hash: Hash([0; 32]) };
    let draft = Draft {
        topic: topic_id(),
        incarnation,
        previous: (first > 0).then_some(previous),
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first, count }],
    };
    Page { batches: vec![draft.seal(&body.into(), &key)], ..Page::default() }
}

fn topic(node: &Arc<Node>) -> Topic {
    Client::over(Arc::clone(node) as Arc<dyn Link>).topic("t").unwrap()
}

/// What the stream has without waiting: a record's text, or none.
fn poll(stream: &mut Reader) -> Option<Result<String, RequestError>> {
    let next = stream.next().now_or_never()?.expect("it does not end");
    Some(next.map(|delivered| String::from_utf8(delivered.record.payload.to_vec()).unwrap()))
}

/// Asserts that the stream has the record of this number without waiting.
fn gives(stream: &mut Reader, number: u64) {
    assert_eq!(poll(stream), Some(Ok(number.to_string())));
}

#[tokio::test]
async fn nothing_is_asked_unless_a_stream_is_polled_and_then_one_page() {
    let node = Arc::new(Node::default());
    node.answer(Ok(page(0, 2)));
    node.answer(Ok(page(2, 1)));
    let mut stream = topic(&node).subscribe(Start::Beginning).await.unwrap();
    assert_eq!(node.asked(), 0);
    gives(&mut stream, 0);
    gives(&mut stream, 1);
    assert_eq!(node.asked(), 1);
    assert_eq!(stream.cursor().logs.values().next().unwrap().next, 2);
    gives(&mut stream, 2);
    assert_eq!(node.asked(), 2);
}

#[tokio::test]
async fn a_question_stays_under_way_when_nobody_waits_any_more() {
    let node = Arc::new(Node::default());
    let mut stream = topic(&node).subscribe(Start::Beginning).await.unwrap();
    assert_eq!((poll(&mut stream), poll(&mut stream)), (None, None));
    assert_eq!(node.asked(), 1, "the second wait is for the same answer");
    node.answer(Ok(page(0, 1)));
    gives(&mut stream, 0);
    assert_eq!(node.asked(), 1);

    assert_eq!(poll(&mut stream), None);
    node.answer(Ok(page(1, 1)));
    let delivered = stream.try_next().await.unwrap().unwrap();
    assert_eq!(delivered.record.payload, "1");
    assert_eq!(node.asked(), 2, "both ways to ask wait for the same answer");
    let all: Vec<_> = Box::pin(stream).take_until(std::future::ready(())).collect().await;
    assert_eq!(all, [], "a reader is a stream");
}

#[tokio::test]
async fn an_error_is_an_item_and_not_the_end() {
    let node = Arc::new(Node::default());
    let error = LinkError::Unreachable("it is away".into());
    node.answer(Ok(page(0, 1)));
    node.answer(Err(error.clone()));
    // A page that leaves something out without a word is an error, too, and moves nothing.
    node.answer(Ok(page(5, 1)));
    node.answer(Ok(page(1, 1)));
    let mut stream = topic(&node).subscribe(Start::Beginning).await.unwrap();
    gives(&mut stream, 0);
    assert_eq!(poll(&mut stream), Some(Err(error.into())));
    assert_eq!(poll(&mut stream), Some(Err(RequestError::Mismatch)));
    gives(&mut stream, 1);
}

#[tokio::test]
async fn a_stream_that_has_an_end_ends_and_stays_ended() {
    let node = Arc::new(Node::default());
    let mut stream = topic(&node).fetch(Start::Beginning).await.unwrap();
    assert_eq!(stream.next().await, None);
    assert_eq!(stream.next().await, None);
    assert_eq!(node.asked(), 0, "nothing was stored when it was started");
}

async fn subscriber(node: &Arc<Node>) -> Subscriber {
    let options = ReaderOptions::follow();
    topic(node).client().subscriber("t", "s", options).await.unwrap()
}

async fn take(subscriber: &mut Subscriber) -> Acknowledgement {
    subscriber.next().await.unwrap().unwrap().1
}

#[tokio::test]
async fn a_commit_keeps_the_place_before_what_is_not_acknowledged() {
    let node = Arc::new(Node::default());
    node.answer(Ok(page(0, 3)));
    let mut subscriber = subscriber(&node).await;
    let (first, second) = (take(&mut subscriber).await, take(&mut subscriber).await);
    second.acknowledge();
    subscriber.commit().await.unwrap();
    assert_eq!(node.committed(), [0], "the start, and nothing since");
    first.acknowledge();
    subscriber.commit().await.unwrap();
    assert_eq!(node.committed(), [0, 2]);
    let (third, acknowledgement) = subscriber.try_next().await.unwrap().unwrap();
    assert_eq!(third.record.payload, "2");
    acknowledgement.acknowledge();
    subscriber.commit().await.unwrap();
    assert_eq!(node.committed(), [0, 2, 3]);
}

/// Lets all others go as far as they can, while no time passes.
async fn yield_often() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const INTERVAL: Duration = Duration::from_secs(7);

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_committed_in_the_background_once_an_interval() {
    let node = Arc::new(Node::default());
    node.answer(Ok(page(0, 3)));
    let mut subscriber = subscriber(&node).await.commit_every(INTERVAL);
    let (first, second) = (take(&mut subscriber).await, take(&mut subscriber).await);
    yield_often().await;
    first.acknowledge();
    yield_often().await;
    assert_eq!(node.committed(), [0], "more may come");
    tokio::time::sleep(INTERVAL).await;
    yield_often().await;
    assert_eq!(node.committed(), [0, 1]);
    tokio::time::sleep(INTERVAL * 3).await;
    assert_eq!(node.committed(), [0, 1], "nothing has moved");
    second.acknowledge();
    drop(subscriber);
    yield_often().await;
    assert_eq!(node.committed(), [0, 1, 2], "the last one, when the subscriber is dropped");
}

#[tokio::test(start_paused = true)]
async fn the_interval_of_commits_may_be_changed() {
    let node = Arc::new(Node::default());
    node.answer(Ok(page(0, 3)));
    let mut subscriber = subscriber(&node).await.commit_every(INTERVAL * 100);
    take(&mut subscriber).await.acknowledge();
    yield_often().await;
    // It waits for the long interval already.
    let mut subscriber = subscriber.commit_every(INTERVAL);
    yield_often().await;
    tokio::time::sleep(INTERVAL).await;
    yield_often().await;
    assert_eq!(node.committed(), [0, 1]);
    take(&mut subscriber).await.acknowledge();
    yield_often().await;
    tokio::time::sleep(INTERVAL).await;
    yield_often().await;
    assert_eq!(node.committed(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn many_acknowledged_records_are_committed_before_the_interval_is_over() {
    let node = Arc::new(Node::default());
    let count = COMMIT_RECORDS_MAX as u64;
    node.answer(Ok(page(0, u32::try_from(count).unwrap())));
    let mut subscriber = subscriber(&node).await.commit_every(INTERVAL);
    for _ in 0..count {
        take(&mut subscriber).await.acknowledge();
    }
    yield_often().await;
    assert_eq!(node.committed(), [0, count]);
}

#[tokio::test(start_paused = true)]
async fn where_the_subscription_was_reset_the_next_record_is_the_error() {
    let node = Arc::new(Node::default());
    node.answer(Ok(page(0, 3)));
    let mut subscriber = subscriber(&node).await.commit_every(INTERVAL);
    *node.is_superseded.lock().unwrap() = true;
    take(&mut subscriber).await.acknowledge();
    tokio::time::sleep(INTERVAL * 2).await;
    let error = subscriber.try_next().await.unwrap_err();
    assert_eq!(error, NextError::Request(Refusal::Superseded.into()));
    take(&mut subscriber).await.acknowledge();
}

#[tokio::test]
async fn a_subscriber_hands_out_65_536_records_and_more_when_one_is_acknowledged() {
    const COUNT: u64 = 64 * 1024;
    let node = Arc::new(Node::default());
    for number in 0..4 {
        node.answer(Ok(page(number * COUNT / 4, 16 * 1024)));
    }
    node.answer(Ok(page(COUNT, 1)));
    let mut subscriber = subscriber(&node).await;
    let mut out = Vec::new();
    for _ in 0..COUNT {
        out.push(take(&mut subscriber).await);
    }
    let full = || NextError::Unacknowledged(64 * 1024);
    assert_eq!(subscriber.try_next().await.unwrap_err(), full());
    assert_eq!(subscriber.try_next().await.unwrap_err(), full());
    out.remove(0).acknowledge();
    assert!(subscriber.try_next().await.is_ok());
}
