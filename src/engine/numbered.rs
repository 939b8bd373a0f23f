//! Tables of things under ids that are never given again.

use std::collections::BTreeMap;

/// A table of things, each of which gets an id of its own when it is inserted.
#[derive(Debug)]
pub(super) struct Numbered<Id, T> {
    last: u64,
    things: BTreeMap<Id, T>,
}

impl<Id, T> Default for Numbered<Id, T> {
    fn default() -> Self {
        Self { last: 0, things: BTreeMap::new() }
    }
}

impl<Id: From<u64> + Copy + Ord, T> Numbered<Id, T> {
    /// Adds a thing, and says under which id.
    pub(super) fn insert(&mut self, thing: T) -> Id {
        self.last += 1;
        let id = Id::from(self.last);
        self.things.insert(id, thing);
        id
    }

    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.things.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.things.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        self.things.remove(&id)
    }

    /// Keeps what the test wants to keep, which may change it.
    pub(super) fn retain(&mut self, mut test: impl FnMut(&mut T) -> bool) {
        self.things.retain(|_, thing| test(thing));
    }

    /// Takes out the things that the test wants to have.
    pub(super) fn extract(&mut self, mut test: impl FnMut(&T) -> bool) -> Vec<T> {
        let taken = self.things.extract_if(.., |_, thing| test(thing));
        taken.map(|(_, thing)| thing).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// All ids, in the order in which they were given.
    pub(super) fn ids(&self) -> Vec<Id> {
        self.things.keys().copied().collect()
    }

    /// All things with their ids, in the order in which they were inserted.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.things.iter().map(|(id, thing)| (*id, thing))
    }

    /// The same, to change the things.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.things.iter_mut().map(|(id, thing)| (*id, thing))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.things.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.things.values_mut()
    }
}
