//! Processes whose clocks are wrong: by a library that is loaded before all others and moves what
//! they read.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;

use crate::cluster::{Cluster, SOON, eventually};

/// Time for a few sweeps, ten seconds apart, on a busy machine.
const A_FEW_SWEEPS: Duration = Duration::from_mins(2);

const YEAR: i64 = 365 * 86_400;

const TEN_DAYS_BEHIND: i64 = -10 * 86_400_000;

/// Reads how many milliseconds the clock is ahead from a file that others may change meanwhile.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) ahead = map;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && ahead) time->tv_sec += *ahead / 1000;
    return result;
}
"#;

/// Makes the library; none where there is no compiler.
fn library(directory: &Path) -> Option<std::path::PathBuf> {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    fs_err::write(&source, LIBRARY).expect("the directory has room");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}

/// A node alone, whose clock is ahead by seconds; none where that cannot be done here.
fn started(directory: &Path, ahead: i64) -> Option<Cluster> {
    let Some(library) = library(directory).filter(|_| cfg!(target_env = "gnu")) else {
        #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
        {
            eprintln!("left out: no C compiler, or a library cannot be loaded before others");
        }
        return None;
    };
    Some(Cluster::start_with_clocks(library, ahead * 1000))
}

fn publish(cluster: &Cluster, node: usize, records: &[(&str, &str)]) {
    for (key, value) in records {
        cluster.run(node, &["publish", "t", value, "--key", key]).ok();
    }
}

fn fetched(cluster: &Cluster, node: usize, more: &[&str]) -> Vec<String> {
    let words = [&["fetch", "t", "--json"], more].concat();
    let records = cluster.run(node, &words).ok().objects();
    records.iter().map(|record| record["payload"].as_str().expect("a text").to_owned()).collect()
}

fn offset(cluster: &Cluster, node: usize, of: usize) -> Option<i64> {
    let peers = cluster.run(node, &["peers", "--json"]).ok().objects();
    let is_it = |peer: &&Value| peer["peer"] == cluster.node(of).peer.as_str();
    peers.iter().find(is_it)?["clock_offset_ms"].as_i64()
}

#[test]
fn a_clock_that_was_a_year_ahead_for_a_moment_costs_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut cluster) = started(directory.path(), YEAR) else { return };
    let terms = ["--compact", "--replicas", "3", "--min-copies", "1"];
    cluster.run(0, &[&["create", "t"][..], &terms].concat()).ok();
    publish(&cluster, 0, &[("k", "old")]);
    cluster.set_clock(0, 0);
    cluster.add();
    cluster.add();
    cluster.wait_until_alive(3);
    cluster.wait_until_complete(1, "t", 3, SOON);
    publish(&cluster, 1, &[("k", "new"), ("o", "1"), ("o", "2"), ("o", "3"), ("o", "4")]);
    for node in 0..3 {
        eventually("what is older of the other key is gone", A_FEW_SWEEPS, || {
            (!fetched(&cluster, node, &[]).contains(&"2".to_owned())).then_some(())
        });
        assert_eq!(fetched(&cluster, node, &[]), ["old", "new", "4"]);
        assert_eq!(fetched(&cluster, node, &["--from", "-2"]), ["new", "4"]);
    }
    let log = cluster.said(1) + &cluster.said(2);
    assert!(log.contains("stamped in the future"), "{log}");
}

#[test]
fn a_node_whose_clock_is_wrong_goes_by_those_of_the_others_and_all_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut cluster) = started(directory.path(), 0) else { return };
    cluster.add();
    cluster.add();
    cluster.wait_until_alive(3);
    cluster.run(0, &["create", "t", "--replicas", "3"]).ok();
    cluster.set_clock(2, TEN_DAYS_BEHIND);
    publish(&cluster, 2, &[("k", "1")]);
    publish(&cluster, 1, &[("k", "2")]);
    publish(&cluster, 2, &[("k", "3")]);
    publish(&cluster, 0, &[("k", "4")]);
    publish(&cluster, 2, &[("k", "5")]);
    let expected = ["1", "2", "3", "4", "5"];
    assert!((0..3).all(|node| fetched(&cluster, node, &[]) == expected));
    for (node, text) in [
        (0, "the clock of a node is off"),
        (1, "the clock of a node is off"),
        (2, "the clock of this machine is off"),
    ] {
        eventually("the node says so", A_FEW_SWEEPS, || {
            let told = offset(&cluster, node, 2)?;
            let is_near = (told - TEN_DAYS_BEHIND).abs() < 5_000;
            (is_near && cluster.said(node).contains(text)).then_some(())
        });
        assert!(cluster.said(node).contains("10 days behind"), "{}", cluster.said(node));
        let right = offset(&cluster, node, 1).expect("it was measured");
        assert!(right.abs() < 5_000, "{right}");
    }
    let table = cluster.run(0, &["peers"]).ok();
    assert!(String::from_utf8_lossy(&table.stdout).contains("-10d"), "{table:?}");
}
