//! Processes that end when their owner is dropped, whatever the reason.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock;

/// A process, and whatever it starts: it has a process group of its own.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    /// Whether it is asked to end before it is made to, since it has processes of its own.
    asked: bool,
}

impl Process {
    /// Starts it, with what it prints in files of `directory`.
    pub(crate) fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let output = directory.join("output");
        let errors = directory.join("errors");
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, output, errors, asked: false })
    }

    /// It is to end what it has started, in process groups of their own.
    pub(crate) fn asked_to_end(mut self) -> Self {
        self.asked = true;
        self
    }

    /// Fails when it has ended, with the last lines it printed.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Waits until it has ended well; what it printed.
    pub(crate) async fn output(mut self, limit: Duration) -> Result<String> {
        let start = clock::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "{} ended with {status}:\n{}",
                    self.name,
                    self.last_words()
                );
                return Ok(fs::read_to_string(&self.output)?);
            }
            if clock::now().duration_since(start) > limit {
                bail!("{} has not ended within {limit:?}:\n{}", self.name, self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        let text = [&self.output, &self.errors]
            .map(|path| fs::read_to_string(path).unwrap_or_default())
            .concat();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        if self.asked && matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(group, Signal::TERM);
            for _ in 0..500 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        // What it has started may outlive it. Nothing of the data is to be kept, so this may be rude.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Tries until it succeeds, for as long as all the processes run and a minute at most.
pub(crate) async fn until<T>(
    processes: &mut [Process],
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let limit = Duration::from_mins(1);
    let start = clock::now();
    loop {
        processes.iter_mut().try_for_each(Process::check)?;
        let error = match tokio::time::timeout(Duration::from_secs(5), attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_elapsed) => anyhow!("no answer"),
        };
        if clock::now().duration_since(start) > limit {
            return Err(error.context(format!("{what}: not within {limit:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ports of the loopback address that nobody uses.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until all are known, so none comes twice.
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// The first line that `program --version` prints.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
