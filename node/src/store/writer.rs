//! The thread that writes, and how the runtime speaks with it.
//!
//! Writes go to one thread. It takes everything that is queued, commits it with one flush, and
//! reports up to where everything is durable (group commit). While one group is flushed, the next
//! one gathers. Between groups, and every second, it does the upkeep of the store. Reads run beside
//! it, a few at a time, and so do a sweep and a scrub.
//!
//! A commit that finds no space is tried again until it succeeds: what was accepted waits in
//! memory. Meanwhile [`StoreEvent::Room`] has said that nothing more may be accepted.

mod sweeps;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use antiphon::{
    engine::{Damage, Early, Part, Sweep, Swept, Ticket, Write, WriteNumber},
    model::TopicId,
    wire::{Checked, LogRange, Page},
};
use tokio::{
    sync::{mpsc, mpsc::error::TryRecvError, watch},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use self::sweeps::Sweeps;
use super::{
    Checking, Level, Reading, Room, Store, StoreError, Sweeping,
    scrub::{Pace, Scrub},
};

/// Writes that are handed to the thread ahead of time: two groups of the smallest batches.
const QUEUE_WRITES_MAX: usize = 1024;

/// Bytes after which a group takes no more writes. On slow disks a flush takes 10 ms and more
/// whatever it writes; this still gives 400 MB/s. The group is in memory twice.
pub(super) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of writes not yet durable above which [`StoreHandle::is_congested`] says so.
/// So much room is kept in reserve.
pub(super) const BACKLOG_BYTES_HIGH: usize = 16 * 1024 * 1024;

/// What a write without a batch counts as, in bytes.
const SMALL_WRITE_BYTES: usize = 512;

/// How often an idle store is looked after, and a commit that found no space is tried again.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of writes after which a busy store is looked after.
const UPKEEP_BYTES: usize = 2 * 1024 * 1024;

/// Pause between two parts of the upkeep of an idle store, in milliseconds.
const UPKEEP_PAUSES: usize = 50;

/// Reads at a time. Each holds a page in memory; more do not make one disk faster.
const READS_MAX: usize = 4;

/// What the store has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreEvent {
    /// Every write up to this one is flushed.
    Durable(WriteNumber),
    /// The outcome of a check; none when the disk could not be read.
    Checked(Ticket, Option<Checked>),
    /// The outcome of a read; none when the disk could not be read.
    Read(Ticket, Option<Page>),
    /// The outcome of a measurement; none when the disk could not be read.
    Measured(Ticket, Option<Vec<Part>>),
    /// The outcome of a sweep; none when the disk could not be read.
    Swept(Ticket, Option<Swept>),
    /// A stored batch can no longer be read. Told before the read that found it.
    Damaged(Damage),
    /// How much room there is for more records. Told when it changes from one level to another, and
    /// while there is none; at first there is.
    Room(Room),
    /// A write failed. Told once; nothing becomes durable any more. Reads go on.
    Failed(StoreError),
}

/// How far the thread has come. It is the newest state that counts, so it is kept and not
/// queued: the thread never waits for the runtime.
#[derive(Debug, Clone)]
struct Progress {
    durable: WriteNumber,
    room: Room,
    failed: Option<StoreError>,
}

/// What the thread is given to do.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are writes")]
enum Job {
    Write(WriteNumber, Write),
    Upkeep,
}

/// What [`StoreHandle::next`] waits for.
enum Happened {
    /// There is news, or the thread has ended.
    Progress(bool),
    /// The queue has room, or the thread has ended.
    Room(bool),
    /// A read is done, or was dropped.
    Read(Option<(Ticket, Outcome)>),
    /// A sweep is done.
    Swept(sweeps::Outcome),
    /// The scrub found something.
    Scrubbed(Vec<Damage>),
    /// It is time to look after the store.
    Upkeep,
}

#[derive(Debug)]
struct Read {
    ticket: Ticket,
    topic: TopicId,
    wanted: Wanted,
    bytes_max: usize,
}

/// What is read.
#[derive(Debug)]
enum Wanted {
    /// Batches of logs, and which of them come first.
    Page(Vec<LogRange>, Early),
    /// A range of one log, to check what is there of it.
    Check(LogRange),
    /// How much there is of logs.
    Measure(Vec<LogRange>),
}

/// What came of a read; nothing when the disk could not be read.
#[derive(Debug)]
enum Outcome {
    Page(Option<Reading>),
    Check(Option<Checking>),
    Measure(Option<Vec<Part>>),
}

/// The runtime's hold on a store.
///
/// Dropping it abandons what is not handed to the thread yet; the thread writes the rest and ends
/// by itself. [`StoreHandle::stop`] leaves nothing behind.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    store: Arc<dyn Store>,
    queue: mpsc::Sender<Job>,
    /// Writes that found the queue full, in order. Bounded by what the engine lets come in, and
    /// the runtime heeds [`StoreHandle::is_congested`].
    overflow: VecDeque<(WriteNumber, Write)>,
    /// Bytes of writes in queue, overflow and the group at hand.
    backlog: Arc<AtomicUsize>,
    progress: watch::Receiver<Progress>,
    /// What of the progress was told already.
    durable: WriteNumber,
    room: Room,
    failed: bool,
    /// Damage that the thread found and that is not told yet.
    found: Arc<Mutex<Vec<Damage>>>,
    /// What to report next.
    told: VecDeque<StoreEvent>,
    upkeep: Interval,
    scrub: Scrub,
    /// Reads that wait for their turn. Bounded by the questions that the engine works on.
    waiting: VecDeque<Read>,
    reads: JoinSet<(Ticket, Outcome)>,
    sweeps: Sweeps,
    thread: thread::JoinHandle<()>,
}

impl StoreHandle {
    /// Starts the thread. Write numbers must rise from 1. To be called within the runtime.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        Self::start_with(store, Pace::default())
    }

    fn start_with(store: Arc<dyn Store>, pace: Pace) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_WRITES_MAX);
        let at_first =
            Progress { durable: WriteNumber::default(), room: Room::ample(), failed: None };
        let (told, progress) = watch::channel(at_first);
        let backlog = Arc::new(AtomicUsize::new(0));
        let found = Arc::<Mutex<Vec<Damage>>>::default();
        let thread = thread::Builder::new().name("antiphon-store".to_owned()).spawn({
            let store = Arc::clone(&store);
            let (backlog, found) = (Arc::clone(&backlog), Arc::clone(&found));
            move || {
                WriterThread { store: &*store, told: &told, backlog: &backlog, found: &found }
                    .run(jobs);
                // Whoever waits for the end of the thread finds the store released.
                drop(store);
                drop(told);
            }
        })?;
        let mut upkeep = interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            scrub: Scrub::new(Arc::clone(&store), pace),
            store,
            queue,
            overflow: VecDeque::new(),
            backlog,
            progress,
            durable: WriteNumber::default(),
            room: Room::ample(),
            failed: false,
            found,
            told: VecDeque::new(),
            upkeep,
            waiting: VecDeque::new(),
            reads: JoinSet::new(),
            sweeps: Sweeps::default(),
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
            let Some((number, write)) = self.overflow.pop_front() else {
                return;
            };
            permit.send(Job::Write(number, write));
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
        early: Early,
        bytes_max: usize,
    ) {
        let wanted = Wanted::Page(ranges, early);
        self.waiting.push_back(Read { ticket, topic, wanted, bytes_max });
        self.begin_reads();
    }

    /// Begins to check a range; [`StoreEvent::Checked`] follows exactly once. Otherwise as
    /// [`Self::read`].
    pub(crate) fn check(
        &mut self,
        ticket: Ticket,
        topic: TopicId,
        range: LogRange,
        bytes_max: usize,
    ) {
        let wanted = Wanted::Check(range);
        self.waiting.push_back(Read { ticket, topic, wanted, bytes_max });
        self.begin_reads();
    }

    /// Begins to find out how much is stored; [`StoreEvent::Measured`] follows exactly once.
    /// Otherwise as [`Self::read`].
    pub(crate) fn measure(&mut self, ticket: Ticket, topic: TopicId, ranges: Vec<LogRange>) {
        let wanted = Wanted::Measure(ranges);
        self.waiting.push_back(Read { ticket, topic, wanted, bytes_max: 0 });
        self.begin_reads();
    }

    /// Begins to find out what compaction may take away; [`StoreEvent::Swept`] follows exactly
    /// once. It takes no turn from the reads. Otherwise as [`Self::read`].
    pub(crate) fn sweep(&mut self, ticket: Ticket, topic: TopicId, sweep: Sweep) {
        self.sweeps.begin(Arc::clone(&self.store), ticket, topic, sweep);
    }

    fn begin_reads(&mut self) {
        while self.reads.len() < READS_MAX {
            let Some(read) = self.waiting.pop_front() else {
                return;
            };
            let store = Arc::clone(&self.store);
            self.reads.spawn_blocking(move || (read.ticket, carry_out(&*store, &read)));
        }
    }

    /// What happened next. Cancel-safe. Writes move on only while this is being awaited.
    pub(crate) async fn next(&mut self) -> StoreEvent {
        loop {
            if let Some(event) = self.told.pop_front().or_else(|| self.news()) {
                return event;
            }
            let happened = tokio::select! {
                changed = self.progress.changed(), if !self.failed => Happened::Progress(changed.is_ok()),
                room = self.queue.reserve(), if !self.overflow.is_empty() => Happened::Room(room.is_ok()),
                Some(read) = self.reads.join_next() => Happened::Read(read.ok()),
                Some(swept) = self.sweeps.next() => Happened::Swept(swept),
                damages = self.scrub.next() => Happened::Scrubbed(damages),
                _ = self.upkeep.tick() => Happened::Upkeep,
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
                    if let Some((ticket, outcome)) = read {
                        self.tell_outcome(ticket, outcome);
                    }
                }
                Happened::Swept((ticket, outcome)) => {
                    let Sweeping { swept, damages } = outcome.unwrap_or_default();
                    self.told.extend(damages.into_iter().map(StoreEvent::Damaged));
                    self.told.push_back(StoreEvent::Swept(ticket, swept));
                }
                Happened::Scrubbed(damages) => {
                    self.told.extend(damages.into_iter().map(StoreEvent::Damaged));
                }
                // A thread with a full queue looks after the store unasked.
                Happened::Upkeep => drop(self.queue.try_send(Job::Upkeep)),
            }
        }
    }

    /// Damage is told before what it was found for.
    fn tell_outcome(&mut self, ticket: Ticket, outcome: Outcome) {
        let (damages, event) = match outcome {
            Outcome::Page(Some(Reading { page, damages })) => {
                (damages, StoreEvent::Read(ticket, Some(page)))
            }
            Outcome::Page(None) => (Vec::new(), StoreEvent::Read(ticket, None)),
            Outcome::Check(Some(Checking { checked, damages })) => {
                (damages, StoreEvent::Checked(ticket, Some(checked)))
            }
            Outcome::Check(None) => (Vec::new(), StoreEvent::Checked(ticket, None)),
            Outcome::Measure(parts) => (Vec::new(), StoreEvent::Measured(ticket, parts)),
        };
        self.told.extend(damages.into_iter().map(StoreEvent::Damaged));
        self.told.push_back(event);
    }

    /// The part of the progress that was not told yet.
    fn news(&mut self) -> Option<StoreEvent> {
        let progress = self.progress.borrow_and_update();
        if progress.durable > self.durable {
            self.durable = progress.durable;
            return Some(StoreEvent::Durable(self.durable));
        }
        if progress.room != self.room {
            self.room.clone_from(&progress.room);
            return Some(StoreEvent::Room(self.room.clone()));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(damage) = found.pop() {
            return Some(StoreEvent::Damaged(damage));
        }
        let failed = progress.failed.clone().filter(|_| !self.failed)?;
        self.failed = true;
        Some(StoreEvent::Failed(failed))
    }

    /// Writes and flushes all that was taken, and ends the thread. Reads that are under way are
    /// waited for, those that wait are dropped, and so is a sweep.
    ///
    /// # Errors
    /// When a write failed, now or before.
    pub(crate) async fn stop(self) -> Result<(), StoreError> {
        let Self { store, queue, overflow, mut progress, mut reads, sweeps, scrub, thread, .. } =
            self;
        sweeps.stop().await;
        for (number, write) in overflow {
            if queue.send(Job::Write(number, write)).await.is_err() {
                break;
            }
        }
        drop(queue);
        while reads.join_next().await.is_some() {}
        scrub.stop().await;
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

/// The thread: takes what is queued, commits, tells, and looks after the store.
#[derive(Debug, Clone, Copy)]
struct WriterThread<'a> {
    store: &'a dyn Store,
    told: &'a watch::Sender<Progress>,
    backlog: &'a AtomicUsize,
    found: &'a Mutex<Vec<Damage>>,
}

impl WriterThread<'_> {
    fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        // Bytes that were written since the store was looked after.
        let mut written = 0;
        let mut is_busy = false;
        while let Some(job) = Self::wait(&mut queue, is_busy) {
            let Job::Write(mut last, write) = job else {
                is_busy = self.look_after();
                continue;
            };
            let mut bytes = size_bytes(&write);
            group.push(write);
            while bytes < GROUP_BYTES_MAX
                && let Ok(job) = queue.try_recv()
            {
                let Job::Write(number, write) = job else {
                    written = UPKEEP_BYTES;
                    continue;
                };
                debug_assert!(last < number, "writes come in order");
                bytes += size_bytes(&write);
                group.push(write);
                last = number;
            }
            // After a failure writes are still taken, and forgotten, so that nobody waits for room.
            if self.told.borrow().failed.is_none() {
                let result = self.commit(&group, &queue);
                self.told.send_modify(|progress| match result {
                    Ok(()) => progress.durable = last,
                    Err(error) => progress.failed = Some(error),
                });
            }
            group.clear();
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
            written += bytes;
            if written >= UPKEEP_BYTES {
                written = 0;
                is_busy = self.look_after();
            }
        }
        // A clean stop is one of the directory that a start finds.
        if self.told.borrow().failed.is_none()
            && let Err(error) = self.store.in_place()
        {
            self.told.send_modify(|progress| progress.failed = Some(error));
        }
    }

    /// The next job; none when there will be no more. A busy store is looked after meanwhile.
    fn wait(queue: &mut mpsc::Receiver<Job>, is_busy: bool) -> Option<Job> {
        if !is_busy {
            return queue.blocking_recv();
        }
        for _ in 0..UPKEEP_PAUSES {
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                // Short, for a write may come.
                Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Some(Job::Upkeep)
    }

    /// Commits a group, as often as it takes to find space for it. Only a node that stops does
    /// not wait.
    fn commit(self, group: &[Write], queue: &mpsc::Receiver<Job>) -> Result<(), StoreError> {
        let mut is_first = true;
        loop {
            match self.store.commit(group) {
                Err(error) if error.passes() && !queue.is_closed() => {
                    if std::mem::take(&mut is_first) {
                        tracing::warn!(%error, "what was accepted waits for the disk");
                    }
                    // What is done for the store may give space back.
                    let is_busy = self.look_after();
                    let room = self.told.borrow().room.clone();
                    self.tell_room(Room { level: Level::Full, ..room });
                    if !is_busy {
                        thread::sleep(UPKEEP_INTERVAL);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Does a part of the upkeep. Returns whether there is more.
    fn look_after(self) -> bool {
        if self.told.borrow().failed.is_some() {
            return false;
        }
        match self.store.maintain() {
            Ok(upkeep) => {
                if !upkeep.damages.is_empty() {
                    let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.extend(upkeep.damages);
                    drop(found);
                    self.told.send_modify(|_| {});
                }
                self.tell_room(upkeep.room);
                upkeep.busy
            }
            Err(error) => {
                self.told.send_modify(|progress| progress.failed = Some(error));
                false
            }
        }
    }

    /// Numbers alone are told only while there is no room.
    fn tell_room(self, room: Room) {
        self.told.send_if_modified(|progress| {
            let is_news = progress.room.level != room.level || room.is_full();
            let is_news = is_news && progress.room != room;
            if is_news {
                progress.room = room;
            }
            is_news
        });
    }
}

/// A read that fails, or that panics over damaged data, gives nothing.
fn carry_out(store: &dyn Store, read: &Read) -> Outcome {
    match &read.wanted {
        Wanted::Page(ranges, early) => {
            let page = || store.read(read.topic, ranges, early, read.bytes_max);
            Outcome::Page(attempt(read.topic, page))
        }
        Wanted::Check(range) => {
            Outcome::Check(attempt(read.topic, || store.check(read.topic, range, read.bytes_max)))
        }
        Wanted::Measure(ranges) => {
            Outcome::Measure(attempt(read.topic, || store.measure(read.topic, ranges)))
        }
    }
}

fn attempt<T>(topic: TopicId, read: impl FnOnce() -> Result<T, StoreError>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::warn!(?topic, %error, "a read failed");
            None
        }
        Err(_) => {
            tracing::error!(?topic, "a read panicked");
            None
        }
    }
}

fn size_bytes(write: &Write) -> usize {
    let batch = match write {
        Write::Append { batch, .. } => batch.bytes().len(),
        Write::Descriptor(_, descriptor) => descriptor.bytes().len(),
        Write::Fork(proof) => proof.bytes().len(),
        Write::Statement { statement, .. } => {
            statement.as_ref().map_or(0, |statement| statement.bytes().len())
        }
        Write::Drop { .. }
        | Write::Compact { .. }
        | Write::Quarantine { .. }
        | Write::Subscription { .. }
        | Write::Step { .. }
        | Write::Outbox { .. }
        | Write::Contact(_)
        | Write::Forget(_) => 0,
    };
    batch + SMALL_WRITE_BYTES
}
