//! What a review found: each of these failed when it was written.

use std::time::Duration;

use antiphon::{
    engine::{Config, Engine, Input, Now, Output, Recovered, Report},
    limits::{SEQUENCE_MAX, SUBSCRIPTIONS_MAX},
    model::{
        Batch, Cursor, Draft, Hash, Incarnation, LogId, Network, NodeKey, Previous, ProducerId,
        Record, Run, Stamp, Subscription, WallClock, encode_record,
    },
    wire::{
        ClientRequest, Contact, Create, LogRange, MemberState, NodeRequest, Publish, Refusal,
        Replicate, Request, Response,
    },
};

use crate::script::{World, payloads_of};

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Text that compression makes no smaller.
fn noise(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    (0..bytes).map(|_| random.alphanumeric()).collect()
}

fn forged(key: &NodeKey, incarnation: u64, first: u64, stamp: u64, body: usize) -> Batch {
    let mut bytes = Vec::new();
    encode_record(&Record::new(WallClock(1), noise(body).into_bytes()), &mut bytes).unwrap();
    let incarnation = Incarnation(incarnation);
    let previous =
        (first > 0).then_some(Previous { incarnation, next: first, hash: Hash([7; 32]) });
    let draft = Draft {
        topic: World::topic("t"),
        incarnation,
        previous,
        stamp: Stamp::at(WallClock(stamp)),
        runs: vec![Run { producer: ProducerId([9; 16]), first: 0, count: 1 }],
    };
    draft.seal(&bytes.into(), key)
}

fn replicate(batches: Vec<Batch>) -> Request {
    Request::Node(NodeRequest::Replicate(Replicate { batches, ..Replicate::default() }))
}

const WALL: u64 = 1_700_000_000_000;

#[test]
fn a_hostile_sequence_number_does_not_crash_who_asks() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let key = NodeKey::from_secret(&[99; 32]);
    let batches = vec![
        forged(&key, 1, SEQUENCE_MAX - 5, WALL, 1),
        forged(&key, 2, SEQUENCE_MAX - 5, WALL, 1),
    ];
    world.call(0, replicate(batches));
    world.survey(1, "t");
}

#[test]
fn a_writer_that_is_sent_parts_of_its_own_log_goes_on() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    let writer = (0..6).find(|node| !owners.contains(node)).unwrap();
    for round in 0..40 {
        let payload = [format!("line {round}")];
        world.publish(writer, World::publish_request("t", 1, round, &payload));
    }
    let topic = World::topic("t");
    world.run_until("the writer's own copies are gone", Duration::from_secs(20), |world| {
        !world.disk(writer).batches.keys().any(|(id, _, _)| *id == topic)
    });
    let logs: Vec<LogId> = world
        .disk(owners[0])
        .batches
        .keys()
        .filter(|(id, _, _)| *id == topic)
        .map(|(_, log, _)| *log)
        .collect();
    let log = logs[0];
    let ranges = (0..16).map(|n| LogRange { log, from: n * 2, to: n * 2 + 1 }).collect();
    let Response::Page(page) =
        world.call(owners[0], Request::Node(NodeRequest::Fetch(topic, ranges, 1 << 20)))
    else {
        panic!()
    };
    assert_eq!(page.batches.len(), 16);
    world.call(writer, replicate(page.batches));
    let published = world.publish(writer, World::publish_request("t", 1, 40, &lines(40, 41)));
    assert!(published.acknowledged, "{published:?}");
    assert_eq!(world.fetch(owners[1], "t"), lines(0, 41));
}

#[test]
fn a_burst_over_many_topics_is_acknowledged() {
    let mut world = World::new(2);
    world.join();
    for topic in 0..20 {
        world.create(0, &format!("t{topic}"), 2);
    }
    world.run(Duration::from_secs(5));
    let payload = vec![noise(250 * 1024)];
    let mut questions = Vec::new();
    for batch in 0..4 {
        for topic in 0..20 {
            let request = World::publish_request(&format!("t{topic}"), 1, batch, &payload);
            questions.push(world.ask(0, Request::Client(ClientRequest::Publish(request))));
        }
    }
    world.run(Duration::from_secs(6));
    let mut pending = 0;
    for question in questions {
        let Some(Response::Published(published)) = world.answered(question) else {
            panic!("no answer")
        };
        pending += usize::from(!published.acknowledged);
    }
    assert_eq!(pending, 0, "the other node was there all the time");
}

#[test]
fn one_wrong_clock_does_not_drag_a_restarted_node_along() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    let key = NodeKey::from_secret(&[99; 32]);
    world.call(0, replicate(vec![forged(&key, 1, 0, WALL * 3, 1)]));
    world.kill(0);
    world.start(0);
    world.publish(0, World::publish_request("t", 1, 0, &lines(0, 1)));
    let own = world.id(0);
    let newest = world
        .disk(0)
        .batches
        .values()
        .filter(|b| b.header().writer == own && b.header().topic == World::topic("t"))
        .map(|b| b.header().stamp.time().0)
        .max()
        .unwrap();
    assert!(newest < WALL + 120_000, "{newest}");
}

#[test]
fn a_position_that_nobody_can_tell_is_not_told_to_be_new() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(0, "t", 3);
    world.publish(owners[0], World::publish_request("t", 1, 0, &lines(0, 5)));
    world.run(Duration::from_secs(5));
    let end = world.survey(owners[0], "t").end;
    let alice = || "alice".parse().unwrap();
    let kept = Subscription::new(0, Some(end));
    world.call(
        owners[0],
        Request::Client(ClientRequest::Commit("t".parse().unwrap(), alice(), kept.clone(), None)),
    );
    let reader = (0..5).find(|node| !owners.contains(node)).unwrap();
    world.kill(reader);
    world.start(reader);
    let answer =
        world.call(reader, Request::Client(ClientRequest::Position("t".parse().unwrap(), alice())));
    assert!(
        matches!(&answer, Response::Refused(Refusal::Away(_)))
            || answer == Response::Position(Some(kept)),
        "{answer:?}"
    );
}

#[test]
fn a_position_that_is_told_to_be_kept_is_kept() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    world.publish(0, World::publish_request("t", 1, 0, &lines(0, 5)));
    let cursor = world.survey(0, "t").end;
    let kept = Subscription::new(0, Some(cursor));
    let mut commit = |number: usize| {
        let name = || format!("s{number}").parse().unwrap();
        let request = Request::Client(ClientRequest::Commit(
            "t".parse().unwrap(),
            name(),
            kept.clone(),
            None,
        ));
        let answer = world.call(0, request);
        if matches!(answer, Response::Committed(..)) {
            let position = world
                .call(0, Request::Client(ClientRequest::Position("t".parse().unwrap(), name())));
            assert_eq!(position, Response::Position(Some(kept.clone())), "{number}");
        }
        answer
    };
    for number in 0..SUBSCRIPTIONS_MAX {
        let answer = commit(number);
        assert!(matches!(answer, Response::Committed(..)), "{number}: {answer:?}");
    }
    let one_more = commit(SUBSCRIPTIONS_MAX);
    assert!(matches!(one_more, Response::Refused(_)), "{one_more:?}");
}

#[test]
fn a_position_kept_by_stand_ins_is_kept() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 3);
    let client = (0..6).find(|node| !owners.contains(node)).unwrap();
    world.publish(owners[0], World::publish_request("t", 1, 0, &lines(0, 5)));
    world.run(Duration::from_secs(5));
    let cursor = world.survey(client, "t").end;
    let kept = Subscription::new(0, Some(cursor));
    world.kill(owners[1]);
    world.kill(owners[2]);
    world.run(Duration::from_secs(3));
    let alice = || "alice".parse().unwrap();
    let committed = world.call(
        client,
        Request::Client(ClientRequest::Commit("t".parse().unwrap(), alice(), kept.clone(), None)),
    );
    assert!(matches!(committed, Response::Committed(copies, _) if copies >= 2), "{committed:?}");
    world.run(Duration::from_secs(1));
    world.kill(owners[0]);
    world.run(Duration::from_secs(2));
    let position =
        world.call(client, Request::Client(ClientRequest::Position("t".parse().unwrap(), alice())));
    assert_eq!(position, Response::Position(Some(kept)), "{committed:?}");
}

#[test]
fn the_order_of_a_writer_holds_over_its_restart_for_a_live_reader() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 3);
    let reader = (0..6).find(|node| !owners.contains(node)).unwrap();
    let writer = (0..6).find(|node| !owners.contains(node) && *node != reader).unwrap();
    let mut cursor = Cursor::start(World::topic("t"));
    let mut read = Vec::new();
    let mut fetch = |world: &mut World, read: &mut Vec<String>| {
        let Response::Page(page) = world.call(reader, World::read_request("t", &cursor, None))
        else {
            panic!()
        };
        for batch in page.batches {
            read.extend(payloads_of(&batch));
            cursor.advance(&batch);
        }
    };
    world.publish(writer, World::publish_request("t", 1, 0, &lines(0, 1)));
    fetch(&mut world, &mut read);
    world.cut(writer, reader);
    assert!(world.publish(writer, World::publish_request("t", 1, 1, &lines(1, 2))).acknowledged);
    world.run(Duration::from_millis(10));
    world.kill(writer);
    world.heal();
    world.start(writer);
    world.join();
    assert!(world.publish(writer, World::publish_request("t", 1, 2, &lines(2, 3))).acknowledged);
    world.run(Duration::from_millis(10));
    while read.len() < 3 {
        fetch(&mut world, &mut read);
    }
    assert_eq!(read, lines(0, 3));
}

#[test]
fn a_name_is_created_once_at_one_node() {
    let mut world = World::new(3);
    world.join();
    let create = |replicas| {
        Request::Client(ClientRequest::Create(Create {
            replicas: Some(replicas),
            ..Create::new("t".parse().unwrap())
        }))
    };
    let one = world.ask(0, create(1));
    let two = world.ask(0, create(3));
    world.run(Duration::from_secs(3));
    let answers = [world.answered(one).unwrap(), world.answered(two).unwrap()];
    let created = answers.iter().filter(|a| matches!(a, Response::Created(_, false))).count();
    assert_eq!(created, 1, "{answers:?}");
}

#[test]
fn a_survey_that_says_complete_knows_what_was_acknowledged() {
    for delay in [0_u64, 400, 800, 1_200, 1_600, 2_000, 2_400] {
        let mut world = World::new(8);
        world.join();
        let owners = world.create(0, "t", 3);
        world.run(Duration::from_secs(3));
        for owner in &owners {
            world.kill(*owner);
        }
        world.run(Duration::from_secs(3));
        let writer = (0..8).find(|node| !owners.contains(node)).unwrap();
        let published = world.publish(writer, World::publish_request("t", 1, 0, &lines(0, 5)));
        assert!(published.acknowledged);
        world.run(Duration::from_millis(delay));
        for owner in &owners {
            world.start(*owner);
        }
        world.join();
        let surveyed = world.survey(owners[0], "t");
        let found = world.fetch(owners[0], "t").len();
        assert!(
            !surveyed.complete || found == 5,
            "delay {delay}: complete, and {found} of 5; {published:?}"
        );
    }
}

#[test]
fn a_topic_with_many_logs_can_be_read() {
    let mut world = World::new(2);
    world.join();
    world.create(0, "t", 2);
    let key = NodeKey::from_secret(&[99; 32]);
    for part in 0..11 {
        let batches = (0..1_000).map(|n| forged(&key, part * 1_000 + n, 0, WALL, 1)).collect();
        world.call(0, replicate(batches));
    }
    world.run(Duration::from_secs(5));
    // There is a bound, and this may be refused.
    world.call(
        0,
        Request::Client(ClientRequest::Publish(World::publish_request("t", 1, 0, &lines(0, 5)))),
    );
    world.run(Duration::from_secs(5));
    let surveyed = world.survey(1, "t");
    let told = surveyed.replicas.iter().filter(|replica| replica.records.is_some()).count();
    assert_eq!(told, 2, "a replica cannot tell what it holds any more");
}

#[test]
fn a_replica_with_records_knows_their_topic_after_a_crash() {
    let mut world = World::new(1);
    world.create(0, "t", 3);
    world.add();
    let (zero, one) = (world.id(0), world.id(1));
    for _ in 0..20_000 {
        world.run(Duration::from_micros(100));
        if world.reports.contains(&(0, Report::Member(one, MemberState::Alive)))
            && world.reports.contains(&(1, Report::Member(zero, MemberState::Alive)))
        {
            break;
        }
    }
    let published = world.publish(0, World::publish_request("t", 1, 0, &lines(0, 5)));
    assert!(published.acknowledged && published.copies == 2, "{published:?}");
    world.kill(0);
    world.kill(1);
    world.start(1);
    // Node 0 and its disk are lost: one of two copies.
    let topic = World::topic("t");
    assert!(world.disk(1).batches.keys().any(|(id, _, _)| *id == topic));
    assert_eq!(world.fetch(1, "t"), lines(0, 5));
}

#[test]
fn a_node_that_was_paused_does_not_take_the_others_for_dead() {
    let key = NodeKey::from_secret(&[1; 32]);
    let other = NodeKey::from_secret(&[2; 32]).node();
    let config = Config::new(key, Network::default(), Incarnation(1), 1);
    let mut engine = Engine::new(config, Recovered::default());
    let at = |ms| Now { elapsed: Duration::from_millis(ms), wall: WallClock(WALL + ms) };
    let contact = Contact::new(other, vec!["/memory/2".into()]);
    engine.handle(at(0), Input::Connected(contact));
    engine.handle(at(100), Input::Heard(other, None));
    engine.handle(at(200), Input::Timeout);
    // The process is stopped for ten seconds.
    engine.handle(at(10_200), Input::Timeout);
    let outputs: Vec<_> = std::iter::from_fn(|| engine.poll_output()).collect();
    let dead = outputs
        .iter()
        .any(|output| *output == Output::Report(Report::Member(other, MemberState::Dead)));
    assert!(!dead, "{outputs:?}");
}

#[test]
fn every_question_is_answered() {
    let mut world = World::new(2);
    world.join();
    world.create(0, "t", 2);
    let mut questions = Vec::new();
    for number in 0..5 {
        questions.push(world.ask(
            0,
            Request::Client(ClientRequest::Publish(World::publish_request(
                "t",
                1,
                number,
                &lines(0, 1),
            ))),
        ));
    }
    questions.push(world.ask(
        0,
        Request::Client(ClientRequest::Publish(World::publish_request("t", 1, 4, &lines(0, 1)))),
    ));
    world.run(Duration::from_secs(10));
    let missing = questions.into_iter().filter(|q| world.answered(*q).is_none()).count();
    assert_eq!(missing, 0);
}

#[test]
fn receipts_of_a_wiped_disk_do_not_count() {
    let mut world = World::new(3);
    world.join();
    let create =
        Create { replicas: Some(3), min_copies: Some(3), ..Create::new("t".parse().unwrap()) };
    world.call(0, Request::Client(ClientRequest::Create(create)));
    world.run(Duration::from_secs(3));
    world.kill(2);
    world.run(Duration::from_secs(2));
    let request = Publish { timeout_ms: 60_000, ..World::publish_request("t", 1, 0, &lines(0, 5)) };
    let question = world.ask(0, Request::Client(ClientRequest::Publish(request)));
    world.run(Duration::from_millis(100));
    world.kill(1);
    world.wipe(1);
    world.start(1);
    // The writer has noticed that it is back; repair has not begun.
    world.run(Duration::from_millis(150));
    world.start(2);
    let mut copies = 0;
    for _ in 0..100_000 {
        world.run(Duration::from_micros(200));
        if let Some(Response::Published(published)) = world.answered(question) {
            copies = usize::from(published.copies);
            break;
        }
    }
    let holders = (0..3)
        .filter(|n| world.disk(*n).batches.keys().any(|(id, _, _)| *id == World::topic("t")))
        .count();
    assert!(holders >= copies, "{copies} copies told, {holders} held");
}

#[test]
fn what_a_replica_holds_fits_in_a_message() {
    let mut world = World::new(1);
    world.create(0, "t", 1);
    for part in 0..1_000_u64 {
        let key = NodeKey::from_secret(&[99; 32]);
        world.call(0, replicate(vec![forged(&key, part, 0, WALL, 1)]));
    }
    let cursor = world.survey(0, "t").end;
    let kept = Subscription::new(0, Some(cursor));
    for number in 0..150 {
        let name = format!("s{number}").parse().unwrap();
        world.call(
            0,
            Request::Client(ClientRequest::Commit("t".parse().unwrap(), name, kept.clone(), None)),
        );
    }
    let held = world.call(0, Request::Node(NodeRequest::Frontier(World::topic("t"), None, None)));
    let bytes = held.encode().len();
    assert!(bytes <= antiphon::limits::MESSAGE_BYTES_MAX, "{bytes}");
}

#[test]
fn readers_of_what_nobody_can_give_do_not_flood() {
    let mut world = World::new(4);
    world.join();
    let owner = world.create(0, "t", 1)[0];
    let reader = (0..4).find(|node| *node != owner).unwrap();
    // More than the tail holds, so that it is read from the owner.
    for number in 0..30 {
        let payload = [noise(100 * 1024)];
        world.publish(owner, World::publish_request("t", 1, number, &payload));
    }
    let start = Cursor::start(World::topic("t"));
    world.call(reader, World::read_request("t", &start, None));
    world.kill(owner);
    world.run(Duration::from_secs(3));
    let readers = 50;
    for _ in 0..readers {
        world.ask(reader, World::read_request("t", &start, None));
    }
    let before = world.asked;
    world.run(Duration::from_secs(9));
    let asked = world.asked - before;
    assert!(asked < 200, "{asked} requests in 9 s for {readers} waiting readers");
}

#[test]
fn a_position_that_stand_ins_took_comes_home() {
    let mut world = World::new(8);
    world.join();
    let owners = world.create(0, "t", 3);
    world.run(Duration::from_secs(3));
    for owner in &owners {
        world.kill(*owner);
    }
    world.run(Duration::from_secs(3));
    let client = (0..8).find(|node| !owners.contains(node)).unwrap();
    assert!(world.publish(client, World::publish_request("t", 1, 0, &lines(0, 5))).acknowledged);
    world.run(Duration::from_secs(1));
    let kept = Subscription::new(0, Some(world.survey(client, "t").end));
    let alice = || "alice".parse().unwrap();
    let committed = world.call(
        client,
        Request::Client(ClientRequest::Commit("t".parse().unwrap(), alice(), kept.clone(), None)),
    );
    assert!(matches!(committed, Response::Committed(copies, _) if copies >= 2), "{committed:?}");
    for owner in &owners {
        world.start(*owner);
    }
    world.join();
    world.run(Duration::from_mins(1));
    assert_eq!(world.fetch(owners[0], "t"), lines(0, 5), "the records came home");
    let position = world
        .call(owners[0], Request::Client(ClientRequest::Position("t".parse().unwrap(), alice())));
    assert_eq!(position, Response::Position(Some(kept)));
}

#[test]
fn repair_reaches_every_topic() {
    use antiphon::model::Descriptor;
    let mut world = World::new(2);
    world.join();
    let key = NodeKey::from_secret(&[99; 32]);
    let total = antiphon::limits::TOPICS_PER_MESSAGE_MAX + 1;
    let names: Vec<String> = (0..total).map(|n| format!("n{n}")).collect();
    for names in names.chunks(antiphon::limits::DESCRIPTORS_PER_MESSAGE_MAX) {
        let signed = |name: &String| {
            let created = Stamp::at(WallClock(WALL));
            let mut terms = Descriptor::new(name.parse().unwrap(), key.node(), created);
            terms.replicas = 2;
            terms.min_copies = 1;
            terms.sign(&key).unwrap()
        };
        let descriptors: Vec<_> = names.iter().map(signed).collect();
        // The other one learns them by comparing.
        let replicate = Replicate { descriptors, ..Replicate::default() };
        world.call(0, Request::Node(NodeRequest::Replicate(replicate)));
    }
    world.run(Duration::from_secs(30));
    assert_eq!(world.disk(1).tables.descriptors.len(), total, "all are compared");
    world.kill(1);
    world.run(Duration::from_secs(2));
    let last = names.iter().max_by_key(|name| World::topic(name)).unwrap();
    assert!(world.publish(0, World::publish_request(last, 1, 0, &lines(0, 5))).acknowledged);
    world.start(1);
    world.join();
    world.run(Duration::from_secs(10));
    let topic = World::topic(last);
    assert!(
        world.disk(1).batches.keys().any(|(id, _, _)| *id == topic),
        "the topic is never compared"
    );
}
