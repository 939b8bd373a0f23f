//! How a cursor moves over a page that does not have all records.

use antiphon::model::{
    Batch, Compacted, Draft, Hash, Incarnation, NodeKey, Position, Previous, ProducerId, Record,
    Run, Stamp, TopicId, encode_record,
};

use super::*;

fn topic() -> TopicId {
    TopicId::from_bytes([7; 32])
}

/// A batch of three records, behind a batch of that hash.
fn batch(first: u64) -> Batch {
    let key = NodeKey::from_secret(&[1; 32]);
    let mut body = Vec::new();
    for _ in 0..3 {
        encode_record(&Record::from("x".to_owned()), &mut body).unwrap();
    }
    let incarnation = Incarnation(1);
    let previous = Previous { incarnation, next: first, hash: Hash([9; 32]) };
    let draft = Draft {
        topic: topic(),
        incarnation,
        previous: (first > 0).then_some(previous),
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first, count: 3 }],
    };
    draft.seal(&body.into(), &key)
}

fn range(from: u64, to: u64) -> LogRange {
    LogRange { log: batch(0).log(), from, to }
}

fn part(first: u64, next: u64) -> Compacted {
    let (log, stamp) = (batch(0).log(), Stamp::default());
    Compacted { log, first, next, base: None, head: Hash([9; 32]), stamp, batches: Vec::new() }
}

/// Where a cursor stands that has read up to `from` and is led over a page, and what is noted.
fn advanced(from: u64, page: &Page) -> Option<(u64, PassedOver)> {
    let mut cursor = Cursor::start(topic());
    cursor.advance_to(range(0, 0).log, Position { next: from, head: Some(Hash([9; 32])) });
    let (before, mut passed_over) = (cursor.clone(), PassedOver::default());
    let outcome = advance_over(&mut cursor, page, &mut passed_over);
    if outcome.is_err() {
        assert_eq!(cursor, before, "it stays where it is");
        return None;
    }
    Some((cursor.next(&range(0, 0).log), passed_over))
}

#[test]
fn what_was_compacted_is_passed_over_and_nobody_is_told() {
    let page = |batches: &[u64], parts: &[(u64, u64)]| Page {
        batches: batches.iter().map(|first| batch(*first)).collect(),
        compacted: parts.iter().map(|(first, next)| part(*first, *next)).collect(),
        ..Page::default()
    };
    let silent = |next| Some((next, PassedOver::default()));
    assert_eq!(advanced(3, &page(&[3], &[])), silent(6));
    assert_eq!(advanced(3, &page(&[9], &[(3, 9)])), silent(12));
    assert_eq!(advanced(5, &page(&[9], &[(3, 9)])), silent(12), "from within it");
    assert_eq!(advanced(3, &page(&[9], &[(3, 6), (6, 9)])), silent(12));
    assert_eq!(advanced(3, &page(&[3, 9], &[(6, 9)])), silent(12));
    for (batches, parts) in [
        (&[9][..], &[][..]),
        (&[9], &[(6, 9)]),
        (&[9], &[(3, 6)]),
        (&[9], &[(3, 12)]),
        (&[3, 12], &[(6, 9)]),
    ] {
        assert_eq!(advanced(3, &page(batches, parts)), None, "{batches:?} {parts:?}");
    }
    let mut other = page(&[9], &[(3, 9)]);
    other.compacted[0].log.incarnation = Incarnation(2);
    assert_eq!(advanced(3, &other), None, "of another log");
}

#[test]
fn what_was_let_go_and_lost_is_told_each_with_its_range() {
    let page = |trimmed: &[(u64, u64)], lost: &[(u64, u64)]| {
        let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(a, b)| range(*a, *b)).collect();
        Page {
            batches: vec![batch(30)],
            trimmed: ranges(trimmed),
            lost: ranges(lost),
            compacted: vec![part(9, 20)],
            ..Page::default()
        }
    };
    let told = |trimmed: &[(u64, u64)], lost: &[(u64, u64)]| {
        let Page { trimmed, lost, .. } = page(trimmed, lost);
        Some((33, PassedOver { trimmed, lost, ..PassedOver::default() }))
    };
    assert_eq!(advanced(3, &page(&[(3, 9)], &[(20, 30)])), told(&[(3, 9)], &[(20, 30)]));
    assert_eq!(advanced(3, &page(&[(20, 30)], &[(3, 9)])), told(&[(20, 30)], &[(3, 9)]));
    // What was let go may end within a part.
    assert_eq!(advanced(3, &page(&[(3, 12)], &[(20, 30)])), told(&[(3, 12)], &[(20, 30)]));
    assert_eq!(advanced(5, &page(&[(3, 9)], &[(20, 30)])), told(&[(5, 9)], &[(20, 30)]));
    let both = &page(&[(3, 6), (20, 25)], &[(6, 9), (25, 30)]);
    assert_eq!(advanced(3, both), told(&[(3, 6), (20, 25)], &[(6, 9), (25, 30)]));
    assert_eq!(advanced(3, &page(&[(3, 9)], &[])), None);
    assert_eq!(advanced(3, &page(&[(3, 9)], &[(20, 29)])), None);
    // Of a branch nothing is told before it parts.
    assert_eq!(advanced(0, &page(&[(5, 30)], &[])), told(&[(0, 30)], &[]));
}

#[test]
fn nothing_is_skipped_that_is_not_told() {
    let wrong: [(&[_], &[_]); 5] = [
        (&[], &[]),
        (&[(3, 8)], &[]),
        (&[(4, 9)], &[]),
        (&[(3, 5)], &[(6, 9)]),
        (&[(3, 10)], &[(0, 3)]),
    ];
    for (trimmed, lost) in wrong {
        let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(a, b)| range(*a, *b)).collect();
        let (trimmed, lost) = (ranges(trimmed), ranges(lost));
        let page = Page { batches: vec![batch(9)], trimmed, lost, ..Page::default() };
        assert_eq!(advanced(3, &page), None, "{page:?}");
    }
}
