//! A survey that calls itself complete tells of every record that a quorum of the home replicas
//! held, flushed, when it was asked for (design 5, "Fetch").

use std::collections::BTreeSet;

use antiphon::{
    model::{Hash, NodeId},
    wire::{Role, Surveyed},
};

use crate::world::{World, disk::place_of};

pub(crate) const NAME: &str = "complete surveys are complete";

/// What a survey must tell of: the batches that a quorum of the homes holds.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    homes: BTreeSet<NodeId>,
    batches: Vec<Hash>,
}

/// What must be told of a topic by a survey that is asked for now.
pub(crate) fn expected(world: &World, topic: usize) -> Expected {
    let homes = world.homes(topic, true);
    let quorum = (homes.len() / 2 + 1).max(usize::from(world.min_copies(topic)));
    let id = world.topic(topic);
    let quorate = world.oracle.batches.iter().filter(|(_, known)| {
        place_of(&known.batch).0 == id
            && homes.iter().filter(|home| known.holders.contains(home)).count() >= quorum
    });
    Expected {
        batches: quorate.map(|(hash, _)| *hash).collect(),
        homes: homes.iter().map(|home| world.nodes[*home].id).collect(),
    }
}

pub(crate) fn told(world: &World, expected: &Expected, told: &Surveyed) -> Result<(), String> {
    let homes = told.replicas.iter().filter(|replica| replica.role == Role::Home);
    let homes: BTreeSet<_> = homes.map(|replica| replica.node).collect();
    // A disk that lost what it had flushed takes the proof away, and so does another view of
    // who is at home.
    let is_altered = world.options.alters;
    if !told.complete || world.options.destructive || is_altered || homes != expected.homes {
        return Ok(());
    }
    for hash in &expected.batches {
        let header = world.oracle.batches[hash].batch.header();
        if world.is_let_go(&world.oracle.batches[hash].batch) {
            continue;
        }
        let mut logs = world.oracle.logs_of(&world.oracle.batches[hash].batch).into_iter();
        if logs.all(|log| told.end.next(&log) < header.next()) {
            let batch = &world.oracle.batches[hash].batch;
            return Err(format!("{batch:?} is at a quorum, and the survey ends before it"));
        }
    }
    Ok(())
}
