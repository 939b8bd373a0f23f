//! The signals that ask the process to stop: Ctrl-C, SIGTERM and a closed terminal.

use std::{io, time::Duration};

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// One of the signals that ask the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// Ctrl-C.
    Interrupt,
    /// As `kill` sends it.
    Terminate,
    /// The terminal is closed.
    HangUp,
}

impl Caught {
    /// The exit status of a process that it ended, as a shell tells it.
    pub(crate) fn status(self) -> u8 {
        128 + match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

/// Listens for the signals from its making on. Until one is made they end the process at once.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Starts to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        self.caught().await;
    }

    /// Waits for the next one, and says which it is. Cancel-safe.
    pub(crate) async fn caught(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
            _ = self.hang_up.recv() => Caught::HangUp,
        }
    }

    /// Waits for the next one that comes later than `pause` from now.
    pub(crate) async fn next_after(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
        // What came meanwhile.
        while self.next().now_or_never().is_some() {}
        self.next().await;
    }
}
