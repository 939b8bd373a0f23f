//! Clients that create a topic, or delete one, and do not give up.

use std::time::Duration;

use antiphon::wire::{ClientRequest, Create, Refusal, Request, Response};

use crate::world::{World, clients::Next};

/// Deletes the last topic, some time after the start.
#[derive(Debug, Default)]
pub(crate) struct Deleter {
    waited: bool,
    asked: bool,
}

impl Deleter {
    pub(crate) fn go_on(&mut self, world: &mut World, response: Option<&Response>) -> Next {
        if !std::mem::replace(&mut self.waited, true) {
            let pause = world.choices.time(Duration::from_secs(1), world.options.faults_for);
            return Next::Pause(pause);
        }
        let topic = world.options.topics.len() - 1;
        match response {
            Some(Response::Deleted) => {
                world.deletions_told.insert(topic);
                return Next::Stop;
            }
            // It was carried out without an answer to tell of it, or this node knows nothing.
            Some(Response::Refused(Refusal::UnknownTopic { .. })) => return Next::Stop,
            Some(_) | None if std::mem::take(&mut self.asked) => {
                return Next::Pause(Duration::from_millis(200));
            }
            Some(_) | None => self.asked = true,
        }
        world.deleted.insert(topic);
        let name = world.options.topics[topic].name.parse().unwrap();
        Next::Ask(
            world.some_node(),
            Request::Client(ClientRequest::Delete(name)),
            Duration::from_secs(10),
        )
    }
}

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
            min_copies: (!options.floor_follows).then_some(options.min_copies),
            retention: options.retention,
            if_not_exists: true,
            ..Create::new(options.name.parse().unwrap())
        };
        let node = world.some_node();
        Next::Ask(node, Request::Client(ClientRequest::Create(create)), Duration::from_secs(10))
    }
}
