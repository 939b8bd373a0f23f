//! A full disk.

use super::*;

fn on(space: &Arc<Small>) -> Options {
    Options { spares: 3, space: Arc::<Small>::clone(space), ..options() }
}

#[test]
fn a_full_disk_refuses_keeps_what_it_has_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let space = Arc::new(Small { free: AtomicU64::new(5 * SMALL as u64) });
    let options = on(&space);
    let store = SegmentStore::open_with(directory.path(), catalogue(), options.clone()).unwrap();
    let mut author = Author::new(1, topic());
    assert!(!store.maintain().unwrap().room.is_full());
    let mut append = || {
        let batch = author.seal(author.batches.len() as u64, 1, 4_000);
        (author.store(batch), author.batches.len() as u64)
    };
    let mut end = 0;
    while !store.maintain().unwrap().room.is_full() {
        let (write, next) = append();
        store.commit(&[write]).unwrap();
        end = next;
    }
    // What was accepted already finds its place in what was set aside.
    let mut reserved = 0;
    let refused = loop {
        let (write, next) = append();
        match store.commit(std::slice::from_ref(&write)) {
            Ok(()) => {
                reserved += 1;
                end = next;
            }
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                break write;
            }
        }
    };
    assert!(reserved * 4_000 > SMALL, "{reserved} batches");
    assert_eq!(
        store.commit(std::slice::from_ref(&refused)),
        Err(StoreError::Full),
        "it is not latched"
    );
    assert!(store.maintain().unwrap().room.is_full());
    let whole = author.range(0, end);
    assert!(
        store.read(topic(), &[whole], &Early::none(), usize::MAX).unwrap().page.finished,
        "reads go on"
    );
    space.free.fetch_add(4 * SMALL as u64, Ordering::SeqCst);
    assert!(!store.maintain().unwrap().room.is_full());
    store.commit(&[refused]).unwrap();
    drop(store);
    // A start finds the disk full too.
    space.free.store(0, Ordering::SeqCst);
    let store = SegmentStore::open_with(directory.path(), catalogue(), options).unwrap();
    assert_eq!(held(&store, &author), [(0, end + 1)]);
    assert!(store.maintain().unwrap().room.is_full());
}

#[test]
fn dropping_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let space = Arc::new(Small { free: AtomicU64::new(9 * SMALL as u64) });
    let options = on(&space);
    let store = SegmentStore::open_with(directory.path(), catalogue(), options).unwrap();
    let mut author = Author::new(1, topic());
    while !store.maintain().unwrap().room.is_full() {
        let batch = author.seal(author.batches.len() as u64, 1, 4_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
    let before = segments(directory.path()).len();
    let last = author.batches.last().unwrap().clone();
    store.commit(&[author.drop_to(&last)]).unwrap();
    while store.maintain().unwrap().busy {}
    let given_back = before - segments(directory.path()).len();
    assert!(given_back >= 3, "{given_back}");
    space.free.fetch_add((given_back * SMALL) as u64, Ordering::SeqCst);
    assert!(!store.maintain().unwrap().room.is_full());
}
