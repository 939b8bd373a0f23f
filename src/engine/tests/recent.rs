//! What a node says of what it stored lately.

use super::*;
use crate::{
    engine::holdings::log::HeldSpan,
    limits::{PAGE_BYTES_MAX, RECALLS_MAX},
    model::{Batch, LogId, Position, Run},
    wire::{LogRange, Page, Request, Whereabouts},
};

const QUESTION: QuestionId = QuestionId(5);

fn run(first: u64, count: u32) -> Run {
    Run { producer: ProducerId([9; 16]), first, count }
}

/// A batch of a topic with one replica, and what makes the topic known.
fn batch() -> (Batch, SignedDescriptor) {
    let mut writer = Script::with_topic("t", 1);
    let outputs = writer.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let known = writer.engine.core.topics.get(&batch.header().topic).unwrap();
    (batch.clone(), known.descriptor.clone().unwrap())
}

/// A node of another key.
fn other(recovered: Recovered) -> Script {
    let config = Config::new(key(2), crate::model::Network::default(), Incarnation(8), 0);
    Script { engine: Engine::new(config, settled(2, recovered)), now: Now::default() }
}

/// The node is asked where runs are.
fn find(script: &mut Script, topic: TopicId, runs: &[Run]) -> Vec<Output> {
    let (asker, request) =
        (Asker::Node(key(3).node()), Request::Node(NodeRequest::Find(topic, runs.to_vec())));
    script.give(Input::Asked { question: QUESTION, asker, request })
}

fn told(places: Vec<Option<Whereabouts>>, after: Option<WriteNumber>) -> Output {
    Output::Answer { question: QUESTION, response: Response::Whereabouts(places), after }
}

fn at(log: LogId, first: u64) -> Whereabouts {
    Whereabouts { log, first, whole: true }
}

#[test]
fn what_a_lone_node_publishes_after_a_clean_stop_is_answered_in_time() {
    let (batch, descriptor) = batch();
    let topic = batch.header().topic;
    let mut log = Log::default();
    log.add(&batch).unwrap();
    let recovered = Recovered {
        logs: [(topic, [(batch.log(), log)].into())].into(),
        descriptors: [(topic, descriptor)].into(),
        ..Recovered::default()
    };
    let mut config = Config::new(key(1), crate::model::Network::default(), Incarnation(8), 0);
    config.earlier.insert(batch.header().incarnation);
    let engine = Engine::new(config, settled(1, recovered));
    let mut script = Script { engine, now: Now::default() };
    // The disk does not flush it.
    script.ask(1, publish(7, "b", 500));
    let outputs = script.pass(Duration::from_secs(1));
    let is_answer = |output: &Output| {
        matches!(output, Output::Answer { question: QuestionId(1), after: Some(_), .. })
    };
    assert!(outputs.iter().any(is_answer), "{outputs:?}");
}

#[test]
fn where_a_record_is_is_told_after_the_flush() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(2, publish(0, "a", 1_000));
    let [Output::Write(number, Write::Append { batch, .. }), ..] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    let (topic, log) = (batch.header().topic, batch.log());
    let runs = [run(0, 1), run(0, 2), run(1, 1)];
    let expected = |after| told(vec![Some(at(log, 0)), None, None], after);
    assert_eq!(find(&mut script, topic, &runs), [expected(Some(*number))]);
    script.give(Input::Durable(*number));
    assert_eq!(find(&mut script, topic, &runs), [expected(None)]);
    let unknown = TopicId::from_bytes([1; 32]);
    assert_eq!(find(&mut script, unknown, &runs[..1]), [told(vec![None], None)]);
}

#[test]
fn what_is_lost_is_not_told_to_be_there() {
    let mut script = Script::with_topic("t", 1);
    let mut batches = Vec::new();
    for number in [0, 1] {
        let outputs = script.ask(2 + number, publish(number, "a", 1_000));
        let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
        batches.push(batch.clone());
        script.give(Input::Durable(WriteNumber(2 + number)));
    }
    let (topic, log) = (batches[0].header().topic, batches[0].log());
    let runs = [run(0, 2), run(0, 1), run(1, 1)];
    let all = vec![Some(at(log, 0)), Some(at(log, 0)), Some(at(log, 1))];
    assert_eq!(find(&mut script, topic, &runs), [told(all, None)]);
    let (first, last) = (&batches[0], &batches[1]);
    script.give(Input::Damaged(Damage {
        topic,
        log,
        first: 1,
        next: 2,
        hash: last.hash(),
        previous: Some((first.hash(), first.header().stamp)),
    }));
    script.give(Input::Durable(WriteNumber(4)));
    assert_eq!(find(&mut script, topic, &runs), [told(vec![None, Some(at(log, 0)), None], None)]);
}

#[test]
fn the_own_copy_of_a_duplicate_counts_after_the_flush() {
    let (batch, descriptor) = batch();
    let mut script = other(Recovered::default());
    let replicate =
        Replicate { descriptors: vec![descriptor], batches: vec![batch], ..Replicate::default() };
    script.ask(1, Request::Node(NodeRequest::Replicate(replicate)));
    let Request::Client(ClientRequest::Publish(publish)) = publish(0, "a", 1_000) else {
        panic!("no publish")
    };
    let outputs = script
        .ask(2, Request::Client(ClientRequest::Publish(Publish { retried: true, ..publish })));
    assert_eq!(outputs, []);
    assert_eq!(published(&script.pass(Duration::from_millis(50))), []);
    let answer = published(&script.give(Input::Durable(WriteNumber(2))));
    let [(QuestionId(2), published)] = answer[..] else { panic!("{answer:?}") };
    assert!(published.acknowledged && published.duplicate && published.copies == 1);
}

/// Found by the simulation: an acknowledgement counted it.
#[test]
fn an_own_copy_that_comes_while_an_earlier_write_is_flushed_does_not_count_with_that() {
    let (batch, descriptor) = batch();
    let mut script = other(Recovered::default());
    let descriptors = vec![descriptor];
    let terms = Replicate { descriptors, ..Replicate::default() };
    let outputs = script.ask(1, Request::Node(NodeRequest::Replicate(terms)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Write(WriteNumber(1), _))));
    let Request::Client(ClientRequest::Publish(publish)) = publish(0, "a", 1_000) else {
        panic!("no publish")
    };
    script.ask(2, Request::Client(ClientRequest::Publish(Publish { retried: true, ..publish })));
    let replicate = Replicate { batches: vec![batch], ..Replicate::default() };
    script.ask(3, Request::Node(NodeRequest::Replicate(replicate)));
    assert_eq!(published(&script.give(Input::Durable(WriteNumber(1)))), []);
}

#[test]
fn after_a_start_nothing_is_told_before_the_newest_part_is_read() {
    let (batch, descriptor) = batch();
    let (topic, id) = (batch.header().topic, batch.log());
    let mut log = Log::default();
    log.add(&batch).unwrap();
    let logs = [(topic, [(id, log)].into())].into();
    let mut script = other(Recovered {
        logs,
        descriptors: [(topic, descriptor)].into(),
        ..Recovered::default()
    });
    let outputs = find(&mut script, topic, &[run(0, 1)]);
    let [Output::Measure { ticket, ranges, after: None, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    let whole = [LogRange { log: id, from: 0, to: 1 }];
    assert_eq!(ranges[..], whole);
    assert_eq!(find(&mut script, topic, &[run(7, 1)]), [], "it waits for the first");
    let outputs = script.give(Input::MeasureDone(*ticket, Some(vec![Part::of(&batch)])));
    let [Output::Read { ticket, ranges, bytes_max: PAGE_BYTES_MAX, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(ranges[..], whole);
    let page = Page { batches: vec![batch], finished: true, ..Page::default() };
    let outputs = script.give(Input::ReadDone(*ticket, Some(page)));
    assert_eq!(outputs, [told(vec![Some(at(id, 0))], None), told(vec![None], None)]);
    assert_eq!(find(&mut script, topic, &[run(0, 1)]), [told(vec![Some(at(id, 0))], None)]);
}

/// Found by the simulation: a dedup id was stored a second time.
#[test]
fn after_a_start_what_compaction_left_is_read_from_its_first_record() {
    let (batch, descriptor) = batch();
    let (topic, id, head) = (batch.header().topic, batch.log(), batch.hash());
    let span = HeldSpan { first: 0, next: 10, base: None, head, stamp: batch.header().stamp };
    let log = Log { spans: vec![span], ..Log::default() };
    let mut script = other(Recovered {
        logs: [(topic, [(id, log)].into())].into(),
        descriptors: [(topic, descriptor)].into(),
        ..Recovered::default()
    });
    find(&mut script, topic, &[run(0, 1)]);
    // Of nine records three are left.
    let end = Position { next: 10, head: Some(head) };
    let part = Part { first: 1, end, records: 3, ..Part::of(&batch) };
    let outputs = script.give(Input::MeasureDone(Ticket(1), Some(vec![part])));
    let [Output::Read { ranges, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(ranges[..], [LogRange { log: id, from: 1, to: 10 }]);
}

#[test]
fn few_topics_are_read_at_a_time() {
    let (batch, _) = batch();
    let mut log = Log::default();
    log.add(&batch).unwrap();
    let topics: Vec<_> = (1..=6).map(|number| TopicId::from_bytes([number; 32])).collect();
    let logs = topics.iter().map(|topic| (*topic, [(batch.log(), log.clone())].into())).collect();
    let mut script = other(Recovered { logs, ..Recovered::default() });
    let mut measured = Vec::new();
    for topic in &topics {
        measured.extend(find(&mut script, *topic, &[run(0, 1)]));
    }
    assert_eq!(measured.len(), RECALLS_MAX, "{measured:?}");
    let ticket = |output: &Output| match output {
        Output::Measure { ticket, .. } => *ticket,
        other => panic!("{other:?}"),
    };
    for _ in RECALLS_MAX..topics.len() {
        let first = ticket(&measured.remove(0));
        let mut outputs = script.give(Input::MeasureDone(first, None));
        assert_eq!(outputs.remove(0), told(vec![None], None));
        measured.append(&mut outputs);
        assert_eq!(measured.len(), RECALLS_MAX, "the next one begins");
    }
    for output in measured {
        let told_last = script.give(Input::MeasureDone(ticket(&output), None));
        assert_eq!(told_last, [told(vec![None], None)]);
    }
}

#[test]
fn where_the_store_cannot_read_what_is_known_is_told() {
    let (batch, descriptor) = batch();
    let (topic, id) = (batch.header().topic, batch.log());
    let mut log = Log::default();
    log.add(&batch).unwrap();
    let recovered = || Recovered {
        logs: [(topic, [(id, log.clone())].into())].into(),
        descriptors: [(topic, descriptor.clone())].into(),
        ..Recovered::default()
    };
    let mut script = other(recovered());
    find(&mut script, topic, &[run(0, 1)]);
    let outputs = script.give(Input::MeasureDone(Ticket(1), None));
    assert_eq!(outputs, [told(vec![None], None)]);
    let mut script = other(recovered());
    find(&mut script, topic, &[run(0, 1)]);
    script.give(Input::MeasureDone(Ticket(1), Some(vec![Part::of(&batch)])));
    assert_eq!(script.give(Input::ReadDone(Ticket(2), None)), [told(vec![None], None)]);
}
