//! The front door: who may ask what, and what happens to requests that wait.

use super::*;
use crate::{model::Subscription, wire::Refusal};

fn other() -> Asker {
    Asker::Node(key(2).node())
}

fn asked(
    script: &mut Script,
    question: u64,
    asker: Asker,
    request: impl Into<Request>,
) -> Vec<Output> {
    script.give(Input::Asked { question: QuestionId(question), asker, request: request.into() })
}

fn refusal(outputs: &[Output]) -> Option<&Refusal> {
    outputs.iter().find_map(|output| match output {
        Output::Answer { response: Response::Refused(refusal), .. } => Some(refusal),
        _ => None,
    })
}

#[test]
fn a_request_that_waits_for_a_topic_keeps_its_asker() {
    let mut script = Script::new();
    script.connect(2);
    let name: TopicName = "later".parse().unwrap();
    let askers = [Asker::Program, Asker::Operator, Asker::Client(None), other()];
    let mut describing = Vec::new();
    for (question, asker) in (1..).zip(askers) {
        let outputs = asked(&mut script, question, asker, ClientRequest::Survey(name.clone()));
        assert!(refusal(&outputs).is_none(), "the other node is asked first");
        describing.extend(asks(&outputs));
    }
    let [(ask, _)] = describing[..] else { panic!("once for all: {describing:?}") };
    assert_eq!(script.engine.front.askers_waiting_for(&name), askers);
    // The other node does not know the topic either.
    let outputs = script.give(Input::Told { ask, result: Ok(Response::Described(None)) });
    assert!(matches!(refusal(&outputs), Some(Refusal::UnknownTopic { .. })));
    assert_eq!(outputs.len(), askers.len(), "each of them is answered");
    assert!(script.engine.front.askers_waiting_for(&name).is_empty());
}

#[test]
fn only_a_node_says_of_itself_that_it_leaves_stops_or_keeps() {
    let mut script = Script::new();
    let topic = TopicId::from_bytes([7; 32]);
    let requests = || {
        [
            NodeRequest::Leaving(false),
            NodeRequest::Stopping,
            NodeRequest::Compare(None, [0; 32]),
            NodeRequest::Keep(topic, "s".parse().unwrap(), Subscription::new(0, None), None),
        ]
    };
    for asker in [Asker::Program, Asker::Operator, Asker::Client(Some(key(2).node()))] {
        for request in requests() {
            let what = format!("{request:?} by {asker:?}");
            let outputs = asked(&mut script, 1, asker, request);
            assert_eq!(refusal(&outputs), Some(&Refusal::Unsupported(None)), "{what}");
        }
    }
    for request in requests() {
        let outputs = asked(&mut script, 1, other(), request);
        assert_ne!(refusal(&outputs), Some(&Refusal::Unsupported(None)));
    }
}

#[test]
fn no_node_makes_another_one_leave() {
    let mut script = Script::new();
    script.connect(2);
    let leave = ClientRequest::Leave(key(1).node());
    let outputs = asked(&mut script, 1, other(), leave.clone());
    assert_eq!(refusal(&outputs), Some(&Refusal::Unsupported(None)));
    assert!(!script.engine.membership.is_leaving());
    let outputs = asked(&mut script, 2, Asker::Operator, leave);
    assert_eq!(refusal(&outputs), None);
    assert!(script.engine.membership.is_leaving());
}

#[test]
fn a_node_that_leaves_or_is_full_refuses_what_it_would_have_to_store() {
    let mut script = Script::new();
    script.connect(2);
    let create = || ClientRequest::Create(Create::new("t".parse().unwrap()));
    script.give(Input::Room(false));
    let outputs = asked(&mut script, 1, Asker::Program, create());
    assert_eq!(refusal(&outputs), Some(&Refusal::Full(None)));
    script.give(Input::Room(true));
    asked(&mut script, 2, Asker::Program, ClientRequest::Leave(key(1).node()));
    for request in [create(), ClientRequest::Delete("t".parse().unwrap())] {
        let outputs = asked(&mut script, 3, Asker::Program, request);
        assert!(matches!(refusal(&outputs), Some(Refusal::Stopping(_))), "{outputs:?}");
    }
}
