//! Clusters of engines in one process: the code of production, in the world of the simulation, by
//! scripts. `TRACE=1` prints what happens in a test.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]
#![expect(clippy::print_stderr, reason = "the trace of a test is for a reader")]

mod script;
mod terms;
#[expect(dead_code, reason = "shared with the simulation, which uses all of it")]
#[path = "../world/mod.rs"]
mod world;

mod catalogue;
mod clocks;
mod compaction;
mod damage;
mod deletion;
mod failure;
mod floor;
mod forks;
mod groups;
mod growth;
mod holes;
mod imports;
mod leave;
mod lives;
mod many;
mod needs;
mod newcomers;
mod order;
mod outbox;
mod publish;
mod read;
mod regressions;
mod retention;
mod retried;
mod subscriptions;
