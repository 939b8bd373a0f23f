//! No honest copy goes for a liar's word: a node gives a batch up only if another honest disk holds it,
//! and cuts no log of a topic that keeps all. In a topic with limits a trim is not told from a lie.

use antiphon::model::{Batch, LogId, Retention, TopicId};

use super::removal;
use crate::world::World;

pub(crate) const NAME: &str = "no copy goes for a liar's word";

/// A node decides to remove a batch.
pub(crate) fn decided(world: &World, index: usize, batch: &Batch) -> Result<(), String> {
    if world.is_of_liar(&batch.header().writer) {
        return Ok(());
    }
    removal::decided(world, index, batch)
}

/// A node gives a log a low watermark.
pub(crate) fn cut(
    world: &World,
    index: usize,
    (topic, log, low): (TopicId, LogId, u64),
) -> Result<(), String> {
    let number = world.topic_number(&topic);
    let limits = number.map(|number| world.retentions(number)).unwrap_or_default();
    let has_limits = limits.iter().any(Retention::has_limits);
    // What a liar signs in two ways is filed anywhere.
    let is_of_liar = world.is_of_liar(&log.writer);
    if low == 0 || has_limits || is_of_liar || world.is_deleted(&topic) {
        return Ok(());
    }
    Err(format!("node {index} cuts {log:?} at {low}, and its topic is kept for ever"))
}
