//! An acknowledgement is true when it is given: so many distinct disks as it says hold the batch
//! in what would be there after the worst crash, and never fewer than the topic's floor (S2, S8).

use std::{cell::LazyCell, collections::BTreeSet};

use antiphon::{
    engine::Write,
    limits::WRITER_LOGS_MAX,
    model::{Hash, Header, LogId, NodeId, RecordId, TopicId, floor_that_follows},
    wire::Published,
};

use crate::world::World;

pub(crate) const NAME: &str = "truthful acknowledgement";

/// A node answers a publisher.
pub(crate) fn published(
    world: &mut World,
    index: usize,
    topic: usize,
    record: RecordId,
    published: &Published,
) -> Result<(), String> {
    let copies = world.honest(usize::from(published.copies));
    let (replicas, floor) = (world.kept_copies(topic), floor(world, index, topic));
    // What came before may have been acknowledged when the floor was lower.
    let lowest = world.lowest_min_copies(topic);
    if published.acknowledged && published.copies < floor.max(published.wanted) {
        return Err(format!("acknowledged with {published:?}, and the floor is {floor}"));
    }
    if published.duplicate {
        world.counts.duplicates += 1;
        return duplicate(world, (topic, record), published, copies.min(replicas), lowest);
    }
    let (node, id) = (&world.nodes[index], world.topic(topic));
    // A node that has its share of the topic's logs continues one of a life that crashed.
    let has_its_share = LazyCell::new(|| {
        let headers = world.oracle.batches.values().map(|known| known.batch.header());
        let own = headers.filter(|header| (header.topic, header.writer) == (id, node.id));
        own.map(Header::log).collect::<BTreeSet<_>>().len() >= WRITER_LOGS_MAX
    });
    let is_own = |log: &LogId| {
        let current =
            log.incarnation == node.incarnation || node.earlier.contains(&log.incarnation);
        log.writer == node.id && (current || *has_its_share)
    };
    let known = world.oracle.published.get(&record);
    let batches = known.map(|known| known.batches.clone()).unwrap_or_default();
    // A record that was sent to this node again may be in two of its batches: the answer says where
    // the one is that is pending.
    let is_meant = |first: u64, next: u64| {
        published.place.is_none_or(|place| first <= place.from && place.to <= next)
    };
    let own = batches.iter().filter_map(|hash| {
        let known = world.oracle.batches.get(hash)?;
        // Who was known to be out when it was sealed is not asked. To itself a node is never out.
        let is_out = |holder: &&usize| {
            let out = world.knows_out(index, **holder).filter(|_| **holder != index);
            out.is_some_and(|since| since < known.sealed)
        };
        let held = known.holders.iter().filter(|holder| !is_out(holder)).count();
        let held = held + world.copies_lost(known);
        let header = known.batch.header();
        // After a fork of its log a writer goes on in an incarnation of its own choice.
        let this_life = is_own(&header.log())
            || header.writer == node.id && !world.oracle.lives.contains(&header.incarnation);
        let is_own = this_life && header.topic == id;
        let is_let_go = world.is_let_go(&known.batch);
        (is_own && is_meant(header.first, header.next())).then_some((is_let_go, held, hash))
    });
    // The answer does not say which one it means. It may mean one that retention removed since.
    let own = own.max();
    let own = own.and_then(|(is_let_go, held, hash)| {
        Some((is_let_go, held, world.oracle.batches.get_mut(hash)?))
    });
    let Some((is_let_go, held, known)) = own else {
        return if published.acknowledged {
            Err(format!("{record:?} is acknowledged and in no batch of node {index}"))
        } else {
            Ok(())
        };
    };
    // Stand-ins that gave their copies to the homes meanwhile are no longer among the holders.
    if held < copies.min(replicas) && !is_let_go {
        let (batch, holders) = (&known.batch, &known.holders);
        return Err(format!("{copies} copies of {batch:?} are claimed, and {holders:?} hold it"));
    }
    if published.acknowledged {
        known.acknowledged = known.acknowledged.max(copies);
        let header = known.batch.header();
        let (id, log, first) = (header.topic, header.log(), header.first);
        let before = world.honest(usize::from(published.copies).min(usize::from(lowest)));
        return behind(world, id, log, first, before.min(replicas).max(1));
    }
    Ok(())
}

/// The floor of a topic at a node. What its disk has of others is what it knew at least when it
/// decided.
fn floor(world: &World, index: usize, topic: usize) -> u16 {
    let options = &world.options.topics[topic];
    if !options.floor_follows || world.is_altered(topic) {
        return world.lowest_min_copies(topic);
    }
    let node = &world.nodes[index];
    let is_forgotten = |other: &NodeId| {
        let forgets = |write: &Write| matches!(write, Write::Forget(node) if node == other);
        node.disk.pending.iter().any(|(_, write)| forgets(write))
    };
    let known = node.disk.image.tables.contacts.keys();
    let others = known.filter(|other| **other != node.id && !is_forgotten(other)).count();
    floor_that_follows(options.replicas, others + 1)
}

/// A node says that a record was there already: some batch has so many copies, whoever wrote it.
fn duplicate(
    world: &mut World,
    (topic, record): (usize, RecordId),
    published: &Published,
    copies: usize,
    floor: u16,
) -> Result<(), String> {
    let batches = world.oracle.published.get(&record).map(|known| known.batches.clone());
    let mut batches = batches.unwrap_or_default();
    let id = world.topic(topic);
    batches.retain(|hash| world.oracle.batches[hash].batch.header().topic == id);
    // The one that is meant is rather there than destroyed.
    batches.sort_by_key(|hash| std::cmp::Reverse(world.oracle.batches[hash].holders.len()));
    let mut found = Err(format!("{record:?} is a duplicate and in no batch"));
    for hash in &batches {
        let known = &world.oracle.batches[hash];
        if world.is_let_go(&known.batch) {
            return Ok(());
        }
        let held = known.holders.len() + world.copies_lost(known);
        let header = known.batch.header();
        let (id, log, first) = (header.topic, header.log(), header.first);
        let before = world.honest(usize::from(published.copies).min(usize::from(floor)));
        let before = behind(world, id, log, first, before.min(copies).max(1));
        if held < copies {
            let (batch, holders) = (&known.batch, &known.holders);
            found = Err(format!("{copies} copies of {batch:?} are claimed, {holders:?} hold it"));
        } else if !published.acknowledged || before.is_ok() {
            let counted = usize::from(published.acknowledged) * usize::from(published.copies);
            let counted = world.honest(counted);
            let known = world.oracle.batches.get_mut(hash).expect("it is known");
            known.acknowledged = known.acknowledged.max(counted);
            return Ok(());
        } else {
            found = before;
        }
    }
    found
}

/// How many batches before an acknowledged one are looked at: as many as may be under way.
const LOOKED_AT: usize = 16;

/// What comes before an acknowledged batch in its log is held, too, or a crash would leave a hole.
fn behind(
    world: &World,
    topic: TopicId,
    log: LogId,
    first: u64,
    copies: usize,
) -> Result<(), String> {
    // Of a log that has forked what comes before may be in another branch.
    if world.oracle.forked.contains(&(topic, log)) {
        return Ok(());
    }
    let at = |number| (topic, log, number, Hash([0; 32]));
    let before = world.oracle.positions.range(at(0)..at(first));
    for (.., hash) in before.rev().take(LOOKED_AT) {
        let known = &world.oracle.batches[hash];
        let lost = world.copies_lost(known);
        // What was pending and whose only copies faults destroyed is a hole, and nothing was
        // promised for it.
        let destroyed = known.holders.is_empty() && lost > 0;
        if known.holders.len() + lost < copies && !destroyed && !world.is_let_go(&known.batch) {
            let (batch, holders) = (&known.batch, &known.holders);
            return Err(format!(
                "{first} of {log:?} is acknowledged, and {batch:?} before it is at {holders:?} only"
            ));
        }
    }
    Ok(())
}
