//! Flushes that fail, lie or hang: strace at a running node.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{SOON, eventually};

/// What flushes do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flush {
    Fails,
    /// As where space is only found missing when it is written back.
    FindsNoSpace,
    /// The twentieth kills the process, at that very moment.
    Kills,
    Lies,
    HangsTwoSeconds,
}

impl Flush {
    fn to_word(self) -> &'static str {
        match self {
            Self::Fails => "error=EIO",
            Self::FindsNoSpace => "error=ENOSPC",
            Self::Kills => "signal=SIGKILL:when=20",
            Self::Lies => "retval=0",
            Self::HangsTwoSeconds => "delay_enter=2000000",
        }
    }
}

/// strace at a node. The node's flushes are its own again when this is dropped.
pub(crate) struct Tracer {
    strace: Child,
}

impl Tracer {
    /// Why this machine cannot do it; none if it can.
    pub(crate) fn lacking() -> Option<String> {
        crate::fleet::tool("strace", &["--version"]).err()
    }

    /// From when this returns, all flushes of the process do so.
    pub(crate) fn attach(node: Pid, flush: Flush) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
        command.arg("-e").arg(format!("inject=fdatasync,fsync:{}", flush.to_word()));
        command.arg("-p").arg(node.as_raw_nonzero().to_string());
        let null = (Stdio::null(), Stdio::null());
        let strace = command.stdin(null.0).stdout(null.1).spawn().expect("strace starts");
        let tasks = Path::new("/proc").join(node.as_raw_nonzero().to_string()).join("task");
        eventually("all threads of the node are traced", SOON, || {
            // What a flush does may have ended the node by now.
            let Ok(tasks) = fs_err::read_dir(&tasks) else { return Some(()) };
            tasks.flatten().all(|task| is_traced_or_gone(&task.path())).then_some(())
        });
        Self { strace }
    }
}

fn is_traced_or_gone(task: &Path) -> bool {
    let Ok(status) = fs_err::read_to_string(task.join("status")) else { return true };
    let has = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        status.lines().filter_map(|line| line.strip_prefix(name)).any(|value| wanted(value.trim()))
    };
    has("TracerPid:", &|pid| pid != "0") || has("State:", &|state| state.starts_with(['Z', 'X']))
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It lets go of the node when it is asked to end; it may have ended with it.
        let _ = kill_process(Pid::from_child(&self.strace), Signal::TERM);
        let _ = self.strace.wait();
    }
}
