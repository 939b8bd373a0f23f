//! Lives of a data directory: what is continued after a stop, and what is not.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{engine::Report, limits::WRITER_LOGS_MAX, model::Incarnation};

use crate::script::World;

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

fn publish(world: &mut World, node: usize, from: usize, to: usize) {
    let request = World::publish_request("t", 1, from as u64, &lines(from, to));
    assert!(world.publish(node, request).acknowledged);
}

/// The logs of a topic that a node holds, by its writer's lives.
fn logs(world: &World, holder: usize, writer: usize) -> BTreeSet<Incarnation> {
    let (topic, writer) = (World::topic("t"), world.id(writer));
    let logs = world.disk(holder).batches.keys();
    let logs = logs.filter(|(of, log, _)| (*of, log.writer) == (topic, writer));
    logs.map(|(_, log, _)| log.incarnation).collect()
}

#[test]
fn a_log_goes_on_after_a_clean_stop() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 1, 0, 5);
    let life = world.stop(1);
    world.start_after(1, [life].into());
    world.join();
    publish(&mut world, 1, 5, 8);
    assert_eq!(logs(&world, 0, 1), [life].into());
    assert_eq!(world.fetch(2, "t"), lines(0, 8));
    // And again, over two lives.
    let second = world.stop(1);
    world.start_after(1, [life, second].into());
    world.join();
    publish(&mut world, 1, 8, 9);
    assert_eq!(logs(&world, 0, 1), [life].into());
}

#[test]
fn a_new_log_begins_after_a_crash() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 1, 0, 5);
    world.kill(1);
    world.start(1);
    world.join();
    publish(&mut world, 1, 5, 8);
    assert_eq!(logs(&world, 0, 1).len(), 2);
    assert_eq!(world.fetch(2, "t"), lines(0, 8));
}

/// What a snapshot of a whole machine does, which no mark on the disk can tell.
#[test]
fn no_number_is_used_twice_after_a_snapshot_came_back() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 1, 0, 5);
    let life = world.stop(1);
    let old = world.disk(1).clone();
    world.start_after(1, [life].into());
    world.join();
    publish(&mut world, 1, 5, 8);
    world.stop(1);
    world.replace_disk(1, old);
    world.start_after(1, [life].into());
    world.join();
    publish(&mut world, 1, 8, 10);
    world.run(Duration::from_secs(10));
    for node in 0..3 {
        assert_eq!(world.fetch(node, "t"), lines(0, 10));
    }
    let forks = world.reports.iter().filter(|(_, report)| matches!(report, Report::Fork(..)));
    assert_eq!(forks.count(), 0);
}

#[test]
fn a_new_log_begins_where_somebody_cannot_be_asked() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 1, 0, 5);
    let life = world.stop(1);
    world.kill(3);
    world.start_after(1, [life].into());
    world.run(Duration::from_secs(3));
    publish(&mut world, 1, 5, 8);
    assert_eq!(logs(&world, 1, 1).len(), 2);
    assert_eq!(world.fetch(2, "t"), lines(0, 8));
}

#[test]
fn a_node_that_crashes_often_goes_on_publishing() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let crashes = WRITER_LOGS_MAX + 6;
    for crash in 0..crashes {
        publish(&mut world, 1, crash, crash + 1);
        world.kill(1);
        world.start(1);
        world.join();
    }
    publish(&mut world, 1, crashes, crashes + 1);
    assert_eq!(logs(&world, 0, 1).len(), WRITER_LOGS_MAX);
    for node in 0..3 {
        assert_eq!(world.fetch(node, "t").len(), crashes + 1);
    }
    let forks = world.reports.iter().filter(|(_, report)| matches!(report, Report::Fork(..)));
    assert_eq!(forks.count(), 0);
}
