//! One process of the command.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{SOON, eventually, named_program};

/// Lines of a process that may wait to be read.
const LINES_MAX: usize = 10_000;

fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = named_program().map(|program| root.join(program));
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_antiphon").into())
}

/// The command with these words, without what the environment of the test would add.
pub(crate) fn antiphon(words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words);
    for variable in ["ANTIPHON_NODE", "ANTIPHON_NETWORK", "ANTIPHON_OPERATOR_KEY", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs a command to its end with this standard input.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("the input is piped");
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that has seen enough closes its input.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("the command ends")
    });
    Finished {
        status: output.status.code().expect("it ended by itself"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Finished {
    /// Asserts success.
    pub(crate) fn ok(self) -> Self {
        self.with_status(0)
    }

    /// Asserts an exit status.
    pub(crate) fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "standard error: {}", self.stderr);
        self
    }

    /// Asserts that standard error has these parts.
    pub(crate) fn saying(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
        self
    }

    /// Asserts that standard output is empty.
    pub(crate) fn without_data(self) -> Self {
        assert_eq!(String::from_utf8_lossy(&self.stdout), "");
        self
    }

    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&[u8]> {
        let stdout = self.stdout.strip_suffix(b"\n").unwrap_or(&self.stdout);
        if self.stdout.is_empty() {
            return Vec::new();
        }
        stdout.split(|byte| *byte == b'\n').collect()
    }

    /// Standard output as one JSON object a line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let object = |line: &&[u8]| serde_json::from_slice(line).expect("each line is JSON");
        self.lines().iter().map(object).collect()
    }

    /// Standard output as one JSON object.
    pub(crate) fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{objects:?}");
        objects.remove(0)
    }
}

/// A running process, whose lines are read as they come. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a process; its standard error goes to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let log = fs_err::OpenOptions::new().create(true).append(true).open(log);
        let log = log.expect("the log can be written").into_file();
        let mut child = command.stderr(log).spawn().expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("the output is piped"));
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Standard input, to write to; it must have been piped.
    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("the input is piped")
    }

    /// The next line; none at the end.
    pub(crate) fn line(&self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError;
        match self.lines.recv_timeout(SOON) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {SOON:?}"),
        }
    }

    /// Waits until a node is ready: its name and its first address.
    pub(crate) fn ready(&mut self) -> (String, String) {
        self.try_ready().expect("the node does not end before it is ready")
    }

    /// Waits until a node is ready, as [`Process::ready`]; none if it ended before.
    pub(crate) fn try_ready(&mut self) -> Option<(String, String)> {
        let mut address = None;
        while let Some(line) = self.line() {
            let said: Value = serde_json::from_str(&line).expect("each line is JSON");
            let text = |name: &str| said[name].as_str().expect("it is text").to_owned();
            match text("event").as_str() {
                "listening" => address = address.or_else(|| Some(text("address"))),
                "ready" => return Some((text("peer"), address.expect("it listens somewhere"))),
                other => panic!("a node says `{other}` before it is ready"),
            }
        }
        None
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
        if signal == Signal::STOP {
            // The signal takes its time, in which threads go on.
            eventually("all of its threads have stopped", SOON, || {
                let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
                let mut tasks = fs_err::read_dir(tasks).expect("it runs");
                let has_stopped = |task: PathBuf| {
                    let state = fs_err::read_to_string(task.join("stat")).unwrap_or_default();
                    state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
                };
                tasks.all(|task| has_stopped(task.expect("it is listed").path())).then_some(())
            });
        }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How it ended; none while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop and waits until it did; its exit status.
    pub(crate) fn terminate(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended by itself; its exit status.
    pub(crate) fn wait(&mut self) -> i32 {
        let status = eventually("the process ends", SOON, || self.ended());
        status.code().expect("it ended by itself")
    }

    fn end(&mut self) {
        // One that is gone already cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
