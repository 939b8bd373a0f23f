//! A copy is given up only while as many are left as were promised, and never the last one (S9).

use antiphon::{engine::Write, limits::SURVEY_TIMEOUT, model::Batch};

use crate::world::World;

pub(crate) const NAME: &str = "copies are given up on proof only";

/// A node has removed a batch of its own will.
pub(crate) fn removed(world: &World, batch: &Batch) -> Result<(), String> {
    let Some(known) = world.oracle.batches.get(&batch.hash()) else {
        return Ok(());
    };
    if world.is_let_go(batch) || world.is_of_liar(&batch.header().writer) {
        return Ok(());
    }
    let topic = world.topic_number(&batch.header().topic);
    let kept = topic.map_or(1, |topic| world.kept_copies(topic));
    let left = known.holders.len();
    let lost = world.copies_lost(known);
    let promised = known.promised(kept).max(1);
    if left + lost < promised {
        return Err(format!("{batch:?} is left at {left} nodes, and {promised} were promised"));
    }
    Ok(())
}

/// A node decides to remove a batch: somebody else holds it, however many copies faults took
/// before. What was lost since the others were asked is excused, for the proof was true when it was
/// given; so is damage that nobody has come upon yet.
pub(crate) fn decided(world: &World, index: usize, batch: &Batch) -> Result<(), String> {
    let Some(known) = world.oracle.batches.get(&batch.hash()) else {
        return Ok(());
    };
    // A survey, and the proof after it.
    let since = SURVEY_TIMEOUT * 2;
    // A copy of one that was removed is none, once that is known.
    let is_out = |holder: &usize| {
        let out = world.knows_out(index, *holder);
        out.is_some_and(|out| world.now.saturating_sub(out) > since)
    };
    let others = known.holders.iter().any(|holder| *holder != index && !is_out(holder));
    let just_lost = known.lost_at.is_some_and(|at| world.now.saturating_sub(at) <= since);
    let damaged = world.nodes.iter().any(|node| node.disk.image.is_damaged(batch));
    let disk = &world.nodes[index].disk;
    // It is filed under its branch, and stays.
    let moved = disk.pending.iter().any(|(_, write)| match write {
        Write::Append { batch: filed, .. } => filed == batch && filed.log() != batch.header().log(),
        _ => false,
    });
    let filed = |other: &Batch| other == batch && other.is_of_branch();
    let moved =
        moved || !disk.image.tables.forks.is_empty() && disk.image.batches.values().any(filed);
    if moved || world.is_let_go(batch) {
        return Ok(());
    }
    if others || just_lost || damaged || !known.holders.contains(&index) {
        return Ok(());
    }
    Err(format!("node {index} gives {batch:?} up, and nobody else holds it"))
}

/// A node that leaves holds nothing any more.
pub(crate) fn left(world: &World, index: usize) -> Result<(), String> {
    let held = world.oracle.batches.values().filter(|known| known.holders.contains(&index));
    match held.count() {
        0 => Ok(()),
        count => Err(format!("node {index} leaves with {count} batches")),
    }
}
