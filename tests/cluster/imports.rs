//! Topics that were exported, and are stored again: here, elsewhere, and after a deletion.

use std::time::Duration;

use antiphon::{
    engine::Report,
    limits::PAGE_BYTES_MAX,
    model::{
        Batch, Cursor, Draft, ForkProof, Incarnation, NodeKey, ProducerId, Record, Retention, Run,
        Stamp, TopicId, WallClock, encode_record,
    },
    wire::{
        ClientRequest, Create, Import, LogRange, Outcome, Proofs, Refusal, Replicate, Request,
        Response,
    },
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(20);

fn lines(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Publishes lines one by one, so that each is a batch.
fn publish(world: &mut World, node: usize, name: &str, from: u64, to: u64) {
    for number in from..to {
        let request = World::publish_request(name, 1, number, &lines(number, number + 1));
        assert!(world.publish(node, request).acknowledged);
    }
}

/// What an export of a topic has: its batches as a client reads them.
fn exported(world: &mut World, node: usize, name: &str) -> Vec<Batch> {
    let surveyed = world.survey(node, name);
    let mut cursor = Cursor::start(surveyed.end.topic);
    let mut batches = Vec::new();
    while !cursor.reaches(&surveyed.end) {
        let request = World::read_request(name, &cursor, Some(&surveyed.end));
        let Response::Page(page) = world.call(node, request) else { panic!("no page") };
        page.batches.iter().for_each(|batch| cursor.advance(batch));
        batches.extend(page.batches);
    }
    batches
}

fn import(name: &str, batches: &[Batch]) -> Request {
    let replicate = Replicate { batches: batches.to_vec(), ..Replicate::default() };
    Request::Client(ClientRequest::Import(Import {
        topic: name.parse().unwrap(),
        replicate,
        trimmed: Vec::new(),
    }))
}

#[track_caller]
fn imported(world: &mut World, node: usize, request: Request) -> Vec<Outcome> {
    match world.call(node, request) {
        Response::Replicated(outcomes) => outcomes,
        other => panic!("not imported: {other:?}"),
    }
}

fn create(name: &str, origin: TopicId) -> Create {
    Create {
        replicas: Some(3),
        origin: Some(origin),
        if_not_exists: true,
        ..Create::new(name.parse().unwrap())
    }
}

#[track_caller]
fn created(world: &mut World, node: usize, create: Create) -> bool {
    match world.call(node, Request::Client(ClientRequest::Create(create))) {
        Response::Created(_, existed) => !existed,
        other => panic!("not created: {other:?}"),
    }
}

/// How many nodes hold a batch on their disks.
fn copies(world: &World, batch: &Batch, nodes: usize) -> usize {
    let held = |node: &usize| world.disk(*node).batches.values().any(|held| held == batch);
    (0..nodes).filter(held).count()
}

#[test]
fn a_topic_is_imported_under_another_name_and_its_writers_go_on_apart() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 20);
    let batches = exported(&mut old, 0, "t");
    assert_eq!(batches.len(), 20);

    // The first node is the writer, in the very life in which it wrote.
    let mut world = World::new(5);
    world.join();
    assert!(created(&mut world, 1, create("u", World::topic("t"))));
    assert!(!created(&mut world, 2, create("u", World::topic("t"))));
    let first = imported(&mut world, 1, import("u", &batches[..12]));
    assert_eq!(first, vec![Outcome::Stored; 12]);
    assert!(batches[..12].iter().all(|batch| copies(&world, batch, 5) >= 2), "flushed");
    let second = imported(&mut world, 4, import("u", &batches));
    assert_eq!(second[..12], vec![Outcome::Present; 12]);
    assert_eq!(second[12..], vec![Outcome::Stored; 8]);
    assert_eq!(imported(&mut world, 3, import("u", &batches)), vec![Outcome::Present; 20]);
    let all = exported(&mut world, 0, "u");
    assert_eq!(all, batches, "as they were signed");

    publish(&mut world, 0, "u", 20, 25);
    world.run_until("all homes hold all", SOON, |world| {
        let survey = world.survey(1, "u");
        survey.replicas.iter().filter(|replica| replica.complete).count() == 3
    });
    for node in 0..5 {
        assert_eq!(world.fetch(node, "u"), lines(0, 25));
    }
    let forked = |(_, report): &(usize, Report)| matches!(report, Report::Fork(..));
    assert!(!world.reports.iter().any(forked));
    // The name that the records had is free here.
    world.create(2, "t", 3);
    publish(&mut world, 0, "t", 100, 101);
    assert_eq!(world.fetch(3, "t"), lines(100, 101));
    assert_eq!(world.fetch(3, "u"), lines(0, 25));
}

#[test]
fn without_enough_replicas_nothing_is_called_imported() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 5);
    let batches = exported(&mut old, 0, "t");

    let mut world = World::new(3);
    world.join();
    assert!(created(&mut world, 0, create("t", World::topic("t"))));
    world.cut(0, 1);
    world.cut(0, 2);
    let refused = vec![Outcome::Refused(Refusal::Unreachable); 5];
    assert_eq!(imported(&mut world, 0, import("t", &batches)), refused);
    world.run(Duration::from_secs(8));
    assert_eq!(imported(&mut world, 0, import("t", &batches)), refused, "two copies are the floor");
    world.heal();
    world.join();
    let again = imported(&mut world, 0, import("t", &batches));
    assert!(again.iter().all(|outcome| *outcome == Outcome::Present), "{again:?}");
    assert!(batches.iter().all(|batch| copies(&world, batch, 3) >= 2));
    world.kill(0);
    world.run(Duration::from_secs(3));
    assert_eq!(world.fetch(1, "t"), lines(0, 5));
}

#[test]
fn a_full_replica_is_no_copy() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 1);
    let batches = exported(&mut old, 0, "t");
    let mut world = World::new(2);
    world.join();
    let terms = Create { min_copies: Some(2), ..create("t", World::topic("t")) };
    assert!(created(&mut world, 0, terms));
    world.room(1, false);
    let full = vec![Outcome::Refused(Refusal::Full(None))];
    assert_eq!(imported(&mut world, 0, import("t", &batches)), full);
    world.room(1, true);
    assert_eq!(imported(&mut world, 0, import("t", &batches)), [Outcome::Present]);
}

#[test]
fn what_is_signed_for_another_topic_or_too_large_is_refused() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    world.create(0, "u", 1);
    publish(&mut world, 0, "t", 0, 3);
    let batches = exported(&mut world, 0, "t");
    let invalid = |response: &Response| matches!(response, Response::Refused(Refusal::Invalid(_)));
    assert!(invalid(&world.call(0, import("u", &batches))));
    assert_eq!(world.fetch(0, "u"), [] as [String; 0]);
    let nowhere = world.call(0, import("v", &batches));
    assert!(matches!(nowhere, Response::Refused(Refusal::UnknownTopic { .. })), "{nowhere:?}");
    let many = vec![batches[0].clone(); PAGE_BYTES_MAX / batches[0].bytes().len() + 1];
    assert!(invalid(&world.call(0, import("t", &many))));
}

#[test]
fn no_two_topics_have_one_id_or_one_name() {
    let mut world = World::new(2);
    world.join();
    world.create(0, "t", 1);
    let exists = |name: &str| Response::Refused(Refusal::TopicExists(name.into()));
    let copy = Request::Client(ClientRequest::Create(create("u", World::topic("t"))));
    assert_eq!(world.call(1, copy), exists("t"));
    let foreign = Request::Client(ClientRequest::Create(create("t", TopicId::from_bytes([7; 32]))));
    assert_eq!(world.call(1, foreign), exists("t"));
    assert!(!created(&mut world, 1, create("t", World::topic("t"))), "it is that one");
    assert_eq!(
        world.call(0, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
        Response::Deleted
    );
    world.run(Duration::from_secs(1));
    let copy = Request::Client(ClientRequest::Create(create("u", World::topic("t"))));
    assert_eq!(world.call(1, copy), exists("t"), "deleted topics have their ids as well");
}

/// Four nodes, of which two and two see each other only.
fn parted() -> World {
    let mut world = World::new(4);
    world.join();
    for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        world.cut(one, other);
    }
    world.run(Duration::from_secs(8));
    world
}

fn names(world: &mut World, node: usize) -> Vec<String> {
    let Response::Topics(topics, _) =
        world.call(node, Request::Client(ClientRequest::Topics(None)))
    else {
        panic!()
    };
    topics.iter().map(|topic| topic.name.to_string()).collect()
}

#[test]
fn a_copy_gives_way_to_the_topic_whose_name_its_id_is() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 3);
    let batches = exported(&mut old, 0, "t");
    let mut world = parted();
    world.create(0, "t", 3);
    assert!(created(&mut world, 2, create("a", World::topic("t"))));
    imported(&mut world, 2, import("a", &batches));
    world.heal();
    world.join();
    world.run(Duration::from_secs(10));
    for node in 0..4 {
        assert_eq!(names(&mut world, node), ["t"]);
        assert_eq!(world.fetch(node, "t"), lines(0, 3));
    }
}

#[test]
fn records_that_are_imported_under_two_names_at_once_are_one_topic() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 6);
    let batches = exported(&mut old, 0, "t");
    let mut world = parted();
    for (node, name, part) in [(0, "v", &batches[..4]), (2, "u", &batches[2..])] {
        assert!(created(&mut world, node, create(name, World::topic("t"))));
        assert_eq!(imported(&mut world, node, import(name, part)), vec![Outcome::Stored; 4]);
    }
    world.heal();
    world.join();
    world.run(Duration::from_secs(10));
    for node in 0..4 {
        assert_eq!(names(&mut world, node), ["u"]);
        assert_eq!(world.fetch(node, "u"), lines(0, 6), "what either side was told to be stored");
    }
    // The name of the records' own is no copy's to take.
    world.create(1, "t", 3);
    assert_eq!(world.fetch(3, "t"), [] as [String; 0]);
    assert_eq!(world.fetch(3, "u"), lines(0, 6));
}

#[test]
fn a_deleted_topic_is_restored_at_every_node_also_at_one_that_was_away() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    publish(&mut world, owners[0], "t", 0, 10);
    let batches = exported(&mut world, 0, "t");
    let delete = |world: &mut World, node: usize| {
        assert_eq!(
            world.call(node, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
            Response::Deleted
        );
    };
    for round in 0..2 {
        let (away, other) = (owners[0], owners[1]);
        world.kill(away);
        delete(&mut world, other);
        if round == 1 {
            // Another topic had the name in between.
            world.create(other, "t", 3);
            publish(&mut world, other, "t", 50, 51);
            delete(&mut world, other);
        }
        assert!(created(&mut world, other, create("t", World::topic("t"))));
        imported(&mut world, other, import("t", &batches));
        world.start(away);
        world.join();
        world.run_until("all hold all", SOON, |world| {
            batches.iter().all(|batch| copies(world, batch, 4) >= 3)
        });
        // A start takes over all that is known at once.
        for node in 0..4 {
            world.kill(node);
            world.start(node);
        }
        world.join();
        world.run(Duration::from_secs(5));
        for node in 0..4 {
            assert_eq!(world.fetch(node, "t"), lines(0, 10), "node {node}, round {round}");
        }
        assert!(batches.iter().all(|batch| copies(&world, batch, 4) >= 3));
    }
    publish(&mut world, owners[0], "t", 10, 12);
    world.run(Duration::from_secs(5));
    assert_eq!(world.fetch(owners[1], "t"), lines(0, 12));
}

#[test]
fn a_writer_does_not_continue_what_was_restored_without_its_end() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, "t", 0, 5);
    let batches = exported(&mut world, 1, "t");
    publish(&mut world, 0, "t", 5, 10);
    assert_eq!(
        world.call(1, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
        Response::Deleted
    );
    world.run(Duration::from_secs(1));
    assert!(created(&mut world, 1, create("t", World::topic("t"))));
    imported(&mut world, 1, import("t", &batches));
    world.run(Duration::from_secs(5));
    // A clean stop, after which a log is continued where it ends.
    let earlier = world.stop(0);
    world.start_after(0, [earlier].into());
    world.join();
    publish(&mut world, 0, "t", 20, 21);
    let log = batches[0].log();
    let newest = exported(&mut world, 2, "t").pop().unwrap();
    assert_ne!(newest.log(), log, "numbers 5 to 9 were used");
    assert_eq!(world.fetch(1, "t"), [lines(0, 5), lines(20, 21)].concat());
}

#[test]
fn nothing_is_called_trimmed_that_comes_after_the_first_batch_of_an_import() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 10);
    let batches = exported(&mut old, 0, "t");
    let trimmed = vec![LogRange { log: batches[0].log(), from: 0, to: 1 << 47 }];
    let mut world = World::new(4);
    world.join();
    assert!(created(&mut world, 0, create("u", World::topic("t"))));
    let replicate = Replicate { batches: batches[..1].to_vec(), ..Replicate::default() };
    let topic = "u".parse().unwrap();
    let request = Request::Client(ClientRequest::Import(Import { topic, replicate, trimmed }));
    assert_eq!(imported(&mut world, 0, request), [Outcome::Stored]);
    imported(&mut world, 1, import("u", &batches));
    assert_eq!(world.survey(2, "u").summary.records, 10, "what follows is stored");
}

#[test]
fn what_retention_had_let_go_is_not_looked_for() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 10);
    let batches = exported(&mut old, 0, "t");
    let trimmed = vec![LogRange { log: batches[0].log(), from: 0, to: 6 }];
    let mut world = World::new(4);
    world.join();
    assert!(created(&mut world, 0, create("u", World::topic("t"))));
    let replicate = Replicate { batches: batches[6..].to_vec(), ..Replicate::default() };
    let topic = "u".parse().unwrap();
    let request = Request::Client(ClientRequest::Import(Import { topic, replicate, trimmed }));
    assert_eq!(imported(&mut world, 0, request), vec![Outcome::Stored; 4]);
    let page = world.call(2, World::read_request("u", &Cursor::start(World::topic("t")), None));
    let Response::Page(page) = page else { panic!("{page:?}") };
    assert_eq!((page.batches, page.lost), (batches[6..].to_vec(), Vec::new()));
    assert_eq!(page.trimmed.iter().map(|range| range.to).collect::<Vec<_>>(), [6]);
    assert_eq!(world.survey(3, "u").summary.records, 4);
    // It is not taken in again, and what is held is not cut off by an export that has less.
    let all = imported(&mut world, 1, import("u", &batches));
    assert_eq!(all[..6], vec![Outcome::Trimmed; 6]);
    assert_eq!(all[6..], vec![Outcome::Present; 4]);
}

/// Batches that somebody signed who is not here.
fn twin(first: u64, previous: Option<&Batch>, payload: &str) -> Batch {
    let key = NodeKey::from_secret(&[77; 32]);
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), payload.as_bytes().to_vec()), &mut body).unwrap();
    let draft = Draft {
        topic: World::topic("t"),
        incarnation: Incarnation(3),
        previous: previous.map(|batch| antiphon::model::Previous {
            incarnation: Incarnation(3),
            next: first,
            hash: batch.hash(),
        }),
        stamp: Stamp::at(WallClock(1_700_000_000_000 + first)),
        runs: vec![Run { producer: ProducerId([5; 16]), first, count: 1 }],
    };
    draft.seal(&body.into(), &key)
}

#[test]
fn branches_are_imported_with_their_proofs() {
    let trunk = twin(0, None, "trunk");
    let (one, other) = (twin(1, Some(&trunk), "one"), twin(1, Some(&trunk), "other"));
    let proof = ForkProof::of(&one, &other).unwrap();
    let root = |batch: &Batch| batch.clone().filed(Incarnation::of_branch(batch.hash()));
    let batches = vec![trunk, root(&one), root(&other)];
    let mut world = World::new(3);
    world.join();
    assert!(created(&mut world, 0, create("t", World::topic("t"))));
    let forks = Proofs::of(std::iter::once(&proof));
    let replicate = Replicate { batches, forks, ..Replicate::default() };
    let (topic, trimmed) = ("t".parse().unwrap(), Vec::new());
    let request = Request::Client(ClientRequest::Import(Import { topic, replicate, trimmed }));
    assert_eq!(imported(&mut world, 1, request), vec![Outcome::Stored; 3]);
    for node in 0..3 {
        let mut payloads = world.fetch(node, "t");
        payloads.sort();
        assert_eq!(payloads, ["one", "other", "trunk"]);
    }
    assert_eq!(world.survey(2, "t").forks.len(), 1);
}

#[test]
fn the_topic_keeps_what_its_own_terms_say() {
    let mut old = World::new(1);
    old.create(0, "t", 1);
    publish(&mut old, 0, "t", 0, 40);
    let batches = exported(&mut old, 0, "t");
    let mut world = World::new(3);
    world.join();
    let retention = Retention { records: Some(10), ..Retention::default() };
    assert!(created(&mut world, 0, Create { retention, ..create("t", World::topic("t")) }));
    imported(&mut world, 0, import("t", &batches));
    world.run_until("the oldest are gone", SOON, |world| {
        (0..3).all(|node| {
            let topic = World::topic("t");
            world.disk(node).batches.keys().filter(|(of, ..)| *of == topic).count() <= 11
        })
    });
    assert_eq!(world.fetch(1, "t").last(), lines(39, 40).last());
}
