//! Groups: no record is passed over, and a key is with one member at a time, in order.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    model::{LogId, RecordId, Retention},
    wire::LogRange,
};

use super::no_gap::readable;
use crate::world::{
    World,
    clients::{Client, Kind},
    member::Member,
};

pub(crate) const NAME: &str = "every record of a group is acknowledged";
pub(crate) const ORDER: &str = "a key is with one member at a time, in order";

/// A record in its place: its name and its key.
pub(crate) type Placed = ((LogId, u64), RecordId, Option<u8>);

/// The records in a part of a log, whatever branch it is.
pub(crate) fn records(world: &World, topic: usize, range: &LogRange) -> Vec<Placed> {
    let id = world.topic(topic);
    let positions = world.oracle.positions.iter().skip_while(|(topic, ..)| *topic != id);
    let mut records = Vec::new();
    for (_, log, _, hash) in positions.take_while(|(topic, ..)| *topic == id) {
        if log.writer != range.log.writer {
            continue;
        }
        let known = &world.oracle.batches[hash];
        let header = known.batch.header();
        let overlaps = header.first < range.to && header.next() > range.from;
        if !overlaps || !world.oracle.logs_of(&known.batch).contains(&range.log) {
            continue;
        }
        for (number, id, record) in known.batch.numbered_records() {
            if (range.from..range.to).contains(&number) {
                let key = record.ok().and_then(|record| record.key?.first().copied());
                records.push(((range.log, number), id, key));
            }
        }
    }
    records
}

/// In a world in which nothing has failed: all records of a key that come before this one in its log
/// are acknowledged, or with the same member.
pub(crate) fn given(
    world: &World,
    member: &Member,
    place: (LogId, u64),
    key: Option<u8>,
) -> Result<(), String> {
    let options = &world.options;
    let calm = world.counts.faults.is_empty() && !world.faulty && options.loss == 0;
    let is_whole = world.retentions(member.topic).iter().all(Retention::is_unlimited);
    if key.is_none() || !calm || options.delays > 0 || !is_whole {
        return Ok(());
    }
    let acknowledged = world.acknowledged.get(&(member.topic, member.group.clone()));
    for client in world.clients.iter().flatten() {
        let Client { kind: Kind::Member(other), .. } = client else { continue };
        if (other.topic, &other.group) != (member.topic, &member.group) {
            continue;
        }
        let is_open = |id| !acknowledged.is_some_and(|done| done.contains(id));
        let held = other.has.iter().find(|((log, _), holding)| {
            *log == place.0 && holding.key == key && is_open(&holding.id)
        });
        if let Some((at, _)) = held {
            return Err(format!("{place:?} of key {key:?} is given while another one has {at:?}"));
        }
    }
    let before = LogRange { log: place.0, from: 0, to: place.1 };
    for (at, id, of) in records(world, member.topic, &before) {
        let is_done = acknowledged.is_some_and(|done| done.contains(&id));
        if of == key && !is_done && !member.has.contains_key(&at) {
            return Err(format!("{place:?} of key {key:?} is given before {at:?}"));
        }
    }
    Ok(())
}

/// In the end all that is there was acknowledged by some member.
pub(crate) fn caught_up(world: &World) -> Result<(), String> {
    for client in world.clients.iter().flatten() {
        let Client { kind: Kind::Member(member), .. } = client else { continue };
        let topic = world.topic(member.topic);
        let forks = world.oracle.forked.iter().any(|(forked, _)| *forked == topic);
        if forks {
            // What was given out may be filed elsewhere by now.
            continue;
        }
        let nothing = BTreeSet::default();
        let done = world.acknowledged.get(&(member.topic, member.group.clone()));
        let done = done.unwrap_or(&nothing);
        let all = readable(world, member.topic, &BTreeMap::default());
        if let Some(first) = all.difference(done).next() {
            let count = all.difference(done).count();
            let group = &member.group;
            return Err(format!("{group} of t{} lacks {count}, {first:?} first", member.topic));
        }
    }
    Ok(())
}
