//! Sweeps beside the reads: one may take minutes, and those who read do not wait for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use antiphon::{
    engine::{Sweep, Ticket},
    model::TopicId,
};
use tokio::task::JoinSet;

use super::attempt;
use crate::store::{Store, Sweeping};

/// What came of a sweep; nothing when the disk could not be read.
pub(super) type Outcome = (Ticket, Option<Sweeping>);

/// The sweeps under way: the engine has one at a time. Dropping it stops them soon.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    tasks: JoinSet<Outcome>,
    stop: Arc<AtomicBool>,
}

impl Sweeps {
    /// Call it within the runtime.
    pub(super) fn begin(
        &mut self,
        store: Arc<dyn Store>,
        ticket: Ticket,
        topic: TopicId,
        sweep: Sweep,
    ) {
        let stop = Arc::clone(&self.stop);
        self.tasks
            .spawn_blocking(move || (ticket, attempt(topic, || store.sweep(topic, &sweep, &stop))));
    }

    /// The outcome that comes next; none when no sweep is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Outcome> {
        loop {
            // One without an outcome is one of a runtime that is shutting down.
            if let Ok(outcome) = self.tasks.join_next().await? {
                return Some(outcome);
            }
        }
    }

    /// Stops what is under way.
    pub(super) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Sweeps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
