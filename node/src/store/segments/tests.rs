//! What only a disk can do wrong.

mod compacted;
mod crashes;
mod damage;
mod displaced;
mod full;
mod headers;
mod indexes;
mod nearly_full;
mod space;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicU64,
};

use antiphon::engine::Log;

use super::{space::Free, *};
use crate::store::samples::{Author, catalogue, topic};

/// Bytes of a segment in tests.
const SMALL: usize = 64 * 1024;

fn options() -> Options {
    Options { segment_bytes: SMALL, spares: 1, free_bytes_min: 0, space: Arc::new(Ample) }
}

/// Any amount of room, which need not be taken.
#[derive(Debug)]
struct Ample;

impl Space for Ample {
    fn allocate(&self, file: &File, _: u64, to: u64) -> std::io::Result<()> {
        if file.metadata()?.len() < to { file.set_len(to) } else { Ok(()) }
    }

    fn free(&self, _: &Path) -> std::io::Result<Free> {
        Ok(Free { bytes: u64::MAX, total: u64::MAX, is_quota: false })
    }
}

/// A disk of this many bytes; others may take some of them.
#[derive(Debug)]
struct Small {
    free: AtomicU64,
}

impl Space for Small {
    fn allocate(&self, file: &File, from: u64, to: u64) -> std::io::Result<()> {
        let taken = file.metadata()?.len();
        if to > taken {
            let enough = |free: u64| free.checked_sub(to - taken);
            self.free
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, enough)
                .map_err(|_free| std::io::Error::from(std::io::ErrorKind::StorageFull))?;
        }
        Ample.allocate(file, from, to)
    }

    fn free(&self, _: &Path) -> std::io::Result<Free> {
        Ok(Free { bytes: 0, total: 1 << 40, is_quota: false })
    }
}

fn open(directory: &Path) -> SegmentStore {
    SegmentStore::open_with(directory, catalogue(), options()).unwrap()
}

fn read(store: &SegmentStore, author: &Author, from: u64, to: u64) -> (Vec<u64>, bool) {
    let reading =
        store.read(topic(), &[author.range(from, to)], &Early::none(), usize::MAX).unwrap();
    let firsts = reading.page.batches.iter().map(|batch| batch.header().first).collect();
    (firsts, reading.page.finished)
}

fn log(store: &SegmentStore, author: &Author) -> Log {
    let recovered = store.recover().unwrap();
    recovered
        .logs
        .get(&topic())
        .and_then(|logs| logs.get(&author.log_id()))
        .cloned()
        .unwrap_or_default()
}

/// The records that a log claims, as ranges.
fn claims(log: &Log) -> Vec<(u64, u64)> {
    log.spans.iter().map(|span| (span.first, span.next)).collect()
}

/// The records that can be read, and are no more and no less than what the log claims.
fn held(store: &SegmentStore, author: &Author) -> Vec<(u64, u64)> {
    let claimed = claims(&log(store, author));
    for (first, next) in &claimed {
        let (_, finished) = read(store, author, *first, *next);
        assert!(finished, "{first}..{next} is claimed and cannot be read");
    }
    claimed
}

fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("segments/{segment:08}.seg"))
}

/// The files of the segments.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("segments")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            copy_file(&path, &target);
        }
    }
}

/// Copies a file of which the end is a large hole.
fn copy_file(from: &Path, to: &Path) {
    let file = File::open(from).unwrap();
    let length = file.metadata().unwrap().len();
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap_or(length);
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    let mut copied = File::create(to).unwrap();
    std::io::copy(&mut std::io::Read::take(file, data), &mut copied).unwrap();
    copied.set_len(length).unwrap();
}

fn lose_index(directory: &Path) {
    fs::remove_dir_all(directory.join("index")).unwrap();
}

/// Where the frames of the first segment are, with their kinds.
fn frames(bytes: &[u8], salt: u64, segment: u32) -> Vec<(Kind, std::ops::Range<usize>)> {
    let mut frames = Vec::new();
    for found in frame::Scan::new(bytes, salt, segment, OPENING_BYTES, 0) {
        let frame::Found::Frame(frame) = found else { panic!("it is whole") };
        frames.push((frame.head.kind, frame.offset..frame.end()));
    }
    frames
}

/// Bytes without the zeros at their end.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// All values of the small state, and where batches lie: what an index must come to again.
fn content(store: &SegmentStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    store
        .ask(|index| {
            let mut content = BTreeMap::new();
            for table in Table::STATE.into_iter().chain([Table::Batches, Table::Headers]) {
                for entry in index.entries(table) {
                    let (key, value) = entry?;
                    content.insert(keys::index_key(table, &key), value);
                }
            }
            Ok(content)
        })
        .unwrap()
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = SegmentStore::open(directory.path(), catalogue(), None).unwrap_err();
    assert_eq!(error, StoreError::Locked);
    drop(store);
    open(directory.path());
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).commit(&[Author::new(1, topic()).append(1)]).unwrap();
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let payload = [&(record::FORMAT + 1).to_be_bytes()[..], &[0; 8]].concat();
    let head = frame::Head::new(Kind::Opening, 1, 0, 0, &[&payload]).encode(0);
    bytes[..head.len() + payload.len()].copy_from_slice(&[&head[..], &payload].concat());
    fs::write(&path, &bytes).unwrap();
    let error = SegmentStore::open(directory.path(), catalogue(), None).unwrap_err();
    assert_eq!(error, StoreError::NewerFormat { found: record::FORMAT + 1, known: record::FORMAT });
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_failed_write_is_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut author = Author::new(1, topic());
    store.commit(&[author.append(1)]).unwrap();
    // A file that nothing can be written to.
    let path = segment_path(directory.path(), 1);
    store.writer().active.as_mut().unwrap().file = File::open(path).unwrap();
    let error = store.commit(&[author.append(2)]).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(store.commit(&[author.append(3)]), Err(StoreError::Latched));
    assert_eq!(store.put_fact("port", b"1"), Err(StoreError::Latched));
    assert!(store.maintain().unwrap().room.is_full());
    assert_eq!(read(&store, &author, 0, 3), (vec![0], true), "reads go on");
    drop(store);
    assert_eq!(held(&open(directory.path()), &author), [(0, 3)]);
}
