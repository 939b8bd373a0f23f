//! What the faults need of the machine: disks, hosts, tracing, and a way that breaks.
//!
//! Everything goes with its guard. What a killed suite left behind is swept at the next start.

pub(crate) mod disk;
pub(crate) mod lan;
pub(crate) mod proxy;
pub(crate) mod tracer;

use std::{path::Path, process::Command};

use tempfile::TempDir;

use crate::fleet::tool;

/// What names of directories start with; the process number follows.
const HOME_PREFIX: &str = "antiphon-faults-";

/// A directory for one scenario.
pub(crate) fn home() -> TempDir {
    let prefix = format!("{HOME_PREFIX}{}-", std::process::id());
    let home = tempfile::Builder::new().prefix(&prefix).rand_bytes(6).tempdir();
    home.expect("a temporary directory")
}

/// A command that does not outlive this suite, on a host of its own if one is named.
pub(crate) fn bound(command: Command, namespace: Option<&str>) -> Command {
    let mut words: Vec<std::ffi::OsString> = Vec::new();
    if let Some(namespace) = namespace {
        words.extend(["ip", "netns", "exec", namespace].map(Into::into));
    }
    if tool("setpriv", &["--version"]).is_ok() {
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(Into::into));
    }
    let Some(first) = words.first() else { return command };
    let mut outer = Command::new(first);
    outer.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    outer
}

/// Removes what suites left that were killed.
pub(crate) fn sweep() {
    let gone = |id: &str| !id.is_empty() && !Path::new("/proc").join(id).exists();
    let mounts = fs_err::read_to_string("/proc/mounts").unwrap_or_default();
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let name = place.split(HOME_PREFIX).nth(1);
        if name.and_then(|name| name.split('-').next()).is_some_and(gone) {
            // Another sweep may have been quicker.
            let _ = tool("umount", &["-l", place]);
        }
    }
    for entry in fs_err::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix(HOME_PREFIX).and_then(|name| name.split('-').next());
        if id.is_some_and(gone) {
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
    lan::sweep(gone);
}
