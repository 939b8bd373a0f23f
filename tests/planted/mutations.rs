//! The simulation must prove itself: each planted bug is found within a number of seeds.
//!
//! A part of the tests of the simulation in the copy that `tests/planted/run` makes.

use antiphon::planted::{Bug, plant};

use crate::{adversary, closed, sweep};

/// Seeds within which every bug must be found.
const SEEDS_MAX: u64 = 1_500;

/// How many seeds it takes to find a bug, and what is found.
fn seeds_to_find(bug: Bug) -> Option<(u64, String)> {
    plant(Some(bug));
    let run_seed = match bug {
        _ if bug.needs_liars() => adversary::run_seed,
        _ if bug.needs_a_roster() => closed::run_seed,
        _ => sweep::run_seed,
    };
    let found = (1..=SEEDS_MAX).find_map(|seed| Some((seed, run_seed(seed, false).err()?)));
    plant(None);
    found
}

#[test]
fn each_planted_bug_is_found() {
    // What a panic says is part of what is found; it need not be printed for each.
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("BUG").ok();
    let is_wanted = |bug: &&Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    let bugs: Vec<Bug> = Bug::ALL.iter().filter(is_wanted).copied().collect();
    assert!(!bugs.is_empty(), "there is no bug of this name: {only:?}");
    let next = std::sync::atomic::AtomicUsize::new(0);
    let rows = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(bug) =
                    bugs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let found = seeds_to_find(*bug);
                    let row = match &found {
                        Some((seeds, reason)) => {
                            let reason: String = reason.chars().take(110).collect();
                            format!("{bug:?}: {seeds} seeds; {reason}")
                        }
                        None => format!("{bug:?}: NOT FOUND in {SEEDS_MAX} seeds"),
                    };
                    eprintln!("{row}");
                    rows.lock().unwrap().push((*bug, found.is_some()));
                }
            });
        }
    });
    let _hook = std::panic::take_hook();
    let rows = rows.into_inner().unwrap();
    let missed: Vec<_> = rows.iter().filter(|(_, found)| !found).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
