//! Data directories that go away under a node that runs.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Process, SOON, antiphon, eventually, finish};

/// A node alone, a topic, and a publisher that has its first receipt.
struct Running {
    home: TempDir,
    node: Process,
    address: String,
    publisher: Process,
    input: std::process::ChildStdin,
}

impl Running {
    /// Starts the node by another program, which is given the node's command line.
    fn begin(starter: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = home.path().join("disk/data");
        let mut words = starter.to_vec();
        words.extend([env!("CARGO_BIN_EXE_antiphon"), "node", "--json", "--no-discovery"]);
        words.extend([
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--data",
            data.to_str().expect("it is text"),
        ]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_remove("ANTIPHON_NODE").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut node = Process::start(command, &home.path().join("log"));
        let (_, address) = node.ready();
        let create = antiphon(&["create", "t", "--replicas", "1", "--node", &address]);
        finish(create, b"").ok();
        let words = ["publish", "t", "--receipts", "--json", "--timeout", "2s", "--node", &address];
        let mut command = antiphon(&words);
        command.stdin(Stdio::piped());
        let mut publisher = Process::start(command, &home.path().join("publisher"));
        let input = publisher.stdin();
        let mut running = Self { home, node, address, publisher, input };
        running.publish("before");
        let receipt: Value = serde_json::from_str(&running.publisher.line().expect("a receipt"))
            .expect("it is JSON");
        assert_eq!(receipt["status"], "published", "{receipt}");
        running
    }

    fn publish(&mut self, record: &str) {
        // It may have ended.
        let _ = self.input.write_all(format!("{record}\n").as_bytes());
    }

    fn disk(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    fn data(&self) -> PathBuf {
        self.disk().join("data")
    }

    /// Publishes once more: the node ends with the reason, and gives no receipt.
    fn assert_nothing_is_acknowledged(mut self, reason: &str) {
        self.publish("after");
        assert_eq!(self.node.wait(), 1);
        drop(self.input);
        assert_ne!(self.publisher.wait(), 0, "the publisher is told that it failed");
        while let Some(line) = self.publisher.line() {
            let receipt: Value = serde_json::from_str(&line).expect("it is JSON");
            assert_ne!(receipt["status"], "published", "{receipt}");
        }
        let log = fs_err::read_to_string(self.home.path().join("log")).expect("it is text");
        for part in ["the node stopped: the data directory", reason, "put it back"] {
            assert!(log.contains(part), "`{part}` is not in: {log}");
        }
        let lost = antiphon(&["fetch", "t", "--timeout", "1s", "--node", &self.address]);
        finish(lost, b"").with_status(1);
    }
}

#[test]
fn a_deleted_data_directory_ends_the_node_without_a_receipt() {
    let running = Running::begin(&["env"]);
    // Files that are made meanwhile may keep a directory there.
    eventually("the directory is gone", SOON, || {
        let _ = fs_err::remove_dir_all(running.data());
        (!running.data().exists()).then_some(())
    });
    running.assert_nothing_is_acknowledged("is gone");
}

#[test]
fn a_replaced_data_directory_ends_the_node_without_a_receipt() {
    let running = Running::begin(&["env"]);
    fs_err::rename(running.data(), running.disk().join("away")).unwrap();
    fs_err::create_dir(running.data()).unwrap();
    running.assert_nothing_is_acknowledged("was replaced by another one");
}

#[test]
fn a_node_without_work_notices_that_its_data_directory_is_gone() {
    let mut running = Running::begin(&["env"]);
    fs_err::rename(running.disk(), running.home.path().join("other")).unwrap();
    assert_eq!(running.node.wait(), 1);
}

/// Runs a node in a mount namespace of its own, and mounts an empty file system over a directory there.
fn mount_over(target: impl Fn(&Running) -> PathBuf, reason: &str) {
    let unshare = ["unshare", "--mount", "--propagation", "private"];
    let allowed = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
        {
            eprintln!("skipped: this user may not make a mount namespace");
        }
        return;
    }
    let running = Running::begin(&unshare);
    let process = running.node.pid().as_raw_nonzero().to_string();
    let mount = |target: &Path| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &process, "mount", "-t", "tmpfs", "tmpfs"]);
        let output = command.arg(target).output().expect("nsenter runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    mount(&target(&running));
    running.assert_nothing_is_acknowledged(reason);
}

#[test]
fn a_mount_over_the_data_directory_ends_the_node_without_a_receipt() {
    mount_over(Running::data, "was replaced by another one, or lies under a mount");
}

#[test]
fn a_mount_over_the_disk_ends_the_node_without_a_receipt() {
    mount_over(Running::disk, "is gone: deleted, renamed, unmounted, or under a mount");
}
