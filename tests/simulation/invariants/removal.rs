//! A copy is given up only while as many are left as were promised, and never the last one (S9).

use antiphon::model::Batch;

use crate::{disk::place_of, world::World};

pub(crate) const NAME: &str = "copies are given up on proof only";

/// A node has removed a batch of its own will.
pub(crate) fn removed(world: &World, batch: &Batch) -> Result<(), String> {
    let Some(known) = world.oracle.batches.get(&batch.hash()) else {
        return Ok(());
    };
    let topic = world.topic_number(&batch.header().topic);
    let replicas = topic.map_or(1, |topic| usize::from(world.options.topics[topic].replicas));
    let left = known.holders.len();
    let lost = world.copies_lost(known);
    // However many copies faults took before, nobody gives up the last one; but a damaged one
    // passes for a copy: see "known" in `docs/simulation.md`.
    let place = place_of(batch);
    let damaged = world.nodes.iter().any(|node| node.disk.image.damaged.contains(&place));
    if left == 0 && !damaged {
        return Err(format!("{batch:?} is given up by the last node that held it"));
    }
    let promised = known.promised(replicas).max(1);
    if left + lost < promised {
        return Err(format!("{batch:?} is left at {left} nodes, and {promised} were promised"));
    }
    Ok(())
}
