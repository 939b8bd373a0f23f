//! Publishing over a link that answers as it is told.

mod pending;
mod retried;

use std::sync::{Arc, Mutex};

use antiphon::{
    model::{GivenIdError, RecordError, WallClock},
    wire::{self, ClientRequest, Published, Request, Response},
};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::{worker::FILL_TIME, *};
use crate::{
    client::{Link, LinkError, Refusal},
    platform::clock::Clock,
};

/// Answers as it was told, and notes how long it was given each time.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<Vec<Result<Response, LinkError>>>,
    given: Mutex<Vec<Duration>>,
}

impl Link for Scripted {
    fn ask(&self, _: Request, timeout: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        self.given.lock().unwrap().push(timeout);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        async move { answer }.boxed()
    }
}

const EACH: Duration = Duration::from_millis(100);

/// Publishes one record; what became of it, and the times that the link was given.
async fn publish(
    answers: Vec<Result<Response, LinkError>>,
) -> (Result<Receipt, PublishError>, Vec<Duration>) {
    let link = Arc::new(Scripted { answers: Mutex::new(answers), given: Mutex::default() });
    let client = Client::over(Arc::clone(&link) as Arc<dyn Link>).with_timeout(EACH);
    let options = PublishOptions { timeout: EACH, ..PublishOptions::default() };
    let mut publisher = client.publisher("t".parse().unwrap(), options);
    let record = Record::new(WallClock(1), b"m".to_vec());
    let outcome = publisher.publish(&record).await.unwrap().await.map_err(without_id);
    let given = link.given.lock().unwrap().clone();
    (outcome, given)
}

/// An error that names no record, to be compared: publishers draw their ids at random.
fn without_id(error: PublishError) -> PublishError {
    error.of_record(NO_RECORD)
}

fn unknown(cause: LinkError) -> PublishError {
    PublishError::Unknown { id: NO_RECORD, cause }
}

const NO_RECORD: RecordId = RecordId { producer: ProducerId([0; 16]), number: 0 };

fn published() -> Published {
    Published {
        acknowledged: true,
        copies: 2,
        stand_ins: 0,
        replicas: 3,
        wanted: 2,
        ..Published::default()
    }
}

#[tokio::test]
async fn all_attempts_together_have_the_time_of_one() {
    let unreachable = LinkError::Unreachable("nobody".into());
    let (outcome, given) = publish(vec![Err(unreachable.clone())]).await;
    assert_eq!(outcome, Err(unknown(unreachable)));
    assert!(given.len() > 1, "it is tried again: {given:?}");
    assert!(given[0] <= 2 * EACH, "{given:?}");
    assert!(given.is_sorted_by(|one, next| one > next), "{given:?}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_a_busy_node_asked_again() {
    let refused = |refusal| Ok(Response::Refused(refusal));
    let (outcome, given) = publish(vec![refused(wire::Refusal::Full(None))]).await;
    assert_eq!(outcome, Err(PublishError::Refused(Refusal::Full(None))));
    assert_eq!(given.len(), 1);
    let then = Ok(Response::Published(published()));
    let (outcome, given) = publish(vec![refused(wire::Refusal::Busy), then]).await;
    assert_eq!(outcome.map(|receipt| (receipt.copies, receipt.wanted)), Ok((2, 2)));
    assert_eq!(given.len(), 2);
    let (outcome, _) = publish(vec![refused(wire::Refusal::Busy)]).await;
    assert_eq!(outcome, Err(PublishError::Refused(Refusal::Busy)));
}

/// Answers each publish when it is let, and notes the records of each request.
#[derive(Debug)]
struct Noting {
    requests: Mutex<Vec<(u64, usize)>>,
    answers: Semaphore,
}

impl Link for Noting {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let Request::Client(ClientRequest::Publish(publish)) = request else {
            panic!("not a publish: {request:?}")
        };
        let count = antiphon::model::validate_records(&publish.records).unwrap();
        self.requests.lock().unwrap().push((publish.first, count as usize));
        async {
            // As over a network: others go on meanwhile.
            yield_often().await;
            self.answers.acquire().await.unwrap().forget();
            Ok(Response::Published(published()))
        }
        .boxed()
    }
}

fn noting(in_flight: usize, answers: usize) -> (Arc<Noting>, Publisher) {
    let link = Arc::new(Noting { requests: Mutex::default(), answers: Semaphore::new(answers) });
    let client = Client::over(Arc::clone(&link) as Arc<dyn Link>);
    let options = PublishOptions { in_flight, ..PublishOptions::default() };
    (link, client.publisher("t".parse().unwrap(), options))
}

impl Noting {
    fn requests(&self) -> Vec<(u64, usize)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn publish_many(publisher: &mut Publisher, count: usize) -> Vec<Delivery> {
    let record = Record::new(WallClock(1), b"m".to_vec());
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(publisher.publish(&record).await.unwrap());
    }
    deliveries
}

#[tokio::test]
async fn what_is_published_before_the_caller_waits_goes_out_in_one_request() {
    let (link, mut publisher) = noting(100, 100);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        for delivery in publish_many(&mut publisher, 10).await {
            numbers.push(delivery.await.unwrap().id.number);
        }
        // It is nobody's turn between two records.
        tokio::task::yield_now().await;
    }
    assert_eq!(link.requests(), [(0, 10), (10, 10), (20, 10)]);
    assert!(numbers.into_iter().eq(0..30));
}

/// A publisher whose last request had ten records, so that the next one is let fill.
async fn after_ten(in_flight: usize) -> (Arc<Noting>, Publisher) {
    let (link, mut publisher) = noting(in_flight, 100);
    for delivery in publish_many(&mut publisher, 10).await {
        delivery.await.unwrap();
    }
    (link, publisher)
}

/// Lets all others go as far as they can, while no time passes.
async fn yield_often() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_fills_until_the_caller_waits() {
    let (link, mut publisher) = after_ten(100).await;
    let mut deliveries = publish_many(&mut publisher, 5).await;
    yield_often().await;
    deliveries.extend(publish_many(&mut publisher, 5).await);
    let clock = Clock::start();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(link.requests(), [(0, 10), (10, 10)]);
    assert_eq!(clock.now().elapsed, Duration::ZERO, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_request_fills_until_there_is_no_more_room() {
    let (link, mut publisher) = after_ten(10).await;
    let deliveries = publish_many(&mut publisher, 10).await;
    yield_often().await;
    assert_eq!(link.requests().len(), 1, "more may come");
    let clock = Clock::start();
    let one_more = publish_many(&mut publisher, 1).await;
    assert_eq!(link.requests(), [(0, 10), (10, 10)]);
    assert_eq!(clock.now().elapsed, Duration::ZERO, "at once");
    drop((deliveries, one_more));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_large_enough_waits_for_nobody() {
    let (link, mut publisher) = after_ten(100).await;
    let record = Record::new(WallClock(1), vec![0; limits::BATCH_BODY_BYTES_TARGET / 2]);
    for _ in 0..2 {
        drop(publisher.publish(&record).await.unwrap());
    }
    let clock = Clock::start();
    while link.requests().len() < 3 {
        yield_often().await;
    }
    assert_eq!(link.requests(), [(0, 10), (10, 1), (11, 1)]);
    assert_eq!(clock.now().elapsed, Duration::ZERO, "at once");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_goes_out_all_the_same() {
    let (link, mut publisher) = after_ten(100).await;
    drop(publish_many(&mut publisher, 10).await);
    yield_often().await;
    assert_eq!(link.requests().len(), 1, "more may come");
    tokio::time::sleep(FILL_TIME * 2).await;
    assert_eq!(link.requests(), [(0, 10), (10, 10)]);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_each_for_their_own_do_not_fall_into_two_requests_that_take_turns() {
    let (link, publisher) = noting(100, 0);
    let publisher = Arc::new(tokio::sync::Mutex::new(publisher));
    let publish_for_ever = || {
        let publisher = Arc::clone(&publisher);
        tasks::spawn_detached("publishes one at a time", async move {
            loop {
                let one = publish_many(&mut *publisher.lock().await, 1).await.remove(0);
                one.await.unwrap();
            }
        });
    };
    // One is under way by itself when the others come.
    publish_for_ever();
    yield_often().await;
    assert_eq!(link.requests(), [(0, 1)]);
    (1..20).for_each(|_| publish_for_ever());
    yield_often().await;
    link.answers.add_permits(1_000);
    while link.requests().len() < 20 {
        tokio::task::yield_now().await;
    }
    let counts: Vec<_> = link.requests().iter().map(|(_, count)| *count).collect();
    assert!(counts[3..].iter().all(|count| *count >= 19), "{counts:?}");
}

#[tokio::test]
async fn beyond_the_most_in_flight_a_publish_waits_and_what_there_is_goes_out() {
    let (link, mut publisher) = noting(10, 0);
    let deliveries = publish_many(&mut publisher, 10).await;
    let mut one_more = Box::pin(publish_many(&mut publisher, 1));
    tokio::select! {
        _ = &mut one_more => panic!("there is no room for it"),
        () = async { while link.requests().is_empty() { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(link.requests(), [(0, 10)]);
    link.answers.add_permits(1);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(one_more.await[0].id().number, 10);
}

#[tokio::test]
async fn a_publish_given_up_while_it_waits_for_room_takes_none() {
    let (link, mut publisher) = noting(1, 0);
    let first = publish_many(&mut publisher, 1).await.remove(0);
    assert!(publish_many(&mut publisher, 1).now_or_never().is_none(), "there is no room");
    link.answers.add_permits(2);
    assert_eq!(first.await.unwrap().id.number, 0);
    let second = publish_many(&mut publisher, 1).await.remove(0);
    assert_eq!(second.await.unwrap().id.number, 1);
}

#[tokio::test]
async fn a_request_is_closed_when_it_is_large_enough() {
    let (link, mut publisher) = noting(100, 100);
    let record = Record::new(WallClock(1), vec![0; limits::BATCH_BODY_BYTES_TARGET / 2]);
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        deliveries.push(publisher.publish(&record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(link.requests(), [(0, 1), (1, 1), (2, 1)]);
}

#[tokio::test]
async fn what_was_published_before_the_publisher_is_dropped_goes_out() {
    let (_link, mut publisher) = noting(100, 100);
    let deliveries = publish_many(&mut publisher, 10).await;
    drop(publisher);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

#[test]
fn where_nobody_sends_any_more_all_are_told() {
    let link = Noting { requests: Mutex::default(), answers: Semaphore::new(0) };
    let (client, topic) = (Client::over(Arc::new(link)), "t".parse().unwrap());
    let drafts = Drafts::new(Destination { client, topic, acks: Acks::Quorum }, 10);
    drafts.take_room().now_or_never().unwrap().unwrap();
    let id = |number| RecordId { producer: ProducerId([1; 16]), number };
    let common = drafts.add(id(0), b"m").unwrap();
    drafts.stop();
    assert!(common.outcome.clone().now_or_never().unwrap().is_err());
    assert_eq!(drafts.take_room().now_or_never(), Some(Err(PublishError::Stopped)));
    assert_eq!(drafts.add(id(1), b"m").err(), Some(PublishError::Stopped));
    assert!(drafts.next().now_or_never().unwrap().is_none());
}

/// Answers each publish as it was told, and notes the time that each had for its copies.
#[derive(Debug)]
struct Timed {
    acknowledged: Mutex<Vec<bool>>,
    times: Mutex<Vec<u32>>,
}

impl Link for Timed {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let Request::Client(ClientRequest::Publish(publish)) = request else {
            panic!("not a publish: {request:?}")
        };
        self.times.lock().unwrap().push(publish.timeout_ms);
        let acknowledged = self.acknowledged.lock().unwrap().remove(0);
        async move { Ok(Response::Published(Published { acknowledged, ..published() })) }.boxed()
    }
}

/// The times that publishes have of which these are acknowledged, one after the other.
async fn times(acknowledged: &[bool], outbox_at_once: bool) -> Vec<u32> {
    let acknowledged = Mutex::new(acknowledged.to_vec());
    let link = Arc::new(Timed { acknowledged, times: Mutex::default() });
    let count = link.acknowledged.lock().unwrap().len();
    let client = Client::over(Arc::clone(&link) as Arc<dyn Link>);
    let options = PublishOptions { timeout: EACH, outbox_at_once, ..PublishOptions::default() };
    let mut publisher = client.publisher("t".parse().unwrap(), options);
    for _ in 0..count {
        let record = Record::new(WallClock(1), b"m".to_vec());
        let _pending_too = publisher.publish(&record).await.unwrap().await;
    }
    link.times.lock().unwrap().clone()
}

#[tokio::test]
async fn while_copies_are_out_of_reach_records_go_to_the_outbox_at_once_where_that_is_asked_for() {
    let acknowledged = [true, false, false, true, true];
    assert_eq!(times(&acknowledged, true).await, [100, 100, 0, 0, 100]);
    assert_eq!(times(&acknowledged, false).await, [100; 5]);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_to_no_node_is_known_not_to_be_stored() {
    let not_sent = LinkError::NotSent("nobody".into());
    let (outcome, given) = publish(vec![Err(not_sent.clone())]).await;
    assert_eq!(outcome, Err(PublishError::NotSent(not_sent.clone())));
    assert_eq!(given, [EACH], "the link has tried for the whole time");
    // What may have been stored before may be there still.
    let broke = Err(LinkError::Unreachable("it broke".into()));
    let (outcome, _) = publish(vec![broke, Err(not_sent.clone())]).await;
    assert_eq!(outcome, Err(unknown(not_sent)));
}

/// Never answers, and fails when the time of a request is over.
#[derive(Debug)]
struct Silent;

impl Link for Silent {
    fn ask(&self, _: Request, timeout: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        async move {
            tokio::time::sleep(timeout).await;
            Err(LinkError::TimedOut(timeout))
        }
        .boxed()
    }
}

fn silent(options: PublishOptions) -> Publisher {
    Client::over(Arc::new(Silent)).publisher("t".parse().unwrap(), options)
}

#[tokio::test(start_paused = true)]
async fn no_record_takes_longer_than_its_time_however_many_fail_before_it() {
    let mut publisher = silent(PublishOptions { timeout: EACH, ..PublishOptions::default() });
    let clock = Clock::start();
    let mut deliveries = publish_many(&mut publisher, 1).await;
    yield_often().await;
    // They come while the first one is under way, and are too large for one request.
    let record = Record::new(WallClock(1), vec![0; limits::BATCH_BODY_BYTES_TARGET]);
    for _ in 0..3 {
        deliveries.push(publisher.publish(&record).await.unwrap());
    }
    for delivery in deliveries {
        let error = delivery.await.unwrap_err();
        let cause = match error {
            PublishError::Unknown { cause, .. } => cause,
            other => panic!("{other:?}"),
        };
        assert!(matches!(cause, LinkError::TimedOut(_)), "{cause:?}");
    }
    assert!(clock.now().elapsed < EACH * 2, "{:?}", clock.now().elapsed);
    // One that comes later has all of its time.
    let clock = Clock::start();
    publish_many(&mut publisher, 1).await.remove(0).await.unwrap_err();
    assert!(clock.now().elapsed >= EACH, "{:?}", clock.now().elapsed);
}

#[tokio::test(start_paused = true)]
async fn no_record_overtakes_one_that_failed_where_that_is_asked_for() {
    let stop_at_failure = true;
    let options = PublishOptions { timeout: EACH, stop_at_failure, ..PublishOptions::default() };
    let mut publisher = silent(options);
    let mut deliveries = publish_many(&mut publisher, 1).await;
    yield_often().await;
    deliveries.extend(publish_many(&mut publisher, 2).await);
    let mut errors = Vec::new();
    for delivery in deliveries {
        errors.push(delivery.await.unwrap_err());
    }
    assert!(matches!(errors[0], PublishError::Unknown { .. }), "{errors:?}");
    assert_eq!(errors[1..], [PublishError::Stopped, PublishError::Stopped]);
    let later = publisher.publish(&Record::new(WallClock(1), b"m".to_vec())).await;
    assert_eq!(later.err(), Some(PublishError::Stopped));
}
