//! The nodes nearest to a place, without looking at all of them.
//!
//! Distance is XOR, as in Kademlia. In the order of their bits, places with the same first bits
//! stand together. Among them, those with the wanted next bit are all nearer than those without it.
//! So the nearest is found by bisection, and the next ones on the way back: some tens of steps
//! among thousands of nodes. A change of one node's state asks this for every topic.

use crate::model::NodeId;

/// Bytes of a place.
type Place = [u8; 32];

/// The places of nodes, in the order of their bits.
#[derive(Debug, Default)]
pub(in crate::engine) struct Places(Vec<(Place, NodeId)>);

impl Places {
    /// Adds a node, which may be there already.
    pub(in crate::engine) fn insert(&mut self, node: NodeId) {
        let entry = (node.place(), node);
        if let Err(at) = self.0.binary_search(&entry) {
            self.0.insert(at, entry);
        }
    }

    /// How many nodes there are.
    pub(in crate::engine) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes a node out.
    pub(in crate::engine) fn remove(&mut self, node: &NodeId) {
        if let Ok(at) = self.0.binary_search(&(node.place(), *node)) {
            self.0.remove(at);
        }
    }

    /// All nodes, the nearest first.
    pub(in crate::engine) fn nearest_first(&self, to: Place) -> NearestFirst<'_> {
        NearestFirst { to, left: vec![&self.0] }
    }
}

/// Goes through nodes by their distance.
#[derive(Debug)]
pub(in crate::engine) struct NearestFirst<'a> {
    to: Place,
    /// Parts that are still to be gone through, the nearest last. One for each bit at most.
    left: Vec<&'a [(Place, NodeId)]>,
}

impl Iterator for NearestFirst<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        loop {
            let part = self.left.pop()?;
            let ((first, node), (last, _)) = (part.first()?, part.last()?);
            // What all of the part share ends at the first bit in which its ends differ.
            let Some(bit) = first_difference(first, last) else {
                // Nodes at one and the same place, which a hash does not give to two.
                self.left.extend((part.len() > 1).then(|| &part[1..]));
                return Some(*node);
            };
            let (clear, set) =
                part.split_at(part.partition_point(|(place, _)| !is_set(place, bit)));
            let (near, far) = if is_set(&self.to, bit) { (set, clear) } else { (clear, set) };
            self.left.extend([far, near]);
        }
    }
}

/// The first bit in which two places differ.
fn first_difference(one: &Place, other: &Place) -> Option<usize> {
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    Some(at * 8 + (one[at] ^ other[at]).leading_zeros() as usize)
}

fn is_set(place: &Place, bit: usize) -> bool {
    place[bit / 8] & (0x80 >> (bit % 8)) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(one: &Place, other: &Place) -> Place {
        std::array::from_fn(|index| one[index] ^ other[index])
    }

    proptest! {
        #[test]
        fn it_is_the_order_of_the_distances(
            keys in prop::collection::vec(any::<[u8; 32]>(), 0..80),
            to in any::<[u8; 32]>(),
            gone in 0_usize..80,
        ) {
            let mut nodes: Vec<_> = keys.iter().map(|key| NodeId::from_bytes(*key)).collect();
            let mut places = Places::default();
            // Twice is once.
            nodes.iter().chain(&nodes).for_each(|node| places.insert(*node));
            if gone < nodes.len() {
                places.remove(&nodes.swap_remove(gone));
            }
            nodes.sort_by_key(|node| distance(&to, &node.place()));
            nodes.dedup();
            let found: Vec<_> = places.nearest_first(to).collect();
            prop_assert_eq!(found, nodes);
        }
    }

    #[test]
    fn nodes_at_one_place_are_all_found() {
        let node = |number| NodeId::from_bytes([number; 32]);
        let places = Places(vec![([7; 32], node(1)), ([7; 32], node(2)), ([9; 32], node(3))]);
        let found: Vec<_> = places.nearest_first([7; 32]).collect();
        assert_eq!(found, [node(1), node(2), node(3)]);
    }
}
