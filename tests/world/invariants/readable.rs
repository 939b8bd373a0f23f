//! A finite read ends: a client that reads what a topic has now comes to its end, whatever liars say of
//! that end.

use std::time::Duration;

use crate::world::{
    World,
    clients::{Client, Kind},
};

pub(crate) const NAME: &str = "a finite read ends";

/// Within this time, in a network that is whole.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

/// Whether all of them have ended. One of a topic that trims may chase what is trimmed.
pub(crate) fn ended(world: &World) -> Result<(), String> {
    for client in world.clients.iter().flatten() {
        if let Client { kind: Kind::Fetcher(fetcher), .. } = client
            && !fetcher.is_done
            && world.retentions(fetcher.topic).iter().all(|terms| !terms.has_limits())
            // Who asked a node that has left asks another one.
            && !world.nodes[fetcher.node].gone
            && !world.nodes[fetcher.node].leaves
        {
            return Err(format!("still under way: {fetcher:?}"));
        }
    }
    Ok(())
}
