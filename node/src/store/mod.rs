//! The disk of one node, behind a small trait.
//!
//! A [`Store`] keeps what the engine tells it to and gives it back: batches and what is held of
//! their logs, positions of subscriptions, contacts. It knows nothing of replication. Three
//! rules hold for all stores:
//!
//! - **Flushed means flushed.** [`Store::commit`] returns after the flush. What a commit wrote is
//!   visible to readers only from then on.
//! - **A failed write is the last one.** After it the kernel may have thrown the data away and
//!   report success on the next try ("Can Applications Recover from fsync Failures?", Rebello et
//!   al., 2020), so the store latches: every later write fails too.
//! - **Damaged bytes are never returned.** Each batch is checked against the hash that it was
//!   stored under; a log ends for its readers where it is damaged, and repair brings the rest
//!   from another replica.
//!
//! - `fjall`: the store of a node, and `keys` its layout on disk
//! - `memory`, `faulty`: for tests, the same semantics without a disk and with a bad one
//! - `merge`: how a read goes through several logs
//! - `writer`: the thread that writes, and how the runtime speaks with it
//! - `directory`, `identity`, `life`: the data directory, its lock, the node's key, and whether the
//!   last stop was a clean one

mod directory;
mod fjall;
mod identity;
mod keys;
mod life;
mod merge;
mod writer;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::fmt;

use antiphon::{
    engine::{Recovered, Write},
    model::TopicId,
    wire::{LogRange, Page},
};
pub(crate) use directory::{DataDirectory, DirectoryError};
pub(crate) use fjall::FjallStore;
pub(crate) use identity::load_or_create_key;
pub(crate) use life::Life;
use thiserror::Error;
pub(crate) use writer::{StoreEvent, StoreHandle};

/// What keeps the data of one node. All calls block; [`StoreHandle`] makes them from threads of
/// their own.
pub(crate) trait Store: fmt::Debug + Send + Sync + 'static {
    /// What is held. `catalogue` has all batches of the topic that was named at opening.
    ///
    /// # Errors
    /// When the disk fails or an entry is damaged. Nothing has changed.
    fn recover(&self) -> Result<Recovered, StoreError>;

    /// Applies writes in order and returns when they are flushed. After a crash each write is
    /// there whole or not at all, and none is there without those before it.
    ///
    /// # Errors
    /// When the disk fails. It is not known which of the writes are kept, and every later write
    /// fails with [`StoreError::Latched`].
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Reads batches of one topic, merged by stamp, writer, incarnation and number; within a log
    /// the order is always that of the log.
    ///
    /// A log is read from the batch that holds record `from` to the one that holds `to - 1`, and
    /// ends early at a hole or at damage. At most `bytes_max` bytes of batches come, but at least
    /// one batch. `finished` says whether every log was read up to its `to`.
    ///
    /// # Errors
    /// When the disk fails.
    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        bytes_max: usize,
    ) -> Result<Page, StoreError>;

    /// What the runtime keeps under a name.
    ///
    /// # Errors
    /// When the disk fails.
    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a value under a name, flushed. For the few small things that the runtime itself
    /// remembers, such as its last port.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// The operating system reports that the disk does not do its part.
    #[error("the disk failed while {action}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        reason: String,
    },
    /// What is on the disk is not what was written. Other replicas have it.
    #[error("damaged data found while {action}: {reason}")]
    Damaged {
        /// What was tried.
        action: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The operator's mistake: the data was written by a newer program. Nothing has changed.
    #[error("the data has format {found}; this program knows formats up to {known}")]
    NewerFormat {
        /// The format of the data.
        found: u32,
        /// The newest one that is known here.
        known: u32,
    },
    /// The operator's mistake: another process has opened the store. Nothing has changed.
    #[error("the store is open in another process")]
    Locked,
    /// An earlier write failed. Nothing has changed since.
    #[error("an earlier write failed, so none is accepted any more")]
    Latched,
    /// Our own mistake: the thread that writes has panicked. What was reported durable is.
    #[error("the thread that writes has ended unexpectedly")]
    Broken,
}
