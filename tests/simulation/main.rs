//! The deterministic simulation: many engines, the code of production, with a network, disks and
//! clocks that are played, in one thread, from one source of choices. See `docs/simulation.md`.
//!
//! `SEEDS=1000` sweeps over as many seeds; `SEED=7` runs one of them and tells all of it.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]
#![expect(
    clippy::print_stderr,
    reason = "what a sweep found, and the trace of a seed, is for a reader"
)]

mod adversary;
mod closed;
mod sweep;
#[path = "../world/mod.rs"]
mod world;
