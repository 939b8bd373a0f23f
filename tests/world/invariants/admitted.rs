//! Nothing of a liar's that breaks the rules of a topic is shown: no batch of a writer that the topic
//! does not admit, none whose time has not come, no terms that it may not change or that jump ahead.

use std::time::Duration;

use antiphon::model::{Batch, Descriptor, TopicId};

use crate::world::{World, node::right_wall};

pub(crate) const NAME: &str = "what a topic does not admit is not shown";

/// How far ahead a stamp may be, with clocks that differ.
const AHEAD: Duration = Duration::from_mins(11);

/// How far a revision may rise in one step.
const STEP: u64 = 1_000;

/// A reader is shown a batch.
pub(crate) fn shown(world: &World, topic: usize, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    if !world.is_of_liar(&header.writer) {
        return Ok(());
    }
    if world.options.topics[topic].closed {
        return Err(format!("{batch:?} of a liar is shown, and t{topic} does not admit it"));
    }
    if header.stamp.time() > right_wall(world.now).plus(AHEAD) {
        return Err(format!("{batch:?} is shown, and is stamped {:?}", header.stamp));
    }
    Ok(())
}

/// An honest node keeps terms of a topic.
pub(crate) fn kept(
    world: &World,
    index: usize,
    topic: TopicId,
    terms: &Descriptor,
) -> Result<(), String> {
    let Some(number) = world.topic_number(&topic).filter(|_| world.is_of_liar(&terms.creator))
    else {
        return Ok(());
    };
    if world.options.topics[number].closed {
        return Err(format!("node {index} keeps terms of t{number} that a liar signed: {terms:?}"));
    }
    let known = world.oracle.descriptors.get(&topic).into_iter().flatten();
    let honest = known.filter(|known| !world.is_of_liar(&known.creator));
    let highest = honest.map(|known| known.revision).max().unwrap_or(0);
    if terms.revision > highest + STEP {
        let revision = terms.revision;
        return Err(format!("node {index} keeps revision {revision} of t{number} after {highest}"));
    }
    Ok(())
}
