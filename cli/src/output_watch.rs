//! Whether anybody still reads standard output.

use std::{
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{FileType, fstat};
use tokio::io::{Interest, unix::AsyncFd};

/// Notices that the reader of standard output went away, without writing to it. A pipe or a socket
/// can be closed so; a terminal and a file never are.
#[derive(Debug)]
pub(crate) struct OutputWatch(Option<AsyncFd<OwnedFd>>);

impl OutputWatch {
    /// Starts to watch. What cannot be watched is noticed by the next write.
    pub(crate) fn start() -> Self {
        Self(watched().ok().flatten())
    }

    /// Waits until nobody reads the output any more. Cancel-safe.
    pub(crate) async fn closed(&self) {
        let Some(output) = &self.0 else { return pending().await };
        loop {
            let Ok(mut guard) = output.writable().await else { return pending().await };
            if guard.ready().is_write_closed() {
                return;
            }
            // It can be written to, which is no news: the next event is.
            guard.clear_ready();
        }
    }
}

fn watched() -> io::Result<Option<AsyncFd<OwnedFd>>> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    match FileType::from_raw_mode(fstat(&output)?.st_mode) {
        FileType::Fifo | FileType::Socket =>
        {
            #[expect(deprecated, reason = "it is sound for a descriptor that is owned")]
            AsyncFd::with_interest(output, Interest::WRITABLE).map(Some)
        }
        _ => Ok(None),
    }
}
