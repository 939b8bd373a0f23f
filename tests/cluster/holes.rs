//! Parts of a log that nobody holds any more, where retention has let go beside them.

use std::time::Duration;

use antiphon::{
    engine::Damage,
    model::{Batch, Cursor, LimitChange, MemberId, Retention, RetentionChange, Subscription},
    wire::{
        Alter, ClientRequest, Create, LogRange, Membership, Request, Response, Settlement, Take,
    },
};

use crate::script::{World, payloads_of};

const SOON: Duration = Duration::from_secs(20);

/// What the outsider's batch of this number is called.
fn line(number: u64) -> String {
    format!("line {number}")
}

/// Publishes each line in a batch of its own, whether that is acknowledged or not.
fn publish(world: &mut World, node: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.publish(node, World::publish_request("t", 1, number, &[line(number)]));
    }
}

/// The batches of the topic that a node has on its disk, in order.
fn batches(world: &World, node: usize) -> Vec<Batch> {
    let topic = World::topic("t");
    let held = world.disk(node).batches.iter();
    held.filter(|((of, ..), _)| *of == topic).map(|(_, batch)| batch.clone()).collect()
}

/// What a disk tells of its batch of this number.
fn damage(batches: &[Batch], number: usize) -> Damage {
    let batch = &batches[number];
    let header = batch.header();
    let before = number.checked_sub(1).map(|before| &batches[before]);
    Damage {
        topic: header.topic,
        log: header.log(),
        first: header.first,
        next: header.next(),
        hash: batch.hash(),
        previous: before.map(|before| (before.hash(), before.header().stamp)),
    }
}

/// A node that is no home of the topic, and the homes. It wrote the first ten records, which the homes
/// hold but for four of them, and, cut off from the others, sixty more, of which it has let go all but
/// the last ones.
fn outsider_has_let_go() -> (World, usize, Vec<usize>) {
    let mut world = World::new(4);
    world.join();
    let retention = Retention { records: Some(32), ..Retention::default() };
    let create = Create { replicas: Some(3), retention, ..Create::new("t".parse().unwrap()) };
    let Response::Created(summary, false) =
        world.call(0, Request::Client(ClientRequest::Create(create)))
    else {
        panic!("not created")
    };
    let owners: Vec<_> = summary.owners.iter().map(|node| world.index(node)).collect();
    let outsider = (0..4).find(|node| !owners.contains(node)).unwrap();
    publish(&mut world, outsider, 0..10);
    world
        .run_until("the copies are handed over", SOON, |world| batches(world, outsider).is_empty());
    for owner in &owners {
        let held = batches(&world, *owner);
        assert_eq!(held.len(), 10);
        (3..7).for_each(|number| world.damage(*owner, damage(&held, number)));
    }
    world.run(Duration::from_millis(1));
    for owner in &owners {
        world.cut(outsider, *owner);
    }
    publish(&mut world, outsider, 10..70);
    world.run_until("the outsider lets go", SOON, |world| {
        batches(world, outsider)[0].header().first > 10
    });
    (world, outsider, owners)
}

/// What a reader is shown and told, from the beginning to the end of what is stored.
#[derive(Debug, Default)]
struct Shown {
    lines: Vec<String>,
    lost: Vec<LogRange>,
    trimmed: Vec<LogRange>,
}

fn read(world: &mut World, node: usize) -> Shown {
    let surveyed = world.survey(node, "t");
    let mut cursor = Cursor::start(surveyed.end.topic);
    let mut shown = Shown::default();
    while !cursor.reaches(&surveyed.end) {
        let request = World::read_request("t", &cursor, Some(&surveyed.end));
        let answer = world.call(node, request);
        let Response::Page(page) = answer else { panic!("no page: {answer:?}, {shown:?}") };
        assert!(!page.batches.is_empty(), "a page before the end has batches");
        shown.lost.extend(page.lost);
        shown.trimmed.extend(page.trimmed);
        for batch in page.batches {
            shown.lines.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
    shown
}

fn numbers(ranges: &[LogRange]) -> Vec<(u64, u64)> {
    ranges.iter().map(|range| (range.from, range.to)).collect()
}

/// All records that a group is given, each acknowledged.
fn given(world: &mut World, node: usize) -> Vec<u64> {
    let cursor = Some(Cursor::start(World::topic("t")));
    let subscription = Subscription { generation: 0, cursor, group: Some(Box::default()) };
    let (topic, name) = ("t".parse().unwrap(), "g".parse().unwrap());
    world.call(node, Request::Client(ClientRequest::Commit(topic, name, subscription, None)));
    let mut given = Vec::new();
    let mut settlement = Settlement::default();
    for turn in 1.. {
        let membership = Membership {
            topic: "t".parse().unwrap(),
            group: "g".parse().unwrap(),
            member: MemberId([1; 16]),
            generation: 0,
            hops: 0,
        };
        let take = Take {
            membership,
            turn,
            holding: Vec::new(),
            settlement: std::mem::take(&mut settlement),
            records_max: 100,
            bytes_max: 1 << 20,
            wait_ms: 8_000,
            visibility_ms: 30_000,
            deliveries_max: 2,
        };
        let answer = world.call(node, Request::Client(ClientRequest::Take(Box::new(take))));
        let Response::Taken(taken) = answer else { panic!("{answer:?}") };
        if taken.assignments.is_empty() {
            break;
        }
        for range in taken.assignments.iter().map(|assignment| assignment.range) {
            given.extend(range.from..range.to);
            settlement.acknowledged.push(range);
        }
    }
    given
}

#[test]
fn what_one_node_has_let_go_and_others_have_lost_is_passed_over() {
    let (mut world, outsider, owners) = outsider_has_let_go();
    // The homes are to keep everything from now on.
    let (name, replicas, min_copies) = ("t".parse().unwrap(), None, None);
    let retention = RetentionChange { records: LimitChange::Remove, ..RetentionChange::default() };
    let alter = Alter { name, replicas, min_copies, retention, floor_follows: false };
    let altered = world.call(owners[0], Request::Client(ClientRequest::Alter(alter)));
    assert!(matches!(altered, Response::Altered(_)), "{altered:?}");
    world.heal();
    world
        .run_until("the copies are handed over", SOON, |world| batches(world, outsider).is_empty());
    let kept = batches(&world, owners[0])[6].header().first;
    assert!((36..=38).contains(&kept), "{kept}");
    let lines: Vec<_> = (0..3).chain(7..10).chain(kept..70).map(line).collect();
    for owner in &owners {
        let shown = read(&mut world, *owner);
        assert_eq!(shown.lines, lines);
        assert_eq!(numbers(&shown.lost), [(3, 7), (10, kept)]);
        assert_eq!(shown.trimmed, []);
    }
    let expected: Vec<_> = (0..3).chain(7..10).chain(kept..70).collect();
    assert_eq!(given(&mut world, owners[0]), expected);
}

#[test]
fn what_is_lost_behind_what_is_let_go_is_passed_over_with_it() {
    let (mut world, outsider, owners) = outsider_has_let_go();
    world.heal();
    world
        .run_until("the copies are handed over", SOON, |world| batches(world, outsider).is_empty());
    world.run_until("the homes let go, too", SOON, |world| {
        owners.iter().all(|owner| batches(world, *owner)[0].header().first > 10)
    });
    let kept = batches(&world, owners[0])[0].header().first;
    for owner in &owners {
        let shown = read(&mut world, *owner);
        assert_eq!(shown.lines, (kept..70).map(line).collect::<Vec<_>>());
        assert_eq!(numbers(&shown.trimmed), [(0, 10)]);
        assert_eq!(numbers(&shown.lost), [(10, kept)]);
    }
    assert_eq!(given(&mut world, owners[0]), (kept..70).collect::<Vec<_>>());
}
