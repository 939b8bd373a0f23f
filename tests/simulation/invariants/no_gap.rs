//! A reader gets every record after its cursor that any home replica holds, of each log in
//! sequence (S4, L3).

use std::collections::BTreeSet;

use antiphon::model::{Batch, Cursor, LogId, RecordId};

use crate::{reader::Reader, world::World};

pub(crate) const NAME: &str = "no gap";

/// A batch follows the cursor without a hole.
pub(crate) fn continues(cursor: &Cursor, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let next = cursor.next(&header.log());
    if header.first > next {
        return Err(format!("{batch:?} is shown after {next}"));
    }
    Ok(())
}

/// All that a topic holds now: every record that is readable at one of its homes. Of a log with
/// a batch that nobody holds any more, only what comes before that: see "known" in
/// `docs/simulation.md`.
pub(crate) fn readable(world: &World, topic: usize) -> BTreeSet<RecordId> {
    let id = world.topic(topic);
    let homes = world.homes(topic, false);
    let positions = world.oracle.positions.iter();
    let positions = positions.skip_while(|((topic, ..), _)| *topic != id);
    let mut readable = BTreeSet::new();
    let mut broken: Option<LogId> = None;
    for (&(_, log, _), hash) in positions.take_while(|((topic, ..), _)| *topic == id) {
        let known = &world.oracle.batches[hash];
        if homes.iter().any(|home| known.holders.contains(home)) {
            if broken != Some(log) {
                readable.extend(known.batch.header().record_ids());
            }
        } else {
            broken = Some(log);
        }
    }
    readable
}

/// How many acknowledged records stand behind a batch that nobody holds, though no disk failed.
pub(crate) fn behind_holes(world: &World) -> u64 {
    if world.options.destructive {
        return 0;
    }
    let topics = 0..world.options.topics.len();
    let readable: BTreeSet<_> = topics.flat_map(|topic| readable(world, topic)).collect();
    let known = world.oracle.batches.values().filter(|known| known.acknowledged > 0);
    let records = known.flat_map(|known| known.batch.header().record_ids());
    records.filter(|id| !readable.contains(id)).count() as u64
}

/// Whether a reader has been given all that is there.
pub(crate) fn caught_up(world: &World, reader: &Reader) -> Result<(), String> {
    let readable = readable(world, reader.topic);
    let missing: Vec<_> = readable.difference(&reader.delivered).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => {
            let batches = world.oracle.published.get(*first).map(|known| known.batches.clone());
            let batches = batches.unwrap_or_default();
            let held: Vec<_> = batches
                .iter()
                .filter_map(|hash| world.oracle.batches.get(hash))
                .map(|known| format!("{:?} at {:?}", known.batch, known.holders))
                .collect();
            let count = missing.len();
            let name = reader.name.as_ref().map_or("a reader", |name| name.as_str());
            Err(format!(
                "{name} of t{} lacks {count} records, {first:?} first, {held:?}, at {:?}",
                reader.topic, reader.cursor
            ))
        }
    }
}
