//! Sets of sequence numbers that mostly follow each other.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::limits::{GROUP_RUNS_MAX, SEQUENCE_MAX};

/// A set of sequence numbers, kept as runs without a gap: `from` to `to`, exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Runs(#[cbor(decode_with = "decode_runs")] BTreeMap<u64, u64>);

impl Runs {
    /// Adds the numbers from `from` to `to`, exclusive. Returns whether any was new.
    pub fn insert(&mut self, from: u64, to: u64) -> bool {
        if from >= to || self.covers(from, to) {
            return false;
        }
        let touches = |(start, end): (&u64, &u64)| (*end >= from).then_some(*start);
        let first = self.0.range(..=from).next_back().and_then(touches).unwrap_or(from);
        let mut end = to;
        while let Some((start, reaches)) = self.0.range(first..=to).next() {
            end = end.max(*reaches);
            let start = *start;
            self.0.remove(&start);
        }
        self.0.insert(first, end);
        true
    }

    /// Whether a number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.run_of(number).is_some()
    }

    /// The end of the run that a number is in.
    pub fn run_of(&self, number: u64) -> Option<u64> {
        let (_, to) = self.0.range(..=number).next_back()?;
        (*to > number).then_some(*to)
    }

    /// Whether all numbers from `from` to `to`, exclusive, are in the set.
    fn covers(&self, from: u64, to: u64) -> bool {
        self.run_of(from).is_some_and(|end| end >= to)
    }

    /// Takes out all numbers below this one.
    pub fn remove_below(&mut self, number: u64) {
        let mut kept = self.0.split_off(&number);
        let crossing = self.0.values().next_back().copied().filter(|to| *to > number);
        if let Some(to) = crossing {
            kept.insert(number, to);
        }
        self.0 = kept;
    }

    /// Takes out the numbers from this one on.
    pub fn remove_from(&mut self, number: u64) {
        self.0.split_off(&number);
        if let Some(mut last) = self.0.last_entry()
            && *last.get() > number
        {
            last.insert(number);
        }
    }

    /// The runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).fold(0, u64::saturating_add)
    }

    /// Keeps this many runs, the lowest ones.
    pub fn truncate(&mut self, runs: usize) {
        while self.0.len() > runs {
            self.0.pop_last();
        }
    }
}

fn decode_runs<C>(
    decoder: &mut minicbor::Decoder<'_>,
    _: &mut C,
) -> Result<BTreeMap<u64, u64>, minicbor::decode::Error> {
    let malformed = || minicbor::decode::Error::message("not runs of sequence numbers in order");
    let length = decoder.map()?.filter(|length| *length <= GROUP_RUNS_MAX as u64);
    let mut runs = BTreeMap::new();
    let mut after = None;
    for _ in 0..length.ok_or_else(malformed)? {
        let (from, to) = (decoder.u64()?, decoder.u64()?);
        if from >= to || to > SEQUENCE_MAX || after.is_some_and(|after| from <= after) {
            return Err(malformed());
        }
        after = Some(to);
        runs.insert(from, to);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set(
            inserts in proptest::collection::vec((0_u64..60, 0_u64..9), 0..30),
            below in 0_u64..60,
            above in 0_u64..60,
        ) {
            let mut runs = Runs::default();
            let mut set = BTreeSet::new();
            for (from, length) in inserts {
                let news = (from..from + length).any(|number| !set.contains(&number));
                set.extend(from..from + length);
                prop_assert_eq!(runs.insert(from, from + length), news);
            }
            let flat = |runs: &Runs| runs.iter().flat_map(|(from, to)| from..to).collect::<BTreeSet<_>>();
            prop_assert_eq!(&flat(&runs), &set);
            let ends: Vec<_> = runs.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ends);
            let bytes = minicbor::to_vec(&runs).unwrap();
            prop_assert_eq!(&minicbor::decode::<Runs>(&bytes).unwrap(), &runs);
            runs.remove_below(below);
            runs.remove_from(above);
            set.retain(|number| (below..above).contains(number));
            prop_assert_eq!(&flat(&runs), &set);
            prop_assert!((0..70).all(|number| runs.contains(number) == set.contains(&number)));
        }
    }

    #[test]
    fn what_is_not_in_order_is_refused() {
        for runs in [&[(3, 3)][..], &[(5, 4)], &[(0, 2), (2, 3)], &[(4, 6), (1, 2)]] {
            let mut bytes = Vec::new();
            let mut encoder = minicbor::Encoder::new(&mut bytes);
            encoder.map(runs.len() as u64).unwrap();
            for (from, to) in runs {
                encoder.u64(*from).unwrap().u64(*to).unwrap();
            }
            assert!(minicbor::decode::<Runs>(&bytes).is_err(), "{runs:?}");
        }
    }
}
