//! A home of their own for the commands of a document, with three nodes, and two of the network `lab`.

use std::{
    fs::File,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    blocks::{Command, root},
    table::Treatment,
};
use crate::cluster::{Process, antiphon, eventually};

/// Time for one command on a busy machine. Some publish 1,707 records one by one.
const ONE: Duration = Duration::from_mins(3);

/// Nodes, and where they and the commands run.
pub(super) struct Stage {
    nodes: Vec<(String, Process)>,
    frozen: bool,
    /// A block of which a command could not run.
    left_out: Option<usize>,
    _lab: [Process; 2],
    home: TempDir,
}

/// What a command left.
struct Left {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Stage {
    /// Starts the nodes.
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        for name in ["bin", "run", "work"] {
            fs_err::create_dir(home.path().join(name)).expect("it is writable");
        }
        let work = home.path().join("work");
        let program = env!("CARGO_BIN_EXE_antiphon");
        symlink(program, home.path().join("bin/antiphon")).expect("it is writable");
        symlink(root().join("examples"), work.join("examples")).expect("it is writable");
        let lab = ["lab-1", "lab-2"].map(|data| start(home.path(), data, Some("lab")).1);
        let nodes = (1..=3).map(|number| start(home.path(), &format!("data-{number}"), None));
        let stage = Self { nodes: nodes.collect(), frozen: false, left_out: None, _lab: lab, home };
        for (peers, count) in [("antiphon peers", 3), ("antiphon peers --network lab", 2)] {
            eventually("the nodes are alive", ONE, || {
                let peers = stage.finish(&format!("{peers} --json")).stdout;
                (peers.matches("\"alive\"").count() == count).then_some(())
            });
        }
        stage
    }

    /// Runs a command of a document.
    pub(super) fn run(&mut self, command: &Command, treatment: Treatment) {
        if matches!(treatment, Treatment::NotHere | Treatment::Nodes) {
            return;
        }
        // What follows in the block may need what the command makes.
        if command.text.contains("jq ") && !is_tool("jq") {
            self.left_out = Some(command.block);
        }
        if self.left_out == Some(command.block) {
            return;
        }
        self.freeze(matches!(treatment, Treatment::CutOff(_)));
        let text = self.fill_in(&command.text);
        let left = match treatment {
            Treatment::Endless => self.interrupt(&text, "out"),
            Treatment::EndlessQuiet => self.interrupt(&text, "err"),
            Treatment::Confirmed => self.finish(&format!("{text} --yes")),
            _ => self.finish(&text),
        };
        let Left { status, stdout, stderr } = left;
        let told = format!("`{text}` ended with {status:?}: {stdout}{stderr}");
        match treatment {
            // By itself, or by the signal.
            Treatment::Endless | Treatment::EndlessQuiet => {
                assert!(matches!(status, None | Some(0 | 130)), "{told}");
            }
            Treatment::CutOff(expected) => assert_eq!(status, Some(expected), "{told}"),
            _ => assert_eq!(status, Some(0), "{told}"),
        }
        let reads = [
            "fetch ",
            "subscribe ",
            "topics",
            "info ",
            "peers",
            "topic verify ",
            "subscription list ",
        ];
        let reads = reads.iter().any(|word| text.starts_with(&format!("antiphon {word}")));
        if !matches!(treatment, Treatment::Quiet | Treatment::EndlessQuiet) {
            let is_empty = stdout.trim().is_empty() && (reads || stderr.trim().is_empty());
            assert!(!is_empty, "`{text}` prints nothing: {told}");
        }
        if let Some(form) = &command.prints {
            let mut lines = stdout.lines().chain(stderr.lines());
            assert!(lines.any(|line| has_form(line, form)), "`{form}` is not what comes: {told}");
        }
    }

    /// Puts this cluster's own names in the place of those that documents leave open.
    fn fill_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let asks = [
            ("12D3KooW…", "fetch quakes -n 1 --json", "writer"),
            ("CURSOR", "info quakes --json", "cursor"),
        ];
        for (open, ask, field) in asks {
            if text.contains(open) {
                let answer = self.finish(&format!("antiphon {ask}")).stdout;
                let answer: serde_json::Value = serde_json::from_str(&answer).expect("it is JSON");
                text = text.replace(open, answer[field].as_str().expect("it is text"));
            }
        }
        text
    }

    /// Stops two of the three nodes, or has them run again.
    fn freeze(&mut self, frozen: bool) {
        if self.frozen == frozen {
            return;
        }
        self.frozen = frozen;
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        for (_, node) in &self.nodes[1..] {
            node.signal(signal);
        }
    }

    fn output(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts a shell; its output goes to files.
    fn start(&self, text: &str) -> Child {
        let mut shell = std::process::Command::new("sh");
        set_home(&mut shell, self.home.path());
        if self.frozen {
            // A client that finds its node by itself might find one that is stopped.
            shell.env("ANTIPHON_NODE", &self.nodes[0].0);
        }
        let file = |name| File::create(self.output(name)).expect("it is writable");
        shell.args(["-c", text]).stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        shell.spawn().expect("there is a shell")
    }

    fn finish(&self, text: &str) -> Left {
        self.wait(text, self.start(text))
    }

    /// Runs until a line is in this file, then stops it with Ctrl-C.
    fn interrupt(&self, text: &str, file: &str) -> Left {
        let mut child = self.start(&format!("exec {text}"));
        eventually(text, ONE, || {
            let ended = child.try_wait().expect("it can be waited for").is_some();
            let has_line = self.read(file).contains('\n');
            (ended || has_line).then_some(())
        });
        // It may have ended by itself, which its status tells.
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        self.wait(text, child)
    }

    fn read(&self, file: &str) -> String {
        let bytes = fs_err::read(self.output(file)).expect("it was written");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn wait(&self, text: &str, mut child: Child) -> Left {
        let status = eventually(text, ONE, || child.try_wait().expect("it can be waited for"));
        Left { status: status.code(), stdout: self.read("out"), stderr: self.read("err") }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.freeze(false);
        // Before their directories.
        self.nodes.clear();
    }
}

/// A shell or a program at home in this directory, and in a network of its own.
fn set_home(command: &mut std::process::Command, home: &Path) {
    let old = std::env::var("PATH").unwrap_or_default();
    let network = format!("documents-{}", std::process::id());
    command.current_dir(home.join("work"));
    command.env("PATH", format!("{}:{old}", home.join("bin").display()));
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    command.env("XDG_DATA_HOME", home.join("share")).env("XDG_STATE_HOME", home.join("state"));
    command.env_remove("ANTIPHON_NODE").env_remove("RUST_LOG").env("ANTIPHON_NETWORK", network);
}

/// Starts a node that is found on this machine only: its address and the process.
fn start(home: &Path, data: &str, network: Option<&str>) -> (String, Process) {
    let mut command = antiphon(&["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--data"]);
    set_home(&mut command, home);
    command.arg(home.join("work").join(data));
    if let Some(network) = network {
        command.args(["--network", network]);
    }
    let mut process = Process::start(command, &home.join(format!("{data}.log")));
    let (_, address) = process.ready();
    (address, process)
}

/// Whether this machine has a program.
fn is_tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

/// Whether a line begins with the form that a document shows: `…` is any word, and a number any number.
fn has_form(line: &str, form: &str) -> bool {
    let bare = |word: &str| word.trim_matches(|sign: char| ":,.`".contains(sign)).to_owned();
    let fits = |(word, form): (&str, &str)| {
        let (word, form) = (bare(word), bare(form));
        let is_number = |text: &str| text.starts_with(|sign: char| sign.is_ascii_digit());
        form == "…" || word == form || (is_number(&word) && is_number(&form))
    };
    let (words, forms) = (line.split_whitespace(), form.split_whitespace());
    words.clone().count() >= forms.clone().count() && words.zip(forms).all(fits)
}
