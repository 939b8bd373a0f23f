//! Ends of logs count with the header of the batch that ends there.

use super::*;
use crate::{
    limits::SEQUENCE_MAX,
    model::{
        Batch, Entry, Frontier, Hash, LogId, Position, Run, SignedHeader, Span, SubscriberName,
        Subscription,
    },
    wire::{HeadsWanted, LogRange, Surveyed},
};

pub(super) fn topic() -> TopicId {
    TopicId::derive(&crate::model::Realm::default(), &"t".parse().unwrap())
}

/// The first batch of a log of another node.
pub(super) fn sealed(writer: u8) -> Batch {
    sealed_in(topic(), writer)
}

pub(super) fn sealed_in(topic: TopicId, writer: u8) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
    let draft = Draft {
        topic,
        incarnation: Incarnation(5),
        previous: None,
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), &key(writer))
}

/// What a node says that it holds: a log from its start to here.
pub(super) fn held(log: LogId, next: u64, head: Hash, heads: Vec<SignedHeader>) -> Held {
    let entry = Entry { spans: vec![Span { first: 0, next, head }], ..Entry::default() };
    Held { frontier: Frontier([(log, entry)].into()), heads, ..Held::default() }
}

pub(super) fn survey(script: &mut Script) -> Vec<Output> {
    script.ask(70, Request::Client(ClientRequest::Survey("t".parse().unwrap())))
}

pub(super) fn surveyed(outputs: &[Output]) -> Option<Surveyed> {
    outputs.iter().find_map(|output| match output {
        Output::Answer { response: Response::Surveyed(surveyed), .. } => Some(surveyed.clone()),
        _ => None,
    })
}

/// What each node is asked of its frontier.
pub(super) fn frontiers(outputs: &[Output]) -> Vec<(AskId, NodeId, Option<HeadsWanted>)> {
    let asked = |output: &Output| match output {
        Output::Ask {
            ask,
            to,
            request: Request::Node(NodeRequest::Frontier(_, _, wanted)),
            ..
        } => Some((*ask, *to, wanted.clone())),
        _ => None,
    };
    outputs.iter().filter_map(asked).collect()
}

#[test]
fn an_end_that_nobody_proves_is_not_there() {
    let mut script = Script::with_replicas();
    script.ask(60, publish(0, "a", 1_000));
    let own = LogId { writer: key(1).node(), incarnation: Incarnation(7) };
    let real = sealed(2);
    let asked = frontiers(&survey(&mut script));
    assert!(asked.iter().all(|(.., wanted)| wanted.is_none()), "nothing is known to be news");
    let (mut again, mut outputs) = (Vec::new(), Vec::new());
    for (ask, _, _) in asked {
        let mut claim = held(own, SEQUENCE_MAX, Hash([1; 32]), Vec::new());
        claim
            .frontier
            .0
            .extend(held(real.log(), SEQUENCE_MAX, Hash([2; 32]), Vec::new()).frontier.0);
        let asks = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
        again.extend(frontiers(&asks).into_iter().map(|asked| (asked, claim.clone())));
    }
    assert_eq!(again.len(), 2, "both are asked to prove it");
    for ((ask, _, wanted), mut claim) in again {
        assert_eq!(wanted, Some(HeadsWanted(claim.frontier.0.keys().copied().collect())));
        // The header of one batch proves as much as it ends with.
        claim.heads = vec![SignedHeader::of(&real)];
        outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim)) });
    }
    let found = surveyed(&outputs).expect("nobody is asked a third time");
    assert_eq!((found.end.next(&own), found.end.next(&real.log())), (1, 1));
    assert!(!found.complete, "how far they go is not known");
}

#[test]
fn a_node_that_is_asked_for_proofs_and_does_not_answer_has_not_answered() {
    let mut script = Script::with_replicas();
    script.ask(60, publish(0, "a", 1_000));
    let real = sealed(2);
    let mut outputs = Vec::new();
    for (ask, _, _) in frontiers(&survey(&mut script)) {
        let claim = held(real.log(), 1, real.hash(), Vec::new());
        let again = script.give(Input::Told { ask, result: Ok(Response::Held(claim)) });
        for (ask, _, _) in frontiers(&again) {
            outputs = script.give(Input::Told { ask, result: Err(Failure::TimedOut) });
        }
    }
    assert!(!surveyed(&outputs).expect("it ends").complete);
}

#[test]
fn an_end_that_is_known_is_not_asked_for_again() {
    let mut script = Script::with_replicas();
    let real = sealed(2);
    for round in 0..2 {
        let mut outputs = Vec::new();
        for (ask, _, wanted) in frontiers(&survey(&mut script)) {
            assert_eq!(wanted, None);
            let mut claim = held(real.log(), 1, real.hash(), Vec::new());
            outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
            // Both are asked the first time, but for one whose answer comes after the proof.
            if let [(ask, _, wanted)] = frontiers(&outputs).as_slice() {
                assert_eq!((round, wanted), (0, &Some(HeadsWanted(vec![real.log()]))));
                claim.heads = vec![SignedHeader::of(&real)];
                outputs = script.give(Input::Told { ask: *ask, result: Ok(Response::Held(claim)) });
            }
        }
        let surveyed = surveyed(&outputs).unwrap();
        assert_eq!((surveyed.end.next(&real.log()), surveyed.complete), (1, true));
    }
}

#[test]
fn a_node_is_asked_for_proofs_as_long_as_it_gives_any() {
    let mut script = Script::with_replicas();
    let real = [sealed(2), sealed(3), sealed(4)];
    let mut claim = Held::default();
    for batch in &real {
        claim.frontier.0.extend(held(batch.log(), 1, batch.hash(), Vec::new()).frontier.0);
    }
    let (ask, ..) = frontiers(&survey(&mut script))[0];
    let mut outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
    let mut rounds = 0;
    while let [(ask, _, Some(HeadsWanted(wanted)))] = frontiers(&outputs).as_slice() {
        assert_eq!(wanted.len(), 3 - rounds);
        rounds += 1;
        // It gives two, one at a time, and then nothing more.
        let head = real.iter().find(|batch| wanted.contains(&batch.log())).filter(|_| rounds < 3);
        let heads = head.into_iter().map(SignedHeader::of).collect();
        let answer = Held { heads, ..claim.clone() };
        outputs = script.give(Input::Told { ask: *ask, result: Ok(Response::Held(answer)) });
    }
    assert_eq!(rounds, 3);
}

#[test]
fn a_header_proves_nothing_of_another_log() {
    let mut script = Script::with_replicas();
    let real = sealed(2);
    let filed = SignedHeader::of(&real).filed(Incarnation(77));
    let log = filed.log();
    let mut outputs = Vec::new();
    for (ask, _, _) in frontiers(&survey(&mut script)) {
        let claim = held(log, 1, real.hash(), vec![filed.clone()]);
        let again = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
        for (ask, ..) in frontiers(&again) {
            outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
        }
    }
    let surveyed = surveyed(&outputs).unwrap();
    assert_eq!((surveyed.end.next(&log), surveyed.complete), (0, false));
}

#[test]
fn a_node_proves_the_ends_that_it_is_asked_for() {
    let mut script = Script::with_topic("t", 1);
    let outputs = script.ask(60, publish(0, "a", 1_000));
    let Some(Output::Gossip { batch, .. }) = outputs.last() else { panic!("{outputs:?}") };
    let header = SignedHeader::of(batch);
    let stored = Page { batches: vec![batch.clone()], finished: true, ..Page::default() };
    let trimmed = Page { headers: vec![header.clone()], finished: true, ..Page::default() };
    for (page, heads) in
        [(Page::default(), vec![]), (stored, vec![&header]), (trimmed, vec![&header])]
    {
        let wanted = HeadsWanted(vec![batch.log(), sealed(2).log()]);
        let request = NodeRequest::Frontier(topic(), None, Some(wanted));
        let outputs = script.ask(61, Request::Node(request));
        let [Output::Read { ticket, ranges, .. }] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert_eq!(ranges, &[LogRange { log: batch.log(), from: 0, to: 1 }], "of what it holds");
        let outputs = script.give(Input::ReadDone(*ticket, Some(page)));
        let [Output::Answer { response: Response::Held(held), .. }] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert_eq!(held.heads.iter().collect::<Vec<_>>(), heads);
        let encoded = Response::Held(held.clone());
        assert_eq!(Response::decode(&encoded.encode()), Ok(encoded));
    }
}

#[test]
fn a_position_ahead_of_the_log_is_kept_as_far_as_the_log_goes() {
    let mut script = Script::with_replicas();
    script.ask(60, publish(0, "a", 1_000));
    let own = LogId { writer: key(1).node(), incarnation: Incarnation(7) };
    let mut cursor = Cursor::start(topic());
    cursor.advance_to(own, Position { next: 1_000, head: None });
    let name: SubscriberName = "s".parse().unwrap();
    let subscription = Subscription::new(0, Some(cursor));
    let keep = Request::Node(NodeRequest::Keep(topic(), name.clone(), subscription, None));
    let asker = Asker::Node(key(2).node());
    let outputs = script.give(Input::Asked { question: QuestionId(71), asker, request: keep });
    for (ask, _, _) in frontiers(&outputs) {
        script.give(Input::Told { ask, result: Ok(Response::Held(Held::default())) });
    }
    let kept = script.engine.core.topics.get(&topic()).unwrap().subscriptions[&name].clone();
    assert_eq!(kept.cursor.unwrap().next(&own), 1);
}

#[test]
fn a_position_that_a_replica_tells_is_told_as_far_as_the_log_goes() {
    let mut script = Script::with_replicas();
    script.ask(60, publish(0, "a", 1_000));
    let own = LogId { writer: key(1).node(), incarnation: Incarnation(7) };
    let elsewhere = sealed(4).log();
    let mut cursor = Cursor::start(topic());
    cursor.advance_to(own, Position { next: 1_000, head: None });
    cursor.advance_to(elsewhere, Position { next: 5, head: None });
    let position = Some(Subscription::new(0, Some(cursor)));
    let request = ClientRequest::Position("t".parse().unwrap(), "s".parse().unwrap());
    let mut outputs = Vec::new();
    for (ask, _, _) in frontiers(&script.ask(70, Request::Client(request))) {
        let held = Held { position: position.clone(), ..Held::default() };
        outputs = script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
    }
    let [Output::Answer { response: Response::Position(Some(told)), .. }] = outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    let cursor = told.cursor.as_ref().unwrap();
    assert_eq!(cursor.next(&own), 1);
    assert_eq!(cursor.next(&elsewhere), 5, "nobody who answered holds anything of it");
}

/// What a home replica says that has trimmed a log up to its last record, or another one.
pub(super) fn trimmed(
    script: &mut Script,
    topic: TopicId,
    log: LogId,
    by: &[NodeId],
    node: NodeId,
) -> Held {
    script.engine.core.topics.get_mut(&topic).unwrap().prove(log, 6, Hash([1; 32]), true);
    let span = Span { first: 5, next: 6, head: Hash([1; 32]) };
    let entry = Entry { low: 5, spans: vec![span], base: None };
    let entries = by.contains(&node).then_some((log, entry));
    Held { frontier: Frontier(entries.into_iter().collect()), ..Held::default() }
}

#[test]
fn of_a_topic_that_keeps_all_only_most_home_replicas_have_trimmed_anything() {
    let [one, two] = [2, 3].map(|number| key(number).node());
    for (by, low) in [(vec![one], 0), (vec![two], 0), (vec![one, two], 5)] {
        let mut script = Script::with_replicas();
        let log = sealed(4).log();
        script.engine.look_at(topic(), false);
        for (ask, node, _) in frontiers(&survey(&mut script)) {
            let held = trimmed(&mut script, topic(), log, &by, node);
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        assert_eq!(script.engine.known_low(topic(), &log), low, "{by:?}");
    }
}

#[test]
fn what_one_home_replica_calls_trimmed_is_looked_for_until_all_nodes_lack_it() {
    let by = [key(2).node()];
    for is_everybody in [false, true] {
        let mut script = Script::with_replicas();
        let log = sealed(4).log();
        let told = trimmed(&mut script, topic(), log, &by, by[0]);
        script.engine.lows_told(topic(), by[0], &told.frontier.0);
        let outputs: Vec<_> = std::iter::from_fn(|| script.engine.poll_output()).collect();
        let asked = frontiers(&outputs);
        assert_eq!(asked.len(), 2);
        for (ask, node, _) in asked {
            // Nodes that know others than this one prove nothing.
            let members = script.engine.core.members.digest() ^ u64::from(!is_everybody);
            let held = Held { members, ..trimmed(&mut script, topic(), log, &by, node) };
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        let known = script.engine.core.topics.get(&topic()).unwrap();
        assert_eq!(known.told_low(&log).0, if is_everybody { 5 } else { 0 });
    }
}
