//! How many logs of one writer, and of writers that are no nodes, a topic takes.

use super::*;
use crate::{
    engine::holdings::proofs::Learned,
    limits::{
        FRONTIER_LOGS_MAX, STRANGER_DRIFT_MAX, STRANGER_LOGS_MAX, WRITER_FORKS_MAX, WRITER_LOGS_MAX,
    },
    model::{Batch, Entry, ForkProof, Frontier, Hash, LogId, Run, SignedHeader, Span},
    wire::Read,
};

pub(super) fn topic() -> TopicId {
    TopicId::derive(&crate::model::Realm::default(), &"t".parse().unwrap())
}

pub(super) fn key_of(number: u32) -> NodeKey {
    let mut secret = [200; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_secret(&secret)
}

/// The first batch of a log.
pub(super) fn first_batch(key: &NodeKey, incarnation: u64) -> Batch {
    sealed(key, incarnation, "x", Stamp::default())
}

pub(super) fn sealed(key: &NodeKey, incarnation: u64, payload: &str, stamp: Stamp) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), payload.to_owned()), &mut body).unwrap();
    let draft = Draft {
        topic: topic(),
        incarnation: Incarnation(incarnation),
        previous: None,
        stamp,
        runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), key)
}

/// How many of these a node stores, and why it refuses the others.
pub(super) fn replicate(
    script: &mut Script,
    asker: Asker,
    batches: Vec<Batch>,
) -> (usize, BTreeSet<String>) {
    let before = script.engine.core.topics.get(&topic()).unwrap().logs.len();
    let replicate = Replicate { batches, ..Replicate::default() };
    let request = Request::Node(NodeRequest::Replicate(replicate));
    let outputs = script.give(Input::Asked { question: QuestionId(900), asker, request });
    let refused = outputs.into_iter().find_map(|output| match output {
        Output::Answer { response: Response::Replicated(outcomes), .. } => Some(outcomes),
        _ => None,
    });
    let reason = |outcome| match outcome {
        Outcome::Refused(Refusal::OverBudget { reason, .. }) => Some(reason),
        Outcome::Refused(other) => panic!("{other:?}"),
        _ => None,
    };
    let reasons = refused.unwrap().into_iter().filter_map(reason).collect();
    (script.engine.core.topics.get(&topic()).unwrap().logs.len() - before, reasons)
}

#[test]
fn a_writer_has_its_share_of_a_topics_logs() {
    let mut script = Script::with_replicas();
    let batches = (0..200).map(|incarnation| first_batch(&key(2), incarnation)).collect();
    let (stored, reasons) = replicate(&mut script, Asker::Node(key(2).node()), batches);
    assert_eq!(stored, WRITER_LOGS_MAX);
    assert!(reasons.iter().any(|reason| reason.contains("the writer has")), "{reasons:?}");
    let next = vec![first_batch(&key(3), 1)];
    assert_eq!(replicate(&mut script, Asker::Node(key(3).node()), next).0, 1, "another node");
}

#[test]
fn keys_that_somebody_made_up_leave_room_for_nodes() {
    let mut script = Script::with_replicas();
    let batches = (0..1_200_u32).map(|number| first_batch(&key_of(number / 40), number.into()));
    let batches: Vec<_> = batches.collect();
    for batches in batches.chunks(300) {
        // A node that is no home replica of the topic vouches for nobody.
        let asker = Asker::Client(Some(key(9).node()));
        replicate(&mut script, asker, batches.to_vec());
    }
    assert_eq!(script.engine.core.topics.get(&topic()).unwrap().logs.len(), STRANGER_LOGS_MAX);
    let (stored, reasons) =
        replicate(&mut script, Asker::Client(None), vec![batches[1_199].clone()]);
    assert!(stored == 0 && reasons.iter().all(|it| it.contains("no nodes")), "{reasons:?}");
    let from = key(2).node();
    let mine = vec![first_batch(&key(2), 1)];
    assert_eq!(replicate(&mut script, Asker::Node(from), mine).0, 1, "a node's own log");
    // What another home replica has is taken: it may be records of nodes that were forgotten.
    assert_eq!(replicate(&mut script, Asker::Node(from), vec![batches[1_199].clone()]).0, 1);
    let outputs = script.ask(77, publish(0, "a", 1_000));
    assert!(outputs.iter().any(|it| matches!(it, Output::Gossip { .. })), "this node's own log");
}

#[test]
fn more_logs_than_a_cursor_names_refuse_no_read() {
    let mut script = Script::with_replicas();
    let outputs = script.ask(77, publish(0, "a", 1_000));
    assert!(outputs.iter().any(|it| matches!(it, Output::Gossip { .. })));
    let survey = Request::Client(ClientRequest::Survey("t".parse().unwrap()));
    let outputs = script.ask(78, survey);
    let mut end = None;
    for (ask, node) in asks(&outputs) {
        let span = Span { first: 0, next: 1, head: Hash([1; 32]) };
        let entry = Entry { spans: vec![span], ..Entry::default() };
        let all = 0..FRONTIER_LOGS_MAX as u64;
        let log = |number| LogId { writer: key(9).node(), incarnation: Incarnation(number) };
        // Each tells of others, and all of them are proven.
        let from = u64::from(node == key(2).node()) << 32;
        let known = script.engine.core.topics.get_mut(&topic()).unwrap();
        all.clone().for_each(|number| known.prove(log(from + number), 1, Hash([1; 32]), true));
        let logs = all.map(|number| (log(from + number), entry.clone()));
        let held = Held { frontier: Frontier(logs.collect()), ..Held::default() };
        let outputs = script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        end = outputs.into_iter().find_map(|output| match output {
            Output::Answer { response: Response::Surveyed(surveyed), .. } => Some(surveyed.end),
            _ => None,
        });
    }
    let end = end.expect("the survey is answered");
    assert!(end.is_well_formed());
    let own = LogId { writer: key(1).node(), incarnation: Incarnation(7) };
    assert_eq!(end.next(&own), 1, "what this node holds is shown");
    let read = Read {
        topic: "t".parse().unwrap(),
        after: end.clone(),
        until: Some(end),
        bytes_max: 1_000,
        wait_ms: 0,
    };
    let outputs = script.ask(79, Request::Client(ClientRequest::Read(read)));
    let refused = |it: &Output| matches!(it, Output::Answer { response: Response::Refused(_), .. });
    assert!(!outputs.iter().any(refused), "{outputs:?}");
}

#[test]
fn a_batch_of_a_made_up_key_that_is_stamped_ahead_is_taken_when_its_time_has_come() {
    let mut script = Script::with_replicas();
    let stamp = |ahead: Duration| Stamp::at(WallClock(0).plus(STRANGER_DRIFT_MAX + ahead));
    let second = Duration::from_secs(1);
    let early = vec![sealed(&key_of(1), 1, "x", stamp(second))];
    let (stored, reasons) = replicate(&mut script, Asker::Client(None), early.clone());
    assert!(stored == 0 && reasons.iter().all(|it| it.contains("in the future")), "{reasons:?}");
    let near = vec![sealed(&key_of(1), 2, "x", stamp(Duration::ZERO))];
    assert_eq!(replicate(&mut script, Asker::Client(None), near).0, 1);
    let of_a_node = vec![sealed(&key(2), 1, "x", stamp(second))];
    assert_eq!(replicate(&mut script, Asker::Node(key(2).node()), of_a_node).0, 1);
    script.pass(second);
    assert_eq!(replicate(&mut script, Asker::Client(None), early).0, 1);
}

/// Found by the simulation: the only home replica was new, and did not know the writer.
#[test]
fn an_acquainted_node_brings_what_a_forgotten_node_stamped_ahead() {
    let mut script = Script::with_replicas();
    (4..9).for_each(|other| script.connect(other));
    let members = &script.engine.core.members;
    let known = script.engine.core.topics.get_mut(&topic()).unwrap();
    let mut others = (2..9).map(|other| key(other).node());
    let stand_in = others.find(|node| !known.belongs_to(members, node)).unwrap();
    let stamp = Stamp::at(WallClock(0).plus(STRANGER_DRIFT_MAX + Duration::from_secs(1)));
    let early = vec![sealed(&key_of(1), 1, "x", stamp)];
    assert_eq!(replicate(&mut script, Asker::Client(None), early.clone()).0, 0);
    assert_eq!(replicate(&mut script, Asker::Node(stand_in), early).0, 1);
}

#[test]
fn a_writer_that_forks_its_logs_takes_no_other_writers_place() {
    let mut script = Script::with_replicas();
    let known = script.engine.core.topics.get_mut(&topic()).unwrap();
    let mut fork = |key: &NodeKey, incarnation| {
        let header = |text| SignedHeader::of(&sealed(key, incarnation, text, Stamp::default()));
        known.add_fork(&ForkProof::of_headers(&header("one"), &header("other")).unwrap())
    };
    let learned: Vec<_> = (0..12).map(|incarnation| fork(&key(2), incarnation)).collect();
    assert!(learned[..WRITER_FORKS_MAX].iter().all(|learned| *learned == Learned::Fork));
    assert!(learned[WRITER_FORKS_MAX..].iter().all(|learned| *learned == Learned::Nothing));
    assert_eq!(fork(&key(3), 1), Learned::Fork);
}
