//! The thread that writes, and how the runtime speaks with it.
//!
//! Writes go to one thread that takes all that is queued, commits it with one flush, and says up
//! to where all is durable (group commit): while one group is being flushed the next one
//! gathers. Reads run beside it, a few at a time.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use antiphon::{
    engine::{Ticket, Write, WriteNumber},
    model::TopicId,
    wire::{LogRange, Page},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Store, StoreError};

/// Writes that are handed to the thread ahead of time: two groups of the smallest batches.
const QUEUE_WRITES_MAX: usize = 1024;

/// Bytes after which a group takes no more writes. On slow disks a flush takes 10 ms and more
/// whatever it writes; this still gives 400 MB/s. The group is in memory twice.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of writes not yet durable above which [`StoreHandle::is_congested`] says so.
const BACKLOG_BYTES_HIGH: usize = 32 * 1024 * 1024;

/// What a write that carries no batch is reckoned with, in bytes.
const SMALL_WRITE_BYTES: usize = 512;

/// Reads at a time. Each holds a page in memory; more do not make one disk faster.
const READS_MAX: usize = 4;

/// What the store has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreEvent {
    /// Every write up to this one is flushed.
    Durable(WriteNumber),
    /// The outcome of a read; none when the disk could not be read.
    Read(Ticket, Option<Page>),
    /// A write failed. Told once; nothing becomes durable any more. Reads go on.
    Failed(StoreError),
}

/// How far the thread has come. It is the newest state that counts, so it is kept and not
/// queued: the thread never waits for the runtime.
#[derive(Debug, Clone, Default)]
struct Progress {
    durable: WriteNumber,
    failed: Option<StoreError>,
}

/// What [`StoreHandle::next`] waits for.
enum Happened {
    /// There is news, or the thread has ended.
    Progress(bool),
    /// The queue has room, or the thread has ended.
    Room(bool),
    /// A read is done, or was dropped.
    Read(Option<(Ticket, Option<Page>)>),
}

#[derive(Debug)]
struct Read {
    ticket: Ticket,
    topic: TopicId,
    ranges: Vec<LogRange>,
    bytes_max: usize,
}

/// The runtime's hold on a store.
///
/// Dropping it abandons what is not handed to the thread yet; the thread writes the rest and ends
/// by itself. [`StoreHandle::stop`] leaves nothing behind.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    store: Arc<dyn Store>,
    queue: mpsc::Sender<(WriteNumber, Write)>,
    /// Writes that found the queue full, in order. Bounded by what the engine lets come in, and
    /// the runtime heeds [`StoreHandle::is_congested`].
    overflow: VecDeque<(WriteNumber, Write)>,
    /// Bytes of writes in queue, overflow and the group at hand.
    backlog: Arc<AtomicUsize>,
    progress: watch::Receiver<Progress>,
    /// What of the progress was told already.
    durable: WriteNumber,
    failed: bool,
    /// Reads that wait for their turn. Bounded by the questions that the engine works on.
    waiting: VecDeque<Read>,
    reads: JoinSet<(Ticket, Option<Page>)>,
    thread: thread::JoinHandle<()>,
}

impl StoreHandle {
    /// Starts the thread. Write numbers must rise from 1.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (queue, writes) = mpsc::channel(QUEUE_WRITES_MAX);
        let (told, progress) = watch::channel(Progress::default());
        let backlog = Arc::new(AtomicUsize::new(0));
        let thread = thread::Builder::new().name("antiphon-store".to_owned()).spawn({
            let store = Arc::clone(&store);
            let backlog = Arc::clone(&backlog);
            move || {
                write_groups(&*store, writes, &told, &backlog);
                // Whoever waits for the end of the thread finds the store released.
                drop(store);
                drop(told);
            }
        })?;
        Ok(Self {
            store,
            queue,
            overflow: VecDeque::new(),
            backlog,
            progress,
            durable: WriteNumber::default(),
            failed: false,
            waiting: VecDeque::new(),
            reads: JoinSet::new(),
            thread,
        })
    }

    /// Takes a write, in the order of the numbers. Never waits: what the queue has no room for
    /// is kept here, and [`StoreHandle::next`] hands it on.
    pub(crate) fn write(&mut self, number: WriteNumber, write: Write) {
        self.backlog.fetch_add(size_bytes(&write), Ordering::Relaxed);
        self.overflow.push_back((number, write));
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Ok(permit) = self.queue.try_reserve() {
            let Some(next) = self.overflow.pop_front() else {
                return;
            };
            permit.send(next);
        }
    }

    /// Whether so much waits for the disk that the runtime should take in no more from the
    /// network until [`StoreEvent::Durable`] comes.
    pub(crate) fn is_congested(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > BACKLOG_BYTES_HIGH
    }

    /// Begins a read; [`StoreEvent::Read`] follows exactly once. To be called within the
    /// runtime. What must be durable before it is the caller's care.
    pub(crate) fn read(
        &mut self,
        ticket: Ticket,
        topic: TopicId,
        ranges: Vec<LogRange>,
        bytes_max: usize,
    ) {
        self.waiting.push_back(Read { ticket, topic, ranges, bytes_max });
        self.begin_reads();
    }

    fn begin_reads(&mut self) {
        while self.reads.len() < READS_MAX {
            let Some(read) = self.waiting.pop_front() else {
                return;
            };
            let store = Arc::clone(&self.store);
            self.reads.spawn_blocking(move || (read.ticket, read_page(&*store, &read)));
        }
    }

    /// What happened next. Cancel-safe. Writes move on only while this is being awaited.
    pub(crate) async fn next(&mut self) -> StoreEvent {
        loop {
            if let Some(event) = self.news() {
                return event;
            }
            let happened = tokio::select! {
                changed = self.progress.changed(), if !self.failed => Happened::Progress(changed.is_ok()),
                room = self.queue.reserve(), if !self.overflow.is_empty() => Happened::Room(room.is_ok()),
                Some(read) = self.reads.join_next() => Happened::Read(read.ok()),
                else => std::future::pending().await,
            };
            match happened {
                Happened::Progress(true) => {}
                Happened::Progress(false) => {
                    self.failed = true;
                    return StoreEvent::Failed(StoreError::Broken);
                }
                Happened::Room(true) => self.hand_over(),
                // The thread is gone, which the progress tells.
                Happened::Room(false) => self.overflow.clear(),
                Happened::Read(read) => {
                    self.begin_reads();
                    // A read without an outcome is one of a runtime that is shutting down.
                    if let Some((ticket, page)) = read {
                        return StoreEvent::Read(ticket, page);
                    }
                }
            }
        }
    }

    /// The part of the progress that was not told yet.
    fn news(&mut self) -> Option<StoreEvent> {
        let progress = self.progress.borrow_and_update();
        if progress.durable > self.durable {
            self.durable = progress.durable;
            return Some(StoreEvent::Durable(self.durable));
        }
        let failed = progress.failed.clone().filter(|_| !self.failed)?;
        self.failed = true;
        Some(StoreEvent::Failed(failed))
    }

    /// Writes and flushes all that was taken, and ends the thread. Reads that are under way are
    /// waited for, those that wait are dropped.
    ///
    /// # Errors
    /// When a write failed, now or before.
    pub(crate) async fn stop(self) -> Result<(), StoreError> {
        let Self { store, queue, overflow, mut progress, mut reads, thread, .. } = self;
        for write in overflow {
            if queue.send(write).await.is_err() {
                break;
            }
        }
        drop(queue);
        while reads.join_next().await.is_some() {}
        while progress.changed().await.is_ok() {}
        // The last hold on a store closes its files, which may take a moment.
        let ended = tokio::task::spawn_blocking(move || {
            drop(store);
            thread.join().is_ok()
        });
        let ended = ended.await.unwrap_or(false);
        match progress.borrow().failed.clone() {
            Some(error) => Err(error),
            None if ended => Ok(()),
            None => Err(StoreError::Broken),
        }
    }
}

/// The thread: takes what is queued, commits, tells.
fn write_groups(
    store: &dyn Store,
    mut queue: mpsc::Receiver<(WriteNumber, Write)>,
    told: &watch::Sender<Progress>,
    backlog: &AtomicUsize,
) {
    let mut failed = false;
    let mut group = Vec::new();
    while let Some((mut last, write)) = queue.blocking_recv() {
        let mut bytes = size_bytes(&write);
        group.push(write);
        while bytes < GROUP_BYTES_MAX
            && let Ok((number, write)) = queue.try_recv()
        {
            debug_assert!(last < number, "writes come in order");
            bytes += size_bytes(&write);
            group.push(write);
            last = number;
        }
        // After a failure writes are still taken, and forgotten, so that nobody waits for room.
        if !failed {
            let result = store.commit(&group);
            failed = result.is_err();
            told.send_modify(|progress| match result {
                Ok(()) => progress.durable = last,
                Err(error) => progress.failed = Some(error),
            });
        }
        group.clear();
        backlog.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A read that fails, or that panics over damaged data, gives no page.
fn read_page(store: &dyn Store, read: &Read) -> Option<Page> {
    let page =
        catch_unwind(AssertUnwindSafe(|| store.read(read.topic, &read.ranges, read.bytes_max)));
    match page {
        Ok(Ok(page)) => Some(page),
        Ok(Err(error)) => {
            tracing::warn!(topic = ?read.topic, %error, "a read failed");
            None
        }
        Err(_) => {
            tracing::error!(topic = ?read.topic, "a read panicked");
            None
        }
    }
}

fn size_bytes(write: &Write) -> usize {
    let batch = match write {
        Write::Append { batch, .. } => batch.bytes().len(),
        Write::Descriptor(_, descriptor) => descriptor.bytes().len(),
        Write::Fork(proof) => proof.bytes().len(),
        Write::Drop { .. }
        | Write::Quarantine { .. }
        | Write::Subscription { .. }
        | Write::Contact(_)
        | Write::Forget(_) => 0,
    };
    batch + SMALL_WRITE_BYTES
}
