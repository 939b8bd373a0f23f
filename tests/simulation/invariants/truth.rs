//! An acknowledgement is true when it is given: so many distinct disks as it says hold the batch
//! in what would be there after the worst crash, and never fewer than the topic's floor (S2, S8).

use antiphon::{
    model::{LogId, RecordId},
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
    let copies = usize::from(published.copies);
    let options = &world.options.topics[topic];
    let (replicas, floor) = (usize::from(options.replicas), options.min_copies);
    if published.acknowledged && published.copies < floor.max(published.wanted) {
        return Err(format!("acknowledged with {published:?}, and the floor is {floor}"));
    }
    let log = LogId { writer: world.nodes[index].id, incarnation: world.nodes[index].incarnation };
    let known = world.oracle.published.get(&record);
    let batches = known.map(|known| known.batches.clone()).unwrap_or_default();
    // A record that was sent to this node again may be in two of its batches.
    let own = batches.iter().filter_map(|hash| {
        let known = world.oracle.batches.get(hash)?;
        let held = known.holders.len() + world.copies_lost(known);
        let header = known.batch.header();
        // After a fork of its log a writer goes on in an incarnation of its own choice.
        let this_life = header.log() == log
            || header.writer == log.writer && !world.oracle.lives.contains(&header.incarnation);
        this_life.then_some((held, hash))
    });
    let own = own.max();
    let own = own.and_then(|(held, hash)| Some((held, world.oracle.batches.get_mut(hash)?)));
    let Some((held, known)) = own else {
        return if published.acknowledged {
            Err(format!("{record:?} is acknowledged and in no batch of node {index}"))
        } else {
            Ok(())
        };
    };
    // Stand-ins that gave their copies to the homes meanwhile are no longer among the holders.
    if held < copies.min(replicas) {
        let (batch, holders) = (&known.batch, &known.holders);
        return Err(format!("{copies} copies of {batch:?} are claimed, and {holders:?} hold it"));
    }
    if published.acknowledged {
        known.acknowledged = known.acknowledged.max(copies);
    }
    Ok(())
}
