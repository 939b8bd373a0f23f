//! A table of things under numbers that are never given again.

use std::collections::BTreeMap;

/// A table of small numbered things.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    next: u64,
    pub(super) things: BTreeMap<u64, T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { next: 0, things: BTreeMap::new() }
    }
}

impl<T> Numbered<T> {
    pub(super) fn put(&mut self, thing: T) -> u64 {
        self.next += 1;
        self.things.insert(self.next, thing);
        self.next
    }
}
