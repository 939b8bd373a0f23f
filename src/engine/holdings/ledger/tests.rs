//! What a ledger has trimmed after what it was given.

use super::*;
use crate::model::{Incarnation, NodeId};

const LOG: LogId = LogId { writer: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };

fn position(next: u64) -> Position {
    Position { next, head: None }
}

fn part(next: u64, bytes: u64, records: u64) -> Part {
    let stamp = Stamp::default();
    Part { log: LOG, first: next - records, end: position(next), bytes, records, stamp }
}

fn ledger(terms: &Retention) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.measured(terms, WallClock(0), Vec::new());
    ledger
}

fn cut(ledger: &mut Ledger, terms: &Retention, now: u64) -> Option<u64> {
    ledger.expire(terms, WallClock(now)).get(&LOG).map(|end| end.next)
}

#[test]
fn as_many_records_are_kept_as_are_asked_for_and_a_step_more() {
    let terms = Retention { records: Some(64), ..Retention::default() };
    let mut ledger = ledger(&terms);
    let mut low = 0;
    for next in 1..=1_000 {
        ledger.receive(&terms, WallClock(next), &part(next, 10, 1));
        low = cut(&mut ledger, &terms, next).unwrap_or(low);
        assert!(next - low >= 64.min(next) && next - low <= 64 + 2, "{low} to {next}");
    }
}

#[test]
fn bytes_and_age() {
    let terms = Retention { bytes: Some(3_200), ..Retention::default() };
    let mut by_bytes = ledger(&terms);
    for next in 1..=40 {
        by_bytes.receive(&terms, WallClock(0), &part(next, 100, 1));
    }
    assert_eq!(cut(&mut by_bytes, &terms, 0), Some(8), "3,200 bytes are 32 records");
    let terms = Retention { age_ms: Some(3_200), ..Retention::default() };
    let mut by_age = ledger(&terms);
    by_age.receive(&terms, WallClock(1_000), &part(1, 100, 1));
    by_age.receive(&terms, WallClock(1_050), &part(2, 100, 1));
    assert_eq!(cut(&mut by_age, &terms, 1_200), None);
    by_age.receive(&terms, WallClock(1_300), &part(3, 100, 1));
    assert_eq!(cut(&mut by_age, &terms, 4_249), None);
    assert_eq!(cut(&mut by_age, &terms, 4_250), Some(2));
    assert_eq!(cut(&mut by_age, &terms, 9_000), Some(3), "nothing came after it");
}

#[test]
fn what_repair_brings_goes_with_what_is_as_old() {
    let terms = Retention { records: Some(32), ..Retention::default() };
    let mut ledger = ledger(&terms);
    for next in 101..=116 {
        ledger.receive(&terms, WallClock(0), &part(next, 10, 1));
    }
    // A hundred older ones: they are as many as are kept, and go before the sixteen.
    ledger.receive(&terms, WallClock(1), &part(100, 1_000, 100));
    assert_eq!(cut(&mut ledger, &terms, 1), None, "sixteen are fewer than are kept");
    for next in 117..=133 {
        ledger.receive(&terms, WallClock(2), &part(next, 10, 1));
    }
    assert_eq!(cut(&mut ledger, &terms, 2), Some(101));
}

#[test]
fn what_repair_brings_while_the_store_is_asked_goes_with_what_is_as_old() {
    let terms = Retention { records: Some(32), ..Retention::default() };
    let mut ledger = Ledger::default();
    ledger.is_asked();
    ledger.is_stored(LOG, 100, 116);
    ledger.receive(&terms, WallClock(9), &part(100, 1_000, 100));
    ledger.receive(&terms, WallClock(9), &part(117, 10, 1));
    let stored = |end| Part { stamp: Stamp::at(WallClock(end)), ..part(end, 10, 1) };
    ledger.measured(&terms, WallClock(200), (101..=116).map(stored).collect());
    assert_eq!(cut(&mut ledger, &terms, 200), None, "seventeen are fewer than are kept");
    for next in 118..=133 {
        ledger.receive(&terms, WallClock(200), &part(next, 10, 1));
    }
    assert_eq!(cut(&mut ledger, &terms, 200), Some(101));
    // There is an end to how many are remembered.
    ledger.is_asked();
    ledger.is_stored(LOG, 5_000, 5_001);
    for next in 1_000..4_000 {
        ledger.receive(&terms, WallClock(200), &part(next, 10, 1));
    }
    assert!(ledger.older.len() <= MEASURED_PARTS_MAX);
}

#[test]
fn records_that_arrive_again_are_counted_once() {
    let terms = Retention { records: Some(32), ..Retention::default() };
    let mut ledger = ledger(&terms);
    for _ in 0..10 {
        for next in 1..=20 {
            ledger.receive(&terms, WallClock(0), &part(next, 10, 1));
        }
    }
    assert_eq!(cut(&mut ledger, &terms, 0), None, "there are twenty");
    let mut ranges = Ranges::default();
    assert!(ranges.add(10, 20) && ranges.add(30, 40) && ranges.add(20, 30));
    assert!(!ranges.add(10, 40) && ranges.add(5, 11) && !ranges.add(5, 40));
    assert_eq!(ranges.0, [(5, 40)]);
    for at in 5..100 {
        assert!(ranges.add(at * 10, at * 10 + 3));
        assert!(ranges.0.len() <= RANGES_MAX && ranges.0.is_sorted());
    }
}

#[test]
fn records_in_the_store_count_before_records_that_arrived_meanwhile() {
    let terms = Retention { records: Some(32), ..Retention::default() };
    let mut ledger = Ledger::default();
    ledger.receive(&terms, WallClock(9), &part(100, 10, 50));
    ledger.is_asked();
    ledger.is_stored(LOG, 0, 100);
    ledger.receive(&terms, WallClock(9), &part(101, 10, 1));
    // The store could not answer, and is asked again.
    ledger.is_asked();
    assert!(ledger.open.ends.is_empty(), "what came is stored by now");
    ledger.is_stored(LOG, 0, 101);
    ledger.receive(&terms, WallClock(9), &part(102, 10, 1));
    assert_eq!(cut(&mut ledger, &terms, 9), None, "it is not known yet what else there is");
    let stored = |end, stamp| Part { stamp: Stamp::at(WallClock(stamp)), ..part(end, 10, 50) };
    ledger.measured(&terms, WallClock(9), vec![stored(100, 5), stored(50, 1)]);
    assert_eq!(cut(&mut ledger, &terms, 9), Some(50));
    assert_eq!(ledger.end(&LOG), 100);
    let stored: Vec<_> = ledger.take_changes().into_iter().collect();
    assert!(stored.iter().all(|(_, step)| step.as_ref().is_none_or(|step| step.records == 50)));
}

#[test]
fn many_parts_become_fewer() {
    let mut parts = Parts::default();
    for next in 1..=100_000 {
        let stamp = Stamp::at(WallClock(next));
        // Of each two records compaction has taken one away.
        parts.push(Part { first: 2 * next - 1, stamp, ..part(2 * next, 10, 1) });
    }
    let parts = parts.into_vec();
    let follow = |one: &Part, two: &Part| one.end.next + 1 == two.first;
    assert!(parts.is_sorted_by(follow) && parts[0].first == 1, "none is left out");
    assert!(parts.len() <= MEASURED_PARTS_MAX && parts.is_sorted_by_key(|part| part.end));
    assert_eq!(parts.iter().map(|part| part.records).sum::<u64>(), 100_000);
    assert_eq!(parts.last().map(|part| part.end.next), Some(200_000));
}

#[test]
fn a_clock_that_is_set_changes_no_age() {
    let terms = Retention { age_ms: Some(1_000), ..Retention::default() };
    let mut ledger = ledger(&terms);
    ledger.receive(&terms, WallClock(5_000), &part(1, 10, 1));
    assert_eq!(cut(&mut ledger, &terms, 5_100), None);
    ledger.clock_set(WallClock(0), WallClock(5_100), WallClock(900_000));
    assert_eq!(cut(&mut ledger, &terms, 900_000), None);
    ledger.clock_set(WallClock(0), WallClock(900_000), WallClock(100));
    assert_eq!(cut(&mut ledger, &terms, 999), None);
    assert_eq!(cut(&mut ledger, &terms, 1_000), Some(1));
}

#[test]
fn a_clock_that_is_set_right_changes_no_age_of_what_came_before_the_start() {
    let terms = Retention { age_ms: Some(1_000), ..Retention::default() };
    let mut ledger = ledger(&terms);
    ledger.receive(&terms, WallClock(5_000), &part(1, 10, 1));
    assert_eq!(cut(&mut ledger, &terms, 5_100), None);
    // Started while the clock was ahead, and set right at once.
    ledger.receive(&terms, WallClock(900_000), &part(2, 10, 1));
    ledger.clock_set(WallClock(899_000), WallClock(900_100), WallClock(5_300));
    assert_eq!(cut(&mut ledger, &terms, 5_999), None);
    assert_eq!(cut(&mut ledger, &terms, 6_000), Some(1));
    assert_eq!(cut(&mut ledger, &terms, 6_200), Some(2));
}

#[test]
fn the_number_of_steps_is_bounded() {
    let terms = Retention { bytes: Some(u64::MAX), ..Retention::default() };
    let mut ledger = ledger(&terms);
    let fine = Retention { records: Some(1), ..terms };
    for next in 1..=1_000 {
        ledger.receive(&fine, WallClock(next), &part(next, 10, 1));
    }
    assert!(ledger.closed.len() <= STEPS_MAX);
    assert_eq!(ledger.closed.values().map(|step| step.records).sum::<u64>(), 1_000);
}
