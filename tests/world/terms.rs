//! The terms of topics, which may be altered. While nodes learn of new ones, any that were signed may
//! be in force somewhere; in the end it is the newest that a node which runs holds.

use antiphon::model::{Descriptor, Retention};

use crate::world::World;

/// The lowest that the floor of a topic may be.
fn floor(terms: &Descriptor) -> u16 {
    if terms.floor_follows { 1 } else { terms.min_copies }
}

impl World {
    /// All terms that a topic was ever given.
    fn all_terms(&self, topic: usize) -> impl Iterator<Item = &Descriptor> {
        let of_topic = self.oracle.descriptors.get(&self.topic(topic)).into_iter().flatten();
        of_topic.filter(|terms| !terms.deleted)
    }

    /// The terms that hold when all is known everywhere.
    fn newest_terms(&self, topic: usize) -> Option<&Descriptor> {
        let topic = self.topic(topic);
        let kept = self.running().into_iter().filter_map(|node| {
            let kept = self.nodes[node].disk.image.tables.descriptors.get(&topic)?;
            Some(kept.descriptor())
        });
        kept.reduce(|one, other| if other.supersedes(one) { other } else { one })
    }

    /// Whether the terms of a topic were changed.
    pub(crate) fn is_altered(&self, topic: usize) -> bool {
        self.all_terms(topic).any(|terms| terms.revision > 0)
    }

    /// How many replicas a topic has.
    pub(crate) fn replicas(&self, topic: usize) -> u16 {
        let replicas = self.newest_terms(topic).map(|terms| terms.replicas);
        replicas.unwrap_or(self.options.topics[topic].replicas)
    }

    /// The fewest replicas that a topic ever had.
    pub(crate) fn fewest_replicas(&self, topic: usize) -> u16 {
        let replicas = self.all_terms(topic).map(|terms| terms.replicas).min();
        replicas.unwrap_or(self.options.topics[topic].replicas)
    }

    /// The floor of a topic, or the lowest that it may be where that follows the network.
    pub(crate) fn min_copies(&self, topic: usize) -> u16 {
        self.newest_terms(topic).map_or(self.options.topics[topic].min_copies, floor)
    }

    /// The lowest floor that a topic ever had.
    pub(crate) fn lowest_min_copies(&self, topic: usize) -> u16 {
        let floors = self.all_terms(topic).map(floor);
        floors.min().unwrap_or(self.options.topics[topic].min_copies)
    }

    /// How long a topic was ever told to keep its records.
    pub(crate) fn retentions(&self, topic: usize) -> Vec<Retention> {
        self.all_terms(topic).map(|terms| terms.retention).collect()
    }
}
