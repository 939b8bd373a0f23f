//! The shell, the demo, and what other programs need to know of the command.

use std::path::PathBuf;

use clap::Args;

use crate::values;

/// Type commands at a prompt, with a menu, history and completion
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon shell
  echo 'create quakes --if-not-exists' | antiphon shell

The history is in ~/.local/state/antiphon/history.")]
pub(crate) struct Shell {}

/// Start nodes here, kill one, and check that no record is lost
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon demo
  antiphon demo --nodes 5 --exit
  antiphon demo --file events.ndjson --exit --json")]
pub(crate) struct Demo {
    /// Nodes to start: 4 to 64
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = values::number::<u16>(4..=64))]
    pub(crate) nodes: u16,

    /// File whose lines are published [default: 1,707 earthquakes]
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// End after the checks [default: the cluster keeps running]
    #[arg(long)]
    pub(crate) exit: bool,

    /// Start the nodes with `--open-admin`
    #[arg(long)]
    pub(crate) open_admin: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon completions bash > ~/.local/share/bash-completion/completions/antiphon
  antiphon completions zsh > ~/.zfunc/_antiphon
  antiphon completions fish > ~/.config/fish/completions/antiphon.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Write man pages into a directory: one for each command
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon man ~/.local/share/man/man1          then: man antiphon-topic-create")]
pub(crate) struct Man {
    /// Directory to write to; it is created if it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
