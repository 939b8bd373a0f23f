//! What the suite says: a line for each strategy, a summary, and the table for the documentation.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{cluster::now, strategies};

/// Names the file for the table.
const REPORT_VARIABLE: &str = "ANTIPHON_HOSTILE_REPORT";

/// What honest programs saw in some time.
#[derive(Debug, Default, Clone)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) acknowledged: usize,
    /// Times from a publish to its acknowledgement.
    pub(crate) middle: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
    /// Newcomers that were served, and those that were not.
    pub(crate) newcomers: usize,
    pub(crate) turned_away: usize,
    pub(crate) slowest_newcomer: Duration,
}

/// What a strategy showed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Row {
    pub(crate) happened: String,
    pub(crate) quiet: Window,
    pub(crate) during: Window,
    pub(crate) after: Window,
    /// The largest resident memory of a node, before the attack and in all.
    pub(crate) quiet_memory: u64,
    pub(crate) peak_memory: u64,
    /// The largest log of a node, in bytes.
    pub(crate) logged: u64,
    pub(crate) lost: usize,
    /// What must not be.
    pub(crate) problems: Vec<String>,
}

impl Row {
    /// A strategy that did not come to its end.
    pub(crate) fn broken(cause: &str) -> Self {
        Self { problems: vec![cause.to_owned()], ..Self::default() }
    }
}

pub(crate) struct Report {
    started: Instant,
    path: Option<PathBuf>,
    rows: Vec<(&'static str, Row)>,
    since: Instant,
}

impl Report {
    pub(crate) fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = std::env::var_os(REPORT_VARIABLE).map(|path| root.join(path));
        Self { started: now(), path, rows: Vec::new(), since: now() }
    }

    pub(crate) fn begin(&mut self, name: &str) {
        self.since = now();
        say(format_args!("attack {name} …"));
    }

    pub(crate) fn end(&mut self, name: &'static str, row: Row) {
        let took = self.since.elapsed();
        let mark = if row.problems.is_empty() { "ok" } else { "FAILED" };
        say(format_args!("attack {name}: {mark} in {took:.1?}: {}", cells(&row)));
        for problem in &row.problems {
            say(format_args!("  problem: {problem}"));
        }
        self.rows.push((name, row));
        self.write();
    }

    pub(crate) fn summary(&self) -> ExitCode {
        let failed = self.rows.iter().filter(|(_, row)| !row.problems.is_empty());
        let failed: Vec<_> = failed.map(|(name, _)| *name).collect();
        let (all, took) = (self.rows.len(), self.started.elapsed());
        say(format_args!("attacks: {all}, {} failed, in {took:.0?}", failed.len()));
        for name in &failed {
            say(format_args!("failed: {name}"));
        }
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Writes the table; rows of strategies that were not run now are kept from before.
    fn write(&self) {
        let Some(path) = &self.path else { return };
        let before = fs_err::read_to_string(path).unwrap_or_default();
        let mut rows = Vec::new();
        for (name, _) in strategies::ALL {
            let head = format!("| {name} |");
            let new = self.rows.iter().find(|(ran, _)| ran == name);
            let new = new.map(|(_, row)| format!("{head} {} |", cells(row)));
            let old = || before.lines().find(|line| line.starts_with(&head)).map(str::to_owned);
            rows.extend(new.or_else(old));
        }
        let text = format!("{HEAD}{}\n\n{} attacks.\n", rows.join("\n"), rows.len());
        fs_err::write(path, text).expect("the report can be written");
    }
}

const HEAD: &str = "\
# Hostile peers

Written by the hostile suite itself; do not edit:

```sh
make hostile
```

Each attack is a libp2p program of its own with fresh keys and raw frames. It attacks four real
`antiphon node` processes on one machine of two cores, which it shares with them. Meanwhile an
honest publisher sends 500 records a second to the first node, a subscriber follows at the second,
and newcomers connect to the first one and ask for the topic. All have the same address, so no
limit for each address tells them apart. Afterwards every node is read. The nodes are debug builds,
which check themselves as they go: those that people run are several times as fast.

An attack fails the suite in these cases:

- A process ends, or takes more than 256 MiB of memory.
- A record is lost that was acknowledged.
- Honest publishers or newcomers are not served, or an honest node cannot join.
- Nodes dial a third party more often than
  [askers](design/askers.md#what-others-say-of-nodes) allow.

Times depend on the machine, and fail nothing. They are times from a publish to its
acknowledgement: before / during / after the attack.

- *Acknowledged* are honest records for each second of the attack.
- *Newcomers* are those that were served and turned away during the attack, and the slowest one.
- *Memory* is the largest of a node, before the attack and in all.
- *Log* is how much the node wrote that wrote most.

| attack | what happened | p50 | p99 | longest | acknowledged | newcomers | memory | log | lost |
|---|---|---|---|---|---|---|---|---|---|
";

fn cells(row: &Row) -> String {
    let mut happened = tidy(&row.happened);
    for problem in &row.problems {
        happened.push_str("; **");
        happened.push_str(&tidy(problem));
        happened.push_str("**");
    }
    let windows = [&row.quiet, &row.during, &row.after];
    let times = |of: fn(&Window) -> Duration| {
        let times = windows.map(|window| format!("{:.1}", of(window).as_secs_f64() * 1_000.0));
        format!("{} ms", times.join(" / "))
    };
    let during = &row.during;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = during.acknowledged as f64 / during.seconds.max(0.1);
    format!(
        "{happened} | {} | {} | {} | {rate:.0}/s | {} / {}, {:.0} ms | {} / {} MB | {} kB | {}",
        times(|window| window.middle),
        times(|window| window.p99),
        times(|window| window.longest),
        during.newcomers,
        during.turned_away,
        during.slowest_newcomer.as_secs_f64() * 1_000.0,
        row.quiet_memory / 1_000_000,
        row.peak_memory / 1_000_000,
        row.logged / 1_000,
        row.lost
    )
}

/// A cell of a table has one line and no bar.
fn tidy(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    #[expect(clippy::print_stdout, reason = "this is what the suite has to say")]
    {
        println!("{line}");
    }
}
