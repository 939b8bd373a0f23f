//! Of each key the newest record stays: a batch goes only when each of its records has a newer one of
//! its key on the same disk, and on those of all homes; a tombstone only when it is old enough and
//! nothing older of its key is left there.
//!
//! Which is newer the stamps tell, and within a log the numbers. A record that was stamped in its
//! future takes the place of none that was sealed after it; that is looked at in runs in which most
//! clocks are right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use antiphon::{
    engine::Write,
    limits::CLOCK_DRIFT_MAX,
    model::{Batch, Compacted, Hash, LogId, Stamp, TopicId, WallClock},
};

use crate::world::{World, node::right_wall};

pub(crate) const NAME: &str = "the newest record of each key stays";

/// Which record is later.
type Place = (Stamp, LogId, u64);

/// A record, without its payload.
#[derive(Debug)]
pub(crate) struct Keyed {
    place: Place,
    key: Option<Vec<u8>>,
    is_tombstone: bool,
}

/// The records of a batch. They are decoded once.
fn records(world: &mut World, batch: &Batch) -> Arc<[Keyed]> {
    let known = world.oracle.keyed.entry(batch.hash()).or_insert_with(|| {
        let (stamp, log) = (batch.header().stamp, batch.log());
        let records = batch.numbered_records();
        let records = records.filter_map(|(number, _, record)| {
            let record = record.ok()?;
            let (key, is_tombstone) = (record.key.clone(), record.is_tombstone());
            let key = key.map(|key| key.to_vec());
            Some(Keyed { place: (stamp, log, number), key, is_tombstone })
        });
        records.collect()
    });
    Arc::clone(known)
}

/// What a node has of a topic once all that is written is flushed. A sweep takes many parts away in one
/// step, and what stays of one is what the next one finds.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// The node, the topic, the step, and how much is being written.
    at: (usize, TopicId, u64, usize),
    batches: BTreeMap<(LogId, u64), Batch>,
    keys: BTreeMap<Vec<u8>, BTreeSet<(Place, Hash)>>,
}

impl Shelf {
    fn of(world: &mut World, at: (usize, TopicId, u64, usize)) -> Self {
        let (index, topic, ..) = at;
        let disk = &world.nodes[index].disk;
        let place = |batch: &Batch| (batch.log(), batch.header().first);
        let of_topic = disk.image.batches.iter().filter(|((of, ..), _)| *of == topic);
        let mut batches: BTreeMap<_, _> =
            of_topic.map(|(_, batch)| (place(batch), batch.clone())).collect();
        for (_, write) in &disk.pending {
            match write {
                Write::Append { batch, .. } if batch.header().topic == topic => {
                    batches.insert(place(batch), batch.clone());
                }
                Write::Compact { topic: of, part, .. } if *of == topic => {
                    take(&mut batches, part);
                }
                _ => {}
            }
        }
        let mut keys: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for batch in batches.values() {
            for Keyed { place, key, .. } in records(world, batch).iter() {
                if let Some(key) = key {
                    keys.entry(key.clone()).or_default().insert((*place, batch.hash()));
                }
            }
        }
        Self { at, batches, keys }
    }

    /// Takes the batches of a part away; those that it took.
    fn take(&mut self, world: &mut World, part: &Compacted) -> Vec<Batch> {
        let gone = take(&mut self.batches, part);
        for batch in &gone {
            for Keyed { place, key, .. } in records(world, batch).iter() {
                if let Some(of_key) = key.as_ref().and_then(|key| self.keys.get_mut(key)) {
                    of_key.remove(&(*place, batch.hash()));
                }
            }
        }
        gone
    }
}

fn take(batches: &mut BTreeMap<(LogId, u64), Batch>, part: &Compacted) -> Vec<Batch> {
    let places = (part.log, part.first)..(part.log, part.next);
    let within = batches.extract_if(places, |_, batch| batch.header().next() <= part.next);
    within.map(|(_, batch)| batch).collect()
}

/// Whether a record is known to be newer than another one of its key, which are in these batches.
fn is_newer(world: &World, (place, new): (Place, Hash), (than, old): (Place, Hash)) -> bool {
    let follows = place.1 == than.1 && place.2 > than.2;
    let is_early = than.0 > Stamp::latest_at(right_wall(world.now));
    follows || place > than || is_early && sealed(world, new) > sealed(world, old)
}

/// When a batch was sealed, by a clock that is right.
fn sealed(world: &World, batch: Hash) -> WallClock {
    let known = world.oracle.batches.get(&batch);
    right_wall(known.map(|known| known.sealed).unwrap_or_default())
}

/// Whether a record takes the place of one that was sealed after it, for it was stamped in its
/// future: by far more than what two sweeps and two clocks differ.
fn is_from_the_future(
    world: &World,
    (place, new): (Place, Hash),
    (than, old): (Place, Hash),
) -> bool {
    let is_stamped = place.0.time() > sealed(world, new).plus(CLOCK_DRIFT_MAX * 2);
    world.options.one_clock
        && place.1 != than.1
        && sealed(world, new) < sealed(world, old)
        && is_stamped
}

/// A node takes batches away.
pub(crate) fn taken_away(
    world: &mut World,
    index: usize,
    topic: TopicId,
    part: &Compacted,
) -> Result<(), String> {
    let (step, writes) = (world.counts.steps, world.nodes[index].disk.pending.len());
    let at = (index, topic, step, writes);
    let shelf = world.oracle.shelf.take().filter(|shelf| shelf.at == at);
    let mut shelf = shelf.unwrap_or_else(|| Shelf::of(world, at));
    let gone = shelf.take(world, part);
    let number = world.topic_number(&topic).ok_or("a topic that nobody made is compacted")?;
    let Some(tombstones_ms) = world.options.topics[number].retention.tombstones_ms else {
        return Err(format!("node {index} takes {part:?} away, and its topic keeps all"));
    };
    let wall = world.nodes[index].wall(world.now);
    let mut gone_records = Vec::new();
    for batch in &gone {
        gone_records.push((batch.hash(), records(world, batch)));
    }
    let gone_records = || {
        gone_records.iter().flat_map(|(hash, records)| records.iter().map(move |it| (*hash, it)))
    };
    for (hash, Keyed { place, key, is_tombstone }) in gone_records() {
        let Some(key) = key else {
            return Err(format!("{place:?} has no key, and node {index} takes it away"));
        };
        let than = (*place, hash);
        let others = shelf.keys.get(key).into_iter().flatten();
        let newer = others.clone().filter(|other| is_newer(world, **other, than));
        let newer: Vec<(Place, Hash)> = newer.copied().collect();
        if !newer.is_empty() && newer.iter().all(|by| is_from_the_future(world, *by, than)) {
            return Err(format!(
                "node {index} takes {place:?} away for what is stamped in the future"
            ));
        }
        if !newer.is_empty() {
            world.counts.compacted += 1;
            // One of them will do; what is newer still may be on its way.
            let outcomes: Vec<_> =
                newer.iter().map(|(_, hash)| is_with_all(world, number, hash)).collect();
            if !outcomes.iter().any(Result::is_ok) {
                return Err(format!("{place:?} goes for {outcomes:?}"));
            }
            continue;
        }
        let is_old = place.0.time().0.saturating_add(tombstones_ms) < wall.0;
        // Another one of its key may go with it.
        let goes_with = gone_records()
            .any(|(by, it)| it.key.as_ref() == Some(key) && is_newer(world, (it.place, by), than));
        if !(*is_tombstone && is_old && others.count() == 0 || goes_with) {
            return Err(format!("node {index} takes {place:?} away, the newest of its key"));
        }
    }
    // The part is written next.
    shelf.at.3 += 1;
    world.oracle.shelf = Some(shelf);
    world.oracle.compacted.extend(gone.iter().map(Batch::hash));
    Ok(())
}

/// What takes the place of others was with all homes, whatever faults have destroyed since. From now
/// on it is as good as acknowledged.
fn is_with_all(world: &mut World, topic: usize, hash: &Hash) -> Result<(), String> {
    let kept = world.kept_copies(topic);
    let floor = world.honest(usize::from(world.lowest_min_copies(topic)).min(kept).max(1));
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
