//! Clients that create, alter or delete topics, and do not give up.

use std::{num::NonZeroU64, time::Duration};

use antiphon::{
    model::{LimitChange, RetentionChange},
    wire::{Alter, ClientRequest, Create, Refusal, Request, Response},
};

use crate::world::{World, clients::Next, invariants::answers, options::draw_retention};

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

/// Changes the terms of topics now and then, and does not give up.
#[derive(Debug, Default)]
pub(crate) struct Alterer {
    asked: Option<Alter>,
    waited: bool,
}

impl Alterer {
    pub(crate) fn go_on(&mut self, world: &mut World, response: Option<&Response>) -> Next {
        match response {
            Some(Response::Altered(_)) => {
                world.counts.altered += 1;
                self.asked = None;
            }
            // It was deleted, or this node does not know it.
            Some(Response::Refused(Refusal::UnknownTopic { .. })) => self.asked = None,
            Some(Response::Refused(Refusal::Invalid(reason))) => {
                let result = Err(format!("{:?} is refused: {reason}", self.asked));
                world.check(answers::NAME, result);
            }
            Some(_) | None => {}
        }
        if !std::mem::take(&mut self.waited) {
            self.waited = true;
            let most = if self.asked.is_some() { 1 } else { 10 };
            let pause = world.choices.time(Duration::from_millis(100), Duration::from_secs(most));
            return Next::Pause(pause);
        }
        if self.asked.is_none() && !world.publishing {
            return Next::Stop;
        }
        let alter = self.asked.get_or_insert_with(|| draw(world)).clone();
        Next::Ask(world.some_node(), ClientRequest::Alter(alter).into(), Duration::from_secs(10))
    }
}

fn draw(world: &mut World) -> Alter {
    let topic = world.choices.index(world.options.topics.len());
    let name = world.options.topics[topic].name.parse().unwrap();
    let replicas = world.choices.pick(&[3, 2, 1, 4, 5]);
    let min_copies = world.choices.pick(&[1, 2.min(replicas), replicas.min(3)]);
    let floor_follows = world.choices.chance(250);
    let limits = draw_retention(&mut world.choices);
    let change = |limit: Option<u64>| LimitChange::from(limit.and_then(NonZeroU64::new));
    let retention = RetentionChange {
        records: change(limits.records),
        bytes: change(limits.bytes),
        age_ms: change(limits.age_ms),
        ..RetentionChange::default()
    };
    let min_copies = (!floor_follows).then_some(min_copies);
    Alter { name, replicas: Some(replicas), min_copies, retention, floor_follows }
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
