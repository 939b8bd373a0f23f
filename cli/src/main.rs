//! The `antiphon` command.
//!
//! Data goes to standard output and nothing else does; status, progress and errors go to
//! standard error. Exit status: 0 done, 1 failed, 2 wrong usage, 3 published but not
//! acknowledged in time.

mod archive;
mod arguments;
mod clock;
mod cluster;
mod commands;
mod conclude;
mod context;
mod exit;
mod hints;
mod identity;
mod json;
mod logging;
mod misuse;
mod output_watch;
mod peer;
mod place;
mod printer;
mod progress;
mod shown;
mod signals;
mod table;
mod template;
mod topic_json;
mod values;
mod watch;
mod words;

use std::{ffi::OsString, process::ExitCode};

use arguments::Arguments;
use context::Context;
use exit::Status;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::read(&words) {
        Ok(arguments) => arguments,
        Err(error) => return misuse::report(&error, &words).into(),
    };
    logging::start(&arguments.global, &arguments.command);
    let mut context = Context::new(arguments.global);
    let result = run(&mut context, arguments.command);
    conclude::conclude(&mut context.printer, &misuse::called(&words), result).into()
}

/// Runs a command to its end. Its futures run on this thread; one more thread serves the
/// network, so that a blocked pipe or a prompt does not silence it.
fn run(context: &mut Context, command: arguments::Command) -> anyhow::Result<Status> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !matches!(command, arguments::Command::Node(_) | arguments::Command::Bench(_)) {
        builder.worker_threads(1);
    }
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(commands::run(context, command));
    // Nothing that still runs may keep the process: what matters has been awaited.
    runtime.shutdown_background();
    result
}
