//! Logs of removed writers end at their cuts.

use super::{
    grants::topic,
    heads::{frontiers, held, survey, surveyed},
    roster::{ADMIN, ISSUED, member, network, pass, revocation},
    writers::offered,
    *,
};
use crate::{
    limits::CLOSING_RETRY_PAUSE,
    model::{
        Batch, ForkProof, Previous, Run, SignedHeader,
        roster::{Closure, Cut, MemberKind, Pass, Statement},
    },
    wire::{Gossip, Proofs, Statements},
};

/// It wrote, and was removed.
const REMOVED: u8 = 5;

/// A batch of the removed writer with one record.
fn batch_after(previous: Option<&Batch>, payload: &str) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), payload.to_owned()), &mut body).unwrap();
    let next = previous.map_or(0, |batch| batch.header().next());
    let draft = Draft {
        topic: topic(),
        incarnation: Incarnation(5),
        previous: previous.map(|batch| Previous {
            incarnation: Incarnation(5),
            next,
            hash: batch.hash(),
        }),
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first: next, count: 1 }],
    };
    draft.seal(&body.into(), &key(REMOVED))
}

/// A chain of batches.
fn chain(payloads: &[&str]) -> Vec<Batch> {
    let mut chain: Vec<Batch> = Vec::new();
    for payload in payloads {
        chain.push(batch_after(chain.last(), payload));
    }
    chain
}

/// The logs of the removed writer end behind these batches; others are void.
fn closure(lasts: &[&Batch]) -> Statement {
    let cut = |batch: &&Batch| {
        let cut = Cut { next: batch.header().next(), head: Some(batch.hash()) };
        (batch.log().incarnation, cut)
    };
    let place = (topic(), key(REMOVED).node());
    let cuts = lasts.iter().map(cut).collect();
    let closure = Closure::new(network(), place, 0, cuts, key(ADMIN).node());
    Statement::Closure(closure.sign(&key(ADMIN)).unwrap())
}

fn tell(script: &mut Script, statement: Statement) -> Vec<Output> {
    script.ask(6, Request::Node(NodeRequest::TellRoster(Statements::from_iter([statement]))))
}

/// A home of a topic that holds a log of a removed writer.
fn home(held: &[Batch]) -> Script {
    let statements = vec![pass(1), pass(2), pass(3), pass(REMOVED), revocation(REMOVED)];
    let mut script = member(1, statements, Recovered::default()).0.and_replicas();
    for batch in held {
        assert_eq!(offered(&mut script, batch), Outcome::Stored);
    }
    script
}

/// What goes of logs: from where on, and what is left of the log.
fn dropped(outputs: &[Output]) -> Vec<(u64, Option<(u64, u64)>)> {
    let drop = |output: &Output| match output {
        Output::Write(_, Write::Drop { from, to: u64::MAX, log, .. }) => {
            let span = log.as_ref().map(|log| (log.spans[0].first, log.spans[0].next));
            Some((*from, span))
        }
        _ => None,
    };
    outputs.iter().filter_map(drop).collect()
}

/// What is read: the record, and the ticket.
fn read(outputs: &[Output]) -> Vec<(u64, Ticket)> {
    let read = |output: &Output| match output {
        Output::Read { ticket, ranges, .. } => Some((ranges[0].from, *ticket)),
        _ => None,
    };
    outputs.iter().filter_map(read).collect()
}

/// Gives what the store has, until nothing is read any more. All that comes out.
fn serve(script: &mut Script, mut outputs: Vec<Output>, stored: &[Batch]) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some((at, ticket)) = read(&outputs).first().copied() {
        let holds = |batch: &&Batch| batch.header().first <= at && at < batch.header().next();
        let batches = stored.iter().filter(holds).cloned().collect();
        all.append(&mut outputs);
        let page = Some(Page { batches, finished: true, ..Page::default() });
        outputs = script.give(Input::ReadDone(ticket, page));
    }
    all.append(&mut outputs);
    all
}

#[test]
fn what_lies_beyond_the_cut_goes_and_is_not_taken_again() {
    let batches = chain(&["a", "b", "c"]);
    let mut script = home(&batches);
    let outputs = tell(&mut script, closure(&[&batches[1]]));
    assert_eq!(dropped(&outputs), [], "which stamp the log ends with is not known yet");
    let outputs = serve(&mut script, outputs, &batches);
    assert_eq!(dropped(&outputs), [(2, Some((0, 2)))]);
    let refused = Outcome::Refused(Refusal::NotAWriter(topic().to_string()));
    assert_eq!(offered(&mut script, &batches[2]), refused);
    assert!(!script.engine.admits(&Gossip::Batch(batches[2].clone())));
    assert_eq!(offered(&mut script, &batches[1]), Outcome::Stored, "it is held");
    let outputs = tell(&mut script, closure(&[&batches[0]]));
    assert_eq!(dropped(&serve(&mut script, outputs, &batches)), [], "the larger cut holds");
}

#[test]
fn a_log_that_no_closure_names_goes_and_one_that_ends_at_its_cut_stays() {
    let batches = chain(&["a", "b"]);
    let outputs = tell(&mut home(&batches), closure(&[]));
    assert_eq!(dropped(&outputs), [(0, None)]);
    let outputs = tell(&mut home(&batches), closure(&[&batches[1]]));
    assert_eq!((dropped(&outputs), read(&outputs)), (vec![], vec![]));
}

#[test]
fn what_comes_before_the_cut_is_taken_after_it_is_known() {
    let batches = chain(&["a", "b"]);
    let mut script = home(&[]);
    tell(&mut script, closure(&[&batches[1]]));
    assert_eq!(offered(&mut script, &batches[0]), Outcome::Stored);
    let other = batch_after(Some(&batches[0]), "other");
    let refused = Outcome::Refused(Refusal::NotAWriter(topic().to_string()));
    assert_eq!(offered(&mut script, &other), refused, "it ends at the cut, and is another one");
    assert_eq!(offered(&mut script, &batches[1]), Outcome::Stored);
}

#[test]
fn another_chain_goes_back_to_where_repair_can_go_on() {
    let (ours, theirs) = (chain(&["a", "b", "c"]), chain(&["a", "b", "other"]));
    let mut script = home(&ours);
    let outputs = tell(&mut script, closure(&[&theirs[2]]));
    let outputs = serve(&mut script, outputs, &ours);
    assert_eq!(dropped(&outputs), [(2, Some((0, 2)))]);
    assert_eq!(offered(&mut script, &theirs[2]), Outcome::Stored);
    // Nothing of it is of the cut's chain.
    let mut script = home(&ours[..1]);
    let outputs = tell(&mut script, closure(&[&chain(&["other"])[0]]));
    assert_eq!(dropped(&serve(&mut script, outputs, &ours)), [(0, None)]);
}

#[test]
fn what_is_held_before_the_cut_gives_way_to_the_chain_of_the_cut() {
    let (ours, theirs) = (chain(&["a", "b", "c"]), chain(&["a", "x", "y", "z"]));
    let mut script = home(&ours);
    let outputs = tell(&mut script, closure(&[&theirs[3]]));
    assert_eq!((dropped(&outputs), read(&outputs)), (vec![], vec![]), "nothing is beyond the cut");
    let offer = |script: &mut Script, batch: &Batch| {
        let replicate = Replicate { batches: vec![batch.clone()], ..Replicate::default() };
        let request = Request::Node(NodeRequest::Replicate(replicate));
        let asker = Asker::Node(key(2).node());
        let outputs = script.give(Input::Asked { question: QuestionId(5), asker, request });
        let outputs = serve(script, outputs, &ours);
        let goes = |output: &Output| match output {
            Output::Write(_, Write::Drop { from, to, .. }) => Some((*from, *to)),
            _ => None,
        };
        outputs.iter().filter_map(goes).collect::<Vec<_>>()
    };
    assert_eq!(offer(&mut script, &theirs[1]), [], "nothing says that it is of the cut's chain");
    assert_eq!(offer(&mut script, &theirs[3]), [(2, 3)], "`c` is not what comes before it");
    assert_eq!(offer(&mut script, &theirs[3]), []);
    assert_eq!(offer(&mut script, &theirs[2]), [(1, 2)]);
    for batch in theirs[1..3].iter().rev() {
        assert_eq!(offered(&mut script, batch), Outcome::Stored);
    }
    let held = &script.engine.core.topics.get(&topic()).unwrap().logs[&theirs[0].log()];
    let spans: Vec<_> = held.spans.iter().map(|span| (span.first, span.next, span.head)).collect();
    assert_eq!(spans, [(0, 4, theirs[3].hash())]);
}

#[test]
fn a_batch_that_cannot_be_read_is_tried_again() {
    let batches = chain(&["a", "b"]);
    let mut script = home(&batches);
    let outputs = tell(&mut script, closure(&[&batches[0]]));
    let [(_, ticket)] = read(&outputs)[..] else { panic!("{outputs:?}") };
    let outputs = script.give(Input::ReadDone(ticket, None));
    assert_eq!((dropped(&outputs), read(&outputs)), (vec![], vec![]));
    let outputs = script.pass(CLOSING_RETRY_PAUSE);
    let outputs = serve(&mut script, outputs, &batches);
    assert_eq!(dropped(&outputs), [(1, Some((0, 1)))]);
}

#[test]
fn a_restart_goes_on_with_what_a_crash_left() {
    let batches = chain(&["a", "b"]);
    let mut disk = Recovered::default();
    let mut log = Log::default();
    for batch in &batches {
        log.add(batch).unwrap();
        let write = Write::Append { batch: batch.clone(), log: log.clone() };
        disk.apply(&write);
    }
    disk.roster = vec![pass(1), pass(REMOVED), revocation(REMOVED), closure(&[&batches[0]])];
    let (mut script, outputs) = member(1, vec![pass(1)], disk);
    let outputs = serve(&mut script, outputs, &batches);
    assert_eq!(dropped(&outputs), [(1, Some((0, 1)))]);
}

#[test]
fn what_others_claim_counts_up_to_the_cut() {
    let batches = chain(&["a", "b", "c"]);
    let mut script = home(&batches[..1]);
    tell(&mut script, closure(&[&batches[1]]));
    let mut outputs = Vec::new();
    for (ask, to, _) in frontiers(&survey(&mut script)) {
        let heads = vec![SignedHeader::of(&batches[2])];
        let claim = held(batches[2].log(), 3, batches[2].hash(), heads);
        outputs = script.give(Input::Told { ask, result: Ok(Response::Held(claim)) });
        assert!(script.engine.is_comparing(&to), "it may not know of the cut");
    }
    let surveyed = surveyed(&outputs).expect("both have answered");
    assert_eq!(surveyed.end.next(&batches[0].log()), 2);
    assert!(surveyed.complete, "an admin has signed that the log goes so far");
}

#[test]
fn a_fork_before_the_cut_does_not_count_unless_the_closure_names_a_branch() {
    let (ours, theirs) = (chain(&["a", "b"]), chain(&["other"]));
    let proof = ForkProof::of(&ours[0], &theirs[0]).unwrap();
    let proofs = |proof: &ForkProof| Proofs::of([proof].into_iter());
    let told = |script: &mut Script| {
        let branch = ours[0].clone().filed(Incarnation::of_branch(ours[0].hash()));
        let (batches, forks) = (vec![branch], proofs(&proof));
        let replicate = Replicate { batches, forks, ..Replicate::default() };
        let request = Request::Node(NodeRequest::Replicate(replicate));
        let asker = Asker::Node(key(2).node());
        let outputs = script.give(Input::Asked { question: QuestionId(5), asker, request });
        outputs.iter().any(|output| matches!(output, Output::Write(_, Write::Fork(_))))
    };
    let mut script = home(&ours);
    tell(&mut script, closure(&[&ours[1]]));
    assert!(!told(&mut script), "it was one chain when an admin looked");
    let mut script = home(&ours);
    let branch = Incarnation::of_branch(ours[0].hash());
    tell(&mut script, closure(&[&ours[0].clone().filed(branch)]));
    assert!(told(&mut script));
    // It came before the closure.
    let mut script = home(&ours);
    assert!(told(&mut script));
    tell(&mut script, closure(&[&ours[1]]));
    let known = script.engine.core.topics.get(&topic()).unwrap();
    assert!(known.forks.is_empty());
}

/// The node itself was removed, and is a member again.
#[test]
fn who_comes_back_begins_a_new_log() {
    let sealed = |outputs: &[Output]| -> Batch {
        let append = outputs.iter().find_map(|output| match output {
            Output::Write(_, Write::Append { batch, .. }) => Some(batch.clone()),
            _ => None,
        });
        append.unwrap_or_else(|| panic!("{outputs:?}"))
    };
    let others = vec![pass(1), pass(2), pass(3)];
    let mut script = member(1, others, Recovered::default()).0.and_replicas();
    let first = sealed(&script.ask(20, publish(0, "a", 1_000)));
    tell(&mut script, revocation(1));
    let subject = (key(1).node(), MemberKind::Node);
    let mut again = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    again.turn = 1;
    let outputs = tell(&mut script, Statement::Pass(again.sign(&key(ADMIN)).unwrap()));
    let second = sealed(&outputs);
    assert_ne!(second.log(), first.log(), "what nobody acknowledged is written again");
    assert_eq!(second.header().runs, first.header().runs);
}
