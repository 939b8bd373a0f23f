//! What was told to be pending is on the disk of its writer, is delivered as if it had been
//! acknowledged with that one copy, and is in the outbox until then and no longer.

use antiphon::{
    model::{Hash, LogId, TopicId},
    wire::{LogRange, Published},
};

use crate::world::World;

pub(crate) const NAME: &str = "what is pending is delivered";

/// The batches of a part of a log that its writer signed.
fn batches(world: &World, topic: TopicId, place: LogRange) -> Vec<Hash> {
    let at = |number| (topic, place.log, number, Hash([0; 32]));
    let positions = world.oracle.positions.range(at(place.from)..at(place.to));
    let hashes = positions.map(|(.., hash)| *hash);
    hashes.filter(|hash| !world.oracle.twins.contains(hash)).collect()
}

/// A node tells a publisher that its records are pending.
pub(crate) fn told(
    world: &mut World,
    index: usize,
    topic: usize,
    published: &Published,
) -> Result<(), String> {
    let Some(place) = published.place.filter(|_| !published.acknowledged && !published.duplicate)
    else {
        return Ok(());
    };
    world.oracle.latest_pending = Some((topic, place));
    let topic = world.topic(topic);
    for hash in batches(world, topic, place) {
        let is_forked = world.oracle.forked.contains(&(topic, place.log));
        let known = &world.oracle.batches[&hash];
        let is_here = world.nodes[index].disk.image.holds(&known.batch);
        // A slow disk may be slower than those to whom it was sent, and than retention.
        let is_elsewhere = !known.holders.is_empty() || world.is_let_go(&known.batch);
        if !is_here && !is_elsewhere && known.losses == 0 && !is_forked {
            return Err(format!("{:?} is told to be pending, and is on no disk", known.batch));
        }
        if let Some(known) = world.oracle.batches.get_mut(&hash) {
            known.pending = true;
        }
    }
    Ok(())
}

/// A node takes a log out of its outbox: all that it has of it and that was told to be pending has
/// its copies.
pub(crate) fn taken_out(
    world: &World,
    index: usize,
    topic: TopicId,
    log: LogId,
) -> Result<(), String> {
    let Some(number) = world.topic_number(&topic) else {
        return Ok(());
    };
    if world.oracle.forked.contains(&(topic, log)) {
        return Ok(());
    }
    let floor = usize::from(world.lowest_min_copies(number));
    let wanted = world.honest(floor.min(world.kept_copies(number)).max(1));
    for hash in batches(world, topic, LogRange { log, from: 0, to: u64::MAX }) {
        let known = &world.oracle.batches[&hash];
        let lost = world.copies_lost(known);
        let copies = known.holders.len() + lost;
        // What faults took from it, with its disk or parts of it, it does not wait for.
        let is_here = known.holders.contains(&index) && !world.is_let_go(&known.batch);
        if known.pending && copies < wanted && is_here {
            let (batch, holders) = (&known.batch, &known.holders);
            return Err(format!("{batch:?} is taken out of the outbox, and {holders:?} hold it"));
        }
    }
    Ok(())
}

/// A node tells how many copies there are of what is pending: so many disks have it.
pub(crate) fn awaited(
    world: &World,
    topic: usize,
    place: LogRange,
    published: &Published,
) -> Result<(), String> {
    let (id, kept) = (world.topic(topic), world.kept_copies(topic));
    if !published.acknowledged || world.oracle.forked.contains(&(id, place.log)) {
        return Ok(());
    }
    let floor = world.lowest_min_copies(topic);
    if published.copies < floor.max(published.wanted) {
        return Err(format!("acknowledged with {published:?}, and the floor is {floor}"));
    }
    for hash in batches(world, id, place) {
        let known = &world.oracle.batches[&hash];
        let held = known.holders.len() + world.copies_lost(known);
        let copies = world.honest(usize::from(published.copies));
        if held < copies.min(kept) && !world.is_let_go(&known.batch) {
            let (batch, holders) = (&known.batch, &known.holders);
            return Err(format!("{published:?} of {batch:?} is told, and {holders:?} hold it"));
        }
    }
    Ok(())
}

/// Why the outboxes are not empty.
pub(crate) fn emptied(world: &World) -> Result<(), String> {
    let adrift = world.oracle.adrift();
    let nodes = world.running();
    let stay = nodes.iter().filter(|node| !world.nodes[**node].tells_leaving).count();
    for node in nodes {
        for (topic, logs) in &world.nodes[node].disk.image.tables.outbox {
            let number = world.topic_number(topic);
            let floor = number.map_or(0, |it| usize::from(world.min_copies(it)));
            let kept: Vec<_> =
                logs.iter().filter(|(log, _)| !is_adrift(&adrift, *topic, log)).collect();
            if !kept.is_empty() && floor <= stay {
                return Err(format!("node {node} has {kept:?} of {topic:?} in its outbox"));
            }
        }
    }
    Ok(())
}

fn is_adrift(
    adrift: &std::collections::BTreeSet<(TopicId, LogId)>,
    topic: TopicId,
    log: &LogId,
) -> bool {
    adrift.contains(&(topic, *log))
}
