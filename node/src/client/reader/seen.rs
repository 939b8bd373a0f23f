//! Which records a reader has seen: second copies of a record have its name.

use std::collections::BTreeMap;

use antiphon::model::ProducerId;

/// Which records were seen, per producer: the numbers below a bound and those above it. Of too many
/// producers the one that was silent for longest is forgotten first.
#[derive(Debug)]
pub(in crate::client) struct Seen<Producer = ProducerId> {
    producers: BTreeMap<Producer, Numbers>,
    producers_max: usize,
    turn: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Runs of seen numbers, `from` to `to`, exclusive, by `from`. A producer's records come in
    /// order but for second copies, so there are few.
    runs: BTreeMap<u64, u64>,
    used: u64,
}

impl<Producer: Copy + Ord> Seen<Producer> {
    pub(in crate::client) fn of_at_most(producers_max: usize) -> Self {
        Self { producers: BTreeMap::new(), producers_max, turn: 0 }
    }

    /// Whether the record was not seen before; it is from now on.
    pub(in crate::client) fn is_new(&mut self, producer: Producer, number: u64) -> bool {
        self.turn += 1;
        if self.producers.len() >= self.producers_max && !self.producers.contains_key(&producer) {
            let oldest = self.producers.iter().min_by_key(|(_, numbers)| numbers.used);
            if let Some(oldest) = oldest.map(|(producer, _)| *producer) {
                self.producers.remove(&oldest);
            }
        }
        let numbers = self.producers.entry(producer).or_default();
        numbers.used = self.turn;
        numbers.insert(number)
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
