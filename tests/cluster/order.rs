//! The order of one writer, where its clock or its memory failed it.

use std::time::Duration;

use antiphon::{
    engine::{Asker, Config, Engine, Input, Now, Output, QuestionId, Recovered, Write},
    model::{
        Batch, Draft, Incarnation, Network, NodeKey, ProducerId, Record, Run, Stamp, TopicName,
        WallClock, encode_record,
    },
    wire::{ClientRequest, Create, NodeRequest, Replicate, Request},
};

use crate::script::World;

const WALL: WallClock = WallClock(1_700_000_000_000);

/// A writer sent a batch, lost it in a crash before the flush, and its clock went back by a day.
/// The batch comes back by repair; what the writer writes then must be stamped later, or readers
/// would be shown the new records first. Found by the simulator (seed 525).
#[test]
fn a_writer_stamps_later_than_what_it_forgot_and_got_back() {
    let key = NodeKey::from_secret(&[1; 32]);
    let config = Config::new(key.clone(), Network::default(), Incarnation(2), 0);
    let mut engine = Engine::new(config, Recovered::default());
    let mut batches = Vec::new();
    let mut give = |engine: &mut Engine, input: Input| {
        engine.handle(Now { elapsed: Duration::ZERO, wall: WALL }, input);
        while let Some(output) = engine.poll_output() {
            if let Output::Write(_, Write::Append { batch, .. }) = output {
                batches.push(batch);
            }
        }
    };
    let create = Create {
        replicas: Some(1),
        min_copies: Some(1),
        ..Create::new("t".parse::<TopicName>().unwrap())
    };
    let asked = |number, request| Input::Asked {
        question: QuestionId(number),
        asker: Asker::Program,
        request,
    };
    give(&mut engine, asked(1, Request::Client(ClientRequest::Create(create))));
    let tomorrow = Stamp::at(WALL.plus(Duration::from_hours(24)));
    let forgotten = sealed(&key, tomorrow);
    let replicate = Replicate { batches: vec![forgotten], ..Replicate::default() };
    give(&mut engine, asked(2, Request::Node(NodeRequest::Replicate(replicate))));
    let publish = World::publish_request("t", 1, 0, &["new".to_owned()]);
    give(&mut engine, asked(3, Request::Client(ClientRequest::Publish(publish))));
    let newest = batches.last().unwrap().header();
    assert_eq!(newest.incarnation, Incarnation(2));
    assert!(newest.stamp > tomorrow, "{:?} is not after {tomorrow:?}", newest.stamp);
}

fn sealed(key: &NodeKey, stamp: Stamp) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WALL, "old".as_bytes().to_vec()), &mut body).unwrap();
    let draft = Draft {
        topic: World::topic("t"),
        incarnation: Incarnation(1),
        previous: None,
        stamp,
        runs: vec![Run { producer: ProducerId([3; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), key)
}
