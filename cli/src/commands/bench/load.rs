//! Publishing: as fast as it goes, or at a pace.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use antiphon::model::{Record, TopicName};
use antiphon_node::{
    Client,
    client::{Delivery, PublishError, PublishOptions, Receipt},
};
use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::sync::{mpsc, watch};

use super::{measured::Measured, payloads::Payloads};
use crate::{clock, exit::Failure};

/// Records by which a progress bar moves on.
const PROGRESS_RECORDS: u64 = 256;

/// What one publisher does.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) payloads: Payloads,
    pub(super) size: u32,
    pub(super) in_flight: u32,
    pub(super) messages: u64,
    /// Records per second; none for as fast as it goes.
    pub(super) rate: Option<u32>,
    /// When this says so, it stops early.
    pub(super) stop: Option<watch::Receiver<bool>>,
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
    let options = PublishOptions::new().in_flight(load.in_flight as usize);
    let mut publisher = client.publisher(topic, options);
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
        let payload = load.payloads.make(number, load.size, due.duration_since(started));
        let delivery = publisher.publish(Record::new(clock::now(), payload)).await?;
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
            let outcome = delivery.await;
            self.took(outcome)?;
        }
        Ok(())
    }

    fn took(&mut self, outcome: Result<Receipt, PublishError>) -> anyhow::Result<()> {
        let Some((due, _)) = self.under_way.pop_front() else { return Ok(()) };
        if let Err(PublishError::Pending(pending)) = &outcome {
            let (id, copies, wanted) = (pending.id(), pending.copies(), pending.wanted());
            let text =
                format!("record {id} was not acknowledged in time: {copies} of {wanted} copies");
            return Err(Failure::failed(text).into());
        }
        outcome?;
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
                outcome = delivery => self.took(outcome)?,
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
