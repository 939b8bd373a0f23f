//! A reader is shown the records of one writer in the order written, also across restarts: the
//! first batch of a new log comes after the batch of the old log that it names (design 2).

use antiphon::{
    engine::Log,
    model::{Batch, Cursor, LogId},
};

use crate::world::World;

pub(crate) const NAME: &str = "order of one writer";

/// What a batch names as the one before it was shown before it, where the asked node has it.
pub(crate) fn continues(world: &World, cursor: &Cursor, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let Some(previous) = header.previous.filter(|named| named.incarnation != header.incarnation)
    else {
        return Ok(());
    };
    let log = LogId { writer: header.writer, incarnation: previous.incarnation };
    let named = world.oracle.batches.get(&previous.hash);
    if world.oracle.lows.get(&(header.topic, log)).is_some_and(|low| previous.next <= *low) {
        return Ok(());
    }
    let signed_in = named.map(|known| known.batch.header().log());
    let has_forked = |log: LogId| world.oracle.forked.contains(&(header.topic, log));
    if has_forked(log) || signed_in.is_some_and(has_forked) {
        // What came before may be filed under a branch by now, or under another one, and stand
        // elsewhere in the cursor.
        return Ok(());
    }
    if header.first == 0 && cursor.next(&batch.log()) == 0 && cursor.next(&log) < previous.next {
        let shown = cursor.next(&log);
        // It held all of it when it was asked, and has lost none of it since.
        let held = world.held_when_asked.get(&world.current).is_some_and(|(node, after, logs)| {
            let (from, to) = (after.next(&log), previous.next);
            let image = &world.nodes[*node].disk.image;
            let now = image.tables.logs.get(&header.topic);
            let covers = |log: Option<&Log>| log.is_some_and(|log| log.entry().covers(from, to));
            let damaged =
                image.damaged.iter().any(|place| (place.0, place.1) == (header.topic, log));
            covers(logs.get(&log)) && covers(now.and_then(|logs| logs.get(&log))) && !damaged
        });
        if !held {
            // The node cannot tell what it does not have: see "known" in `docs/simulation.md`.
            return Ok(());
        }
        return Err(format!(
            "{batch:?} is shown after {shown} of {log:?}, and {} came before it",
            previous.next
        ));
    }
    Ok(())
}
