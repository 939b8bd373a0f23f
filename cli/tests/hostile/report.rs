//! What the suite says: a line for each strategy, a summary, and the table for the documentation.

use std::{process::ExitCode, time::Duration};

pub(crate) use crate::table::say;
use crate::{
    cluster, strategies,
    table::{self, Table},
};

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
    /// Time from a publish until the subscriber has the record.
    pub(crate) live_p99: Duration,
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
    table: Table,
    rows: Vec<(&'static str, Row)>,
}

impl Report {
    pub(crate) fn open() -> Self {
        Self { table: Table::open(REPORT_VARIABLE), rows: Vec::new() }
    }

    pub(crate) fn begin(&mut self, name: &str) {
        self.table.begin(format_args!("attack {name}"));
    }

    pub(crate) fn end(&mut self, name: &'static str, row: Row) {
        let took = self.table.took();
        let mark = if row.problems.is_empty() { "ok" } else { "FAILED" };
        say(format_args!("attack {name}: {mark} in {took:.1?}: {}", cells(&row)));
        table::say_problems(&row.problems);
        self.rows.push((name, row));
        self.write();
    }

    pub(crate) fn summary(&self) -> ExitCode {
        let failed = self.rows.iter().filter(|(_, row)| !row.problems.is_empty());
        let failed: Vec<_> = failed.map(|(name, _)| *name).collect();
        let (all, took) = (self.rows.len(), self.table.took_in_all());
        say(format_args!("attacks: {all}, {} failed, in {took:.0?}", failed.len()));
        table::end(&failed)
    }

    fn write(&self) {
        let names = strategies::ALL.iter().map(|(name, _)| *name);
        let cells_of = |name: &str| {
            let row = self.rows.iter().find(|(ran, _)| *ran == name);
            row.map(|(_, row)| cells(row))
        };
        let head = HEAD.replace("NODES", &nodes());
        self.table.write(&head, names, cells_of, |rows| format!("{} attacks.", rows.len()));
    }
}

/// What the nodes are.
fn nodes() -> String {
    match cluster::named_program() {
        Some(program) => format!("The nodes are the\nprogram `{program}`, as people run it."),
        None => {
            "The nodes are debug\nbuilds, which check themselves as they go: those that people \
                 run are several times as fast."
                .to_owned()
        }
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
limit for each address tells them apart. Afterwards every node is read. NODES

An attack fails the suite in these cases:

- A process ends, or takes more than 256 MiB of memory.
- A record is lost that was acknowledged.
- Honest publishers or newcomers are not served, or an honest node cannot join.
- Nodes dial a third party more often than
  [askers](design/askers.md#what-others-say-of-nodes) allow.

Times depend on the machine, and fail nothing. They are given as before / during / after the
attack; after begins 10 seconds after its end. The row `cores-shared` shows what sharing the cores
costs alone.

- *p50*, *p99* and *longest* are times from a publish to its acknowledgement.
- *Live p99* is the time from a publish until the subscriber has the record.
- *Acknowledged* are honest records for each second of the attack.
- *Newcomers* are those that were served and turned away during the attack, and the slowest one.
- *Memory* is the largest of a node, before the attack and in all.
- *Log* is how much the node wrote that wrote most.

| attack | what happened | p50 | p99 | longest | live p99 | acknowledged | newcomers | memory | log | lost |
|---|---|---|---|---|---|---|---|---|---|---|
";

fn cells(row: &Row) -> String {
    let windows = [&row.quiet, &row.during, &row.after];
    let times = |of: fn(&Window) -> Duration| {
        let times = windows.map(|window| format!("{:.1}", of(window).as_secs_f64() * 1_000.0));
        format!("{} ms", times.join(" / "))
    };
    let during = &row.during;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = during.acknowledged as f64 / during.seconds.max(0.1);
    format!(
        "{} | {} | {} | {} | {} | {rate:.0}/s | {} / {}, {:.0} ms | {} / {} MB | {} kB | {}",
        table::happened(&row.happened, &row.problems),
        times(|window| window.middle),
        times(|window| window.p99),
        times(|window| window.longest),
        times(|window| window.live_p99),
        during.newcomers,
        during.turned_away,
        during.slowest_newcomer.as_secs_f64() * 1_000.0,
        row.quiet_memory / 1_000_000,
        row.peak_memory / 1_000_000,
        row.logged / 1_000,
        row.lost
    )
}
