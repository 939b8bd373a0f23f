//! A reader gets every record after its cursor that any home replica holds, of each log in
//! sequence (S4, L3).

use std::collections::BTreeSet;

use antiphon::model::{Batch, Cursor, RecordId};

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

/// All that a topic holds now: every record that is readable at one of its homes.
pub(crate) fn readable(world: &World, topic: usize) -> BTreeSet<RecordId> {
    let id = world.topic(topic);
    let homes = world.homes(topic, false);
    let held = world.oracle.batches.values().filter(|known| known.batch.header().topic == id);
    let held = held.filter(|known| homes.iter().any(|home| known.holders.contains(home)));
    held.flat_map(|known| known.batch.header().record_ids()).collect()
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
