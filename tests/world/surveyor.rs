//! A client that asks now and then how far a topic goes.

use std::time::Duration;

use antiphon::wire::{ClientRequest, Request, Response};

use crate::world::{
    World,
    clients::Next,
    invariants::{
        complete_survey::{self, Expected},
        put_out,
    },
};

/// Surveys all topics in turn.
#[derive(Debug, Default)]
pub(crate) struct Surveyor {
    topic: usize,
    node: usize,
    expected: Expected,
}

impl Surveyor {
    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<Response>,
        asked: bool,
    ) -> Next {
        if asked {
            // Among liars it is complete as far as those who answered are honest.
            if let Some(Response::Surveyed(surveyed)) = response
                && world.liars() == 0
            {
                let result = complete_survey::told(world, &self.expected, &surveyed);
                world.check(complete_survey::NAME, result);
                let result = put_out::surveyed(world, self.node, &surveyed);
                world.check(put_out::NAME, result);
            }
            let pause = world.choices.time(Duration::from_millis(50), Duration::from_secs(1));
            return Next::Pause(pause);
        }
        if !world.publishing {
            return Next::Stop;
        }
        self.topic = world.choices.index(world.options.topics.len());
        self.expected = complete_survey::expected(world, self.topic);
        let name = world.options.topics[self.topic].name.parse().unwrap();
        self.node = world.some_node();
        Next::Ask(self.node, Request::Client(ClientRequest::Survey(name)), Duration::from_secs(3))
    }
}
