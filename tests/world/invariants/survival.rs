//! What was acknowledged survives: after healing it is readable at every home replica, unless
//! faults destroyed as many copies as the answer counted (S1, L2). So does what was told to be
//! pending, as if one copy had been counted.

use crate::world::{World, liar::Lie};

pub(crate) const NAME: &str = "acknowledged records survive";

/// Checks all that was acknowledged; how many records faults have destroyed altogether.
pub(crate) fn at_end(world: &World) -> Result<u64, String> {
    let mut destroyed = 0;
    let adrift = world.oracle.adrift();
    for known in world.oracle.batches.values().filter(|known| known.promises()) {
        let batch = &known.batch;
        // Of a liar that begins more logs than its share some go.
        if world.is_of_liar(&batch.header().writer) && world.liars_tell(Lie::Jump) {
            continue;
        }
        let Some(topic) = world.topic_number(&batch.header().topic) else {
            continue;
        };
        let homes = world.homes(topic, false);
        let kept = world.kept_copies(topic);
        let excused = world.copies_lost(known) >= known.promised(kept);
        let anywhere = world.running().into_iter().any(|node| known.holders.contains(&node));
        if !anywhere && excused && !world.is_let_go(batch) {
            destroyed += u64::from(batch.header().count);
            continue;
        }
        if world.is_let_go(batch) {
            continue;
        }
        if adrift.contains(&(batch.header().topic, batch.header().log())) {
            continue;
        }
        for home in homes {
            let image = &world.nodes[home].disk.image;
            if !image.holds(batch) {
                let (copies, losses) = (known.acknowledged, known.losses);
                let holders = &known.holders;
                return Err(format!(
                    "{batch:?} of t{topic} was acknowledged with {copies} copies, {losses} were \
                     destroyed; home {home} lacks it, {holders:?} hold it"
                ));
            }
        }
    }
    Ok(destroyed)
}
