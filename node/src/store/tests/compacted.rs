//! What was compacted, in every store.

use std::sync::atomic::AtomicBool;

use antiphon::{
    engine::{Early, Sweep, SweptSpan},
    model::{Compacted, Record, ShortHash},
};

use super::*;
use crate::store::Sweeping;

for_each_store!(
    a_part_comes_with_the_batch_behind_it,
    parts_that_follow_each_other_are_one,
    a_part_is_told_where_the_batch_behind_it_is_missing,
    a_part_counts_against_the_bytes_of_a_page,
    a_part_is_recovered_checked_and_measured,
    what_was_missing_is_filled_and_what_was_compacted_can_come_back,
    a_sweep_finds_what_was_superseded,
    a_sweep_stops_when_it_is_told_to,
);

/// Five batches of three records each.
fn five(author: &mut Author) -> Vec<Write> {
    (1..=5).map(|time| author.append(time)).collect()
}

/// What a page has: the first records of its batches, the places of its parts, whether that is all.
type Contents = (Vec<u64>, Vec<(u64, u64)>, bool);

fn contents(page: &Page) -> Contents {
    for part in &page.compacted {
        let is_followed = page.batches.iter().any(|batch| part.precedes(batch));
        assert!(is_followed || !page.finished, "{part:?}");
    }
    let parts = page.compacted.iter().map(|part| (part.first, part.next)).collect();
    (firsts(page), parts, page.finished)
}

fn look(store: &dyn Store, author: &Author, from: u64, to: u64) -> Contents {
    contents(&read_page(store, &[author.range(from, to)], usize::MAX))
}

fn a_part_comes_with_the_batch_behind_it(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let mut other = Author::new(2, topic());
    let store = rig.open();
    store.commit(&five(&mut author)).unwrap();
    store.commit(&[author.compact(1..3), other.append(2)]).unwrap();
    let part = vec![(3, 9)];
    assert_eq!(look(&*store, &author, 0, 15), (vec![0, 9, 12], part.clone(), true));
    for (from, to) in [(3, 9), (3, 4), (4, 5), (8, 9), (4, 12)] {
        let expected = (vec![9], part.clone(), true);
        assert_eq!(look(&*store, &author, from, to), expected, "{from}..{to}");
    }
    assert_eq!(look(&*store, &author, 0, 3), (vec![0], vec![], true));
    assert_eq!(look(&*store, &author, 1, 4), (vec![0, 9], part.clone(), true));
    assert_eq!(look(&*store, &author, 9, 12), (vec![9], vec![], true));
    let ranges = [author.range(0, 15), other.range(0, 3)];
    let page = read_page(&*store, &ranges, usize::MAX);
    assert_eq!(contents(&page), (vec![0, 0, 9, 12], part, true));
    assert_eq!(page.compacted, [author.part(1..3)]);
}

fn parts_that_follow_each_other_are_one(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&five(&mut author)).unwrap();
    // Also in one commit, and one within another.
    store.commit(&[author.compact(0..1), author.compact(1..2)]).unwrap();
    store.commit(&[author.compact(3..4)]).unwrap();
    assert_eq!(look(&*store, &author, 0, 15), (vec![6, 12], vec![(0, 6), (9, 12)], true));
    assert_eq!(look(&*store, &author, 4, 5), (vec![6], vec![(3, 6)], true));
    let whole = author.part(0..4);
    store.commit(&[author.compact(2..3), author.compact(0..4)]).unwrap();
    let page = read_page(&*store, &[author.range(4, 5)], usize::MAX);
    assert_eq!(page.compacted, std::slice::from_ref(&whole));
    let checked = store.check(topic(), &author.range(0, 15), usize::MAX).unwrap().checked;
    assert_eq!(checked.compacted, [whole], "nothing is left of the smaller ones");
}

fn a_part_is_told_where_the_batch_behind_it_is_missing(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let appends = five(&mut author);
    let store = rig.open();
    store.commit(&appends[..2]).unwrap();
    store.commit(&[author.compact(1..2)]).unwrap();
    assert_eq!(look(&*store, &author, 0, 6), (vec![0], vec![(3, 6)], false));
    assert_eq!(look(&*store, &author, 3, 6), (vec![], vec![(3, 6)], false));
    // A batch that does not follow it.
    store.commit(&appends[3..]).unwrap();
    assert_eq!(look(&*store, &author, 0, 15), (vec![0], vec![(3, 6)], false));
    store.commit(&appends[2..3]).unwrap();
    assert_eq!(look(&*store, &author, 0, 6), (vec![0, 6], vec![(3, 6)], true));
}

fn a_part_counts_against_the_bytes_of_a_page(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&five(&mut author)).unwrap();
    store.commit(&[author.compact(1..3)]).unwrap();
    let bytes = author.batches[0].bytes().len() + author.batches[3].bytes().len();
    let bounded =
        |from, bytes_max| contents(&read_page(&*store, &[author.range(from, 12)], bytes_max));
    assert_eq!(bounded(3, 0), (vec![9], vec![(3, 9)], true), "one batch comes");
    // Of two batches it has the names.
    let part = 160 + 2 * (ShortHash::BYTES + 1);
    assert_eq!(bounded(0, bytes + part - 1), (vec![0], vec![], false));
    assert_eq!(bounded(0, bytes + part), (vec![0, 9], vec![(3, 9)], true));
    let encoded = minicbor::to_vec(Compacted { next: u64::MAX, ..author.part(1..3) }).unwrap();
    assert!(encoded.len() + 9 < part, "{}", encoded.len());
}

fn a_part_is_recovered_checked_and_measured(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let mut listed = Author::new(1, catalogue());
    let store = rig.open();
    store.commit(&five(&mut author)).unwrap();
    store.commit(&[author.compact(1..3), listed.append(1), listed.append(2)]).unwrap();
    store.commit(&[listed.compact(0..1)]).unwrap();
    let before = author.log.clone();
    let store = rig_again(rig, store);
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.logs[&topic()][&author.log_id()], before);
    assert_eq!(recovered.catalogue, listed.batches[1..], "parts are no batches");
    let check = |from, to, bytes_max| {
        let Checking { checked, damages } =
            store.check(topic(), &author.range(from, to), bytes_max).unwrap();
        assert!(damages.is_empty() && checked.damaged.is_empty());
        assert!(checked.compacted.iter().all(|part| *part == author.part(1..3)));
        let firsts: Vec<_> = checked.batches.iter().map(|batch| batch.first).collect();
        (firsts, checked.compacted.len(), checked.to)
    };
    assert_eq!(check(0, 15, usize::MAX), (vec![0, 9, 12], 1, 15));
    assert_eq!(check(4, 5, usize::MAX), (vec![], 1, 9));
    assert_eq!(check(3, 15, 1), (vec![], 1, 9), "it stops behind it");
    assert_eq!(check(0, 15, 1), (vec![0], 0, 3));
    let parts = store.measure(topic(), &[author.range(0, 15)]).unwrap();
    let measured: Vec<_> = parts.iter().map(|part| (part.end.next, part.records)).collect();
    assert_eq!(measured, [(3, 3), (9, 6), (12, 3), (15, 3)]);
    assert!(parts[1].bytes > 100 && parts[1].bytes < parts[0].bytes, "{parts:?}");
    assert_eq!(parts[1].end.head, Some(author.batches[2].hash()));
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
}

fn what_was_missing_is_filled_and_what_was_compacted_can_come_back(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let batches: Vec<_> = (1..=5).map(|time| author.seal(time, 3, 10)).collect();
    let store = rig.open();
    // Where a batch is held in the middle of the part, that stays.
    let stored: Vec<_> = [1, 4].map(|at| author.store(batches[at].clone())).into();
    store.commit(&stored).unwrap();
    let part = author.part(0..4);
    let parts = author.log.fill(&part).unwrap();
    let fills: Vec<_> =
        parts.into_iter().map(|(part, log)| Write::Compact { topic: topic(), part, log }).collect();
    assert_eq!(fills.len(), 2);
    store.commit(&fills).unwrap();
    let store = rig_again(rig, store);
    let expected = (vec![3, 12], vec![(0, 3), (6, 12)], true);
    assert_eq!(look(&*store, &author, 0, 15), expected);
    assert_eq!(store.recover().unwrap().logs[&topic()][&author.log_id()], author.log);
    let gone = author.delete();
    store.commit(&[gone]).unwrap();
    assert_eq!(look(&*store, &author, 0, 15), (vec![], vec![], false));
    let again: Vec<_> = batches.iter().map(|batch| author.store(batch.clone())).collect();
    store.commit(&again).unwrap();
    let store = rig_again(rig, store);
    assert_eq!(look(&*store, &author, 0, 15), (vec![0, 3, 6, 9, 12], vec![], true));
}

fn keyed(author: &mut Author, time: u64, key: &'static str) -> Write {
    let record = Record::new(WallClock(time), vec![1; 10]);
    let batch = author.seal_records(time, &[record.with_key(key)]);
    author.store(batch)
}

/// All of a log.
fn all_of(author: &Author) -> Sweep {
    let to = author.log.entry().end().unwrap().0;
    let span = SweptSpan { range: author.range(0, to), settled: to };
    Sweep {
        spans: vec![span],
        tombstones_before: WallClock(0),
        now: WallClock(u64::MAX),
        early: Early::none(),
    }
}

fn a_sweep_finds_what_was_superseded(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    // Of more batches than are taken from an index at a time.
    let keys = ["a", "b", "a", "c", "a", "b"];
    let writes: Vec<_> =
        (1..).zip(keys.repeat(100)).map(|(time, key)| keyed(&mut author, time, key)).collect();
    store.commit(&writes).unwrap();
    let stop = AtomicBool::new(false);
    let sweep = |store: &dyn Store, author: &Author| {
        let Sweeping { swept, damages } = store.sweep(topic(), &all_of(author), &stop).unwrap();
        assert!(damages.is_empty());
        swept.unwrap()
    };
    let swept = sweep(&*store, &author);
    assert_eq!(swept.parts, [author.part(0..597).unnamed()]);
    let log = author.log.clone();
    let compact =
        |part: &Compacted| Write::Compact { topic: topic(), part: part.clone(), log: log.clone() };
    store.commit(&swept.parts.iter().map(compact).collect::<Vec<_>>()).unwrap();
    assert_eq!(look(&*store, &author, 0, 600), (vec![597, 598, 599], vec![(0, 597)], true));
    let again = sweep(&*store, &author);
    assert_eq!((again.parts, again.bytes), (vec![], swept.bytes));
    // What is compacted already is beside what may go now.
    let more = keyed(&mut author, 601, "c");
    store.commit(&[more]).unwrap();
    assert_eq!(sweep(&*store, &author).parts, [author.part(0..598).unnamed()]);
}

fn a_sweep_stops_when_it_is_told_to(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&[keyed(&mut author, 1, "a"), keyed(&mut author, 2, "a")]).unwrap();
    let stop = AtomicBool::new(true);
    assert_eq!(store.sweep(topic(), &all_of(&author), &stop).unwrap(), Sweeping::default());
}
