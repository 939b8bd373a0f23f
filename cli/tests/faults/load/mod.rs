//! The load: publishers and subscribers, and what each of them saw, with its time.

mod following;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use antiphon::model::{NodeId, Record, TopicName, WallClock};
use antiphon_node::{
    Client, ClientConfig,
    client::{Delivery, PublishError, PublishOptions, Receipt},
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::watch;

use crate::cluster::now;

/// Records per second of each publisher.
const RATE: u32 = 100;

/// Records that a publisher may have without an answer.
const IN_FLIGHT_MAX: usize = 256;

/// Time that a publish is given by the load, and again for the answer.
const PUBLISH_WITHIN: Duration = Duration::from_secs(3);

/// Time after the load for answers that are still out.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a payload, where a scenario needs no other.
pub(crate) const PAYLOAD_BYTES: usize = 128;

/// Lets the load, or a fault, last. A fault is as long as its name says, and a load needs time to
/// be one; all else waits for conditions.
pub(crate) fn pace(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

/// What a publisher calls its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) publisher: usize,
    pub(crate) number: u32,
}

impl Name {
    /// The payload: its name, and noise of its own, so that damage shows and compression does not
    /// make little of it.
    pub(crate) fn to_payload(self, bytes: usize) -> Vec<u8> {
        let mut payload = format!("p{}-{:06} ", self.publisher, self.number).into_bytes();
        let mut noise =
            fastrand::Rng::with_seed(self.publisher as u64 * 1_000_000 + u64::from(self.number));
        payload.resize_with(bytes.max(payload.len()), || noise.u8(..));
        payload.truncate(bytes);
        payload
    }

    pub(crate) fn of_payload(payload: &[u8]) -> Option<Self> {
        let name = payload.split(|byte| *byte == b' ').next()?;
        let text = std::str::from_utf8(name).ok()?;
        let (publisher, number) = text.strip_prefix('p')?.split_once('-')?;
        let name = Self { publisher: publisher.parse().ok()?, number: number.parse().ok()? };
        (name.to_payload(payload.len()) == payload).then_some(name)
    }
}

/// What became of the records of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) offered: u32,
    pub(crate) acknowledged: BTreeMap<u32, Instant>,
    /// Those without a success, and what was said instead.
    pub(crate) unknown: BTreeMap<u32, String>,
}

/// A record as a reader got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// None if nobody published this.
    pub(crate) name: Option<Name>,
    pub(crate) writer: NodeId,
}

/// What is shared with the threads of a load.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: Vec<Mutex<Sent>>,
    pub(crate) followers: Vec<Mutex<Vec<Arrival>>>,
}

/// A lock that is of use also after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running load. Dropping it ends its threads.
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    pub(crate) started: Instant,
    /// When publishing ended.
    pub(crate) stopped: Option<Instant>,
    publish: watch::Sender<bool>,
    follow: watch::Sender<bool>,
    publishers: Vec<thread::JoinHandle<()>>,
    followers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Starts a publisher for each of the first, and a subscriber for each of the second; every
    /// second one of those keeps its position under a name.
    pub(crate) fn start(
        topic: &TopicName,
        publishers: Vec<ClientConfig>,
        followers: Vec<ClientConfig>,
        payload_bytes: usize,
    ) -> Self {
        let seen = Arc::new(Seen {
            sent: publishers.iter().map(|_| Mutex::default()).collect(),
            followers: followers.iter().map(|_| Mutex::default()).collect(),
        });
        let (publish, publishing) = watch::channel(true);
        let (follow, following) = watch::channel(true);
        let publishers = publishers.into_iter().enumerate().map(|(index, config)| {
            let (seen, topic, on) = (Arc::clone(&seen), topic.clone(), publishing.clone());
            thread::spawn(move || {
                block_on(async {
                    let load = Publishing { config, topic, publisher: index, payload_bytes };
                    run_publisher(load, &seen.sent[index], on).await;
                });
            })
        });
        let followers = followers.into_iter().enumerate().map(|(index, config)| {
            let (seen, topic, on) = (Arc::clone(&seen), topic.clone(), following.clone());
            thread::spawn(move || {
                block_on(following::run(config, topic, index, &seen.followers[index], on));
            })
        });
        let (publishers, followers) = (publishers.collect(), followers.collect());
        Self { seen, started: now(), stopped: None, publish, follow, publishers, followers }
    }

    /// Acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.seen.sent.iter().map(|sent| lock(sent).acknowledged.len()).sum()
    }

    /// Ends publishing and waits for the answers that are out.
    pub(crate) fn stop_publishing(&mut self) {
        self.stopped.get_or_insert_with(now);
        self.publish.send_replace(false);
        for thread in self.publishers.drain(..) {
            thread.join().expect("a publisher does not panic");
        }
    }

    /// The acknowledged records of all publishers.
    pub(crate) fn names(&self) -> BTreeSet<Name> {
        let mut names = BTreeSet::new();
        for (publisher, sent) in self.seen.sent.iter().enumerate() {
            let numbers = lock(sent).acknowledged.keys().copied().collect::<Vec<_>>();
            names.extend(numbers.into_iter().map(|number| Name { publisher, number }));
        }
        names
    }

    pub(crate) fn stop_following(&mut self) {
        self.follow.send_replace(false);
        for thread in self.followers.drain(..) {
            thread.join().expect("a subscriber does not panic");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.publish.send_replace(false);
        self.follow.send_replace(false);
        if !thread::panicking() {
            self.stop_publishing();
            self.stop_following();
        }
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Connects as soon as a node answers; none if the load ends before.
async fn connect(config: &ClientConfig, on: &mut watch::Receiver<bool>) -> Option<Client> {
    loop {
        if !*on.borrow() {
            return None;
        }
        if let Ok(client) = Client::connect(config.clone()).await {
            return Some(client);
        }
        breathe().await;
    }
}

async fn breathe() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

type Outcome = (u32, Instant, Result<Receipt, PublishError>);

/// What a publisher does.
struct Publishing {
    config: ClientConfig,
    topic: TopicName,
    publisher: usize,
    payload_bytes: usize,
}

async fn run_publisher(load: Publishing, sent: &Mutex<Sent>, mut on: watch::Receiver<bool>) {
    let Publishing { config, topic, publisher, payload_bytes } = load;
    let options = PublishOptions::new().timeout(PUBLISH_WITHIN);
    let Some(client) = connect(&config, &mut on).await else { return };
    let client = client.with_timeout(PUBLISH_WITHIN);
    let mut queue = client.publisher(topic, options);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut out: FuturesUnordered<BoxFuture<'static, Outcome>> = FuturesUnordered::new();
    while *on.borrow() {
        tokio::select! {
            _ = ticks.tick(), if out.len() < IN_FLIGHT_MAX => {
                let number = take_number(sent);
                let payload = Name { publisher, number }.to_payload(payload_bytes);
                let record = Record::new(WallClock(1), payload);
                match queue.publish(&record).await {
                    Ok(delivery) => out.push(Box::pin(outcome(number, delivery))),
                    Err(error) => note(sent, (number, now(), Err(error))),
                }
            }
            Some(outcome) = out.next() => note(sent, outcome),
            _ = on.changed() => {}
        }
    }
    let rest = async {
        while let Some(outcome) = out.next().await {
            note(sent, outcome);
        }
    };
    // What has no answer by then is as unknown as what got an error.
    let _ = tokio::time::timeout(ANSWERS_WITHIN, rest).await;
}

fn take_number(sent: &Mutex<Sent>) -> u32 {
    let mut sent = lock(sent);
    sent.offered += 1;
    sent.offered - 1
}

async fn outcome(number: u32, delivery: Delivery) -> Outcome {
    let outcome = delivery.await;
    (number, now(), outcome)
}

fn note(sent: &Mutex<Sent>, (number, at, outcome): Outcome) {
    let mut sent = lock(sent);
    match outcome {
        Ok(_) => {
            sent.acknowledged.insert(number, at);
        }
        Err(PublishError::Pending(pending)) => {
            let copies = pending.copies();
            sent.unknown.insert(number, format!("pending with {copies} copies"));
        }
        Err(error) => {
            sent.unknown.insert(number, error.to_string());
        }
    }
}
