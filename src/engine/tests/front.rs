//! The front door: who may ask what, and what happens to requests that wait.

use super::*;
use crate::{
    limits::{RECONNECT_WITHIN, TICK},
    model::{RetentionChange, Subscription},
    wire::{Alter, Refusal, Right},
};

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
    script.connect(2);
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

/// All who may ask: the program, the operator, two clients, and a node that is connected.
fn askers() -> [Asker; 5] {
    let client = Asker::Client(Some(key(3).node()));
    [Asker::Program, Asker::Operator, Asker::Client(None), client, other()]
}

/// The right that an asker is told to lack; none if it is not refused for that.
fn lacking(script: &mut Script, asker: Asker, request: ClientRequest) -> Option<Right> {
    match refusal(&asked(script, 1, asker, request)) {
        Some(Refusal::NotAllowed { right, .. }) => Some(*right),
        _ => None,
    }
}

/// One request of each kind that needs a right, and what it needs.
fn guarded() -> [(ClientRequest, Right); 5] {
    let name = || -> TopicName { "t".parse().unwrap() };
    let start = Cursor::start(TopicId::from_bytes([7; 32]));
    let alter = Alter {
        name: name(),
        replicas: None,
        min_copies: None,
        retention: RetentionChange::default(),
        floor_follows: false,
    };
    [
        (ClientRequest::Leave(key(9).node()), Right::Operate),
        (ClientRequest::Forget(key(9).node()), Right::Operate),
        (ClientRequest::Verify(name(), start, true), Right::Operate),
        (ClientRequest::Alter(alter), Right::Manage),
        (ClientRequest::Delete(name()), Right::Manage),
    ]
}

#[test]
fn only_program_and_operator_leave_forget_repair_alter_and_delete() {
    for open_admin in [false, true] {
        let mut script = Script::new();
        script.engine.core.config.open_admin = open_admin;
        script.connect(2);
        for (request, needed) in guarded() {
            for asker in askers() {
                let is_hearsay = asker == other() && matches!(request, ClientRequest::Forget(_));
                let is_allowed = matches!(asker, Asker::Program | Asker::Operator)
                    || open_admin && needed == Right::Manage
                    || is_hearsay;
                let expected = (!is_allowed).then_some(needed);
                let what = format!("{request:?} by {asker:?}, open_admin {open_admin}");
                assert_eq!(lacking(&mut script, asker, request.clone()), expected, "{what}");
            }
        }
        assert!(!script.engine.membership.is_leaving());
    }
}

#[test]
fn all_others_may_be_asked_by_anybody() {
    let name = || -> TopicName { "t".parse().unwrap() };
    let start = Cursor::start(TopicId::from_bytes([7; 32]));
    let requests = [
        ClientRequest::Create(Create::new(name())),
        ClientRequest::Survey(name()),
        ClientRequest::Verify(name(), start, false),
        ClientRequest::Topics(None),
        ClientRequest::Peers,
        ClientRequest::Outbox(None),
        ClientRequest::Describe(name()),
    ];
    let mut script = Script::new();
    script.connect(2);
    for request in requests {
        for asker in askers() {
            let what = format!("{request:?} by {asker:?}");
            assert_eq!(lacking(&mut script, asker, request.clone()), None, "{what}");
        }
    }
}

#[test]
fn the_operator_makes_its_node_leave() {
    let mut script = Script::new();
    script.connect(2);
    let leave = || ClientRequest::Leave(key(1).node());
    for asker in [Asker::Client(None), other()] {
        assert_eq!(lacking(&mut script, asker, leave()), Some(Right::Operate));
        assert!(!script.engine.membership.is_leaving());
    }
    assert_eq!(refusal(&asked(&mut script, 2, Asker::Operator, leave())), None);
    assert!(script.engine.membership.is_leaving());
}

#[test]
fn a_peer_that_is_no_connected_member_is_a_client_whatever_it_says() {
    let mut script = Script::new();
    let outputs = asked(&mut script, 1, other(), NodeRequest::Stopping);
    assert_eq!(refusal(&outputs), Some(&Refusal::Unsupported(None)));
    let forget = ClientRequest::Forget(key(9).node());
    assert_eq!(lacking(&mut script, other(), forget), Some(Right::Operate));
    script.connect(2);
    assert_eq!(refusal(&asked(&mut script, 2, other(), NodeRequest::Stopping)), None);
}

/// Whether a node is known.
fn is_known(script: &Script, seed: u8) -> bool {
    script.engine.core.members.get(&key(seed).node()).is_some()
}

/// Time in which a node that is away becomes dead, in steps: an engine that oversleeps takes nobody
/// for dead.
fn wait_until_dead(script: &mut Script) {
    let mut waited = Duration::ZERO;
    while waited <= RECONNECT_WITHIN + TICK {
        script.pass(TICK);
        waited += TICK;
    }
}

#[test]
fn another_node_is_believed_that_a_node_is_lost_once_that_one_is_dead_here() {
    let forget = || ClientRequest::Forget(key(3).node());
    for is_told_before in [true, false] {
        let mut script = Script::new();
        script.connect(2);
        script.connect(3);
        asked(&mut script, 1, other(), forget());
        script.give(Input::Disconnected(key(3).node()));
        if is_told_before {
            // It is away for a moment only, as far as this node knows.
            asked(&mut script, 2, other(), forget());
            assert!(is_known(&script, 3));
        }
        wait_until_dead(&mut script);
        assert_eq!(is_known(&script, 3), !is_told_before, "it is not connected, and was not then");
        let outputs = asked(&mut script, 3, other(), forget());
        assert!(!is_known(&script, 3));
        assert!(asks(&outputs).is_empty(), "it is not passed on again");
    }
}

#[test]
fn a_node_that_comes_back_in_time_is_not_lost_for_anothers_word() {
    let mut script = Script::new();
    script.connect(2);
    script.connect(3);
    script.give(Input::Disconnected(key(3).node()));
    asked(&mut script, 1, other(), ClientRequest::Forget(key(3).node()));
    script.connect(3);
    script.give(Input::Disconnected(key(3).node()));
    wait_until_dead(&mut script);
    assert!(is_known(&script, 3));
}

#[test]
fn the_operator_is_believed_at_once_and_the_others_are_told() {
    let mut script = Script::new();
    script.connect(2);
    script.connect(3);
    script.give(Input::Disconnected(key(3).node()));
    let forget = ClientRequest::Forget(key(3).node());
    let outputs = asked(&mut script, 1, Asker::Operator, forget.clone());
    assert!(!is_known(&script, 3));
    let is_told = |output: &Output| {
        matches!(output, Output::Ask { to, request, .. }
            if *to == key(2).node() && *request == Request::Client(forget.clone()))
    };
    assert!(outputs.iter().any(is_told), "{outputs:?}");
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
