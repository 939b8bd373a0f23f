//! A store whose disk fails on demand, and which counts its commits.

use std::sync::atomic::{AtomicU64, Ordering};

use antiphon::{
    engine::{Recovered, Write},
    model::TopicId,
    wire::{LogRange, Page},
};

use super::{Store, StoreError};

/// Another store, of which the commit of a given number fails and all later ones too.
#[derive(Debug)]
pub(crate) struct FaultyStore<S> {
    inner: S,
    commits: AtomicU64,
    fails_at: u64,
}

impl<S> FaultyStore<S> {
    /// `fails_at` counts from 1; 0 never fails.
    pub(crate) fn new(inner: S, fails_at: u64) -> Self {
        Self { inner, commits: AtomicU64::new(0), fails_at }
    }

    /// How many commits were asked for.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }
}

impl<S: Store> FaultyStore<S> {
    fn count(&self) -> Result<(), StoreError> {
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
        bytes_max: usize,
    ) -> Result<Page, StoreError> {
        self.inner.read(topic, ranges, bytes_max)
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.fact(name)
    }

    fn put_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.count()?;
        self.inner.put_fact(name, value)
    }
}
