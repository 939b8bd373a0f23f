//! The floor of copies: one that follows the network, and one that stays.

use std::time::Duration;

use antiphon::{
    model::RetentionChange,
    wire::{Alter, ClientRequest, Create, Published, Request, Response, TopicSummary},
};

use crate::script::World;

fn publish(world: &mut World, node: usize, first: u64) -> Published {
    world.publish(node, World::publish_request("t", 1, first, &[format!("line {first}")]))
}

fn alter(min_copies: Option<u16>, floor_follows: bool) -> Request {
    let (name, retention) = ("t".parse().unwrap(), RetentionChange::default());
    Request::Client(ClientRequest::Alter(Alter {
        name,
        replicas: None,
        min_copies,
        retention,
        floor_follows,
    }))
}

fn floor(world: &mut World, node: usize) -> (u16, bool) {
    let TopicSummary { min_copies, floor_follows, .. } = world.survey(node, "t").summary;
    (min_copies, floor_follows)
}

/// A topic that the first of three nodes made when it was alone.
fn grown(min_copies: Option<u16>) -> World {
    let mut world = World::new(1);
    let create = Create { min_copies, ..Create::new("t".parse().unwrap()) };
    assert!(matches!(
        world.call(0, Request::Client(ClientRequest::Create(create))),
        Response::Created(..)
    ));
    assert!(publish(&mut world, 0, 0).acknowledged, "one disk is all that there is");
    world.add();
    world.join();
    assert_eq!(floor(&mut world, 0).0, 1, "two nodes: the other one may be away");
    world.add();
    world.join();
    world.run(Duration::from_secs(5));
    world
}

#[test]
fn a_node_of_three_that_is_alone_acknowledges_nothing() {
    let mut world = grown(None);
    for node in 0..3 {
        assert_eq!(floor(&mut world, node), (2, true));
    }
    for other in [1, 2] {
        world.stop(other);
    }
    world.run(Duration::from_secs(5));
    let alone = publish(&mut world, 0, 1);
    assert!(!alone.acknowledged && alone.too_few_nodes, "{alone:?}");
    assert_eq!((alone.copies, alone.wanted), (1, 2));
    // A start forgets nobody.
    world.kill(0);
    world.start(0);
    let alone = publish(&mut world, 0, 2);
    assert!(!alone.acknowledged && alone.too_few_nodes, "{alone:?}");
    // The operator does.
    for other in [1, 2] {
        world.forget(0, other);
    }
    assert_eq!(floor(&mut world, 0), (1, true));
    assert!(publish(&mut world, 0, 3).acknowledged);
}

#[test]
fn a_node_that_is_slow_is_not_too_few() {
    let mut world = grown(None);
    for other in [1, 2] {
        world.cut(0, other);
    }
    // The others are not taken for dead yet when the time is over.
    let request = World::publish_request("t", 1, 1, &["line".to_owned()]);
    let published = world.publish(0, antiphon::wire::Publish { timeout_ms: 500, ..request });
    assert!(!published.acknowledged && !published.too_few_nodes, "{published:?}");
}

#[test]
fn a_floor_that_was_asked_for_stays() {
    let mut world = grown(Some(1));
    assert_eq!(floor(&mut world, 2), (1, false));
    for other in [1, 2] {
        world.kill(other);
    }
    world.run(Duration::from_secs(5));
    assert!(publish(&mut world, 0, 1).acknowledged);
    // It is made to follow, and back.
    let Response::Altered(summary) = world.call(0, alter(None, true)) else { panic!("altered") };
    assert_eq!((summary.min_copies, summary.floor_follows), (2, true));
    assert!(!publish(&mut world, 0, 2).acknowledged);
    let Response::Altered(summary) = world.call(0, alter(Some(1), false)) else {
        panic!("altered")
    };
    assert_eq!((summary.min_copies, summary.floor_follows), (1, false));
    assert!(publish(&mut world, 0, 3).acknowledged);
    // Another change leaves the floor as it is.
    let Response::Altered(summary) = world.call(0, alter(None, false)) else { panic!("altered") };
    assert_eq!((summary.min_copies, summary.floor_follows), (1, false));
}
