//! A reader gets every record after its cursor that any home replica holds, of each log in
//! sequence (S4, L3).

use std::collections::BTreeSet;

use antiphon::{
    model::{Batch, Cursor, Incarnation, LogId, RecordId},
    wire::{LogRange, Page},
};

use crate::{
    reader::{Reader, Shown},
    world::World,
};

pub(crate) const NAME: &str = "no gap";

/// A batch follows the cursor without a hole, or what is between them is told to be lost and is
/// on no disk of a node that is not gone, or to be trimmed and some node has let it go.
pub(crate) fn continues(
    world: &World,
    cursor: &Cursor,
    batch: &Batch,
    page: &Page,
) -> Result<(), String> {
    let header = batch.header();
    let (log, next) = (batch.log(), cursor.next(&batch.log()));
    // A branch begins where it parts.
    if header.first <= next || batch.is_root() {
        return Ok(());
    }
    // What compaction took away comes after what retention let go, or is lost.
    let compacted = page.compacted.iter().find(|part| part.precedes(batch));
    let told = |range: &LogRange| {
        range.log == log
            && (range.to == header.first
                || compacted.is_some_and(|part| part.covers(&log, range.to)))
    };
    let all = page.trimmed.iter().chain(&page.lost);
    let told_to = all.filter(|range| told(range)).map(|range| range.to).max();
    let is_compacted_from = |at: u64| compacted.is_some_and(|part| part.covers(&log, at));
    let first = if is_compacted_from(next) { next } else { told_to.unwrap_or(header.first) };
    let is_trimmed = page.trimmed.iter().any(told);
    if first > next && !is_trimmed && !page.lost.iter().any(told) {
        return Err(format!("{batch:?} is shown after {next}"));
    }
    let mut skipped = world.oracle.before(batch);
    while let Some(known) = skipped {
        let root = Incarnation::of_branch(known.batch.hash()) == log.incarnation;
        let is_compacted = known.batch.header().first >= first;
        if is_compacted && known.batch.header().next() > next && !world.is_let_go(&known.batch) {
            return Err(format!("{:?} is called compacted, and nobody took it away", known.batch));
        }
        skipped = world.oracle.before(&known.batch).filter(|_| !root);
        if is_trimmed && known.batch.header().next() > next && !world.is_let_go(&known.batch) {
            return Err(format!("{:?} is called trimmed, and nobody let it go", known.batch));
        }
        if is_trimmed || is_compacted {
            continue;
        }
        let held = known.holders.iter().find(|holder| !world.nodes[**holder].gone);
        if known.batch.header().next() > next
            && let Some(holder) = held
        {
            return Err(format!("{:?} is called lost, and {holder} holds it", known.batch));
        }
    }
    Ok(())
}

/// All that a topic holds now: every record that is readable at one of its homes.
pub(super) fn readable(world: &World, topic: usize, shown: &Shown) -> BTreeSet<RecordId> {
    let id = world.topic(topic);
    let homes = world.homes(topic, false);
    let positions = world.oracle.positions.iter();
    let positions = positions.skip_while(|(topic, ..)| *topic != id);
    let adrift = world.oracle.adrift();
    let mut readable = BTreeSet::new();
    for (.., hash) in positions.take_while(|(topic, ..)| *topic == id) {
        let known = &world.oracle.batches[hash];
        if homes.iter().any(|home| known.holders.contains(home))
            && !world.is_let_go(&known.batch)
            && !replaced(world, topic, shown, &known.batch)
            && !adrift.contains(&(id, known.batch.header().log()))
        {
            readable.extend(known.batch.header().record_ids());
        }
    }
    readable
}

/// Whether a reader was shown another batch in this place, live, which was then lost without ever
/// being proof of a fork: the log, or the branch, is another one than it read.
fn replaced(world: &World, number: usize, shown: &Shown, batch: &Batch) -> bool {
    let header = batch.header();
    let topic = header.topic;
    if !world.oracle.forked.contains(&(topic, header.log())) {
        return false;
    }
    let another = |log: &LogId| {
        let shown = shown.get(log).into_iter().flatten();
        let mut overlapping =
            shown.filter(|(first, next, _)| *first < header.next() && header.first < *next);
        overlapping.any(|(_, _, hash)| *hash != batch.hash())
    };
    world.homes(number, false).into_iter().any(|home| {
        let mut held = world.nodes[home].disk.image.batches.iter();
        held.any(|((of, log, _), held)| *of == topic && held == batch && another(log))
    })
}

/// Whether a reader has been given all that is there.
pub(crate) fn caught_up(world: &World, reader: &Reader) -> Result<(), String> {
    let readable = readable(world, reader.topic, &reader.shown);
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
