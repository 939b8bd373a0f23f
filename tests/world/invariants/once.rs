//! What was acknowledged under an id that was given is not stored again: in a world that is whole it
//! is a duplicate at whichever node it is published again, also of nodes that were started since.

use antiphon::{
    limits::RECALL_BYTES_MAX,
    model::RecordId,
    wire::{Refusal, Response},
};

use crate::world::{World, faults::Fault};

pub(crate) const NAME: &str = "one id is stored once";

/// What was acknowledged under given ids in a topic and is held by all its homes, with the number of
/// batches that have it.
pub(crate) fn acknowledged(world: &World, topic: usize) -> Vec<(RecordId, usize)> {
    let id = world.topic(topic);
    let is_forked = world.oracle.forked.iter().any(|(of, _)| *of == id);
    // After a start a node goes by what writers stamped, to know what is recent.
    let is_astray = world.options.faults.contains(&Fault::ClockJump);
    // Nor does it read all of a large topic then.
    let of_topic = world.oracle.batches.values().filter(|it| it.batch.header().topic == id);
    let bytes: u64 = of_topic.map(|known| known.batch.bytes().len() as u64).sum();
    let is_large = bytes > RECALL_BYTES_MAX;
    let is_left_out = is_forked || is_astray || is_large;
    if world.options.destructive || world.deleted.contains(&topic) || is_left_out {
        return Vec::new();
    }
    let of_topic = world.oracle.published.iter().filter(|(id, known)| {
        let mut batches = known.batches.iter().map(|hash| &world.oracle.batches[hash]);
        let is_kept = known.batches.iter().all(|hash| {
            let batch = &world.oracle.batches[hash].batch;
            !world.is_let_go(batch)
        });
        id.is_given()
            && known.topic == topic
            && is_kept
            && batches.any(|batch| batch.acknowledged > 0)
    });
    of_topic.map(|(id, known)| (*id, known.batches.len())).collect()
}

/// It was published again.
pub(crate) fn published_again(
    world: &World,
    id: RecordId,
    batches: usize,
    response: Option<&Response>,
) -> Result<(), String> {
    let known = &world.oracle.published[&id];
    // It may have been let go since.
    if known.batches.iter().any(|hash| world.is_let_go(&world.oracle.batches[hash].batch)) {
        return Ok(());
    }
    match response {
        Some(Response::Published(told)) if told.acknowledged && told.duplicate => {}
        // So many nodes are gone that the floor cannot be reached any more. It says so.
        Some(Response::Published(told))
            if told.duplicate && told.too_few_nodes && world.is_out_of_reach(known.topic) => {}
        // It goes, and sends its publishers elsewhere.
        Some(Response::Refused(Refusal::Stopping(_))) => {}
        other => return Err(format!("{id:?} was acknowledged, and now: {other:?}")),
    }
    if known.batches.len() > batches {
        return Err(format!("{id:?} is stored again, in {:?}", known.batches));
    }
    Ok(())
}
