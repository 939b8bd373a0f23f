//! Disks that have lost something, or have no room.

use std::time::Duration;

use antiphon::{
    engine::Damage,
    model::Batch,
    wire::{ClientRequest, Create, Refusal, Request, Response},
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(20);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Publishes each line in a batch of its own.
fn publish(world: &mut World, node: usize, from: usize, to: usize) {
    for number in from..to {
        let line = lines(number, number + 1);
        let request = World::publish_request("t", 1, number as u64, &line);
        assert!(world.publish(node, request).acknowledged);
    }
}

/// The batches of the topic that a node has on its disk, in order.
fn batches(world: &World, node: usize) -> Vec<Batch> {
    let topic = World::topic("t");
    let held = world.disk(node).batches.iter();
    held.filter(|((of, ..), _)| *of == topic).map(|(_, batch)| batch.clone()).collect()
}

/// What a disk tells of its batch of this number.
fn damage(batches: &[Batch], number: usize) -> Damage {
    let batch = &batches[number];
    let header = batch.header();
    let before = number.checked_sub(1).map(|before| &batches[before]);
    Damage {
        topic: header.topic,
        log: header.log(),
        first: header.first,
        next: header.next(),
        hash: batch.hash(),
        previous: before.map(|before| (before.hash(), before.header().stamp)),
    }
}

#[test]
fn a_damaged_batch_is_fetched_again() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0, 6);
    world.run(Duration::from_secs(1));
    let held = batches(&world, 1);
    // At the start, in the middle twice, and at the end.
    for number in [0, 2, 3, 5] {
        world.damage(1, damage(&held, number));
        // Told twice, it is lost once.
        world.damage(1, damage(&held, number));
    }
    world.run(Duration::from_millis(1));
    let replica = |world: &mut World| {
        let id = world.id(1);
        let surveyed = world.survey(0, "t");
        surveyed.replicas.into_iter().find(|replica| replica.node == id).unwrap()
    };
    let lacking = replica(&mut world);
    assert!(!lacking.complete && lacking.records == Some(2), "{lacking:?}");
    world.run_until("it is complete again", SOON, |world| replica(world).complete);
    assert_eq!(batches(&world, 1), held);
    assert_eq!(world.fetch(1, "t"), lines(0, 6));
}

#[test]
fn a_late_report_does_not_lose_a_batch_that_was_stored_again() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0, 3);
    world.run(Duration::from_secs(1));
    let held = batches(&world, 1);
    world.damage(1, damage(&held, 1));
    let replica = |world: &mut World| {
        let id = world.id(1);
        let surveyed = world.survey(0, "t");
        surveyed.replicas.into_iter().find(|replica| replica.node == id).unwrap()
    };
    world.run_until("it is complete again", SOON, |world| replica(world).complete);
    // What the disk says of its old bytes comes after what was written over them.
    world.damage(1, damage(&held, 1));
    world.run(Duration::from_millis(1));
    assert!(replica(&mut world).complete);
    // And what it says later is news.
    world.run(Duration::from_secs(11));
    world.damage(1, damage(&held, 1));
    world.run(Duration::from_millis(1));
    assert!(!replica(&mut world).complete);
}

#[test]
fn a_writer_goes_on_whatever_its_disk_has_lost() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0, 40);
    world.run(Duration::from_secs(1));
    let held = batches(&world, 0);
    // As many holes as a log may have and its end, while nobody can help.
    world.cut(0, 1);
    world.cut(0, 2);
    for number in (1..=39).step_by(2) {
        world.damage(0, damage(&held, number));
    }
    let offer = |world: &mut World, number: usize| {
        let line = lines(number, number + 1);
        world.ask(
            0,
            Request::Client(ClientRequest::Publish(World::publish_request(
                "t",
                1,
                number as u64,
                &line,
            ))),
        );
        world.run(Duration::from_millis(10));
    };
    offer(&mut world, 40);
    offer(&mut world, 41);
    let held = batches(&world, 0);
    let last = held.iter().position(|batch| batch.header().first == 41);
    world.damage(0, damage(&held, last.unwrap()));
    offer(&mut world, 42);
    world.heal();
    let complete = |world: &mut World| {
        let surveyed = world.survey(0, "t");
        surveyed.end.records() == 43 && surveyed.replicas.iter().all(|replica| replica.complete)
    };
    world.run_until("all is repaired", SOON, complete);
    for node in 0..3 {
        assert_eq!(world.fetch(node, "t"), lines(0, 43));
    }
}

#[test]
fn what_nobody_holds_is_passed_over_once_all_have_said_so() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0, 6);
    world.run(Duration::from_secs(12));
    for node in 0..4 {
        let held = batches(&world, node);
        if !held.is_empty() {
            world.damage(node, damage(&held, 2));
        }
    }
    world.run(Duration::from_millis(1));
    // While somebody is away who may hold it, nothing is passed over.
    let holders: Vec<_> = (0..4).filter(|node| !batches(&world, *node).is_empty()).collect();
    let other = (0..4).find(|node| !holders.contains(node)).unwrap();
    world.kill(other);
    world.run(Duration::from_secs(3));
    let surveyed = world.survey(holders[0], "t");
    let start = antiphon::model::Cursor::start(surveyed.end.topic);
    let mut after = start.clone();
    let request = World::read_request("t", &start, Some(&surveyed.end));
    let Response::Page(page) = world.call(holders[0], request) else { panic!("no page") };
    page.batches.iter().for_each(|batch| after.advance(batch));
    assert_eq!(after.records(), 2);
    let request = World::read_request("t", &after, Some(&surveyed.end));
    assert_eq!(world.call(holders[0], request), Response::Refused(Refusal::Unreachable));
    // It is gone for good, says somebody who knows.
    world.forget(holders[0], other);
    let expected = [lines(0, 2), lines(3, 6)].concat();
    assert_eq!(world.fetch(holders[1], "t"), expected);
    assert_eq!(world.lost, 1, "the reader is told");
}

#[test]
fn who_creates_a_topic_while_the_disk_fills_is_told_that_it_is_created() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    // What it wrote in an earlier life is confirmed first, with replicas that do not answer.
    let earlier = world.stop(0);
    world.start_after(0, [earlier].into());
    world.join();
    world.cut(0, 1);
    world.cut(0, 2);
    let create = Create { replicas: Some(3), ..Create::new("u".parse().unwrap()) };
    let question = world.ask(0, Request::Client(ClientRequest::Create(create)));
    world.run(Duration::from_millis(1));
    world.room(0, false);
    world.run(Duration::from_secs(40));
    let answer = world.answered(question);
    assert!(matches!(answer, Some(Response::Created(..))), "{answer:?}");
}

#[test]
fn a_full_disk_refuses_records_and_heals() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    publish(&mut world, owners[0], 0, 3);
    world.room(owners[1], false);
    let request = World::publish_request("t", 2, 0, &lines(0, 1));
    let refused = world.call(owners[1], Request::Client(ClientRequest::Publish(request)));
    assert_eq!(refused, Response::Refused(Refusal::Full(None)));
    assert_eq!(world.fetch(owners[1], "t"), lines(0, 3), "it can be read");
    // The others go on, and somebody stands in.
    publish(&mut world, owners[0], 3, 6);
    let other = (0..4).find(|node| !owners.contains(node)).unwrap();
    world.run_until("another node stands in", SOON, |world| !batches(world, other).is_empty());
    world.room(owners[1], true);
    world.run_until("it has what it missed", SOON, |world| batches(world, owners[1]).len() == 6);
    publish(&mut world, owners[1], 6, 7);
    world.run_until("the copies are handed over", SOON, |world| batches(world, other).is_empty());
}

/// Found by the simulation: a flush took a minute longer than its disk was slow.
#[test]
fn a_flush_ends_soon_when_its_disk_is_no_longer_slow() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    world.nodes[0].disk.slowness = 1_000_000;
    let request = World::publish_request("t", 1, 0, &lines(0, 1));
    world.ask(0, Request::Client(ClientRequest::Publish(request)));
    world.run(Duration::from_secs(5));
    assert_eq!(batches(&world, 0), []);
    world.hurry(0);
    world.run_until("it is flushed", Duration::from_secs(1), |world| batches(world, 0).len() == 1);
    publish(&mut world, 0, 1, 2);
}
