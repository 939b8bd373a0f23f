//! Real faults on clusters of real processes, under a load whose every acknowledgement is kept.
//!
//! `make faults`, or `cargo test -p antiphon-cli --test faults -- NAME…` for some of them.
//!
//! They take minutes and want root, `strace` and loop devices, so an ordinary `cargo test` names
//! none of them and runs none: see [`ALL_VARIABLE`].
//!
//! Scenarios run one after the other, since they share two cores, loop devices and namespaces.
//! What this machine cannot do is skipped, with its reason in the summary. With
//! `ANTIPHON_FAULTS_REPORT=docs/faults.md` the table of what happened is written there, as seen
//! from the root of the repository.

#[expect(dead_code, reason = "shared with the tests of the command, which use more of it")]
#[path = "../cluster/mod.rs"]
mod cluster;

mod fleet;
mod load;
mod machine;
mod report;
mod scenarios;
mod stage;
mod table;
mod verdict;
mod wanted;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use report::{Outcome, Report, Row};
use wanted::Wanted;

/// Where this environment variable is set, all scenarios run, named or not.
const ALL_VARIABLE: &str = "ANTIPHON_FAULTS";

/// A fault, and what runs it.
type Scenario = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let wanted = Wanted::from_arguments();
    let all = if wanted.ignored { scenarios::KNOWN_TO_FAIL } else { scenarios::ALL };
    let chosen = all.iter().filter(|(name, _)| wanted.has(name));
    if wanted.list {
        chosen.for_each(|(name, _)| report::say(format_args!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    verdict::check_itself();
    let unasked = wanted.names_none() && !wanted.ignored;
    if unasked && std::env::var_os(ALL_VARIABLE).is_none() {
        report::say(format_args!("no scenario was asked for; `make faults` runs all of them"));
        return ExitCode::SUCCESS;
    }
    machine::sweep();
    let mut report = Report::open();
    for (name, scenario) in chosen {
        report.begin(name);
        // What a scenario made goes with its guards, also when it panics.
        let outcome = catch_unwind(AssertUnwindSafe(scenario)).unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
            Outcome::Ran(Row::broken(text.unwrap_or("it panicked")))
        });
        report.end(name, outcome);
    }
    report.summary()
}
