//! Named subscriptions: listed, set to another place, deleted.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    model::{Cursor, NodeId, SessionId, SubscriberName, Subscription},
    wire::{ClientRequest, Need, Refusal, Request, Response},
};

use crate::script::World;

fn name(number: usize) -> SubscriberName {
    format!("reader {number:04}").parse().unwrap()
}

fn commit(world: &mut World, node: usize, number: usize, kept: &Subscription) -> Response {
    let topic = "t".parse().unwrap();
    world
        .call(node, Request::Client(ClientRequest::Commit(topic, name(number), kept.clone(), None)))
}

fn position(world: &mut World, node: usize, number: usize) -> Option<Subscription> {
    let answer = world
        .call(node, Request::Client(ClientRequest::Position("t".parse().unwrap(), name(number))));
    let Response::Position(position) = answer else { panic!("{answer:?}") };
    position
}

/// All subscriptions, page by page, and how many pages there were.
fn list(world: &mut World, node: usize) -> (Vec<(SubscriberName, Subscription)>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let after = all.last().map(|(name, _): &(SubscriberName, _)| name.clone());
        let answer = world
            .call(node, Request::Client(ClientRequest::Subscriptions("t".parse().unwrap(), after)));
        let Response::Subscriptions(page, more) = answer else { panic!("{answer:?}") };
        all.extend(page);
        pages += 1;
        if !more {
            return (all, pages);
        }
    }
}

/// What is refused for replicas are away: what needs how many of how many, and who is away.
fn away(answer: Response) -> (Need, u16, u16, BTreeSet<NodeId>) {
    let Response::Refused(Refusal::Away(away)) = answer else { panic!("{answer:?}") };
    (away.need, away.needed, away.replicas, away.nodes.into_iter().collect())
}

fn with_topic(nodes: usize) -> (World, Cursor) {
    let mut world = World::new(nodes);
    world.join();
    world.create(0, "t", 3);
    let lines: Vec<_> = (0..5).map(|number| format!("line {number}")).collect();
    assert!(world.publish(0, World::publish_request("t", 1, 0, &lines)).acknowledged);
    let end = world.survey(0, "t").end;
    (world, end)
}

#[test]
fn what_a_replica_that_was_away_kept_comes_back_neither_after_a_reset_nor_a_deletion() {
    let (mut world, end) = with_topic(3);
    let start = Cursor::start(end.topic);
    for number in [1, 2] {
        let kept = Subscription::new(0, Some(end.clone()));
        assert!(matches!(commit(&mut world, 0, number, &kept), Response::Committed(..)));
    }
    world.run(Duration::from_secs(5));
    world.kill(2);
    world.run(Duration::from_secs(5));
    let reset = Subscription::new(1, Some(start));
    let deleted = Subscription::new(1, None);
    for (number, kept) in [(1, &reset), (2, &deleted)] {
        assert!(matches!(commit(&mut world, 0, number, kept), Response::Committed(..)));
    }
    world.start(2);
    world.run(Duration::from_secs(30));
    for node in [0, 1] {
        world.kill(node);
    }
    world.run(Duration::from_secs(5));
    assert_eq!(position(&mut world, 2, 1), Some(reset.clone()));
    assert_eq!(list(&mut world, 2).0, [(name(1), reset), (name(2), deleted)]);
}

#[test]
fn a_commit_of_a_generation_that_is_over_is_refused() {
    let (mut world, end) = with_topic(3);
    let newer = Subscription::new(1, Some(Cursor::start(end.topic)));
    commit(&mut world, 0, 1, &newer);
    let older = Subscription::new(0, Some(end));
    for node in 0..3 {
        let answer = commit(&mut world, node, 1, &older);
        assert_eq!(answer, Response::Refused(Refusal::Superseded), "at node {node}");
    }
    assert_eq!(position(&mut world, 1, 1), Some(newer));
}

#[test]
fn a_generation_is_opened_only_where_enough_replicas_say_that_it_is_new() {
    let (mut world, end) = with_topic(3);
    let at = |generation, cursor: Option<&Cursor>| Subscription::new(generation, cursor.cloned());
    for number in [1, 2] {
        commit(&mut world, 0, number, &at(0, Some(&end)));
    }
    commit(&mut world, 0, 2, &at(1, None));
    world.run(Duration::from_secs(5));
    world.kill(2);
    world.run(Duration::from_secs(5));
    // The one is reset, the other begins anew.
    let start = Cursor::start(end.topic);
    assert!(matches!(commit(&mut world, 0, 1, &at(1, Some(&start))), Response::Committed(..)));
    assert!(matches!(commit(&mut world, 0, 2, &at(2, Some(&start))), Response::Committed(..)));
    for node in [0, 1] {
        world.kill(node);
    }
    world.start(2);
    world.run(Duration::from_secs(5));
    // It knows of neither, and takes nobody's word for what comes next.
    let others = BTreeSet::from([world.id(0), world.id(1)]);
    let refused = |need| (need, 2, 3, others.clone());
    let answer = commit(&mut world, 2, 1, &at(1, Some(&end)));
    assert_eq!(away(answer), refused(Need::Reset));
    assert_eq!(away(commit(&mut world, 2, 1, &at(1, None))), refused(Need::Deletion));
    let asked = Request::Client(ClientRequest::Position("t".parse().unwrap(), name(2)));
    assert_eq!(away(world.call(2, asked)), refused(Need::Subscription));
    // A position of the generation that it knows may move on.
    assert!(matches!(commit(&mut world, 2, 1, &at(0, Some(&end))), Response::Committed(1, None)));
    for node in [0, 1] {
        world.start(node);
    }
    world.run(Duration::from_secs(30));
    for node in 0..3 {
        assert_eq!(position(&mut world, node, 1), Some(at(1, Some(&start))));
        assert_eq!(position(&mut world, node, 2), Some(at(2, Some(&start))));
    }
}

#[test]
fn many_subscriptions_are_listed_page_by_page_from_all_replicas() {
    let (mut world, end) = with_topic(4);
    // So long that a page does not hold them all.
    let mut cursor = end;
    for (node, producer) in [(1, 1), (2, 2), (3, 3)] {
        let line = ["x".to_owned()];
        world.publish(node, World::publish_request("t", producer, 100, &line));
        cursor = world.survey(0, "t").end;
    }
    let long = Subscription::new(7, Some(cursor));
    let bytes = antiphon::model::encode_to_bytes(&long).len();
    let count = antiphon::limits::POSITIONS_BYTES_MAX / bytes + 10;
    assert!(count < antiphon::limits::SUBSCRIPTIONS_MAX, "{bytes} bytes each");
    for number in 0..count {
        commit(&mut world, number % 4, number, &long);
    }
    world.run(Duration::from_secs(10));
    for node in 0..4 {
        let (all, pages) = list(&mut world, node);
        assert!(pages > 1);
        assert!(
            all.iter().map(|(name, _)| name).eq((0..count).map(name).collect::<Vec<_>>().iter())
        );
    }
}

#[test]
fn who_reads_under_one_name_at_once_is_told_at_any_node() {
    let (mut world, end) = with_topic(4);
    let kept = Subscription::new(0, Some(end));
    let mut commit_as = |node: usize, session: u64| {
        let session = Some(SessionId(session));
        let request = Request::Client(ClientRequest::Commit(
            "t".parse().unwrap(),
            name(1),
            kept.clone(),
            session,
        ));
        match world.call(node, request) {
            Response::Committed(_, shared) => shared == Some(true),
            other => panic!("{other:?}"),
        }
    };
    // One after the other, at whichever node.
    let runs: Vec<_> = (0..8).map(|run| commit_as(run % 4, run as u64 / 2)).collect();
    assert_eq!(runs, [false; 8]);
    // In turn, each at a node of its own.
    let told: Vec<_> = (0..8).map(|turn| commit_as(turn % 2, 10 + turn as u64 % 2)).collect();
    assert_eq!(told, [false, false, false, false, true, true, true, true]);
}
