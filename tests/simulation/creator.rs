//! A client that creates a topic, and does not give up.

use std::time::Duration;

use antiphon::wire::{Create, Request, Response};

use crate::{clients::Next, world::World};

/// Creates a topic.
#[derive(Debug)]
pub(crate) struct Creator {
    pub(crate) topic: usize,
}

impl Creator {
    pub(crate) fn go_on(&mut self, world: &mut World, response: Option<&Response>) -> Next {
        if let Some(Response::Created(..)) = response {
            return Next::Stop;
        }
        let options = &world.options.topics[self.topic];
        let create = Create {
            replicas: Some(options.replicas),
            min_copies: Some(options.min_copies),
            if_not_exists: true,
            ..Create::new(options.name.parse().unwrap())
        };
        let node = world.some_node();
        Next::Ask(node, Request::Create(create), Duration::from_secs(10))
    }
}
