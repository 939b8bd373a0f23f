//! Chains that part below the low watermark: no batch is left there, and headers prove the fork.

use std::time::Duration;

use antiphon::{
    model::{Batch, ForkProof, LogId, Retention},
    wire::{ClientRequest, Create, Outcome, Refusal, Request, Response},
};

use super::{SOON, Twin, held, log_of, publish_each, read, replicate};
use crate::script::{World, payloads_of};

/// How long records are kept.
const AGE: Duration = Duration::from_mins(2);

/// Four nodes with a topic whose records go after a while, and the beginning of a log.
fn begun() -> (World, Vec<Batch>, LogId) {
    let mut world = World::new(4);
    world.join();
    let retention =
        Retention { age_ms: u64::try_from(AGE.as_millis()).ok(), ..Retention::default() };
    let create = Create { replicas: Some(4), retention, ..Create::new("t".parse().unwrap()) };
    assert!(matches!(
        world.call(0, Request::Client(ClientRequest::Create(create))),
        Response::Created(..)
    ));
    publish_each(&mut world, 0, 0, 2);
    world.run(Duration::from_secs(1));
    let (batches, log) = (held(&world, 0), log_of(&world, 0));
    (world, batches, log)
}

fn part(world: &mut World) {
    for here in [0, 1] {
        for there in [2, 3] {
            world.cut(here, there);
        }
    }
    world.run(Duration::from_secs(7));
}

/// The other side of the partition takes what a twin of the writer signs.
fn take(world: &mut World, twin: &mut Twin, numbers: std::ops::Range<usize>) {
    let twins: Vec<_> = numbers.map(|number| twin.seal(&format!("twin {number}"))).collect();
    let from = world.id(0);
    for node in [2, 3] {
        let answer = world.call_from(from, node, replicate(&twins));
        assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; twins.len()]));
    }
}

fn let_all_go(world: &mut World) {
    world.run_until("everything is gone", AGE * 2, |world| {
        (0..4).all(|node| held(world, node).is_empty())
    });
}

/// All nodes know the fork, hold both branches from where they were cut, and nothing else.
#[track_caller]
fn converge(world: &mut World, log: LogId, at: u64, expected: &[String]) {
    world.run_until("all know the fork and hold both branches", SOON * 2, |world| {
        (0..4).all(|node| {
            let batches = held(world, node);
            let mut payloads: Vec<_> = batches.iter().flat_map(payloads_of).collect();
            payloads.sort();
            let proofs = world.proofs(node);
            proofs.iter().any(|proof| (proof.log(), proof.at()) == (log, at))
                && batches.iter().all(Batch::is_of_branch)
                && payloads == expected
        })
    });
    for node in 0..4 {
        let (mut all, mut forked) = read(world, node);
        all.sort();
        forked.sort();
        assert_eq!((all.as_slice(), forked.as_slice()), (expected, expected), "at {node}");
    }
}

fn named(what: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{what} {number}")).collect()
}

fn together(mut one: Vec<String>, other: Vec<String>) -> Vec<String> {
    one.extend(other);
    one.sort();
    one
}

#[test]
fn chains_that_part_below_both_low_watermarks_are_proven_to() {
    let (mut world, batches, log) = begun();
    part(&mut world);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    publish_each(&mut world, 0, 2, 30);
    take(&mut world, &mut twin, 2..30);
    let_all_go(&mut world);
    publish_each(&mut world, 0, 30, 34);
    take(&mut world, &mut twin, 30..36);
    // Nodes that hold only what has come lately, with the headers of the rest.
    for node in 1..4 {
        world.kill(node);
        world.start(node);
    }
    world.run(Duration::from_secs(2));
    world.heal();
    converge(&mut world, log, 2, &together(named("line", 30..34), named("twin", 30..36)));
    // The writer goes on in another incarnation, and what had been let go stays gone.
    publish_each(&mut world, 0, 34, 35);
    let newest = held(&world, 1).into_iter().find(|batch| payloads_of(batch) == ["line 34"]);
    let newest = newest.unwrap();
    assert!(newest.header().incarnation != log.incarnation && !newest.is_of_branch());
    // Then it is quiet.
    world.run(Duration::from_secs(10));
    let asked = world.asked;
    world.run(Duration::from_secs(10));
    assert!(world.asked - asked < 150, "{} requests in 10 s of rest", world.asked - asked);
}

#[test]
fn chains_that_do_not_touch_any_more_are_proven_to_part() {
    let (mut world, batches, log) = begun();
    part(&mut world);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    publish_each(&mut world, 0, 2, 20);
    take(&mut world, &mut twin, 2..40);
    let_all_go(&mut world);
    publish_each(&mut world, 0, 20, 24);
    take(&mut world, &mut twin, 40..44);
    world.heal();
    converge(&mut world, log, 2, &together(named("line", 20..24), named("twin", 40..44)));
}

#[test]
fn where_one_side_has_let_go_what_the_other_holds_they_are_compared() {
    let (mut world, batches, log) = begun();
    part(&mut world);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    publish_each(&mut world, 0, 2, 30);
    world.run_until("one side is cut", AGE * 2, |world| held(world, 0).is_empty());
    publish_each(&mut world, 0, 30, 34);
    // The other side has the whole chain of the twin.
    take(&mut world, &mut twin, 2..36);
    world.heal();
    converge(&mut world, log, 2, &together(named("line", 30..34), named("twin", 2..36)));
}

#[test]
fn another_batch_for_a_place_that_was_let_go_is_proof_and_the_same_one_is_none() {
    let (mut world, batches, log) = begun();
    publish_each(&mut world, 0, 2, 6);
    world.run(Duration::from_secs(1));
    let all = held(&world, 1);
    let_all_go(&mut world);
    publish_each(&mut world, 0, 6, 8);
    world.run(Duration::from_secs(1));
    let from = world.id(0);
    let answer = world.call_from(from, 1, replicate(&all[..3]));
    assert_eq!(answer, Response::Replicated(vec![Outcome::Trimmed; 3]), "it stays gone");
    assert_eq!(held(&world, 1).len(), 2);
    assert!(world.proofs(1).is_empty());
    let other = Twin::of(&world, 0, &batches, 2, 7).seal("twin 2");
    let answer = world.call_from(from, 1, replicate(std::slice::from_ref(&other)));
    let Response::Replicated(outcomes) = answer else { panic!("{answer:?}") };
    let [Outcome::Refused(Refusal::Forked(Some(proof)))] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let proof = ForkProof::verify(&proof.0).unwrap();
    assert_eq!((proof.log(), proof.at()), (log, 2));
    converge(&mut world, log, 2, &named("line", 6..8));
}

#[test]
fn a_topic_that_is_deleted_leaves_no_header() {
    let (mut world, ..) = begun();
    let_all_go(&mut world);
    let headers = |world: &World, node: usize| {
        let mut places = world.disk(node).headers.keys();
        places.any(|(topic, ..)| *topic == World::topic("t"))
    };
    assert!((0..4).all(|node| headers(&world, node)));
    assert_eq!(
        world.call(1, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
        Response::Deleted
    );
    world.run_until("it is gone", SOON, |world| (0..4).all(|node| !headers(world, node)));
}

#[test]
fn a_node_without_headers_files_by_what_others_know() {
    let (mut world, batches, log) = begun();
    part(&mut world);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    publish_each(&mut world, 0, 2, 30);
    take(&mut world, &mut twin, 2..30);
    let_all_go(&mut world);
    publish_each(&mut world, 0, 30, 34);
    take(&mut world, &mut twin, 30..36);
    for node in [1, 2] {
        world.kill(node);
        world.wipe(node);
        world.start(node);
    }
    world.run_until("they have what is left", SOON, |world| {
        held(world, 1).len() == 4 && held(world, 2).len() == 6
    });
    assert!(world.disk(1).headers.is_empty());
    world.heal();
    converge(&mut world, log, 2, &together(named("line", 30..34), named("twin", 30..36)));
}

#[test]
fn without_any_headers_nothing_is_proven_and_what_is_held_stays() {
    let (mut world, batches, _) = begun();
    part(&mut world);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    publish_each(&mut world, 0, 2, 30);
    take(&mut world, &mut twin, 2..30);
    let_all_go(&mut world);
    publish_each(&mut world, 0, 30, 34);
    take(&mut world, &mut twin, 30..34);
    for node in 0..4 {
        world.kill(node);
        let mut disk = world.disk(node).clone();
        disk.headers.clear();
        world.replace_disk(node, disk);
        world.start(node);
    }
    let before: Vec<_> = (0..4).map(|node| held(&world, node)).collect();
    world.heal();
    world.run(Duration::from_secs(5));
    let asked = world.asked;
    world.run(Duration::from_secs(20));
    // A log is searched at most once a second, in a dozen steps.
    assert!(world.asked - asked < 4 * 20 * 20, "{} requests in 20 s", world.asked - asked);
    for (node, before) in before.iter().enumerate() {
        assert!(world.proofs(node).is_empty());
        assert_eq!(&held(&world, node), before, "at {node}");
    }
}
