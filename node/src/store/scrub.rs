//! The slow walk over all that is stored.
//!
//! A batch that nobody reads may be damaged in one copy after the other until none is left. So all
//! batches are read again and again, so slowly that nobody notices. Damage is reported as if a read
//! had found it. The position is in memory: after a start, the scrub begins at the first batch.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use antiphon::engine::Damage;
use tokio::{
    task::JoinSet,
    time::{Sleep, sleep},
};

use super::{ScrubPosition, Scrubbed, Store};

/// How fast a scrub goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time from the start of the node to the first round, and from the end of one to the next.
    pub(super) first: Duration,
    pub(super) between: Duration,
    /// Bytes that are read in one go. At least one batch is.
    pub(super) step_bytes: usize,
    pub(super) bytes_per_second: u32,
}

impl Default for Pace {
    /// 2 MB/s is a hundredth of what disks do, so that it may begin soon: what was damaged while
    /// the node was away is best found while the other copies are there.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            between: Duration::from_hours(6),
            step_bytes: 1024 * 1024,
            bytes_per_second: 2 * 1024 * 1024,
        }
    }
}

/// A scrub of one store. It makes progress only while [`Scrub::next`] is being awaited.
#[derive(Debug)]
pub(super) struct Scrub {
    store: Arc<dyn Store>,
    pace: Pace,
    position: Option<ScrubPosition>,
    pause: Pin<Box<Sleep>>,
    /// The step that is under way, if one is.
    step: JoinSet<Option<Scrubbed>>,
}

impl Scrub {
    /// Call it within the runtime.
    pub(super) fn new(store: Arc<dyn Store>, pace: Pace) -> Self {
        let pause = Box::pin(sleep(pace.first));
        Self { store, pace, position: None, pause, step: JoinSet::new() }
    }

    /// The damage that is found next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<Damage> {
        loop {
            if self.step.is_empty() {
                self.pause.as_mut().await;
                let store = Arc::clone(&self.store);
                let (after, bytes_max) = (self.position, self.pace.step_bytes);
                self.step.spawn_blocking(move || scrub(&*store, after, bytes_max));
            }
            let Some(outcome) = self.step.join_next().await else { continue };
            // A store that cannot be read now is tried again in the next round.
            let scrubbed = outcome.ok().flatten();
            self.position = scrubbed.as_ref().and_then(|scrubbed| scrubbed.next);
            let pause = match &scrubbed {
                Some(Scrubbed { next: Some(_), bytes, .. }) => {
                    let bytes = u32::try_from(*bytes).unwrap_or(u32::MAX);
                    Duration::from_secs(1) * bytes / self.pace.bytes_per_second
                }
                _ => self.pace.between,
            };
            self.pause.set(sleep(pause));
            if let Some(scrubbed) = scrubbed.filter(|scrubbed| !scrubbed.damages.is_empty()) {
                return scrubbed.damages;
            }
        }
    }

    /// Waits for the step that is under way.
    pub(super) async fn stop(mut self) {
        while self.step.join_next().await.is_some() {}
    }
}

fn scrub(store: &dyn Store, after: Option<ScrubPosition>, bytes_max: usize) -> Option<Scrubbed> {
    match catch_unwind(AssertUnwindSafe(|| store.scrub(after, bytes_max))) {
        Ok(Ok(scrubbed)) => Some(scrubbed),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store cannot be scrubbed");
            None
        }
        Err(_) => {
            tracing::error!("a scrub panicked");
            None
        }
    }
}
