//! A client that publishes again, in a world that is whole, what was acknowledged under ids that were
//! given.

use std::time::Duration;

use antiphon::{
    model::{Blob, Record, RecordId, WallClock, encode_record},
    wire::{Acks, ClientRequest, Publish, Request, Response},
};

use crate::world::{World, clients::Next, invariants::once};

/// As many are published again in each topic.
const PER_TOPIC: usize = 6;

/// A record, and how many batches had it before.
#[derive(Debug)]
pub(crate) struct Again {
    todo: Vec<(RecordId, usize)>,
    asked: Option<(RecordId, usize)>,
    /// Which node was asked.
    node: usize,
}

impl Again {
    /// Some of what may be published again, of each topic.
    pub(crate) fn some(world: &mut World) -> Self {
        let mut todo = Vec::new();
        for topic in 0..world.options.topics.len() {
            let mut ids = once::acknowledged(world, topic);
            for _ in 0..PER_TOPIC.min(ids.len()) {
                let chosen = world.choices.index(ids.len());
                todo.push(ids.swap_remove(chosen));
            }
        }
        Self { todo, asked: None, node: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.todo.is_empty() && self.asked.is_none()
    }

    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<&Response>,
        asked: bool,
    ) -> Next {
        let has_left = response.is_none() && world.nodes[self.node].gone;
        if asked && let Some((id, batches)) = self.asked.take() {
            if has_left {
                // Another one is asked.
                self.todo.push((id, batches));
                return self.ask(world);
            }
            let result = once::published_again(world, id, batches, response);
            world.check(once::NAME, result);
            world.counts.published_again += 1;
        }
        self.ask(world)
    }

    fn ask(&mut self, world: &mut World) -> Next {
        let Some((id, batches)) = self.todo.pop() else {
            return Next::Stop;
        };
        self.asked = Some((id, batches));
        let published = &world.oracle.published[&id];
        let mut records = Vec::new();
        let record = Record::new(WallClock(0), published.payload.clone());
        encode_record(&record, &mut records).unwrap();
        let publish = Publish {
            topic: world.options.topics[published.topic].name.parse().unwrap(),
            producer: id.producer,
            first: id.number,
            records: Blob(records.into()),
            acks: Acks::Quorum,
            timeout_ms: 5_000,
            retried: true,
        };
        self.node = world.some_node();
        Next::Ask(
            self.node,
            Request::Client(ClientRequest::Publish(publish)),
            Duration::from_secs(5),
        )
    }
}
