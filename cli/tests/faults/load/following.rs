//! Subscribers: every second one keeps its position under a name.

use std::sync::Mutex;

use antiphon::model::{SubscriberName, TopicName};
use antiphon_node::{
    Client, ClientConfig,
    client::{Reader, ReaderOptions, Subscriber},
};
use tokio::sync::watch;

use super::{Arrival, Name, PUBLISH_WITHIN, breathe, connect, lock};

/// Records after which a named subscriber keeps its position.
const COMMIT_EVERY: usize = 100;

/// A reader, or a subscription with its name.
enum Follower {
    Plain(Box<Reader>),
    Named(Box<Subscriber>),
}

impl Follower {
    async fn start(client: Client, topic: TopicName, index: usize) -> Option<Self> {
        let options = ReaderOptions::follow();
        if index.is_multiple_of(2) {
            let reader = client.reader(topic, options).await.ok()?;
            return Some(Self::Plain(Box::new(reader)));
        }
        let name: SubscriberName = format!("s{index}").parse().expect("a name");
        let subscriber = client.subscriber(topic, name, options).await.ok()?;
        Some(Self::Named(Box::new(subscriber)))
    }

    fn reader(&mut self) -> &mut Reader {
        match self {
            Self::Plain(reader) => reader,
            Self::Named(subscriber) => subscriber.reader(),
        }
    }
}

pub(super) async fn run(
    config: ClientConfig,
    topic: TopicName,
    index: usize,
    arrivals: &Mutex<Vec<Arrival>>,
    mut on: watch::Receiver<bool>,
) {
    let Some(client) = connect(&config, &mut on).await else { return };
    let client = client.with_timeout(PUBLISH_WITHIN);
    let mut follower = loop {
        if !*on.borrow() {
            return;
        }
        match Follower::start(client.clone(), topic.clone(), index).await {
            Some(follower) => break follower,
            None => breathe().await,
        }
    };
    while *on.borrow() {
        let next = tokio::select! {
            next = follower.reader().try_next() => next,
            _ = on.changed() => return,
        };
        match next {
            Ok(Some(delivered)) => {
                let name = Name::of_payload(&delivered.record.payload);
                lock(arrivals).push(Arrival { name, writer: delivered.writer });
                let count = lock(arrivals).len();
                if let Follower::Named(subscriber) = &mut follower
                    && count.is_multiple_of(COMMIT_EVERY)
                {
                    // If it fails the position of before holds, which loses nothing.
                    let _ = subscriber.commit().await;
                }
            }
            // A reader stays where it is, to be asked again.
            Ok(None) | Err(_) => breathe().await,
        }
    }
}
