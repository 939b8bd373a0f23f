//! Publishing again what may be there already.

use std::time::Duration;

use antiphon::{
    engine::Damage,
    limits::DEAD_AFTER,
    model::{Batch, RecordId, Retention, Run},
    wire::{
        Acks, ClientRequest, Create, NodeRequest, Publish, Published, Refusal, Request, Response,
    },
};

use crate::script::{Asked, World};

const AT_ONCE: Duration = Duration::from_millis(20);

/// A record with this id.
fn given(id: &str, payload: &str) -> Publish {
    let id = RecordId::given(&"t".parse().unwrap(), id).unwrap();
    let request = World::publish_request("t", 0, id.number, &[payload.to_owned()]);
    Publish { producer: id.producer, retried: true, ..request }
}

/// The request as it is sent a second time.
fn again(publish: Publish) -> Publish {
    Publish { retried: true, ..publish }
}

/// A cluster of nodes that are connected, with the owners of topic `t`, who are three.
fn cluster(nodes: usize) -> (World, Vec<usize>) {
    let mut world = World::new(nodes);
    world.join();
    let owners = world.create(0, "t", 3);
    (world, owners)
}

/// How many records the topic has, second copies included.
fn stored(world: &mut World, node: usize) -> u64 {
    world.survey(node, "t").summary.records
}

fn told(world: &mut World, question: Asked) -> Published {
    match world.answered(question) {
        Some(Response::Published(published)) => published,
        other => panic!("not published: {other:?}"),
    }
}

#[test]
fn an_id_is_stored_once_whichever_node_is_asked() {
    let (mut world, _) = cluster(5);
    let first = world.publish(0, given("order 7", "seven"));
    assert!(first.acknowledged && !first.duplicate, "{first:?}");
    for node in [4, 3, 2, 1, 0] {
        let again = world.publish(node, given("order 7", "something else"));
        assert!(again.acknowledged && again.duplicate, "{again:?}");
        assert!((2..=3).contains(&again.copies) && again.stand_ins == 0, "{again:?}");
    }
    let other = world.publish(4, given("order 8", "eight"));
    assert!(other.acknowledged && !other.duplicate, "{other:?}");
    assert_eq!(stored(&mut world, 1), 2);
    assert_eq!(world.fetch(2, "t"), ["seven", "eight"]);
}

#[test]
fn all_copies_are_waited_for_where_all_are_asked_for() {
    let (mut world, owners) = cluster(4);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    world.publish(outsider, given("7", "m"));
    let request = Publish { acks: Acks::All, ..given("7", "m") };
    let published = world.publish(outsider, request);
    assert_eq!((published.copies, published.duplicate), (3, true), "{published:?}");
}

#[test]
fn what_was_stored_before_a_start_is_known_after_it() {
    let (mut world, _) = cluster(3);
    for number in 0..300 {
        world.publish(0, given(&format!("order {number}"), "m"));
        world.publish(1, World::publish_request("t", 7, number * 5, &vec!["x".repeat(100); 5]));
    }
    world.run(Duration::from_secs(1));
    for node in 0..3 {
        world.kill(node);
    }
    for node in 0..3 {
        world.start(node);
    }
    world.join();
    for id in ["order 0", "order 150", "order 299"] {
        let published = world.publish(2, given(id, "m"));
        assert!(published.acknowledged && published.duplicate, "{id}: {published:?}");
    }
    let request = World::publish_request("t", 7, 295 * 5, &vec!["x".repeat(100); 5]);
    let published = world.publish(0, again(request));
    assert!(published.acknowledged && published.duplicate, "{published:?}");
    assert_eq!(stored(&mut world, 0), 300 * 6);
}

#[test]
fn what_nobody_holds_any_more_before_a_record_does_not_make_it_pending() {
    let mut world = World::new(3);
    world.join();
    let retention = Retention { records: Some(5), ..Retention::default() };
    let create = Create {
        replicas: Some(1),
        min_copies: Some(1),
        retention,
        ..Create::new("t".parse().unwrap())
    };
    let Response::Created(summary, _) =
        world.call(0, Request::Client(ClientRequest::Create(create)))
    else {
        panic!("not created")
    };
    let home = world.index(&summary.owners[0]);
    for number in 0..20 {
        assert!(world.publish(home, given(&format!("order {number}"), "m")).acknowledged);
        world.run(Duration::from_millis(200));
    }
    world.run(Duration::from_secs(10));
    // The next home is given the records that are kept, and never had those before.
    world.call(home, Request::Client(ClientRequest::Leave(world.id(home))));
    world.run_until("it has left", Duration::from_secs(30), |world| world.has_left(home));
    world.kill(home);
    world.run(Duration::from_secs(1));
    let published = world.publish((home + 1) % 3, given("order 19", "m"));
    assert!(published.acknowledged && published.duplicate, "{published:?}");
}

#[test]
fn only_a_home_says_that_a_record_is_not_there() {
    let (mut world, owners) = cluster(4);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    let Publish { producer, first, .. } = given("order 7", "m");
    let run = Run { producer, first, count: 1 };
    let asker = world.id(owners[0]);
    let mut find = |node| {
        let request = Request::Node(NodeRequest::Find(World::topic("t"), vec![run]));
        world.call_from(asker, node, request)
    };
    assert_eq!(find(owners[1]), Response::Whereabouts(vec![None]));
    // Whoever takes it for a home asks again, and does not store the record a second time.
    assert_eq!(find(outsider), Response::Refused(Refusal::Unreachable));
}

#[test]
fn of_two_at_the_same_moment_at_one_node_the_second_waits_for_the_first() {
    let (mut world, _) = cluster(4);
    let questions =
        [(); 3].map(|()| world.ask(3, Request::Client(ClientRequest::Publish(given("7", "m")))));
    world.run(AT_ONCE);
    let told = questions.map(|question| told(&mut world, question));
    assert!(told.iter().all(|published| published.acknowledged), "{told:?}");
    assert_eq!(told.map(|published| published.duplicate), [false, true, true]);
    assert_eq!(stored(&mut world, 0), 1);
}

#[test]
fn what_is_pending_is_waited_for_and_not_stored_again() {
    let (mut world, owners) = cluster(3);
    let [writer, other, third] = owners[..] else { panic!("three owners") };
    world.kill(other);
    world.kill(third);
    world.run(Duration::from_secs(2));
    let request = || Publish { timeout_ms: 500, ..given("7", "m") };
    let pending = world.publish(writer, request());
    assert!(!pending.acknowledged && !pending.duplicate, "{pending:?}");
    // Once while the writer still knows, once when it does not wait for it any more.
    for rest in [0, 60] {
        world.run(Duration::from_secs(rest));
        let pending = world.publish(writer, request());
        assert!(!pending.acknowledged && pending.duplicate, "{pending:?}");
        assert_eq!((pending.copies, pending.wanted), (1, 2));
    }
    world.start(other);
    world.join();
    let question = world.ask(other, Request::Client(ClientRequest::Publish(given("7", "m"))));
    world.run(Duration::from_secs(5));
    let published = told(&mut world, question);
    assert!(published.acknowledged && published.duplicate, "{published:?}");
    assert_eq!(stored(&mut world, writer), 1);
}

#[test]
fn who_is_cut_off_takes_it_for_new_and_it_has_the_same_name() {
    let (mut world, owners) = cluster(4);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    for owner in &owners {
        world.kill(*owner);
    }
    world.run(Duration::from_secs(2));
    let request = || Publish { timeout_ms: 300, ..given("7", "m") };
    let pending = world.publish(outsider, request());
    assert!(!pending.acknowledged && !pending.duplicate, "{pending:?}");
    // The owners know nothing of what it holds.
    world.kill(outsider);
    for owner in &owners {
        world.start(*owner);
    }
    world.join();
    let published = world.publish(owners[0], given("7", "m"));
    assert!(published.acknowledged && !published.duplicate, "{published:?}");
    world.start(outsider);
    world.join();
    world.run(Duration::from_secs(10));
    // Both are there, under one name: readers show one.
    assert_eq!(stored(&mut world, owners[0]), 2);
    for node in 0..4 {
        let published = world.publish(node, given("7", "m"));
        assert!(published.acknowledged && published.duplicate, "{published:?}");
    }
    assert_eq!(stored(&mut world, owners[0]), 2);
}

#[test]
fn a_home_that_can_be_reached_again_is_asked_before_a_record_is_taken_for_new() {
    let (mut world, owners) = cluster(5);
    let others: Vec<_> = (0..5).filter(|node| !owners.contains(node)).collect();
    assert!(world.publish(owners[0], given("7", "m")).acknowledged);
    for owner in &owners {
        world.cut(others[0], *owner);
    }
    world.run(DEAD_AFTER + Duration::from_secs(1));
    // It can ask the other stand-in only. Before that says anything the homes are back.
    let question = world.ask(others[0], Request::Client(ClientRequest::Publish(given("7", "m"))));
    world.heal();
    world.cut(others[0], others[1]);
    world.run(AT_ONCE / 4);
    for owner in &owners {
        world.connect(others[0], *owner);
    }
    world.run(Duration::from_secs(5));
    let published = told(&mut world, question);
    assert!(published.acknowledged && published.duplicate, "{published:?}");
    assert_eq!(stored(&mut world, owners[0]), 1);
}

#[test]
fn a_request_that_is_sent_on_is_not_stored_again_where_it_was_acknowledged() {
    let (mut world, owners) = cluster(4);
    let request = || World::publish_request("t", 1, 40, &["a".into(), "b".into()]);
    assert!(world.publish(owners[0], request()).acknowledged);
    let published = world.publish(owners[2], again(request()));
    assert!(published.acknowledged && published.duplicate, "{published:?}");
    // As it always was, for who does not say that it may be there.
    assert!(!world.publish(owners[1], request()).duplicate);
    assert_eq!(stored(&mut world, 0), 4);
}

#[test]
fn a_request_that_is_sent_on_does_not_wait_for_repair() {
    let (mut world, owners) = cluster(4);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    // The writer reaches one of the others only, and is gone then.
    for cut in [owners[2], outsider] {
        world.cut(owners[0], cut);
    }
    let request = || World::publish_request("t", 1, 0, &["a".into()]);
    world.ask(owners[0], Request::Client(ClientRequest::Publish(request())));
    world.run(Duration::from_millis(2));
    // So that all notice its end.
    world.heal();
    world.kill(owners[0]);
    world.run(Duration::from_millis(2));
    let question = world.ask(outsider, Request::Client(ClientRequest::Publish(again(request()))));
    world.run(AT_ONCE);
    let published = told(&mut world, question);
    assert!(published.acknowledged && !published.duplicate, "{published:?}");
}

#[test]
fn a_home_that_does_not_answer_is_not_waited_for_long() {
    let (mut world, owners) = cluster(4);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    world.cut(outsider, owners[2]);
    let question = world.ask(outsider, Request::Client(ClientRequest::Publish(given("7", "m"))));
    world.run(Duration::from_millis(250));
    let published = told(&mut world, question);
    assert!(published.acknowledged && !published.duplicate, "{published:?}");
    let published = world.publish(owners[1], given("7", "m"));
    assert!(published.acknowledged && published.duplicate, "{published:?}");
}

#[test]
fn a_copy_behind_a_hole_does_not_count_before_that_is_closed() {
    let (mut world, owners) = cluster(3);
    world.publish(owners[0], given("6", "m"));
    world.publish(owners[0], given("7", "m"));
    world.run(Duration::from_secs(1));
    for owner in &owners[1..] {
        let batch =
            world.disk(*owner).batches.values().find(|batch| {
                batch.header().topic == World::topic("t") && batch.header().first == 0
            });
        let damage = damage(batch.unwrap());
        world.damage(*owner, damage);
    }
    world.run(Duration::from_millis(1));
    let question = world.ask(owners[2], Request::Client(ClientRequest::Publish(given("7", "m"))));
    world.run(AT_ONCE);
    assert_eq!(world.answered(question), None);
    world.run(Duration::from_secs(4));
    let published = told(&mut world, question);
    assert!(published.acknowledged && published.duplicate, "{published:?}");
}

/// What a disk tells of the first batch of its log.
fn damage(batch: &Batch) -> Damage {
    let header = batch.header();
    let (topic, log, hash) = (header.topic, header.log(), batch.hash());
    Damage { topic, log, first: 0, next: header.next(), hash, previous: None }
}

#[test]
fn a_topic_that_is_deleted_meanwhile_answers() {
    let (mut world, owners) = cluster(3);
    world.cut(owners[0], owners[1]);
    world.cut(owners[0], owners[2]);
    let question = world.ask(owners[0], Request::Client(ClientRequest::Publish(given("7", "m"))));
    world.run(Duration::from_millis(1));
    let deleted =
        world.ask(owners[0], Request::Client(ClientRequest::Delete("t".parse().unwrap())));
    world.run(Duration::from_secs(15));
    assert!(world.answered(deleted).is_some());
    let refused = world.answered(question);
    let is_unknown = matches!(refused, Some(Response::Refused(Refusal::UnknownTopic { .. })));
    assert!(is_unknown, "{refused:?}");
}
