//! Peers that mean harm, against clusters of real processes with an honest load.
//!
//! `make hostile`, or `cargo test -p antiphon-cli --test hostile -- NAME…` for some of them.
//!
//! They take minutes, so an ordinary `cargo test` names none of them and runs none: see
//! [`ALL_VARIABLE`]. They run one after the other, since they share the machine. With
//! `ANTIPHON_HOSTILE_REPORT=docs/hostile.md` the table of what happened is written there, as seen
//! from the root of the repository. `ANTIPHON_PROGRAM` names the program of the nodes in the same
//! way: `make hostile` has it be a release build.

#[expect(dead_code, reason = "shared with the tests of the command, which use more of it")]
#[path = "../cluster/mod.rs"]
mod cluster;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/fleet.rs"]
mod fleet;
mod honest;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/load/mod.rs"]
mod load;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/machine/mod.rs"]
mod machine;
mod peer;
mod report;
mod stage;
mod strategies;
#[path = "../faults/table.rs"]
mod table;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/verdict.rs"]
mod verdict;
#[path = "../faults/wanted.rs"]
mod wanted;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use report::{Report, Row};
use wanted::Wanted;

/// Where this environment variable is set, all attacks run, named or not.
const ALL_VARIABLE: &str = "ANTIPHON_HOSTILE";

fn main() -> ExitCode {
    let wanted = Wanted::from_arguments();
    let chosen = strategies::ALL.iter().filter(|(name, _)| !wanted.ignored && wanted.has(name));
    if wanted.list {
        chosen.for_each(|(name, _)| report::say(format_args!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    if wanted.names_none() && std::env::var_os(ALL_VARIABLE).is_none() {
        report::say(format_args!("no attack was asked for; `make hostile` runs all of them"));
        return ExitCode::SUCCESS;
    }
    machine::sweep();
    let mut report = Report::open();
    for (name, attack) in chosen {
        report.begin(name);
        let row =
            catch_unwind(AssertUnwindSafe(|| stage::run(*attack, strategies::seconds_of(name))))
                .unwrap_or_else(|cause| {
                    let text = cause.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
                    Row::broken(text.unwrap_or("it panicked"))
                });
        report.end(name, row);
    }
    report.summary()
}
