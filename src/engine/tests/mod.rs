//! Exact scripts: inputs in, outputs out.

mod closing;
mod front;
mod grants;
mod heads;
mod many;
mod order;
mod pace;
mod possession;
mod probation;
mod recent;
mod roster;
mod shares;
mod signers;
mod standing;
mod steps;
mod unadmitted;
mod writers;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::*;
use crate::{
    model::{
        Blob, Cursor, Draft, Incarnation, NodeKey, ProducerId, Record, Retention, TopicId,
        WallClock, encode_record,
    },
    wire::{
        Acks, ClientRequest, Contact, Create, Held, Import, NodeRequest, Outcome, Publish,
        Published, Refusal, Replicate, Request,
    },
};

/// An engine and its clock.
struct Script {
    engine: Engine,
    now: Now,
}

fn key(number: u8) -> NodeKey {
    NodeKey::from_secret(&[number; 32])
}

fn contact(number: u8) -> Contact {
    let addresses = vec![format!("/ip4/10.0.0.{number}/tcp/1")];
    Contact::new(key(number).node(), addresses)
}

/// What the store of a node holds that is not new.
fn settled(number: u8, mut recovered: Recovered) -> Recovered {
    let node = key(number).node();
    recovered.contacts.insert(node, Contact::new(node, Vec::new()));
    recovered
}

impl Script {
    fn new() -> Self {
        Self::with(Recovered::default())
    }

    fn with(recovered: Recovered) -> Self {
        Self::on_probation(recovered, Duration::ZERO)
    }

    fn on_probation(recovered: Recovered, probation: Duration) -> Self {
        let recovered = settled(1, recovered);
        let mut config = Config::new(key(1), crate::model::Network::default(), Incarnation(7), 0);
        config.probation = probation;
        let mut script = Self { engine: Engine::new(config, recovered), now: Now::default() };
        assert_eq!(script.give(Input::Timeout), [], "a lone node has nothing to do");
        script
    }

    /// Gives an input and takes all that comes out, but for what is announced in the table from
    /// time to time.
    fn give(&mut self, input: Input) -> Vec<Output> {
        self.engine.handle(self.now, input);
        let outputs = std::iter::from_fn(|| self.engine.poll_output());
        outputs.filter(|output| !matches!(output, Output::Provide(_))).collect()
    }

    fn pass(&mut self, duration: Duration) -> Vec<Output> {
        self.now.elapsed += duration;
        self.now.wall = self.now.wall.plus(duration);
        self.give(Input::Timeout)
    }

    /// A node is there, and says that its clock reads the same.
    fn connect(&mut self, other: u8) {
        let outputs = self.give(Input::Connected(contact(other)));
        let peer = crate::wire::Peer {
            wall: Some(self.now.wall),
            ..crate::wire::Peer::new(key(other).node(), MemberState::Alive, Vec::new())
        };
        for (ask, _) in asks(&outputs) {
            self.give(Input::Told { ask, result: Ok(Response::Peers(vec![peer.clone()])) });
        }
    }

    fn ask(&mut self, question: u64, request: Request) -> Vec<Output> {
        self.give(Input::Asked { question: QuestionId(question), asker: Asker::Program, request })
    }

    /// A topic with one replica, here, flushed.
    fn with_topic(name: &str, replicas: u16) -> Self {
        let mut script = Self::new();
        let create = Create { replicas: Some(replicas), ..Create::new(name.parse().unwrap()) };
        script.ask(1, Request::Client(ClientRequest::Create(create)));
        script.give(Input::Durable(WriteNumber(1)));
        script
    }

    /// A topic with three replicas, here and at two connected nodes.
    fn with_replicas() -> Self {
        Self::new().and_replicas()
    }

    fn and_replicas(mut self) -> Self {
        self.replicate(&[2, 3], Retention::default());
        self
    }

    /// Connects these nodes, and creates a topic with three replicas.
    fn replicate(&mut self, others: &[u8], retention: Retention) {
        for other in others {
            self.connect(*other);
        }
        let create = Create {
            replicas: Some(3),
            min_copies: Some(2),
            retention,
            ..Create::new("t".parse().unwrap())
        };
        let outputs = self.ask(1, Request::Client(ClientRequest::Create(create)));
        // Nobody knows the name.
        let unknown: Vec<_> = asks(&outputs).iter().map(|(ask, _)| *ask).collect();
        assert!(unknown.len() >= 2);
        let mut outputs = Vec::new();
        for ask in unknown {
            outputs.extend(self.give(Input::Told { ask, result: Ok(Response::Described(None)) }));
        }
        for output in &outputs {
            if let Output::Ask {
                ask,
                request: Request::Node(NodeRequest::Announce(Some(it))),
                ..
            } = output
            {
                let kept = Response::Described(Some(Blob(it.bytes().clone())));
                self.give(Input::Told { ask: *ask, result: Ok(kept) });
            }
        }
    }
}

fn publish(first: u64, payload: &str, timeout_ms: u32) -> Request {
    let mut records = Vec::new();
    encode_record(&Record::new(WallClock(1), payload.to_owned()), &mut records).unwrap();
    Request::Client(ClientRequest::Publish(Publish {
        topic: "t".parse().unwrap(),
        producer: ProducerId([9; 16]),
        first,
        records: Blob(records.into()),
        acks: Acks::Quorum,
        timeout_ms,
        retried: false,
    }))
}

/// Text that compression makes no smaller.
fn noise(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    (0..bytes).map(|_| random.alphanumeric()).collect()
}

fn published(outputs: &[Output]) -> Vec<(QuestionId, Published)> {
    let answer = |output: &Output| match output {
        Output::Answer { question, response: Response::Published(published), after: None } => {
            Some((*question, *published))
        }
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

fn asks(outputs: &[Output]) -> Vec<(AskId, NodeId)> {
    let ask = |output: &Output| match output {
        Output::Ask { ask, to, .. } => Some((*ask, *to)),
        _ => None,
    };
    outputs.iter().filter_map(ask).collect()
}

#[test]
fn a_publish_is_written_and_gossiped_at_once_and_answered_after_the_flush() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(2, publish(0, "a", 1_000));
    let [
        Output::Write(number, Write::Append { batch, log }),
        Output::Gossip { batch: gossiped, .. },
    ] = outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(batch, gossiped);
    assert_eq!((log.spans[0].first, log.spans[0].next), (0, 1));
    assert_eq!(log.spans[0].head, batch.hash());
    // Not before the flush.
    assert_eq!(script.pass(Duration::from_millis(500)), []);
    let answer = published(&script.give(Input::Durable(*number)));
    let expected = Published {
        acknowledged: true,
        copies: 1,
        stand_ins: 0,
        replicas: 1,
        wanted: 1,
        ..Published::default()
    };
    assert_eq!(answer, [(QuestionId(2), expected)]);
}

#[test]
fn pending_is_told_when_the_records_and_that_they_are_pending_are_flushed() {
    let mut script = Script::with_topic("t", 1);
    script.ask(2, publish(0, "a", 1_000));
    assert_eq!(script.pass(Duration::from_millis(999)), []);
    let outputs = script.pass(Duration::from_millis(101));
    let [
        Output::Write(number, Write::Outbox { pending: Some(pending), .. }),
        Output::Answer { response: Response::Published(published), after, .. },
    ] = outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((pending.first, *after), (0, Some(*number)));
    assert!(!published.acknowledged && published.copies == 0);
    assert_eq!(published.place.map(|place| (place.from, place.to)), Some((0, 1)));
    // The flush comes late: it is the one copy that was wanted, and nobody is told twice.
    let outputs = script.give(Input::Durable(*number));
    assert!(matches!(outputs[..], [Output::Write(_, Write::Outbox { pending: None, .. })]));
}

#[test]
fn no_publish_waits_for_weeks() {
    let mut script = Script::with_topic("t", 1);
    script.ask(2, publish(0, "a", u32::MAX));
    let tick = Duration::from_millis(100);
    assert_eq!(script.pass(limits::PUBLISH_TIMEOUT_MAX.saturating_sub(tick)), []);
    let outputs = script.pass(2 * tick);
    let is_pending = |output: &Output| {
        matches!(output, Output::Answer { response: Response::Published(published), .. }
            if !published.acknowledged)
    };
    assert!(outputs.iter().any(is_pending), "{outputs:?}");
}

#[test]
fn batches_fill_while_others_are_under_way() {
    let mut script = Script::with_topic("t", 1);
    let mut sealed = 0;
    for number in 0..20 {
        let outputs = script.ask(10 + number, publish(number, "a", 5_000));
        sealed += outputs.iter().filter(|output| matches!(output, Output::Write(..))).count();
    }
    assert_eq!(sealed, limits::UNACKNOWLEDGED_BATCHES_MAX, "the rest waits");
    // The first flush makes room for one batch, which takes all that waits.
    let outputs = script.give(Input::Durable(WriteNumber(2)));
    let batches: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Write(_, Write::Append { batch, .. }) => Some(batch.header().clone()),
            _ => None,
        })
        .collect();
    assert_eq!(batches.len(), 1);
    assert_eq!((batches[0].first, batches[0].count), (4, 16));
    assert_eq!(batches[0].runs.len(), 1, "runs of one producer that follow each other are one");
}

#[test]
fn a_receipt_counts_once_for_each_disk() {
    let mut script = Script::with_replicas();
    let outputs = script.ask(2, publish(0, "a", 5_000));
    let sent = asks(&outputs);
    assert_eq!(sent.len(), 2, "to both other replicas at once");
    let stored = || Ok(Response::Replicated(vec![Outcome::Stored]));
    let outputs = script.give(Input::Told { ask: sent[0].0, result: stored() });
    assert_eq!(published(&outputs), [], "one of two copies");
    let outputs = script.give(Input::Told { ask: sent[0].0, result: stored() });
    assert_eq!(published(&outputs), [], "the same receipt again");
    let outputs = script.give(Input::Told { ask: sent[1].0, result: stored() });
    assert_eq!(published(&outputs).len(), 1, "the second disk");
}

#[test]
fn a_trimmed_batch_is_no_receipt() {
    let mut script = Script::with_replicas();
    let sent = asks(&script.ask(2, publish(0, "a", 5_000)));
    let told = |outcome| Ok(Response::Replicated(vec![outcome]));
    for (ask, _) in &sent {
        let outputs = script.give(Input::Told { ask: *ask, result: told(Outcome::Trimmed) });
        assert_eq!(published(&outputs), [], "it holds no copy");
    }
    assert_eq!(published(&script.pass(Duration::from_secs(6))), [], "told after the flush");
}

#[test]
fn who_is_sent_a_batch_soon_is_told_to_the_mesh() {
    let mut script = Script::with_replicas();
    let both = BTreeSet::from([key(2).node(), key(3).node()]);
    let mut told = |question, payload: &str| -> BTreeSet<NodeId> {
        let outputs = script.ask(question, publish(question, payload, 5_000));
        let told = outputs.iter().find_map(|output| match output {
            Output::Gossip { sent_to, .. } => Some(sent_to.clone()),
            _ => None,
        });
        let Some(told) = told else { panic!("{outputs:?}") };
        told.into_iter().collect()
    };
    assert_eq!(told(2, "a"), both, "at once");
    assert_eq!(told(3, "b"), BTreeSet::new(), "it waits for the one before");
    assert_eq!(told(4, &noise(64 * 1024)), both, "it waits, and is too large to go twice");
}

#[test]
fn a_replica_that_did_not_store_gets_live_batches_by_the_mesh_again() {
    let mut script = Script::with_replicas();
    let sent = asks(&script.ask(2, publish(2, "a", 5_000)));
    let (ask, fails) = sent[0];
    let (other, stores) = sent[1];
    script.give(Input::Told { ask, result: Err(Failure::TimedOut) });
    let mut under_way = vec![other];
    while let Some(ask) = under_way.pop() {
        let stored = Response::Replicated(vec![Outcome::Stored]);
        let outputs = script.give(Input::Told { ask, result: Ok(stored) });
        // As one replica fails, what is under way is sent to the other one again.
        under_way.extend(asks(&outputs).iter().filter(|ask| ask.1 == stores).map(|ask| ask.0));
    }
    // Large enough that a replica which does store is not told of it twice.
    let outputs = script.ask(3, publish(3, &noise(64 * 1024), 5_000));
    let told = outputs.iter().find_map(|output| match output {
        Output::Gossip { sent_to, .. } => Some(sent_to),
        _ => None,
    });
    let told = told.unwrap_or_else(|| panic!("{outputs:?}"));
    assert!(told.contains(&stores) && !told.contains(&fails), "{told:?}");
}

#[test]
fn a_replica_gives_its_receipt_after_the_flush() {
    let mut writer = Script::with_topic("t", 1);
    let outputs = writer.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let descriptor = writer.engine.core.topics.get(&batch.header().topic).unwrap();
    let descriptor = descriptor.descriptor.clone().unwrap();
    let replicate = Replicate {
        descriptors: vec![descriptor],
        batches: vec![batch.clone(), batch.clone()],
        ..Replicate::default()
    };
    let config = Config::new(key(2), crate::model::Network::default(), Incarnation(8), 0);
    let engine = Engine::new(config, settled(2, Recovered::default()));
    let mut replica = Script { engine, now: Now::default() };
    let outputs = replica.ask(5, Request::Node(NodeRequest::Replicate(replicate)));
    let writes: Vec<_> =
        outputs.iter().filter(|output| matches!(output, Output::Write(..))).collect();
    let [Output::Write(_, Write::Descriptor(..)), Output::Write(last, Write::Append { .. })] =
        writes.as_slice()
    else {
        panic!("the terms are kept, and the second copy is known as such: {writes:?}")
    };
    let receipt = Output::Answer {
        question: QuestionId(5),
        response: Response::Replicated(vec![Outcome::Stored, Outcome::Stored]),
        after: Some(*last),
    };
    assert_eq!(outputs.last(), Some(&receipt));
}

#[test]
fn a_batch_of_an_unknown_topic_is_refused_and_not_written() {
    let mut writer = Script::with_topic("t", 1);
    let outputs = writer.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let mut replica = Script::new();
    let replicate = Replicate { batches: vec![batch.clone()], ..Replicate::default() };
    let outputs = replica.ask(5, Request::Node(NodeRequest::Replicate(replicate)));
    let refused = outputs.iter().any(|output| {
        matches!(output, Output::Answer { response: Response::Replicated(outcomes), .. }
            if matches!(outcomes[..], [Outcome::Refused(Refusal::UnknownTopic { .. })]))
    });
    assert!(refused && outputs.len() == 1, "{outputs:?}");
}

#[test]
fn what_is_told_of_a_frontier_is_flushed_first() {
    let mut script = Script::with_topic("t", 1);
    script.ask(2, publish(0, "a", 1_000));
    let topic = script.engine.core.topics.named(&"t".parse().unwrap()).unwrap();
    let outputs = script.ask(3, Request::Node(NodeRequest::Frontier(topic, None, None)));
    let [Output::Answer { response: Response::Held(Held { frontier, .. }), after, .. }] =
        outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(frontier.records(), 1);
    assert_eq!(*after, Some(WriteNumber(2)));
}

#[test]
fn a_closed_connection_fails_what_was_asked_and_an_answer_after_it_is_ignored() {
    let mut script = Script::new();
    let outputs = script.give(Input::Connected(contact(2)));
    let ask = asks(&outputs)[0].0;
    script.give(Input::Disconnected(key(2).node()));
    let late = Input::Told { ask, result: Ok(Response::Peers(Vec::new())) };
    assert_eq!(script.give(late), []);
}

#[test]
fn a_restarted_writer_continues_in_a_new_incarnation_that_names_the_old_head() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(2, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch: before, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let topic = before.header().topic;
    let logs = |topic| (topic, script.engine.core.topics.get(&topic).unwrap().logs.clone());
    let recovered = Recovered { logs: [logs(topic)].into(), ..Recovered::default() };
    let config = Config::new(key(1), crate::model::Network::default(), Incarnation(99), 0);
    let mut engine = Engine::new(config, settled(1, recovered));
    engine
        .core
        .topics
        .adopt(script.engine.core.topics.get(&topic).unwrap().descriptor.as_ref().unwrap());
    let mut restarted = Script { engine, now: Now::default() };
    let outputs = restarted.ask(3, publish(1, "b", 1_000));
    let Some(Output::Gossip { batch: after, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let previous = after.header().previous.unwrap();
    assert_eq!(after.header().incarnation, Incarnation(99));
    assert_eq!(after.header().first, 0);
    assert_eq!((previous.incarnation, previous.next), (Incarnation(7), 1));
    assert_eq!(previous.hash, before.hash());
    assert!(after.header().stamp > before.header().stamp, "the order holds over the restart");
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut script = Script::with_topic("t", 1);
        script.give(Input::Connected(contact(2)));
        let mut outputs = Vec::new();
        for number in 0..50 {
            outputs.extend(script.ask(10 + number, publish(number, "a", 1_000)));
            outputs.extend(script.pass(Duration::from_millis(130)));
        }
        format!("{outputs:?}")
    };
    assert_eq!(run(), run());
}

#[test]
fn a_reader_is_served_from_memory_when_the_record_arrives() {
    let mut script = Script::with_topic("t", 1);
    let topic = script.engine.core.topics.named(&"t".parse().unwrap()).unwrap();
    let read = crate::wire::Read {
        topic: "t".parse().unwrap(),
        after: Cursor::start(topic),
        until: None,
        bytes_max: 1_000_000,
        wait_ms: 10_000,
    };
    let outputs = script.ask(2, Request::Client(ClientRequest::Read(read)));
    assert_eq!(outputs, [Output::Follow(topic)]);
    let outputs = script.ask(3, publish(0, "a", 1_000));
    let page = outputs.iter().find_map(|output| match output {
        Output::Answer { question: QuestionId(2), response: Response::Page(page), .. } => {
            Some(page)
        }
        _ => None,
    });
    assert_eq!(page.expect("the reader is answered").batches.len(), 1);
}

/// A request to import a batch of a writer that is not here.
fn import() -> Request {
    let mut other = Script::with_topic("t", 1);
    let outputs = other.ask(2, publish(0, "a", 1_000));
    let written = outputs.into_iter().find_map(|output| match output {
        Output::Write(_, Write::Append { batch, .. }) => Some(batch),
        _ => None,
    });
    let written = written.unwrap();
    let batch = Draft::of(written.header()).seal(&written.records_bytes(), &key(9));
    let replicate = Replicate { batches: vec![batch], ..Replicate::default() };
    Request::Client(ClientRequest::Import(Import {
        topic: "t".parse().unwrap(),
        replicate,
        trimmed: Vec::new(),
    }))
}

fn imported(outputs: &[Output]) -> Vec<Vec<Outcome>> {
    let answer = |output: &Output| match output {
        Output::Answer {
            question: QuestionId(50),
            response: Response::Replicated(outcomes),
            after: None,
        } => Some(outcomes.clone()),
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

fn last_write(outputs: &[Output]) -> WriteNumber {
    let number = |output: &Output| match output {
        Output::Write(number, _) => Some(*number),
        _ => None,
    };
    outputs.iter().filter_map(number).max().unwrap()
}

#[test]
fn an_import_is_answered_when_a_quorum_has_given_receipts() {
    let mut script = Script::with_replicas();
    let outputs = script.ask(50, import());
    let asked = asks(&outputs);
    assert_eq!((asked.len(), imported(&outputs).len()), (2, 0));
    let stored =
        Input::Told { ask: asked[0].0, result: Ok(Response::Replicated(vec![Outcome::Stored])) };
    assert_eq!(imported(&script.give(stored)), [] as [Vec<Outcome>; 0], "one copy of two");
    let earlier = script.give(Input::Durable(WriteNumber(1)));
    assert_eq!(imported(&earlier), [] as [Vec<Outcome>; 0], "that is the topic's creation");
    let outputs = script.give(Input::Durable(last_write(&outputs)));
    assert_eq!(imported(&outputs), [vec![Outcome::Stored]]);
}

#[test]
fn an_import_without_a_quorum_fails_when_all_were_heard() {
    let mut script = Script::with_replicas();
    let outputs = script.ask(50, import());
    let full = vec![Outcome::Refused(Refusal::Full(None))];
    let results = [Ok(Response::Replicated(full.clone())), Err(Failure::TimedOut)];
    for ((ask, _), result) in asks(&outputs).into_iter().zip(results) {
        assert_eq!(imported(&script.give(Input::Told { ask, result })), [] as [Vec<Outcome>; 0]);
    }
    let outputs = script.give(Input::Durable(last_write(&outputs)));
    assert_eq!(imported(&outputs), [full]);
}

#[test]
fn a_slow_replica_is_sent_no_more_pages_than_it_may_have() {
    let mut script = Script::with_replicas();
    let mut sent = 0;
    for _ in 0..limits::IMPORTS_PER_NODE_MAX + 2 {
        let outputs = script.ask(50, import());
        sent += asks(&outputs).len();
    }
    assert_eq!(sent, 2 * limits::IMPORTS_PER_NODE_MAX);
}

/// Lets the other nodes answer all they are asked, as if they stored everything and knew no topic;
/// how many batches they were sent, and how many topics' terms beside them.
fn settle(script: &mut Script, outputs: Vec<Output>) -> (usize, usize) {
    let (mut batches, mut descriptors) = (0, 0);
    let mut outputs = VecDeque::from(outputs);
    while let Some(output) = outputs.pop_front() {
        let (ask, response) = match output {
            Output::Ask {
                ask, request: Request::Node(NodeRequest::Replicate(replicate)), ..
            } => {
                batches += replicate.batches.len();
                descriptors += replicate.descriptors.len();
                let stored = vec![Outcome::Stored; replicate.batches.len()];
                (ask, Response::Replicated(stored))
            }
            Output::Ask { ask, request: Request::Client(ClientRequest::Describe(_)), .. } => {
                (ask, Response::Described(None))
            }
            _ => continue,
        };
        outputs.extend(script.give(Input::Told { ask, result: Ok(response) }));
    }
    (batches, descriptors)
}

#[test]
fn whoever_is_sent_records_of_a_restored_topic_is_told_its_terms_again() {
    let mut script = Script::with_replicas();
    for (number, terms) in [(0, 2), (1, 0)] {
        let outputs = script.ask(10 + number, publish(number, "a", 1_000));
        assert_eq!(settle(&mut script, outputs), (2, terms), "the first time with terms");
    }
    let topic = TopicId::derive(&crate::model::Realm::default(), &"t".parse().unwrap());
    let origin = Create { origin: Some(topic), ..Create::new("t".parse().unwrap()) };
    for (question, request) in [
        (20, Request::Client(ClientRequest::Delete("t".parse().unwrap()))),
        (21, Request::Client(ClientRequest::Create(origin))),
    ] {
        let outputs = script.ask(question, request);
        settle(&mut script, outputs);
    }
    // A node that missed both would take the records, and drop them when it learns of the deletion.
    let outputs = script.ask(22, publish(2, "a", 1_000));
    assert_eq!(settle(&mut script, outputs), (2, 2));
}
