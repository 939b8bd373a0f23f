//! A writer, or a twin of it, signs two batches for one position: all nodes come to the same, both
//! branches are kept and read, and the writer goes on.

mod let_go;

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    engine::{Damage, Report},
    model::{
        Batch, Draft, ForkProof, LogId, NodeKey, Previous, ProducerId, Record, Run, Stamp,
        WallClock, encode_record,
    },
    wire::{ClientRequest, NodeRequest, Outcome, Refusal, Replicate, Request, Response},
};

use crate::script::{World, payloads_of};

const SOON: Duration = Duration::from_secs(20);

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// A twin: what it signs continues a chain that the writer has, or its own.
struct Twin {
    key: NodeKey,
    log: LogId,
    previous: Option<Previous>,
    producer: u8,
}

impl Twin {
    /// A twin of the writer that knows the log up to `at`.
    fn of(world: &World, writer: usize, batches: &[Batch], at: u64, producer: u8) -> Self {
        let before = batches.iter().find(|batch| batch.header().next() == at);
        let previous = before.map(|batch| Previous {
            incarnation: batch.header().incarnation,
            next: at,
            hash: batch.hash(),
        });
        Self { key: world.key(writer), log: batches[0].header().log(), previous, producer }
    }

    fn seal(&mut self, payload: &str) -> Batch {
        let first = self.previous.map_or(0, |previous| previous.next);
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), payload.as_bytes().to_vec()), &mut body).unwrap();
        let run = Run { producer: ProducerId([self.producer; 16]), first, count: 1 };
        let draft = Draft {
            topic: World::topic("t"),
            incarnation: self.log.incarnation,
            previous: self.previous,
            stamp: Stamp::at(WallClock(1_700_000_060_000 + first)),
            runs: vec![run],
        };
        let batch = draft.seal(&body.into(), &self.key);
        let (incarnation, next) = (self.log.incarnation, first + 1);
        self.previous = Some(Previous { incarnation, next, hash: batch.hash() });
        batch
    }
}

fn replicate(batches: &[Batch]) -> Request {
    Request::Node(NodeRequest::Replicate(Replicate {
        batches: batches.to_vec(),
        ..Replicate::default()
    }))
}

/// The batches of a topic at a node, in order.
fn held(world: &World, node: usize) -> Vec<Batch> {
    let topic = World::topic("t");
    let of_topic = world.disk(node).batches.iter().filter(|((id, ..), _)| *id == topic);
    of_topic.map(|(_, batch)| batch.clone()).collect()
}

fn publish_each(world: &mut World, node: usize, from: usize, to: usize) {
    for number in from..to {
        let request = World::publish_request("t", 1, number as u64, &lines(number, number + 1));
        assert!(world.publish(node, request).acknowledged);
    }
}

/// Every record of a topic that a node's readers get, and which came in branches.
fn read(world: &mut World, node: usize) -> (Vec<String>, Vec<String>) {
    let mut cursor = antiphon::model::Cursor::start(World::topic("t"));
    let (mut all, mut forked) = (Vec::new(), Vec::new());
    // As a client does: what was published again is told by its name.
    let (mut seen, mut seen_forked) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let mut request = World::read_request("t", &cursor, None);
        if let Request::Client(ClientRequest::Read(read)) = &mut request {
            read.wait_ms = 1_500;
        }
        let Response::Page(page) = world.call(node, request) else { panic!("no page") };
        if page.batches.is_empty() {
            return (all, forked);
        }
        for batch in &page.batches {
            let (first, next) = (batch.header().first, cursor.next(&batch.log()));
            let told = page.trimmed.iter().any(|gone| (gone.log, gone.to) == (batch.log(), first));
            assert!(first <= next || next == 0 && batch.is_root() || told, "{batch:?}");
            for (payload, id) in payloads_of(batch).into_iter().zip(batch.header().record_ids()) {
                if batch.is_of_branch() && seen_forked.insert(id) {
                    forked.push(payload.clone());
                }
                if seen.insert(id) {
                    all.push(payload);
                }
            }
            cursor.advance(batch);
        }
    }
}

fn log_of(world: &World, node: usize) -> LogId {
    held(world, node)[0].header().log()
}

/// All homes hold the same, filed alike, and know the fork.
#[track_caller]
fn converge(world: &mut World, homes: &[usize], log: LogId, at: u64, branches: usize) {
    world.run_until("all homes hold both branches, filed alike", SOON * 3, |world| {
        let filed = |world: &World, node: usize| -> BTreeSet<_> {
            held(world, node)
                .iter()
                .map(|batch| (batch.log(), batch.header().first, batch.hash()))
                .collect()
        };
        let same = homes.windows(2).all(|two| filed(world, two[0]) == filed(world, two[1]));
        let sealed = homes.iter().all(|home| {
            held(world, *home).iter().all(|batch| batch.log() != log || batch.header().next() <= at)
        });
        let parted: BTreeSet<_> = held(world, homes[0])
            .iter()
            .filter(|batch| batch.is_of_branch())
            .map(Batch::log)
            .collect();
        same && sealed && parted.len() == branches
    });
    for home in homes {
        assert!(world.proofs(*home).iter().any(|proof| (proof.log(), proof.at()) == (log, at)));
        let told = world.survey(*home, "t").forks;
        assert!(
            told.iter().any(|fork| fork.incarnation == log.incarnation && fork.at == at),
            "{told:?}"
        );
    }
}

fn three() -> World {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    world.run(Duration::from_secs(1));
    world
}

fn assert_read(world: &mut World, nodes: &[usize], expected: &[&str], of_branches: &[&str]) {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    for node in nodes {
        let (all, forked) = read(world, *node);
        assert_eq!(
            sorted(&all),
            sorted(&expected.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()),
            "at {node}"
        );
        assert_eq!(
            sorted(&forked),
            sorted(&of_branches.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()),
            "at {node}"
        );
    }
}

#[test]
fn a_second_batch_for_a_position_is_found_at_once_and_is_no_receipt() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    // Inside a span, where the numbers alone say that it is held.
    let twin = Twin::of(&world, 0, &batches, 1, 7).seal("twin 1");
    let from = world.id(0);
    let answer = world.call_from(from, 1, replicate(std::slice::from_ref(&twin)));
    let Response::Replicated(outcomes) = answer else { panic!("{answer:?}") };
    let [Outcome::Refused(Refusal::Forked(Some(proof)))] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let proof = ForkProof::verify(&proof.0).unwrap();
    assert_eq!((proof.log(), proof.at()), (log, 1));
    converge(&mut world, &[0, 1, 2], log, 1, 1);
    let reports: Vec<_> =
        world.reports.iter().filter(|(_, report)| matches!(report, Report::Fork(..))).collect();
    assert_eq!(reports.len(), 3, "once for each node: {reports:?}");
    // The writer goes on, in another incarnation, after its own branch.
    publish_each(&mut world, 0, 3, 4);
    let after = held(&world, 1);
    let newest = after.iter().find(|batch| payloads_of(batch) == ["line 3"]).unwrap();
    assert!(newest.header().incarnation != log.incarnation && !newest.is_of_branch());
    let branch = after.iter().find(|batch| payloads_of(batch) == ["line 2"]).unwrap();
    let previous = newest.header().previous.unwrap();
    assert_eq!(
        (previous.incarnation, previous.next, previous.hash),
        (branch.log().incarnation, 3, branch.hash())
    );
    assert_read(
        &mut world,
        &[0, 1, 2],
        &["line 0", "line 1", "line 2", "line 3"],
        &["line 1", "line 2"],
    );
}

#[test]
fn branches_of_several_batches_on_both_sides_of_a_partition_are_both_kept() {
    let mut world = World::new(4);
    world.join();
    let owners = world.create(0, "t", 4);
    assert_eq!(owners.len(), 4);
    publish_each(&mut world, 0, 0, 2);
    world.run(Duration::from_secs(1));
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    for here in [0, 1] {
        for there in [2, 3] {
            world.cut(here, there);
        }
    }
    world.run(Duration::from_secs(7));
    publish_each(&mut world, 0, 2, 5);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    let twins: Vec<_> = (2..6).map(|number| twin.seal(&format!("twin {number}"))).collect();
    let from = world.id(0);
    for node in [2, 3] {
        let answer = world.call_from(from, node, replicate(&twins));
        assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; 4]));
    }
    world.heal();
    converge(&mut world, &[0, 1, 2, 3], log, 2, 2);
    let mine = ["line 2", "line 3", "line 4"];
    let theirs = ["twin 2", "twin 3", "twin 4", "twin 5"];
    let branches = [mine.as_slice(), &theirs].concat();
    let all = [["line 0", "line 1"].as_slice(), &branches].concat();
    assert_read(&mut world, &[0, 1, 2, 3], &all, &branches);
    publish_each(&mut world, 0, 5, 6);
    // Then it is quiet.
    world.run(Duration::from_secs(10));
    let asked = world.asked;
    world.run(Duration::from_secs(10));
    assert!(world.asked - asked < 150, "{} requests in 10 s of rest", world.asked - asked);
}

#[test]
fn logs_of_one_length_that_differ_are_found_by_repair() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 2);
    world.run(Duration::from_secs(1));
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    world.cut(2, 0);
    world.cut(2, 1);
    world.run(Duration::from_secs(7));
    publish_each(&mut world, 0, 2, 4);
    let mut twin = Twin::of(&world, 0, &batches, 2, 7);
    let twins = [twin.seal("twin 2"), twin.seal("twin 3")];
    let from = world.id(0);
    world.call_from(from, 2, replicate(&twins));
    world.heal();
    converge(&mut world, &[0, 1, 2], log, 2, 2);
    let branches = ["line 2", "line 3", "twin 2", "twin 3"];
    let all = [["line 0", "line 1"].as_slice(), &branches].concat();
    assert_read(&mut world, &[0, 1, 2], &all, &branches);
}

#[test]
fn an_incarnation_may_fork_at_its_start() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 2);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    let twin = Twin::of(&world, 0, &batches, 0, 7).seal("twin 0");
    let from = world.id(0);
    world.call_from(from, 1, replicate(&[twin]));
    converge(&mut world, &[0, 1, 2], log, 0, 1);
    publish_each(&mut world, 0, 2, 3);
    assert_read(&mut world, &[0, 1, 2], &["line 0", "line 1", "line 2"], &["line 0", "line 1"]);
}

#[test]
fn a_third_branch_is_taken_from_nobody_who_knows() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    let from = world.id(0);
    let second = Twin::of(&world, 0, &batches, 1, 7).seal("twin 1");
    world.call_from(from, 1, replicate(std::slice::from_ref(&second)));
    converge(&mut world, &[0, 1, 2], log, 1, 1);
    let third = Twin::of(&world, 0, &batches, 1, 8).seal("another 1");
    let later = Twin::of(&world, 0, &batches, 2, 8).seal("another 2");
    for node in 0..3 {
        let answer = world.call_from(from, node, replicate(&[third.clone(), later.clone()]));
        let Response::Replicated(outcomes) = &answer else { panic!("{answer:?}") };
        assert!(
            outcomes.iter().all(|it| matches!(it, Outcome::Refused(Refusal::Forked(_)))),
            "{answer:?}"
        );
        // Filed under a branch that nothing proves, neither.
        let filed = third.clone().filed(antiphon::model::Incarnation::of_branch(third.hash()));
        let answer = world.call_from(from, node, replicate(&[filed]));
        assert!(!matches!(&answer, Response::Replicated(it) if it.contains(&Outcome::Stored)));
    }
    world.run(Duration::from_secs(5));
    assert_read(&mut world, &[0, 1, 2], &["line 0", "line 1", "line 2"], &["line 1", "line 2"]);
}

#[test]
fn three_branches_that_nodes_stored_before_they_knew_are_all_kept() {
    let mut world = World::new(3);
    world.join();
    let create = antiphon::wire::Create {
        replicas: Some(3),
        min_copies: Some(1),
        ..antiphon::wire::Create::new("t".parse().unwrap())
    };
    world.call(0, Request::Client(ClientRequest::Create(create)));
    publish_each(&mut world, 0, 0, 1);
    world.run(Duration::from_secs(1));
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        world.cut(one, other);
    }
    world.run(Duration::from_secs(7));
    publish_each(&mut world, 0, 1, 2);
    let from = world.id(0);
    for node in [1, 2] {
        let mut twin = Twin::of(&world, 0, &batches, 1, 6 + u8::try_from(node).unwrap());
        let twins = [twin.seal(&format!("twin of {node}")), twin.seal(&format!("more of {node}"))];
        let answer = world.call_from(from, node, replicate(&twins));
        assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; 2]));
    }
    world.heal();
    converge(&mut world, &[0, 1, 2], log, 1, 3);
    let branches = ["line 1", "twin of 1", "more of 1", "twin of 2", "more of 2"];
    let all = [["line 0"].as_slice(), &branches].concat();
    assert_read(&mut world, &[0, 1, 2], &all, &branches);
}

#[test]
fn a_forged_proof_changes_nothing() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    // Somebody else's key cannot make a twin; a refusal with somebody else's fork says nothing.
    let mut stranger = Twin::of(&world, 1, &batches, 1, 7);
    let one = stranger.seal("one");
    let mut stranger = Twin::of(&world, 1, &batches, 1, 7);
    let two = stranger.seal("two");
    let proof = ForkProof::of(&one, &two).unwrap();
    let mut bytes = proof.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(ForkProof::verify(&bytes.into()).is_err());
    let forged = one.clone().filed(antiphon::model::Incarnation::of_branch(one.hash()));
    let from = world.id(2);
    for node in 0..3 {
        world.call_from(from, node, replicate(std::slice::from_ref(&forged)));
    }
    world.run(Duration::from_secs(3));
    for node in 0..3 {
        assert!(world.proofs(node).is_empty());
        assert!(held(&world, node).iter().all(|batch| batch.log() == log));
    }
}

#[test]
fn a_crash_while_branches_are_filed_loses_nothing() {
    for delay in 0..24 {
        let mut world = three();
        publish_each(&mut world, 0, 0, 6);
        world.run(Duration::from_secs(1));
        let batches = held(&world, 0);
        let log = log_of(&world, 0);
        let twin = Twin::of(&world, 0, &batches, 1, 7).seal("twin 1");
        let from = world.id(0);
        let before: BTreeSet<_> = held(&world, 1).iter().map(Batch::hash).collect();
        world.ask(1, replicate(std::slice::from_ref(&twin)));
        world.run(Duration::from_micros(200) + Duration::from_micros(150) * delay);
        world.kill(1);
        let after: BTreeSet<_> = held(&world, 1).iter().map(Batch::hash).collect();
        assert_eq!(before, after, "a crash after {delay} steps lost something");
        world.start(1);
        world.join();
        world.call_from(from, 1, replicate(&[twin]));
        converge(&mut world, &[0, 1, 2], log, 1, 1);
        let branch = ["line 1", "line 2", "line 3", "line 4", "line 5"];
        let all = [["line 0"].as_slice(), &branch].concat();
        assert_read(&mut world, &[1], &all, &branch);
    }
}

#[test]
fn a_writer_far_from_home_learns_of_its_fork_when_it_goes_on() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    let writer = (0..6).find(|node| !owners.contains(node)).unwrap();
    publish_each(&mut world, writer, 0, 3);
    let log = log_of(&world, owners[0]);
    world.run(Duration::from_secs(15));
    let batches = held(&world, owners[0]);
    let twin = Twin::of(&world, writer, &batches, 2, 7).seal("twin 2");
    let from = world.id(writer);
    world.call_from(from, owners[0], replicate(&[twin]));
    publish_each(&mut world, writer, 3, 6);
    converge(&mut world, &owners, log, 2, 1);
    world.run_until("nobody else holds any of it", SOON * 2, |world| {
        (0..6).all(|node| owners.contains(&node) || held(world, node).is_empty())
    });
    let all = ["line 0", "line 1", "line 2", "line 3", "line 4", "line 5"];
    assert_read(&mut world, &[0, 1, 2, 3, 4, 5], &all, &["line 2", "line 3"]);
}

#[test]
fn a_writer_goes_on_where_its_twin_took_the_place_of_what_its_disk_lost() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 3);
    let batches = held(&world, 0);
    let lost = &batches[2];
    let twin = Twin::of(&world, 0, &batches, 2, 7).seal("twin 2");
    let from = world.id(0);
    world.damage(
        0,
        Damage {
            topic: World::topic("t"),
            log: lost.header().log(),
            first: 2,
            next: 3,
            hash: lost.hash(),
            previous: Some((batches[1].hash(), batches[1].header().stamp)),
        },
    );
    world.call_from(from, 0, replicate(&[twin]));
    publish_each(&mut world, 0, 3, 6);
    let all = ["line 0", "line 1", "line 2", "line 3", "line 4", "line 5", "twin 2"];
    world.run_until("everything is at every node", SOON, |world| {
        (0..3).all(|node| {
            let (mut read, _) = read(world, node);
            read.sort_unstable();
            read == all
        })
    });
}

#[test]
fn a_branch_at_a_stand_in_is_handed_over_and_not_given_up_by_numbers() {
    let mut world = World::new(6);
    world.join();
    let owners = world.create(0, "t", 2);
    publish_each(&mut world, owners[0], 0, 2);
    world.run(Duration::from_secs(1));
    let batches = held(&world, owners[0]);
    let log = log_of(&world, owners[0]);
    let stand_in = (0..6).find(|node| !owners.contains(node)).unwrap();
    // It has the same start, and another batch where the homes have more by now.
    let twin = Twin::of(&world, owners[0], &batches, 1, 7).seal("twin 1");
    let from = world.id(owners[0]);
    let answer = world.call_from(from, stand_in, replicate(&[batches[0].clone(), twin]));
    assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; 2]));
    publish_each(&mut world, owners[0], 2, 5);
    converge(&mut world, &owners, log, 1, 2);
    world.run_until("the stand-in has nothing left", SOON * 2, |world| {
        held(world, stand_in).is_empty()
    });
    let branches = ["line 1", "twin 1", "line 2", "line 3", "line 4"];
    let (all, _) = read(&mut world, owners[1]);
    assert!(branches.iter().all(|line| all.iter().any(|it| it == line)), "{all:?}");
}

#[test]
fn parts_that_came_before_their_branch_forked_are_filed_under_its_branches() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 1);
    world.run(Duration::from_secs(1));
    for node in [0, 1] {
        world.cut(node, 2);
    }
    publish_each(&mut world, 0, 1, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    let mut twin = Twin::of(&world, 0, &batches, 1, 7);
    let chain: Vec<_> = (1..8).map(|number| twin.seal(&format!("twin {number}"))).collect();
    // Another chain parts from the twin's, after its first batch.
    let mut other = Twin::of(&world, 0, &chain, 2, 8);
    let others: Vec<_> = (2..4).map(|number| other.seal(&format!("other {number}"))).collect();
    let from = world.id(0);
    // Of both it has parts that nothing connects; then the start of the twin's, as a branch.
    world.call_from(from, 2, replicate(&[others, chain[4..].to_vec()].concat()));
    let branch = antiphon::model::Incarnation::of_branch(chain[0].hash());
    let filed: Vec<_> = chain.iter().map(|batch| batch.clone().filed(branch)).collect();
    let proof = ForkProof::of(&batches[1], &chain[0]).unwrap();
    let forks = antiphon::wire::Proofs::of([&proof].into_iter());
    let request = Replicate { batches: filed, forks, ..Replicate::default() };
    world.call_from(from, 2, Request::Node(NodeRequest::Replicate(request)));
    world.heal();
    converge(&mut world, &[0, 1, 2], log, 1, 4);
}

#[test]
fn forks_that_are_told_together_part_what_is_filed_by_the_first_of_them() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 1);
    world.run(Duration::from_secs(1));
    for node in [0, 1] {
        world.cut(node, 2);
    }
    publish_each(&mut world, 0, 1, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    let mut twin = Twin::of(&world, 0, &batches, 1, 7);
    let start = [twin.seal("twin 1")];
    let mut third = Twin::of(&world, 0, &start, 2, 8);
    let mut other = Twin::of(&world, 0, &start, 2, 9);
    let from = world.id(0);
    let chain = [start[0].clone(), third.seal("third 2"), third.seal("third 3")];
    let answer = world.call_from(from, 2, replicate(&chain));
    assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; 3]));
    // Of the second fork neither branch is what this node holds.
    let proofs = [
        ForkProof::of(&batches[1], &start[0]).unwrap(),
        ForkProof::of(&twin.seal("twin 2"), &other.seal("other 2")).unwrap(),
    ];
    let forks = antiphon::wire::Proofs::of(proofs.iter());
    let own = antiphon::model::Incarnation::of_branch(batches[1].hash());
    let batches = vec![batches[1].clone().filed(own)];
    let request = Replicate { batches, forks, ..Replicate::default() };
    world.call_from(from, 2, Request::Node(NodeRequest::Replicate(request)));
    world.heal();
    converge(&mut world, &[0, 1, 2], log, 1, 3);
    let branch = antiphon::model::Incarnation::of_branch(chain[1].hash());
    let ends: Vec<_> = held(&world, 0).into_iter().filter(|batch| *batch == chain[2]).collect();
    assert_eq!(
        ends.iter().map(Batch::log).collect::<Vec<_>>(),
        [LogId { incarnation: branch, ..log }]
    );
}

#[test]
fn a_part_that_comes_after_a_branch_has_forked_is_filed_where_it_belongs() {
    let mut world = three();
    publish_each(&mut world, 0, 0, 3);
    let batches = held(&world, 0);
    let log = log_of(&world, 0);
    let from = world.id(0);
    let mut twin = Twin::of(&world, 0, &batches, 1, 7);
    let start = [twin.seal("twin 1"), twin.seal("twin 2")];
    let mut other = Twin::of(&world, 0, &start, 3, 8);
    let parted = other.seal("other 3");
    let rest = [twin.seal("twin 3"), twin.seal("twin 4")];
    let branch = antiphon::model::Incarnation::of_branch(start[0].hash());
    let filed = |batch: &Batch| batch.clone().filed(branch);
    world.call_from(from, 1, replicate(&start[..1]));
    world.run_until("the fork is known", SOON, |world| !world.proofs(1).is_empty());
    world.run(Duration::from_secs(5));
    let branch_goes_on = [&start[0], &start[1], &rest[0]].map(filed);
    let answer = world.call_from(from, 1, replicate(&branch_goes_on));
    assert_eq!(answer, Response::Replicated(vec![Outcome::Stored; 3]));
    // The branch forks in its turn.
    world.call_from(from, 1, replicate(&[filed(&parted)]));
    let forks = |world: &World| world.proofs(1).len();
    world.run_until("that is known, too", SOON, |world| forks(world) == 2);
    world.run(Duration::from_secs(5));
    // Somebody who did not know of it had filed the end under the first branch, and hands it over.
    let answer = world.call_from(from, 1, replicate(&[filed(&rest[1])]));
    assert_eq!(answer, Response::Replicated(vec![Outcome::Stored]));
    let inner =
        LogId { incarnation: antiphon::model::Incarnation::of_branch(rest[0].hash()), ..log };
    world.run_until("all have filed it", SOON, |world| {
        (0..3).all(|node| {
            let held = held(world, node);
            let ends: Vec<_> = held.iter().filter(|batch| **batch == rest[1]).collect();
            ends.len() == 1 && ends[0].log() == inner
        })
    });
    // At once: what it follows has been read under the branch that it parted from.
    let (all, _) = read(&mut world, 2);
    assert_eq!(all[3..], ["twin 1", "twin 2", "twin 3", "twin 4"], "{all:?}");
}
