//! A member of a group: takes records, is done with them after a while, fails with some, and now and
//! then crashes with all that it has.

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    model::{Cursor, LogId, MemberId, RecordId, SubscriberName, Subscription, TopicName},
    wire::{
        Assignment, ClientRequest, LogRange, Membership, Refusal, Rejection, Request, Response,
        Settle, Settlement, Take,
    },
};

use crate::world::{World, clients::Next, invariants::groups};

/// What a member has.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) id: RecordId,
    pub(crate) key: Option<u8>,
}

#[derive(Debug)]
enum Asked {
    Nothing,
    Position,
    Beginning,
    Take,
    /// What is done with, once it is answered.
    Settle(Vec<RecordId>),
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) topic: usize,
    pub(crate) group: SubscriberName,
    id: MemberId,
    generation: Option<u64>,
    turn: u64,
    pub(crate) has: BTreeMap<(LogId, u64), Holding>,
    visibility: Duration,
    asked: Asked,
    node: usize,
}

impl Member {
    pub(crate) fn new(topic: usize, group: SubscriberName) -> Self {
        Self {
            topic,
            group,
            id: MemberId([0; 16]),
            generation: None,
            turn: 1,
            has: BTreeMap::new(),
            visibility: Duration::from_secs(5),
            asked: Asked::Nothing,
            node: 0,
        }
    }

    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<Response>,
        asked: bool,
    ) -> Next {
        if asked {
            if !self.told(world, response) {
                self.node = world.some_node();
            }
            return Next::Pause(world.choices.time(
                Duration::from_millis(1),
                Duration::from_millis(if world.publishing { 300 } else { 10 }),
            ));
        }
        if world.choices.chance(30) {
            self.node = world.some_node();
        }
        if world.faulty && world.choices.chance(10) {
            // It begins anew with nothing, and under another name.
            self.has.clear();
            self.generation = None;
        }
        let (request, wait) = self.question(world);
        Next::Ask(self.node, request, wait)
    }

    fn question(&mut self, world: &mut World) -> (Request, Duration) {
        let topic: TopicName = world.options.topics[self.topic].name.parse().unwrap();
        let name = self.group.clone();
        match (self.generation, &self.asked) {
            (None, Asked::Beginning) => {
                let cursor = Some(Cursor::start(world.topic(self.topic)));
                let group = Some(Box::default());
                let subscription = Subscription { generation: 0, cursor, group };
                (
                    Request::Client(ClientRequest::Commit(topic, name, subscription, None)),
                    Duration::ZERO,
                )
            }
            (None, _) => {
                self.asked = Asked::Position;
                (Request::Client(ClientRequest::Position(topic, name)), Duration::ZERO)
            }
            (Some(_), _) if !self.has.is_empty() && world.choices.chance(700) => {
                (self.settle(world, topic), Duration::ZERO)
            }
            (Some(_), _) => {
                self.asked = Asked::Take;
                let wait = world.choices.pick(&[1_000, 0, 200, 5_000]);
                let take = Take {
                    membership: self.membership(topic),
                    turn: self.turn,
                    holding: self.has.keys().map(one).collect(),
                    settlement: Settlement::default(),
                    records_max: world.choices.pick(&[4, 1, 50]),
                    bytes_max: world.choices.pick(&[1 << 20, 1_000]),
                    wait_ms: wait,
                    visibility_ms: u32::try_from(self.visibility.as_millis()).expect("seconds"),
                    deliveries_max: 1_000_000,
                };
                (
                    Request::Client(ClientRequest::Take(Box::new(take))),
                    Duration::from_millis(u64::from(wait)),
                )
            }
        }
    }

    /// It is done with some of what it has, fails with one, or gives some back.
    fn settle(&mut self, world: &mut World, topic: TopicName) -> Request {
        let mut settlement = Settlement::default();
        let mut done = Vec::new();
        let count = 1 + world.choices.index(self.has.len());
        let some: Vec<_> = self.has.iter().take(count).map(|(at, it)| (*at, it.clone())).collect();
        let fails = world.publishing && world.choices.chance(100);
        for (place, holding) in some {
            if fails {
                let delay_ms = world.choices.pick(&[0, 200, 2_000]);
                let reason = "it failed".to_owned();
                let rejection = Rejection { range: one(&place), reason, delay_ms };
                settlement.rejected.push(rejection);
                // What follows of its key is not to come before it.
                let key = holding.key;
                let later = self.has.iter().filter(|(_, it)| key.is_some() && it.key == key);
                let later: Vec<_> = later.into_iter().map(|(at, _)| *at).collect();
                for at in later.into_iter().filter(|at| *at != place) {
                    settlement.returned.push(one(&at));
                    self.has.remove(&at);
                }
                self.has.remove(&place);
                break;
            }
            settlement.acknowledged.push(one(&place));
            done.push(holding.id);
        }
        // Whether that is heard or not: it has worked on them.
        world.acknowledged_of(self.topic, &self.group).extend(done.iter().copied());
        self.asked = Asked::Settle(done);
        let visibility_ms = u32::try_from(self.visibility.as_millis()).expect("seconds");
        let membership = self.membership(topic);
        Request::Client(ClientRequest::Settle(Box::new(Settle {
            membership,
            settlement,
            visibility_ms,
        })))
    }

    fn membership(&self, topic: TopicName) -> Membership {
        Membership {
            topic,
            group: self.group.clone(),
            member: self.id,
            generation: self.generation.unwrap_or_default(),
            hops: 0,
        }
    }

    /// Takes an answer; whether there was one.
    fn told(&mut self, world: &mut World, response: Option<Response>) -> bool {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        match (asked, response) {
            (Asked::Position, Some(Response::Position(None))) => self.asked = Asked::Beginning,
            (Asked::Position, Some(Response::Position(Some(kept)))) => self.begin(world, &kept),
            (Asked::Beginning, Some(Response::Committed(..))) => {}
            (Asked::Take, Some(Response::Taken(taken))) => {
                self.turn += 1;
                if self.generation != Some(taken.generation) {
                    self.generation = Some(taken.generation);
                    self.has.clear();
                }
                for assignment in &taken.assignments {
                    self.take(world, assignment);
                }
            }
            (Asked::Settle(done), Some(Response::Settled(_))) => {
                self.has.retain(|_, holding| !done.contains(&holding.id));
            }
            (_, Some(Response::Refused(Refusal::Superseded))) => {
                // All disks that knew of the group are lost: it begins anew.
                self.generation = None;
                self.has.clear();
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, world: &mut World, kept: &Subscription) {
        self.generation = Some(kept.generation);
        self.id = MemberId(std::array::from_fn(|_| {
            u8::try_from(world.choices.index(256)).expect("a byte")
        }));
        self.turn = 1;
        // Longer than it is looked at whether keys stay in order.
        self.visibility = Duration::from_secs(world.choices.pick(&[5, 8, 20]));
    }

    fn take(&mut self, world: &mut World, assignment: &Assignment) {
        for (place, id, key) in groups::records(world, self.topic, &assignment.range) {
            let result = groups::given(world, self, place, key);
            world.check(groups::ORDER, result);
            self.has.insert(place, Holding { id, key });
            world.counts.records_given += 1;
            world.counts.records_given_again += u64::from(assignment.deliveries > 1);
        }
    }
}

fn one((log, number): &(LogId, u64)) -> LogRange {
    LogRange { log: *log, from: *number, to: number + 1 }
}
