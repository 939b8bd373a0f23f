//! Copies go, and records are acknowledged, only on proof or on the word of acquainted nodes.

use super::*;
use crate::{
    limits::{PROVES_MAX, PROVES_WAITING_PER_ASKER_MAX},
    model::{Batch, Frontier, LogId, Retention, Run, Stamp, TopicName},
    wire::{Compared, LogRange, Page, Whereabouts, possession},
};

const DAY: Duration = Duration::from_hours(24);

/// A node with one other, 2, which is the one home replica of the topic.
pub(super) struct Lone {
    pub(super) script: Script,
    pub(super) topic: TopicName,
}

impl Lone {
    pub(super) fn new(probation: Duration) -> Self {
        Self::with(probation, Retention::default())
    }

    pub(super) fn with(probation: Duration, retention: Retention) -> Self {
        let mut config = Config::new(key(1), crate::model::Network::default(), Incarnation(7), 0);
        config.probation = probation;
        let engine = Engine::new(config, settled(1, settled(2, Recovered::default())));
        let mut script = Script { engine, now: Now::default() };
        script.give(Input::Timeout);
        script.connect(2);
        for number in 0..100 {
            let topic: TopicName = format!("t{number}").parse().unwrap();
            let create = Create {
                replicas: Some(1),
                min_copies: Some(1),
                retention,
                ..Create::new(topic.clone())
            };
            let outputs = script.ask(1, Request::Client(ClientRequest::Create(create)));
            for (ask, _) in asks(&outputs) {
                let unknown = Ok(Response::Described(None));
                for (ask, _) in asks(&script.give(Input::Told { ask, result: unknown })) {
                    script.give(Input::Told { ask, result: Err(Failure::TimedOut) });
                }
            }
            let id = script.engine.core.topics.named(&topic).unwrap();
            let (members, known) = (&script.engine.core.members, &mut script.engine.core.topics);
            if known.get_mut(&id).unwrap().placement(members).is_home(&key(2).node()) {
                return Self { script, topic };
            }
        }
        panic!("one of two nodes is the home replica of all topics");
    }

    /// Publishes one record; its batch, its write, and the question to the home replica.
    pub(super) fn publish(&mut self) -> (Batch, WriteNumber, AskId) {
        self.publish_at(0)
    }

    fn publish_at(&mut self, number: u64) -> (Batch, WriteNumber, AskId) {
        let Request::Client(ClientRequest::Publish(publish)) = publish(number, "a", 5_000) else {
            unreachable!()
        };
        let publish = Publish { topic: self.topic.clone(), ..publish };
        let outputs = self.script.ask(2, Request::Client(ClientRequest::Publish(publish)));
        let written = outputs.iter().find_map(|output| match output {
            Output::Write(number, Write::Append { batch, .. }) => Some((batch.clone(), *number)),
            _ => None,
        });
        let (batch, number) = written.unwrap_or_else(|| panic!("{outputs:?}"));
        (batch, number, asks(&outputs)[0].0)
    }

    /// Lets time pass until this node wants to know what the home replica holds, and says that it
    /// holds the very same. What comes out then.
    fn hold_the_same(&mut self) -> Vec<Output> {
        for _ in 0..300 {
            let outputs = self.script.pass(Duration::from_millis(100));
            self.script.give(Input::Heard(key(2).node(), None));
            let frontier = |output: &Output| match output {
                Output::Ask {
                    ask,
                    request: Request::Node(NodeRequest::Frontier(topic, ..)),
                    ..
                } => Some((*ask, *topic)),
                _ => None,
            };
            if let Some((ask, topic)) = outputs.iter().find_map(frontier) {
                let frontier = self.frontier(topic);
                let held = Held { frontier, keeps: true, ..Held::default() };
                return self.script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
            }
        }
        panic!("nobody asks the home replica");
    }

    /// The home replica says that it holds the same, and is asked to prove it.
    fn challenged(&mut self, batch: &Batch) -> (AskId, [u8; 32]) {
        let outputs = self.hold_the_same();
        assert!(!is_dropped(&outputs), "numbers and hashes are public");
        self.challenged_after(&outputs, batch)
    }

    /// The same after the read of what was drawn, which found this batch.
    fn challenged_after(&mut self, outputs: &[Output], batch: &Batch) -> (AskId, [u8; 32]) {
        let page = Page { batches: vec![batch.clone()], ..Page::default() };
        let [ticket] = reads(outputs)[..] else { panic!("{outputs:?}") };
        let outputs = self.script.give(Input::ReadDone(ticket, Some(page)));
        let asked = outputs.iter().find_map(|output| match output {
            Output::Ask {
                ask, request: Request::Node(NodeRequest::Prove(_, at, nonce)), ..
            } => Some((*ask, at.clone(), *nonce)),
            _ => None,
        });
        let (ask, ranges, nonce) = asked.unwrap_or_else(|| panic!("{outputs:?}"));
        assert_eq!(ranges, [LogRange::of(batch.header())]);
        (ask, nonce)
    }

    pub(super) fn frontier(&mut self, topic: TopicId) -> Frontier {
        self.script.engine.core.topics.get_mut(&topic).unwrap().frontier()
    }
}

fn reads(outputs: &[Output]) -> Vec<Ticket> {
    let read = |output: &Output| match output {
        Output::Read { ticket, .. } => Some(*ticket),
        _ => None,
    };
    outputs.iter().filter_map(read).collect()
}

fn is_dropped(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Write(_, Write::Drop { .. })))
}

pub(super) fn stored() -> Response {
    Response::Replicated(vec![Outcome::Stored])
}

#[test]
fn on_probation_a_receipt_counts_beside_a_copy_of_this_node() {
    let mut lone = Lone::new(DAY);
    let (_, number, ask) = lone.publish();
    let outputs = lone.script.give(Input::Told { ask, result: Ok(stored()) });
    assert_eq!(published(&outputs), [], "a key costs nothing, nor does its word");
    let outputs = lone.script.give(Input::Durable(number));
    assert!(published(&outputs)[0].1.acknowledged);

    let mut lone = Lone::new(Duration::ZERO);
    let (_, _, ask) = lone.publish();
    let outputs = lone.script.give(Input::Told { ask, result: Ok(stored()) });
    assert!(published(&outputs)[0].1.acknowledged, "the disk of an acquainted node");
}

#[test]
fn a_copy_stays_while_the_home_replicas_are_on_probation() {
    let mut lone = Lone::new(DAY);
    let (_, number, ask) = lone.publish();
    lone.script.give(Input::Durable(number));
    lone.script.give(Input::Told { ask, result: Ok(stored()) });
    let outputs = lone.hold_the_same();
    assert!(!is_dropped(&outputs) && asks(&outputs).is_empty(), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Read { .. })), "{outputs:?}");
    // A full disk must get on: then the proof alone is enough.
    lone.script.give(Input::Room(false));
    let outputs = lone.hold_the_same();
    assert!(outputs.iter().any(|output| matches!(output, Output::Read { .. })), "{outputs:?}");
}

#[test]
fn a_copy_goes_once_the_home_replica_has_proven_that_it_holds_the_same() {
    let mut lone = Lone::new(Duration::ZERO);
    let (batch, number, ask) = lone.publish();
    lone.script.give(Input::Durable(number));
    lone.script.give(Input::Told { ask, result: Ok(stored()) });
    // The proof of another node, passed on, is not that of this one.
    for (of, is_true) in [(3, false), (2, true)] {
        let (ask, nonce) = lone.challenged(&batch);
        let proof = possession(&key(of).node(), &nonce, &batch);
        let result = Ok(Response::Proven(vec![Some(proof)], Vec::new()));
        let outputs = lone.script.give(Input::Told { ask, result });
        assert_eq!(is_dropped(&outputs), is_true);
    }
}

/// One question is about a page at most, and a page may not hold all that was drawn.
#[test]
fn a_proof_of_some_batches_proves_nothing_of_the_others() {
    for is_true in [true, false] {
        let mut lone = Lone::new(Duration::ZERO);
        let mut batches = Vec::new();
        for number in 0..2 {
            let (batch, number, ask) = lone.publish_at(number);
            lone.script.give(Input::Durable(number));
            lone.script.give(Input::Told { ask, result: Ok(stored()) });
            batches.push(batch);
        }
        let mut outputs = lone.hold_the_same();
        for (batch, of) in batches.iter().zip([2, if is_true { 2 } else { 3 }]) {
            assert!(!is_dropped(&outputs));
            let (ask, nonce) = lone.challenged_after(&outputs, batch);
            let proof = possession(&key(of).node(), &nonce, batch);
            let result = Ok(Response::Proven(vec![Some(proof)], Vec::new()));
            outputs = lone.script.give(Input::Told { ask, result });
        }
        assert_eq!(is_dropped(&outputs), is_true);
    }
}

#[test]
fn what_is_damaged_here_is_proven_by_nobody() {
    let mut lone = Lone::new(Duration::ZERO);
    let (_, number, ask) = lone.publish();
    lone.script.give(Input::Durable(number));
    lone.script.give(Input::Told { ask, result: Ok(stored()) });
    let outputs = lone.hold_the_same();
    let [ticket] = reads(&outputs)[..] else { panic!("{outputs:?}") };
    let outputs = lone.script.give(Input::ReadDone(ticket, Some(Page::default())));
    assert!(!is_dropped(&outputs) && asks(&outputs).is_empty(), "{outputs:?}");
}

/// Found by the simulation: the home replica read its disk for the proof, and found it damaged.
#[test]
fn what_a_home_replica_lacks_was_not_compacted_there_unless_it_says_so() {
    let retention = Retention { tombstones_ms: Some(3_600_000), ..Retention::default() };
    let mut lone = Lone::with(Duration::ZERO, retention);
    let (batch, number, ask) = lone.publish();
    lone.script.give(Input::Durable(number));
    lone.script.give(Input::Told { ask, result: Ok(stored()) });
    let range = LogRange::of(batch.header());
    for compacted in [Vec::new(), vec![range]] {
        let is_so = !compacted.is_empty();
        let (ask, _) = lone.challenged(&batch);
        let result = Ok(Response::Proven(vec![None], compacted));
        assert_eq!(is_dropped(&lone.script.give(Input::Told { ask, result })), is_so);
    }
}

#[test]
fn a_node_proves_what_it_holds_and_nothing_else() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let held = LogRange::of(batch.header());
    let asked = vec![held, LogRange { to: held.to + 1, ..held }];
    let prove = Request::Node(NodeRequest::Prove(batch.header().topic, asked, [5; 32]));
    let asker = Asker::Node(key(2).node());
    script.connect(2);
    let question = QuestionId(3);
    let outputs = script.give(Input::Asked { question, asker, request: prove.clone() });
    let [Output::Read { ticket, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let page = Page { batches: vec![batch.clone()], ..Page::default() };
    let outputs = script.give(Input::ReadDone(ticket, Some(page)));
    let proof = possession(&key(1).node(), &[5; 32], batch);
    let expected = Response::Proven(vec![Some(proof), None], Vec::new());
    assert!(matches!(&outputs[..], [Output::Answer { response, .. }] if *response == expected));
    // No client is owed a proof: it costs a read.
    let asker = Asker::Client(None);
    let outputs = script.give(Input::Asked { question, asker, request: prove });
    assert!(matches!(&outputs[..], [Output::Answer { response: Response::Refused(_), .. }]));
}

#[test]
fn who_wants_too_many_proofs_waits_and_is_told_when_to_ask_again() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    script.connect(2);
    script.connect(3);
    let held = vec![LogRange::of(batch.header())];
    let prove = Request::Node(NodeRequest::Prove(batch.header().topic, held, [5; 32]));
    let ask = |script: &mut Script, number: u64, of: u8| {
        let (question, asker) = (QuestionId(number), Asker::Node(key(of).node()));
        script.give(Input::Asked { question, asker, request: prove.clone() })
    };
    let (mut reading, mut refused) = (Vec::new(), Vec::new());
    let all = PROVES_MAX + PROVES_WAITING_PER_ASKER_MAX;
    for number in 0..=all {
        let outputs = ask(&mut script, 100 + number as u64, 2);
        reading.extend(reads(&outputs));
        refused.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Answer { response: Response::Refused(refusal), .. } => Some(refusal),
            _ => None,
        }));
    }
    assert_eq!(reading.len(), PROVES_MAX, "the others wait");
    assert!(
        matches!(refused[..], [Refusal::OverBudget { retry_after_ms: 1.., .. }]),
        "{refused:?}"
    );
    let other = 1_000;
    assert_eq!(ask(&mut script, other, 3), [], "it has its part");
    let page = Page { batches: vec![batch.clone()], ..Page::default() };
    let mut answered = Vec::new();
    let mut reading = VecDeque::from(reading);
    while let Some(ticket) = reading.pop_front() {
        for output in script.give(Input::ReadDone(ticket, Some(page.clone()))) {
            match output {
                Output::Read { ticket, .. } => reading.push_back(ticket),
                Output::Answer { question, response: Response::Proven(..), .. } => {
                    answered.push(question.0);
                }
                output => panic!("{output:?}"),
            }
        }
    }
    assert_eq!(answered.len(), all + 1);
    let turn = answered.iter().position(|question| *question == other).unwrap();
    assert!(turn <= PROVES_MAX + 1, "each asker in turn: {turn}");
}

/// How node 2 answers questions for proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Given,
    Missing,
    Refused,
}

/// What a home replica answers that says it holds all; node 2 proves it only if it is told to.
fn answer(
    script: &mut Script,
    batch: &Batch,
    to: NodeId,
    request: &NodeRequest,
    proof: Proof,
) -> Option<Response> {
    Some(match request {
        NodeRequest::Prove(..) if proof == Proof::Refused && to == key(2).node() => {
            let reason = "it is busy".to_owned();
            Response::Refused(Refusal::OverBudget { reason, retry_after_ms: 100 })
        }
        NodeRequest::Prove(_, ranges, nonce) => {
            assert_eq!(*ranges, [LogRange::of(batch.header())]);
            let is_true = proof == Proof::Given || to != key(2).node();
            Response::Proven(vec![is_true.then(|| possession(&to, nonce, batch))], Vec::new())
        }
        NodeRequest::Frontier(topic, ..) => {
            let frontier = script.engine.core.topics.get(topic)?.frontier();
            Response::Held(Held { frontier, keeps: true, ..Held::default() })
        }
        NodeRequest::Compare(..) => Response::Compared(Compared::InStep, None),
        _ => return None,
    })
}

/// Lets a minute pass, in which home replicas answer. What is reported.
fn audited(script: &mut Script, batch: &Batch, proof: Proof) -> Vec<Report> {
    let mut reports = Vec::new();
    for _ in 0..600 {
        let mut outputs = VecDeque::from(script.pass(Duration::from_millis(100)));
        for other in [2, 3] {
            outputs.extend(script.give(Input::Heard(key(other).node(), None)));
        }
        while let Some(output) = outputs.pop_front() {
            let input = match output {
                Output::Read { ticket, .. } => {
                    let page = Page { batches: vec![batch.clone()], ..Page::default() };
                    Input::ReadDone(ticket, Some(page))
                }
                Output::Ask { ask, to, request: Request::Node(request) } => {
                    match answer(script, batch, to, &request, proof) {
                        Some(response) => Input::Told { ask, result: Ok(response) },
                        None => continue,
                    }
                }
                Output::Report(report) => {
                    reports.push(report);
                    continue;
                }
                _ => continue,
            };
            outputs.extend(script.give(input));
        }
    }
    reports
}

/// A topic with a batch that three nodes hold, as they have shown.
fn held_by_three() -> (Script, Batch) {
    let mut script = Script::with_replicas();
    let outputs = script.ask(2, publish(0, "a", 5_000));
    let Some(Output::Gossip { batch, .. }) =
        outputs.iter().find(|output| matches!(output, Output::Gossip { .. }))
    else {
        panic!("{outputs:?}")
    };
    for (ask, _) in asks(&outputs) {
        script.give(Input::Told { ask, result: Ok(stored()) });
    }
    script.give(Input::Durable(script.engine.core.written));
    let survey = Request::Client(ClientRequest::Survey("t".parse().unwrap()));
    for (ask, _) in asks(&script.ask(3, survey)) {
        let topic = batch.header().topic;
        let frontier = script.engine.core.topics.get(&topic).unwrap().frontier();
        let held = Response::Held(Held { frontier, keeps: true, ..Held::default() });
        script.give(Input::Told { ask, result: Ok(held) });
    }
    let batch = batch.clone();
    (script, batch)
}

#[test]
fn a_home_replica_that_fails_three_audits_is_told_of_and_relied_upon_no_longer() {
    let (mut script, batch) = held_by_three();
    // The first minute begins with the start.
    let liar = key(2).node();
    let unproven = |reports: &[Report]| reports.contains(&Report::Unproven(liar));
    let mut fails = || unproven(&audited(&mut script, &batch, Proof::Missing));
    let failed: Vec<_> = (0..4).map(|_| fails()).collect();
    assert_eq!(failed.iter().filter(|failed| **failed).count(), 1, "{failed:?}");
    assert_eq!(acquainted(&script), [false, true]);
    assert!(!unproven(&audited(&mut script, &batch, Proof::Given)));
    assert_eq!(acquainted(&script), [true, true], "it has proven it");
}

fn acquainted(script: &Script) -> [bool; 2] {
    let (now, members) = (script.now.elapsed, &script.engine.core.members);
    [2, 3].map(|number| members.is_acquainted(now, &key(number).node()))
}

#[test]
fn a_home_replica_that_refuses_every_audit_is_told_of_after_half_an_hour() {
    let (mut script, batch) = held_by_three();
    let mut told = Vec::new();
    for minute in 0..40 {
        let reports = audited(&mut script, &batch, Proof::Refused);
        told.extend(reports.contains(&Report::Unproven(key(2).node())).then_some(minute));
    }
    assert!(matches!(told[..], [29..=32]), "{told:?}");
    assert_eq!(acquainted(&script), [false, true]);
}

/// Publishes a record that may be a repetition; node 2 says that it holds it. Whom this node asks
/// to show it.
fn repeated(lone: &mut Lone, log: LogId) -> AskId {
    let Request::Client(ClientRequest::Publish(publish)) = publish(0, "a", 5_000) else {
        unreachable!()
    };
    let publish = Publish { topic: lone.topic.clone(), retried: true, ..publish };
    let outputs = lone.script.ask(2, Request::Client(ClientRequest::Publish(publish)));
    let asked = |outputs: &[Output], is_it: fn(&NodeRequest) -> bool| {
        outputs.iter().find_map(|output| match output {
            Output::Ask { ask, request: Request::Node(request), .. } if is_it(request) => {
                Some(*ask)
            }
            _ => None,
        })
    };
    let ask = asked(&outputs, |request| matches!(request, NodeRequest::Find(..))).unwrap();
    let place = Whereabouts { log, first: 0, whole: true };
    let result = Ok(Response::Whereabouts(vec![Some(place)]));
    let mut outputs = lone.script.give(Input::Told { ask, result });
    outputs.extend(lone.script.give(Input::Durable(lone.script.engine.core.written)));
    assert_eq!(published(&outputs), [], "nobody has shown it");
    asked(&outputs, |request| matches!(request, NodeRequest::Fetch(..))).unwrap()
}

#[test]
fn a_stranger_that_holds_a_repeated_record_shows_it_or_is_not_believed() {
    let log = LogId { writer: key(3).node(), incarnation: Incarnation(3) };
    let mut lone = Lone::new(DAY);
    let ask = repeated(&mut lone, log);
    let nothing = Ok(Response::Page(Page::default()));
    let mut outputs = lone.script.give(Input::Told { ask, result: nothing });
    outputs.extend(lone.script.pass(Duration::from_millis(200)));
    let is_sealed = |output: &Output| matches!(output, Output::Write(_, Write::Append { .. }));
    assert!(outputs.iter().any(is_sealed), "it is stored as a new one: {outputs:?}");
    assert_eq!(published(&outputs), []);

    let mut lone = Lone::new(DAY);
    let ask = repeated(&mut lone, log);
    let topic = lone.script.engine.core.topics.named(&lone.topic).unwrap();
    let run = Run { producer: ProducerId([9; 16]), first: 0, count: 1 };
    let stamp = Stamp::at(lone.script.now.wall);
    let (incarnation, previous) = (log.incarnation, None);
    let draft = Draft { topic, incarnation, previous, stamp, runs: vec![run] };
    let mut records = Vec::new();
    encode_record(&Record::new(WallClock(1), "a"), &mut records).unwrap();
    let batch = draft.seal(&records.into(), &key(3));
    let page = Response::Page(Page { batches: vec![batch.clone()], ..Page::default() });
    let outputs = lone.script.give(Input::Told { ask, result: Ok(page) });
    let kept = outputs.iter().find_map(|output| match output {
        Output::Write(number, Write::Append { batch: kept, .. }) => Some((*number, kept.clone())),
        _ => None,
    });
    let (number, kept) = kept.unwrap_or_else(|| panic!("{outputs:?}"));
    assert_eq!((kept, published(&outputs)), (batch, vec![]), "it is not flushed here");
    let mut answers = published(&lone.script.give(Input::Durable(number)));
    for (ask, _) in asks(&outputs) {
        let place = Whereabouts { log, first: 0, whole: true };
        let result = Ok(Response::Whereabouts(vec![Some(place)]));
        answers.extend(published(&lone.script.give(Input::Told { ask, result })));
    }
    assert!(answers[0].1.acknowledged && answers[0].1.duplicate, "{answers:?}");
}
