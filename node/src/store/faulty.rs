//! A store whose disk fails, fills and damages on demand, and which counts its commits.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use antiphon::{
    engine::{Damage, Early, Part, Recovered, Sweep, Write},
    model::TopicId,
    wire::LogRange,
};

use super::{
    Checking, Level, Reading, Room, ScrubPosition, Scrubbed, Store, StoreError, Sweeping, Upkeep,
};

/// Another store, of which the commit of a given number fails and all later ones too.
#[derive(Debug)]
pub(crate) struct FaultyStore<S> {
    inner: S,
    commits: AtomicU64,
    fails_at: u64,
    full: AtomicBool,
    long_sweeps: AtomicBool,
    damages: Mutex<Vec<Damage>>,
}

impl<S> FaultyStore<S> {
    /// `fails_at` counts from 1; 0 never fails.
    pub(crate) fn new(inner: S, fails_at: u64) -> Self {
        Self {
            inner,
            commits: AtomicU64::new(0),
            fails_at,
            full: AtomicBool::default(),
            long_sweeps: AtomicBool::default(),
            damages: Mutex::default(),
        }
    }

    /// How many commits were asked for.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Fills the disk, or frees it: commits find no space from now on.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Lets sweeps go on until they are stopped.
    pub(crate) fn lengthen_sweeps(&self) {
        self.long_sweeps.store(true, Ordering::SeqCst);
    }

    /// Lets the next read or scrub find this.
    pub(crate) fn damage(&self, damage: Damage) {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
    }

    fn found(&self) -> Vec<Damage> {
        std::mem::take(&mut self.damages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store> FaultyStore<S> {
    fn count(&self) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        if self.fails_at == 0 || number < self.fails_at {
            Ok(())
        } else if number == self.fails_at {
            Err(StoreError::Io { action: "writing", reason: "planted".to_owned() })
        } else {
            Err(StoreError::Latched)
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn recover(&self) -> Result<Recovered, StoreError> {
        self.inner.recover()
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.count()?;
        self.inner.commit(writes)
    }

    fn read(
        &self,
        topic: TopicId,
        ranges: &[LogRange],
        early: &Early,
        bytes_max: usize,
    ) -> Result<Reading, StoreError> {
        let mut reading = self.inner.read(topic, ranges, early, bytes_max)?;
        reading.damages.extend(self.found());
        Ok(reading)
    }

    fn check(
        &self,
        topic: TopicId,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Checking, StoreError> {
        self.inner.check(topic, range, bytes_max)
    }

    fn measure(&self, topic: TopicId, ranges: &[LogRange]) -> Result<Vec<Part>, StoreError> {
        self.inner.measure(topic, ranges)
    }

    fn sweep(
        &self,
        topic: TopicId,
        sweep: &Sweep,
        stop: &AtomicBool,
    ) -> Result<Sweeping, StoreError> {
        while self.long_sweeps.load(Ordering::SeqCst) && !stop.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let mut sweeping = self.inner.sweep(topic, sweep, stop)?;
        sweeping.damages.extend(self.found());
        Ok(sweeping)
    }

    fn scrub(
        &self,
        after: Option<ScrubPosition>,
        bytes_max: usize,
    ) -> Result<Scrubbed, StoreError> {
        let mut scrubbed = self.inner.scrub(after, bytes_max)?;
        scrubbed.damages.extend(self.found());
        Ok(scrubbed)
    }

    fn maintain(&self) -> Result<Upkeep, StoreError> {
        let upkeep = self.inner.maintain()?;
        if !self.full.load(Ordering::SeqCst) {
            return Ok(upkeep);
        }
        Ok(Upkeep { room: Room { level: Level::Full, ..upkeep.room }, ..upkeep })
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.inner.in_place()
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.fact(name)
    }

    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.count()?;
        self.inner.put_fact(name, value)
    }
}
