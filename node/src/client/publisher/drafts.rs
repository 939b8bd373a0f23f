//! What a publisher was given and has not sent yet: requests that still fill.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use antiphon::{limits, model::RecordId, wire::Published};
use futures::{FutureExt, future::Shared};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{PublishError, pending::Destination};
use crate::platform::clock::Clock;

/// What became of the records of one request. Each of them waits for it.
pub(super) type Outcome = Shared<oneshot::Receiver<Result<Published, PublishError>>>;

/// A request that still fills: consecutive records of one producer, or one with a given id.
#[derive(Debug)]
pub(super) struct Draft {
    /// The name of its first record.
    pub(super) first: RecordId,
    pub(super) count: u32,
    /// When it was queued, by the clock of the drafts.
    pub(super) since: Duration,
    /// The records, as they go out.
    pub(super) records: Vec<u8>,
    /// Says what became of them.
    pub(super) done: oneshot::Sender<Result<Published, PublishError>>,
    common: Arc<Common>,
}

/// What all records of one request share.
#[derive(Debug)]
pub(super) struct Common {
    /// What became of them. A clone of it is polled; then this one can be looked at.
    pub(super) outcome: Outcome,
    /// Somebody waits for a record of this request: it is not to fill any longer.
    pub(super) wanted: Notify,
    pub(super) destination: Arc<Destination>,
}

/// The requests that fill, in order. At most as many records are in them, and under way, as there
/// was room for at the start.
#[derive(Debug)]
pub(super) struct Drafts {
    pub(super) clock: Clock,
    destination: Arc<Destination>,
    state: Mutex<State>,
    /// There is a request where there was none, or none will come any more.
    news: Notify,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    drafts: VecDeque<Draft>,
    ended: bool,
    /// Bytes of the last request that was taken: the next one is likely as large.
    bytes: usize,
}

impl Drafts {
    /// With room for this many records.
    pub(super) fn new(destination: Destination, room: usize) -> Self {
        Self {
            clock: Clock::start(),
            destination: Arc::new(destination),
            state: Mutex::default(),
            news: Notify::new(),
            room: Semaphore::new(room.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// Waits until there is room for one more record, and takes it. Cancel-safe: it is taken when
    /// this returns.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub(super) async fn take_room(&self) -> Result<(), PublishError> {
        if self.room.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok() {
            return Ok(());
        }
        // What there is will not become more before some of it is answered.
        if let Some(last) = self.lock().drafts.back() {
            last.common.wanted.notify_one();
        }
        let room = self.room.acquire().await;
        room.map(tokio::sync::SemaphorePermit::forget).map_err(|_closed| PublishError::Stopped)
    }

    /// Gives room back for this many records.
    pub(super) fn give_room(&self, count: u32) {
        self.room.add_permits(count as usize);
    }

    /// Adds a record with this name, for which room was taken. It follows the one before of the
    /// same producer.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub(super) fn add(&self, id: RecordId, record: &[u8]) -> Result<Arc<Common>, PublishError> {
        let mut state = self.lock();
        if state.ended {
            return Err(PublishError::Stopped);
        }
        let fits = |draft: &&mut Draft| {
            draft.first.producer == id.producer
                && !id.is_given()
                && draft.count < limits::BATCH_RECORDS_MAX
                && draft.records.len() + record.len() <= limits::BATCH_BODY_BYTES_TARGET
        };
        if let Some(last) = state.drafts.back_mut().filter(fits) {
            last.records.extend_from_slice(record);
            last.count += 1;
            return Ok(Arc::clone(&last.common));
        }
        if let Some(full) = state.drafts.back() {
            full.common.wanted.notify_one();
        }
        let mut records = Vec::with_capacity(record.len().max(state.bytes));
        records.extend_from_slice(record);
        let (done, outcome) = oneshot::channel();
        let common = Arc::new(Common {
            outcome: outcome.shared(),
            wanted: Notify::new(),
            destination: Arc::clone(&self.destination),
        });
        let since = self.clock.now().elapsed;
        let draft =
            Draft { first: id, count: 1, since, records, done, common: Arc::clone(&common) };
        state.drafts.push_back(draft);
        drop(state);
        self.news.notify_one();
        Ok(common)
    }

    /// Waits for a request, which goes on to fill; resolves when somebody waits for one of its
    /// records. None when there will be no more.
    pub(super) async fn next(&self) -> Option<Arc<Common>> {
        loop {
            let news = self.news.notified();
            {
                let state = self.lock();
                if let Some(first) = state.drafts.front() {
                    return Some(Arc::clone(&first.common));
                }
                if state.ended {
                    return None;
                }
            }
            news.await;
        }
    }

    /// Whether the oldest request has fewer records than this, and may get more.
    pub(super) fn is_below(&self, count: u32) -> bool {
        let state = self.lock();
        let is_below = |first: &Draft| first.count < count;
        !state.ended && state.drafts.len() == 1 && state.drafts.front().is_some_and(is_below)
    }

    /// Takes the oldest request: it fills no more.
    pub(super) fn take(&self) -> Option<Draft> {
        let mut state = self.lock();
        let draft = state.drafts.pop_front()?;
        state.bytes = draft.records.len().min(limits::BATCH_BODY_BYTES_TARGET);
        Some(draft)
    }

    /// There will be no more records; what there is must be sent.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        if let Some(last) = state.drafts.back() {
            last.common.wanted.notify_one();
        }
        drop(state);
        self.news.notify_one();
    }

    /// Nobody sends any more: who waits is told.
    pub(super) fn stop(&self) {
        self.room.close();
        let mut state = self.lock();
        state.ended = true;
        let drafts = std::mem::take(&mut state.drafts);
        drop(state);
        // Who waits for them is woken here, and may come back.
        drop(drafts);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while they hold it")
    }
}
