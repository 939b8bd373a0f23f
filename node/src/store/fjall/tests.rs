//! What only a disk can do wrong.

use std::path::PathBuf;

use super::{values::HASH_BYTES, *};
use crate::store::samples::{Author, catalogue, topic};

fn open(directory: &tempfile::TempDir) -> FjallStore {
    FjallStore::open(directory.path(), catalogue()).unwrap()
}

fn firsts(store: &FjallStore, range: LogRange) -> (Vec<u64>, bool) {
    let page = store.read(topic(), &[range], usize::MAX).unwrap();
    (page.batches.iter().map(|batch| batch.header().first).collect(), page.finished)
}

/// Changes one byte of a stored value.
fn flip(store: &FjallStore, key: &[u8], position: usize) {
    let batches = store.tables.get(Table::Batches);
    let mut value = batches.get(key).unwrap().unwrap().to_vec();
    value[position] ^= 1;
    batches.insert(key, value).unwrap();
}

#[test]
fn damage_is_found_and_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut author = Author::new(1, topic());
    let mut other = Author::new(2, topic());
    let writes: Vec<_> = (0..3).map(|time| author.append(time)).collect();
    store.commit(&writes).unwrap();
    store.commit(&[other.append(9)]).unwrap();
    let damaged = &author.batches[1];
    let key = Place::of(damaged).to_key();
    for position in 0..HASH_BYTES + damaged.bytes().len() {
        flip(&store, &key, position);
        let ranges = [author.range(0, 9), other.range(0, 3)];
        let page = store.read(topic(), &ranges, usize::MAX).unwrap();
        // A signature was checked before the batch was stored and is not again: the records are
        // the ones that were signed all the same.
        if page.finished {
            assert!(page.batches[1].records().eq(damaged.records()), "byte {position}");
        } else {
            assert_eq!(page.batches, [&author.batches[..1], &other.batches].concat());
        }
        flip(&store, &key, position);
    }
    flip(&store, &key, 0);
    assert_eq!(firsts(&store, author.range(0, 9)), (vec![0], false));
    assert_eq!(firsts(&store, author.range(6, 9)), (vec![6], true), "what follows is there");
    // Repair stores it again.
    store.commit(&writes[1..2]).unwrap();
    assert_eq!(firsts(&store, author.range(0, 9)), (vec![0, 3, 6], true));
}

#[test]
fn a_batch_in_the_place_of_another_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut author = Author::new(1, topic());
    store.commit(&[author.append(1), author.append(2)]).unwrap();
    let place = Place::of(&author.batches[0]).to_key();
    store.tables.get(Table::Batches).insert(place, stored(&author.batches[1])).unwrap();
    assert_eq!(firsts(&store, author.range(0, 6)), (vec![], false));
}

#[test]
fn a_damaged_batch_of_the_catalogue_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut author = Author::new(1, catalogue());
    store.commit(&[author.append(1), author.append(2)]).unwrap();
    flip(&store, &Place::of(&author.batches[0]).to_key(), 60);
    assert_eq!(store.recover().unwrap().catalogue, author.batches[1..]);
}

/// The files in which bodies lie, once they were moved from the journal.
fn body_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(body_files(&path));
        } else if path.parent().unwrap().ends_with("blobs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn damage_of_the_files_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(&directory);
    for time in 0..4 {
        let batch = author.seal(time, 1, 100_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
    store.tables.get(Table::Batches).rotate_memtable_and_wait().unwrap();
    drop(store);
    let files = body_files(directory.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let mut content = std::fs::read(&files[0]).unwrap();
    // Within the second body.
    content[150_000] ^= 1;
    std::fs::write(&files[0], &content).unwrap();
    let store = open(&directory);
    assert_eq!(firsts(&store, author.range(0, 4)), (vec![0], false));
    assert_eq!(firsts(&store, author.range(2, 4)), (vec![2, 3], true));
    drop(store);
    // A file that was cut short, as after a crash of the file system.
    std::fs::write(&files[0], &content[..250_000]).unwrap();
    if let Ok(store) = FjallStore::open(directory.path(), catalogue()) {
        assert_eq!(firsts(&store, author.range(0, 1)), (vec![0], true));
        assert_eq!(firsts(&store, author.range(2, 4)), (vec![], false));
    }
}

#[test]
fn a_removal_that_a_crash_interrupted_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut author = Author::new(1, topic());
    let writes: Vec<_> = (0..4).map(|time| author.append(time)).collect();
    store.commit(&writes).unwrap();
    let mut group = Group::default();
    group.put(Table::Removals, keys::log_key(topic(), author.log_id()), 6_u64.to_be_bytes().into());
    group.remove(Table::Batches, Place::of(&author.batches[0]).to_key());
    store.flush(group).unwrap();
    drop(store);
    let store = open(&directory);
    assert_eq!(firsts(&store, author.range(3, 12)), (vec![], false));
    assert_eq!(firsts(&store, author.range(6, 12)), (vec![6, 9], true));
    assert!(store.tables.get(Table::Removals).is_empty().unwrap());
}

#[test]
fn a_long_log_is_removed_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let author = Author::new(1, topic());
    let log_id = author.log_id();
    let batches = u64::try_from(REMOVALS_MAX).unwrap() * 2 + 10;
    let mut group = Group::default();
    for first in 0..batches {
        let floor = Place::floor(topic(), log_id, first);
        group.put(Table::Batches, Place { next: first + 1, ..floor }.to_key(), Vec::new());
    }
    store.flush(group).unwrap();
    let to = batches - 1;
    store.commit(&[Write::Drop { topic: topic(), log_id, from: 0, to, log: None }]).unwrap();
    let left: Vec<_> = store.tables.batches_of(topic()).map(|place| place.unwrap().first).collect();
    assert_eq!(left, [to]);
    assert!(store.tables.get(Table::Removals).is_empty().unwrap());
}

#[test]
fn a_newer_format_is_refused_and_a_missing_one_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.write(Table::Facts, FORMAT_FACT, &(FORMAT + 1).to_be_bytes()).unwrap();
    drop(store);
    let error = FjallStore::open(directory.path(), catalogue()).unwrap_err();
    assert_eq!(error, StoreError::NewerFormat { found: FORMAT + 1, known: FORMAT });

    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(&[Author::new(1, topic()).append(1)]).unwrap();
    store.tables.get(Table::Facts).remove(FORMAT_FACT).unwrap();
    drop(store);
    let error = FjallStore::open(directory.path(), catalogue()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let error = FjallStore::open(directory.path(), catalogue()).unwrap_err();
    assert_eq!(error, StoreError::Locked);
    drop(store);
    open(&directory);
}

#[test]
fn a_damaged_log_entry_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut author = Author::new(1, topic());
    store.commit(&[author.append(1)]).unwrap();
    let key = keys::log_key(topic(), author.log_id());
    store.tables.get(Table::Logs).insert(key, [0xff]).unwrap();
    assert!(matches!(store.recover(), Err(StoreError::Damaged { .. })));
}

/// Commits three batches and gives the journal and where each commit ends in it.
fn journal_of_three(directory: &tempfile::TempDir, author: &mut Author) -> (PathBuf, Vec<usize>) {
    let path = directory.path().join("0.jnl");
    let store = open(directory);
    let mut ends = Vec::new();
    for time in 1..=3 {
        // Not the first of its author, whose records are zeros.
        let batch = author.seal(time, 1, 64 * 1024);
        store.commit(&[author.store(batch)]).unwrap();
        let journal = std::fs::read(&path).unwrap();
        ends.push(journal.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    (path, ends)
}

#[test]
fn a_torn_last_commit_is_cut_off() {
    for distance in [20, 32_000, 66_000] {
        let directory = tempfile::tempdir().unwrap();
        let mut author = Author::new(1, topic());
        let (path, ends) = journal_of_three(&directory, &mut author);
        let mut journal = std::fs::read(&path).unwrap();
        let page = ends[2] - distance..(ends[2] - distance + 4096).min(ends[2] - 4);
        journal[page].fill(0);
        std::fs::write(&path, &journal).unwrap();
        let store = open(&directory);
        assert_eq!(firsts(&store, author.range(0, 3)), (vec![0, 1], false), "{distance}");
        let recovered = store.recover().unwrap();
        assert_eq!(recovered.logs[&topic()][&author.log_id()].records(), 2);
        // Life goes on.
        let batch = author.batches[2].clone();
        store.commit(&[Write::Append { batch, log: author.log.clone() }]).unwrap();
        drop(store);
        assert_eq!(firsts(&open(&directory), author.range(0, 3)), (vec![0, 1, 2], true));
    }
}

#[test]
fn damage_within_the_journal_is_told_and_nothing_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (path, ends) = journal_of_three(&directory, &mut author);
    let mut journal = std::fs::read(&path).unwrap();
    journal[ends[1] - 30_000] ^= 1;
    std::fs::write(&path, &journal).unwrap();
    let error = FjallStore::open(directory.path(), catalogue()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    journal[ends[1] - 30_000] ^= 1;
    std::fs::write(&path, &journal).unwrap();
    assert_eq!(firsts(&open(&directory), author.range(0, 3)), (vec![0, 1, 2], true));
}

#[test]
fn a_log_never_claims_what_a_damaged_journal_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (path, ends) = journal_of_three(&directory, &mut author);
    let store = open(&directory);
    // The logs have left the journal, the batches have not.
    store.tables.get(Table::Logs).rotate_memtable_and_wait().unwrap();
    drop(store);
    // The start of the second commit: fjall goes on with the first one, and says nothing.
    let mut journal = std::fs::read(&path).unwrap();
    journal[ends[0]] = 0xee;
    std::fs::write(&path, &journal).unwrap();
    let store = open(&directory);
    assert_eq!(firsts(&store, author.range(0, 3)), (vec![0], false));
    let held = store.recover().unwrap().logs[&topic()][&author.log_id()].clone();
    assert_eq!((held.records(), held.spans[0].head), (1, author.batches[0].hash()));
    assert_eq!(held.tip.map(|tip| tip.next), Some(3), "the writer must not go back");
    assert_eq!(store.tables.commits(Table::Batches), store.tables.commits(Table::Logs));
}
