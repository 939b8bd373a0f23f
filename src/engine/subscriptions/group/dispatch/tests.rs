//! Exact scripts for the division of records.

use super::*;
use crate::{
    limits::GROUP_GRACE,
    model::{
        Draft, Incarnation, NodeKey, Previous, ProducerId, Record, Run, TopicId, WallClock,
        encode_record,
    },
    wire::LogRange,
};

const ONE: MemberId = MemberId([1; 16]);
const TWO: MemberId = MemberId([2; 16]);
const START: Duration = Duration::from_secs(100);
const VISIBILITY: Duration = Duration::from_secs(30);
const EXPIRED: Duration = Duration::from_secs(131);

fn terms(turn: u64, records_max: usize) -> Terms {
    Terms { turn, records_max, bytes_max: 1 << 20, visibility: VISIBILITY, deliveries_max: 3 }
}

fn topic() -> TopicId {
    TopicId::from_bytes([7; 32])
}

fn log() -> LogId {
    LogId { writer: NodeKey::from_secret(&[1; 32]).node(), incarnation: Incarnation(1) }
}

/// A batch of records with these keys; an empty one for none.
fn batch(previous: Option<&Batch>, keys: &[&'static str]) -> Batch {
    let key = NodeKey::from_secret(&[1; 32]);
    let mut body = Vec::new();
    for of in keys {
        let key = (!of.is_empty()).then(|| of.as_bytes().into());
        let record = Record { key, ..Record::new(WallClock(1), "payload") };
        encode_record(&record, &mut body).unwrap();
    }
    let first = previous.map_or(0, |batch| batch.header().next());
    let count = u32::try_from(keys.len()).unwrap();
    let previous = previous.map(|batch| Previous {
        incarnation: Incarnation(1),
        next: first,
        hash: batch.hash(),
    });
    let draft = Draft {
        topic: topic(),
        incarnation: Incarnation(1),
        previous,
        stamp: crate::model::Stamp::default(),
        runs: vec![Run { producer: ProducerId([3; 16]), first, count }],
    };
    draft.seal(&body.into(), &key)
}

fn shared(cursor: Cursor, group: Progress) -> Subscription {
    Subscription { generation: 0, cursor: Some(cursor), group: Some(Box::new(group)) }
}

fn dispatch(keys: &[&'static str]) -> Dispatch {
    let start = Cursor::start(topic());
    let mut dispatch = Dispatch::new(&shared(start.clone(), Progress::default()), start, START);
    for member in [ONE, TWO] {
        assert!(dispatch.meet(START, member));
    }
    dispatch.push(START, &batch(None, keys));
    dispatch
}

fn of(from: u64, to: u64) -> LogRange {
    LogRange { log: log(), from, to }
}

/// What a member is given: the numbers, and which delivery it is.
fn give(dispatch: &mut Dispatch, now: Duration, member: MemberId, terms: Terms) -> Vec<(u64, u32)> {
    let given = dispatch.give(now, member, terms);
    let each = |it: Assignment| (it.range.from..it.range.to).map(move |at| (at, it.deliveries));
    given.into_iter().flat_map(each).collect()
}

fn position(dispatch: &Dispatch) -> u64 {
    dispatch.snapshot().cursor.unwrap().next(&log())
}

#[test]
fn records_without_a_key_are_divided_and_acknowledged_in_any_order() {
    let mut dispatch = dispatch(&[""; 10]);
    assert_eq!(give(&mut dispatch, START, ONE, terms(1, 100)).len(), 5, "half of what is there");
    let second = give(&mut dispatch, START, TWO, terms(1, 2));
    assert_eq!(second, [(5, 1), (6, 1)]);
    dispatch.acknowledge(&of(5, 7), 10);
    assert_eq!(position(&dispatch), 0);
    let kept = dispatch.snapshot().group.unwrap();
    assert!(kept.is_done(&log(), 5) && kept.is_done(&log(), 6) && !kept.is_done(&log(), 7));
    assert_eq!(kept.given[&log()], 7);
    dispatch.acknowledge(&of(0, 5), 10);
    assert_eq!(position(&dispatch), 7);
    assert_eq!(*dispatch.snapshot().group.unwrap(), Progress::default());
    assert_eq!(dispatch.len(), 3);
}

#[test]
fn a_key_is_with_one_member_at_a_time_and_in_order() {
    let mut dispatch = dispatch(&["a", "a", "b", "a", "b", "c"]);
    assert_eq!(give(&mut dispatch, START, ONE, terms(1, 1)), [(0, 1)]);
    // The others of that key are not for anybody else.
    assert_eq!(give(&mut dispatch, START, TWO, terms(1, 2)), [(2, 1), (4, 1)]);
    assert_eq!(give(&mut dispatch, START, ONE, terms(2, 1)), [(1, 1)]);
    assert_eq!(give(&mut dispatch, START, TWO, terms(2, 9)), [(5, 1)]);
    assert_eq!(give(&mut dispatch, START, TWO, terms(3, 9)), [], "the last one of a");
    dispatch.acknowledge(&of(1, 2), 6);
    assert_eq!(give(&mut dispatch, START, TWO, terms(4, 9)), [], "the first one is not done");
    dispatch.acknowledge(&of(0, 1), 6);
    assert_eq!(give(&mut dispatch, START, TWO, terms(5, 9)), [(3, 1)]);
}

#[test]
fn the_same_question_again_gets_the_same_records() {
    let mut dispatch = dispatch(&[""; 4]);
    let first = give(&mut dispatch, START, ONE, terms(1, 1));
    assert_eq!(give(&mut dispatch, START, ONE, terms(1, 9)), first);
    assert_eq!(give(&mut dispatch, START, ONE, terms(2, 1)), [(1, 1)]);
}

#[test]
fn what_is_not_acknowledged_in_time_goes_to_others_with_what_follows_of_its_key() {
    let mut dispatch = dispatch(&["a", "a", "b"]);
    give(&mut dispatch, START, ONE, terms(1, 1));
    give(&mut dispatch, START + Duration::from_secs(20), ONE, terms(2, 1));
    assert_eq!(dispatch.next_due(), Some(START + VISIBILITY));
    assert!(!dispatch.expire(START + Duration::from_millis(29_999)));
    assert!(dispatch.expire(EXPIRED));
    assert_eq!(give(&mut dispatch, EXPIRED, TWO, terms(1, 1)), [(0, 2)]);
    assert_eq!(give(&mut dispatch, EXPIRED, ONE, terms(3, 9)), [(2, 1)], "not the second of a");
    assert_eq!(give(&mut dispatch, EXPIRED, TWO, terms(2, 1)), [(1, 2)]);
    // Who was late has done it all the same.
    dispatch.acknowledge(&of(0, 2), 3);
    assert_eq!(position(&dispatch), 2);
}

#[test]
fn more_time_is_given_to_who_has_the_record_and_asks_for_it() {
    let mut dispatch = dispatch(&["", ""]);
    give(&mut dispatch, START, ONE, terms(1, 1));
    give(&mut dispatch, START, TWO, terms(1, 1));
    dispatch.extend(ONE, &of(0, 2), EXPIRED + VISIBILITY);
    dispatch.expire(EXPIRED);
    assert_eq!(give(&mut dispatch, EXPIRED, ONE, terms(2, 9)), [(1, 2)]);
}

#[test]
fn what_is_rejected_comes_again_after_its_delay_and_is_buried_in_the_end() {
    let mut dispatch = dispatch(&["a", "a"]);
    let rejection = |delay_ms| Rejection { range: of(0, 1), reason: "no disk".into(), delay_ms };
    give(&mut dispatch, START, ONE, terms(1, 1));
    dispatch.reject(START, TWO, &rejection(0));
    assert_eq!(give(&mut dispatch, START, TWO, terms(1, 9)), [], "it is not that member's");
    dispatch.reject(START, ONE, &rejection(500));
    let later = START + Duration::from_millis(500);
    assert_eq!(give(&mut dispatch, START, TWO, terms(2, 9)), [], "nor what follows it");
    dispatch.expire(later);
    assert_eq!(give(&mut dispatch, later, TWO, terms(3, 1)), [(0, 2)]);
    dispatch.reject(later, TWO, &rejection(0));
    assert_eq!(give(&mut dispatch, later, TWO, terms(4, 9)), [(0, 3)], "alone");
    dispatch.reject(later, TWO, &rejection(0));
    let last = dispatch.give(later, ONE, terms(9, 9));
    let bury = Some("no disk".to_owned());
    assert_eq!(last, [Assignment { range: of(0, 1), deliveries: 4, bury }]);
    dispatch.acknowledge(&of(0, 1), 2);
    assert_eq!(give(&mut dispatch, later, ONE, terms(10, 9)), [(1, 1)]);
}

#[test]
fn what_a_member_did_not_look_at_counts_for_nothing() {
    let mut dispatch = dispatch(&["", ""]);
    give(&mut dispatch, START, ONE, terms(1, 1));
    dispatch.take_back(TWO, &of(0, 1));
    assert_eq!(give(&mut dispatch, START, TWO, terms(1, 1)), [(1, 1)]);
    dispatch.take_back(ONE, &of(0, 1));
    assert_eq!(give(&mut dispatch, START, TWO, terms(2, 1)), [(0, 1)]);
}

#[test]
fn a_new_coordinator_waits_for_members_to_say_what_they_have() {
    let mut old = dispatch(&[""; 6]);
    give(&mut old, START, ONE, terms(1, 2));
    give(&mut old, START, TWO, terms(1, 2));
    old.acknowledge(&of(1, 2), 6);
    let kept = old.snapshot();
    let mut new = Dispatch::new(&kept, kept.cursor.clone().unwrap(), START + GROUP_GRACE);
    for member in [ONE, TWO] {
        new.meet(START, member);
    }
    new.push(START, &batch(None, &[""; 6]));
    assert_eq!(give(&mut new, START, ONE, terms(2, 9)), [(4, 1)], "what nobody was given yet");
    new.claim(ONE, &[of(0, 1)], START + VISIBILITY);
    assert!(new.expire(START + GROUP_GRACE));
    let (late, then) = (START + GROUP_GRACE, terms(2, 9));
    assert_eq!(give(&mut new, late, TWO, then), [(2, 2), (3, 2)], "the dead member's");
    new.acknowledge(&of(0, 1), 6);
    assert_eq!(position(&new), 2);
}

#[test]
fn a_member_may_count_its_questions_from_0() {
    let mut old = dispatch(&[""; 4]);
    give(&mut old, START, ONE, terms(0, 2));
    let kept = old.snapshot();
    let mut new = Dispatch::new(&kept, kept.cursor.clone().unwrap(), START + GROUP_GRACE);
    new.meet(START, ONE);
    new.push(START, &batch(None, &[""; 4]));
    new.claim(ONE, &[of(0, 2)], START + VISIBILITY);
    let others = give(&mut new, START, ONE, terms(0, 9));
    assert_eq!(others, [(2, 1), (3, 1)], "not what it has from another coordinator");
    assert_eq!(
        give(&mut new, START, ONE, terms(0, 9)),
        others,
        "the same question, the same records"
    );
}

#[test]
fn what_another_coordinator_saw_done_is_not_given_again() {
    let mut here = dispatch(&[""; 6]);
    let mut there = dispatch(&[""; 6]);
    give(&mut there, START, ONE, terms(1, 3));
    there.acknowledge(&of(0, 2), 6);
    there.acknowledge(&of(4, 5), 6);
    here.absorb(&there.snapshot());
    assert_eq!(here.len(), 3);
    let kept = here.snapshot();
    assert_eq!(kept.cursor, there.snapshot().cursor);
    assert!(kept.group.unwrap().is_done(&log(), 4));
}

#[test]
fn the_position_names_the_batch_that_ends_before_it() {
    let mut dispatch = dispatch(&["", ""]);
    let first = batch(None, &["", ""]);
    let second = batch(Some(&first), &["", ""]);
    dispatch.push(START, &second);
    dispatch.acknowledge(&of(0, 2), 4);
    let head = |dispatch: &Dispatch| dispatch.snapshot().cursor.unwrap().logs[&log()];
    assert_eq!(head(&dispatch), Position { next: 2, head: Some(first.hash()) });
    dispatch.acknowledge(&of(2, 3), 4);
    assert_eq!(head(&dispatch), Position { next: 3, head: Some(second.hash()) });
    dispatch.acknowledge(&of(3, 9), 4);
    assert_eq!(head(&dispatch), Position { next: 4, head: Some(second.hash()) });
}

#[test]
fn what_does_not_exist_is_not_acknowledged() {
    let mut dispatch = dispatch(&["", ""]);
    dispatch.acknowledge(&of(1, 1_000), 2);
    assert_eq!(dispatch.done[&log()].iter().collect::<Vec<_>>(), [(1, 2)]);
}
