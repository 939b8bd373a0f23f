//! A topic keeps what it was told to keep: a node lets a batch go only when it has been given as
//! much since as is to be kept, or when the batch is as old. What is let go never comes back there.

use std::collections::BTreeMap;

use antiphon::{
    engine::Write,
    model::{Batch, LogId, Retention, TopicId},
};

use crate::world::{World, faults::Fault, oracle::Received};

pub(crate) const NAME: &str = "a topic keeps what it was told to keep";

/// The limits that a topic was ever given; none if it was always told to keep all.
fn terms(world: &World, topic: &TopicId) -> Option<Vec<Retention>> {
    let mut terms = world.retentions(world.topic_number(topic)?);
    terms.retain(Retention::has_limits);
    (!terms.is_empty()).then_some(terms)
}

/// A node stores a batch.
pub(crate) fn received(world: &mut World, index: usize, batch: &Batch) {
    let topic = batch.header().topic;
    if world.options.alters || terms(world, &topic).is_some() {
        let received = world.oracle.received.entry((index, topic)).or_default();
        let now = world.now;
        received.entry(batch.hash()).or_insert(Received { first: now, last: now }).last = now;
    }
}

/// A node stores a batch that it must not take in again.
pub(crate) fn stays_gone(world: &World, index: usize, batch: &Batch) -> Result<(), String> {
    let topic = batch.header().topic;
    let logs = world.nodes[index].disk.image.tables.logs.get(&topic);
    let low = logs.and_then(|logs| logs.get(&batch.log())).map_or(0, |log| log.low);
    if batch.header().next() <= low {
        return Err(format!("node {index} takes {batch:?} in again, which is below {low}"));
    }
    Ok(())
}

/// A node gives a log a low watermark.
pub(crate) fn cut(world: &mut World, topic: TopicId, log: LogId, low: u64) {
    if terms(world, &topic).is_some() {
        let highest = world.oracle.lows.entry((topic, log)).or_default();
        *highest = low.max(*highest);
    }
}

/// The low watermarks of a topic's logs at a node, as they are once all is flushed. What was decided
/// before a crash and not flushed was not done.
fn lows(world: &World, index: usize, topic: TopicId) -> BTreeMap<LogId, u64> {
    let disk = &world.nodes[index].disk;
    let flushed = disk.image.tables.logs.get(&topic);
    let mut lows: BTreeMap<LogId, u64> =
        flushed.into_iter().flatten().map(|(id, log)| (*id, log.low)).collect();
    for (_, write) in &disk.pending {
        if let Write::Drop { topic: of, log_id, log: Some(log), .. } = write
            && *of == topic
        {
            lows.insert(*log_id, log.low);
        }
    }
    lows
}

/// A node lets batches of a topic go.
pub(crate) fn let_go(
    world: &World,
    index: usize,
    topic: TopicId,
    (log, low): (LogId, u64),
    batches: &[Batch],
) -> Result<(), String> {
    let Some(newest) = batches.iter().max_by_key(|batch| batch.header().first) else {
        return Ok(());
    };
    // What a disk holds that faults brought there it was not given.
    if world.options.destructive || world.is_deleted(&topic) {
        return Ok(());
    }
    let Some(terms) = terms(world, &topic) else {
        return Err(format!("node {index} lets {newest:?} go, and its topic is kept for ever"));
    };
    let received = world.oracle.received.get(&(index, topic));
    let mut lows = lows(world, index, topic);
    lows.insert(log, low);
    let given = received.and_then(|received| received.get(&newest.hash()));
    let since = given.map(|given| given.first);
    // What was given since, and what is there without what is let go: one of both is enough.
    let (mut bytes, mut records) = ([0, 0], [0, 0]);
    for (hash, given) in received.into_iter().flatten() {
        let Some(known) = world.oracle.batches.get(hash) else {
            continue;
        };
        let next = known.batch.header().next();
        let logs = world.oracle.logs_of(&known.batch);
        let is_there = !logs.iter().filter_map(|log| lows.get(log)).any(|low| next <= *low);
        let came_since = since.is_none_or(|since| given.last > since);
        for (which, _) in [is_there, came_since].into_iter().enumerate().filter(|(_, is)| *is) {
            bytes[which] += known.batch.bytes().len() as u64;
            records[which] += u64::from(known.batch.header().count);
        }
    }
    let node = &world.nodes[index];
    let is_old = |batch: &Batch, age: u64| {
        let given = received.and_then(|received| received.get(&batch.hash()));
        let by_receipt = given
            .is_none_or(|given| world.now.saturating_sub(given.first).as_millis() >= age.into());
        // A clock that is set by little, or while its node is down, is not seen to be. Of what a
        // node did not see when it was received the stamp counts.
        by_receipt
            || world.options.faults.contains(&Fault::ClockJump)
            || batch.header().stamp.time().0 + age <= node.wall(world.now).0
    };
    let is_due = terms.iter().any(|terms| {
        terms.records.is_some_and(|limit| records.iter().any(|it| *it >= limit))
            || terms.bytes.is_some_and(|limit| bytes.iter().any(|it| *it >= limit))
            // What is older goes with it, whenever repair brought it.
            || terms.age_ms.is_some_and(|age| is_old(newest, age))
    });
    // What is filed under a branch may be reckoned with twice.
    if is_due || world.oracle.forked.iter().any(|(of, _)| *of == topic) {
        return Ok(());
    }
    Err(format!(
        "node {index} lets {newest:?} go, and keeps {records:?} records of {bytes:?} bytes, where {terms:?}"
    ))
}
