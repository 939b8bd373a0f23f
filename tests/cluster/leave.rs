//! Nodes that leave, and what the disks of a topic hold.

use std::time::Duration;

use antiphon::{
    model::{Cursor, Subscription},
    wire::{ClientRequest, MemberState, NodeRequest, Refusal, Request, Response, Verified},
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(30);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

fn holds(world: &World, node: usize) -> bool {
    let topic = World::topic("t");
    world.disk(node).batches.keys().any(|(other, _, _)| *other == topic)
}

#[test]
fn a_node_that_leaves_hands_over_all_that_it_holds() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    for number in 0..20 {
        let request = World::publish_request("t", 1, number, &[format!("line {number}")]);
        assert!(world.publish(owners[0], request).acknowledged);
    }
    let leave = Request::Client(ClientRequest::Leave(world.id(owners[0])));
    let Response::Leaving(left) = world.call(owners[0], leave) else { panic!("leaving") };
    assert!(left.topics > 0 && left.records >= 20, "{left:?}");
    let refused = world.call(
        owners[0],
        Request::Client(ClientRequest::Publish(World::publish_request("t", 2, 0, &lines(0, 1)))),
    );
    assert!(matches!(refused, Response::Refused(Refusal::Stopping(_))), "{refused:?}");
    world.run_until("it has left", SOON, |world| world.has_left(owners[0]));
    assert!(!holds(&world, owners[0]));
    world.kill(owners[0]);
    world.run(Duration::from_millis(100));
    let other = owners[1];
    let surveyed = world.survey(other, "t");
    assert!(surveyed.replicas.iter().all(|replica| replica.complete), "{surveyed:?}");
    assert_eq!(surveyed.replicas.len(), 3, "three others hold it");
    let Response::Peers(peers) = world.call(other, Request::Client(ClientRequest::Peers)) else {
        panic!("peers")
    };
    let gone = world.id(owners[0]);
    assert!(peers.iter().all(|peer| peer.node != gone), "nobody waits for it");
    assert_eq!(world.fetch(other, "t"), lines(0, 20));
    // It is a member like any other when it is started again.
    world.start(owners[0]);
    world.run_until("it is back", SOON, |world| {
        let Response::Peers(peers) = world.call(other, Request::Client(ClientRequest::Peers))
        else {
            panic!("peers")
        };
        peers.iter().any(|peer| peer.node == gone && peer.state == MemberState::Alive)
    });
    world.run_until("it holds its part again", SOON, |world| holds(world, owners[0]));
}

#[test]
fn a_lone_node_does_not_leave() {
    let mut world = World::new(1);
    world.run(Duration::from_secs(1));
    let refused = world.call(0, Request::Client(ClientRequest::Leave(world.id(0))));
    assert_eq!(refused, Response::Refused(Refusal::Alone));
}

#[test]
fn leaving_waits_for_a_home_that_is_away() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 2);
    assert!(world.publish(0, World::publish_request("t", 1, 0, &lines(0, 5))).acknowledged);
    world.kill(2);
    world.run(Duration::from_secs(2));
    let leave = Request::Client(ClientRequest::Leave(world.id(1)));
    let refused = world.call(0, leave.clone());
    assert!(
        matches!(refused, Response::Refused(Refusal::Invalid(_))),
        "not that node: {refused:?}"
    );
    world.call(1, leave);
    world.run(Duration::from_secs(30));
    assert!(!world.has_left(1), "node 2 may be the one that is to hold it");
    world.start(2);
    world.run_until("it has left", SOON, |world| world.has_left(1));
    assert_eq!(world.fetch(0, "t"), lines(0, 5));
}

/// Compares all of a topic.
fn verify(world: &mut World, node: usize) -> Vec<Verified> {
    let mut after = Cursor::start(World::topic("t"));
    let mut parts = Vec::new();
    loop {
        let request =
            Request::Client(ClientRequest::Verify("t".parse().unwrap(), after.clone(), false));
        let Response::Verified(part) = world.call(node, request) else { panic!("verified") };
        after = part.next.clone();
        let finished = part.finished;
        parts.push(part);
        if finished {
            return parts;
        }
    }
}

#[test]
fn disks_are_compared() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    for writer in 0..4 {
        for number in 0..10 {
            let producer = u8::try_from(writer + 1).unwrap();
            let request = World::publish_request("t", producer, number, &lines(0, 3));
            assert!(world.publish(writer, request).acknowledged);
        }
    }
    world.run(Duration::from_secs(15));
    let other = (0..4).find(|node| !owners.contains(node)).unwrap();
    let parts = verify(&mut world, other);
    let total: u64 = parts.iter().map(|part| part.records).sum();
    assert_eq!(total, 120);
    for part in &parts {
        assert_eq!((part.lost, part.replicas.len()), (0, 3));
        for replica in &part.replicas {
            assert!(replica.answered && replica.records == part.records, "{replica:?}");
            assert_eq!((replica.lacking, replica.damaged, replica.differing), (0, 0, 0));
        }
    }
    // A disk that claims what it does not have is found out.
    world.remove_stored(owners[1], 7);
    let parts = verify(&mut world, owners[0]);
    let id = world.id(owners[1]);
    let lacking = |part: &Verified| {
        part.replicas.iter().filter(|replica| replica.node == id).map(|it| it.lacking).sum::<u64>()
    };
    assert_eq!(parts.iter().map(lacking).sum::<u64>(), 3);
}

#[test]
fn only_a_node_that_takes_itself_for_a_home_says_that_it_keeps_what_it_holds() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 3);
    let other = (0..4).find(|node| !owners.contains(node)).unwrap();
    let asker = world.id(owners[0]);
    let keeps = |world: &mut World, node| {
        let request = Request::Node(NodeRequest::Frontier(World::topic("t"), None, None));
        match world.call_from(asker, node, request) {
            Response::Held(held) => held.keeps,
            answer => panic!("{answer:?}"),
        }
    };
    assert!(keeps(&mut world, owners[1]) && !keeps(&mut world, other));
    // One that leaves is to hand its copies over, and is no proof for others who do.
    world.call(owners[1], Request::Client(ClientRequest::Leave(world.id(owners[1]))));
    assert!(!keeps(&mut world, owners[1]) && keeps(&mut world, owners[2]));
}

#[test]
fn who_has_just_said_that_it_keeps_all_gives_nothing_up_yet() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    assert!(world.publish(owners[0], World::publish_request("t", 1, 0, &lines(0, 5))).acknowledged);
    let cursor = Some(world.survey(owners[0], "t").end);
    let kept = Subscription { generation: 0, cursor, group: None };
    let commit = Request::Client(ClientRequest::Commit(
        "t".parse().unwrap(),
        "s".parse().unwrap(),
        kept,
        None,
    ));
    let committed = world.call(owners[0], commit);
    assert!(matches!(committed, Response::Committed(..)), "{committed:?}");
    world.run(SOON);
    // Another node may rely on this, and give its own copy up.
    let request = Request::Node(NodeRequest::Frontier(World::topic("t"), None, None));
    let asker = world.id(owners[1]);
    let Response::Held(held) = world.call_from(asker, owners[0], request) else { panic!("held") };
    assert!(held.keeps);
    world.call(owners[0], Request::Client(ClientRequest::Leave(world.id(owners[0]))));
    world.run(Duration::from_secs(3));
    let keeps_position = |world: &World| !world.disk(owners[0]).tables.subscriptions.is_empty();
    assert!(holds(&world, owners[0]) && keeps_position(&world));
    world.run_until("it has left", SOON, |world| world.has_left(owners[0]));
    assert!(!keeps_position(&world));
}
