//! What goes on meanwhile: an honest publisher, an honest subscriber, and newcomers.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use antiphon::model::{Record, TopicName, WallClock};
use antiphon_node::{
    Client, ClientConfig,
    client::{PublishError, PublishOptions, ReaderOptions, Receipt},
};
use futures::{StreamExt, stream::FuturesUnordered};

use crate::{
    cluster::now,
    load::{Name, PAYLOAD_BYTES, block_on, lock},
};

/// Records per second of the publisher.
pub(crate) const RATE: u32 = 500;

/// Records that it may have without an answer; a second's.
const IN_FLIGHT_MAX: usize = 500;

/// Time for one publish.
const PUBLISH_WITHIN: Duration = Duration::from_secs(5);

/// How often a newcomer comes.
const NEWCOMER_EVERY: Duration = Duration::from_millis(500);

/// One thing that an honest program did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) began: Instant,
    /// How long it took; none if it failed.
    pub(crate) took: Option<Duration>,
}

/// What honest programs saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Each publish, by the number of its record.
    pub(crate) published: Mutex<Vec<Done>>,
    pub(crate) newcomers: Mutex<Vec<Done>>,
    /// Each record that the subscriber got, from its publish on.
    pub(crate) followed: Mutex<Vec<Done>>,
}

impl Seen {
    /// The acknowledged records.
    pub(crate) fn acknowledged(&self) -> BTreeSet<Name> {
        let published = lock(&self.published);
        let acknowledged = (0..).zip(published.iter()).filter(|(_, done)| done.took.is_some());
        acknowledged.map(|(number, _)| Name { publisher: 0, number }).collect()
    }
}

/// The honest programs. They end when this is dropped.
pub(crate) struct Honest {
    pub(crate) seen: Arc<Seen>,
    on: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Honest {
    /// Starts a publisher, a subscriber and newcomers, each at its nodes.
    pub(crate) fn start(
        topic: &TopicName,
        publisher: ClientConfig,
        follower: ClientConfig,
        newcomer: ClientConfig,
    ) -> Self {
        let (seen, on) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(true)));
        let mut threads = Vec::new();
        let mut start = |run: fn(ClientConfig, TopicName, &Seen, &AtomicBool), config| {
            let (topic, seen, on) = (topic.clone(), Arc::clone(&seen), Arc::clone(&on));
            threads.push(thread::spawn(move || run(config, topic, &seen, &on)));
        };
        start(|config, topic, seen, on| block_on(publish(config, topic, seen, on)), publisher);
        start(|config, topic, seen, on| block_on(follow(config, topic, seen, on)), follower);
        start(|config, topic, seen, on| block_on(visit(config, topic, seen, on)), newcomer);
        Self { seen, on, threads }
    }

    /// Ends them, and waits for what is under way.
    pub(crate) fn stop(&mut self) {
        self.on.store(false, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("an honest program does not panic");
        }
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.on.store(false, Relaxed);
    }
}

async fn connect(config: &ClientConfig, on: &AtomicBool) -> Option<Client> {
    while on.load(Relaxed) {
        if let Ok(client) = Client::connect(config.clone()).await {
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

async fn publish(config: ClientConfig, topic: TopicName, seen: &Seen, on: &AtomicBool) {
    let Some(client) = connect(&config, on).await else { return };
    let mut queue = client.publisher(topic, PublishOptions::new().timeout(PUBLISH_WITHIN));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut out = FuturesUnordered::new();
    while on.load(Relaxed) {
        tokio::select! {
            _ = ticks.tick(), if out.len() < IN_FLIGHT_MAX => {
                let began = now();
                let number = {
                    let mut published = lock(&seen.published);
                    published.push(Done { began, took: None });
                    published.len() - 1
                };
                let name = Name { publisher: 0, number: u32::try_from(number).expect("it fits") };
                let record = Record::new(WallClock(1), name.to_payload(PAYLOAD_BYTES));
                if let Ok(delivery) = queue.publish(&record).await {
                    out.push(async move { (number, began, delivery.await) });
                }
            }
            Some(outcome) = out.next() => note(seen, outcome),
        }
    }
    while let Some(outcome) = out.next().await {
        note(seen, outcome);
    }
}

fn note(seen: &Seen, (number, began, outcome): (usize, Instant, Result<Receipt, PublishError>)) {
    if outcome.is_ok() {
        lock(&seen.published)[number].took = Some(began.elapsed());
    }
}

async fn follow(config: ClientConfig, topic: TopicName, seen: &Seen, on: &AtomicBool) {
    let Some(client) = connect(&config, on).await else { return };
    let mut reader = None;
    while on.load(Relaxed) {
        if reader.is_none() {
            reader = client.reader(topic.clone(), ReaderOptions::follow()).await.ok();
        }
        let Some(reader) = &mut reader else { continue };
        // A reader stays where it is, to be asked again.
        let next = tokio::time::timeout(Duration::from_millis(500), reader.try_next()).await;
        if let Ok(Ok(Some(delivered))) = next
            && let Some(name) = Name::of_payload(&delivered.record.payload)
            && let Some(number) = usize::try_from(name.number).ok()
            && let Some(began) = lock(&seen.published).get(number).map(|done| done.began)
        {
            lock(&seen.followed).push(Done { began, took: Some(began.elapsed()) });
        }
    }
}

async fn visit(config: ClientConfig, topic: TopicName, seen: &Seen, on: &AtomicBool) {
    while on.load(Relaxed) {
        let began = now();
        let visit = async { Client::connect(config.clone()).await.ok()?.survey(&topic).await.ok() };
        let took = visit.await.map(|_| began.elapsed());
        lock(&seen.newcomers).push(Done { began, took });
        tokio::time::sleep(NEWCOMER_EVERY).await;
    }
}
