//! How fast batches are made durable. A measurement and no test:
//!
//! ```sh
//! cargo nextest run -p antiphon-node --run-ignored only --no-capture speed
//! ```

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::{path::PathBuf, time::Instant};

use super::{
    SegmentStore, Store,
    samples::{Author, catalogue, topic},
};

/// Bytes of a record, records of a batch, batches of a group, groups.
const SHAPES: [(usize, usize, u32); 4] =
    [(256, 1, 400), (256, 512, 100), (64 * 1024, 16, 60), (1024 * 1024 - 2048, 4, 30)];

#[test]
#[ignore = "a measurement"]
fn commits() {
    let parent = std::env::var_os("SPEED_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    for (bytes, group, groups) in SHAPES {
        let directory = tempfile::tempdir_in(&parent).unwrap();
        let store = SegmentStore::open(directory.path(), catalogue(), None).unwrap();
        let mut author = Author::new(1, topic());
        let mut spent = Vec::new();
        for time in 0..groups {
            let writes: Vec<_> = (0..group)
                .map(|_| {
                    let batch = author.seal(time.into(), 1, bytes);
                    author.store(batch)
                })
                .collect();
            let begin = Instant::now();
            store.commit(&writes).unwrap();
            spent.push(begin.elapsed());
        }
        let total: f64 = spent.iter().map(std::time::Duration::as_secs_f64).sum();
        spent.sort();
        let batches = f64::from(groups) * f64::from(u32::try_from(group).unwrap());
        let megabytes = batches * f64::from(u32::try_from(bytes).unwrap()) / 1e6;
        eprintln!(
            "{bytes:>8} bytes, groups of {group:>3}: {:>9.0} batches/s, {:>7.1} MB/s, a commit {:.2} ms (median), {:.2} ms (99 %)",
            batches / total,
            megabytes / total,
            spent[spent.len() / 2].as_secs_f64() * 1e3,
            spent[spent.len() * 99 / 100].as_secs_f64() * 1e3,
        );
    }
}
