//! A reader gets every record after its cursor that any home replica holds, of each log in
//! sequence (S4, L3).

use std::collections::BTreeSet;

use antiphon::{
    engine::Write,
    model::{Batch, Cursor, Incarnation, LogId, RecordId},
    wire::{LogRange, Page},
};

use crate::world::{
    World,
    reader::{Reader, Shown},
};

pub(crate) const NAME: &str = "no gap";

/// A batch follows the cursor without a hole, or all that is between them is told: to be lost, and is
/// on no disk of a node that is not gone and that anybody knows, or to be trimmed, and some node has
/// let it go.
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
    let told = passed(page, log, next, header.first)
        .ok_or_else(|| format!("{batch:?} is shown after {next}"))?;
    let mut skipped = world.oracle.before(batch);
    while let Some(known) = skipped {
        let root = Incarnation::of_branch(known.batch.hash()) == log.incarnation;
        skipped = world.oracle.before(&known.batch).filter(|_| !root);
        let of = known.batch.header();
        if of.next() <= next {
            break;
        }
        let overlaps = |range: &&(u64, u64, bool)| of.first < range.1 && range.0 < of.next();
        if !told.iter().any(|range| overlaps(&range)) {
            return Err(format!("{batch:?} is shown, and nothing is told of {:?}", known.batch));
        }
        for (.., is_trimmed) in told.iter().filter(overlaps) {
            if *is_trimmed && !world.is_let_go(&known.batch) {
                return Err(format!("{:?} is called trimmed, and nobody let it go", known.batch));
            }
            let mut holders = known.holders.iter();
            // What one has that was removed is of no use to anybody.
            let counts = |it: &usize| !world.nodes[*it].gone && !world.was_out(*it);
            let held = holders.find(|it| counts(it) && is_known(world, **it));
            if !is_trimmed && let Some(holder) = held {
                return Err(format!("{:?} is called lost, and {holder} holds it", known.batch));
            }
        }
    }
    Ok(())
}

/// Whether any node that runs knows a node. Faults may have destroyed the disks of all that did.
fn is_known(world: &World, index: usize) -> bool {
    let id = world.nodes[index].id;
    let knows = |other: usize| {
        let disk = &world.nodes[other].disk;
        let is_contact =
            |write: &Write| matches!(write, Write::Contact(contact) if contact.node == id);
        disk.image.tables.contacts.contains_key(&id)
            || disk.pending.iter().any(|(_, write)| is_contact(write))
    };
    !world.options.destructive
        || world.running().into_iter().any(|other| other == index || knows(other))
}

/// What a page says is passed over in a log, in order, and whether it was let go; none where that is
/// not all of it.
fn passed(page: &Page, log: LogId, next: u64, first: u64) -> Option<Vec<(u64, u64, bool)>> {
    // What compaction took away was let go, too.
    let compacted = page.compacted.iter();
    let compacted =
        compacted.map(|part| LogRange { log: part.log, from: part.first, to: part.next });
    let ranges = page.trimmed.iter().copied().chain(compacted).map(|range| (range, true));
    let ranges = ranges.chain(page.lost.iter().map(|range| (*range, false)));
    let ranges = ranges.filter(|(range, _)| range.log == log && range.to <= first);
    let mut ranges: Vec<_> = ranges.map(|(it, trimmed)| (it.from, it.to, trimmed)).collect();
    ranges.sort_unstable();
    let mut at = next;
    for (from, to, _) in &ranges {
        // Of a branch nothing is told before it parts.
        if *from > at && at > 0 {
            return None;
        }
        at = at.max(*to);
    }
    (at == first).then_some(ranges)
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

/// Whether a reader has been given all that is there, but for what a liar moved its position past:
/// anybody may.
pub(crate) fn caught_up(world: &World, reader: &Reader) -> Result<(), String> {
    let readable = readable(world, reader.topic, &reader.shown);
    let missing = readable.difference(&reader.delivered);
    let missing: Vec<_> = missing.filter(|id| !reader.moved_past.contains(id)).collect();
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
