//! The only place where tasks are started.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task that the returned handle owns.
pub(crate) fn spawn<T: Send + 'static>(
    name: &'static str,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tracing::trace!(name, "task started");
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    tokio::spawn(future)
}

/// Starts a task that ends by itself when the handle it serves is dropped. Its failure reaches
/// the holder of that handle as a closed channel.
pub(crate) fn spawn_detached(
    name: &'static str,
    future: impl Future<Output = ()> + Send + 'static,
) {
    drop(spawn(name, future));
}
