//! The index may be lost, damaged or old at any time.

use super::*;

fn filled(directory: &Path, author: &mut Author) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let store = open(directory);
    for time in 0..40 {
        let batch = author.seal(time, 1, 5_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
    let batch = author.batches[9].clone();
    store.commit(&[author.drop_to(&batch)]).unwrap();
    store.put_fact("port", b"4001").unwrap();
    // What is in tables is another kind of file than what is in the journal.
    let rotate = |index: &Index| {
        index.rotate();
        Ok(())
    };
    store.ask(rotate).unwrap();
    store.put_fact("name", b"x").unwrap();
    content(&store)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Opens and reads a store whose index was damaged. What a read finds while the node runs is
/// healed by the next upkeep.
fn assert_heals(
    directory: &Path,
    author: &Author,
    expected: &BTreeMap<Vec<u8>, Vec<u8>>,
    what: &str,
) {
    let store = open(directory);
    store.recover().unwrap();
    if store.read(topic(), &[author.range(10, 40)], &Early::none(), usize::MAX).is_err() {
        store.maintain().unwrap();
    }
    assert_eq!(held(&store, author), [(10, 40)], "{what}");
    // Batches may have been moved.
    let is_state = |(key, _): &(&Vec<u8>, &Vec<u8>)| Table::is_state(key);
    let expected: BTreeMap<_, _> = expected.iter().filter(is_state).collect();
    let found = content(&store);
    let found: BTreeMap<_, _> = found.iter().filter(is_state).collect();
    assert!(expected.len() > 2);
    assert!(found == expected, "{what}: {found:?}");
    store.put_fact("other", b"y").unwrap();
}

#[test]
fn a_lost_or_damaged_index_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let expected = filled(directory.path(), &mut author);
    let mut random = fastrand::Rng::with_seed(3);
    let index = directory.path().join("index");
    let paths = files(&index);
    assert!(paths.len() > 3, "{paths:?}");
    let try_with = |what: &str, change: &dyn Fn(&Path)| {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        change(&copied.path().join("index"));
        assert_heals(copied.path(), &author, &expected, what);
    };
    try_with("deleted", &|index| fs::remove_dir_all(index).unwrap());
    for path in &paths {
        let name = path.strip_prefix(&index).unwrap();
        let content = fs::read(path).unwrap();
        let length = written(&content);
        let what = |how: &str| format!("{}: {how}", name.display());
        try_with(&what("removed"), &|index| fs::remove_file(index.join(name)).unwrap());
        try_with(&what("cut"), &|index| {
            fs::write(index.join(name), &content[..length / 2]).unwrap();
        });
        for _ in 0..4 {
            if length == 0 {
                continue;
            }
            let (at, bit) = (random.usize(0..length), random.u8(0..8));
            try_with(&what(&format!("bit {bit} of byte {at}")), &|index| {
                let mut damaged = content.clone();
                damaged[at] ^= 1 << bit;
                fs::write(index.join(name), damaged).unwrap();
            });
        }
    }
}

#[test]
fn an_index_of_another_layout_or_another_store_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let expected = filled(directory.path(), &mut author);
    let store = open(directory.path());
    store
        .ask(|index| {
            let mut changes = changes::Changes::default();
            changes.set(keys::VERSION_KEY.to_vec(), Some(vec![0, 0, 0, 1]));
            index.write(changes)
        })
        .unwrap();
    drop(store);
    assert_heals(directory.path(), &author, &expected, "another layout");

    let other = tempfile::tempdir().unwrap();
    filled(other.path(), &mut Author::new(2, topic()));
    lose_index(directory.path());
    copy(&other.path().join("index"), &directory.path().join("index"));
    let store = open(directory.path());
    assert_eq!(held(&store, &author), [(10, 40)]);
}

#[test]
fn an_index_that_fails_while_the_node_runs_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1)]).unwrap();
    *store.index.write().unwrap() = None;
    let error = store.read(topic(), &[author.range(0, 3)], &Early::none(), usize::MAX).unwrap_err();
    assert!(error.passes(), "{error}");
    store.commit(&[author.append(2)]).unwrap();
    assert_eq!(held(&store, &author), [(0, 6)]);
    // A read that finds it damaged says so, and the next upkeep heals it.
    let broken = store.ask(|_| Err::<(), _>(malformed())).unwrap_err();
    assert!(broken.passes());
    *store.index.write().unwrap() = None;
    store.maintain().unwrap();
    assert_eq!(held(&store, &author), [(0, 6)]);
    assert_eq!(store.fact("port"), Ok(None));
}

#[test]
fn an_index_that_knows_more_than_the_segments_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1)]).unwrap();
    let end = store.writer().end.1;
    store.commit(&[author.append(2)]).unwrap();
    drop(store);
    // As after a power cut on a disk that lies about flushes.
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[end..].fill(0);
    fs::write(&path, bytes).unwrap();
    assert_eq!(held(&open(directory.path()), &author), [(0, 3)]);
}

#[test]
fn a_writer_does_not_go_back_behind_what_it_once_held() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1)]).unwrap();
    store.commit(&[author.append(2)]).unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(&directory.path().join("index"), before.path());
    let at = store.writer().end.1;
    store.put_fact("port", b"1").unwrap();
    store.put_fact("port", b"2").unwrap();
    drop(store);
    lose_index(directory.path());
    copy(before.path(), &directory.path().join("index"));
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at + 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    let log = log(&open(directory.path()), &author);
    assert_eq!((log.records(), log.previous(author.log_id().incarnation).unwrap().next), (6, 6));
}
