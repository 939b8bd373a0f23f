//! Data directories that a node cannot use, or should not, and disks that are too small.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::cluster::{Finished, Process, SOON, antiphon, eventually, finish};

/// Data directories of nodes of this user's own, who has no others.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let mut command = antiphon(&["node", "--json", "--data"]);
        command.arg(self.data(name)).args(words).env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    /// Starts a node; its address.
    fn start(&self, name: &str, words: &[&str]) -> (Process, String) {
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let command = self.command(name, &[&listen, words].concat());
        let mut process = Process::start(command, &self.log(name));
        let (_, address) = process.ready();
        (process, address)
    }

    /// A node that does not start.
    fn fail(&self, name: &str, words: &[&str]) -> Finished {
        finish(self.command(name, words), b"").with_status(1)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.log"))
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(status.success());
}

#[test]
fn the_data_of_another_network_is_not_used() {
    let home = Home::new();
    let (node, _) = home.start("d", &["--no-discovery", "--network", "one"]);
    assert_eq!(node.terminate(), 0);
    let failed = home.fail("d", &["--no-discovery", "--network", "two"]);
    failed.saying(&["belongs to network `one`", "--network one"]);
    let (node, _) = home.start("d", &["--no-discovery", "--network", "one"]);
    assert_eq!(node.terminate(), 0);
}

#[test]
fn a_copy_beside_the_node_that_it_was_made_of_does_not_start() {
    let home = Home::new();
    let network = format!("test-copy-{}", std::process::id());
    let (first, _) = home.start("d", &["--network", &network]);
    copy(&home.data("d"), &home.data("copy"));
    let failed = home.fail("copy", &["--network", &network]);
    failed.saying(&[
        "runs already on this machine",
        "is a copy of its data directory",
        "cannot run as a second node",
    ]);
    assert_eq!(first.terminate(), 0);
    // When the first one has ended the copy takes its place.
    let (second, _) = home.start("copy", &["--network", &network]);
    assert_eq!(second.terminate(), 0);
}

#[test]
fn a_key_that_is_gone_is_missed() {
    let home = Home::new();
    let (node, _) = home.start("d", &["--no-discovery"]);
    assert_eq!(node.terminate(), 0);
    fs_err::remove_file(home.data("d/key")).unwrap();
    let failed = home.fail("d", &["--no-discovery"]);
    failed.saying(&["is gone, but the records of its node are there", "put the key back"]);
    fs_err::remove_dir_all(home.data("d/store")).unwrap();
    let (node, _) = home.start("d", &["--no-discovery"]);
    assert_eq!(node.terminate(), 0);
}

#[test]
fn a_file_is_no_data_directory() {
    let home = Home::new();
    fs_err::write(home.data("d"), "").unwrap();
    home.fail("d", &[]).saying(&["cannot be used: it is a file", "--data DIR"]);
}

#[test]
fn a_start_that_failed_leaves_nothing_to_mend() {
    let home = Home::new();
    let (first, address) = home.start("one", &["--no-discovery"]);
    let taken = address.split("/p2p/").next().unwrap();
    home.fail("two", &["--no-discovery", "--listen", taken]).saying(&["cannot listen"]);
    let (second, _) = home.start("two", &["--no-discovery"]);
    assert_eq!(second.terminate(), 0);
    let log = fs_err::read_to_string(home.log("two")).unwrap();
    assert!(!log.contains("the index"), "{log}");
    assert_eq!(first.terminate(), 0);
}

/// A node on a disk of its own, of so many MB; none where this user may not mount one.
fn start_on_disk(home: &Home, megabytes: u32) -> Option<(Process, String)> {
    let unshare = ["unshare", "--mount", "--propagation", "private"];
    let allowed = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
        {
            eprintln!("skipped: this user may not make a mount namespace");
        }
        return None;
    }
    fs_err::create_dir(home.data("disk")).expect("it is writable");
    let script = "mount -t tmpfs -o size=$1 tmpfs $2 && exec $3 node --json --no-discovery \
                  --listen /ip4/127.0.0.1/tcp/0 --data $2/d";
    let mut command = Command::new(unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", script, "sh"]).arg(format!("{megabytes}000000"));
    command.arg(home.data("disk")).arg(env!("CARGO_BIN_EXE_antiphon"));
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::start(command, &home.log("disk"));
    let (_, address) = process.ready();
    Some((process, address))
}

#[test]
fn a_disk_that_is_too_small_is_told_with_what_is_needed() {
    let home = Home::new();
    let Some((node, address)) = start_on_disk(&home, 40) else { return };
    let small = "; the disk has 40 MB, and a node needs at least 134 MB";
    eventually("the node says so", SOON, || {
        let log = fs_err::read_to_string(home.log("disk")).unwrap();
        (log.contains("disk/d is full: ") && log.contains(small)).then_some(())
    });
    let create = antiphon(&["create", "t", "--timeout", "5s", "--node", &address]);
    let refused = finish(create, b"").with_status(1);
    refused.saying(&["the disk of ", " is full: ", " free, ", " needed", small, "hint: "]);
    assert_eq!(node.terminate(), 0);
}
