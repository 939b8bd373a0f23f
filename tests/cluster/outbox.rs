//! What is told to be pending: listed, followed, and delivered when nodes return.

use std::time::Duration;

use antiphon::{
    limits,
    model::{TopicName, WallClock},
    wire::{
        Acks, Await, ClientRequest, Create, LogRange, PendingTopic, Publish, Published, Refusal,
        Request, Response,
    },
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(20);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Publishes, and waits for the copies no longer than the writer takes to store it.
fn publish(world: &mut World, node: usize, name: &str, from: usize, to: usize) -> Published {
    let request = World::publish_request(name, 1, from as u64, &lines(from, to));
    world.publish(node, Publish { timeout_ms: 0, ..request })
}

/// The first page of what is pending at a node.
fn outbox(world: &mut World, node: usize) -> Vec<PendingTopic> {
    match world.call(node, Request::Client(ClientRequest::Outbox(None))) {
        Response::Outbox(page) => page.topics,
        other => panic!("no list: {other:?}"),
    }
}

fn cut_off(world: &mut World, node: usize, nodes: usize) {
    for other in (0..nodes).filter(|other| *other != node) {
        world.cut(node, other);
    }
    world.run(Duration::from_secs(7));
}

fn wait_until_empty(world: &mut World, node: usize) {
    world.run_until("the outbox is empty", SOON, |world| outbox(world, node).is_empty());
}

/// A writer that is cut off, one of the replicas of the topic or none of them.
fn taken_listed_and_delivered(nodes: usize, is_replica: bool) {
    let mut world = World::new(nodes);
    world.join();
    let owners = world.create(0, "t", 3);
    let writer = (0..nodes).find(|node| owners.contains(node) == is_replica).unwrap();
    let reader = (0..nodes).find(|node| *node != writer).unwrap();
    let request = World::publish_request("t", 1, 0, &lines(0, 3));
    assert!(world.publish(writer, request).acknowledged);
    assert_eq!(outbox(&mut world, writer), [], "what has its copies is not in the outbox");
    cut_off(&mut world, writer, nodes);
    for number in 3..8 {
        assert!(!publish(&mut world, writer, "t", number, number + 1).acknowledged);
    }
    let [pending] = &outbox(&mut world, writer)[..] else { panic!("one topic is pending") };
    assert_eq!((pending.topic.as_str(), pending.records), ("t", 5), "none that was acknowledged");
    assert_eq!((pending.copies, pending.wanted), (1, 2), "it stands in for all that are away");
    assert_eq!(pending.away.len(), 3 - usize::from(is_replica));
    assert!(pending.since > WallClock(1_700_000_000_000));
    let since = pending.since;
    assert_eq!(world.fetch(reader, "t"), lines(0, 3));

    // A crash forgets none of it, and what comes after it is pending as well.
    world.kill(writer);
    world.start(writer);
    world.run(Duration::from_secs(3));
    let [pending] = &outbox(&mut world, writer)[..] else { panic!("one topic is pending") };
    assert_eq!((pending.records, pending.since), (5, since));
    assert_eq!(pending.copies, 1);
    publish(&mut world, writer, "t", 8, 10);
    assert_eq!(outbox(&mut world, writer)[0].records, 7);

    // Nor a clean stop.
    let life = world.stop(writer);
    world.start_after(writer, [life].into());
    world.run(Duration::from_secs(3));
    assert_eq!(outbox(&mut world, writer)[0].records, 7);

    world.heal();
    wait_until_empty(&mut world, writer);
    for node in 0..nodes {
        assert_eq!(world.fetch(node, "t"), lines(0, 10), "at node {node}");
        assert_eq!(outbox(&mut world, node), []);
    }
    let life = world.stop(writer);
    world.start_after(writer, [life].into());
    assert_eq!(outbox(&mut world, writer), [], "nor is it there after one more start");
}

#[test]
fn what_a_replica_took_alone_is_listed_over_restarts_and_delivered_in_order() {
    taken_listed_and_delivered(3, true);
}

#[test]
fn so_is_what_a_node_took_that_is_no_replica() {
    taken_listed_and_delivered(5, false);
}

#[test]
fn a_crash_right_after_the_answer_costs_nothing() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    let writer = (0..5).find(|node| !owners.contains(node)).unwrap();
    cut_off(&mut world, writer, 5);
    let published = publish(&mut world, writer, "t", 0, 3);
    // What is lost in a crash is what was not flushed.
    world.kill(writer);
    let place = published.place.expect("it is told where the records are");
    let key = (World::topic("t"), place.log, place.from);
    assert!(world.disk(writer).batches.contains_key(&key));
    world.start(writer);
    assert_eq!(outbox(&mut world, writer)[0].records, 3);
}

#[test]
fn what_is_pending_is_followed_at_any_node() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    let writer = (0..5).find(|node| !owners.contains(node)).unwrap();
    let other = (0..5).find(|node| *node != writer).unwrap();
    cut_off(&mut world, writer, 5);
    let published = publish(&mut world, writer, "t", 0, 3);
    let place = published.place.unwrap();
    assert_eq!((published.copies, published.wanted, place.from, place.to), (1, 2, 0, 3));
    let wait = |wait_ms| {
        let topic = "t".parse().unwrap();
        Request::Client(ClientRequest::Await(Await { topic, place, acks: Acks::Quorum, wait_ms }))
    };
    for node in [writer, other] {
        let Response::Awaited(told) = world.call(node, wait(500)) else { panic!("no answer") };
        let copies = u16::from(node == writer);
        assert!(!told.acknowledged && told.copies == copies && told.place == Some(place));
    }
    let asked = [writer, other].map(|node| world.ask(node, wait(30_000)));
    world.heal();
    let mut told = Vec::new();
    world.run_until("both are told", SOON, |world| {
        told.extend(asked.iter().filter_map(|question| world.answered(*question)));
        told.len() == 2
    });
    for told in told {
        let Response::Awaited(told) = told else { panic!("{told:?}") };
        assert!(told.acknowledged && told.copies >= told.wanted, "{told:?}");
        assert_eq!((told.replicas, told.wanted, told.place), (3, 2, None));
    }
}

#[test]
fn nonsense_is_refused_and_unknown_records_are_waited_for() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let known = world.publish(0, World::publish_request("t", 1, 0, &lines(0, 1)));
    assert_eq!(known.place, None, "what is acknowledged is at the replicas");
    let log = *world.survey(0, "t").end.logs.keys().next().unwrap();
    let wait = |name: &str, place| {
        let topic = name.parse().unwrap();
        Request::Client(ClientRequest::Await(Await {
            topic,
            place,
            acks: Acks::Quorum,
            wait_ms: 10,
        }))
    };
    let empty = world.call(0, wait("t", LogRange { log, from: 5, to: 5 }));
    assert!(matches!(empty, Response::Refused(Refusal::Invalid(_))), "{empty:?}");
    let unknown = world.call(0, wait("other", LogRange { log, from: 0, to: 5 }));
    assert!(matches!(unknown, Response::Refused(Refusal::UnknownTopic { .. })), "{unknown:?}");
    let later = world.call(0, wait("t", LogRange { log, from: 0, to: 5 }));
    assert!(matches!(later, Response::Awaited(told) if !told.acknowledged), "{later:?}");
    let all = world.call(0, wait("t", LogRange { log, from: 0, to: 1 }));
    assert!(matches!(all, Response::Awaited(told) if told.acknowledged), "{all:?}");
}

#[test]
fn many_topics_in_the_outbox_are_no_burst() {
    const TOPICS: usize = 1_200;
    let mut world = World::new(3);
    world.join();
    let names: Vec<_> = (0..TOPICS).map(|number| format!("t{number:04}")).collect();
    for name in &names {
        let min_copies = Some(3);
        let create = Create { min_copies, ..Create::new(name.parse().unwrap()) };
        assert!(matches!(
            world.call(0, Request::Client(ClientRequest::Create(create))),
            Response::Created(..)
        ));
    }
    cut_off(&mut world, 0, 3);
    for name in &names {
        assert!(!publish(&mut world, 0, name, 0, 1).acknowledged);
    }
    let Response::Outbox(page) = world.call(0, Request::Client(ClientRequest::Outbox(None))) else {
        panic!("no list")
    };
    let last = page.topics.last().map(|topic| topic.topic.clone());
    let Response::Outbox(rest) = world.call(0, Request::Client(ClientRequest::Outbox(last))) else {
        panic!("no list")
    };
    assert_eq!((page.more, rest.more, page.node), (true, false, world.id(0)));
    let listed = page.topics.iter().chain(&rest.topics);
    let listed: Vec<_> = listed.map(|it| it.topic.as_str()).collect();
    assert_eq!(listed, names, "in order of their names");

    // Two of three copies are there, and nothing is to be repaired.
    world.heal();
    world.cut(0, 2);
    world.run(Duration::from_secs(20));
    world.kill(0);
    world.start(0);
    for _ in 0..20 {
        let before = world.asked;
        world.run(Duration::from_secs(1));
        // Eight topics a tick at one other replica, and what is said between nodes at rest.
        let asked = world.asked - before;
        assert!(asked < 150, "{asked} requests in a second");
    }
    let page = outbox(&mut world, 0);
    assert_eq!(page.len(), limits::OUTBOX_TOPICS_MAX, "nothing more is delivered");
    assert!(page.iter().all(|topic| (topic.copies, topic.wanted) == (2, 3)), "{page:?}");
    world.heal();
    world.run_until("the outbox is empty", SOON * 5, |world| outbox(world, 0).is_empty());
}

#[test]
fn nothing_is_pending_of_a_deleted_topic_and_nobody_waits_for_it() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    cut_off(&mut world, 0, 3);
    let place = publish(&mut world, 0, "t", 0, 3).place.unwrap();
    let topic: TopicName = "t".parse().unwrap();
    let wanted = Await { topic: topic.clone(), place, acks: Acks::Quorum, wait_ms: 30_000 };
    let waiting = world.ask(0, Request::Client(ClientRequest::Await(wanted)));
    world.run(Duration::from_millis(100));
    world.ask(0, Request::Client(ClientRequest::Delete(topic)));
    assert_eq!(outbox(&mut world, 0), [], "at once");
    let told = world.answered(waiting);
    assert!(matches!(told, Some(Response::Refused(Refusal::UnknownTopic { .. }))), "{told:?}");
    world.run(Duration::from_millis(10));
    world.kill(0);
    world.start(0);
    assert_eq!(outbox(&mut world, 0), []);
}
