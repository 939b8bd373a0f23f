//! Topics that are deleted, and their names.

use std::time::Duration;

use antiphon::{
    model::{Cursor, Retention, RetentionChange, SignedDescriptor, Subscription},
    wire::{Alter, ClientRequest, Create, Refusal, Request, Response},
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(20);

fn delete(world: &mut World, node: usize) -> Response {
    world.call(node, Request::Client(ClientRequest::Delete("t".parse().unwrap())))
}

fn publish(world: &mut World, node: usize, number: u64) -> Response {
    let request = World::publish_request("t", 1, number, &[format!("line {number}")]);
    world.call(node, Request::Client(ClientRequest::Publish(request)))
}

/// How many batches a node's disk holds.
fn stored(world: &World, node: usize) -> usize {
    world.disk(node).batches.len()
}

fn is_unknown(response: &Response) -> bool {
    matches!(response, Response::Refused(Refusal::UnknownTopic { .. }))
}

#[test]
fn a_deleted_topic_is_gone_everywhere_and_its_name_is_free() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    for number in 0..10 {
        assert!(matches!(publish(&mut world, 0, number), Response::Published(_)));
    }
    let end = world.survey(1, "t").end;
    let waiting = world.ask(1, World::read_request("t", &end, None));
    assert_eq!(delete(&mut world, 3), Response::Deleted);
    world.run_until("nothing is left", SOON, |world| (0..4).all(|node| stored(world, node) == 0));
    assert!(is_unknown(&world.answered(waiting).unwrap()), "whoever waits is told");
    assert!(is_unknown(&publish(&mut world, 0, 10)));
    assert!(is_unknown(&delete(&mut world, 1)));
    // A node that knows nothing of it yet is told of the deletion before it creates one anew.
    let Response::Described(Some(bytes)) =
        world.call(2, Request::Client(ClientRequest::Describe("t".parse().unwrap())))
    else {
        panic!("not described")
    };
    assert!(SignedDescriptor::verify(bytes.0).unwrap().descriptor().deleted);
    let Response::Topics(topics, _) = world.call(2, Request::Client(ClientRequest::Topics(None)))
    else {
        panic!()
    };
    assert_eq!(topics, []);

    let before = World::topic("t");
    world.create(1, "t", 3);
    let surveyed = world.survey(2, "t");
    assert_ne!(surveyed.end.topic, before, "another topic");
    assert_eq!(surveyed.summary.records, 0);
    assert!(matches!(publish(&mut world, 0, 0), Response::Published(_)));
    assert_eq!(world.fetch(2, "t"), ["line 0"]);
    let old = World::read_request("t", &Cursor::start(before), None);
    assert_eq!(world.call(2, old), Response::Refused(Refusal::ForeignCursor));
}

#[test]
fn a_node_that_was_away_brings_nothing_back() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    publish(&mut world, owners[0], 0);
    let away = owners[0];
    world.kill(away);
    let other = owners[1];
    assert_eq!(delete(&mut world, other), Response::Deleted);
    world.create(other, "t", 3);
    publish(&mut world, other, 1);
    world.start(away);
    world.join();
    world.run(Duration::from_secs(20));
    assert_eq!(world.fetch(away, "t"), ["line 1"]);
    assert_eq!(world.fetch(other, "t"), ["line 1"]);
    assert_eq!(
        world.disk(away).batches.keys().filter(|(of, ..)| *of == World::topic("t")).count(),
        0
    );
}

#[test]
fn who_publishes_where_the_deletion_is_not_known_yet_is_overruled() {
    let mut world = World::new(6);
    world.join();
    world.create(0, "t", 3);
    for left in 0..3 {
        for right in 3..6 {
            world.cut(left, right);
        }
    }
    world.run(Duration::from_secs(8));
    assert_eq!(delete(&mut world, 0), Response::Deleted);
    publish(&mut world, 4, 0);
    let alter = Alter {
        name: "t".parse().unwrap(),
        replicas: Some(2),
        min_copies: None,
        retention: RetentionChange::default(),
        floor_follows: false,
    };
    assert!(matches!(
        world.call(5, Request::Client(ClientRequest::Alter(alter.clone()))),
        Response::Altered(_)
    ));
    assert!(matches!(
        world.call(4, Request::Client(ClientRequest::Alter(Alter { replicas: Some(3), ..alter }))),
        Response::Altered(_)
    ));
    world.heal();
    world.run_until("nothing is left", Duration::from_mins(1), |world| {
        (0..6).all(|node| stored(world, node) == 0)
    });
    for node in 0..6 {
        assert!(is_unknown(
            &world.call(node, Request::Client(ClientRequest::Survey("t".parse().unwrap())))
        ));
    }
}

#[test]
fn a_node_that_leaves_learns_of_a_deletion_from_those_it_hands_over_to() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    publish(&mut world, owners[0], 0);
    // It leaves while it can reach nobody who knows of the deletion.
    let leaver = owners[0];
    for other in (0..4).filter(|other| *other != leaver) {
        world.cut(leaver, other);
    }
    world.run(Duration::from_secs(8));
    assert_eq!(delete(&mut world, owners[1]), Response::Deleted);
    let leave = Request::Client(ClientRequest::Leave(world.id(leaver)));
    world.ask(leaver, leave);
    world.run(Duration::from_secs(1));
    world.heal();
    world.run_until("nothing is left", Duration::from_mins(1), |world| {
        (0..4).all(|node| stored(world, node) == 0)
    });
}

#[test]
fn a_node_that_leaves_with_nothing_but_a_position_learns_of_a_deletion() {
    let mut world = World::new(4);
    world.join();
    let leaver = world.create(0, "t", 3)[0];
    let cursor = Some(Cursor::start(World::topic("t")));
    let kept = Subscription::new(0, cursor);
    let commit = Request::Client(ClientRequest::Commit(
        "t".parse().unwrap(),
        "alice".parse().unwrap(),
        kept,
        None,
    ));
    assert!(matches!(world.call(leaver, commit), Response::Committed(..)));
    let others = || (0..4).filter(|other| *other != leaver);
    others().for_each(|other| world.cut(leaver, other));
    world.ask(leaver, Request::Client(ClientRequest::Leave(world.id(leaver))));
    world.run(Duration::from_secs(8));
    let other = others().next().unwrap();
    assert_eq!(delete(&mut world, other), Response::Deleted);
    world.run(Duration::from_secs(1));
    world.heal();
    world.run_until("it has left", Duration::from_mins(1), |world| world.has_left(leaver));
}

#[test]
fn a_crash_in_the_middle_of_a_deletion_leaves_nothing_behind() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    for number in 0..5 {
        publish(&mut world, 0, number);
    }
    let before = world.disk(0).clone();
    assert_eq!(delete(&mut world, 0), Response::Deleted);
    world.run(Duration::from_secs(1));
    // The terms of after, and the batches of before.
    let (mut torn, after) = (before, world.disk(0));
    torn.tables.descriptors = after.tables.descriptors.clone();
    world.kill(0);
    world.replace_disk(0, torn);
    world.start(0);
    world.run(Duration::from_secs(1));
    assert_eq!(stored(&world, 0), 0);
    let create = Request::Client(ClientRequest::Create(Create::new("t".parse().unwrap())));
    assert!(matches!(world.call(0, create), Response::Created(_, false)));
    assert_eq!(world.fetch(0, "t"), [] as [String; 0]);
}

#[test]
fn terms_that_contradict_are_refused_and_change_nothing() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let alter = |replicas, min_copies| {
        let (name, retention) = ("t".parse().unwrap(), RetentionChange::default());
        Request::Client(ClientRequest::Alter(Alter {
            name,
            replicas,
            min_copies,
            retention,
            floor_follows: false,
        }))
    };
    for request in [alter(Some(0), None), alter(Some(1), Some(2)), alter(None, Some(4))] {
        let answer = world.call(0, request);
        assert!(matches!(answer, Response::Refused(Refusal::Copies(_))), "{answer:?}");
    }
    let nothing = Create {
        retention: Retention { records: Some(0), ..Retention::default() },
        ..Create::new("u".parse().unwrap())
    };
    let answer = world.call(0, Request::Client(ClientRequest::Create(nothing)));
    assert!(matches!(answer, Response::Refused(Refusal::Invalid(_))), "{answer:?}");
    let summary = world.survey(1, "t").summary;
    assert_eq!((summary.replicas, summary.min_copies), (3, 2));
    assert!(matches!(world.call(2, alter(Some(2), Some(1))), Response::Altered(_)));
    world.run(Duration::from_secs(1));
    let summary = world.survey(1, "t").summary;
    assert_eq!((summary.replicas, summary.min_copies, summary.owners.len()), (2, 1, 2));
}
