//! Power cuts: what is left of the last group, and of everything before it.

use super::*;

/// A store with three groups of two batches each, without its index: the bytes of its segment and
/// where the last group begins and ends.
fn three_groups(directory: &Path, author: &mut Author) -> (Vec<u8>, std::ops::Range<usize>) {
    let store = open(directory);
    let mut begin = 0;
    for time in 0..3 {
        begin = store.writer().end.1;
        store.commit(&[author.append(2 * time), author.append(2 * time + 1)]).unwrap();
    }
    let end = store.writer().end.1;
    drop(store);
    let bytes = fs::read(segment_path(directory, 1)).unwrap();
    assert_eq!(written(&bytes), end);
    (bytes, begin..end)
}

/// What a store recovers from these bytes as its first segment and nothing else; and that it goes
/// on from there, and that a second recovery finds the same.
fn recovered(bytes: &[u8], author: &Author) -> Vec<(u64, u64)> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("segments")).unwrap();
    fs::write(segment_path(directory.path(), 1), bytes).unwrap();
    let store = open(directory.path());
    let (found, entries) = (held(&store, author), content(&store));
    drop(store);
    lose_index(directory.path());
    let store = open(directory.path());
    assert_eq!(content(&store), entries, "recovering twice is recovering once");
    let mut other = Author::new(2, topic());
    store.commit(&[other.append(1)]).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(held(&store, &other), [(0, 3)]);
    assert_eq!(held(&store, author), found, "life goes on");
    found
}

/// Where the last whole group of these bytes ends.
fn end_of(bytes: &[u8], files: &Files, salt: u64) -> usize {
    fs::write(files.path(1), bytes).unwrap();
    recovery::end_of(files, salt).unwrap().1
}

#[test]
fn a_group_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, last) = three_groups(directory.path(), &mut author);
    let (_, salt) = record::read_opening(1, &bytes).unwrap();
    let files = Files::open(directory.path().join("segments")).unwrap();
    assert_eq!(end_of(&bytes, &files, salt), last.end);
    // Each beginning of it, in a file that keeps its length and in one that does not.
    for at in last.clone() {
        let mut torn = bytes.clone();
        torn[at..].fill(0);
        assert_eq!(end_of(&torn, &files, salt), last.start, "zeros from {at}");
        assert_eq!(end_of(&bytes[..at], &files, salt), last.start, "cut at {at}");
    }
    assert_eq!(recovered(&bytes, &author), [(0, 18)]);
    for at in [last.start + 1, last.start + 300, last.end - 1] {
        let mut torn = bytes.clone();
        torn[at..].fill(0);
        assert_eq!(recovered(&torn, &author), [(0, 12)], "zeros from {at}");
        assert_eq!(recovered(&bytes[..at], &author), [(0, 12)], "cut at {at}");
    }
}

#[test]
fn lost_pages_of_the_last_group_cost_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, last) = three_groups(directory.path(), &mut author);
    let (_, salt) = record::read_opening(1, &bytes).unwrap();
    let files = Files::open(directory.path().join("segments")).unwrap();
    let pieces = 9;
    let size = last.len().div_ceil(pieces);
    for lost in 1_u32..1 << pieces {
        let mut torn = bytes.clone();
        for piece in (0..pieces).filter(|piece| lost >> piece & 1 == 1) {
            let from = last.start + piece * size;
            torn[from..(from + size).min(last.end)].fill(0);
        }
        assert_eq!(end_of(&torn, &files, salt), last.start, "lost {lost:b}");
        if lost % 200 == 1 {
            assert_eq!(recovered(&torn, &author), [(0, 12)], "lost {lost:b}");
        }
    }
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (mut bytes, last) = three_groups(directory.path(), &mut author);
    // Its first batch is lost, the second and the end of the group are there.
    bytes[last.start..last.start + HEAD_BYTES].fill(0);
    fs::write(segment_path(directory.path(), 1), &bytes).unwrap();
    lose_index(directory.path());
    let store = open(directory.path());
    assert_eq!(held(&store, &author), [(0, 12)]);
    drop(store);
    let bytes = fs::read(segment_path(directory.path(), 1)).unwrap();
    assert_eq!(written(&bytes), written(&bytes[..last.start]), "it is erased");
}

#[test]
fn frames_that_the_index_does_not_know_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let before = tempfile::tempdir().unwrap();
    store.commit(&[author.append(1), author.append(2)]).unwrap();
    drop(store);
    copy(&directory.path().join("index"), before.path());
    let store = open(directory.path());
    let batch = author.batches[0].clone();
    let part = [author.drop_to(&batch), author.append(3)];
    store.commit(&part).unwrap();
    store.put_fact("port", b"1").unwrap();
    let expected = content(&store);
    drop(store);
    lose_index(directory.path());
    copy(before.path(), &directory.path().join("index"));
    let store = open(directory.path());
    assert_eq!(content(&store), expected);
    assert_eq!((held(&store, &author), log(&store, &author).low), (vec![(3, 9)], 3));
}

#[test]
fn a_group_that_was_flushed_and_never_indexed_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1)]).unwrap();
    let write = author.append(2);
    let mut writer = store.writer();
    store.ask(|index| store.write_group(&mut writer, index, &[write])).unwrap();
    drop(writer);
    drop(store);
    assert_eq!(held(&open(directory.path()), &author), [(0, 6)]);
}

#[test]
fn a_crash_when_a_segment_begins_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let mut time = 0;
    while store.writer().end.0 < 2 {
        time += 1;
        let batch = author.seal(time, 1, 4_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
    drop(store);
    let path = segment_path(directory.path(), 2);
    let bytes = fs::read(&path).unwrap();
    let end = written(&bytes);
    for at in (0..=end).step_by(end / 12) {
        let mut torn = bytes.clone();
        torn[at..].fill(0);
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        fs::write(segment_path(copied.path(), 2), &torn).unwrap();
        let store = open(copied.path());
        assert_eq!(held(&store, &author), [(0, time - u64::from(at < end))], "zeros from {at}");
        let mut other = Author::new(2, topic());
        store.commit(&[other.append(1)]).unwrap();
        drop(store);
        lose_index(copied.path());
        assert_eq!(held(&open(copied.path()), &other), [(0, 3)]);
    }
}
