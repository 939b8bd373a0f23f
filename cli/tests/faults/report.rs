//! What the suite says: a line per scenario, a summary, and the table for the documentation.

use std::{process::ExitCode, time::Duration};

pub(crate) use crate::table::say;
use crate::{
    scenarios,
    table::{self, Table},
};

/// Names the file for the table.
const REPORT_VARIABLE: &str = "ANTIPHON_FAULTS_REPORT";

/// What came of a scenario.
pub(crate) enum Outcome {
    Ran(Row),
    /// Why this machine cannot do it.
    Skipped(String),
}

impl From<Result<Row, String>> for Outcome {
    fn from(result: Result<Row, String>) -> Self {
        result.map_or_else(Self::Skipped, Self::Ran)
    }
}

/// What a scenario showed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Row {
    pub(crate) happened: String,
    pub(crate) acknowledged: usize,
    /// Published without a success: stored or not.
    pub(crate) unknown: usize,
    /// Acknowledged records that some reader did not get.
    pub(crate) lost: usize,
    /// Records that a reader got twice in one run.
    pub(crate) duplicates: usize,
    /// Longest time without an acknowledgement, at publishers of nodes that were left alone.
    pub(crate) pause: Duration,
    /// The same, at publishers whose own node had the fault.
    pub(crate) pause_there: Option<Duration>,
    /// What must not be.
    pub(crate) problems: Vec<String>,
}

impl Row {
    /// A scenario that did not come to its end.
    pub(crate) fn broken(cause: &str) -> Self {
        Self { problems: vec![cause.to_owned()], ..Self::default() }
    }
}

pub(crate) struct Report {
    table: Table,
    outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    pub(crate) fn open() -> Self {
        Self { table: Table::open(REPORT_VARIABLE), outcomes: Vec::new() }
    }

    pub(crate) fn begin(&mut self, name: &str) {
        self.table.begin(format_args!("fault {name}"));
    }

    pub(crate) fn end(&mut self, name: &'static str, outcome: Outcome) {
        let took = self.table.took();
        match &outcome {
            Outcome::Skipped(reason) => say(format_args!("fault {name}: skipped: {reason}")),
            Outcome::Ran(row) => {
                let mark = if row.problems.is_empty() { "ok" } else { "FAILED" };
                say(format_args!(
                    "fault {name}: {mark} in {took:.1?}: {} acknowledged, {} unknown, {} lost, {} \
                     duplicates, pause {}; {}",
                    row.acknowledged,
                    row.unknown,
                    row.lost,
                    row.duplicates,
                    pauses(row),
                    row.happened,
                ));
                table::say_problems(&row.problems);
            }
        }
        self.outcomes.push((name, outcome));
        self.write();
    }

    pub(crate) fn summary(&self) -> ExitCode {
        let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
        for (name, outcome) in &self.outcomes {
            match outcome {
                Outcome::Skipped(reason) => skipped.push(format!("{name} ({reason})")),
                Outcome::Ran(row) if row.problems.is_empty() => passed += 1,
                Outcome::Ran(_) => failed.push(*name),
            }
        }
        say(format_args!(
            "faults: {passed} passed, {} failed, {} skipped, in {:.0?}",
            failed.len(),
            skipped.len(),
            self.table.took_in_all()
        ));
        for name in &skipped {
            say(format_args!("skipped: {name}"));
        }
        table::end(&failed)
    }

    fn write(&self) {
        let names = scenarios::ALL.iter().chain(scenarios::KNOWN_TO_FAIL).map(|(name, _)| *name);
        let cells_of = |name: &str| {
            let outcome = self.outcomes.iter().find(|(ran, _)| *ran == name);
            outcome.map(|(_, outcome)| cells(outcome))
        };
        self.table.write(HEAD, names, cells_of, |rows| {
            let skipped = rows.iter().filter(|row| row.contains("| skipped: ")).count();
            format!("{} scenarios, {skipped} of them skipped.", rows.len())
        });
    }
}

const HEAD: &str = "\
# Faults

Written by the fault suite itself; do not edit:

```sh
make faults
```

Each scenario runs real `antiphon node` processes under four publishers and two subscribers. It
brings a real fault in the middle and heals it. Then it reads every node, and every home replica
once more while that is the only node. `antiphon topic verify` must find the same, complete, on all
their disks.

- *Acknowledged* are records whose publish succeeded.
- *Unknown* are those whose publisher got `pending` or an error.
- *Lost* is any acknowledged record that any reader did not get.
- *Duplicates* are records that a reader got twice within one run.
- *Pause* is the longest time without an acknowledgement: at publishers of nodes without a fault
  and, after the slash, at publishers whose own node had the fault.

| fault | what happened | acknowledged | unknown | lost | duplicates | longest pause |
|---|---|---|---|---|---|---|
";

fn cells(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Skipped(reason) => format!("skipped: {} | | | | |", table::tidy(reason)),
        Outcome::Ran(row) => format!(
            "{} | {} | {} | {} | {} | {}",
            table::happened(&row.happened, &row.problems),
            row.acknowledged,
            row.unknown,
            row.lost,
            row.duplicates,
            pauses(row)
        ),
    }
}

fn pauses(row: &Row) -> String {
    let seconds = |pause: Duration| format!("{:.2} s", pause.as_secs_f64());
    match row.pause_there {
        Some(there) => format!("{} / {}", seconds(row.pause), seconds(there)),
        None => seconds(row.pause),
    }
}
