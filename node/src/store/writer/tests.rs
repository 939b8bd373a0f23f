//! The handle and its thread.

use std::sync::atomic::AtomicBool;

use antiphon::{
    engine::{Recovered, SweptSpan},
    model::WallClock,
};

use super::*;
use crate::store::{
    Checking, ScrubPosition, Scrubbed, SegmentStore, Sweeping, Upkeep,
    faulty::FaultyStore,
    memory::MemoryStore,
    samples::{Author, catalogue, topic},
};

/// Takes events until all writes up to `number` are durable.
async fn durable(handle: &mut StoreHandle, number: WriteNumber) {
    loop {
        match handle.next().await {
            StoreEvent::Durable(durable) if durable >= number => return,
            StoreEvent::Durable(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
}

#[tokio::test]
async fn many_writes_are_flushed_together() {
    let directory = tempfile::tempdir().unwrap();
    let inner = SegmentStore::open(directory.path(), catalogue(), None).unwrap();
    let store = Arc::new(FaultyStore::new(inner, 0));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    let writes = 3_000;
    let appends: Vec<_> = (1..=writes).map(|time| author.append(time)).collect();
    for (number, append) in (1..).zip(appends) {
        handle.write(WriteNumber(number), append);
    }
    durable(&mut handle, WriteNumber(writes)).await;
    assert!(store.commits() < writes / 4, "{} commits", store.commits());
    assert!(!handle.is_congested());
    let records = author.log.records();
    handle.read(Ticket(7), topic(), vec![author.range(0, records)], Early::none(), usize::MAX);
    let StoreEvent::Read(Ticket(7), Some(page)) = handle.next().await else { panic!("no page") };
    assert!(page.finished && page.batches == author.batches);
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_flushes_what_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let open = || SegmentStore::open(directory.path(), catalogue(), None).unwrap();
    let mut handle = StoreHandle::start(Arc::new(open())).unwrap();
    let mut author = Author::new(1, topic());
    for number in 1..=3_000 {
        handle.write(WriteNumber(number), author.append(number));
    }
    handle.stop().await.unwrap();
    let log = open().recover().unwrap().logs[&topic()][&author.log_id()].clone();
    assert_eq!(log, author.log);
}

#[tokio::test]
async fn a_failed_commit_is_told_once_and_is_the_last() {
    let inner = MemoryStore::new(catalogue());
    let store = Arc::new(FaultyStore::new(inner, 2));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    handle.write(WriteNumber(1), author.append(1));
    durable(&mut handle, WriteNumber(1)).await;
    handle.write(WriteNumber(2), author.append(2));
    let event = handle.next().await;
    assert!(matches!(event, StoreEvent::Failed(StoreError::Io { .. })), "{event:?}");
    for number in 3..=3_000 {
        handle.write(WriteNumber(number), author.append(number));
    }
    handle.read(Ticket(1), topic(), vec![author.range(0, 6)], Early::none(), usize::MAX);
    let StoreEvent::Read(Ticket(1), Some(page)) = handle.next().await else { panic!("no page") };
    assert_eq!(page.batches, author.batches[..1], "reads go on");
    assert!(matches!(handle.stop().await, Err(StoreError::Io { .. })));
    assert_eq!(store.commits(), 2, "nothing was tried after the failure");
    assert_eq!(store.put_fact("port", b"1"), Err(StoreError::Latched));
}

/// A store that panics, as a library may over data that it did not expect.
#[derive(Debug)]
struct Panicking;

impl Store for Panicking {
    fn recover(&self) -> Result<Recovered, StoreError> {
        panic!("planted")
    }

    fn commit(&self, _: &[Write]) -> Result<(), StoreError> {
        panic!("planted")
    }

    fn read(&self, _: TopicId, _: &[LogRange], _: &Early, _: usize) -> Result<Reading, StoreError> {
        panic!("planted")
    }

    fn check(&self, _: TopicId, _: &LogRange, _: usize) -> Result<Checking, StoreError> {
        panic!("planted")
    }

    fn measure(&self, _: TopicId, _: &[LogRange]) -> Result<Vec<Part>, StoreError> {
        panic!("planted")
    }

    fn sweep(&self, _: TopicId, _: &Sweep, _: &AtomicBool) -> Result<Sweeping, StoreError> {
        panic!("planted")
    }

    fn scrub(&self, _: Option<ScrubPosition>, _: usize) -> Result<Scrubbed, StoreError> {
        panic!("planted")
    }

    fn maintain(&self) -> Result<Upkeep, StoreError> {
        Ok(Upkeep { room: Room::ample(), busy: false, damages: Vec::new() })
    }

    fn fact(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        panic!("planted")
    }

    fn put_fact(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("planted")
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_and_not_a_silence() {
    let mut handle = StoreHandle::start(Arc::new(Panicking)).unwrap();
    handle.read(Ticket(3), topic(), Vec::new(), Early::none(), 0);
    assert_eq!(handle.next().await, StoreEvent::Read(Ticket(3), None));
    handle.sweep(Ticket(4), topic(), all_of(&Author::new(1, topic())));
    assert_eq!(handle.next().await, StoreEvent::Swept(Ticket(4), None));
    handle.write(WriteNumber(1), Author::new(1, topic()).append(1));
    assert_eq!(handle.next().await, StoreEvent::Failed(StoreError::Broken));
    assert_eq!(handle.stop().await, Err(StoreError::Broken));
}

#[tokio::test]
async fn damage_is_told_before_the_read_that_found_it() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    handle.write(WriteNumber(1), author.append(1));
    durable(&mut handle, WriteNumber(1)).await;
    let damage = author.damage(&author.batches[0]);
    store.damage(damage);
    handle.read(Ticket(1), topic(), vec![author.range(0, 3)], Early::none(), usize::MAX);
    assert_eq!(handle.next().await, StoreEvent::Damaged(damage));
    assert!(matches!(handle.next().await, StoreEvent::Read(Ticket(1), Some(_))));
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_scrub_tells_what_it_finds() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    let mut author = Author::new(1, topic());
    store.commit(&[author.append(1)]).unwrap();
    let damage = author.damage(&author.batches[0]);
    let pace = Pace { first: Duration::ZERO, between: Duration::ZERO, ..Pace::default() };
    let shared = Arc::<FaultyStore<_>>::clone(&store);
    let mut handle = StoreHandle::start_with(shared, pace).unwrap();
    for _ in 0..2 {
        store.damage(damage);
        assert_eq!(handle.next().await, StoreEvent::Damaged(damage));
    }
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_accepted_waits_for_room() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    store.fill(true);
    handle.write(WriteNumber(1), author.append(1));
    assert!(matches!(handle.next().await, StoreEvent::Room(room) if room.is_full()));
    handle.read(Ticket(1), topic(), vec![author.range(0, 3)], Early::none(), usize::MAX);
    assert!(matches!(handle.next().await, StoreEvent::Read(Ticket(1), Some(_))), "reads go on");
    store.fill(false);
    let events = [handle.next().await, handle.next().await];
    let is_room = |event: &StoreEvent| matches!(event, StoreEvent::Room(room) if !room.is_full());
    assert!(events.iter().any(is_room), "{events:?}");
    assert!(events.contains(&StoreEvent::Durable(WriteNumber(1))), "{events:?}");
    // An idle store hears of it too.
    store.fill(true);
    assert!(matches!(handle.next().await, StoreEvent::Room(room) if room.is_full()));
    store.fill(false);
    assert!(matches!(handle.next().await, StoreEvent::Room(room) if !room.is_full()));
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_room() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    store.fill(true);
    handle.write(WriteNumber(1), Author::new(1, topic()).append(1));
    assert!(matches!(handle.next().await, StoreEvent::Room(room) if room.is_full()));
    assert_eq!(handle.stop().await, Err(StoreError::Full));
}

/// All of a log.
fn all_of(author: &Author) -> Sweep {
    let to = author.log.records();
    let span = SweptSpan { range: author.range(0, to), settled: to };
    Sweep {
        spans: vec![span],
        tombstones_before: WallClock(0),
        now: WallClock(u64::MAX),
        early: Early::none(),
    }
}

#[tokio::test]
async fn a_sweep_is_told_once_behind_the_damage_that_it_found() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    handle.write(WriteNumber(1), author.append(1));
    durable(&mut handle, WriteNumber(1)).await;
    let damage = author.damage(&author.batches[0]);
    store.damage(damage);
    handle.sweep(Ticket(1), topic(), all_of(&author));
    assert_eq!(handle.next().await, StoreEvent::Damaged(damage));
    let bytes = author.batches[0].bytes().len() as u64;
    let swept = Swept { bytes, ..Swept::default() };
    assert_eq!(handle.next().await, StoreEvent::Swept(Ticket(1), Some(swept)));
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn reads_and_a_stop_do_not_wait_for_a_long_sweep() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    store.lengthen_sweeps();
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    let mut author = Author::new(1, topic());
    handle.write(WriteNumber(1), author.append(1));
    durable(&mut handle, WriteNumber(1)).await;
    handle.sweep(Ticket(1), topic(), all_of(&author));
    for ticket in 2..2 + 2 * READS_MAX as u64 {
        handle.read(Ticket(ticket), topic(), vec![author.range(0, 3)], Early::none(), usize::MAX);
    }
    for _ in 0..2 * READS_MAX {
        assert!(matches!(handle.next().await, StoreEvent::Read(_, Some(_))));
    }
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_sweep_ends_soon_with_its_handle() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new(catalogue()), 0));
    store.lengthen_sweeps();
    let mut handle = StoreHandle::start(Arc::<FaultyStore<_>>::clone(&store)).unwrap();
    handle.sweep(Ticket(1), topic(), all_of(&Author::new(1, topic())));
    drop(handle);
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
