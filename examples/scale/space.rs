//! The key space: where nodes stand, and which of them are nearest to a place.
//!
//! A sorted array is a binary trie that is not written down: all places with one prefix lie side
//! by side, so the nearest by XOR are found by halving. The engine does the same, one node after
//! the other, for it does not know beforehand how many it passes over; here they are gathered.

use std::ops::Range;

use antiphon::model::{NodeId, Realm, TopicId, TopicName};

/// Where a node or a topic stands: 256 bits.
pub(crate) type Place = [u8; 32];

/// Below this many places sorting them is faster than halving on.
const SORTED_AT: usize = 8;

/// The places of all nodes, in order.
#[derive(Debug)]
pub(crate) struct Space {
    places: Vec<Place>,
}

impl Space {
    /// So many nodes with keys drawn from the seed. That no secret belongs to such a key does not
    /// matter to where it stands.
    pub(crate) fn drawn(nodes: usize, random: &mut fastrand::Rng) -> Self {
        let place = |_| NodeId::from_bytes(std::array::from_fn(|_| random.u8(..))).place();
        Self::of((0..nodes).map(place).collect())
    }

    /// These places.
    pub(crate) fn of(mut places: Vec<Place>) -> Self {
        places.sort_unstable();
        places.dedup();
        Self { places }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Where a node stands.
    pub(crate) fn place(&self, node: usize) -> &Place {
        &self.places[node]
    }

    /// The nodes whose place starts with the first `bits` bits of `place`.
    pub(crate) fn sharing(&self, place: &Place, bits: usize) -> Range<usize> {
        let mut range = 0..self.places.len();
        for bit in 0..bits {
            let split = self.split(&range, bit);
            range = if is_set(place, bit) { split..range.end } else { range.start..split };
        }
        range
    }

    /// The nodes nearest to a place, the nearest first; `found` is emptied before.
    pub(crate) fn nearest(&self, place: &Place, wanted: usize, found: &mut Vec<usize>) {
        found.clear();
        self.gather(0..self.places.len(), 0, place, wanted, found);
    }

    fn gather(
        &self,
        range: Range<usize>,
        bit: usize,
        place: &Place,
        wanted: usize,
        found: &mut Vec<usize>,
    ) {
        if found.len() >= wanted || range.is_empty() {
            return;
        }
        if range.len() <= SORTED_AT {
            let mut few: Vec<usize> = range.collect();
            few.sort_unstable_by_key(|node| distance(place, &self.places[*node]));
            few.truncate(wanted - found.len());
            found.append(&mut few);
            return;
        }
        let split = self.split(&range, bit);
        let (clear, set) = (range.start..split, split..range.end);
        let (near, far) = if is_set(place, bit) { (set, clear) } else { (clear, set) };
        self.gather(near, bit + 1, place, wanted, found);
        self.gather(far, bit + 1, place, wanted, found);
    }

    /// Where in a range that shares the bits before it a bit becomes set.
    fn split(&self, range: &Range<usize>, bit: usize) -> usize {
        let part = &self.places[range.clone()];
        range.start + part.partition_point(|place| !is_set(place, bit))
    }
}

/// The topic of this number.
pub(crate) fn topic(number: usize) -> TopicId {
    let name: TopicName = name_of(number);
    TopicId::derive(&Realm::default(), &name)
}

/// Its name: of a length that topics have in practice.
pub(crate) fn name_of(number: usize) -> TopicName {
    format!("sensors/site-{number:07}").parse().expect("a short name without control characters")
}

/// How far two places are from each other, as Kademlia and the engine reckon it.
pub(crate) fn distance(one: &Place, other: &Place) -> Place {
    std::array::from_fn(|index| one[index] ^ other[index])
}

/// Whether a bit of a place is set, counted from the first.
pub(crate) fn is_set(place: &Place, bit: usize) -> bool {
    place[bit / 8] & (0x80 >> (bit % 8)) != 0
}

/// How many of their first bits two places share.
pub(crate) fn shared_bits(one: &Place, other: &Place) -> usize {
    let differs = distance(one, other);
    let whole = differs.iter().take_while(|byte| **byte == 0).count();
    differs.get(whole).map_or(256, |byte| whole * 8 + byte.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_agrees_with_brute_force() {
        let mut random = fastrand::Rng::with_seed(7);
        for nodes in [1, 2, 9, 100, 3_000] {
            let space = Space::drawn(nodes, &mut random);
            let mut found = Vec::new();
            for number in 0..300 {
                let place = topic(number).place();
                let mut all: Vec<usize> = (0..nodes).collect();
                all.sort_unstable_by_key(|node| distance(&place, space.place(*node)));
                for wanted in [1, 3, 20] {
                    space.nearest(&place, wanted, &mut found);
                    assert_eq!(found, all[..wanted.min(nodes)], "{nodes} nodes, topic {number}");
                }
            }
        }
    }

    #[test]
    fn a_prefix_is_a_range() {
        let mut random = fastrand::Rng::with_seed(8);
        let space = Space::drawn(1_000, &mut random);
        let place = topic(1).place();
        for bits in 0..12 {
            let expected = |node: &usize| shared_bits(&place, space.place(*node)) >= bits;
            let expected: Vec<usize> = (0..1_000).filter(expected).collect();
            assert_eq!(space.sharing(&place, bits).collect::<Vec<_>>(), expected, "{bits} bits");
        }
    }
}
