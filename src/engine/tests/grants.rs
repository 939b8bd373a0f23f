//! What members of a closed network may ask, by their grants.

use super::{
    roster::{ADMIN, ISSUED, charter, member, network, pass},
    *,
};
use crate::{
    engine::Asker,
    model::{
        Cursor, Realm, TopicName,
        roster::{MemberKind, Pass, Statement},
    },
    wire::{NamesWanted, Right},
};

/// The member that asks.
const ASKER: u8 = 5;

/// A pass of the one who asks, with these grants.
fn granted(kind: MemberKind, grants: &[&str]) -> Statement {
    let subject = (key(ASKER).node(), kind);
    let mut pass = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    pass.label = "laptop".to_owned();
    pass.grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

fn t() -> TopicName {
    "t".parse().unwrap()
}

pub(super) fn topic() -> TopicId {
    Realm::of(charter().terms()).topic(&t())
}

/// One request of each kind that needs a grant: what is told to lack, and a grant that is enough.
fn table() -> Vec<(Request, Right, &'static str)> {
    let client = |request, right, grant| (Request::Client(request), right, grant);
    let group = || "workers".parse().unwrap();
    let start = || Cursor::start(topic());
    let Request::Client(publish) = publish(0, "a", 1_000) else { unreachable!("it is a client's") };
    vec![
        client(ClientRequest::Create(Create::new(t())), Right::Create, "create t"),
        client(publish, Right::Write, "write t"),
        client(ClientRequest::Delete(t()), Right::Manage, "manage t"),
        client(ClientRequest::Verify(t(), start(), false), Right::Manage, "manage t"),
        client(ClientRequest::Survey(t()), Right::Read, "read t"),
        client(ClientRequest::Describe(t()), Right::Read, "read t"),
        client(ClientRequest::Subscriptions(t(), None), Right::Read, "read t"),
        client(ClientRequest::Position(t(), group()), Right::Read, "read t with workers"),
        (Request::Node(NodeRequest::Counts), Right::Hold, "hold t"),
    ]
}

fn lacking(grants: &[&str], kind: MemberKind, asker: Asker, request: Request) -> Option<Right> {
    let own = vec![pass(1), granted(kind, grants)];
    let mut script = member(1, own, Recovered::default()).0;
    if asker.node().is_some() {
        script.connect(ASKER);
    }
    let create = Create { replicas: Some(1), ..Create::new(t()) };
    script.ask(1, Request::Client(ClientRequest::Create(create)));
    let outputs = script.give(Input::Asked { question: QuestionId(2), asker, request });
    outputs.iter().find_map(|output| match output {
        Output::Answer {
            response: Response::Refused(Refusal::NotAllowed { text, right }), ..
        } => {
            assert!(text.contains("admin"), "it says who can help: {text}");
            Some(*right)
        }
        _ => None,
    })
}

#[test]
fn each_request_needs_its_right_and_no_other_one() {
    let all = ["read t with workers", "read t", "write t", "create t", "manage t", "hold t"];
    let id = key(ASKER).node();
    for (request, right, enough) in table() {
        for (kind, asker) in
            [(MemberKind::Client, Asker::Client(Some(id))), (MemberKind::Node, Asker::Node(id))]
        {
            // Nodes that hold topics pass on what they were asked themselves.
            let is_passed_on = kind == MemberKind::Node
                && matches!(request, Request::Client(ClientRequest::Describe(_)));
            for grant in all {
                let is_enough = grant == enough
                    || grant == "read t" && enough.starts_with("read t")
                    || grant == "hold t" && is_passed_on
                    || grant.starts_with("read t") && enough == "read t"; // of all subscriptions or some, the topic is read
                let expected = (!is_enough).then_some(right);
                let what = format!("{request:?} by {asker:?} with `{grant}`");
                assert_eq!(lacking(&[grant], kind, asker, request.clone()), expected, "{what}");
            }
        }
    }
}

#[test]
fn a_grant_of_another_topic_is_none() {
    let asker = Asker::Client(Some(key(ASKER).node()));
    let others = ["read,write,create,manage other"];
    for (request, right, _) in table() {
        assert_eq!(lacking(&others, MemberKind::Client, asker, request), Some(right));
    }
}

#[test]
fn any_member_may_ask_who_is_there_and_none_operates() {
    let asker = Asker::Client(Some(key(ASKER).node()));
    let ask =
        |request| lacking(&["read other"], MemberKind::Client, asker, Request::Client(request));
    assert_eq!(ask(ClientRequest::Peers), None);
    assert_eq!(ask(ClientRequest::Topics(None)), None);
    let create = Create::new(t());
    for asker in [Asker::Program, Asker::Operator] {
        let request = Request::Client(ClientRequest::Create(create.clone()));
        assert_eq!(lacking(&[], MemberKind::Client, asker, request), None);
    }
}

#[test]
fn names_of_topics_are_told_to_those_who_have_a_right_in_them() {
    let id = key(ASKER).node();
    for (asker, kind, grants, seen) in [
        (Asker::Client(Some(id)), MemberKind::Client, ["read t"], vec!["t"]),
        (Asker::Client(Some(id)), MemberKind::Client, ["create >"], vec!["other", "t"]),
        (Asker::Node(id), MemberKind::Node, ["hold t"], vec!["other", "t"]),
        (Asker::Operator, MemberKind::Client, ["read t"], vec!["other", "t"]),
    ] {
        let mut script = member(1, vec![pass(1), granted(kind, &grants)], Recovered::default()).0;
        for (question, name) in (1..).zip(["t", "other"]) {
            let create = Create { replicas: Some(1), ..Create::new(name.parse().unwrap()) };
            script.ask(question, Request::Client(ClientRequest::Create(create)));
        }
        if asker.node().is_some() {
            script.connect(ASKER);
        }
        let mut answer = |request| {
            let request = Request::Client(request);
            let asked = Input::Asked { question: QuestionId(9), asker, request };
            let mut outputs = script.give(asked);
            // The other node says how many records it holds.
            let counts = outputs.iter().find_map(|output| match output {
                Output::Ask { ask, request: Request::Node(NodeRequest::Counts), .. } => Some(*ask),
                _ => None,
            });
            if let Some(ask) = counts {
                outputs = script.give(Input::Told { ask, result: Ok(Response::Counts(vec![])) });
            }
            let answer = outputs.into_iter().find_map(|output| match output {
                Output::Answer { response, .. } => Some(response),
                _ => None,
            });
            answer.expect("it answers at once")
        };
        let pattern = ">".parse().unwrap();
        let wanted = NamesWanted { pattern, known: [0; 32], after: None, wait_ms: 0 };
        let Response::Names(names) = answer(ClientRequest::Names(wanted)) else { panic!() };
        assert_eq!(names.page.iter().map(TopicName::as_str).collect::<Vec<_>>(), seen);
        let Response::Topics(topics, _) = answer(ClientRequest::Topics(None)) else { panic!() };
        assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), seen);
    }
}
