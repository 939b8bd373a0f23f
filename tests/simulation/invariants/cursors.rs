//! A subscription's position is never ahead of what exists or of what was committed, and never
//! goes back but on purpose (S11).

use std::collections::BTreeMap;

use antiphon::{
    engine::Write,
    model::{Cursor, SubscriberName, Subscription, TopicId},
};

use crate::world::World;

pub(crate) const NAME: &str = "positions never run ahead and never go back";

fn exists(world: &World, cursor: &Cursor) -> Result<(), String> {
    for (log, position) in &cursor.logs {
        let end = world.oracle.ends.get(&(cursor.topic, *log)).copied().unwrap_or(0);
        if position.next > end {
            return Err(format!("{} in {log:?}, which ends at {end}", position.next));
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
    exists(world, &subscription.cursor)
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
    let flushed = disk.image.subscriptions.get(&(topic, name.clone()));
    let Some(before) = written.unwrap_or(flushed) else {
        return Ok(());
    };
    let back = subscription.generation < before.generation
        || subscription.generation == before.generation
            && !subscription.cursor.reaches(&before.cursor);
    if back {
        return Err(format!("`{name}` goes back at node {index}"));
    }
    Ok(())
}

/// A subscriber goes on from a position that it was told.
pub(crate) fn resumed(
    world: &World,
    committed: &BTreeMap<u64, Cursor>,
    position: &Subscription,
) -> Result<(), String> {
    exists(world, &position.cursor).map_err(|ahead| format!("resumes at {ahead}"))?;
    match committed.get(&position.generation) {
        Some(furthest) if furthest.reaches(&position.cursor) => Ok(()),
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
    let id = world.topic(topic);
    for home in world.homes(topic, false) {
        let image = &world.nodes[home].disk.image;
        let Some(position) = image.subscriptions.get(&(id, name.clone())) else {
            return Err(format!("`{name}` is not kept at node {home}"));
        };
        let logs = image.logs.get(&id);
        let reached = position.generation > kept.generation
            || kept.cursor.logs.iter().all(|(log, wanted)| {
                let held = logs.and_then(|logs| logs.get(log)?.entry().end());
                let end = held.map_or(0, |(end, _)| end);
                position.cursor.next(log) >= wanted.next.min(end)
            });
        if !reached || position.generation < kept.generation {
            return Err(format!("`{name}` stands at {position:?} at {home}, behind {kept:?}"));
        }
    }
    Ok(())
}
