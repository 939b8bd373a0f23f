//! Nodes that look in for a moment, nodes that stay, and nodes that say that they stop.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    limits::NEWCOMER_FOR,
    model::{Cursor, NodeId, Subscription, TopicName},
    wire::{ClientRequest, Need, NodeRequest, Peer, Refusal, Request, Response, Role, Verified},
};

use crate::script::World;

const TOPICS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// How long a visitor is there.
const VISIT: Duration = Duration::from_secs(3);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

fn commit(world: &mut World, node: usize, topic: &str, kept: Subscription) -> Response {
    let (topic, name) = (topic.parse().unwrap(), "alice".parse().unwrap());
    world.call(node, Request::Client(ClientRequest::Commit(topic, name, kept, None)))
}

fn start(topic: &str) -> Cursor {
    Cursor::start(World::topic(topic))
}

/// Three nodes that are settled, with ten topics and a subscription of each.
fn settled() -> World {
    let mut world = World::new(3);
    world.join();
    world.run(NEWCOMER_FOR);
    for (number, topic) in TOPICS.iter().enumerate() {
        world.create(number % 3, topic, 3);
        assert!(publish(&mut world, 0, topic, 0));
        let kept = Subscription::new(0, Some(start(topic)));
        assert!(matches!(commit(&mut world, 1, topic, kept), Response::Committed(..)));
    }
    world.run(Duration::from_secs(5));
    world
}

fn publish(world: &mut World, node: usize, topic: &str, first: u64) -> bool {
    let producer = u8::try_from(node + 1).unwrap();
    world.publish(node, World::publish_request(topic, producer, first, &lines(0, 5))).acknowledged
}

fn verify(world: &mut World, topic: &str) -> Verified {
    let name: TopicName = topic.parse().unwrap();
    let request =
        Request::Client(ClientRequest::Verify(name, Cursor::start(World::topic(topic)), false));
    let answer = world.call(0, request);
    let Response::Verified(verified) = answer else { panic!("{answer:?}") };
    verified
}

fn peers(world: &mut World, node: usize) -> Vec<Peer> {
    let answer = world.call(node, Request::Client(ClientRequest::Peers));
    let Response::Peers(peers) = answer else { panic!("{answer:?}") };
    peers
}

fn state_of(world: &mut World, node: usize, other: usize) -> &'static str {
    let id = world.id(other);
    let peers = peers(world, node);
    peers.iter().find(|peer| peer.node == id).map_or("unknown", Peer::state_as_str)
}

/// Nothing is missed of any topic: each has its three replicas, all of them answer, and what needs
/// many of them is done.
#[track_caller]
fn assert_whole(world: &mut World, generation: u64) {
    let first: BTreeSet<NodeId> = (0..3).map(|node| world.id(node)).collect();
    for topic in TOPICS {
        let surveyed = world.survey(0, topic);
        let homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
        assert_eq!(homes.map(|home| home.node).collect::<BTreeSet<_>>(), first, "{topic}");
        assert!(surveyed.complete && surveyed.replicas.iter().all(|replica| replica.complete));
        let verified = verify(world, topic);
        assert!(verified.replicas.len() == 3 && verified.replicas.iter().all(|it| it.answered));
        let reset = commit(world, 2, topic, Subscription::new(generation, Some(start(topic))));
        assert!(matches!(reset, Response::Committed(2.., _)), "{topic}: {reset:?}");
        let deleted = commit(world, 1, topic, Subscription::new(generation + 1, None));
        assert!(matches!(deleted, Response::Committed(2.., _)), "{topic}: {deleted:?}");
    }
}

#[test]
fn nodes_that_look_in_for_a_moment_leave_every_topic_whole() {
    let mut world = settled();
    let visitors = [world.add(), world.add()];
    world.run(VISIT);
    assert!(publish(&mut world, 0, "a", 5) && publish(&mut world, visitors[0], "b", 0));
    // What a visitor took itself it brings to where it belongs, if it has the time.
    world.run(VISIT);
    world.stop(visitors[0]);
    world.kill(visitors[1]);
    assert_whole(&mut world, 1);
    world.run(Duration::from_secs(3));
    assert_eq!(state_of(&mut world, 0, visitors[0]), "stopped");
    assert_eq!(state_of(&mut world, 0, visitors[1]), "dead");
    assert_whole(&mut world, 3);
    // They come back, and go in the other way.
    for visitor in visitors {
        world.start(visitor);
    }
    world.join();
    world.run(VISIT);
    world.kill(visitors[0]);
    world.stop(visitors[1]);
    assert_whole(&mut world, 5);
    world.run(Duration::from_secs(3));
    assert_eq!(state_of(&mut world, 0, visitors[0]), "dead");
    assert_eq!(state_of(&mut world, 0, visitors[1]), "stopped");
    // Those who stay know it after a start, too.
    for node in 0..3 {
        world.stop(node);
        world.start(node);
        world.join();
    }
    world.run(Duration::from_secs(3));
    assert_whole(&mut world, 7);
}

#[test]
fn a_visitor_is_not_missed_where_a_topic_wants_more_nodes_than_there_are() {
    let mut world = World::new(3);
    world.join();
    world.run(NEWCOMER_FOR);
    world.create(0, "a", 5);
    assert!(publish(&mut world, 0, "a", 0));
    let visitor = world.add();
    world.run(VISIT);
    world.stop(visitor);
    world.run(Duration::from_secs(3));
    let verified = verify(&mut world, "a");
    assert_eq!(verified.replicas.len(), 3, "{verified:?}");
    assert!(verified.replicas.iter().all(|it| it.answered && it.lacking == 0), "{verified:?}");
    assert!(publish(&mut world, 0, "a", 5));
    let reset = commit(&mut world, 2, "a", Subscription::new(1, Some(start("a"))));
    assert!(matches!(reset, Response::Committed(2.., _)), "{reset:?}");
}

#[test]
fn whoever_stays_takes_its_share() {
    let mut world = settled();
    let joined = world.add();
    let id = world.id(joined);
    world.run(NEWCOMER_FOR + Duration::from_secs(20));
    let surveys: Vec<_> = TOPICS.iter().map(|topic| world.survey(0, topic)).collect();
    let is_there = |replica: &&antiphon::wire::ReplicaState| replica.node == id;
    let shares = surveys.iter().filter_map(|it| it.replicas.iter().find(is_there));
    let shares: Vec<_> = shares.collect();
    assert!(!shares.is_empty() && shares.iter().all(|replica| replica.complete), "{shares:?}");
    // Started again it is known to be no newcomer, by others and by itself.
    world.stop(joined);
    world.start(joined);
    world.join();
    assert_eq!(peers(&mut world, joined)[0].newcomer_ms, None);
    assert!(surveys.iter().any(|it| it.replicas.iter().any(|replica| replica.node == id)));
}

#[test]
fn a_replica_that_says_that_it_stops_counts_like_any_that_is_away() {
    let mut world = settled();
    world.stop(1);
    world.kill(2);
    world.run(Duration::from_secs(3));
    assert_eq!(state_of(&mut world, 0, 1), "stopped");
    assert_eq!(state_of(&mut world, 0, 2), "dead");
    let surveyed = world.survey(0, "a");
    assert!(!surveyed.complete, "two of its homes may know more");
    let answer = commit(&mut world, 0, "a", Subscription::new(1, Some(start("a"))));
    let Response::Refused(Refusal::Away(away)) = answer else { panic!("{answer:?}") };
    assert_eq!((away.need, away.needed, away.replicas), (Need::Reset, 2, 3));
    let others: BTreeSet<_> = [world.id(1), world.id(2)].into();
    assert_eq!(away.nodes.into_iter().collect::<BTreeSet<_>>(), others);
    world.start(1);
    world.join();
    assert_eq!(state_of(&mut world, 0, 1), "alive");
    assert!(world.survey(0, "a").complete);
}

#[test]
fn nobody_says_of_another_that_it_stops() {
    let mut world = settled();
    assert_eq!(
        world.call(0, Request::Node(NodeRequest::Stopping)),
        Response::Refused(Refusal::Unsupported(None))
    );
    // One that goes on all the same is there.
    let second = world.id(1);
    assert_eq!(world.call_from(second, 0, Request::Node(NodeRequest::Stopping)), Response::Noted);
    assert_eq!(state_of(&mut world, 0, 1), "alive");
    assert_eq!(state_of(&mut world, 2, 1), "alive");
    assert!(world.survey(0, "a").replicas.iter().all(|replica| replica.complete));
}
