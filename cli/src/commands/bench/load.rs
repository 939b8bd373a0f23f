//! Publishing: as fast as it goes, or at a pace.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use antiphon::model::{Record, TopicName};
use antiphon_node::{
    Client,
    client::{Delivery, PublishOptions},
};
use anyhow::Context as _;
use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::sync::{mpsc, watch};

use super::measured::Measured;
use crate::{clock, exit::Failure};

/// Records by which a progress bar moves on.
const PROGRESS_RECORDS: u64 = 256;

/// What one publisher does.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) size: u32,
    pub(super) in_flight: u32,
    pub(super) messages: u64,
    /// Records per second; none for as fast as it goes.
    pub(super) rate: Option<u32>,
    /// When this says so, it stops early.
    pub(super) stop: Option<watch::Receiver<bool>>,
}

impl Load {
    /// As fast as it goes.
    pub(super) fn unpaced(size: u32, in_flight: u32, messages: u64) -> Self {
        Self { size, in_flight, messages, rate: None, stop: None }
    }
}

/// Makes payloads: when the record was due, in nanoseconds after the start, and then noise, so
/// that nothing is gained by compression.
#[derive(Debug, Clone)]
struct Payloads {
    noise: Arc<[u8]>,
    size: usize,
}

impl Payloads {
    fn new(size: u32) -> Self {
        let size = size as usize;
        let mut random = fastrand::Rng::with_seed(1);
        Self { noise: (0..size + 4_096).map(|_| random.u8(..)).collect(), size }
    }

    fn make(&self, number: u64, due: Duration) -> Bytes {
        let mut payload = Vec::with_capacity(self.size);
        let due = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        payload.extend_from_slice(&due.to_be_bytes());
        let at = usize::try_from(number % 4_096).expect("it is small");
        payload.extend_from_slice(&self.noise[at..at + self.size - payload.len()]);
        payload.into()
    }
}

/// When the record with this payload was due, after the start.
pub(super) fn due(payload: &[u8]) -> Option<Duration> {
    payload.first_chunk().map(|bytes| Duration::from_nanos(u64::from_be_bytes(*bytes)))
}

/// Publishes through each of the clients at the same time; every record is acknowledged.
pub(super) async fn publish(
    clients: &[Client],
    topic: &TopicName,
    load: &Load,
    started: Instant,
    progress: &ProgressBar,
) -> anyhow::Result<Measured> {
    let mut publishers = tokio::task::JoinSet::new();
    for client in clients {
        let (client, topic) = (client.clone(), topic.clone());
        let (load, progress) = (load.clone(), progress.clone());
        publishers.spawn(publish_one(client, topic, load, started, progress));
    }
    let mut all = Measured::begin_at(started);
    while let Some(one) = publishers.join_next().await {
        all.add(&one.context("a publisher ended")??);
    }
    Ok(all)
}

async fn publish_one(
    client: Client,
    topic: TopicName,
    load: Load,
    started: Instant,
    progress: ProgressBar,
) -> anyhow::Result<Measured> {
    let options =
        PublishOptions { in_flight: load.in_flight as usize, ..PublishOptions::default() };
    let mut publisher = client.publisher(topic, options);
    let payloads = Payloads::new(load.size);
    let mut acknowledged = Acknowledged {
        measured: Measured::begin_at(started),
        under_way: VecDeque::new(),
        progress,
    };
    let mut pace = load.rate.map(|rate| Pace::begin(started, rate, load.messages));
    for number in 0..load.messages {
        if load.stop.as_ref().is_some_and(|stop| *stop.borrow()) {
            break;
        }
        let due = match &mut pace {
            None => None,
            Some(pace) => Some(acknowledged.until_due(pace).await?),
        };
        while acknowledged.under_way.len() >= load.in_flight as usize {
            acknowledged.take_one().await?;
        }
        // Without a pace it is due when there is room for it.
        let due = due.unwrap_or_else(clock::instant);
        let payload = payloads.make(number, due.duration_since(started));
        let delivery = publisher.publish(&Record::new(clock::now(), payload)).await?;
        acknowledged.under_way.push_back((due, delivery));
    }
    while !acknowledged.under_way.is_empty() {
        acknowledged.take_one().await?;
    }
    Ok(acknowledged.measured)
}

/// Waits for acknowledgements and notes when they came.
struct Acknowledged {
    measured: Measured,
    under_way: VecDeque<(Instant, Delivery)>,
    progress: ProgressBar,
}

impl Acknowledged {
    async fn take_one(&mut self) -> anyhow::Result<()> {
        if let Some((_, delivery)) = self.under_way.front_mut() {
            let receipt = delivery.await;
            self.took(receipt?)?;
        }
        Ok(())
    }

    fn took(&mut self, receipt: antiphon_node::client::Receipt) -> anyhow::Result<()> {
        let Some((due, _)) = self.under_way.pop_front() else { return Ok(()) };
        if !receipt.published.acknowledged {
            let text = format!("record {} was not acknowledged in time", receipt.id);
            return Err(Failure::failed(text).into());
        }
        let now = clock::instant();
        self.measured.done(now, now.duration_since(due));
        if self.measured.messages.is_multiple_of(PROGRESS_RECORDS) {
            self.progress.inc(PROGRESS_RECORDS);
        }
        Ok(())
    }

    /// Waits until the next record is due, and takes what is acknowledged meanwhile.
    async fn until_due(&mut self, pace: &mut Pace) -> anyhow::Result<Instant> {
        loop {
            let Some((_, delivery)) = self.under_way.front_mut() else {
                return pace.next().await;
            };
            tokio::select! {
                biased;
                receipt = delivery => self.took(receipt?)?,
                due = pace.next() => return due,
            }
        }
    }
}

/// Says when records are due.
///
/// A thread of its own, for the timers of the runtime tick in milliseconds.
struct Pace {
    ticks: mpsc::Receiver<Instant>,
}

/// Ticks that the thread is ahead of a publisher that is held up. They are not lost, only late,
/// which the latencies show.
const TICKS_MAX: usize = 16;

/// The thread sleeps until so long before a tick, and is awake for the rest: sleeping is
/// inexact by about this much. At a fast pace it only sleeps, for it would never.
const AWAKE_BEFORE: Duration = Duration::from_micros(80);

/// Where ticks are nearer to each other than this, the pace is a fast one.
const FAST_PACE: Duration = Duration::from_micros(500);

impl Pace {
    fn begin(started: Instant, rate: u32, count: u64) -> Self {
        let (tick, ticks) = mpsc::channel(TICKS_MAX);
        let every = Duration::from_secs(1) / rate;
        // It ends when the count is reached, or by itself when nobody listens any more.
        std::thread::spawn(move || {
            let awake = if every < FAST_PACE { Duration::ZERO } else { AWAKE_BEFORE };
            let mut due = started;
            for _ in 0..count {
                due += every;
                let left = due.saturating_duration_since(clock::instant());
                std::thread::sleep(left.saturating_sub(awake));
                while clock::instant() < due {
                    std::hint::spin_loop();
                }
                if tick.blocking_send(due).is_err() {
                    return;
                }
            }
        });
        Self { ticks }
    }

    /// When the next record was due; waits until then. Cancel-safe.
    async fn next(&mut self) -> anyhow::Result<Instant> {
        self.ticks.recv().await.context("the pace ended early")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_when_it_was_due() {
        let payloads = Payloads::new(64);
        let payload = payloads.make(5_000, Duration::from_micros(7));
        assert_eq!(payload.len(), 64);
        assert_eq!(due(&payload), Some(Duration::from_micros(7)));
        assert_ne!(payload[8..], payloads.make(5_001, Duration::ZERO)[8..]);
    }
}
