//! A client that publishes. Where no answer comes, or one that is not a success, it may send the
//! same records again, under their names, through another node.

use std::time::Duration;

use antiphon::{
    model::{Blob, ProducerId, Record, RecordId, TopicName, WallClock, encode_record},
    wire::{Acks, ClientRequest, Publish, Request, Response},
};

use crate::world::{World, clients::Next, oracle};

/// The key of a record: of every fourth none.
fn key_of(number: u64) -> Option<u8> {
    u8::try_from(number % 4).ok().filter(|key| *key > 0)
}

/// Publishes records, each one unlike all others.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) producer: ProducerId,
    pub(crate) topic: usize,
    pub(crate) node: usize,
    next: u64,
    again: Option<Publish>,
    /// Whether it gives each record an id, and does not rely upon being the only one to send it.
    gives_ids: bool,
}

impl Publisher {
    pub(crate) fn new(
        producer: ProducerId,
        (topic, node): (usize, usize),
        gives_ids: bool,
    ) -> Self {
        Self { producer, topic, node, next: 0, again: None, gives_ids }
    }

    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<&Response>,
        asked: bool,
    ) -> Next {
        if asked {
            let published = match response {
                Some(Response::Published(published)) => Some(published),
                _ => None,
            };
            let done = published.is_some_and(|published| published.acknowledged);
            // A publisher that gave up once may give up for good; it is free to. One that gives ids
            // may have lost the answer.
            let forgets = self.gives_ids && world.choices.chance(200);
            if done && !forgets || world.choices.chance(200) {
                self.again = None;
            } else if world.choices.chance(700) {
                self.node = world.some_node();
            }
            let pause = world.choices.time(Duration::from_millis(1), world.options.publish_pause);
            return Next::Pause(pause);
        }
        if !world.publishing {
            return Next::Stop;
        }
        if world.choices.chance(50) {
            self.node = world.some_node();
        }
        let publish = match &self.again {
            // The library says that it may be there; others may not.
            Some(publish) if world.choices.chance(700) => {
                Publish { retried: true, ..publish.clone() }
            }
            Some(publish) => publish.clone(),
            None => self.publish(world),
        };
        self.again = Some(publish.clone());
        world.counts.publishes += 1;
        let patience = Duration::from_millis(u64::from(publish.timeout_ms));
        Next::Ask(self.node, Request::Client(ClientRequest::Publish(publish)), patience)
    }

    fn publish(&mut self, world: &mut World) -> Publish {
        let count = if self.gives_ids { 1 } else { world.choices.pick(&[1, 1, 2, 5]) };
        let first = self.next;
        let topic: TopicName = world.options.topics[self.topic].name.parse().unwrap();
        let name = |number| {
            let own = RecordId { producer: self.producer, number };
            let id = |number| format!("{}/{number}", self.producer.0[0]);
            let given = |number| RecordId::given(&topic, &id(number)).unwrap();
            if self.gives_ids { given(number) } else { own }
        };
        let mut records = Vec::new();
        for number in first..first + count {
            let producer = self.producer.0[0];
            let mut payload = format!("{producer}/{number}").into_bytes();
            let more = world.choices.index(world.options.payload);
            // Most records are noise: others are compressed, and few batches would be large.
            if world.choices.chance(700) {
                let mut noise = fastrand::Rng::with_seed(number);
                payload.extend((0..more).map(|_| noise.u8(..)));
            } else {
                payload.resize(payload.len() + more, b'.');
            }
            // What is compacted has tombstones, too.
            let retention = &world.options.topics[self.topic].retention;
            if retention.tombstones_ms.is_some() && key_of(number).is_some() && number % 5 == 0 {
                payload.clear();
            }
            let key = key_of(number).map(|key| vec![key].into());
            let record = Record { key, ..Record::new(WallClock(number), payload.clone()) };
            encode_record(&record, &mut records).unwrap();
            let published = oracle::Published { topic: self.topic, payload, batches: Vec::new() };
            world.oracle.published.insert(name(number), published);
        }
        let RecordId { producer, number } = name(first);
        self.next += count;
        world.counts.records_published += count;
        Publish {
            topic,
            producer,
            first: number,
            records: Blob(records.into()),
            acks: world.choices.pick(&[Acks::Quorum, Acks::Quorum, Acks::One, Acks::All]),
            timeout_ms: world.choices.pick(&[2_000, 500, 5_000, 100]),
            retried: self.gives_ids,
        }
    }
}
