//! `publish` from a pipe while nodes that it found by itself fail, and what commands say when they
//! have no node.

use std::{
    io::Write,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Finished, Process, SOON, antiphon, eventually, finish};

/// A user of a machine, with a runtime directory and a network of their own.
struct User {
    home: TempDir,
    network: String,
}

impl User {
    fn new(network: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs_err::create_dir(home.path().join("run")).expect("it is writable");
        Self { home, network: format!("test-pipes-{}-{network}", std::process::id()) }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = antiphon(words);
        command.env("XDG_RUNTIME_DIR", self.home.path().join("run"));
        command.env("ANTIPHON_NETWORK", &self.network);
        command
    }

    fn log(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.log"))
    }

    fn said(&self, name: &str) -> String {
        fs_err::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// Starts a process whose standard error goes to the log of this name.
    fn start(&self, name: &str, words: &[&str]) -> Process {
        Process::start(self.command(words), &self.log(name))
    }

    /// Starts a node, for the first time or again.
    fn node(&self, number: usize) -> Process {
        let data = self.home.path().join(format!("node-{number}"));
        let data = data.to_str().expect("the path is text");
        let mut node = self.start(&format!("node-{number}"), &["node", "--json", "--data", data]);
        node.ready();
        node
    }

    fn run(&self, words: &[&str]) -> Finished {
        finish(self.command(words), b"")
    }

    /// Starts a `publish` of what is written to it; its standard error goes to the log `publish`.
    fn publish(&self, timeout: &str, words: &[&str]) -> (Process, ChildStdin) {
        let mut command = self.command(&["publish", "t", "--timeout", timeout]);
        command.args(words).stdin(Stdio::piped());
        let mut process = Process::start(command, &self.log("publish"));
        let input = process.stdin();
        (process, input)
    }

    fn fetched(&self) -> Vec<String> {
        let fetched = self.run(&["fetch", "t"]).ok();
        let text = |line: &&[u8]| String::from_utf8_lossy(line).into_owned();
        fetched.lines().iter().map(text).collect()
    }
}

fn line(number: usize) -> String {
    format!(r#"{{"id": "{number}", "k": "key"}}"#)
}

fn write(input: &mut ChildStdin, numbers: std::ops::Range<usize>) {
    for number in numbers {
        writeln!(input, "{}", line(number)).expect("it is read");
    }
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(line).collect()
}

/// The lines of standard output up to its end.
fn rest(process: &Process) -> Vec<String> {
    std::iter::from_fn(|| process.line()).collect()
}

/// Publishes through the only node, which is ended under it and started again.
fn publish_through_restart(name: &str, words: &[&str], end: impl FnOnce(Process)) {
    let user = User::new(name);
    let node = user.node(0);
    user.run(&["create", "t"]).ok();
    let (mut publish, mut input) = user.publish("60s", words);
    write(&mut input, 0..20);
    let receipts: Vec<_> = (0..20).map_while(|_| publish.line()).collect();
    assert_eq!(receipts.len(), 20, "{}", user.said("publish"));
    // Some of these are under way when it ends, or come while there is no node.
    write(&mut input, 20..40);
    end(node);
    write(&mut input, 40..60);
    let _node = user.node(0);
    write(&mut input, 60..80);
    drop(input);
    let receipts = rest(&publish);
    assert_eq!(publish.wait(), 0, "{}", user.said("publish"));
    assert_eq!(receipts.len(), 60, "{receipts:?}");
    assert_eq!(user.fetched(), lines(80), "each once, and in order");
}

#[test]
fn a_pipe_goes_on_when_the_only_node_that_it_found_is_stopped_and_started() {
    publish_through_restart("stop", &["--receipts"], |node| assert_eq!(node.terminate(), 0));
}

#[test]
fn a_pipe_goes_on_when_the_only_node_that_it_found_is_killed_and_started() {
    publish_through_restart("kill", &["--receipts"], Process::kill);
}

#[test]
fn a_pipe_with_ids_and_keys_goes_on_when_its_node_is_killed_and_started() {
    let words = ["--receipts", "--id-from", "id", "--key-from", "k"];
    publish_through_restart("ids", &words, Process::kill);
}

#[test]
fn a_fast_pipe_goes_on_when_all_nodes_are_killed_and_started() {
    let user = User::new("all");
    let nodes: Vec<_> = (0..3).map(|number| user.node(number)).collect();
    eventually("all nodes are known", SOON, || {
        let peers = user.run(&["peers", "--json"]);
        let alive = |peer: &Value| peer["state"] == "alive";
        (peers.status == 0 && peers.objects().into_iter().filter(alive).count() == 3).then_some(())
    });
    user.run(&["create", "t"]).ok();
    let (mut publish, mut input) = user.publish("60s", &["--receipts"]);
    write(&mut input, 0..1_000);
    publish.line().expect("the first is acknowledged");
    nodes.into_iter().for_each(Process::kill);
    write(&mut input, 1_000..1_500);
    let _nodes: Vec<_> = (0..3).map(|number| user.node(number)).collect();
    write(&mut input, 1_500..2_000);
    drop(input);
    let receipts = rest(&publish);
    assert_eq!(publish.wait(), 0, "{}", user.said("publish"));
    assert_eq!(receipts.len(), 1_999);
    assert!(user.fetched() == lines(2_000), "each once, and in order");
}

/// Publishes ten lines and then three more of which none can be acknowledged; the receipts of
/// those, and what is said.
fn publish_in_vain(
    name: &str,
    words: &[&str],
    fail: impl FnOnce(Process) -> Option<Process>,
) -> (Vec<String>, String) {
    let user = User::new(name);
    let node = user.node(0);
    user.run(&["create", "t"]).ok();
    let (mut publish, mut input) = user.publish("2s", words);
    write(&mut input, 0..10);
    let receipts: Vec<_> = (0..10).map_while(|_| publish.line()).collect();
    assert_eq!(receipts.len(), 10, "{}", user.said("publish"));
    let _node = fail(node);
    write(&mut input, 10..13);
    let receipts = rest(&publish);
    assert_eq!(publish.wait(), 1);
    (receipts, user.said("publish"))
}

#[test]
fn lines_that_no_node_was_there_for_are_named() {
    let (receipts, said) = publish_in_vain("gone", &["--receipts"], |node| {
        node.kill();
        None
    });
    assert!(
        said.contains("error: line 11 was not acknowledged: the record was not stored"),
        "{said}"
    );
    assert!(said.contains("(10 records acknowledged, ") && said.contains("tail -n +11"), "{said}");
    assert!(receipts[0].starts_with("not stored ") && receipts[0].ends_with(": line 11"));
    assert!(receipts.iter().all(|receipt| receipt.starts_with("not stored ")), "{receipts:?}");
}

#[test]
fn lines_of_which_nothing_is_known_are_named() {
    let (receipts, said) = publish_in_vain("silent", &["--receipts", "--json"], |node| {
        node.signal(Signal::STOP);
        Some(node)
    });
    assert!(
        said.contains("was not acknowledged: it is not known") || said.contains("were not"),
        "{said}"
    );
    let objects: Vec<Value> =
        receipts.iter().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!((&objects[0]["status"], &objects[0]["line"]), (&"unknown".into(), &11.into()));
    for (object, number) in objects.iter().zip(11..) {
        let is_lost = object["status"] == "unknown" || object["status"] == "not_stored";
        assert!(is_lost && object["line"] == number, "{objects:?}");
    }
}

#[test]
fn a_signal_says_how_many_records_were_acknowledged() {
    let user = User::new("signal");
    let _node = user.node(0);
    user.run(&["create", "t"]).ok();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut publish, mut input) = user.publish("60s", &["--receipts"]);
        write(&mut input, 0..10);
        for _ in 0..10 {
            publish.line().expect("a receipt");
        }
        publish.signal(signal);
        assert_eq!(publish.wait(), status);
        drop(input);
    }
    let said = user.said("publish");
    let text = "error: interrupted (10 records acknowledged, 0 not known)";
    assert_eq!(said.matches(text).count(), 2, "{said}");
}

#[test]
fn a_command_that_is_started_before_the_node_says_that_it_looks_and_finds_it() {
    let user = User::new("early");
    let mut topics = user.start("topics", &["topics", "--json", "--timeout", "60s"]);
    let mut quiet = user.start("quiet", &["topics", "--timeout", "60s", "-q"]);
    eventually("it says where it looks", SOON, || {
        user.said("topics").contains("looking for a node on this machine and the LAN").then_some(())
    });
    let _node = user.node(0);
    assert_eq!((topics.wait(), quiet.wait()), (0, 0), "{}", user.said("topics"));
    assert!(!user.said("quiet").contains("looking"), "{}", user.said("quiet"));
}

#[test]
fn a_subscriber_says_that_no_node_answers_and_when_one_is_back() {
    let user = User::new("watch");
    let node = user.node(0);
    user.run(&["create", "t"]).ok();
    let subscribe = user.start("subscribe", &["subscribe", "t"]);
    eventually("it is subscribed", SOON, || {
        user.said("subscribe").contains("subscribed to").then_some(())
    });
    assert_eq!(node.terminate(), 0);
    eventually("it says that no node answers", SOON, || {
        user.said("subscribe").contains("warning: no node answers; still ").then_some(())
    });
    let _node = user.node(0);
    eventually("it says that one is back", SOON, || {
        user.said("subscribe").contains("connected again, to node ").then_some(())
    });
    user.run(&["publish", "t", "after"]).ok();
    assert_eq!(subscribe.line().as_deref(), Some("after"));
    assert_eq!(subscribe.terminate(), 0);
}

#[test]
fn a_byte_order_mark_is_left_out_and_told() {
    let user = User::new("mark");
    let _node = user.node(0);
    user.run(&["create", "t"]).ok();
    let input = b"\xef\xbb\xbf{\"k\":\"a\"}\r\n{\"k\":\"b\"}\r\n";
    let published = finish(user.command(&["publish", "t", "--key-from", "k"]), input).ok();
    published.saying(&["byte order mark", "left out"]);
    assert_eq!(user.run(&["fetch", "t", "--key", "a"]).ok().stdout, b"{\"k\":\"a\"}\r\n");
    let input = b"{\"k\":\"a\"}\n\xef\xbb\xbf{\"k\":\"b\"}\n";
    let refused = finish(user.command(&["publish", "t", "--key-from", "k"]), input);
    refused.with_status(1).saying(&["line 2 begins with a byte order mark"]);
}
