//! Which records a reader has seen: second copies of a record have its name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use antiphon::{
    limits::RECENT_GIVEN_PER_TOPIC_MAX,
    model::{ProducerId, RecordId},
};

/// Records with given ids that are remembered: as many as nodes look for. Each is its producer's
/// only one, so among the producers they would be forgotten soon, and make others be.
const GIVEN_MAX: usize = RECENT_GIVEN_PER_TOPIC_MAX;

/// Which records were seen, per producer: the numbers below a bound and those above it. Of too many
/// producers the one that was silent for longest is forgotten first; of too many records with given
/// ids the one that was seen first.
#[derive(Debug)]
pub(in crate::client) struct Seen<Of = ()> {
    producers: BTreeMap<(Of, ProducerId), Numbers>,
    producers_max: usize,
    turn: u64,
    given: BTreeSet<(Of, ProducerId)>,
    /// The same, in the order in which they were seen.
    given_order: VecDeque<(Of, ProducerId)>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Runs of seen numbers, `from` to `to`, exclusive, by `from`. A producer's records come in
    /// order but for second copies, so there are few.
    runs: BTreeMap<u64, u64>,
    used: u64,
}

impl<Of: Copy + Ord> Seen<Of> {
    pub(in crate::client) fn of_at_most(producers_max: usize) -> Self {
        Self {
            producers: BTreeMap::new(),
            producers_max,
            turn: 0,
            given: BTreeSet::new(),
            given_order: VecDeque::new(),
        }
    }

    /// Whether the record was not seen before; it is from now on. `of` is what it is in, where
    /// records of several topics are read.
    pub(in crate::client) fn is_new(&mut self, of: Of, id: RecordId) -> bool {
        let producer = (of, id.producer);
        if id.is_given() {
            return self.is_new_given(producer);
        }
        self.turn += 1;
        if self.producers.len() >= self.producers_max && !self.producers.contains_key(&producer) {
            let oldest = self.producers.iter().min_by_key(|(_, numbers)| numbers.used);
            if let Some(oldest) = oldest.map(|(producer, _)| *producer) {
                self.producers.remove(&oldest);
            }
        }
        let numbers = self.producers.entry(producer).or_default();
        numbers.used = self.turn;
        numbers.insert(id.number)
    }

    fn is_new_given(&mut self, given: (Of, ProducerId)) -> bool {
        if !self.given.insert(given) {
            return false;
        }
        self.given_order.push_back(given);
        if self.given_order.len() > GIVEN_MAX
            && let Some(first) = self.given_order.pop_front()
        {
            self.given.remove(&first);
        }
        true
    }
}

impl Numbers {
    fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(from, to)| (*from, *to));
        let from = match before {
            Some((_, to)) if number < to => return false,
            Some((from, to)) if number == to => from,
            Some(_) | None => number,
        };
        let to = self.runs.remove(&(number + 1)).unwrap_or(number + 1);
        self.runs.insert(from, to);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(number: usize) -> RecordId {
        RecordId::given(&"t".parse().unwrap(), &number.to_string()).unwrap()
    }

    #[test]
    fn given_ids_are_remembered_beside_the_producers() {
        let mut seen = Seen::of_at_most(2);
        let other = RecordId { producer: ProducerId([1; 16]), number: 0 };
        assert!(seen.is_new(1, other));
        assert!((0..GIVEN_MAX).all(|number| seen.is_new(1, given(number))));
        assert!(!(0..GIVEN_MAX).any(|number| seen.is_new(1, given(number))));
        assert!(!seen.is_new(1, other), "it is not forgotten for them");
        assert!(seen.is_new(2, given(7)), "it is of another topic");
        assert!(seen.is_new(1, given(0)), "the oldest is forgotten");
        assert!(!seen.is_new(1, given(GIVEN_MAX - 1)));
        assert_eq!(seen.given.len(), GIVEN_MAX);
    }

    #[test]
    fn second_copies_are_seen_in_any_order() {
        let mut numbers = Numbers::default();
        assert!([3, 1, 2, 0, 7].into_iter().all(|number| numbers.insert(number)));
        assert!([0, 1, 2, 3, 7].into_iter().all(|number| !numbers.insert(number)));
        assert_eq!(numbers.runs, BTreeMap::from([(0, 4), (7, 8)]));
        assert!(numbers.insert(4) && numbers.insert(6) && numbers.insert(5));
        assert_eq!(numbers.runs, BTreeMap::from([(0, 8)]));
    }
}
