//! Nodes die, come back, and are cut off.

use std::time::Duration;

use antiphon::{
    model::Subscription,
    wire::{ClientRequest, MemberState, Request, Response},
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(10);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

#[test]
fn publishing_goes_on_when_the_owner_is_killed() {
    let mut world = World::new(8);
    world.join();
    let owners = world.create(0, "t", 3);
    let writer = (0..8).find(|node| !owners.contains(node)).unwrap();
    let mut longest = Duration::ZERO;
    for number in 0..200 {
        if number == 100 {
            world.kill(owners[0]);
        }
        let before = world.now;
        let payload = [format!("line {number}")];
        let published = world.publish(writer, World::publish_request("t", 1, number, &payload));
        assert!(published.acknowledged);
        longest = longest.max(world.now.saturating_sub(before));
    }
    assert!(longest < Duration::from_millis(50), "{longest:?}");
    for node in (0..8).filter(|node| *node != owners[0]) {
        assert_eq!(world.fetch(node, "t"), lines(0, 200), "at node {node}");
    }
    world.start(owners[0]);
    let id = world.id(owners[0]);
    world.run_until("the owner is alive and complete", SOON, |world| {
        let surveyed = world.survey(writer, "t");
        surveyed.replicas.iter().any(|replica| {
            replica.node == id && replica.state == MemberState::Alive && replica.complete
        })
    });
    assert_eq!(world.fetch(owners[0], "t"), lines(0, 200));
}

#[test]
fn stand_ins_hand_over_and_drop_what_they_held() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 3);
    world.kill(owners[1]);
    world.run(Duration::from_secs(3));
    let published = world.publish(owners[0], World::publish_request("t", 1, 0, &lines(0, 10)));
    assert!(published.acknowledged);
    world.run(Duration::from_secs(1));
    let surveyed = world.survey(owners[0], "t");
    let stand_in = surveyed.replicas.iter().find(|r| r.role == antiphon::wire::Role::StandIn);
    let stand_in = world.index(&stand_in.expect("somebody stands in").node);
    assert!(holds(&world, stand_in), "the stand-in has a copy");
    world.start(owners[1]);
    world.run_until("the stand-in has dropped its copy", SOON * 2, |world| !holds(world, stand_in));
    for owner in owners {
        assert!(holds(&world, owner));
    }
}

fn holds(world: &World, node: usize) -> bool {
    let topic = World::topic("t");
    world.disk(node).batches.keys().any(|(other, _, _)| *other == topic)
}

#[test]
fn what_was_acknowledged_survives_the_crash_of_all() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    let published = world.publish(3, World::publish_request("t", 1, 0, &lines(0, 50)));
    assert!(published.acknowledged);
    (0..4).for_each(|node| world.kill(node));
    (0..4).for_each(|node| world.start(node));
    world.join();
    assert_eq!(world.fetch(1, "t"), lines(0, 50));
    // A new life is a new log; the order of one writer holds over it.
    world.publish(3, World::publish_request("t", 2, 0, &lines(50, 60)));
    assert_eq!(world.fetch(2, "t"), lines(0, 60));
}

#[test]
fn without_enough_copies_the_answer_is_pending_and_the_record_is_delivered_later() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    world.kill(1);
    world.kill(2);
    let published = world.publish(0, World::publish_request("t", 1, 0, &lines(0, 5)));
    assert!(!published.acknowledged);
    assert_eq!((published.copies, published.wanted), (1, 2));
    world.start(1);
    world.start(2);
    world.run_until("all three have it", SOON, |world| {
        world.survey(1, "t").replicas.iter().all(|replica| replica.complete)
    });
    assert_eq!(world.fetch(2, "t"), lines(0, 5));
}

#[test]
fn both_sides_of_a_partition_go_on_and_are_one_again() {
    let mut world = World::new(6);
    world.join();
    world.create(0, "t", 3);
    for one in 0..3 {
        for other in 3..6 {
            world.cut(one, other);
        }
    }
    world.run(Duration::from_secs(6));
    assert!(world.publish(0, World::publish_request("t", 1, 0, &lines(0, 5))).acknowledged);
    assert!(world.publish(5, World::publish_request("t", 2, 0, &lines(5, 10))).acknowledged);
    world.heal();
    world.join();
    for node in 0..6 {
        world.run_until("both sides are read", SOON, |world| {
            let mut all = world.fetch(node, "t");
            all.sort_unstable();
            all == lines(0, 10)
        });
    }
}

#[test]
fn a_wiped_replica_gets_everything_back() {
    let mut world = World::new(3);
    world.join();
    let owners = world.create(0, "t", 3);
    world.publish(0, World::publish_request("t", 1, 0, &lines(0, 500)));
    world.kill(owners[2]);
    world.wipe(owners[2]);
    world.start(owners[2]);
    let contact = Request::Client(ClientRequest::Peers);
    world.call(owners[2], contact);
    world.join();
    world.run_until("it is complete", SOON, |world| {
        world.survey(owners[0], "t").replicas.iter().all(|replica| replica.complete)
    });
    let Response::Peers(peers) = world.call(owners[2], Request::Client(ClientRequest::Peers))
    else {
        panic!("no peers")
    };
    assert_eq!(peers.len(), 3);
}

#[test]
fn a_cluster_at_rest_falls_quiet() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    world.publish(3, World::publish_request("t", 1, 0, &lines(0, 50)));
    world.run(Duration::from_secs(20));
    let before = world.asked;
    world.run(Duration::from_secs(10));
    // Each pair compares once in two to three seconds each way, and asks whom the other knows.
    let pairs = 12;
    assert!(world.asked - before <= pairs * 5 + 4, "{}", world.asked - before);
}

#[test]
fn what_stand_ins_hold_is_read_though_all_homes_are_back() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    let writer = (0..6).find(|node| !owners.contains(node)).unwrap();
    for owner in &owners {
        world.kill(*owner);
    }
    world.run(Duration::from_secs(3));
    let published = world.publish(writer, World::publish_request("t", 1, 0, &lines(0, 5)));
    assert!(published.acknowledged);
    assert_eq!(published.copies, published.stand_ins, "only stand-ins have it");
    for owner in &owners {
        world.start(*owner);
    }
    world.run_until("the homes are alive", SOON, |world| {
        let replicas = world.survey(writer, "t").replicas;
        replicas.len() == 2 && replicas.iter().all(|r| r.state == MemberState::Alive)
    });
    // Before anything was handed over.
    assert_eq!(world.fetch(owners[0], "t"), lines(0, 5));
}

#[test]
fn a_position_kept_by_stand_ins_is_handed_over() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    let writer = (0..6).find(|node| !owners.contains(node)).unwrap();
    world.publish(writer, World::publish_request("t", 1, 0, &lines(0, 5)));
    world.run(SOON);
    for owner in &owners {
        world.kill(*owner);
    }
    world.run(Duration::from_secs(3));
    world.publish(writer, World::publish_request("t", 1, 5, &lines(5, 8)));
    let cursor = world.survey(writer, "t").end;
    let kept = Subscription::new(0, Some(cursor));
    let commit = Request::Client(ClientRequest::Commit(
        "t".parse().unwrap(),
        "alice".parse().unwrap(),
        kept.clone(),
        None,
    ));
    assert!(matches!(world.call(writer, commit), Response::Committed(..)));
    for owner in &owners {
        world.start(*owner);
    }
    world.run(SOON * 2);
    for node in (0..6).filter(|node| !owners.contains(node)) {
        world.kill(node);
    }
    world.run(Duration::from_secs(3));
    let asked =
        Request::Client(ClientRequest::Position("t".parse().unwrap(), "alice".parse().unwrap()));
    assert_eq!(world.call(owners[1], asked), Response::Position(Some(kept)));
    assert_eq!(world.fetch(owners[1], "t"), lines(0, 8));
}
