//! The commands of documents that do not simply run to their end with some output.

/// How a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// To its end, which is exit status 0 and some output.
    Whole,
    /// Not at all.
    NotHere,
    /// It starts the nodes of the cluster.
    Nodes,
    /// Until its first line of output; then it is stopped with Ctrl-C.
    Endless,
    /// As that, where its first line is on standard error.
    EndlessQuiet,
    /// To its end, with output or without.
    Quiet,
    /// With `--yes`, for it asks on a terminal.
    Confirmed,
    /// While two of three nodes are stopped, to this exit status.
    CutOff(i32),
}

/// A command, or the beginning of several, and how it is run.
#[derive(Debug)]
pub(super) struct Entry {
    document: &'static str,
    command: &'static str,
    pub(super) treatment: Treatment,
    #[expect(dead_code, reason = "for readers of the table, and of a failure")]
    reason: &'static str,
}

const fn entry_of(
    document: &'static str,
    command: &'static str,
    treatment: Treatment,
    reason: &'static str,
) -> Entry {
    Entry { document, command, treatment, reason }
}

const README: &str = "README.md";
const TOPICS: &str = "docs/topics.md";
const CLOSED: &str = "docs/closed-networks.md";

#[rustfmt::skip]
pub(super) static TABLE: &[Entry] = &[
    entry_of(CLOSED, "antiphon network ", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(CLOSED, "(umask 077; antiphon network ", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(CLOSED, "antiphon join ", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(CLOSED, "antiphon subscribe 'sensors.>'", Treatment::NotHere, "of several machines; see `identities.rs`"),
    entry_of(CLOSED, "antiphon node --network lab", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(README, "antiphon network ", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(README, "antiphon node --network lab", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(README, "antiphon join TICKET", Treatment::NotHere, "of several machines; see `networks.rs`"),
    entry_of(README, "cargo run ", Treatment::NotHere, "a release build; a step of CI"),
    entry_of(README, "cargo test ", Treatment::NotHere, "it runs this test"),
    entry_of(README, "antiphon node --data ./data-1", Treatment::Nodes, "once for each node"),
    entry_of(README, "antiphon subscribe quakes --", Treatment::Endless, "it follows the topic"),
    entry_of(README, "antiphon subscribe 'quakes.>'", Treatment::EndlessQuiet, "there is no such topic yet"),
    entry_of(README, "antiphon node leave", Treatment::NotHere, "it ends a node; see `members.rs`"),
    entry_of(README, "antiphon node forget PEER", Treatment::NotHere, "no node is lost; see `members.rs`"),
    entry_of(README, "antiphon shell", Treatment::Quiet, "it reads an empty input"),
    entry_of(README, "antiphon bench", Treatment::NotHere, "half a minute of load; see `benchmark.rs`"),
    entry_of(TOPICS, "antiphon fetch quakes --from @2026-11-22T10:00", Treatment::Quiet, "records have the time at which the test published them"),
    entry_of(TOPICS, "antiphon fetch quakes --from CURSOR --to CURSOR", Treatment::Quiet, "both are the same here"),
    entry_of(TOPICS, "antiphon subscribe quakes", Treatment::Endless, "it follows the topic"),
    entry_of(TOPICS, "antiphon subscribe quakes --from end", Treatment::EndlessQuiet, "nothing is published meanwhile"),
    entry_of(TOPICS, "antiphon subscribe quakes --as alice --to end", Treatment::Quiet, "alice may have seen all"),
    entry_of(TOPICS, "antiphon subscribe quakes -n 100", Treatment::Whole, "it ends by itself"),
    entry_of(TOPICS, "antiphon subscribe quakes --group alarms", Treatment::EndlessQuiet, "the first member may have done all"),
    entry_of(TOPICS, "antiphon subscribe quakes --group alarms --format", Treatment::Endless, "it follows the topic"),
    entry_of(TOPICS, "antiphon subscribe 'quakes.", Treatment::Endless, "it follows the topics"),
    entry_of(TOPICS, "antiphon subscribe 'quakes.*' --to end", Treatment::Whole, "it ends by itself"),
    entry_of(TOPICS, "antiphon publish quakes --timeout 1s", Treatment::CutOff(3), "one of three copies"),
    entry_of(TOPICS, "antiphon outbox", Treatment::CutOff(0), "it shows what is pending"),
    entry_of(TOPICS, "antiphon outbox --wait", Treatment::Quiet, "nothing may be pending any more"),
    entry_of(TOPICS, "antiphon topic delete quakes", Treatment::Confirmed, "it asks on a terminal"),
    entry_of(TOPICS, "antiphon topic delete quakes --yes", Treatment::NotHere, "the line before has deleted it"),
    entry_of("docs/faults.md", "make faults", Treatment::NotHere, "a quarter of an hour; a step of CI"),
    entry_of("docs/hostile.md", "make hostile", Treatment::NotHere, "minutes; a step of CI"),
    entry_of("docs/performance.md", "antiphon bench", Treatment::NotHere, "half a minute of load; see `benchmark.rs`"),
    entry_of("docs/performance.md", "benches/compare/run", Treatment::NotHere, "it installs other systems; a step of CI"),
];

/// The entry for a command: of those that it begins with, the longest.
pub(super) fn entry(document: &str, command: &str) -> Option<&'static Entry> {
    let fits = |entry: &&Entry| entry.document == document && command.starts_with(entry.command);
    TABLE.iter().filter(fits).max_by_key(|entry| entry.command.len())
}

/// How a command is run.
pub(super) fn treatment(document: &str, command: &str) -> Treatment {
    entry(document, command).map_or(Treatment::Whole, |entry| entry.treatment)
}
