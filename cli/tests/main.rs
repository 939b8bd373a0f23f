//! The command as its users meet it: processes, their output and their exit status.

mod cluster;

mod admins;
mod archives;
mod benchmark;
mod clients;
#[cfg(target_os = "linux")]
mod clocks;
mod closed;
mod compaction;
mod data;
mod discovery;
mod displaced;
mod documents;
mod failures;
mod groups;
mod identities;
mod joining;
mod members;
mod migration;
mod multicast;
mod networks;
mod nodes;
mod operator;
mod outbox;
mod patterns;
mod pipes;
mod publishing;
mod reading;
mod removals;
mod retried;
mod rights;
mod separated;
mod terminal;
mod terms;
mod texts;
mod usage;
mod visitors;
