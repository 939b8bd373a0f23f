//! Where a subscription stands, and keeping that on the topic's replicas.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use antiphon::model::{
    Cursor, LogId, Position, SessionId, SubscriberName, Subscription, TopicName,
};
use tokio::sync::Notify;

use super::{
    NextError,
    unacknowledged::{Ticket, UNACKNOWLEDGED_MAX, Unacknowledged},
};
use crate::client::{Client, RequestError};

/// How often a subscription of [`Topic::subscribe_as`](crate::Topic::subscribe_as) commits in the
/// background: once a second.
pub const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// With this many acknowledged records a subscription commits in the background before its interval
/// is over. So a crash repeats about as many.
pub const COMMIT_RECORDS_MAX: usize = 1_024;

/// Shared by a subscriber, its acknowledgements and what commits in the background.
pub(super) struct Standing {
    pub(super) client: Client,
    pub(super) topic: TopicName,
    pub(super) name: SubscriberName,
    pub(super) generation: u64,
    /// This run.
    pub(super) session: SessionId,
    state: Mutex<State>,
    /// Held while a commit is under way, so that they follow each other.
    committing: tokio::sync::Mutex<()>,
    /// There is something to commit, or the subscriber has ended.
    news: Notify,
}

struct State {
    /// Where the reader stands.
    cursor: Cursor,
    unacknowledged: Unacknowledged,
    /// The position that is kept.
    committed: Option<Cursor>,
    /// Whether the reader may have moved since the last commit.
    moved: bool,
    /// Records that were acknowledged since.
    acknowledged: usize,
    /// Whether another run reads under the name.
    is_shared: bool,
    /// Whether the subscriber has ended.
    ended: bool,
    /// How often it commits in the background, if it does.
    interval: Option<Duration>,
    /// Why commits in the background have stopped.
    failure: Option<RequestError>,
}

impl Standing {
    pub(super) fn new(
        client: Client,
        (topic, name): (TopicName, SubscriberName),
        generation: u64,
        cursor: Cursor,
        committed: Option<Cursor>,
    ) -> Self {
        let session = SessionId(u64::from_le_bytes(crate::platform::random_bytes()));
        let state = State {
            cursor,
            unacknowledged: Unacknowledged::default(),
            committed,
            moved: false,
            acknowledged: 0,
            is_shared: false,
            ended: false,
            interval: None,
            failure: None,
        };
        Self {
            client,
            topic,
            name,
            generation,
            session,
            state: Mutex::new(state),
            committing: tokio::sync::Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Whether one more record may be handed out.
    pub(super) fn check(&self) -> Result<(), NextError> {
        let mut state = self.lock();
        if let Some(failure) = state.failure.take() {
            return Err(failure.into());
        }
        if state.unacknowledged.is_full() {
            return Err(NextError::Unacknowledged(UNACKNOWLEDGED_MAX));
        }
        Ok(())
    }

    /// A record was handed out, and the reader stands after it.
    pub(super) fn hand_out(
        &self,
        log: LogId,
        before: Option<Position>,
        after: Option<Position>,
    ) -> Ticket {
        let mut state = self.lock();
        if let Some(after) = after {
            state.cursor.logs.insert(log, after);
        }
        state.unacknowledged.hand_out(log, before)
    }

    /// The reader has moved here.
    pub(super) fn stand_at(&self, cursor: &Cursor) {
        let mut state = self.lock();
        if state.cursor != *cursor {
            state.cursor = cursor.clone();
            state.moved = true;
            drop(state);
            self.news.notify_one();
        }
    }

    /// A record is done with.
    pub(super) fn acknowledge(&self, ticket: Ticket) {
        let mut state = self.lock();
        state.unacknowledged.acknowledge(ticket);
        state.moved = true;
        state.acknowledged += 1;
        let is_news = state.acknowledged == 1 || state.acknowledged >= COMMIT_RECORDS_MAX;
        drop(state);
        if is_news {
            self.news.notify_one();
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.lock().is_shared
    }

    /// Commits in the background are made this often from now on. How often they were made before.
    pub(super) fn set_interval(&self, interval: Duration) -> Option<Duration> {
        let before = self.lock().interval.replace(interval);
        self.news.notify_one();
        before
    }

    /// There will be no more records.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.news.notify_one();
    }

    /// Keeps the position before the first record of each log that is not acknowledged.
    pub(super) async fn commit(&self) -> Result<(), RequestError> {
        let _one_at_a_time = self.committing.lock().await;
        let cursor = {
            let mut state = self.lock();
            (state.moved, state.acknowledged) = (false, 0);
            let mut cursor = state.cursor.clone();
            state.unacknowledged.limit(&mut cursor);
            if state.committed.as_ref() == Some(&cursor) {
                return Ok(());
            }
            cursor
        };
        let subscription = Subscription::new(self.generation, Some(cursor.clone()));
        let session = Some(self.session);
        let kept = self.client.commit(&self.topic, &self.name, subscription, session).await;
        let mut state = self.lock();
        match kept {
            Ok((_, is_shared)) => {
                state.is_shared = is_shared;
                state.committed = Some(cursor);
                Ok(())
            }
            Err(error) => {
                state.moved = true;
                Err(error)
            }
        }
    }

    /// Commits once an interval while there is something to commit, sooner where many records are
    /// acknowledged, and a last time when the subscriber has ended.
    pub(super) async fn keep_committing(self: Arc<Self>, mut interval: Duration) {
        loop {
            self.until(|state| state.moved || state.ended).await;
            let due = |state: &State| state.acknowledged >= COMMIT_RECORDS_MAX || state.ended;
            let is_other = |state: &State| state.interval.filter(|now| *now != interval);
            // It is due with the interval otherwise.
            let news = self.until(|state| due(state) || is_other(state).is_some());
            let _ = tokio::time::timeout(interval, news).await;
            let ended = {
                let state = self.lock();
                if let Some(other) = is_other(&state).filter(|_| !due(&state)) {
                    interval = other;
                    continue;
                }
                state.ended
            };
            match self.commit().await {
                Err(RequestError::Refused(refusal)) if !refusal.is_passing() => {
                    self.lock().failure = Some(refusal.into());
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, name = %self.name, "the position is not kept yet");
                }
                Ok(()) => {}
            }
            if ended {
                return;
            }
        }
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let news = self.news.notified();
            if holds(&self.lock()) {
                return;
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while they hold it")
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, name, generation, .. } = self;
        formatter.debug_tuple("Standing").field(topic).field(name).field(generation).finish()
    }
}
