//! Clusters of engines in one process: the code of production, with a network, disks and a
//! clock that the test holds.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod disk;
mod shelf;
mod world;

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
mod newcomers;
mod order;
mod outbox;
mod publish;
mod read;
mod regressions;
mod retention;
mod retried;
mod subscriptions;
