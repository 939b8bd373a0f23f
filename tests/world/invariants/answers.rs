//! Every question is answered exactly once, unless its node crashes or the asker goes away (L4).
//!
//! A second answer is found where answers are given; here are those that never come.

use std::time::Duration;

use crate::world::World;

pub(crate) const NAME: &str = "every question is answered exactly once";

/// Longer than anything may take: a client of this world waits for 10 s at most.
const LONGEST: Duration = Duration::from_secs(25);

/// No question is open for too long.
pub(crate) fn at_end(world: &World) -> Result<(), String> {
    for (index, node) in world.nodes.iter().enumerate() {
        for (question, (asker, since)) in &node.open {
            if world.now.saturating_sub(*since) > LONGEST {
                return Err(format!("node {index} never answers {question:?} of {asker:?}"));
            }
        }
    }
    Ok(())
}
