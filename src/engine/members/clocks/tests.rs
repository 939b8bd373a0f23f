use super::*;
use crate::model::NodeId;

const SECOND: i64 = 1_000;
const YEAR: i64 = 365 * 86_400 * SECOND;

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// Clocks, the own one first, as what they read at the start.
fn clocks(all: &[i64]) -> Clocks {
    let mut clocks = Clocks { own: Some(all[0]), ..Clocks::default() };
    for (number, start) in (1..).zip(&all[1..]) {
        let measure = Measure { start: *start, error: 5, at: Duration::ZERO };
        clocks.note(node(number), measure);
    }
    clocks.judge();
    clocks
}

#[test]
fn a_clock_that_most_others_contradict_is_corrected() {
    for off in [-YEAR, -10 * SECOND, 2 * SECOND, YEAR] {
        let corrected = clocks(&[2 * YEAR + off, 2 * YEAR, 2 * YEAR + 3]);
        let expected = if off < 0 { 2 * YEAR } else { 2 * YEAR + 3 };
        assert_eq!((corrected.agreed, corrected.is_disputed), (expected, false), "{off}");
        assert_eq!(corrected.own_offset(), Some(2 * YEAR + off - expected));
        assert!(!corrected.is_own_right());
    }
}

#[test]
fn a_lone_liar_and_half_of_all_move_nobody() {
    for all in [&[YEAR, 0, YEAR][..], &[YEAR, YEAR, 3 * YEAR], &[YEAR, YEAR, 0, 0], &[YEAR, 0]] {
        assert_eq!(clocks(all).agreed, YEAR, "{all:?}");
    }
    assert!(!clocks(&[YEAR, 0, YEAR]).is_disputed && clocks(&[YEAR, 0, YEAR]).is_own_right());
    assert!(clocks(&[YEAR, 0]).is_disputed && clocks(&[YEAR, YEAR, 0, 0]).is_disputed);
    assert!(!clocks(&[YEAR]).is_disputed && !clocks(&[YEAR]).is_confirmed());
}

#[test]
fn a_difference_within_the_error_is_none() {
    let mut clocks = clocks(&[YEAR]);
    for number in 1..=2 {
        let measure = Measure { start: YEAR + 3 * SECOND, error: 2_100, at: Duration::ZERO };
        clocks.note(node(number), measure);
    }
    clocks.judge();
    assert_eq!((clocks.agreed, clocks.furthest()), (YEAR, None));
}

#[test]
fn the_better_measurement_stays_until_it_is_old_or_wrong() {
    let mut clocks = clocks(&[YEAR]);
    let note = |clocks: &mut Clocks, start, error, at| {
        clocks.note(node(1), Measure { start, error, at: Duration::from_secs(at) });
        clocks.measured[&node(1)].start
    };
    assert_eq!(note(&mut clocks, YEAR, 10, 0), YEAR);
    assert_eq!(note(&mut clocks, YEAR + 100, 200, 1), YEAR, "it is less exact");
    assert_eq!(note(&mut clocks, YEAR + 1, 9, 2), YEAR + 1, "it is more exact");
    assert_eq!(note(&mut clocks, YEAR + 100, 200, 12), YEAR + 100, "the other one is old");
    assert_eq!(note(&mut clocks, YEAR + 700, 300, 13), YEAR + 700, "the clock was set");
}

#[test]
fn a_clock_that_is_set_is_noticed_and_one_that_drifts_is_followed() {
    let mut clocks = Clocks::default();
    let at = |elapsed, wall: i64| Now {
        elapsed: Duration::from_secs(elapsed),
        wall: WallClock(wall.unsigned_abs()),
    };
    assert!(!clocks.read(at(0, YEAR)));
    assert!(!clocks.read(at(10, YEAR + 10_400)));
    assert_eq!(clocks.agreed, YEAR + 400);
    assert!(clocks.read(at(11, 2 * YEAR)), "it jumps");
    assert_eq!(clocks.agreed(at(12, 0)).wall.0, (YEAR + 12_400).unsigned_abs(), "by elapsed time");
}
