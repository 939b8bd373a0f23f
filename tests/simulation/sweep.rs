//! Many runs, and what to say of them.

use std::{
    collections::BTreeMap,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::world::{
    Counts,
    choices::Choices,
    run::{Outcome, run},
};

/// Seeds of an ordinary test.
const SEEDS: u64 = 40;

/// Seeds between two lines of progress, at most.
const PROGRESS_MAX: u64 = 500;

/// The first seed.
const FIRST: u64 = 1;

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs a seed; what is wrong, if anything is.
pub(crate) fn run_seed(seed: u64, verbose: bool) -> Result<Outcome, String> {
    judged(|| run(Choices::of_seed(seed), verbose))
}

/// What is wrong with a run, if anything is.
pub(crate) fn judged(run: impl FnOnce() -> Outcome) -> Result<Outcome, String> {
    let ran = catch_unwind(AssertUnwindSafe(run));
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return Err(format!("panics: {}", text.unwrap_or_default()));
        }
    };
    match &outcome.violation {
        None => Ok(outcome),
        Some(violation) => {
            let (invariant, reason, at) = (violation.invariant, &violation.reason, violation.at);
            Err(format!("{invariant}, after {:.1} s: {reason}", at.as_secs_f64()))
        }
    }
}

fn reproduce(suite: &str, seed: u64) -> String {
    format!(
        "SEED={seed} cargo test --profile sim -p antiphon --test simulation {suite}::one_seed -- \
         --nocapture"
    )
}

#[derive(Default)]
struct Total {
    seeds: u64,
    counts: Counts,
    failures: BTreeMap<u64, String>,
}

impl Total {
    fn add(&mut self, suite: &str, seed: u64, result: Result<Outcome, String>) {
        self.seeds += 1;
        match result {
            Ok(outcome) => self.counts.add(&outcome.counts),
            Err(reason) => {
                eprintln!("seed {seed}: {reason}\n  {}", reproduce(suite, seed));
                self.failures.insert(seed, reason);
            }
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.simulated += other.simulated;
        self.publishes += other.publishes;
        self.records_published += other.records_published;
        self.duplicates += other.duplicates;
        self.compacted += other.compacted;
        self.published_again += other.published_again;
        self.records_acknowledged += other.records_acknowledged;
        self.records_read += other.records_read;
        self.pending += other.pending;
        self.commits += other.commits;
        self.altered += other.altered;
        self.copies_destroyed += other.copies_destroyed;
        self.records_destroyed += other.records_destroyed;
        self.unfiled += other.unfiled;
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
    }
}

/// Prints a line after every tenth part of a sweep, also where the test's output is captured.
fn tell_progress(done: u64, seeds: u64) {
    if done.is_multiple_of((seeds / 10).clamp(1, PROGRESS_MAX)) {
        // A closed standard error fails no test.
        let _ = writeln!(std::io::stderr(), "simulation: {done} of {seeds} seeds");
    }
}

fn tell(total: &Total) {
    let counts = &total.counts;
    let hours = Duration::as_secs_f64(&counts.simulated) / 3_600.0;
    eprintln!("seeds                  {}", total.seeds);
    eprintln!("failures               {}", total.failures.len());
    eprintln!("steps                  {}", counts.steps);
    eprintln!("simulated hours        {hours:.1}");
    eprintln!("publishes              {}", counts.publishes);
    eprintln!("records published      {}", counts.records_published);
    eprintln!("answers `duplicate`    {}", counts.duplicates);
    eprintln!("records compacted      {}", counts.compacted);
    eprintln!("published again        {}", counts.published_again);
    eprintln!("records acknowledged   {}", counts.records_acknowledged);
    eprintln!("records read           {}", counts.records_read);
    eprintln!("answers `pending`      {}", counts.pending);
    eprintln!("positions committed    {}", counts.commits);
    eprintln!("terms altered          {}", counts.altered);
    eprintln!("copies destroyed       {}", counts.copies_destroyed);
    eprintln!(
        "acknowledged records that are nowhere, after faults took as many copies as were counted: {}",
        counts.records_destroyed
    );
    eprintln!("forked logs not filed yet when time was over: {}", counts.unfiled);
    for (name, count) in &counts.faults {
        eprintln!("  {name:<39}{count}");
    }
}

#[test]
fn sweep() {
    sweep_over("sweep", run_seed);
}

/// Runs as many seeds as are wanted, and tells what came of them.
pub(crate) fn sweep_over(
    suite: &str,
    run_seed: impl Fn(u64, bool) -> Result<Outcome, String> + Sync,
) {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let first = number("FIRST").unwrap_or(FIRST);
    let next = AtomicU64::new(first);
    let total = std::sync::Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let result = run_seed(seed, false);
                    let mut total = total.lock().unwrap();
                    total.add(suite, seed, result);
                    tell_progress(total.seeds, seeds);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    tell(&total);
    let first = total.failures.first_key_value();
    if let Some((seed, reason)) = first {
        panic!("seed {seed}: {reason}\nagain, with its trace: {}", reproduce(suite, *seed));
    }
}

#[test]
fn one_seed() {
    let seed = number("SEED");
    let result = run_seed(seed.unwrap_or(FIRST), seed.is_some());
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    for seed in [3, 4] {
        let one = run(Choices::of_seed(seed), false);
        let two = run(Choices::of_seed(seed), false);
        assert_eq!((one.trace, one.counts.steps), (two.trace, two.counts.steps));
    }
}

#[test]
fn bytes_that_run_out_end_a_run_quietly() {
    let outcome = run(Choices::of_bytes(&[7, 1, 200, 31]), false);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
