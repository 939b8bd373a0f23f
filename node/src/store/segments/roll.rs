//! The segments that must be there, looked at a few at a time.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::{StoreError, placed::Seen};

/// Segments that are looked at in one go: 0.1 ms or less. All of 16 GiB are seen every 16 seconds
/// while nothing is written, and sooner otherwise.
const LOOKS_MAX: usize = 64;

/// The segments that were found at the start or made since, and not removed.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// What was seen of each; none until the first look.
    seen: BTreeMap<u32, Option<Seen>>,
    /// Where the next look begins.
    next: u32,
}

impl Roll {
    pub(super) fn add(&self, segment: u32) {
        self.entries().seen.insert(segment, None);
    }

    pub(super) fn remove(&self, segment: u32) {
        self.entries().seen.remove(&segment);
    }

    /// Looks at the next few.
    ///
    /// # Errors
    /// [`StoreError::Displaced`] when one of them is gone or another one.
    pub(super) fn look(&self, path: impl Fn(u32) -> PathBuf) -> Result<(), StoreError> {
        let mut entries = self.entries();
        let next = entries.next;
        let mut at = 0;
        let mut looks = 0;
        for (segment, seen) in entries.seen.range_mut(next..).take(LOOKS_MAX) {
            *seen = Some(Seen::look("the segment", &path(*segment), *seen)?);
            (at, looks) = (segment + 1, looks + 1);
        }
        entries.next = if looks < LOOKS_MAX { 0 } else { at };
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
