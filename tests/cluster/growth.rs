//! Nodes join, and nodes leave for good.

use std::time::Duration;

use crate::script::World;

const SOON: Duration = Duration::from_secs(10);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

#[test]
fn a_topic_of_a_lone_node_fills_up_and_survives_it() {
    let mut world = World::new(1);
    assert_eq!(world.create(0, "t", 3), [0]);
    let published = world.publish(0, World::publish_request("t", 1, 0, &lines(0, 300)));
    assert!(published.acknowledged);
    assert_eq!((published.copies, published.replicas), (1, 3));
    world.kill(0);
    world.start(0);
    assert_eq!(world.fetch(0, "t"), lines(0, 300));
    world.add();
    world.add();
    world.run_until("three complete replicas", SOON, |world| {
        let replicas = world.survey(0, "t").replicas;
        replicas.len() == 3 && replicas.iter().all(|replica| replica.complete)
    });
    world.kill(0);
    assert_eq!(world.fetch(1, "t"), lines(0, 300));
    assert_eq!(world.fetch(2, "t"), lines(0, 300));
}

#[test]
fn nearer_nodes_take_a_topic_over() {
    let mut world = World::new(1);
    world.create(0, "t", 2);
    world.publish(0, World::publish_request("t", 1, 0, &lines(0, 20)));
    for _ in 0..7 {
        world.add();
    }
    world.run_until("the two nearest hold it, and only they", SOON * 3, |world| {
        let topic = World::topic("t");
        let holders: Vec<_> = (0..8)
            .filter(|node| world.disk(*node).batches.keys().any(|(id, _, _)| *id == topic))
            .collect();
        let replicas = world.survey(0, "t").replicas;
        let owners: Vec<_> = replicas.iter().map(|replica| world.index(&replica.node)).collect();
        replicas.iter().all(|replica| replica.complete)
            && holders.len() == 2
            && owners.iter().all(|owner| holders.contains(owner))
    });
    assert_eq!(world.fetch(5, "t"), lines(0, 20));
}

#[test]
fn a_node_that_is_gone_for_good_is_replaced() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    world.publish(owners[0], World::publish_request("t", 1, 0, &lines(0, 30)));
    world.kill(owners[2]);
    let gone = world.id(owners[2]);
    world.run(antiphon::limits::GONE_AFTER_DEFAULT);
    world.run_until("another home has all of it", SOON, |world| {
        let replicas = world.survey(owners[0], "t").replicas;
        replicas.len() == 3
            && replicas.iter().all(|replica| replica.complete && replica.node != gone)
    });
}

#[test]
fn a_writer_far_from_home_keeps_nothing_once_the_homes_have_it() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    let writer = (0..6).find(|node| !owners.contains(node)).unwrap();
    for round in 0..5 {
        let payload = [format!("line {round}")];
        world.publish(writer, World::publish_request("t", 1, round, &payload));
    }
    let topic = World::topic("t");
    world.run_until("the writer's own copies are gone", SOON, |world| {
        !world.disk(writer).batches.keys().any(|(id, _, _)| *id == topic)
    });
    world.publish(writer, World::publish_request("t", 1, 5, &["line 5".to_owned()]));
    world.kill(writer);
    world.start(writer);
    world.join();
    world.publish(writer, World::publish_request("t", 2, 0, &["line 6".to_owned()]));
    assert_eq!(world.fetch(writer, "t"), lines(0, 7));
}
