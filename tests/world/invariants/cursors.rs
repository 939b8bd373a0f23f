//! A subscription's position is never ahead of what exists or of what was committed, never goes back
//! but on purpose, and what was deleted stays so (S11).

use std::collections::BTreeMap;

use antiphon::{
    engine::Write,
    model::{Cursor, SubscriberName, Subscription, TopicId},
};

use crate::world::{World, liar::Lie};

pub(crate) const NAME: &str = "positions never run ahead and never go back";

fn exists(world: &World, subscription: &Subscription) -> Result<(), String> {
    let Some(cursor) = &subscription.cursor else {
        return Ok(());
    };
    for (log, position) in &cursor.logs {
        let end = world.oracle.ends.get(&(cursor.topic, *log)).copied().unwrap_or(0);
        if position.next > end {
            return Err(format!("{} in {log:?}, which ends at {end}", position.next));
        }
    }
    for (log, runs) in subscription.group.iter().flat_map(|group| &group.done) {
        let end = world.oracle.ends.get(&(cursor.topic, *log)).copied().unwrap_or(0);
        if let Some((_, to)) = runs.iter().find(|(_, to)| *to > end) {
            return Err(format!("{to} is done in {log:?}, which ends at {end}"));
        }
    }
    Ok(())
}

/// A node keeps a position.
pub(crate) fn kept(
    world: &World,
    index: usize,
    topic: TopicId,
    name: &SubscriberName,
    subscription: &Subscription,
) -> Result<(), String> {
    exists(world, subscription)
        .map_err(|ahead| format!("node {index} keeps `{name}` at {ahead}"))?;
    let disk = &world.nodes[index].disk;
    let written = disk.pending.iter().rev().find_map(|(_, write)| match write {
        Write::Subscription { topic: of, name: other, subscription }
            if *of == topic && other == name =>
        {
            Some(subscription.as_ref())
        }
        _ => None,
    });
    let flushed = disk.image.tables.subscriptions.get(&(topic, name.clone()));
    let Some(before) = written.unwrap_or(flushed) else {
        return Ok(());
    };
    let back = subscription.generation < before.generation
        || subscription.generation == before.generation && !reaches(subscription, before);
    if back {
        return Err(format!("`{name}` goes back at node {index}"));
    }
    Ok(())
}

/// Within a generation: whether a position is at or after another one, or deleted.
fn reaches(subscription: &Subscription, before: &Subscription) -> bool {
    match (&subscription.cursor, &before.cursor) {
        (Some(cursor), Some(before)) => cursor.reaches(before),
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// A subscriber goes on from a position that it was told.
pub(crate) fn resumed(
    world: &World,
    committed: &BTreeMap<u64, Option<Cursor>>,
    position: &Subscription,
) -> Result<(), String> {
    exists(world, position).map_err(|ahead| format!("resumes at {ahead}"))?;
    match (committed.get(&position.generation), &position.cursor) {
        (Some(Some(furthest)), Some(cursor)) if furthest.reaches(cursor) => Ok(()),
        (Some(None), None) => Ok(()),
        _ if world.liars_tell(Lie::PositionAhead) => Ok(()),
        _ => Err(format!("resumes at {position:?}, which was never committed")),
    }
}

/// In the end a position that was kept by a quorum stands everywhere at home, or further, as far
/// as it exists: what a reader was shown live may have gone with its writer.
pub(crate) fn at_end(
    world: &World,
    topic: usize,
    name: &SubscriberName,
    kept: &Subscription,
) -> Result<(), String> {
    if world.deleted.contains(&topic) {
        return Ok(());
    }
    let id = world.topic(topic);
    for home in world.homes(topic, false) {
        let image = &world.nodes[home].disk.image;
        let Some(position) = image.tables.subscriptions.get(&(id, name.clone())) else {
            return Err(format!("`{name}` is not kept at node {home}"));
        };
        let logs = image.tables.logs.get(&id);
        let reached = match (&position.cursor, &kept.cursor) {
            _ if position.generation > kept.generation => true,
            (None, None) => true,
            (Some(cursor), Some(kept)) => kept.logs.iter().all(|(log, wanted)| {
                let held = logs.and_then(|logs| logs.get(log)?.entry().end());
                let end = held.map_or(0, |(end, _)| end);
                cursor.next(log) >= wanted.next.min(end)
            }),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !reached || position.generation < kept.generation {
            return Err(format!("`{name}` stands at {position:?} at {home}, behind {kept:?}"));
        }
    }
    Ok(())
}
