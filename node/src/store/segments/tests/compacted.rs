//! Compacted parts on the disk: they are as durable as batches, and found again as these are.

use antiphon::model::Compacted;

use super::{
    space::{fill_up_to, rebuilt},
    *,
};

/// What a reader of all of a log is given: the batches' first records, and the parts.
fn page(store: &SegmentStore, author: &Author) -> (Vec<u64>, Vec<Compacted>) {
    let end = author.batches.last().unwrap().header().next();
    let low = author.log.low;
    let reading =
        store.read(topic(), &[author.range(low, end)], &Early::none(), usize::MAX).unwrap();
    assert!(reading.page.finished && reading.damages.is_empty(), "{reading:?}");
    let firsts = reading.page.batches.iter().map(|batch| batch.header().first).collect();
    (firsts, reading.page.compacted)
}

/// Five batches of three records each, of which two are compacted.
fn compacted(store: &SegmentStore, author: &mut Author) -> Vec<Write> {
    let appends: Vec<_> = (1..=5).map(|time| author.append(time)).collect();
    store.commit(&appends).unwrap();
    store.commit(&[author.compact(1..3)]).unwrap();
    appends
}

fn expected(author: &Author) -> (Vec<u64>, Vec<Compacted>) {
    (vec![0, 9, 12], vec![author.part(1..3)])
}

/// The bytes of each segment that are used, as the writer and as the index have them.
fn assert_accounts(store: &SegmentStore) {
    let live: u64 = store.writer().usage.values().sum();
    let entries = store.ask(|index| index.all_batches().collect::<Result<Vec<_>, _>>()).unwrap();
    assert_eq!(live, entries.iter().map(|(_, entry)| u64::from(entry.length)).sum::<u64>());
}

/// Flips a bit of the frame of a part.
fn damage_frame(store: &SegmentStore, directory: &Path, part: &Compacted) {
    let place = Place::of_part(topic(), part);
    let entry = store.ask(|index| index.entry(&place)).unwrap().unwrap();
    let path = segment_path(directory, entry.segment);
    let mut bytes = fs::read(&path).unwrap();
    bytes[entry.offset as usize + HEAD_BYTES + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn an_index_that_is_made_anew_gives_the_same_pages() {
    let directory = tempfile::tempdir().unwrap();
    let (mut author, mut other) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    compacted(&store, &mut author);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!((page(&again, &author), content(&again)), (expected(&author), content(&store)));
    assert_accounts(&again);
    drop(again);
    // Behind checkpoints too, with parts within others, and at the start of the log.
    fill_up_to(&store, &mut other, 3);
    store.commit(&[author.compact(0..1), author.compact(1..4)]).unwrap();
    fill_up_to(&store, &mut other, 5);
    store.commit(&[author.append(9)]).unwrap();
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(page(&again, &author), (vec![12, 15], vec![author.part(0..4)]));
    assert_eq!(content(&again), content(&store));
    assert_eq!(log(&again, &author), author.log);
    assert_accounts(&again);
}

#[test]
fn what_was_filled_is_held_by_an_index_that_did_not_know_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let batches: Vec<_> = (1..=5).map(|time| author.seal(time, 3, 10)).collect();
    store.commit(&[author.store(batches[3].clone())]).unwrap();
    drop(store);
    let before = tempfile::tempdir().unwrap();
    copy(&directory.path().join("index"), before.path());
    let store = open(directory.path());
    store.commit(&[author.compact(0..3)]).unwrap();
    assert_eq!(held(&store, &author), [(0, 12)]);
    let (copied, again) = rebuilt(directory.path());
    assert_eq!((log(&again, &author), content(&again)), (author.log.clone(), content(&store)));
    assert_eq!(held(&again, &author), [(0, 12)]);
    // By an index that does not know it yet, too.
    drop(again);
    lose_index(copied.path());
    copy(before.path(), &copied.path().join("index"));
    let again = open(copied.path());
    assert_eq!((log(&again, &author), content(&again)), (author.log.clone(), content(&store)));
    assert_eq!(held(&again, &author), [(0, 12)]);
}

#[test]
fn a_part_that_is_forgotten_before_a_gap_is_forgotten_by_every_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    compacted(&store, &mut author);
    let (part, behind) = (author.part(1..3), author.batches[3].clone());
    let before = (author.batches[0].hash(), author.batches[0].header().stamp);
    let mut forget = |from, to, hash, previous| {
        assert!(author.log.lose(from, to, hash, previous));
        let log = Some(author.log.clone());
        Write::Drop { topic: topic(), log_id: author.log_id(), from, to, log }
    };
    let last = forget(9, 12, behind.hash(), Some((part.head, part.stamp)));
    let bare = forget(3, 9, part.head, Some(before));
    let entries = || store.ask(|index| Ok(index.all_batches().count())).unwrap();
    store.commit(&[last]).unwrap();
    assert_eq!(entries(), 3);
    store.commit(&[bare]).unwrap();
    assert_eq!((held(&store, &author), entries()), (vec![(0, 3), (12, 15)], 2));
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!((log(&again, &author), content(&again)), (author.log.clone(), content(&store)));
    assert_accounts(&again);
}

#[test]
fn parts_move_as_batches_do() {
    let directory = tempfile::tempdir().unwrap();
    let (mut author, mut other) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    compacted(&store, &mut author);
    fill_up_to(&store, &mut other, 6);
    let all = other.batches.last().unwrap().clone();
    store.commit(&[other.drop_to(&all)]).unwrap();
    // A crash at any point, with and without the index.
    let mut steps = 0;
    loop {
        let busy = store.maintain().unwrap().busy;
        steps += 1;
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let crashed = open(copied.path());
        assert_eq!(page(&crashed, &author), expected(&author), "step {steps}");
        drop(crashed);
        let (_rebuilt, again) = rebuilt(directory.path());
        assert_eq!(page(&again, &author), expected(&author), "step {steps}, rebuilt");
        assert_eq!(log(&again, &author), author.log, "step {steps}");
        if !busy {
            break;
        }
    }
    assert!(!segment_path(directory.path(), 1).exists(), "its frame was moved");
    assert_eq!(page(&store, &author), expected(&author));
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
    assert_accounts(&store);
}

#[test]
fn a_part_that_was_flushed_and_never_indexed_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let appends: Vec<_> = (1..=5).map(|time| author.append(time)).collect();
    store.commit(&appends).unwrap();
    let begin = store.writer().end.1;
    let write = author.compact(1..3);
    let mut writer = store.writer();
    store.ask(|index| store.write_group(&mut writer, index, &[write])).unwrap();
    drop(writer);
    drop(store);
    let bytes = fs::read(segment_path(directory.path(), 1)).unwrap();
    let store = open(directory.path());
    assert_eq!(page(&store, &author), expected(&author));
    assert_accounts(&store);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!((page(&again, &author), content(&again)), (expected(&author), content(&store)));
    drop(store);
    // A group that was not finished is none: all batches are there.
    for at in (begin + 1..written(&bytes)).step_by(20) {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let torn = [&bytes[..at], &vec![0; bytes.len() - at]].concat();
        fs::write(segment_path(copied.path(), 1), torn).unwrap();
        lose_index(copied.path());
        let store = open(copied.path());
        assert_eq!(page(&store, &author), (vec![0, 3, 6, 9, 12], vec![]), "zeros from {at}");
    }
}

#[test]
fn a_damaged_part_is_told_quarantined_and_filled_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    compacted(&store, &mut author);
    let part = author.part(1..3);
    let before = author.batches[0].clone();
    damage_frame(&store, directory.path(), &part);
    let Compacted { log, first, next, head: hash, .. } = part;
    let previous = Some((before.hash(), before.header().stamp));
    let damage = Damage { topic: topic(), log, first, next, hash, previous };
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, [damage]);
    let checking = store.check(topic(), &author.range(0, 15), usize::MAX).unwrap();
    assert_eq!((checking.damages, checking.checked.compacted), (vec![damage], vec![]));
    assert_eq!(
        (checking.checked.damaged, checking.checked.batches.len()),
        (vec![author.range(3, 9)], 3)
    );
    let (numbers, parts) = expected(&author);
    let parts: Vec<_> = parts.iter().map(Compacted::unnamed).collect();
    assert_eq!(page(&store, &author), (numbers, parts), "the index says all but the names");
    // Without the index nothing says that the batches went, and they are there still.
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(held(&again, &author), [(0, 15)]);
    assert_eq!(page(&again, &author).1, []);
    store.commit(&[author.quarantine(&damage)]).unwrap();
    assert_eq!(held(&store, &author), [(0, 3), (9, 15)]);
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
    store.commit(&[author.compact(1..3)]).unwrap();
    assert_eq!(page(&store, &author), expected(&author));
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
    assert_accounts(&store);
    // One that can be read after all stays.
    store.commit(&[author.quarantine(&damage)]).unwrap();
    assert_eq!(page(&store, &author), expected(&author));
}

/// What a log gets back after a drop, of what was appended before.
type Back = dyn Fn(&mut Author, &[Write]) -> Vec<Write>;

#[test]
fn what_comes_back_after_a_drop_takes_the_place_of_parts() {
    let back: [&Back; 3] = [
        &|author, appends| {
            let again = |index: usize| match &appends[index] {
                Write::Append { batch, .. } => batch.clone(),
                write => panic!("{write:?}"),
            };
            (0..5).map(|index| author.store(again(index))).collect()
        },
        // Another part, within the old one and beyond.
        &|author, _| {
            let (part, last) = (author.compact(0..2), author.batches[3].clone());
            vec![part, author.compact(2..3), author.store(last)]
        },
        // Only the end of it.
        &|author, _| {
            let batches = author.batches.clone();
            [2, 3, 4].map(|index| author.store(batches[index].clone())).into()
        },
    ];
    for (case, back) in back.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let (mut author, mut other) = (Author::new(1, topic()), Author::new(2, topic()));
        let store = open(directory.path());
        let appends = compacted(&store, &mut author);
        store.commit(&[author.delete()]).unwrap();
        let again = back(&mut author, &appends);
        store.commit(&again).unwrap();
        let same = |what: &str| {
            let (_copied, again) = rebuilt(directory.path());
            assert_eq!(content(&again), content(&store), "{case}, {what}");
            assert_eq!(log(&again, &author), author.log, "{case}, {what}");
            assert_eq!(held(&again, &author), claims(&author.log), "{case}, {what}");
            assert_accounts(&again);
        };
        same("in order");
        // Of what stands before a checkpoint drops are not applied.
        fill_up_to(&store, &mut other, 4);
        same("before a checkpoint");
    }
}

/// What came back after a drop, of which a batch is damaged: what the part was that was dropped
/// does not stand in for it. With no index, and with one that knows the part.
#[test]
fn a_part_that_was_dropped_does_not_stand_in_for_damage() {
    let directory = tempfile::tempdir().unwrap();
    let (mut author, mut other) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    let appends = compacted(&store, &mut author);
    drop(store);
    let before = tempfile::tempdir().unwrap();
    copy(&directory.path().join("index"), before.path());
    let store = open(directory.path());
    store.commit(&[author.delete()]).unwrap();
    let mut again = Vec::new();
    for write in &appends {
        let Write::Append { batch, .. } = write else { continue };
        again.push(author.store(batch.clone()));
    }
    store.commit(&again).unwrap();
    fill_up_to(&store, &mut other, 3);
    let second = Place::of(&author.batches[1]);
    let hit = store.ask(|index| index.entry(&second)).unwrap().unwrap();
    drop(store);
    let path = segment_path(directory.path(), hit.segment);
    let mut bytes = fs::read(&path).unwrap();
    bytes[hit.offset as usize + HEAD_BYTES + 60] ^= 1;
    fs::write(&path, bytes).unwrap();
    let check = |store: &SegmentStore| {
        assert_eq!(held(store, &author), [(0, 3), (6, 15)]);
        let checked = store.check(topic(), &author.range(0, 15), usize::MAX).unwrap().checked;
        assert_eq!((checked.batches.len(), checked.compacted.len()), (4, 0));
        assert_accounts(store);
    };
    check(&rebuilt(directory.path()).1);
    lose_index(directory.path());
    copy(before.path(), &directory.path().join("index"));
    check(&open(directory.path()));
}

/// Retention cuts where a batch ended, also where compaction took that away later.
#[test]
fn a_part_may_be_cut_in_two() {
    let directory = tempfile::tempdir().unwrap();
    let (mut author, mut other) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    compacted(&store, &mut author);
    let batch = author.batches[1].clone();
    let cut = author.drop_to(&batch);
    author.log.base = Some(batch.hash());
    let Write::Drop { topic: of, log_id, from, to, .. } = cut else { panic!("{cut:?}") };
    let log_after = Some(author.log.clone());
    store.commit(&[Write::Drop { topic: of, log_id, from, to, log: log_after }]).unwrap();
    let expected = (vec![9, 12], vec![author.part(1..3)]);
    assert_eq!((page(&store, &author), held(&store, &author)), (expected.clone(), vec![(6, 15)]));
    fill_up_to(&store, &mut other, 4);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(page(&again, &author), expected);
    assert_eq!((log(&again, &author), content(&again)), (author.log.clone(), content(&store)));
    // What is left of it can be lost.
    damage_frame(&store, directory.path(), &author.part(1..3));
    let hash = author.batches[2].hash();
    let damage = Damage { topic: topic(), log: log_id, first: 6, next: 9, hash, previous: None };
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, [damage]);
    store.commit(&[author.quarantine(&damage)]).unwrap();
    assert_eq!(held(&store, &author), [(9, 15)]);
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
}

#[test]
fn data_of_the_format_before_opens_and_no_new_frames_are_added_to_its_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let salt = store.salt;
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    let older = |index: &Index| {
        let mut changes = changes::Changes::default();
        changes.set(keys::VERSION_KEY.to_vec(), Some(2_u32.to_be_bytes().to_vec()));
        index.write(changes)
    };
    store.ask(older).unwrap();
    drop(store);
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let payload = [&2_u32.to_be_bytes()[..], &salt.to_be_bytes()].concat();
    let head = frame::Head::new(Kind::Opening, 1, 0, 0, &[&payload]).encode(0);
    bytes[..OPENING_BYTES].copy_from_slice(&[&head[..], &payload].concat().repeat(2));
    fs::write(&path, &bytes).unwrap();
    let store = open(directory.path());
    assert_eq!(held(&store, &author), [(0, 9)]);
    store.commit(&[author.compact(0..2)]).unwrap();
    let expected = (vec![6], vec![author.part(0..2)]);
    assert_eq!(page(&store, &author), expected);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let second = fs::read(segment_path(directory.path(), 2)).unwrap();
    assert_eq!(record::read_opening(2, &second), Some((record::FORMAT, salt)));
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(page(&again, &author), expected);
}

#[test]
fn a_sweep_tells_what_is_damaged_once() {
    use antiphon::{
        engine::{Sweep, SweptSpan},
        model::WallClock,
    };
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let appends: Vec<_> = (1..=5).map(|time| author.append(time)).collect();
    store.commit(&appends).unwrap();
    let batch = author.batches[1].clone();
    let entry = store.ask(|index| index.entry(&Place::of(&batch))).unwrap().unwrap();
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[entry.offset as usize + HEAD_BYTES + 60] ^= 1;
    fs::write(&path, bytes).unwrap();
    let span = SweptSpan { range: author.range(0, 15), settled: 15 };
    let sweep = Sweep {
        spans: vec![span],
        tombstones_before: WallClock(0),
        now: WallClock(u64::MAX),
        early: Early::none(),
    };
    let sweeping = store.sweep(topic(), &sweep, &AtomicBool::new(false)).unwrap();
    assert_eq!(sweeping.damages, [author.damage(&batch)]);
    assert_eq!(sweeping.swept.unwrap().parts, []);
}
