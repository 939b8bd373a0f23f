//! Files and directories that go away, or are replaced, under a store that runs.

use super::*;
use crate::store::{DataDirectory, load_or_create_key};

/// A data directory with a store that has two segments with batches in them.
struct Running {
    parent: tempfile::TempDir,
    store: SegmentStore,
    author: Author,
    _directory: DataDirectory,
}

impl Running {
    fn begin() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(&parent.path().join("data")).unwrap();
        load_or_create_key(&directory).unwrap();
        let store = open(&directory.store()).with_placed(directory.placed().unwrap());
        let mut author = Author::new(1, topic());
        space::fill_up_to(&store, &mut author, 2);
        // All segments have been seen once.
        store.maintain().unwrap();
        Self { parent, store, author, _directory: directory }
    }

    fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn segment(&self, number: u32) -> PathBuf {
        segment_path(&self.data().join("store"), number)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let append = self.author.append(1_000);
        self.store.commit(&[append])
    }
}

/// Puts a copy of a file in its place.
fn replace(path: &Path) {
    let copied = path.with_extension("copy");
    fs::copy(path, &copied).unwrap();
    fs::rename(&copied, path).unwrap();
}

/// Renames the data directory and puts something in its place.
fn replace_data(running: &Running, replacement: impl Fn(&Path, &Path)) {
    let away = running.parent.path().join("away");
    fs::rename(running.data(), &away).unwrap();
    replacement(&away, &running.data());
}

type Harm = fn(&Running);

/// What may happen to what is written to.
const HARMS: [(&str, Harm); 10] = [
    ("data is gone", |running| {
        fs::remove_dir_all(running.data()).unwrap();
    }),
    ("data is gone", |running| replace_data(running, |_, _| {})),
    ("data was replaced", |running| {
        replace_data(running, |_, data| fs::create_dir(data).unwrap());
    }),
    ("data was replaced", |running| replace_data(running, copy)),
    ("data was replaced", |running| replace_data(running, |_, data| fs::write(data, "").unwrap())),
    ("data/store is gone", |running| {
        fs::remove_dir_all(running.data().join("store")).unwrap();
    }),
    ("segments is gone", |running| {
        fs::remove_dir_all(running.data().join("store/segments")).unwrap();
    }),
    ("00000002.seg is gone", |running| {
        fs::remove_file(running.segment(2)).unwrap();
    }),
    ("00000002.seg was replaced", |running| replace(&running.segment(2))),
    ("00000002.seg was cut", |running| {
        File::options().write(true).open(running.segment(2)).unwrap().set_len(50_000).unwrap();
    }),
];

/// What may happen to the rest.
const OTHER_HARMS: [(&str, Harm); 9] = [
    ("data/key is gone", |running| {
        fs::remove_file(running.data().join("key")).unwrap();
    }),
    ("data/key was replaced", |running| replace(&running.data().join("key"))),
    ("data/lock is gone", |running| {
        fs::remove_file(running.data().join("lock")).unwrap();
    }),
    ("store/lock was replaced", |running| replace(&running.data().join("store/lock"))),
    ("index is gone", |running| lose_index(&running.data().join("store"))),
    ("00000001.seg is gone", |running| {
        fs::remove_file(running.segment(1)).unwrap();
    }),
    ("00000001.seg was replaced", |running| {
        replace(&running.segment(1));
        let file = File::options().append(true).open(running.segment(1)).unwrap();
        std::io::Write::write_all(&mut &file, b"more").unwrap();
    }),
    ("00000001.seg was cut", |running| {
        File::options().write(true).open(running.segment(1)).unwrap().set_len(50_000).unwrap();
    }),
    ("00000003.seg is gone", |running| {
        fs::remove_file(running.segment(3)).unwrap();
    }),
];

fn assert_displaced(outcome: Result<(), StoreError>, expected: &str) {
    let error = outcome.expect_err(expected);
    assert!(matches!(error, StoreError::Displaced { .. }), "{expected}: {error}");
    assert!(error.to_string().contains(expected), "{expected}: {error}");
}

#[test]
fn a_write_to_files_that_no_start_would_find_fails_and_is_the_last() {
    for (expected, harm) in HARMS {
        let mut running = Running::begin();
        running.commit().unwrap();
        harm(&running);
        assert_displaced(running.commit(), expected);
        assert_eq!(running.commit(), Err(StoreError::Latched), "{expected}");
        assert_eq!(running.store.put_fact("port", b"1"), Err(StoreError::Latched), "{expected}");
    }
}

#[test]
fn an_idle_store_notices_what_is_gone() {
    for (expected, harm) in HARMS.into_iter().chain(OTHER_HARMS) {
        let mut running = Running::begin();
        harm(&running);
        assert_displaced(running.store.maintain().map(drop), expected);
        assert_eq!(running.commit(), Err(StoreError::Latched), "{expected}");
    }
}

#[test]
fn a_store_in_its_place_is_not_disturbed() {
    let running = Running::begin();
    // A link to it, and a new name of what leads to it, are no harm.
    let data = running.data();
    std::os::unix::fs::symlink(&data, running.parent.path().join("link")).unwrap();
    for number in 1..=3 {
        File::open(running.segment(number)).unwrap().sync_all().unwrap();
    }
    running.store.in_place().unwrap();
}

#[test]
fn a_store_in_the_place_of_another_is_not_written_to() {
    let running = Running::begin();
    replace_data(&running, copy);
    let before: Vec<_> = segments(&running.data().join("store"));
    // It needs the next segment, and would give a segment back.
    let Running { store, mut author, .. } = running;
    let mut append = |time| {
        let batch = author.seal(time, 1, 4_000);
        author.store(batch)
    };
    let writes: Vec<_> = (0..40).map(&mut append).collect();
    store.commit(&writes).unwrap_err();
    store.writer().remove_spares(&store.files);
    assert_eq!(segments(&running.parent.path().join("data/store")), before);
}
