//! Whose signature on the terms of a topic counts in a closed network.

use super::{
    roster::{ADMIN, ISSUED, member, network, pass, revocation},
    *,
};
use crate::{
    limits::{RENEW_TERMS_INTERVAL, RENEW_TERMS_WITHIN},
    model::{
        Descriptor, RetentionChange, SignedDescriptor,
        roster::{MemberKind, Pass, Statement},
    },
    wire::{Alter, Right, Statements},
};

/// It creates topics, and manages none.
const CREATES: u8 = 4;
/// It might do everything, and was removed.
const REMOVED: u8 = 5;
/// Nobody has admitted it.
const STRANGER: u8 = 9;

fn granted(number: u8, grant: &str) -> Statement {
    let subject = (key(number).node(), MemberKind::Node);
    let mut pass = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    pass.label = format!("rack-{number}");
    pass.grants = vec![grant.parse().unwrap()];
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

fn closed(own: Statement) -> Script {
    let creates = granted(CREATES, "read,create,hold >");
    let others = vec![own, pass(2), pass(3), creates, pass(REMOVED), revocation(REMOVED)];
    let mut script = member(1, others, Recovered::default()).0;
    script.connect(2);
    script
}

fn terms(signer: u8, change: impl FnOnce(&mut Descriptor)) -> SignedDescriptor {
    let created = Stamp::at(WallClock(u64::from(signer)));
    let mut terms = Descriptor::new("t".parse().unwrap(), key(signer).node(), created);
    change(&mut terms);
    terms.sign(&key(signer)).unwrap()
}

/// Whether terms hold after another node told of them.
fn holds(script: &mut Script, terms: &SignedDescriptor) -> bool {
    let request = Request::Node(NodeRequest::Announce(Some(Box::new(terms.clone()))));
    let asker = Asker::Node(key(2).node());
    script.give(Input::Asked { question: QuestionId(5), asker, request });
    script.engine.core.topics.newest_signed(&"t".parse().unwrap()) == Some(terms)
}

fn altered(terms: &mut Descriptor) {
    terms.revision = 1;
}

fn deleted(terms: &mut Descriptor) {
    (terms.revision, terms.deleted) = (1, true);
}

#[test]
fn a_topic_is_created_by_who_may_create_and_changed_by_who_may_manage_it() {
    let mut script = closed(pass(1));
    assert!(!holds(&mut script, &terms(STRANGER, |_| {})));
    assert!(holds(&mut script, &terms(CREATES, |_| {})));
    assert!(!holds(&mut script, &terms(CREATES, altered)));
    assert!(!holds(&mut script, &terms(CREATES, deleted)));
    assert!(!holds(&mut script, &terms(CREATES, |terms| terms.generation = 1)), "it goes, too");
    assert!(!holds(&mut script, &terms(STRANGER, deleted)));
    assert!(holds(&mut script, &terms(2, altered)));
    assert!(holds(&mut script, &terms(2, deleted)));
    assert!(holds(&mut script, &terms(CREATES, |terms| terms.generation = 1)), "it is a new one");
}

#[test]
fn of_a_topic_that_two_created_at_the_same_time_the_earlier_terms_hold_everywhere() {
    let (early, late) = (terms(2, |_| {}), terms(CREATES, |_| {}));
    for order in [[&early, &late], [&late, &early]] {
        let mut script = closed(pass(1));
        for terms in order {
            holds(&mut script, terms);
        }
        assert!(holds(&mut script, &early));
    }
}

#[test]
fn what_a_removed_member_signed_is_not_taken() {
    let mut script = closed(pass(1));
    assert!(!holds(&mut script, &terms(REMOVED, |_| {})), "it might be signed after the removal");
    assert!(holds(&mut script, &terms(2, |_| {})));
    assert!(!holds(&mut script, &terms(REMOVED, altered)));
    assert!(!holds(&mut script, &terms(REMOVED, deleted)));
    assert!(!holds(&mut script, &terms(REMOVED, |terms| terms.generation = 1)));
}

#[test]
fn terms_that_a_member_signed_before_it_was_removed_are_signed_again_by_another_one() {
    let mut script = closed(pass(1));
    assert!(holds(&mut script, &terms(3, altered)));
    script.pass(RENEW_TERMS_INTERVAL);
    let newest = |script: &Script| {
        let terms = script.engine.core.topics.newest(&"t".parse().unwrap()).unwrap();
        (terms.creator, terms.revision)
    };
    assert_eq!(newest(&script), (key(3).node(), 1), "it is a member");
    let told = Statements::from_iter([revocation(3)]);
    script.ask(6, Request::Node(NodeRequest::TellRoster(told)));
    script.pass(RENEW_TERMS_WITHIN);
    assert_eq!(newest(&script), (key(1).node(), 2));
    // A node that may not manage the topic leaves that to others.
    let mut script = closed(granted(1, "read,create,hold >"));
    assert!(holds(&mut script, &terms(3, altered)));
    let told = Statements::from_iter([revocation(3)]);
    script.ask(6, Request::Node(NodeRequest::TellRoster(told)));
    script.pass(RENEW_TERMS_WITHIN);
    assert_eq!(newest(&script), (key(3).node(), 1));
}

/// The operator of a node may ask for everything there. Others would not take the terms.
#[test]
fn a_node_signs_no_terms_that_others_would_not_take() {
    let mut script = closed(granted(1, "read,create,hold >"));
    assert!(holds(&mut script, &terms(2, |_| {})));
    let alter = Alter {
        name: "t".parse().unwrap(),
        replicas: Some(1),
        min_copies: Some(1),
        retention: RetentionChange::default(),
        floor_follows: false,
    };
    let requests = [ClientRequest::Alter(alter), ClientRequest::Delete("t".parse().unwrap())];
    for request in requests {
        let outputs = script.ask(60, Request::Client(request));
        let refused = outputs.iter().any(|output| {
            matches!(output, Output::Answer { response: Response::Refused(refusal), .. }
                if matches!(refusal, Refusal::NotAllowed { right: Right::Manage, .. }))
        });
        assert!(refused, "{outputs:?}");
    }
}
