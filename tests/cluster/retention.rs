//! What a topic lets go, and what becomes of readers and replicas then.

use std::{num::NonZeroU64, time::Duration};

use antiphon::{
    model::{Cursor, LimitChange, Retention, RetentionChange},
    wire::{Alter, ClientRequest, Create, LogRange, Page, Request, Response},
};

use crate::script::{World, payloads_of};

const SOON: Duration = Duration::from_secs(20);

fn records(limit: u64) -> Retention {
    Retention { records: Some(limit), ..Retention::default() }
}

fn change(records: LimitChange) -> RetentionChange {
    RetentionChange { records, ..RetentionChange::default() }
}

fn to_records(limit: u64) -> RetentionChange {
    change(NonZeroU64::new(limit).into())
}

fn age(limit: Duration) -> Retention {
    Retention { age_ms: u64::try_from(limit.as_millis()).ok(), ..Retention::default() }
}

fn create(world: &mut World, retention: Retention) -> Vec<usize> {
    let create = Create { replicas: Some(3), retention, ..Create::new("t".parse().unwrap()) };
    match world.call(0, Request::Client(ClientRequest::Create(create))) {
        Response::Created(summary, false) => {
            assert_eq!(summary.retention, retention);
            summary.owners.iter().map(|node| world.index(node)).collect()
        }
        other => panic!("not created: {other:?}"),
    }
}

fn publish(world: &mut World, node: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let payload = [format!("line {number}")];
        let published = world.publish(node, World::publish_request("t", 1, number, &payload));
        assert!(published.acknowledged);
    }
}

/// What a node's disk holds of the topic.
fn stored(world: &World, node: usize) -> usize {
    let topic = World::topic("t");
    world.disk(node).batches.keys().filter(|(of, ..)| *of == topic).count()
}

/// Reads all that is stored: what it is, and what was trimmed.
fn read(world: &mut World, node: usize) -> (Vec<String>, Vec<LogRange>) {
    let surveyed = world.survey(node, "t");
    let mut cursor = Cursor::start(surveyed.end.topic);
    let (mut payloads, mut trimmed) = (Vec::new(), Vec::new());
    loop {
        let request = World::read_request("t", &cursor, Some(&surveyed.end));
        let Response::Page(page) = world.call(node, request) else { panic!("no page") };
        if page.batches.is_empty() {
            assert!(page.finished);
            return (payloads, trimmed);
        }
        trimmed.extend(page.trimmed);
        for batch in page.batches {
            payloads.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
}

#[test]
fn the_newest_records_are_kept_and_a_reader_is_told_of_the_rest() {
    let mut world = World::new(4);
    world.join();
    let owners = create(&mut world, records(32));
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    publish(&mut world, owners[0], 0..100);
    world.run_until("the replicas let go", SOON, |world| {
        owners.iter().all(|owner| stored(world, *owner) <= 34)
    });
    assert!(owners.iter().all(|owner| stored(&world, *owner) >= 32), "no more than was asked for");
    let (payloads, trimmed) = read(&mut world, outsider);
    assert!((32..=34).contains(&payloads.len()));
    assert_eq!(payloads.last().unwrap(), "line 99");
    let [range] = trimmed.as_slice() else { panic!("{trimmed:?}") };
    assert_eq!((range.from, range.to), (0, 100 - payloads.len() as u64));
    let surveyed = world.survey(outsider, "t");
    assert_eq!(surveyed.summary.records, payloads.len() as u64);
}

#[test]
fn a_reader_within_what_is_kept_is_told_nothing() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, records(32));
    publish(&mut world, 0, 0..60);
    world.run_until("all let go", SOON, |world| (0..3).all(|node| stored(world, node) <= 34));
    let (_, trimmed) = read(&mut world, 1);
    let from = trimmed[0].to;
    let mut cursor = world.survey(1, "t").end;
    for position in cursor.logs.values_mut() {
        position.next = from;
    }
    let request = World::read_request("t", &cursor, None);
    let Response::Page(Page { batches, trimmed, .. }) = world.call(1, request) else {
        panic!("no page")
    };
    assert_eq!((batches[0].header().first, trimmed), (from, Vec::new()));
}

#[test]
fn a_follower_at_the_start_gets_the_next_record_though_all_before_it_is_gone() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, age(Duration::from_secs(10)));
    publish(&mut world, 0, 0..5);
    world
        .run_until("everything is gone", SOON, |world| (0..3).all(|node| stored(world, node) == 0));
    assert_eq!(read(&mut world, 1), (Vec::new(), Vec::new()), "nothing follows what is gone");
    assert_eq!(world.survey(1, "t").summary.records, 0);
    let request = World::read_request("t", &Cursor::start(World::topic("t")), None);
    let waiting = world.ask(1, request);
    world.run(Duration::from_millis(500));
    assert!(world.answered(waiting).is_none());
    publish(&mut world, 0, 5..6);
    world.run(Duration::from_secs(2));
    let Some(Response::Page(page)) = world.answered(waiting) else { panic!("no page") };
    assert_eq!(payloads_of(&page.batches[0]), ["line 5"]);
    assert_eq!((page.trimmed[0].from, page.trimmed[0].to), (0, 5));
}

#[test]
fn a_crash_changes_no_age_and_brings_nothing_back() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, age(Duration::from_mins(1)));
    publish(&mut world, 0, 0..5);
    world.run(Duration::from_secs(40));
    publish(&mut world, 0, 5..10);
    for node in 0..3 {
        world.kill(node);
        world.start(node);
    }
    world.join();
    world.run(Duration::from_secs(5));
    assert!((0..3).all(|node| stored(&world, node) == 10), "they are younger than a minute");
    world.run(Duration::from_secs(20));
    for node in 0..3 {
        assert_eq!(stored(&world, node), 5, "the first are older, the others are not");
        world.kill(node);
        world.start(node);
    }
    world.join();
    world.run(Duration::from_secs(5));
    let (payloads, trimmed) = read(&mut world, 2);
    assert_eq!(payloads, ["line 5", "line 6", "line 7", "line 8", "line 9"]);
    assert_eq!((trimmed[0].from, trimmed[0].to), (0, 5));
}

#[test]
fn what_a_lagging_replica_still_has_is_not_taken_back() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, records(32));
    publish(&mut world, 0, 0..20);
    world.run(Duration::from_secs(3));
    world.kill(2);
    publish(&mut world, 0, 20..100);
    world.run(Duration::from_secs(5));
    let kept = stored(&world, 0);
    assert!(kept <= 34);
    world.start(2);
    world.join();
    world.run(Duration::from_secs(20));
    assert!(stored(&world, 0) <= kept && stored(&world, 1) <= 34, "nothing came back");
    assert!(stored(&world, 2) <= 34 + 20, "it has what is new: {}", stored(&world, 2));
    assert_eq!(read(&mut world, 2).0.last().unwrap(), "line 99");
}

#[test]
fn a_new_home_takes_over_where_the_log_begins_and_then_there_is_no_difference() {
    let mut world = World::new(4);
    world.join();
    let owners = create(&mut world, records(32));
    publish(&mut world, owners[0], 0..100);
    world.run(Duration::from_secs(5));
    let lost = owners[2];
    world.kill(lost);
    world.run(Duration::from_secs(8));
    world.forget(owners[0], lost);
    let heir = (0..4).find(|node| !owners.contains(node)).unwrap();
    world.run_until("the heir has it", SOON, |world| stored(world, heir) >= 32);
    world.run(Duration::from_secs(10));
    let asked = world.asked;
    world.run(Duration::from_mins(1));
    // A comparison of each two nodes about every two and a half seconds, and some members asked.
    let asked = world.asked - asked;
    assert!(asked < 250, "in step after a while: {asked} requests in a minute");
    let surveyed = world.survey(heir, "t");
    assert!(surveyed.replicas.iter().all(|replica| replica.complete), "{:?}", surveyed.replicas);
}

#[test]
fn a_limit_that_is_set_later_counts_for_what_is_there() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0..100);
    let alter = |retention| {
        let (replicas, min_copies) = (None, None);
        Request::Client(ClientRequest::Alter(Alter {
            name: "t".parse().unwrap(),
            replicas,
            min_copies,
            retention,
            floor_follows: false,
        }))
    };
    let Response::Altered(summary) = world.call(1, alter(to_records(40))) else {
        panic!("refused")
    };
    assert_eq!(summary.retention, records(40));
    world.run_until("all let go", SOON, |world| (0..3).all(|node| stored(world, node) <= 42));
    assert!((0..3).all(|node| stored(&world, node) >= 40));
    // Without a limit everything stays from then on.
    let Response::Altered(summary) = world.call(2, alter(change(LimitChange::Remove))) else {
        panic!("refused")
    };
    assert_eq!(summary.retention, Retention::default());
    let before = stored(&world, 0);
    publish(&mut world, 0, 100..150);
    world.run(Duration::from_secs(5));
    assert_eq!(stored(&world, 0), before + 50);
}

#[test]
fn a_position_in_what_is_gone_stays_where_it_is() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, age(Duration::from_secs(10)));
    publish(&mut world, 0, 0..5);
    let end = world.survey(0, "t").end;
    let commit = |world: &mut World| {
        let subscription = antiphon::model::Subscription::new(0, Some(end.clone()));
        let (topic, name) = ("t".parse().unwrap(), "alice".parse().unwrap());
        world.call(0, Request::Client(ClientRequest::Commit(topic, name, subscription, None)))
    };
    assert!(matches!(commit(&mut world), Response::Committed(..)));
    world
        .run_until("everything is gone", SOON, |world| (0..3).all(|node| stored(world, node) == 0));
    assert!(matches!(commit(&mut world), Response::Committed(..)));
    let request =
        Request::Client(ClientRequest::Position("t".parse().unwrap(), "alice".parse().unwrap()));
    let Response::Position(Some(position)) = world.call(1, request) else { panic!("no position") };
    assert_eq!(position.cursor, Some(end));
}

#[test]
fn full_nodes_take_what_makes_room_again() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0..100);
    for node in 0..3 {
        world.room(node, false);
    }
    let refused = Response::Refused(antiphon::wire::Refusal::Full(None));
    let request = World::publish_request("t", 1, 100, &["line 100".to_owned()]);
    assert_eq!(world.call(0, Request::Client(ClientRequest::Publish(request))), refused);
    assert_eq!(
        world.call(0, Request::Client(ClientRequest::Create(Create::new("u".parse().unwrap())))),
        refused
    );
    let (name, replicas, min_copies) = ("t".parse().unwrap(), None, None);
    let alter =
        Alter { name, replicas, min_copies, retention: to_records(32), floor_follows: false };
    assert!(matches!(
        world.call(1, Request::Client(ClientRequest::Alter(alter))),
        Response::Altered(_)
    ));
    world.run_until("all let go", SOON, |world| (0..3).all(|node| stored(world, node) <= 34));
    assert_eq!(read(&mut world, 2).0.last().unwrap(), "line 99", "it is served");
    assert_eq!(
        world.call(2, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
        Response::Deleted
    );
}
