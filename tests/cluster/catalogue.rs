//! Every node knows the terms of all topics, also a node that was away when they were signed.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    limits::DESCRIPTORS_PER_MESSAGE_MAX,
    model::{Descriptor, NodeKey, RetentionChange, SignedDescriptor, Stamp, TopicId, WallClock},
    wire::{Alter, ClientRequest, Create, NodeRequest, Replicate, Request, Response},
};

use crate::script::World;

const SOON: Duration = Duration::from_secs(20);

fn create(world: &mut World, node: usize, name: &str) -> Response {
    world.call(node, Request::Client(ClientRequest::Create(Create::new(name.parse().unwrap()))))
}

fn alter(name: &str, replicas: u16) -> Request {
    Request::Client(ClientRequest::Alter(Alter {
        name: name.parse().unwrap(),
        replicas: Some(replicas),
        min_copies: None,
        retention: RetentionChange::default(),
        floor_follows: false,
    }))
}

/// The terms that a node's disk has, by topic.
fn known(world: &World, node: usize) -> Vec<(TopicId, Descriptor)> {
    let descriptors = world.disk(node).tables.descriptors.iter();
    descriptors.map(|(topic, signed)| (*topic, signed.descriptor().clone())).collect()
}

fn know_the_same(world: &World, nodes: usize) -> bool {
    (1..nodes).all(|node| known(world, node) == known(world, 0))
}

fn signed(name: &str, revision: u64) -> SignedDescriptor {
    let key = NodeKey::from_secret(&[99; 32]);
    let mut terms = Descriptor::new(name.parse().unwrap(), key.node(), Stamp::at(WallClock(1_000)));
    terms.revision = revision;
    terms.sign(&key).unwrap()
}

#[test]
fn a_change_is_answered_when_a_majority_keeps_it() {
    let mut world = World::new(5);
    world.join();
    let created = create(&mut world, 0, "t");
    assert!(matches!(created, Response::Created(_, false)), "{created:?}");
    let topic = World::topic("t");
    let keep = (0..5).filter(|node| known(&world, *node).iter().any(|(id, _)| *id == topic));
    assert!(keep.count() >= 3, "it was answered too early");
    world.run_until("all know it", SOON, |world| know_the_same(world, 5));
}

#[test]
fn who_was_away_learns_what_was_created_altered_and_deleted() {
    let mut world = World::new(3);
    world.join();
    for name in ["stays", "is-altered", "is-deleted"] {
        create(&mut world, 0, name);
    }
    world.run_until("all know them", SOON, |world| know_the_same(world, 3));
    world.kill(2);
    world.run(Duration::from_secs(1));
    create(&mut world, 1, "is-new");
    assert!(matches!(world.call(0, alter("is-altered", 2)), Response::Altered(_)));
    let delete = ClientRequest::Delete("is-deleted".parse().unwrap());
    assert_eq!(world.call(1, Request::Client(delete)), Response::Deleted);
    world.start(2);
    world.join();
    world.run_until("it has caught up", SOON, |world| know_the_same(world, 3));
    assert_eq!(known(&world, 2).len(), 4);
}

/// Found by the simulation: the node kept them, and nobody else ever learned them.
#[test]
fn terms_that_a_crash_cut_off_from_all_others_are_told_later() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, 0, "t");
    world.run_until("all know it", SOON, |world| know_the_same(world, 3));
    world.cut(0, 1);
    world.cut(0, 2);
    world.ask(0, alter("t", 1));
    let altered = |world: &World| known(world, 0).iter().all(|(_, terms)| terms.replicas == 1);
    world.run_until("it is on the disk", SOON, |world| altered(world));
    world.kill(0);
    world.heal();
    world.start(0);
    world.join();
    world.run_until("the others know it", SOON, |world| know_the_same(world, 3));
    assert!(altered(&world), "the terms of before did not come back");
}

#[test]
fn a_part_that_one_message_does_not_hold_is_learned_page_by_page() {
    let mut world = World::new(2);
    let wanted = DESCRIPTORS_PER_MESSAGE_MAX + 44;
    let names = (0..).map(|number| format!("n{number}"));
    let is_in_part = |name: &String| blake3::hash(name.as_bytes()).as_bytes()[0] == 7;
    let names: Vec<_> = names.filter(is_in_part).take(wanted).collect();
    for names in names.chunks(DESCRIPTORS_PER_MESSAGE_MAX) {
        let descriptors = names.iter().map(|name| signed(name, 0)).collect();
        let replicate = Replicate { descriptors, ..Replicate::default() };
        world.call(0, Request::Node(NodeRequest::Replicate(replicate)));
    }
    assert_eq!(known(&world, 0).len(), wanted);
    world.join();
    world.run_until("all are learned", SOON, |world| know_the_same(world, 2));
}

#[test]
fn the_order_in_which_terms_arrive_changes_nothing() {
    let mut world = World::new(3);
    // Two of one rank, and a later revision of another topic.
    let all = [signed("a", 0), signed("a", 3), signed("b", 1), signed("b", 2)];
    for (node, order) in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]].iter().enumerate() {
        for at in order {
            // An announcement counts of connected nodes only, and these would exchange them.
            let descriptors = vec![all[*at].clone()];
            let replicate = Replicate { descriptors, ..Replicate::default() };
            let response = world.call(node, Request::Node(NodeRequest::Replicate(replicate)));
            assert_eq!(response, Response::Replicated(Vec::new()));
        }
    }
    assert!(know_the_same(&world, 3));
    let revisions: BTreeSet<_> = known(&world, 0).iter().map(|(_, it)| it.revision).collect();
    assert_eq!(revisions, [2, 3].into());
}

#[test]
fn a_full_disk_learns_changes_and_no_new_topics() {
    let mut world = World::new(2);
    world.join();
    create(&mut world, 0, "old");
    world.run_until("both know it", SOON, |world| know_the_same(world, 2));
    world.room(1, false);
    create(&mut world, 0, "new");
    let delete = ClientRequest::Delete("old".parse().unwrap());
    assert_eq!(world.call(0, Request::Client(delete)), Response::Deleted);
    world.run_until("it is deleted there", SOON, |world| {
        known(world, 1).iter().all(|(_, terms)| terms.deleted)
    });
    assert_eq!(known(&world, 1).len(), 1);
    world.room(1, true);
    world.run_until("it learns the new one", SOON, |world| know_the_same(world, 2));
}
