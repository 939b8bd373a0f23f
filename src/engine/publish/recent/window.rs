//! What was stored lately of several topics, as far as it is remembered: bounded, the oldest goes
//! first.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::model::{LogId, ProducerId, Run, TopicId};

/// Where the records of a run are, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) log: LogId,
    /// Sequence number of the first of them.
    pub(super) number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    place: Place,
    count: u64,
    /// When the last of them was stored here.
    at: Duration,
}

/// The runs that are remembered, by their producer and their first record.
#[derive(Debug, Default)]
struct Runs {
    stored: BTreeMap<(ProducerId, u64), Stored>,
    /// The same, in the order in which they are looked at to be forgotten, and since when they
    /// stand there.
    order: VecDeque<(Duration, ProducerId, u64)>,
}

/// Runs of records of several topics.
#[derive(Debug)]
pub(super) struct Window {
    topics: BTreeMap<TopicId, Runs>,
    /// The topics by what is looked at next of each.
    oldest: BTreeSet<(Duration, TopicId)>,
    count: usize,
    per_topic_max: usize,
    max: usize,
    age: Duration,
}

impl Window {
    pub(super) fn new(per_topic_max: usize, max: usize, age: Duration) -> Self {
        let (topics, oldest) = (BTreeMap::new(), BTreeSet::new());
        Self { topics, oldest, count: 0, per_topic_max, max, age }
    }

    /// Remembers a run that is stored at a place. Of several places of one run, the first in their
    /// order is remembered while it is held. So nodes that hold the same places name the same one.
    pub(super) fn note(
        &mut self,
        now: Duration,
        topic: TopicId,
        run: &Run,
        place: Place,
        is_held: impl Fn(&Place, u64) -> bool,
    ) {
        let runs = self.topics.entry(topic).or_default();
        let key = (run.producer, run.first);
        let count = u64::from(run.count);
        let before = runs.stored.range_mut((run.producer, 0)..key).next_back();
        if let Some(((_, first), stored)) = before
            && first + stored.count == run.first
            && stored.place.log == place.log
            && stored.place.number + stored.count == place.number
        {
            stored.count += count;
            stored.at = now;
            return;
        }
        let new = Stored { place, count, at: now };
        if let Some(stored) = runs.stored.get_mut(&key) {
            let better = count > stored.count || count == stored.count && place < stored.place;
            if better || !is_held(&stored.place, stored.count) {
                *stored = new;
            }
        } else {
            runs.stored.insert(key, new);
            if runs.order.is_empty() {
                self.oldest.insert((now, topic));
            }
            runs.order.push_back((now, run.producer, run.first));
            self.count += 1;
        }
        while self.topics.get(&topic).is_some_and(|runs| runs.stored.len() > self.per_topic_max) {
            self.look_at_oldest(topic);
        }
        while self.count > self.max
            && let Some((_, topic)) = self.oldest.first().copied()
        {
            self.look_at_oldest(topic);
        }
    }

    /// Where a run was stored.
    pub(super) fn find(&self, topic: &TopicId, run: &Run) -> Option<Place> {
        let stored = &self.topics.get(topic)?.stored;
        let upto = stored.range((run.producer, 0)..=(run.producer, run.first));
        let ((_, first), stored) = upto.last()?;
        let offset = run.first - first;
        let end = offset.checked_add(u64::from(run.count))?;
        let number = stored.place.number + offset;
        (end <= stored.count).then_some(Place { number, ..stored.place })
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some((at, topic)) = self.oldest.first().copied()
            && at + self.age < now
        {
            self.look_at_oldest(topic);
        }
    }

    /// Forgets what was remembered first of a topic, or puts it back where it has gone on since.
    fn look_at_oldest(&mut self, topic: TopicId) {
        let Some(runs) = self.topics.get_mut(&topic) else {
            return;
        };
        if let Some((since, producer, first)) = runs.order.pop_front() {
            self.oldest.remove(&(since, topic));
            let key = (producer, first);
            match runs.stored.get(&key).map(|stored| stored.at) {
                Some(at) if at > since => runs.order.push_back((at, producer, first)),
                _ => self.count -= usize::from(runs.stored.remove(&key).is_some()),
            }
        }
        match runs.order.front() {
            Some((since, ..)) => {
                self.oldest.insert((*since, topic));
            }
            None => {
                self.topics.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeKey};

    const AGE: Duration = Duration::from_mins(1);

    fn topic(number: u8) -> TopicId {
        TopicId::from_bytes([number; 32])
    }

    fn run(producer: u8, first: u64, count: u32) -> Run {
        Run { producer: ProducerId([producer; 16]), first, count }
    }

    fn place(number: u64) -> Place {
        let writer = NodeKey::from_secret(&[1; 32]).node();
        Place { log: LogId { writer, incarnation: Incarnation(1) }, number }
    }

    fn note(window: &mut Window, at: u64, of: u8, run: Run, number: u64) {
        window.note(Duration::from_secs(at), topic(of), &run, place(number), |_, _| true);
    }

    #[test]
    fn runs_that_follow_each_other_are_one() {
        let mut window = Window::new(9, 9, AGE);
        note(&mut window, 0, 1, run(1, 0, 5), 10);
        note(&mut window, 0, 1, run(1, 5, 5), 15);
        note(&mut window, 0, 1, run(1, 10, 5), 30);
        assert_eq!(window.count, 2);
        let find = |first, count| window.find(&topic(1), &run(1, first, count));
        assert_eq!(find(0, 10), Some(place(10)));
        assert_eq!(find(7, 2), Some(place(17)));
        assert_eq!(find(12, 3), Some(place(32)));
        assert_eq!(find(8, 4), None, "they are in two places");
        assert_eq!(find(12, 4), None);
        assert_eq!(window.find(&topic(1), &run(2, 0, 1)), None);
        assert_eq!(window.find(&topic(2), &run(1, 0, 1)), None);
    }

    #[test]
    fn of_two_places_all_nodes_name_the_same_one() {
        for order in [[40, 7], [7, 40]] {
            let mut window = Window::new(9, 9, AGE);
            for number in order {
                note(&mut window, 0, 1, run(1, 0, 1), number);
            }
            assert_eq!(window.find(&topic(1), &run(1, 0, 1)), Some(place(7)));
        }
        let mut window = Window::new(9, 9, AGE);
        note(&mut window, 0, 1, run(1, 0, 1), 7);
        let gone = |_: &Place, _| false;
        window.note(Duration::ZERO, topic(1), &run(1, 0, 1), place(40), gone);
        assert_eq!(window.find(&topic(1), &run(1, 0, 1)), Some(place(40)));
    }

    #[test]
    fn what_went_on_last_is_remembered_longest() {
        let mut window = Window::new(3, 100, AGE);
        (1..=3).for_each(|producer| note(&mut window, 0, 1, run(producer, 0, 1), producer.into()));
        note(&mut window, 1, 1, run(1, 1, 1), 2);
        note(&mut window, 2, 1, run(4, 0, 1), 9);
        let known = |producer| window.find(&topic(1), &run(producer, 0, 1)).is_some();
        assert_eq!([1, 2, 3, 4].map(known), [true, false, true, true]);
    }

    #[test]
    fn a_topic_that_is_full_takes_nothing_from_others() {
        let mut window = Window::new(3, 5, AGE);
        note(&mut window, 0, 9, run(1, 0, 1), 0);
        (1..=9).for_each(|producer| note(&mut window, 1, 1, run(producer, 0, 1), 0));
        assert_eq!(window.count, 4);
        assert!(window.find(&topic(9), &run(1, 0, 1)).is_some());
        (1..=3).for_each(|producer| note(&mut window, 2, 2, run(producer, 0, 1), 0));
        assert_eq!(window.count, 5);
        assert!(window.find(&topic(9), &run(1, 0, 1)).is_none(), "the oldest of all");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut window = Window::new(9, 9, AGE);
        note(&mut window, 0, 1, run(1, 0, 1), 0);
        note(&mut window, 0, 2, run(2, 0, 1), 0);
        note(&mut window, 50, 2, run(2, 1, 1), 1);
        window.expire(Duration::from_mins(1));
        assert_eq!(window.count, 2);
        window.expire(Duration::from_secs(61));
        assert_eq!((window.count, window.topics.len(), window.oldest.len()), (1, 1, 1));
        window.expire(Duration::from_secs(111));
        assert_eq!((window.count, window.topics.len(), window.oldest.len()), (0, 0, 0));
    }
}
