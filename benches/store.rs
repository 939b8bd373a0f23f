//! How fast batches become durable: groups of writes, committed to segments and flushed.
//!
//! `cargo bench -p antiphon-node --bench store`; `SPEED_DIR` says on which disk.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::print_stdout, reason = "the figures are for a reader")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails says where")]

#[expect(dead_code, unused_imports, reason = "the node uses all of it")]
#[path = "../node/src/store/mod.rs"]
mod store;

/// What the store uses of the platform.
mod platform {
    pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
        std::array::from_fn(|_| fastrand::u8(..))
    }
}

use std::{path::PathBuf, time::Instant};

use antiphon::{
    engine::{Log, Write},
    model::{
        Draft, Incarnation, NodeKey, Previous, ProducerId, Record, Run, Stamp, TopicId, WallClock,
        encode_record,
    },
};
use store::{SegmentStore, Store};

/// Bytes of a record, records of a batch, batches of a group, groups.
const SHAPES: [(usize, usize, u32); 4] =
    [(256, 1, 400), (256, 512, 100), (64 * 1024, 16, 60), (1024 * 1024 - 2048, 4, 30)];

/// One writer's log in one topic.
struct Author {
    key: NodeKey,
    topic: TopicId,
    log: Log,
    last: Option<Previous>,
}

impl Author {
    /// The write that stores the next batch, of one record of noise.
    fn append(&mut self, bytes: usize) -> Write {
        let payload: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), payload), &mut body).unwrap();
        let (first, incarnation) = (self.last.map_or(0, |last| last.next), Incarnation(5));
        let draft = Draft {
            topic: self.topic,
            incarnation,
            previous: self.last,
            stamp: Stamp::at(WallClock(first)),
            runs: vec![Run { producer: ProducerId([4; 16]), first, count: 1 }],
        };
        let batch = draft.seal(&body.into(), &self.key);
        let next = batch.header().next();
        self.last = Some(Previous { incarnation, next, hash: batch.hash() });
        self.log.add(&batch).unwrap();
        Write::Append { batch, log: self.log.clone() }
    }
}

fn main() {
    let parent = std::env::var_os("SPEED_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let (topic, catalogue) = (TopicId::from_bytes([7; 32]), TopicId::from_bytes([8; 32]));
    for (bytes, group, groups) in SHAPES {
        let directory = tempfile::tempdir_in(&parent).unwrap();
        let store = SegmentStore::open(directory.path(), catalogue, None).unwrap();
        let key = NodeKey::from_secret(&[1; 32]);
        let mut author = Author { key, topic, log: Log::default(), last: None };
        let mut spent = Vec::new();
        for _ in 0..groups {
            let writes: Vec<_> = (0..group).map(|_| author.append(bytes)).collect();
            let begin = Instant::now();
            store.commit(&writes).unwrap();
            spent.push(begin.elapsed());
        }
        let total: f64 = spent.iter().map(std::time::Duration::as_secs_f64).sum();
        spent.sort();
        let batches = f64::from(groups) * f64::from(u32::try_from(group).unwrap());
        let megabytes = batches * f64::from(u32::try_from(bytes).unwrap()) / 1e6;
        println!(
            "{bytes:>8} bytes, groups of {group:>3}: {:>9.0} batches/s, {:>7.1} MB/s, a commit \
             {:.2} ms (median), {:.2} ms (99 %)",
            batches / total,
            megabytes / total,
            spent[spent.len() / 2].as_secs_f64() * 1e3,
            spent[spent.len() * 99 / 100].as_secs_f64() * 1e3,
        );
    }
}
