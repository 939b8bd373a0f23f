//! The examples as their users run them: processes, what they write, and how they end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use antiphon_node::{
    Node, NodeConfig,
    client::{Delivered, Start},
};
use futures::TryStreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Time for a process on a busy machine to do what it does by itself.
const SOON: Duration = Duration::from_secs(30);

/// Lines of a process that may wait to be read.
const LINES_MAX: usize = 10_000;

/// A directory for data and for what makes nodes of one machine find each other.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(home.path().join("run")).expect("it is writable");
    home
}

/// A running example. It is killed when this is dropped.
struct Example {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Example {
    /// Starts an example in a network of the test's own. Whoever builds tests builds the examples.
    fn start(home: &TempDir, name: &str, words: &[&str]) -> Self {
        let tests = std::env::current_exe().expect("the test is a file");
        let built = tests.parent().and_then(|deps| deps.parent()).expect("it is in a folder");
        let program = built.join("examples").join(name);
        assert!(program.exists(), "{} is not built: `cargo build --examples`", program.display());
        let mut command = Command::new(program);
        command.args(words).env("XDG_RUNTIME_DIR", home.path().join("run"));
        command.current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("the output is piped"));
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    /// The next line; none at the end.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(SOON) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {SOON:?}"),
        }
    }

    /// Reads lines up to one that ends so.
    fn until(&self, end: &str) -> String {
        let mut before = Vec::new();
        while let Some(line) = self.line() {
            if line.ends_with(end) {
                return line;
            }
            before.push(line);
        }
        panic!("it ended without `{end}`: {before:?}");
    }

    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Ends its input, as Ctrl-D does.
    fn close_input(&mut self) {
        self.stdin = None;
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
    }

    /// Waits until it has ended, which must be a success; the lines that were left.
    fn finish(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().expect("it is a child").success(), "{lines:?}");
        lines
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It has ended, most often.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_program_of_the_guide_runs_and_runs_again() {
    let home = home();
    for _ in 0..2 {
        let lines = Example::start(&home, "first", &[]).finish();
        assert!(matches!(&lines[..], [line] if line.contains("Sangiang")), "{lines:?}");
    }
    assert!(home.path().join("data").is_dir(), "what it stored is there");
}

#[test]
fn sensors_publishes_its_week_on_a_node_of_its_own() {
    let home = home();
    let lines = Example::start(&home, "sensors", &["--speed", "1e9"]).finish();
    let says = |line: &str| assert!(lines.iter().any(|said| said == line), "{line}: {lines:?}");
    says("1707 records acknowledged, 0 pending");
    says("strongest: Tue 06 Feb 15:50  us   M 6.4  22km NNE of Hualian, Taiwan");
}

#[tokio::test(flavor = "multi_thread")]
async fn sensors_publishes_a_file_through_a_node_that_runs() {
    let home = home();
    let week = include_str!("../../examples/data/earthquakes.ndjson");
    let events: Vec<&str> = week.lines().take(25).collect();
    let file = home.path().join("events.ndjson");
    std::fs::write(&file, events.join("\n")).expect("it is writable");
    let node = Node::start(NodeConfig::on_loopback(home.path().join("node"))).await;
    let node = node.expect("a node");
    let address = node.addresses()[0].to_string();
    let file = file.to_str().expect("its name is text").to_owned();
    let lines = tokio::task::spawn_blocking(move || {
        let words = ["--speed", "1e9", "--topic", "week", "--node", &address, &file];
        let example = Example::start(&home, "sensors", &words);
        (example.finish(), home)
    });
    let (lines, _home) = lines.await.expect("it is published");
    assert!(lines.iter().any(|line| line == "25 records acknowledged, 0 pending"), "{lines:?}");

    let topic = node.client().topic("week").expect("a name");
    let stored = topic.fetch(Start::Beginning).await.expect("the topic is there");
    let stored: Vec<Delivered> = stored.try_collect().await.expect("it is stored here");
    assert_eq!(stored.len(), events.len());
    for (delivered, line) in stored.iter().zip(events) {
        let event: Value = serde_json::from_str(line).expect("it is JSON");
        let record = &delivered.record;
        assert_eq!(record.payload, line, "in the order of the file");
        assert_eq!(record.key.as_deref(), event["net"].as_str().map(str::as_bytes));
        assert_eq!(record.header("id").map(|id| &**id), event["id"].as_str().map(str::as_bytes));
        let magnitude = record.header("magnitude").map(|text| String::from_utf8_lossy(text));
        let magnitude: f64 = magnitude.expect("it has one").parse().expect("it is a number");
        assert_eq!(Some(magnitude), event["mag"].as_f64());
    }
    node.stop().await.expect("it stops cleanly");
}

#[test]
fn jobs_are_done_whichever_worker_dies_and_the_impossible_one_is_given_up() {
    let home = home();
    let lines = Example::start(&home, "jobs", &["--jobs", "30", "--workers", "2"]).finish();
    for job in (0..30).filter(|job| *job != 13) {
        let done = format!(": job {job} is done, try ");
        let tries = lines.iter().filter(|line| line.contains(&done)).count();
        assert_eq!(tries, 1, "job {job}: {lines:?}");
    }
    let given_up = "job 13 was given up after 3 tries: job 13 cannot be done";
    assert!(lines.iter().any(|line| line == given_up), "{lines:?}");
}

#[test]
fn chats_see_what_was_said_and_what_is_said() {
    let home = home();
    let network = format!("chat-{}", std::process::id());
    let chat = |name: &str| {
        let data = home.path().join(name);
        let data = data.to_str().expect("its name is text");
        let chat =
            Example::start(&home, "chat", &["--name", name, "--network", &network, "--data", data]);
        chat.until("Ctrl-D leaves");
        chat
    };
    let mut ann = chat("ann");
    ann.say("is somebody there?");
    ann.say("a screen is not\u{1b}[2J wiped");
    let mut bob = chat("bob");
    bob.until(" ann: is somebody there?");
    bob.until(" ann: a screen is not[2J wiped");
    bob.say("I am");
    ann.until(" bob: I am");
    ann.close_input();
    assert_eq!(ann.finish().last().map(String::as_str), Some("* bye"));
    bob.say("and now alone");
    bob.close_input();
    assert_eq!(bob.finish().last().map(String::as_str), Some("* bye"));

    let mut bob = chat("bob");
    // Before she left, what she had said before he came was brought to his disk.
    bob.until(" ann: is somebody there?");
    bob.until(" bob: I am");
    bob.until(" bob: and now alone");
    bob.close_input();
    bob.finish();
}

/// The status and the body of an answer that ends.
fn http(address: &str, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = open(address, request, headers, body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).expect("it has a status");
    (status.parse().expect("it is a number"), body.to_owned())
}

/// Sends a request. HTTP/1.0, so that the answer ends with the connection and has no other frames.
fn open(address: &str, request: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("it is a time");
    let length = body.len();
    let head = format!("{request} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    stream
}

/// The ids and the payloads of server-sent events.
fn events(body: &str) -> Vec<(String, String)> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_owned)
    };
    let event = |event: &str| {
        let data: Value = serde_json::from_str(&field(event, "data")?).expect("it is JSON");
        Some((field(event, "id")?, data["payload"].as_str()?.to_owned()))
    };
    body.split("\n\n").filter_map(event).collect()
}

#[test]
fn a_service_with_a_node_inside_takes_events_and_gives_them() {
    let home = home();
    let data = home.path().join("node");
    let network = format!("embed-{}", std::process::id());
    let data = data.to_str().expect("its name is text");
    let words = ["--http", "127.0.0.1:0", "--data", data, "--network", &network];
    let service = Example::start(&home, "embed", &words);
    let url = service.line().expect("it says where it listens");
    let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/events"));
    let address = address.expect("it is a URL");

    for payload in ["one", "two", "three"] {
        let (status, body) = http(address, "POST /events?key=k", "", payload);
        assert_eq!(status, 201, "{body}");
        assert!(body.contains("\"copies\":1"), "{body}");
    }
    let payloads =
        |body: &str| -> Vec<_> { events(body).into_iter().map(|(_, payload)| payload).collect() };
    let (status, body) = http(address, "GET /events?limit=2", "", "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(payloads(&body), ["one", "two"]);
    let (first, _) = events(&body).remove(0);
    let (_, body) = http(address, &format!("GET /events?after={first}&limit=2"), "", "");
    assert_eq!(payloads(&body), ["two", "three"]);
    let (second, _) = events(&body).remove(0);
    let last = format!("Last-Event-ID: {second}\r\n");
    let (_, body) = http(address, &format!("GET /events?after={first}&limit=1"), &last, "");
    assert_eq!(payloads(&body), ["three"]);

    let (status, body) = http(address, "GET /events?after=nothing", "", "");
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("\"hint\":"), "{body}");
    let (status, body) = http(address, "POST /events", "", &"x".repeat(1024 * 1024 + 1));
    assert_eq!(status, 413, "{body}");
    let (status, body) = http(address, "GET /health", "", "");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"nodes_alive\":1"), "{body}");

    // Live, and then the service ends: so does the stream, and nothing hangs.
    let mut live = BufReader::new(open(address, "GET /events", "", ""));
    let mut until = |word: &str| {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(live.read_line(&mut line).expect("it goes on") > 0, "it ends before `{word}`");
        }
    };
    until("three");
    http(address, "POST /events", "", "four");
    until("four");
    service.terminate();
    service.finish();
    let mut rest = String::new();
    live.read_to_string(&mut rest).expect("the answer ends");
    assert_eq!(payloads(&rest), [""; 0]);
}

#[test]
fn the_examples_in_the_folder_are_those_that_are_tested() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let manifest = include_str!("../Cargo.toml");
    for entry in std::fs::read_dir(folder).expect("it is part of the repository") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_name().and_then(|name| name.to_str()).expect("it is text");
            let declared = format!("path = \"../examples/{name}\"");
            assert!(manifest.contains(&declared), "{name} is not declared, so nothing builds it");
        }
    }
}
