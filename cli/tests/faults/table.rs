//! What a suite of real processes says: lines as it goes on, and a table for the documentation.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::cluster::now;

/// The file with the table, if one is wanted, and the times of what ran.
pub(crate) struct Table {
    path: Option<PathBuf>,
    started: Instant,
    since: Instant,
}

impl Table {
    /// The file that an environment variable names, as seen from the root of the repository.
    pub(crate) fn open(variable: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = std::env::var_os(variable).map(|path| root.join(path));
        Self { path, started: now(), since: now() }
    }

    /// Something begins.
    pub(crate) fn begin(&mut self, what: fmt::Arguments<'_>) {
        self.since = now();
        say(format_args!("{what} …"));
    }

    /// How long it took.
    pub(crate) fn took(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long all took.
    pub(crate) fn took_in_all(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes the table: a head, a row for each name, and what the rows come to. Rows of what was
    /// not run now are kept from before.
    pub(crate) fn write<'a>(
        &self,
        head: &str,
        names: impl Iterator<Item = &'a str>,
        cells: impl Fn(&str) -> Option<String>,
        foot: impl Fn(&[String]) -> String,
    ) {
        let Some(path) = &self.path else { return };
        let before = fs_err::read_to_string(path).unwrap_or_default();
        let mut rows = Vec::new();
        for name in names {
            let start = format!("| {name} |");
            let old = || before.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
            rows.extend(cells(name).map(|cells| format!("{start} {cells} |")).or_else(old));
        }
        let text = format!("{head}{}\n\n{}\n", rows.join("\n"), foot(&rows));
        fs_err::write(path, text).expect("the report can be written");
    }
}

/// Says what must not have been, below the line of what ran.
pub(crate) fn say_problems(problems: &[String]) {
    for problem in problems {
        say(format_args!("  problem: {problem}"));
    }
}

/// Names what failed; how the suite ends.
pub(crate) fn end(failed: &[&str]) -> ExitCode {
    for name in failed {
        say(format_args!("failed: {name}"));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The cell that says what happened, and what must not have.
pub(crate) fn happened(text: &str, problems: &[String]) -> String {
    let problems = problems.iter().map(|problem| format!("; **{}**", tidy(problem)));
    tidy(text) + &problems.collect::<String>()
}

/// A cell of a table has one line and no bar.
pub(crate) fn tidy(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    #[expect(clippy::print_stdout, reason = "this is what the suite has to say")]
    {
        println!("{line}");
    }
}
