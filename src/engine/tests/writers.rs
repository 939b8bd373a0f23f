//! Whose batches count in a closed network.

use super::{
    grants::topic,
    heads::{frontiers, held, sealed_in, survey, surveyed},
    roster::{ADMIN, ISSUED, member, network, pass, pass_until, revocation},
    *,
};
use crate::{
    engine::Asker,
    model::{
        Batch, SignedHeader,
        roster::{MemberKind, Pass, Statement},
    },
    wire::{Gossip, Right, Statements},
};

/// It reads and holds topics, and may not write to them.
const READS: u8 = 4;
/// It was removed.
const REMOVED: u8 = 5;
/// Its pass has ended.
const ENDED: u8 = 6;
/// A client, which signs no batches.
const CLIENT: u8 = 7;
/// Nobody has admitted it.
const STRANGER: u8 = 9;

fn granted(number: u8, grants: &[&str]) -> Statement {
    let subject = (key(number).node(), MemberKind::Node);
    let mut pass = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    pass.label = format!("rack-{number}");
    pass.grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

/// A node of a closed network, with a topic that two other nodes hold as well.
fn closed(own: Statement) -> Script {
    let others = [pass(2), pass(3), pass(REMOVED), revocation(REMOVED)];
    let ended = pass_until(ENDED, MemberKind::Node, Some(WallClock(1)));
    let client = pass_until(CLIENT, MemberKind::Client, None);
    let reads = granted(READS, &["read >", "hold >"]);
    let statements = others.into_iter().chain([own, ended, client, reads]).collect();
    member(1, statements, Recovered::default()).0.and_replicas()
}

pub(super) fn offered(script: &mut Script, batch: &Batch) -> Outcome {
    let replicate = Replicate { batches: vec![batch.clone()], ..Replicate::default() };
    let request = Request::Node(NodeRequest::Replicate(replicate));
    let asker = Asker::Node(key(2).node());
    let outputs = script.give(Input::Asked { question: QuestionId(5), asker, request });
    let outcome = outputs.iter().find_map(|output| match output {
        Output::Answer { response: Response::Replicated(outcomes), .. } => outcomes.first(),
        _ => None,
    });
    outcome.unwrap_or_else(|| panic!("{outputs:?}")).clone()
}

#[test]
fn a_replica_takes_batches_of_those_who_may_write_or_could() {
    let mut script = closed(pass(1));
    for (writer, is_taken) in [
        (2, true),
        (REMOVED, true),
        (ENDED, true),
        (READS, false),
        (CLIENT, false),
        (STRANGER, false),
    ] {
        let batch = sealed_in(topic(), writer);
        let gossip = Gossip::Batch(batch.clone());
        // Who is gone writes nothing new: what it wrote comes by repair. Clocks may differ by more
        // than has gone by since the pass has ended.
        let is_admitted = [2, ENDED].contains(&writer);
        assert_eq!(script.engine.admits(&gossip), is_admitted, "gossip of {writer}");
        let wanted = if is_taken {
            Outcome::Stored
        } else {
            Outcome::Refused(Refusal::NotAWriter(topic().to_string()))
        };
        assert_eq!(offered(&mut script, &batch), wanted, "a batch of {writer}");
    }
}

#[test]
fn a_newcomers_batches_are_taken_once_its_pass_is_known() {
    let mut script = closed(pass(1));
    let batch = sealed_in(topic(), STRANGER);
    assert!(matches!(offered(&mut script, &batch), Outcome::Refused(_)));
    let told = Request::Node(NodeRequest::TellRoster(Statements::from_iter([pass(STRANGER)])));
    script.ask(6, told);
    assert_eq!(offered(&mut script, &batch), Outcome::Stored);
}

#[test]
fn a_log_of_a_stranger_proves_nothing_and_who_tells_of_it_is_asked_who_belongs() {
    let mut script = closed(pass(1));
    let (real, foreign) = (sealed_in(topic(), 2), sealed_in(topic(), STRANGER));
    let mut outputs = Vec::new();
    for (ask, to, _) in frontiers(&survey(&mut script)) {
        let heads = vec![SignedHeader::of(&real), SignedHeader::of(&foreign)];
        let mut claim = held(real.log(), 1, real.hash(), heads);
        claim.frontier.0.extend(held(foreign.log(), 1, foreign.hash(), Vec::new()).frontier.0);
        outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim.clone())) });
        assert!(script.engine.is_comparing(&to), "it may know of more members");
        assert_eq!(frontiers(&outputs), [], "nothing is proven by it");
    }
    let surveyed = surveyed(&outputs).expect("both have answered");
    assert_eq!(surveyed.end.next(&foreign.log()), 0);
    assert!(!surveyed.complete, "they may know of a member that is not known here");
}

#[test]
fn a_node_that_may_not_write_refuses_what_no_other_node_would_take() {
    let mut script = closed(granted(1, &["read >", "create >", "hold >"]));
    let outputs = script.ask(60, publish(0, "a", 1_000));
    let refused = outputs.iter().any(|output| {
        matches!(output, Output::Answer { response: Response::Refused(refusal), .. }
            if matches!(refusal, Refusal::NotAllowed { right: Right::Write, text }
                if text.contains("rack-1")))
    });
    assert!(refused, "{outputs:?}");
}
