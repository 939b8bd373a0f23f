//! What compaction takes away, and what becomes of readers and replicas then.

use std::{num::NonZeroU64, time::Duration};

use antiphon::{
    engine::Log,
    model::{
        Batch, Blob, Cursor, Draft, Incarnation, LimitChange, NodeKey, ProducerId, Record,
        Retention, RetentionChange, Run, Stamp, WallClock, encode_record,
    },
    wire::{
        Alter, ClientRequest, Create, Import, NodeRequest, Outcome, Publish, Replicate, Request,
        Response,
    },
};

use crate::script::{World, payloads_of};

const SOON: Duration = Duration::from_mins(2);

const HOUR_MS: u64 = 3_600_000;

fn create(world: &mut World, tombstones_ms: u64) -> Vec<usize> {
    let retention = Retention { tombstones_ms: Some(tombstones_ms), ..Retention::default() };
    let create = Create { replicas: Some(3), retention, ..Create::new("t".parse().unwrap()) };
    match world.call(0, Request::Client(ClientRequest::Create(create))) {
        Response::Created(summary, false) => {
            summary.owners.iter().map(|node| world.index(node)).collect()
        }
        other => panic!("not created: {other:?}"),
    }
}

/// Publishes `k=v` as a record with a key; an empty value is a tombstone.
#[track_caller]
fn publish(world: &mut World, node: usize, number: u64, text: &str) {
    let (key, value) = text.split_once('=').unwrap();
    let record = Record::new(WallClock(1), value.as_bytes().to_vec());
    let mut records = Vec::new();
    encode_record(&record.with_key(key.as_bytes().to_vec()), &mut records).unwrap();
    let publish = World::publish_request("t", 1, number, &[]);
    let published = world.publish(node, Publish { records: Blob(records.into()), ..publish });
    assert!(published.acknowledged, "{published:?}");
}

/// What a node's disk holds of the topic: batches, and parts that were compacted.
fn stored(world: &World, node: usize) -> (usize, usize) {
    let topic = World::topic("t");
    let disk = world.disk(node);
    let batches = disk.batches.keys().filter(|(of, ..)| *of == topic).count();
    (batches, disk.compacted.keys().filter(|(of, ..)| *of == topic).count())
}

/// All that a reader is shown, and that it is told of nothing that is missing.
fn read(world: &mut World, node: usize, from: &Cursor) -> Vec<String> {
    let surveyed = world.survey(node, "t");
    let mut cursor = from.clone();
    let mut payloads = Vec::new();
    while !cursor.reaches(&surveyed.end) {
        let request = World::read_request("t", &cursor, Some(&surveyed.end));
        let Response::Page(page) = world.call(node, request) else { panic!("no page") };
        assert_eq!((page.lost, page.trimmed), (vec![], vec![]));
        assert!(!page.batches.is_empty());
        for batch in page.batches {
            payloads.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
    payloads
}

fn start() -> Cursor {
    Cursor::start(World::topic("t"))
}

/// One record of `fixed`, a dozen of `a` and `b` in turns, and one of `last`.
fn publish_some(world: &mut World, node: usize) {
    publish(world, node, 0, "fixed=0");
    for number in 1..13 {
        publish(
            world,
            node,
            number,
            &format!("{}={number}", if number % 2 == 0 { "a" } else { "b" }),
        );
    }
    publish(world, node, 13, "last=13");
}

const LEFT: [&str; 4] = ["0", "11", "12", "13"];

#[test]
fn the_newest_record_of_each_key_is_kept_by_all_and_shown_to_readers() {
    let mut world = World::new(4);
    world.join();
    let owners = create(&mut world, HOUR_MS);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    publish_some(&mut world, owners[0]);
    let whole = world.survey(outsider, "t");
    world.run_until("the replicas compact", SOON, |world| {
        owners.iter().all(|owner| stored(world, *owner) == (4, 1))
    });
    assert_eq!(read(&mut world, outsider, &start()), LEFT);
    // Who has read a part of what went goes on behind it.
    let mut within = whole.end.clone();
    within.logs.values_mut().for_each(|position| position.next = 5);
    assert_eq!(read(&mut world, outsider, &within), LEFT[1..]);
    let surveyed = world.survey(outsider, "t");
    assert!(surveyed.replicas.iter().all(|replica| replica.complete), "it counts as held");
    assert_eq!(surveyed.end, whole.end);
    // A bounded read that ends where nothing is left.
    let mut until = whole.end;
    until.logs.values_mut().for_each(|position| position.next = 7);
    let request = World::read_request("t", &within, Some(&until));
    let Response::Page(page) = world.call(outsider, request) else { panic!("no page") };
    assert!(page.finished && page.batches[0].header().first == 11, "{page:?}");
}

#[test]
fn a_replica_that_was_wiped_takes_over_what_is_left() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish_some(&mut world, 0);
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    let whole = world.survey(0, "t").end;
    world.kill(1);
    world.wipe(1);
    world.start(1);
    world.join();
    world.run_until("it is back", SOON, |world| stored(world, 1) == (4, 1));
    world.run(Duration::from_secs(10));
    let surveyed = world.survey(1, "t");
    assert!(surveyed.replicas.iter().all(|replica| replica.complete), "{surveyed:?}");
    assert_eq!(surveyed.end, whole);
    assert_eq!(read(&mut world, 1, &start()), LEFT);
    // What it took over is as good as what the others have: it can be the last one.
    for node in [0, 2] {
        world.kill(node);
        world.wipe(node);
        world.start(node);
        world.join();
    }
    world.run_until("all are back", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    assert_eq!(read(&mut world, 2, &start()), LEFT);
}

#[test]
fn nothing_goes_while_a_home_may_lack_what_takes_its_place() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish(&mut world, 0, 0, "a=0");
    publish(&mut world, 0, 1, "a=1");
    world.kill(2);
    publish(&mut world, 0, 2, "a=2");
    publish(&mut world, 0, 3, "b=3");
    world.run(Duration::from_mins(1));
    assert_eq!((stored(&world, 0), stored(&world, 1)), ((4, 0), (4, 0)));
    world.start(2);
    world.join();
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (2, 1)));
    assert_eq!(read(&mut world, 2, &start()), ["2", "3"]);
}

#[test]
fn tombstones_go_in_time_and_what_they_hide_before_them() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, 60_000);
    publish(&mut world, 0, 0, "a=0");
    publish(&mut world, 0, 1, "a=");
    publish(&mut world, 0, 2, "b=2");
    world.run_until("a is hidden", SOON, |world| (0..3).all(|node| stored(world, node) == (2, 1)));
    assert_eq!(read(&mut world, 1, &start()), ["", "2"]);
    world.run(Duration::from_secs(20));
    assert_eq!(stored(&world, 1), (2, 1), "it is too early");
    world.run_until("it goes", SOON, |world| (0..3).all(|node| stored(world, node) == (1, 1)));
    assert_eq!(read(&mut world, 1, &start()), ["2"]);
}

#[test]
fn a_node_that_leaves_hands_over_what_is_left() {
    let mut world = World::new(4);
    world.join();
    let owners = create(&mut world, HOUR_MS);
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    publish_some(&mut world, owners[0]);
    world.run_until("the replicas compact", SOON, |world| {
        owners.iter().all(|owner| stored(world, *owner) == (4, 1))
    });
    world.call(owners[1], Request::Client(ClientRequest::Leave(world.id(owners[1]))));
    world.run_until("the new home has it", SOON, |world| {
        stored(world, outsider) == (4, 1) && stored(world, owners[1]) == (0, 0)
    });
    assert_eq!(read(&mut world, outsider, &start()), LEFT);
}

#[test]
fn a_topic_is_compacted_from_when_it_is_altered() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish_some(&mut world, 0);
    world.run(Duration::from_mins(1));
    assert_eq!(stored(&world, 0), (14, 0));
    let retention = RetentionChange { tombstones_ms: Some(HOUR_MS), ..RetentionChange::default() };
    let alter = |retention| {
        let name = "t".parse().unwrap();
        Request::Client(ClientRequest::Alter(Alter {
            name,
            replicas: None,
            min_copies: None,
            retention,
            floor_follows: false,
        }))
    };
    world.call(1, alter(retention));
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    // Other terms leave that as it is.
    let records = LimitChange::Set(NonZeroU64::new(10_000).unwrap());
    let retention = RetentionChange { records, ..RetentionChange::default() };
    let Response::Altered(summary) = world.call(2, alter(retention)) else { panic!("not altered") };
    assert_eq!(summary.retention.tombstones_ms, Some(HOUR_MS));
}

#[test]
fn disks_that_were_compacted_at_different_times_are_called_whole() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish_some(&mut world, 0);
    // One of them has not come to it yet.
    let disk = world.disk(2).clone();
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    world.replace_disk(2, disk);
    world.start(2);
    world.join();
    world.run(Duration::from_secs(3));
    assert_eq!(stored(&world, 2), (14, 0));
    let verify = Request::Client(ClientRequest::Verify("t".parse().unwrap(), start(), false));
    let Response::Verified(verified) = world.call(1, verify) else { panic!("not verified") };
    assert_eq!((verified.lost, verified.records), (0, 14));
    for replica in &verified.replicas {
        assert_eq!((replica.lacking, replica.differing, replica.damaged), (0, 0, 0));
    }
}

#[test]
fn a_batch_that_is_sent_again_is_known_by_its_name_and_another_is_not_taken_for_it() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish_some(&mut world, 0);
    let held: Vec<Batch> = world.disk(1).batches.values().cloned().collect();
    let sent = held.iter().find(|batch| batch.header().first == 5);
    let sent = sent.unwrap().clone();
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), b"other".to_vec()), &mut body).unwrap();
    let key = world.key(world.index(&sent.header().writer));
    let other = Draft::of(sent.header()).seal(&body.into(), &key);
    assert_ne!(sent, other);
    for (batch, is_known) in [(sent, true), (other, false)] {
        let batches = vec![batch];
        let request =
            Request::Node(NodeRequest::Replicate(Replicate { batches, ..Replicate::default() }));
        let from = world.id(0);
        let Response::Replicated(outcomes) = world.call_from(from, 1, request) else {
            panic!("no outcome")
        };
        assert_eq!(outcomes == [Outcome::Stored], is_known, "{outcomes:?}");
        assert_eq!(stored(&world, 1), (4, 1), "it is not taken in again");
    }
}

/// A topic with one replica that is compacted there, and whose batch behind the part is lost; who
/// holds it.
fn lose_what_follows_the_part(world: &mut World) -> usize {
    let retention = Retention { tombstones_ms: Some(HOUR_MS), ..Retention::default() };
    let name = "t".parse().unwrap();
    let create = Create { replicas: Some(1), retention, ..Create::new(name) };
    let Response::Created(summary, false) =
        world.call(0, Request::Client(ClientRequest::Create(create)))
    else {
        panic!("not created")
    };
    let owner = world.index(&summary.owners[0]);
    publish_some(world, owner);
    world.run_until("it is compacted", SOON, |world| stored(world, owner) == (4, 1));
    damage_what_follows_the_part(world, owner);
    owner
}

/// A node's disk loses the batch behind its compacted part.
fn damage_what_follows_the_part(world: &mut World, node: usize) {
    let topic = World::topic("t");
    let disk = world.disk(node);
    let part = disk.compacted.values().next().unwrap().clone();
    let damage = disk.damage(&(topic, part.log, part.next)).unwrap();
    world.damage(node, damage);
    world.run_until("it is lost", SOON, |world| stored(world, node) == (3, 1));
}

#[test]
fn what_is_left_before_a_lost_batch_keeps_no_reader() {
    let mut world = World::new(3);
    world.join();
    lose_what_follows_the_part(&mut world);
    world.run(Duration::from_secs(2));
    for node in 0..3 {
        assert_eq!(world.fetch(node, "t"), ["0", "12", "13"]);
        assert_eq!(world.lost, 1, "and is told of it");
    }
}

/// Found by the simulation: no replica takes a part with nothing behind it, so the node stayed for
/// ever.
#[test]
fn what_is_left_before_a_lost_batch_keeps_no_node_from_leaving() {
    let mut world = World::new(3);
    world.join();
    let owner = lose_what_follows_the_part(&mut world);
    world.call(owner, Request::Client(ClientRequest::Leave(world.id(owner))));
    world.run_until("it has left", SOON, |world| world.has_left(owner));
    let other = (owner + 1) % 3;
    assert_eq!(world.fetch(other, "t"), ["0", "12", "13"]);
}

/// Found by the simulation: the other homes could not take the part, and differed for ever.
#[test]
fn what_is_left_before_a_lost_batch_goes_once_all_have_said_that_it_is_lost() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish_some(&mut world, 0);
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    for node in [1, 2] {
        world.kill(node);
        world.wipe(node);
    }
    damage_what_follows_the_part(&mut world, 0);
    world.start(1);
    world.join();
    world.run_until("one is back", SOON, |world| stored(world, 1) == (3, 0));
    world.run(Duration::from_secs(30));
    assert_eq!(stored(&world, 0), (3, 1), "the other one may hold what is missing");
    world.start(2);
    world.join();
    world.run_until("all agree", SOON, |world| (0..3).all(|node| stored(world, node) == (3, 0)));
    for node in 0..3 {
        assert_eq!(world.fetch(node, "t"), ["0", "12", "13"]);
    }
    // It is forgotten on the disk, too, and nothing is compared any more.
    world.kill(0);
    world.start(0);
    world.join();
    world.run(Duration::from_secs(10));
    assert!((0..3).all(|node| stored(&world, node) == (3, 0)));
    let held = (0..3).map(|node| {
        world.disk(node).tables.logs[&World::topic("t")]
            .values()
            .map(Log::entry)
            .collect::<Vec<_>>()
    });
    let held: Vec<_> = held.collect();
    assert!(held.iter().all(|entries| *entries == held[0]), "{held:?}");
}

#[test]
fn what_is_left_before_a_lost_batch_stays_where_all_homes_have_it() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    publish_some(&mut world, 0);
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (4, 1)));
    (0..3).for_each(|node| world.kill(node));
    for node in 0..3 {
        world.start(node);
        damage_what_follows_the_part(&mut world, node);
        world.kill(node);
    }
    (0..3).for_each(|node| world.start(node));
    world.join();
    world.run(Duration::from_secs(30));
    assert!((0..3).all(|node| stored(&world, node) == (3, 1)));
}

#[test]
fn a_page_with_many_parts_is_imported_at_once() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    let mut number = 0;
    for fixed in 0..40 {
        for text in [format!("a={fixed}"), format!("fixed{fixed}=x")] {
            publish(&mut world, 0, number, &text);
            number += 1;
        }
    }
    world
        .run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node) == (41, 39)));
    let disk = world.disk(0);
    let topic = World::topic("t");
    let batches: Vec<_> = disk.batches.iter().filter(|((of, ..), _)| *of == topic).collect();
    let replicate = Replicate {
        batches: batches.into_iter().map(|(_, batch)| batch.clone()).collect(),
        compacted: disk.compacted.values().cloned().collect(),
        ..Replicate::default()
    };
    // To others, which have nothing of it.
    let mut other = World::new(3);
    other.join();
    create(&mut other, HOUR_MS);
    let import = Import { topic: "t".parse().unwrap(), replicate, trimmed: Vec::new() };
    let Response::Replicated(outcomes) =
        other.call(1, Request::Client(ClientRequest::Import(import)))
    else {
        panic!("no outcome")
    };
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored), "{outcomes:?}");
    assert!((0..3).all(|node| stored(&other, node) == (41, 39)));
    assert_eq!(read(&mut other, 2, &start()).len(), 41);
}

#[test]
fn a_writer_that_forks_a_log_ends_the_compaction_of_its_own_logs_alone() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, HOUR_MS);
    for payload in ["one", "other"] {
        let mut body = Vec::new();
        let record = Record::new(WallClock(1), payload.as_bytes().to_vec());
        encode_record(&record.with_key(b"k".to_vec()), &mut body).unwrap();
        let draft = Draft {
            topic: World::topic("t"),
            incarnation: Incarnation(1),
            previous: None,
            stamp: Stamp::at(world.wall()),
            runs: vec![Run { producer: ProducerId([7; 16]), first: 0, count: 1 }],
        };
        let batch = draft.seal(&body.into(), &NodeKey::from_secret(&[77; 32]));
        let replicate = Replicate { batches: vec![batch], ..Replicate::default() };
        world.call(0, Request::Node(NodeRequest::Replicate(replicate)));
    }
    assert_eq!(world.proofs(0).len(), 1);
    publish_some(&mut world, 0);
    world.run_until("all compact", SOON, |world| (0..3).all(|node| stored(world, node).1 == 1));
    let shown = read(&mut world, 1, &start());
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    let of_others: Vec<_> =
        shown.iter().copied().filter(|it| !["one", "other"].contains(it)).collect();
    assert_eq!(of_others, LEFT, "{shown:?}");
}
