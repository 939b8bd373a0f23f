//! What a node signs or says alone counts once it is established here.

use super::{
    shares::{first_batch, replicate, sealed, topic},
    *,
};
use crate::{
    limits::{STRANGER_DRIFT_MAX, WRITER_LOGS_MAX},
    model::{Batch, Entry, Frontier, LogId, SignedHeader, Span},
    wire::{Gossip, LogRange, Read},
};

const DAY: Duration = Duration::from_hours(24);

/// A node with a topic, whose homes are this node and two others that came an hour ago, and node 4,
/// which came just now.
fn with_a_newcomer() -> Script {
    let mut script = Script::on_probation(Recovered::default(), DAY).and_replicas();
    for _ in 0..360 {
        script.pass(Duration::from_secs(10));
        for other in [2, 3] {
            script.connect(other);
        }
    }
    script.connect(4);
    script
}

fn early(of: u8) -> Batch {
    let ahead = STRANGER_DRIFT_MAX + Duration::from_hours(2);
    sealed(&key(of), 1, "x", Stamp::at(WallClock(0).plus(ahead)))
}

/// How many batches another node stores of these, and why not all.
fn brought(script: &mut Script, by: u8, batch: Batch) -> (usize, BTreeSet<String>) {
    replicate(script, Asker::Node(key(by).node()), vec![batch])
}

#[test]
fn a_batch_of_a_newcomer_that_is_stamped_ahead_is_refused_until_its_time() {
    let mut script = with_a_newcomer();
    let batch = early(4);
    let (stored, reasons) = brought(&mut script, 4, batch.clone());
    assert!(stored == 0 && reasons.iter().all(|it| it.contains("in the future")), "{reasons:?}");
    let gossip = Gossip::Batch(batch.clone());
    assert!(!script.engine.admits(&gossip), "it is not passed on");
    let import = Import {
        topic: "t".parse().unwrap(),
        replicate: Replicate { batches: vec![batch.clone()], ..Replicate::default() },
        trimmed: Vec::new(),
    };
    let outputs = script.ask(90, Request::Client(ClientRequest::Import(import)));
    let refused = |it: &Output| {
        matches!(it, Output::Answer { response: Response::Refused(Refusal::OverBudget { .. }), .. })
    };
    assert!(outputs.iter().any(refused), "nor to those who believe this node: {outputs:?}");
    assert_eq!(brought(&mut script, 2, early(3)).0, 1, "a node that is there for as long");
    assert_eq!(brought(&mut script, 2, batch).0, 1, "what such a node brings");
}

#[test]
fn in_a_new_network_no_clock_that_is_ahead_keeps_a_node_out() {
    let mut script = Script::on_probation(Recovered::default(), DAY).and_replicas();
    assert_eq!(brought(&mut script, 2, early(2)).0, 1);
}

#[test]
fn of_two_clocks_that_disagree_the_later_one_says_what_is_too_early() {
    let mut script = Script::on_probation(Recovered::default(), DAY);
    let clocks = &mut script.engine.core.clocks;
    let ahead = WallClock(0).plus(DAY);
    clocks.told(Duration::ZERO, key(2).node(), Duration::ZERO, ahead);
    clocks.judge();
    assert_eq!(clocks.latest(Duration::ZERO), ahead);
    let right = WallClock(0);
    for other in [3, 4] {
        clocks.told(Duration::ZERO, key(other).node(), Duration::ZERO, right);
    }
    clocks.judge();
    assert_eq!(clocks.latest(Duration::ZERO), right, "most agree");
}

/// Found by the simulation: each home replica kept other logs of a writer that signed too many.
#[test]
fn which_logs_of_a_newcomer_are_kept_follows_from_the_set() {
    let kept = |numbers: Vec<u64>| {
        let mut script = with_a_newcomer();
        let batches = numbers.into_iter().map(|number| first_batch(&key(4), number));
        for batch in batches {
            brought(&mut script, 4, batch);
        }
        let known = script.engine.core.topics.get(&topic()).unwrap();
        let logs = known.logs_of(key(4).node()).map(|(log, _)| log.incarnation.0);
        logs.collect::<Vec<_>>()
    };
    let lowest: Vec<u64> = (0..WRITER_LOGS_MAX as u64).collect();
    assert_eq!(kept((0..70).collect()), lowest);
    assert_eq!(kept((0..70).rev().collect()), lowest);
    let mut script = Script::with_replicas();
    let batches = (0..70).rev().map(|number| first_batch(&key(2), number)).collect();
    replicate(&mut script, Asker::Node(key(2).node()), batches);
    let known = script.engine.core.topics.get(&topic()).unwrap();
    let first = known.logs_of(key(2).node()).next().unwrap().0.incarnation.0;
    assert_eq!(first, 6, "of an established node nothing makes room");
}

/// Reads to the end of a log that a node signed, and that nobody gives.
/// Meanwhile records come.
fn read_what_nobody_gives(script: &mut Script, of: u8) -> Response {
    let batch = first_batch(&key(of), 5);
    let span = Span { first: 0, next: 1, head: batch.hash() };
    let entry = Entry { spans: vec![span], ..Entry::default() };
    let members = script.engine.core.members.digest();
    let held = Held {
        frontier: Frontier([(batch.log(), entry)].into()),
        heads: vec![SignedHeader::of(&batch)],
        members,
        ..Held::default()
    };
    let mut until = Cursor::start(topic());
    until.advance(&batch);
    let read = Read {
        topic: "t".parse().unwrap(),
        after: Cursor::start(topic()),
        until: Some(until),
        bytes_max: 1_000,
        wait_ms: 0,
    };
    let follows = Read { until: None, wait_ms: 30_000, ..read.clone() };
    script.ask(81, Request::Client(ClientRequest::Read(follows)));
    let mut outputs = script.ask(80, Request::Client(ClientRequest::Read(read)));
    for round in 0..200 {
        let mut next = script.ask(1_000 + round, publish(round, "a", 100));
        for output in outputs {
            match output {
                Output::Answer { question: QuestionId(80), response, .. } => return response,
                Output::Ask { ask, request: Request::Node(NodeRequest::Frontier(..)), .. } => {
                    let told = Ok(Response::Held(held.clone()));
                    next.extend(script.give(Input::Told { ask, result: told }));
                }
                Output::Ask { ask, request: Request::Node(NodeRequest::Fetch(..)), .. } => {
                    let told = Ok(Response::Page(Page::default()));
                    next.extend(script.give(Input::Told { ask, result: told }));
                }
                _ => {}
            }
        }
        next.extend(script.pass(Duration::from_millis(100)));
        outputs = next;
    }
    panic!("the read does not end")
}

#[test]
fn a_read_ends_without_what_a_newcomer_signed_and_nobody_gives() {
    let mut script = with_a_newcomer();
    let log = LogId { writer: key(4).node(), incarnation: Incarnation(5) };
    match read_what_nobody_gives(&mut script, 4) {
        Response::Page(page) => {
            assert!(page.finished && page.batches.is_empty());
            assert_eq!(page.withheld, [LogRange { log, from: 0, to: 1 }]);
        }
        other => panic!("{other:?}"),
    }
    let refused = read_what_nobody_gives(&mut script, 3);
    assert_eq!(refused, Response::Refused(Refusal::Unreachable), "its records may come back");
}
