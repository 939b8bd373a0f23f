//! Reading live, and named subscriptions.

use std::time::Duration;

use antiphon::{
    model::{Cursor, Subscription},
    wire::{ClientRequest, Page, Request, Response},
};

use crate::script::{World, payloads_of};

fn payload(number: usize) -> Vec<String> {
    vec![format!("line {number}")]
}

/// Follows a topic at a node until it has so many records.
fn follow(world: &mut World, node: usize, cursor: &mut Cursor, count: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let request = World::read_request("t", cursor, None);
        let Response::Page(Page { batches, .. }) = world.call(node, request) else {
            panic!("no page")
        };
        for batch in batches {
            payloads.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
    payloads
}

#[test]
fn history_and_live_are_one_stream() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    let reader = (0..5).find(|node| !owners.contains(node)).unwrap();
    for number in 0..10 {
        let request = World::publish_request("t", 1, number as u64, &payload(number));
        world.publish(owners[0], request);
    }
    let mut cursor = Cursor::start(World::topic("t"));
    let mut read = follow(&mut world, reader, &mut cursor, 10);
    for number in 10..60 {
        let request = World::publish_request("t", 1, number as u64, &payload(number));
        world.ask(owners[0], Request::Client(ClientRequest::Publish(request)));
    }
    read.extend(follow(&mut world, reader, &mut cursor, 50));
    assert_eq!(read, (0..60).flat_map(payload).collect::<Vec<_>>());
}

#[test]
fn a_live_record_comes_with_the_gossip() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    let reader = (0..5).find(|node| !owners.contains(node)).unwrap();
    world.publish(owners[0], World::publish_request("t", 1, 0, &payload(0)));
    let mut cursor = Cursor::start(World::topic("t"));
    follow(&mut world, reader, &mut cursor, 1);
    let waiting = world.ask(reader, World::read_request("t", &cursor, None));
    world.run(Duration::from_millis(100));
    assert!(world.answered(waiting).is_none(), "there is nothing yet");
    world.ask(
        owners[0],
        Request::Client(ClientRequest::Publish(World::publish_request("t", 1, 1, &payload(1)))),
    );
    world.run(Duration::from_millis(2));
    assert!(world.answered(waiting).is_some(), "the record came at once");
}

#[test]
fn what_gossip_lost_is_found_by_the_survey() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    let reader = (0..5).find(|node| !owners.contains(node)).unwrap();
    let writer = (0..5).find(|node| !owners.contains(node) && *node != reader).unwrap();
    let mut cursor = Cursor::start(World::topic("t"));
    let waiting = world.ask(reader, World::read_request("t", &cursor, None));
    world.run(Duration::from_millis(100));
    world.cut(writer, reader);
    world.publish(writer, World::publish_request("t", 1, 0, &payload(0)));
    world.run(Duration::from_secs(2));
    let Some(Response::Page(page)) = world.answered(waiting) else { panic!("nothing came") };
    assert_eq!(payloads_of(&page.batches[0]), payload(0));
    cursor.advance(&page.batches[0]);
}

#[test]
fn nothing_comes_and_the_wait_ends() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let cursor = Cursor::start(World::topic("t"));
    let before = world.now;
    let answer = world.call(1, World::read_request("t", &cursor, None));
    assert_eq!(answer, Response::Page(Page { finished: true, ..Page::default() }));
    assert!(world.now.saturating_sub(before) >= Duration::from_secs(10));
}

#[test]
fn a_subscription_goes_on_at_another_node() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    for number in 0..10 {
        world.publish(0, World::publish_request("t", 1, number as u64, &payload(number)));
    }
    let topic = "t".parse().unwrap();
    let alice = || "alice".parse().unwrap();
    let none = world.call(1, Request::Client(ClientRequest::Position(topic, alice())));
    assert_eq!(none, Response::Position(None));
    let mut cursor = Cursor::start(World::topic("t"));
    let first = follow(&mut world, 1, &mut cursor, 10);
    assert_eq!(first.len(), 10);
    let kept = Subscription::new(0, Some(cursor.clone()));
    let committed = world.call(
        1,
        Request::Client(ClientRequest::Commit("t".parse().unwrap(), alice(), kept.clone(), None)),
    );
    assert!(matches!(committed, Response::Committed(copies, _) if copies >= 2));
    world.kill(1);
    for node in [0, 2, 3] {
        let position = world
            .call(node, Request::Client(ClientRequest::Position("t".parse().unwrap(), alice())));
        assert_eq!(position, Response::Position(Some(kept.clone())), "at node {node}");
    }
}

#[test]
fn a_position_never_stands_ahead_of_the_log() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    world.publish(0, World::publish_request("t", 1, 0, &payload(0)));
    let end = world.survey(0, "t").end;
    let mut ahead = end.clone();
    for position in ahead.logs.values_mut() {
        position.next = 1_000_000;
    }
    let name = || "t".parse().unwrap();
    let bob = || "bob".parse().unwrap();
    let commit = Subscription::new(0, Some(ahead));
    world.call(0, Request::Client(ClientRequest::Commit(name(), bob(), commit, None)));
    let Response::Position(Some(kept)) =
        world.call(0, Request::Client(ClientRequest::Position(name(), bob())))
    else {
        panic!("no position")
    };
    assert_eq!(kept.cursor, Some(end));
}

#[test]
fn a_cursor_of_another_topic_is_refused() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    world.create(0, "u", 1);
    let cursor = Cursor::start(World::topic("u"));
    let answer = world.call(0, World::read_request("t", &cursor, None));
    assert!(matches!(answer, Response::Refused(_)), "{answer:?}");
}
