//! Space comes back, and what was dropped does not.

use super::*;

/// Fills segments with batches of 4 kB until the store writes to a segment.
pub(super) fn fill_up_to(store: &SegmentStore, author: &mut Author, segment: u32) {
    while store.writer().end.0 < segment {
        let time = author.batches.len() as u64;
        let batch = author.seal(time, 1, 4_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
}

pub(super) fn settle(store: &SegmentStore) {
    while store.maintain().unwrap().busy {}
}

/// The same store, made again from its segments.
pub(super) fn rebuilt(directory: &Path) -> (tempfile::TempDir, SegmentStore) {
    let copied = tempfile::tempdir().unwrap();
    copy(directory, copied.path());
    lose_index(copied.path());
    let store = open(copied.path());
    (copied, store)
}

#[test]
fn dropped_batches_give_their_space_back_and_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    fill_up_to(&store, &mut one, 6);
    store.commit(&[two.append(1)]).unwrap();
    let before = segments(directory.path()).len();
    let last = one.batches[one.batches.len() - 2].clone();
    store.commit(&[one.drop_to(&last)]).unwrap();
    settle(&store);
    // The two newest checkpoints, the spare, and nothing else.
    let after = segments(directory.path());
    assert!(after.len() <= 3 && after.len() < before, "{before} before, {after:?}");
    let end = one.batches.len() as u64;
    let expected = content(&store);
    for _ in 0..2 {
        let (_copied, again) = rebuilt(directory.path());
        assert_eq!(held(&again, &one), [(end - 1, end)]);
        assert_eq!(log(&again, &one), one.log);
        assert_eq!(content(&again), expected);
    }
    // Also when the frame that dropped them is gone, and a batch beside them is not.
    fill_up_to(&store, &mut two, 9);
    settle(&store);
    let expected = content(&store);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(log(&again, &one), one.log);
    assert_eq!(content(&again), expected);
}

#[test]
fn the_frame_of_a_drop_may_go_before_the_batches_it_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    // The first segment has a little of one, a batch that is handed over whole, and much of two,
    // so it stays.
    let mut handed = Author::new(4, topic());
    store.commit(&[handed.append(1)]).unwrap();
    for time in 0..3 {
        let batch = one.seal(time, 1, 4_000);
        store.commit(&[one.store(batch)]).unwrap();
    }
    fill_up_to(&store, &mut two, 2);
    let (kept, mut gone) = (two, Author::new(3, topic()));
    fill_up_to(&store, &mut gone, 3);
    let last = one.batches[2].clone();
    let over =
        Write::Drop { topic: topic(), log_id: handed.log_id(), from: 0, to: u64::MAX, log: None };
    store.commit(&[one.drop_to(&last), over]).unwrap();
    let drop_segment = store.writer().end.0;
    fill_up_to(&store, &mut gone, 7);
    let all =
        Write::Drop { topic: topic(), log_id: gone.log_id(), from: 0, to: u64::MAX, log: None };
    store.commit(&[all]).unwrap();
    settle(&store);
    assert!(segment_path(directory.path(), 1).exists());
    assert!(!segment_path(directory.path(), drop_segment).exists());
    let expected = content(&store);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(content(&again), expected);
    assert_eq!(log(&again, &one), one.log);
    assert_eq!(held(&again, &one), []);
    assert_eq!(held(&again, &kept), held(&store, &kept));
    let logs = &again.recover().unwrap().logs[&topic()];
    assert!(!logs.contains_key(&gone.log_id()) && !logs.contains_key(&handed.log_id()));
}

#[test]
fn a_segment_that_is_little_used_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    while store.writer().end.0 < 6 {
        let writes = [(); 4].map(|()| {
            let batch = one.seal(one.batches.len() as u64, 1, 3_000);
            one.store(batch)
        });
        store.commit(&writes).unwrap();
        let batch = two.seal(two.batches.len() as u64, 1, 3_000);
        store.commit(&[two.store(batch)]).unwrap();
    }
    let all = one.batches.last().unwrap().clone();
    store.commit(&[one.drop_to(&all)]).unwrap();
    let expected = (0, two.batches.len() as u64);
    // A crash at any point, with and without the index.
    let mut steps = 0;
    loop {
        let busy = store.maintain().unwrap().busy;
        steps += 1;
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let crashed = open(copied.path());
        assert_eq!(held(&crashed, &two), [expected], "step {steps}");
        settle(&crashed);
        assert_eq!(held(&crashed, &two), [expected], "step {steps}, settled");
        let (_rebuilt, again) = rebuilt(directory.path());
        assert_eq!(held(&again, &two), [expected], "step {steps}, rebuilt");
        assert_eq!(log(&again, &one), one.log, "step {steps}");
        if !busy {
            break;
        }
    }
    assert!(steps > 3, "{steps} steps");
    for segment in 1..4 {
        assert!(!segment_path(directory.path(), segment).exists(), "{segment} is there");
    }
    assert_eq!(held(&store, &two), [expected]);
}

#[test]
fn a_copy_that_the_index_does_not_know_is_no_second_batch() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1), author.append(2)]).unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(&directory.path().join("index"), before.path());
    // The frames of a compaction.
    let mut writer = store.writer();
    let mut group = store.group(&writer);
    group.push_shared(Kind::Batch, &author.batches[0].hash().0, author.batches[0].bytes());
    group.close(false);
    writer.write(&group).unwrap();
    drop(writer);
    drop(store);
    let store = open(directory.path());
    assert_eq!(held(&store, &author), [(0, 6)]);
    let live: u64 = store.writer().usage.values().sum();
    let entries = store.ask(|index| index.all_batches().collect::<Result<Vec<_>, _>>()).unwrap();
    assert_eq!(live, entries.iter().map(|(_, entry)| u64::from(entry.length)).sum::<u64>());
}

#[test]
fn a_damaged_batch_keeps_its_segment_until_it_is_quarantined() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    store.commit(&[one.append(1)]).unwrap();
    fill_up_to(&store, &mut two, 5);
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let entry = store.ask(|index| index.entry(&Place::of(&one.batches[0]))).unwrap().unwrap();
    bytes[entry.offset as usize + HEAD_BYTES + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let last = two.batches.last().unwrap().clone();
    store.commit(&[two.drop_to(&last)]).unwrap();
    settle(&store);
    assert!(path.exists());
    let damage = one.damage(&one.batches[0].clone());
    store.commit(&[one.quarantine(&damage)]).unwrap();
    settle(&store);
    assert!(!path.exists());
}
