//! Sends what a publisher was given.

use std::{sync::Arc, time::Duration};

use antiphon::{
    model::{Blob, RecordId, TopicName},
    wire::{ClientRequest, Publish, Published, Request, Response},
};
use tokio::sync::Notify;

use super::{
    PublishError, PublishOptions,
    drafts::{Draft, Drafts},
};
use crate::{
    client::{Client, LinkError, Refusal, RequestError},
    platform::clock::Clock,
};

/// First and longest pause before a request is sent again that all nodes refused for the moment.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Time for a request to fill where nobody waits for its records, and more are likely to come.
pub(super) const FILL_TIME: Duration = Duration::from_millis(1);

/// Time for those who were just answered, each for itself, to publish again before others who wait
/// already have their request sent without them.
const REGATHER_TIME: Duration = Duration::from_micros(200);

/// How long publishes go into the outbox at once before copies are waited for again.
const OUTBOX_TIME: Duration = Duration::from_secs(1);

/// Time for the copies of a publish while none was pending yet, where nobody waits for them.
const FIRST_TIME: Duration = Duration::from_secs(1);

/// Time for the copies of a publish that tries whether they can be reached again.
const TRIAL_TIME: Duration = Duration::from_millis(250);

/// Sends one request at a time, so that the order holds and the next one fills while this one is
/// under way.
pub(super) struct Worker {
    client: Client,
    topic: TopicName,
    options: PublishOptions,
    drafts: Arc<Drafts>,
    /// Where copies are out of reach, and nobody waits for them: when to try again.
    try_at: Option<Duration>,
    /// When a request failed last.
    failed_at: Option<Duration>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.drafts.stop();
    }
}

impl Worker {
    pub(super) fn new(
        client: Client,
        topic: TopicName,
        options: PublishOptions,
        drafts: Arc<Drafts>,
    ) -> Self {
        Self { client, topic, options, drafts, try_at: None, failed_at: None }
    }

    pub(super) async fn run(mut self) {
        let mut before = 0;
        while let Some(next) = self.drafts.next().await {
            if before > 1 {
                self.let_fill(before, &next.wanted).await;
            }
            let Some(draft) = self.drafts.take() else { continue };
            before = draft.count;
            let is_published = self.send(draft).await;
            if !is_published && self.options.stop_at_failure {
                return;
            }
        }
    }

    /// Who waited for the records that were just answered publishes the next ones now, and waits
    /// for them when there are no more to come for the moment.
    async fn let_fill(&self, before: u32, wanted: &Notify) {
        let is_wanted = tokio::time::timeout(FILL_TIME, wanted.notified()).await.is_ok();
        let clock = Clock::start();
        while is_wanted && self.drafts.is_below(before) && clock.now().elapsed < REGATHER_TIME {
            tokio::task::yield_now().await;
        }
    }

    /// Time for the copies of the next publish.
    fn timeout(&self) -> Duration {
        match self.try_at {
            Some(at) if self.drafts.clock.now().elapsed < at => Duration::ZERO,
            Some(_) => TRIAL_TIME.min(self.options.timeout),
            None if self.options.outbox_at_once => FIRST_TIME.min(self.options.timeout),
            None => self.options.timeout,
        }
    }

    /// Records how a publish went that had this time.
    fn note(&mut self, timeout: Duration, published: &Published) {
        if published.acknowledged {
            self.try_at = None;
        } else if self.options.outbox_at_once && !timeout.is_zero() {
            self.try_at = Some(self.drafts.clock.now().elapsed + OUTBOX_TIME);
        }
    }

    /// When a request has had its time. What was queued while one before it failed has waited for
    /// a node already: so no record takes longer than its time, however many requests fail.
    fn until(&self, queued: Duration) -> Duration {
        let waited = self.failed_at.is_some_and(|at| queued <= at);
        let since = if waited { queued } else { self.drafts.clock.now().elapsed };
        since.saturating_add(self.options.timeout)
    }

    /// Sends a request and passes its outcome on; whether it was published.
    async fn send(&mut self, draft: Draft) -> bool {
        let timeout = self.timeout();
        let publish = Publish {
            topic: self.topic.clone(),
            producer: draft.first.producer,
            first: draft.first.number,
            records: Blob(draft.records.into()),
            acks: self.options.acks,
            // Whoever gives an id may have published under it before.
            retried: draft.first.is_given(),
            timeout_ms: milliseconds(timeout),
        };
        let outcome = self.ask(publish, self.until(draft.since)).await;
        let is_published = outcome.is_ok();
        match &outcome {
            Ok(published) => self.note(timeout, published),
            Err(_) => self.failed_at = Some(self.drafts.clock.now().elapsed),
        }
        self.drafts.give_room(draft.count);
        // Whoever dropped the deliveries does not want to know.
        let _ = draft.done.send(outcome);
        is_published
    }

    /// Sends a request until it is answered, within the time for one. Sending it again is safe:
    /// the records keep their names. The link has been to other nodes before it says that there
    /// is none, or that one refuses.
    async fn ask(&self, mut publish: Publish, until: Duration) -> Result<Published, PublishError> {
        let id = RecordId { producer: publish.producer, number: publish.first };
        let unknown = |cause| PublishError::Unknown { id, cause };
        let malformed = |what: &str| unknown(LinkError::Malformed(what.to_owned()));
        let mut pause = PAUSE_FIRST;
        let mut may_be_stored = false;
        loop {
            let request = Request::Client(ClientRequest::Publish(publish.clone()));
            let error = match self.client.ask_within(request, self.left(until)).await {
                Ok(Response::Published(published)) => return Ok(published),
                Ok(_) => return Err(malformed("not the answer to a publish")),
                Err(RequestError::Refused(
                    refusal @ (Refusal::Busy | Refusal::OverBudget { .. } | Refusal::Stopping(_)),
                )) => PublishError::Refused(refusal),
                Err(RequestError::Refused(refusal)) => return Err(refusal.into()),
                // The link has tried for the whole time, or there is nobody to try.
                Err(RequestError::Link(error @ LinkError::NotSent(_))) => {
                    return Err(if may_be_stored {
                        unknown(error)
                    } else {
                        PublishError::NotSent(error)
                    });
                }
                Err(RequestError::Link(error)) => unknown(error),
                Err(RequestError::Name(_) | RequestError::Mismatch) => malformed("not an answer"),
            };
            // A refusal is told only where nothing can have come of it.
            may_be_stored |= matches!(error, PublishError::Unknown { .. });
            publish.retried |= may_be_stored;
            if self.left(until) <= pause {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
            publish.timeout_ms = publish.timeout_ms.min(milliseconds(self.left(until)));
        }
    }

    fn left(&self, until: Duration) -> Duration {
        until.saturating_sub(self.drafts.clock.now().elapsed)
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
