//! Clocks that are wrong: before a start, while a node runs, in one node of three and of two.

use std::time::Duration;

use antiphon::{
    engine::Report,
    model::{Batch, Blob, Cursor, Record, Retention, Stamp, WallClock, encode_record},
    wire::{ClientRequest, Create, Peer, Publish, Read, Request, Response},
};

use crate::script::{World, payloads_of};

const SOON: Duration = Duration::from_mins(3);

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

fn create(world: &mut World, retention: Retention) {
    let create = Create {
        replicas: Some(3),
        min_copies: Some(1),
        retention,
        ..Create::new("t".parse().unwrap())
    };
    let created = world.call(0, Request::Client(ClientRequest::Create(create)));
    assert!(matches!(created, Response::Created(_, false)), "{created:?}");
}

fn create_compacted(world: &mut World) {
    create(world, Retention { tombstones_ms: Some(HOUR.unsigned_abs()), ..Retention::default() });
}

/// Publishes records `k=v`, each in a batch of its own, by a producer of the node's own.
#[track_caller]
fn publish(world: &mut World, node: usize, first: u64, records: &[&str]) {
    for (number, record) in (first..).zip(records) {
        let (key, value) = record.split_once('=').unwrap();
        let whole = Record::new(WallClock(1), value.as_bytes().to_vec());
        let mut bytes = Vec::new();
        encode_record(&whole.with_key(key.as_bytes().to_vec()), &mut bytes).unwrap();
        let producer = u8::try_from(node).unwrap() + 1;
        let publish = World::publish_request("t", producer, number, &[]);
        let published = world.publish(node, Publish { records: Blob(bytes.into()), ..publish });
        assert!(published.acknowledged, "{record:?}: {published:?}");
    }
}

fn batches(world: &World, node: usize) -> Vec<&Batch> {
    let topic = World::topic("t");
    let of_topic = world.disk(node).batches.iter().filter(|((of, ..), _)| *of == topic);
    of_topic.map(|(_, batch)| batch).collect()
}

fn stored(world: &World, node: usize) -> Vec<String> {
    batches(world, node).into_iter().flat_map(payloads_of).collect()
}

/// All that a reader is shown, in order, and in as few questions as there are pages.
fn read(world: &mut World, node: usize) -> Vec<String> {
    let end = world.survey(node, "t").end;
    let mut cursor = Cursor::start(World::topic("t"));
    let mut payloads = Vec::new();
    while !cursor.reaches(&end) {
        let request = World::read_request("t", &cursor, Some(&end));
        let Response::Page(page) = world.call(node, request) else { panic!("no page") };
        assert!(!page.batches.is_empty());
        for batch in page.batches {
            payloads.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
    payloads
}

fn peers(world: &mut World, node: usize) -> Vec<Peer> {
    let Response::Peers(peers) = world.call(node, Request::Client(ClientRequest::Peers)) else {
        panic!("no peers")
    };
    peers
}

fn offset(world: &mut World, node: usize, of: usize) -> Option<i64> {
    let id = world.id(of);
    let peers = peers(world, node);
    peers.iter().find(|peer| peer.node == id).and_then(|peer| peer.clock_offset_ms)
}

/// How far the newest batch of a node is stamped ahead of what time it is.
fn ahead(world: &World, node: usize) -> i64 {
    let (id, life) = (world.id(node), world.nodes[node].incarnation);
    let is_own = |batch: &&Batch| (batch.header().writer, batch.header().incarnation) == (id, life);
    let own = batches(world, node).into_iter().filter(is_own);
    let newest = own.max_by_key(|batch| batch.header().first).unwrap().header().stamp;
    newest.time().0.cast_signed() - world.wall().0.cast_signed()
}

/// A node alone, whose clock is ahead, takes the old value of a key; two others come when its clock
/// has been set right.
fn old_by_a_wrong_clock(restart: bool, more: &[&str]) -> World {
    let mut world = World::new(1);
    world.set_clock(0, YEAR);
    create_compacted(&mut world);
    publish(&mut world, 0, 0, &["k=old"]);
    publish(&mut world, 0, 1, more);
    world.run(Duration::from_secs(1));
    assert!(ahead(&world, 0) > YEAR - HOUR, "alone it goes by its own clock");
    if restart {
        world.kill(0);
    }
    world.set_clock(0, 0);
    if restart {
        world.start(0);
    }
    for _ in 0..2 {
        world.add();
    }
    world.join();
    world.run_until("all is copied", SOON, |world| {
        (0..3).all(|node| stored(world, node).len() == 1 + more.len())
    });
    world
}

/// All homes keep the value that was written last, and readers are shown it last: now, after a day
/// of sweeps, and when the time of the wrong stamp has come.
#[track_caller]
fn newest_stays(world: &mut World, newest: &str) {
    let check = |world: &mut World, when: &str| {
        for node in 0..3 {
            let kept = stored(world, node);
            assert!(kept.iter().any(|payload| payload == newest), "{when}, {node}: {kept:?}");
            let shown = read(world, node);
            let of_key = shown.iter().rfind(|payload| *payload != "other");
            assert_eq!(of_key.map(String::as_str), Some(newest), "{when}, {node}: {shown:?}");
        }
    };
    check(world, "at once");
    world.run(Duration::from_mins(2));
    check(world, "when it was swept");
    for node in 0..3 {
        world.set_clock(node, 2 * YEAR);
    }
    world.run(Duration::from_mins(2));
    publish(world, 2, 900, &["o=other", "o=other"]);
    world.run(Duration::from_mins(2));
    check(world, "when the time of the stamp is over");
}

#[test]
fn a_value_from_a_clock_that_was_ahead_is_not_the_newest_of_its_key() {
    for restart in [false, true] {
        for more in [&[][..], &["o=other"]] {
            let mut world = old_by_a_wrong_clock(restart, more);
            publish(&mut world, 1, 0, &["k=new", "o=other", "o=other"]);
            newest_stays(&mut world, "new");
        }
    }
}

#[test]
fn the_writer_whose_clock_was_ahead_is_set_right_with_it() {
    for restart in [false, true] {
        let mut world = old_by_a_wrong_clock(restart, &["k=older"]);
        world.run_until("it knows what time it is", SOON, |world| {
            (1..3).all(|other| offset(world, 0, other).is_some())
        });
        publish(&mut world, 0, 10, &["k=new", "o=other"]);
        assert!(ahead(&world, 0).abs() < 10_000);
        newest_stays(&mut world, "new");
        assert!(!stored(&world, 2).contains(&"old".to_owned()) || restart, "it is earlier");
    }
}

#[test]
fn a_value_that_took_the_place_of_an_early_one_lets_it_go() {
    let mut world = old_by_a_wrong_clock(false, &["o=other"]);
    publish(&mut world, 1, 0, &["k=new", "o=other", "o=other"]);
    world.run(Duration::from_mins(2));
    assert!((0..3).all(|node| stored(&world, node).contains(&"old".to_owned())), "not known yet");
    publish(&mut world, 2, 0, &["k=newer", "o=other", "o=other"]);
    world.run_until("what is known to be earlier goes", SOON, |world| {
        (0..3).all(|node| {
            let stored = stored(world, node);
            !stored.contains(&"old".to_owned()) && !stored.contains(&"new".to_owned())
        })
    });
    newest_stays(&mut world, "newer");
}

#[test]
fn a_value_of_a_wrong_clock_that_is_the_newest_indeed_is_kept() {
    let mut world = World::new(3);
    world.join();
    create_compacted(&mut world);
    publish(&mut world, 1, 0, &["k=old", "o=other", "o=other"]);
    for other in [1, 2] {
        world.cut(0, other);
    }
    world.run(Duration::from_secs(15));
    world.set_clock(0, YEAR);
    world.run(Duration::from_secs(2));
    publish(&mut world, 0, 0, &["k=new", "o=other"]);
    assert!(ahead(&world, 0) > YEAR - HOUR, "nobody tells it what time it is");
    world.set_clock(0, 0);
    world.heal();
    world.run(Duration::from_mins(3));
    for node in 0..3 {
        let kept = stored(&world, node);
        assert!(kept.contains(&"new".to_owned()) && kept.contains(&"old".to_owned()), "{kept:?}");
    }
}

#[test]
fn a_node_goes_by_the_clocks_of_most_others_before_it_stamps_anything() {
    for off in [YEAR, 2 * 60_000, -2 * 60_000, -10 * 24 * HOUR, -1_700_000_000_000] {
        for restart in [false, true] {
            let mut world = World::new(3);
            world.join();
            create_compacted(&mut world);
            publish(&mut world, 1, 0, &["k=old", "o=other"]);
            if restart {
                world.kill(2);
                world.set_clock(2, off);
                world.start(2);
            } else {
                world.set_clock(2, off);
            }
            publish(&mut world, 2, 0, &["k=new", "o=other"]);
            assert!(ahead(&world, 2).abs() < 10_000, "{off}, {restart}: {}", ahead(&world, 2));
            world.run(Duration::from_secs(20));
            let own = offset(&mut world, 2, 2).unwrap();
            assert!((own - off).abs() < 1_000, "{own}");
            for node in 0..2 {
                let told = offset(&mut world, node, 2).unwrap();
                assert!((told - off).abs() < 1_000, "{told}");
                let right = offset(&mut world, node, 1 - node).unwrap();
                assert!(right.abs() < 1_000, "{right}");
            }
            let id = world.id(2);
            for node in 0..2 {
                let told = world.reports.iter().any(|(of, report)| {
                    *of == node && matches!(report, Report::ClockOff(of, _) if *of == id)
                });
                assert!(told, "{node} does not say so: {:?}", world.reports);
            }
            let own = |(of, report): &(usize, Report)| {
                *of == 2 && matches!(report, Report::OwnClockOff(_))
            };
            assert!(world.reports.iter().any(own), "{:?}", world.reports);
            world.run(Duration::from_mins(2));
            assert_eq!(read(&mut world, 0), ["other", "new", "other"]);
        }
    }
}

#[test]
fn one_liar_moves_nobody_and_two_that_disagree_delete_nothing() {
    let mut world = World::new(3);
    world.join();
    create_compacted(&mut world);
    world.set_clock(0, -YEAR);
    world.run(Duration::from_secs(10));
    publish(&mut world, 1, 0, &["k=a", "o=other"]);
    assert!(ahead(&world, 1).abs() < 10_000);
    world.kill(2);
    world.run(Duration::from_mins(11));
    publish(&mut world, 0, 0, &["k=b", "o=other"]);
    assert!(ahead(&world, 0).abs() < HOUR, "what it saw was stamped later than its clock reads");
    publish(&mut world, 1, 10, &["k=c", "o=other"]);
    world.run(Duration::from_mins(3));
    for node in 0..2 {
        let kept = stored(&world, node);
        assert!(["a", "b", "c"].iter().all(|one| kept.contains(&(*one).to_owned())), "{kept:?}");
    }
}

#[test]
fn a_reader_is_shown_what_is_stamped_in_the_future_before_all_else() {
    let mut world = World::new(1);
    world.set_clock(0, YEAR);
    create(&mut world, Retention::default());
    publish(&mut world, 0, 0, &["k=1", "k=2", "k=3"]);
    world.set_clock(0, 0);
    for _ in 0..2 {
        world.add();
    }
    world.join();
    publish(&mut world, 1, 0, &["k=4", "k=5"]);
    publish(&mut world, 0, 3, &["k=6"]);
    publish(&mut world, 2, 0, &["k=7"]);
    let expected: Vec<_> = (1..=7).map(|number| number.to_string()).collect();
    for node in 0..3 {
        assert_eq!(read(&mut world, node), expected);
    }
    let early = |(_, report): &(usize, Report)| matches!(report, Report::EarlyStamp(..));
    assert!(world.reports.iter().any(early), "{:?}", world.reports);
}

#[test]
fn a_restart_with_a_clock_that_is_ahead_lets_nothing_go_for_its_age() {
    let age_ms = Some(24 * HOUR.unsigned_abs());
    for set_right in [false, true] {
        let mut world = World::new(3);
        world.join();
        create(&mut world, Retention { age_ms, ..Retention::default() });
        publish(&mut world, 1, 0, &["k=1", "k=2", "k=3"]);
        world.run(Duration::from_secs(5));
        world.kill(2);
        world.set_clock(2, YEAR);
        world.start(2);
        world.run(Duration::from_mins(2));
        if set_right {
            world.set_clock(2, 0);
            world.run(Duration::from_mins(2));
        }
        assert_eq!(stored(&world, 2).len(), 3, "{set_right}");
    }
}

#[test]
fn a_publish_waits_for_no_measurement_where_all_clocks_are_known() {
    let mut world = World::new(3);
    world.join();
    create(&mut world, Retention::default());
    for node in 0..3 {
        let before = world.now;
        publish(&mut world, node, 0, &["k=1"]);
        assert!(world.now.saturating_sub(before) < Duration::from_millis(50));
    }
    world.kill(2);
    world.start(2);
    world.run_until("it is connected", SOON, |world| offset(world, 2, 0).is_some());
    let before = world.now;
    publish(&mut world, 2, 1, &["k=2"]);
    assert!(
        world.now.saturating_sub(before) < Duration::from_millis(200),
        "{:?}",
        world.now.saturating_sub(before)
    );
    assert!(Stamp::at(world.wall()) > batches(&world, 2)[0].header().stamp);
}

#[test]
fn a_page_full_of_early_records_does_not_stop_a_reader() {
    let mut world = World::new(1);
    create(&mut world, Retention::default());
    publish(&mut world, 0, 0, &["k=1", "k=2"]);
    world.run(Duration::from_secs(1));
    world.kill(0);
    world.set_clock(0, YEAR);
    world.start(0);
    publish(&mut world, 0, 2, &["k=3", "k=4", "k=5"]);
    world.run(Duration::from_secs(1));
    world.set_clock(0, 0);
    // What is shown before all else waits itself for what its writer wrote before.
    let end = world.survey(0, "t").end;
    let mut cursor = Cursor::start(World::topic("t"));
    let mut payloads = Vec::new();
    while !cursor.reaches(&end) {
        let request = World::read_request("t", &cursor, Some(&end));
        let Request::Client(ClientRequest::Read(read)) = request else {
            unreachable!("it is a read")
        };
        let answer =
            world.call(0, Request::Client(ClientRequest::Read(Read { bytes_max: 1, ..read })));
        let Response::Page(page) = answer else { panic!("{answer:?}, after {payloads:?}") };
        assert!(!page.batches.is_empty(), "after {payloads:?}");
        for batch in page.batches {
            payloads.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    }
    assert_eq!(payloads, ["1", "2", "3", "4", "5"]);
}
