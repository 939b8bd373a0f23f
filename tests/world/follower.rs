//! A client that follows what publishers were told to be pending, at whatever node.

use std::time::Duration;

use antiphon::wire::{Acks, Await, ClientRequest, LogRange, Request, Response};

use crate::world::{World, clients::Next, invariants::outbox};

/// Follows one pending part of a log at a time.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    following: Option<(usize, LogRange)>,
}

impl Follower {
    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<&Response>,
        asked: bool,
    ) -> Next {
        if asked {
            if let Some(Response::Awaited(published)) = response
                && let Some((topic, place)) = self.following
            {
                let result = outbox::awaited(world, topic, place, published);
                world.check(outbox::NAME, result);
                if published.acknowledged {
                    self.following = None;
                }
            }
            let pause = world.choices.time(Duration::from_millis(50), Duration::from_secs(1));
            return Next::Pause(pause);
        }
        if !world.publishing {
            return Next::Stop;
        }
        if self.following.is_none() || world.choices.chance(100) {
            self.following = world.oracle.latest_pending;
        }
        let Some((topic, place)) = self.following else {
            return Next::Pause(Duration::from_millis(500));
        };
        let name = world.options.topics[topic].name.parse().unwrap();
        let acks = world.choices.pick(&[Acks::Quorum, Acks::One, Acks::All]);
        let wait_ms = world.choices.pick(&[0, 500, 3_000]);
        let wanted = Await { topic: name, place, acks, wait_ms };
        let patience = Duration::from_millis(u64::from(wait_ms)) + Duration::from_secs(2);
        Next::Ask(world.some_node(), Request::Client(ClientRequest::Await(wanted)), patience)
    }
}
