//! Of each key the newest record stays: a batch goes only when each of its records has a newer one of
//! its key on the same disk, and on those of all homes; a tombstone only when it is old enough and
//! nothing older of its key is left there.

use std::collections::BTreeMap;

use antiphon::{
    engine::Write,
    model::{Batch, Compacted, Hash, LogId, Record, Stamp, TopicId},
};

use crate::world::World;

pub(crate) const NAME: &str = "the newest record of each key stays";

/// Which record is later.
type Place = (Stamp, LogId, u64);

/// The records of a batch that have a key, and how many have none.
fn records(batch: &Batch) -> Vec<(Place, Record)> {
    let (stamp, log) = (batch.header().stamp, batch.log());
    let records = batch.numbered_records();
    records.filter_map(|(number, _, record)| Some(((stamp, log, number), record.ok()?))).collect()
}

/// What a node has of a topic once all that is written is flushed.
fn held(world: &World, index: usize, topic: TopicId) -> BTreeMap<Hash, Batch> {
    let disk = &world.nodes[index].disk;
    let of_topic = disk.image.batches.iter().filter(|((of, ..), _)| *of == topic);
    let mut held: BTreeMap<_, _> =
        of_topic.map(|(_, batch)| (batch.hash(), batch.clone())).collect();
    for (_, write) in &disk.pending {
        match write {
            Write::Append { batch, .. } if batch.header().topic == topic => {
                held.insert(batch.hash(), batch.clone());
            }
            Write::Compact { topic: of, part, .. } if *of == topic => {
                held.retain(|_, batch| !is_within(batch, part));
            }
            _ => {}
        }
    }
    held
}

fn is_within(batch: &Batch, part: &Compacted) -> bool {
    let header = batch.header();
    batch.log() == part.log && part.first <= header.first && header.next() <= part.next
}

/// A node takes batches away.
pub(crate) fn taken_away(
    world: &mut World,
    index: usize,
    topic: TopicId,
    part: &Compacted,
) -> Result<(), String> {
    let held = held(world, index, topic);
    let (gone, stay): (Vec<_>, Vec<_>) =
        held.into_values().partition(|batch| is_within(batch, part));
    let number = world.topic_number(&topic).ok_or("a topic that nobody made is compacted")?;
    let Some(tombstones_ms) = world.options.topics[number].retention.tombstones_ms else {
        return Err(format!("node {index} takes {part:?} away, and its topic keeps all"));
    };
    let wall = world.nodes[index].wall(world.now);
    for batch in &gone {
        for (place, record) in records(batch) {
            if record.key.is_none() {
                return Err(format!("{place:?} has no key, and node {index} takes it away"));
            }
            let of_key = |(_, other): &(Place, Record)| other.key == record.key;
            let others: Vec<_> = stay
                .iter()
                .flat_map(|stays| records(stays).into_iter().map(move |it| (stays, it)))
                .filter(|(_, it)| of_key(it))
                .collect();
            let newer = others.iter().filter(|(_, it)| it.0 > place);
            let newer: Vec<Hash> = newer.map(|(stays, _)| stays.hash()).collect();
            if !newer.is_empty() {
                world.counts.compacted += 1;
                // One of them will do; what is newer still may be on its way.
                let outcomes: Vec<_> =
                    newer.iter().map(|hash| is_with_all(world, number, hash)).collect();
                if !outcomes.iter().any(Result::is_ok) {
                    return Err(format!("{place:?} goes for {outcomes:?}"));
                }
                continue;
            }
            let is_old = place.0.time().0.saturating_add(tombstones_ms) < wall.0;
            // Another one of its key may go with it.
            let goes_with = gone.iter().flat_map(records).any(|it| of_key(&it) && it.0 > place);
            if !(record.is_tombstone() && is_old && others.is_empty() || goes_with) {
                return Err(format!("node {index} takes {place:?} away, the newest of its key"));
            }
        }
    }
    world.oracle.compacted.extend(gone.iter().map(Batch::hash));
    Ok(())
}

/// What takes the place of others was with all homes, whatever faults have destroyed since. From now
/// on it is as good as acknowledged.
fn is_with_all(world: &mut World, topic: usize, hash: &Hash) -> Result<(), String> {
    let kept = world.kept_copies(topic);
    let floor = usize::from(world.options.topics[topic].min_copies).min(kept).max(1);
    let known = world.oracle.batches.get(hash).ok_or("nobody wrote it")?;
    let is_forked = world.oracle.forked.contains(&(known.batch.header().topic, known.batch.log()));
    let copies = known.holders.len() + world.copies_lost(known);
    if copies < floor && !world.is_let_go(&known.batch) && !is_forked {
        return Err(format!("{:?} is at {:?} only", known.batch, known.holders));
    }
    let known = world.oracle.batches.get_mut(hash).ok_or("nobody wrote it")?;
    known.acknowledged = known.acknowledged.max(floor);
    Ok(())
}
