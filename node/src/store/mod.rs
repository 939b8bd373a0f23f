//! The disk of one node, behind a small trait.
//!
//! A [`Store`] keeps what the engine writes and returns it: batches and what is held of their logs,
//! positions of subscriptions, contacts. It knows nothing of replication. Three rules hold for all
//! stores:
//!
//! - **Flushed means flushed.** [`Store::commit`] returns after the flush. Readers see what a
//!   commit wrote only from then on.
//! - **A failed write is the last one.** After it the kernel may have thrown the data away, and
//!   report success on the next try ("Can Applications Recover from fsync Failures?", Rebello et
//!   al., 2020). So the store latches: every later write fails too. A file that is no longer at its
//!   name counts as a failed write: no start would find what was flushed to it.
//! - **Damaged bytes are never returned.** Each batch is checked against the hash under which it
//!   was stored. A log ends for its readers where it is damaged. The damage is reported as
//!   [`Damage`], and repair brings the batch from another replica.
//!
//! - `segments`: the store of a node, and `keys` the keys of its index
//! - `memory`, `faulty`: for tests, the same semantics without a disk and with a bad one
//! - `merge`: how a read goes through several logs
//! - `sweep`: what the sweeps of compacted topics have in common
//! - `writer`: the thread that writes, and how the runtime speaks with it
//! - `scrub`: the slow walk over all that is stored, to find damage before it is asked for
//! - `directory`, `identity`, `life`: the data directory, its lock, the node's key, and whether the
//!   last stop was a clean one
//! - `room`: how much room there is, as users are told
//! - `placed`: whether the files that are open are still at their names

mod directory;
mod identity;
mod kept;
mod keys;
mod life;
mod merge;
mod placed;
mod room;
mod scrub;
mod segments;
mod sweep;
mod writer;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::atomic::AtomicBool};

use antiphon::{
    engine::{Damage, Early, Part, Recovered, Sweep, Swept, Write},
    model::TopicId,
    wire::{Checked, LogRange, Page},
};
pub(crate) use directory::{DataDirectory, DirectoryError, key_path, operator_key_path};
pub(crate) use identity::{
    OperatorKeyFailure, create_key_file, load_key, load_key_file, load_or_create_key,
    load_or_create_operator_key,
};
pub(crate) use kept::{load_network, load_network_file, network_path, write_network};
pub(crate) use life::Life;
pub(crate) use room::{DISK_BYTES_MIN, Level, Room};
pub(crate) use segments::SegmentStore;
use thiserror::Error;
pub(crate) use writer::{StoreEvent, StoreHandle};

/// What keeps the data of one node. All calls block; [`StoreHandle`] makes them from threads of
/// their own.
pub(crate) trait Store: fmt::Debug + Send + Sync + 'static {
    /// What is held. `catalogue` has all batches of the topic that was named at opening.
    ///
    /// # Errors
    /// When the disk fails. Nothing has changed.
    fn recover(&self) -> Result<Recovered, StoreError>;

    /// Applies writes in order and returns when they are flushed. After a crash each write is
    /// there whole or not at all, and none is there without those before it.
    ///
    /// # Errors
    /// When the disk fails. It is not known which of the writes are kept, and every later write
    /// fails with [`StoreError::Latched`]. But after an error that
    /// [passes](StoreError::passes) a beginning of the writes may be there, and all of them may
    /// be tried again.
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Reads batches of one topic, merged by stamp, writer, incarnation and number; within a log
    /// the order is always that of the log. What is `early` comes before what other logs have.
    ///
    /// A log is read from the batch that holds record `from` to the one that holds `to - 1`, and
    /// ends early at a hole or at damage. At most `bytes_max` bytes of batches come, but at least
    /// one batch. `finished` says whether every log was read up to its `to`.
    ///
    /// The page has the compacted ranges, joined if they follow each other, and each with the batch
    /// that follows it. That batch is read also if the range reaches to `to` or beyond. If it is
    /// missing, the range ends its log in the page.
    ///
    /// For a range of a single record whose batch was trimmed, the header is returned, if it is
    /// kept and can be read. At most
    /// [`HEADERS_PER_PAGE_MAX`](antiphon::limits::HEADERS_PER_PAGE_MAX) are.
    ///
    /// # Errors
    /// When the disk fails, or the index is lost and not rebuilt yet.
    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Result<Reading, StoreError>;

    /// Reads the batches and compacted parts of one log from the disk and verifies them, from the
    /// one that holds record `from` to the one that holds `to - 1`. It goes past holes and damage.
    /// It stops behind the one with which `bytes_max` is reached, or at `to`.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn check(
        &self,
        topic: TopicId,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Checking, StoreError>;

    /// How much is stored of ranges of logs: of the batches and compacted ranges that start in
    /// them.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Result<Vec<Part>, StoreError>;

    /// Finds out what may be compacted of a topic, until it is told to stop. It may take long, and
    /// lets others use the disk meanwhile.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn sweep(
        &self,
        topic: TopicId,
        sweep: &Sweep,
        stop: &AtomicBool,
    ) -> Result<Sweeping, StoreError>;

    /// Reads what is stored of whatever log from the disk and verifies them: those behind a
    /// position, until `bytes_max` is reached.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn scrub(&self, after: Option<ScrubPosition>, bytes_max: usize)
    -> Result<Scrubbed, StoreError>;

    /// Does a bounded part of the upkeep: sets space aside, frees space, rebuilds a lost index.
    /// Call it between commits, and every second or so.
    ///
    /// # Errors
    /// When a write failed; the store is latched then.
    fn maintain(&self) -> Result<Upkeep, StoreError>;

    /// Whether what the store has open is where a start would look for it.
    ///
    /// # Errors
    /// [`StoreError::Displaced`] when it is not; the store is latched then.
    fn in_place(&self) -> Result<(), StoreError> {
        Ok(())
    }

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

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The batches.
    pub(crate) page: Page,
    /// The batches that could not be read and ended their logs, at most one of each log.
    pub(crate) damages: Vec<Damage>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checking {
    /// What is whole, what is damaged, and where to go on.
    pub(crate) checked: Checked,
    /// The batches that could not be read.
    pub(crate) damages: Vec<Damage>,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sweeping {
    /// What may go; none when it was stopped.
    pub(crate) swept: Option<Swept>,
    /// The batches that could not be read.
    pub(crate) damages: Vec<Damage>,
}

/// How far a scrub has come: the last batch that it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScrubPosition(keys::Place);

/// What a part of a scrub found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// Where to go on; none behind the last batch.
    pub(crate) next: Option<ScrubPosition>,
    /// Bytes that were read.
    pub(crate) bytes: usize,
    /// The batches that could not be read.
    pub(crate) damages: Vec<Damage>,
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// Whether there is room for more records, and how much.
    pub(crate) room: Room,
    /// Whether more upkeep is due.
    pub(crate) busy: bool,
    /// Damage that was found meanwhile, each reported once.
    pub(crate) damages: Vec<Damage>,
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
    /// The index is damaged. The data is not, and the index is rebuilt from it.
    #[error("the index failed while {action}: {reason}")]
    Index {
        /// What was tried.
        action: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file or directory is gone, or is another one: it was deleted, renamed or replaced, or
    /// something was mounted over it. No start would find what is written now.
    #[error("{what} {} {reason}", path.display())]
    Displaced {
        /// What it is.
        what: &'static str,
        /// Its name.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no space. Nothing that was tried has changed anything, and it may be tried again
    /// when there is.
    #[error("the disk is full")]
    Full,
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

impl StoreError {
    /// Whether it passes by itself, or by what an operator does while the node runs.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Full | Self::Index { .. })
    }
}
