//! How help is laid out.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory, builder::StyledStr};

use super::Line;

/// The commands that `antiphon --help` lists, in groups.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Records", &["publish", "fetch", "subscribe", "outbox"]),
    ("Topics", &["create", "topics", "info", "topic", "subscription"]),
    ("Nodes", &["node", "peers", "network", "join"]),
    ("Tools", &["shell", "demo", "bench", "completions", "man"]),
];

const EXAMPLES: &str = "\
Examples:
  antiphon demo                    see a cluster lose its owner and no record
  antiphon node                    run a node; nodes on the LAN find each other
  antiphon create quakes           create a topic with three replicas
  antiphon publish quakes 'hello'  publish a record
  antiphon subscribe quakes        print all records and then those to come

`antiphon help COMMAND` describes a command. NO_COLOR switches colours off.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 published but not acknowledged
in time, 130 interrupted by Ctrl-C.";

/// Stands below the help of each command.
const SHARED: &str = "\
Options of all commands, which `antiphon --help` describes:
  --node, --network, --operator-key, --identity, --timeout, --json, --quiet, --verbose";

/// Columns that help has at most.
pub(super) const COLUMNS_MAX: usize = 100;

/// All commands and options, with their help. Options that all commands share are described once,
/// with the program.
pub(crate) fn definition() -> Command {
    let program = program();
    let shared = program.get_arguments().filter(|option| option.is_global_set());
    let shared: Vec<_> = shared.map(|option| option.clone().hide(true)).collect();
    let template = template(&program);
    with_shared(program, &shared)
        .help_template(template)
        .after_help(EXAMPLES)
        .max_term_width(COLUMNS_MAX)
}

/// All commands and options as clap would describe them.
pub(super) fn program() -> Command {
    Line::command()
}

/// All commands that help lists, each with the options that all share: for completions and man
/// pages.
pub(crate) fn listed() -> Command {
    let program = program();
    let shown = program.get_subcommands().filter(|command| !is_hidden(command)).cloned();
    let shown: Vec<_> = shown.collect();
    Command::new("antiphon")
        .version(env!("CARGO_PKG_VERSION"))
        .about(program.get_about().cloned().unwrap_or_default())
        .after_help(EXAMPLES)
        .args(program.get_arguments())
        .subcommands(shown)
}

/// Whether a command is an earlier spelling, which is not shown.
pub(crate) fn is_hidden(command: &Command) -> bool {
    command.is_hide_set()
}

/// The layout of `antiphon --help`: clap lists commands in one group only.
fn template(program: &Command) -> StyledStr {
    let styles = program.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    let mut text = StyledStr::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (group, names) in GROUPS {
        let _ = write!(text, "\n{header}{group}:{header:#}\n");
        for name in names {
            let about = program.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let gap = width - name.len();
            let _ = writeln!(text, "  {literal}{name}{literal:#}{:gap$}  {about}", "");
        }
    }
    let _ = write!(text, "\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    text
}

fn with_shared(command: Command, shared: &[Arg]) -> Command {
    let is_a_number = |argument: &Arg| {
        const NAMES: [&str; 6] = ["N", "M", "S", "SIZE", "BYTES", "DURATION"];
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().any(|name| NAMES.contains(&name.as_str()))
    };
    let command = command.mut_args(|argument| {
        let may_be_negative = is_a_number(&argument) && !argument.is_require_equals_set();
        // What is said of `-1` is then what is wrong with the number.
        if may_be_negative { argument.allow_hyphen_values(true) } else { argument }
    });
    command.mut_subcommands(|subcommand| {
        let after = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
        let after = format!("{after}\n\n{SHARED}");
        with_shared(subcommand.args(shared).after_help(after.trim_start().to_owned()), shared)
    })
}

#[cfg(test)]
mod tests;
