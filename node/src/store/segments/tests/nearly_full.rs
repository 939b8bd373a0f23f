//! A disk that is nearly full, under random writes, drops, crashes and neighbours: what can be
//! freed is freed, and nothing that is held is lost.

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::*;

/// Bytes of the disk.
const DISK: u64 = 24 * SMALL as u64;

/// Bytes that must be free beside what is set aside.
const FREE_MIN: u64 = SMALL as u64;

/// Records go to this many logs at once.
const WRITERS: usize = 3;

/// Batches have at most this many bytes: the same share of a segment as in a real store.
const BATCH_MAX: usize = SMALL / 16;

/// Upkeeps that a store may need until nothing is left to do.
const UPKEEPS_MAX: usize = 5_000;

#[derive(Debug, Clone)]
enum Step {
    /// A writer is given records.
    Append { writer: usize, batches: usize, bytes: usize },
    /// The writers are given records by turns, each its share, until there is no room.
    Fill { shares: [u8; WRITERS], bytes: usize },
    /// Retention trims this many eighths of a log.
    Trim { writer: usize, eighths: usize },
    /// All of a log is removed.
    Delete { writer: usize },
    /// Small state is written, also on a full disk.
    Facts(usize),
    /// Others take this many segments of the disk.
    Others(u64),
    /// The process ends, and starts again, maybe without its index.
    Restart { loses_index: bool },
    /// Time passes.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![200_usize..600, 600..BATCH_MAX - 300];
    prop_oneof![
        3 => (0..WRITERS, 1_usize..6, bytes())
            .prop_map(|(writer, batches, bytes)| Step::Append { writer, batches, bytes }),
        3 => ([0_u8..10, 0..10, 1..10], bytes())
            .prop_map(|(shares, bytes)| Step::Fill { shares, bytes }),
        2 => (0..WRITERS, 1_usize..9).prop_map(|(writer, eighths)| Step::Trim { writer, eighths }),
        2 => (0..WRITERS).prop_map(|writer| Step::Delete { writer }),
        2 => (1_usize..200).prop_map(Step::Facts),
        1 => (0_u64..6).prop_map(Step::Others),
        1 => any::<bool>().prop_map(|loses_index| Step::Restart { loses_index }),
        2 => Just(Step::Settle),
    ]
}

/// A disk of [`DISK`] bytes.
#[derive(Debug)]
struct Bounded {
    directory: PathBuf,
    others: AtomicU64,
}

impl Bounded {
    fn left(&self) -> u64 {
        let lengths =
            segments(&self.directory).into_iter().map(|path| path.metadata().unwrap().len());
        DISK.saturating_sub(lengths.sum::<u64>() + self.others.load(Ordering::SeqCst))
    }
}

impl Space for Bounded {
    fn allocate(&self, file: &File, from: u64, to: u64) -> std::io::Result<()> {
        if to.saturating_sub(file.metadata()?.len()) > self.left() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ample.allocate(file, from, to)
    }

    fn free(&self, _: &Path) -> std::io::Result<Free> {
        Ok(Free { bytes: self.left(), total: DISK, is_quota: false })
    }
}

struct Model {
    directory: tempfile::TempDir,
    space: Arc<Bounded>,
    store: Option<SegmentStore>,
    writers: Vec<Author>,
    /// The writers that there were.
    secrets: u8,
    room: bool,
    /// Bytes that were taken in since there is no room.
    overdrawn: usize,
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let others = AtomicU64::new(0);
        let space = Arc::new(Bounded { directory: directory.path().to_owned(), others });
        let (writers, secrets) = (Vec::new(), 0);
        let mut model =
            Self { directory, space, store: None, writers, secrets, room: true, overdrawn: 0 };
        for _ in 0..WRITERS {
            let author = model.author();
            model.writers.push(author);
        }
        model.open();
        model
    }

    fn author(&mut self) -> Author {
        self.secrets += 1;
        Author::new(self.secrets, topic())
    }

    fn open(&mut self) {
        let space = Arc::<Bounded>::clone(&self.space);
        let options = Options { spares: 3, free_bytes_min: FREE_MIN, space, ..options() };
        let store = SegmentStore::open_with(self.directory.path(), catalogue(), options).unwrap();
        self.store = Some(store);
        self.upkeep();
    }

    fn store(&self) -> &SegmentStore {
        self.store.as_ref().unwrap()
    }

    /// Whether there is more to do.
    fn upkeep(&mut self) -> bool {
        let upkeep = self.store().maintain().unwrap();
        assert_eq!(upkeep.damages, []);
        self.room = !upkeep.room.is_full();
        if self.room {
            self.overdrawn = 0;
        }
        upkeep.busy
    }

    fn settle(&mut self) {
        let mut upkeeps = 0;
        while self.upkeep() {
            upkeeps += 1;
            assert!(upkeeps < UPKEEPS_MAX, "it never comes to rest");
        }
        self.assert_freed();
    }

    /// What can be freed is freed, where there is no room.
    fn assert_freed(&self) {
        let writer = self.store().writer();
        let sealed = segments(self.directory.path()).len().saturating_sub(writer.spares.len() + 1);
        let live: u64 = writer.usage.values().sum();
        // What a segment holds at least: all but its checkpoint, the least gain, a batch that
        // did not fit, and the room that any small write may need.
        let dense = SMALL - writer.checkpoint_bytes.max(2_000) - SMALL / 32 - BATCH_MAX - 9_000;
        let enough = live.div_ceil(dense as u64) + 2;
        assert!(
            self.room || sealed as u64 <= enough,
            "{sealed} segments for {live} bytes, {} spare, {writer:?}",
            writer.spares.len(),
        );
        assert!(self.room || !writer.spares.is_empty(), "{sealed} segments for {live} bytes");
    }

    /// Gives a writer records, unless there is no room for them. A little is taken in even then:
    /// what the engine had accepted already.
    fn append(&mut self, writer: usize, batches: usize, bytes: usize) {
        if !self.room {
            self.overdrawn += batches * (bytes + 400);
            if self.overdrawn > SMALL {
                return;
            }
        }
        let author = &mut self.writers[writer];
        let writes: Vec<_> = (0..batches)
            .map(|_| {
                let batch = author.seal(author.batches.len() as u64, 1, bytes);
                author.store(batch)
            })
            .collect();
        self.store().commit(&writes).expect("what is taken in finds room");
        self.upkeep();
    }

    /// A small write finds room as long as there is anything to free.
    fn commit(&mut self, write: &Write) {
        for _ in 0..2 {
            match self.store().commit(std::slice::from_ref(write)) {
                Ok(()) => return,
                Err(error) => assert_eq!(error, StoreError::Full),
            }
            self.settle();
        }
        panic!("a write that frees space finds none: {:?}", self.store().writer());
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append { writer, batches, bytes } => self.append(writer, batches, bytes),
            Step::Fill { shares, bytes } => {
                while self.room {
                    for (writer, share) in shares.into_iter().enumerate() {
                        if share > 0 {
                            self.append(writer, share.into(), bytes);
                        }
                    }
                }
            }
            Step::Trim { writer, eighths } => {
                let author = &mut self.writers[writer];
                let low = author.log.low;
                let kept: Vec<_> =
                    author.batches.iter().filter(|batch| batch.header().first >= low).collect();
                if let Some(last) = (kept.len() * eighths / 8).checked_sub(1) {
                    let last = kept[last].clone();
                    let write = author.let_go_to(&last);
                    self.commit(&write);
                }
            }
            Step::Delete { writer } => {
                let next = self.author();
                let write = std::mem::replace(&mut self.writers[writer], next).delete();
                self.commit(&write);
            }
            Step::Facts(count) => {
                for number in 0..count {
                    let name = format!("fact {}", number % 4);
                    match self.store().put_fact(&name, &[7; 400]) {
                        Err(StoreError::Full) => self.settle(),
                        outcome => outcome.unwrap(),
                    }
                }
            }
            Step::Others(segments) => {
                self.space.others.store(0, Ordering::SeqCst);
                let taken = self.space.left().min(segments * SMALL as u64);
                self.space.others.store(taken, Ordering::SeqCst);
                self.upkeep();
            }
            Step::Restart { loses_index } => {
                self.store = None;
                if loses_index {
                    lose_index(self.directory.path());
                }
                self.open();
                self.assert_held();
            }
            Step::Settle => self.settle(),
        }
    }

    /// All that is held can be read, and is what the log says.
    fn assert_held(&self) {
        for author in &self.writers {
            assert_eq!(log(self.store(), author), author.log);
            held(self.store(), author);
        }
    }

    /// When all is deleted there is room again.
    fn assert_heals(&mut self) {
        for writer in 0..WRITERS {
            self.run(&Step::Delete { writer });
        }
        self.run(&Step::Others(0));
        self.settle();
        assert!(self.room, "{:?}", self.store().writer());
    }
}

#[test]
fn what_can_be_freed_is_freed_and_nothing_is_lost() {
    let cases = std::env::var("PROPTEST_CASES").map_or(20, |cases| cases.parse().unwrap());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let steps = proptest::collection::vec(step(), 1..30);
    let outcome = TestRunner::new_with_rng(config, rng).run(&steps, |steps| {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.settle();
        model.assert_held();
        model.assert_heals();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Two topics fill a disk. One of them has a share of each part and is deleted.
#[test]
fn any_share_of_a_full_disk_comes_back() {
    for share in [1, 2, 4, 6, 9] {
        let mut model = Model::new();
        model.run(&Step::Fill { shares: [share, 10 - share, 0], bytes: 1_000 });
        model.settle();
        assert!(!model.room, "{share} of 10");
        let free = |model: &Model| model.store().writer().usage.values().sum::<u64>();
        let before = free(&model);
        model.run(&Step::Delete { writer: 0 });
        model.settle();
        assert!(model.room, "{share} of 10: {before} bytes, then {}", free(&model));
        model.assert_held();
    }
}
