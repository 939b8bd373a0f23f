//! A reader of many topics, and a node that the test answers for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use antiphon::{
    model::{
        Batch, Draft, Hash, Incarnation, NodeKey, Previous, ProducerId, Realm, Record, Run, Stamp,
        TopicId, WallClock, encode_record,
    },
    wire::{self, ClientRequest, Names, Page, ReadMany, Request, Response, TopicPage},
};
use futures::{FutureExt, future::BoxFuture};

use super::*;
use crate::client::{Link, LinkError};

/// What a node holds: of each topic, batches of one record each.
#[derive(Debug, Default)]
struct Node {
    state: Mutex<State>,
    /// Shared with each question that is under way.
    under_way: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Vec<Batch>>,
    asked: usize,
    /// How often a topic was asked for from its beginning.
    from_beginning: usize,
    unreachable: bool,
    /// Whether it gives the second batch of a topic before the first one.
    skips: bool,
    /// A topic that was created again, so that a cursor from before is not of it.
    anew: Option<String>,
}

/// A record of a topic in this one of its lives.
fn batch(name: &str, number: u64, life: u8) -> Batch {
    let key = NodeKey::from_secret(&[1; 32]);
    let mut body = Vec::new();
    let record = Record::new(WallClock(1), format!("{name} {number}"));
    encode_record(&record, &mut body).unwrap();
    let incarnation = Incarnation(life.into());
    let previous = Previous { incarnation, next: number, hash: Hash([0; 32]) };
    let draft = Draft {
        topic: TopicId::derive(&Realm::default(), &name.parse().unwrap()),
        incarnation,
        previous: (number > 0).then_some(previous),
        stamp: Stamp::default(),
        // One producer for all topics: its numbers are its own in each.
        runs: vec![Run { producer: ProducerId([life; 16]), first: number, count: 1 }],
    };
    draft.seal(&body.into(), &key)
}

impl State {
    fn read(&self, read: &ReadMany) -> Option<Response> {
        let mut pages = Vec::new();
        for (which, of) in (0..).zip(&read.topics) {
            let Some(batches) = self.topics.get(of.topic.as_str()) else {
                let name = of.topic.to_string();
                let unknown = wire::Refusal::UnknownTopic { name, nearest: None };
                return Some(Response::Refused(unknown));
            };
            let is_old = of.after.as_ref().is_some_and(|after| {
                after.logs.keys().any(|log| log.incarnation == Incarnation(1))
            });
            if is_old && self.anew.as_deref() == Some(of.topic.as_str()) {
                let why = "the cursor belongs to another topic".to_owned();
                return Some(Response::Refused(wire::Refusal::Invalid(why)));
            }
            let is_new = |batch: &&Batch| {
                let next = of.after.as_ref().map_or(0, |after| after.next(&batch.log()));
                batch.header().first >= next + u64::from(self.skips)
            };
            if let Some(batch) = batches.iter().find(is_new) {
                let page = Page { batches: vec![batch.clone()], ..Page::default() };
                pages.push(TopicPage { which, page });
            }
        }
        (!pages.is_empty()).then_some(Response::Pages(pages))
    }
}

impl Link for Node {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        if let Request::Client(ClientRequest::ReadMany(read)) = &request {
            let from_beginning = read.topics.iter().filter(|of| of.after.is_none());
            state.from_beginning += from_beginning.count();
        }
        if state.unreachable {
            let error = LinkError::Unreachable("it is away".into());
            return std::future::ready(Err(error)).boxed();
        }
        drop(state);
        // Looked at whenever it is polled, until there is something or a short wait is over.
        let mut polls = 0;
        let under_way = Arc::clone(&self.under_way);
        poll_fn(move |context| {
            let state = self.state.lock().unwrap();
            polls += 1;
            debug_assert!(Arc::strong_count(&under_way) > 1, "this one is under way");
            let answer = match &request {
                Request::Client(ClientRequest::ReadMany(read))
                    if read.wait_ms < 1_000 && polls > 3 =>
                {
                    Some(Response::Pages(Vec::new()))
                }
                Request::Client(ClientRequest::ReadMany(read)) => state.read(read),
                Request::Client(ClientRequest::Names(wanted)) => {
                    let names: Vec<TopicName> =
                        state.topics.keys().map(|name| name.parse().unwrap()).collect();
                    let digest = blake3::hash(format!("{names:?}").as_bytes()).into();
                    let news = digest != wanted.known;
                    news.then_some(Response::Names(Names { digest, page: names, more: false }))
                }
                other => panic!("not asked: {other:?}"),
            };
            context.waker().wake_by_ref();
            answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
        })
        .boxed()
    }
}

impl Node {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// Adds records to a topic, which is created if it is not there.
    fn publish(&self, name: &str, numbers: std::ops::Range<u64>) {
        self.change(|state| {
            let batches = state.topics.entry(name.to_owned()).or_default();
            batches.extend(numbers.map(|number| batch(name, number, 1)));
        });
    }
}

async fn start(node: &Arc<Node>) -> PatternReader {
    let client = Client::over(Arc::<Node>::clone(node));
    client.pattern_reader(">", ReaderOptions::follow()).await.unwrap()
}

/// All that can be read now.
fn read(reader: &mut PatternReader) -> Vec<String> {
    let mut read = Vec::new();
    // A question is looked at again whenever it is polled.
    for _ in 0..10 {
        while let Some(next) = reader.try_next().now_or_never() {
            let (name, delivered) = next.unwrap().unwrap();
            let text = String::from_utf8(delivered.record.payload.to_vec()).unwrap();
            assert!(text.starts_with(name.as_str()), "{text} is of {name}");
            read.push(text);
        }
    }
    read.sort();
    read
}

#[tokio::test]
async fn a_topic_that_goes_away_is_left_out_and_followed_when_it_is_back() {
    let node = Arc::new(Node::default());
    node.publish("a", 0..2);
    node.publish("b", 0..1);
    let mut reader = start(&node).await;
    assert_eq!(read(&mut reader), ["a 0", "a 1", "b 0"]);
    node.change(|state| drop(state.topics.remove("a")));
    node.publish("b", 1..2);
    assert_eq!(read(&mut reader), ["b 1"]);
    assert_eq!(reader.topics(), 1);
    node.publish("c", 0..1);
    assert_eq!(read(&mut reader), ["c 0"]);
    // A node that did not know it for a while: nothing comes twice.
    node.publish("a", 0..3);
    let from_beginning = node.state.lock().unwrap().from_beginning;
    assert_eq!(read(&mut reader), ["a 2"]);
    assert_eq!(reader.topics(), 3);
    assert_eq!(node.state.lock().unwrap().from_beginning, from_beginning, "from where it was");
}

#[tokio::test]
async fn a_topic_that_is_another_one_when_it_is_back_is_read_from_its_beginning() {
    let node = Arc::new(Node::default());
    node.publish("a", 0..2);
    node.publish("b", 0..1);
    let mut reader = start(&node).await;
    assert_eq!(read(&mut reader).len(), 3);
    node.change(|state| drop(state.topics.remove("a")));
    assert_eq!(read(&mut reader), [""; 0]);
    assert_eq!(reader.topics(), 1);
    node.change(|state| {
        state.anew = Some("a".to_owned());
        state.topics.insert("a".to_owned(), vec![batch("a", 0, 2), batch("a", 1, 2)]);
    });
    assert_eq!(read(&mut reader), ["a 0", "a 1"]);
}

#[tokio::test]
async fn a_failure_is_told_and_then_it_goes_on_where_it_stood() {
    let node = Arc::new(Node::default());
    let names: Vec<_> = (0..40).map(|number| format!("t.{number}")).collect();
    for name in &names {
        node.publish(name, 0..1);
    }
    let mut reader = start(&node).await;
    assert_eq!(read(&mut reader).len(), 40);
    let under_way = || Arc::strong_count(&node.under_way) - 1;
    assert_eq!(under_way(), 3, "names, and two questions for topics");
    node.change(|state| state.unreachable = true);
    node.publish("t.0", 1..2);
    node.publish("new", 0..1);
    // What was asked before is answered; what is asked now is not.
    let mut came = 0;
    let error = loop {
        match reader.try_next().await {
            Ok(_) => came += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RequestError::Link(_)), "{error}");
    assert_eq!(under_way(), 0, "all is asked anew");
    node.change(|state| state.unreachable = false);
    assert_eq!(came + read(&mut reader).len(), 2);
    assert_eq!(under_way(), 3);
    node.publish("t.1", 1..2);
    assert_eq!(read(&mut reader), ["t.1 1"]);
}

#[tokio::test]
async fn nothing_is_skipped_whatever_a_node_says() {
    let node = Arc::new(Node::default());
    node.publish("a", 0..2);
    node.change(|state| state.skips = true);
    let mut reader = start(&node).await;
    assert_eq!(reader.try_next().await, Err(RequestError::Mismatch));
    node.change(|state| state.skips = false);
    assert_eq!(read(&mut reader), ["a 0", "a 1"]);
    // Batches of another topic.
    node.change(|state| state.topics.get_mut("a").unwrap().push(batch("b", 2, 1)));
    assert_eq!(reader.try_next().await, Err(RequestError::Mismatch));
}

#[tokio::test]
async fn nothing_is_asked_for_while_there_is_something() {
    let node = Arc::new(Node::default());
    for number in 0..40 {
        node.publish(&format!("t.{number:02}"), 0..2);
    }
    let mut reader = start(&node).await;
    let asked = || node.state.lock().unwrap().asked;
    let before = asked();
    assert!(reader.try_next().await.is_ok());
    let once = asked();
    assert!(once - before <= 3, "names, and two questions for topics");
    for _ in 1..8 {
        assert!(reader.try_next().await.is_ok());
    }
    assert_eq!(asked(), once, "there was a page of each topic of a question");
    assert_eq!(read(&mut reader).len(), 80 - 8);
}
