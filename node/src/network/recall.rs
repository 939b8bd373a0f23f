//! How a task is told that it has lost its place.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
};

use futures::task::AtomicWaker;

/// Something that may be recalled, once.
#[derive(Debug, Default)]
pub(super) struct Recall {
    is_recalled: AtomicBool,
    waker: AtomicWaker,
}

impl Recall {
    /// Recalls it, and wakes the task that asks for it.
    pub(super) fn recall(&self) {
        self.is_recalled.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was recalled.
    pub(super) fn is_recalled(&self) -> bool {
        self.is_recalled.load(Ordering::Acquire)
    }

    /// Whether it was recalled. If not, the task is woken up when it is.
    pub(super) fn poll(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_recalled()
    }
}
