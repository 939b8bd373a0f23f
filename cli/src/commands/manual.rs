//! `antiphon completions` and `antiphon man`

use clap_complete::generate;
use serde_json::json;

use crate::{
    arguments::{Completions, Man, listed},
    context::Context,
    exit::Status,
};

/// Prints a script that completes commands and options.
pub(super) fn completions(
    context: &mut Context,
    arguments: &Completions,
) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut listed(), "antiphon", &mut script);
    context.printer.bytes(&script)?;
    Ok(Status::Done)
}

/// Writes a page for each command.
pub(super) fn man(context: &mut Context, arguments: &Man) -> anyhow::Result<Status> {
    let directory = &arguments.directory;
    fs_err::create_dir_all(directory)?;
    clap_mangen::generate_to(listed(), directory)?;
    let directory = directory.display().to_string();
    let value = json!({ "status": "written", "directory": directory });
    context.printer.result(&value, format_args!("man pages written to {directory}"))?;
    Ok(Status::Done)
}
