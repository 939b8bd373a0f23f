//! Which records a reader has seen: second copies of a record have its name.

use std::collections::BTreeMap;

use antiphon::model::{ProducerId, RecordId};

/// Producers whose records a reader remembers, to drop second copies. The one that was silent
/// for longest is forgotten first.
const REMEMBERED_PRODUCERS_MAX: usize = 4_096;

/// Which records were seen, per producer: the numbers below a bound and those above it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    producers: BTreeMap<ProducerId, Numbers>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Runs of seen numbers, `from` to `to`, exclusive, by `from`. A producer's records come in
    /// order but for second copies, so there are few.
    runs: BTreeMap<u64, u64>,
    used: u64,
}

impl Seen {
    /// Whether the record was not seen before; it is from now on.
    pub(super) fn is_new(&mut self, id: RecordId) -> bool {
        self.turn += 1;
        if self.producers.len() >= REMEMBERED_PRODUCERS_MAX
            && !self.producers.contains_key(&id.producer)
        {
            let oldest = self.producers.iter().min_by_key(|(_, numbers)| numbers.used);
            if let Some(oldest) = oldest.map(|(producer, _)| *producer) {
                self.producers.remove(&oldest);
            }
        }
        let numbers = self.producers.entry(id.producer).or_default();
        numbers.used = self.turn;
        numbers.insert(id.number)
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
