//! Nodes and clients that find each other with no option.

use std::{path::Path, process::Command};

use tempfile::TempDir;

use crate::cluster::{Process, SOON, antiphon, eventually};

/// A command of a user with a runtime directory and a network of their own.
fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = antiphon(words);
    command.env("XDG_RUNTIME_DIR", home.join("run")).env("XDG_DATA_HOME", home.join("share"));
    command.env("ANTIPHON_NETWORK", format!("test-discovery-{}", std::process::id()));
    command
}

fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    fs_err::create_dir(home.path().join("run")).expect("it is writable");
    home
}

#[test]
fn three_nodes_with_no_option_but_data_are_a_cluster() {
    let home = home();
    let nodes: Vec<Process> = (0..3)
        .map(|number| {
            let mut node = command(home.path(), &["node", "--json", "--data"]);
            node.arg(home.path().join(format!("node-{number}")));
            let mut process = Process::start(node, &home.path().join(format!("{number}.log")));
            process.ready();
            process
        })
        .collect();
    eventually("a client with no option sees three nodes", SOON, || {
        let output = command(home.path(), &["peers", "--json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let alive = text.lines().filter(|line| line.contains("\"alive\"")).count();
        (output.status.success() && alive == 3).then_some(())
    });
    assert_eq!(nodes.len(), 3);
}

#[test]
fn a_client_that_finds_no_node_says_what_to_do() {
    let home = home();
    let mut topics = command(home.path(), &["topics", "--timeout", "500ms"]);
    topics.env("ANTIPHON_NETWORK", format!("test-nobody-{}", std::process::id()));
    let output = topics.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.starts_with("error: no node"), "{stderr}");
    assert!(stderr.contains("hint: ") && stderr.contains("antiphon node"), "{stderr}");
    assert!(stderr.contains("--node"), "{stderr}");
}

/// A command in a mount namespace of its own, in which this file stands for `/etc/hosts`.
fn with_hosts(hosts: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["-m", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]).arg(hosts);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    wrapped
}

#[test]
fn a_name_that_is_known_later_needs_no_restart() {
    let home = home();
    let hosts = home.path().join("hosts");
    fs_err::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let works = with_hosts(&hosts, &Command::new("true")).output();
    if let Some(reason) = match works {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    } {
        eprintln!("skipped: this machine makes no mount namespace: {reason}");
        return;
    }
    let node = |name: &str| {
        let words = ["node", "--json", "--no-discovery", "--listen", "/ip4/127.0.0.1/tcp/0"];
        let mut node = command(home.path(), &words);
        node.arg("--data").arg(home.path().join(name));
        node
    };
    let mut first = Process::start(node("first"), &home.path().join("first.log"));
    let (peer, address) = first.ready();
    let port = address.split('/').nth(4).expect("a port");
    let mut late = node("late");
    late.args(["--bootstrap", &format!("/dns4/first.test/tcp/{port}/p2p/{peer}")]);
    let log = home.path().join("late.log");
    let mut late = Process::start(with_hosts(&hosts, &late), &log);
    late.ready();
    let said = |text: &str| {
        eventually(&format!("it says `{text}`"), SOON, || {
            fs_err::read_to_string(&log).ok()?.contains(text).then_some(())
        });
    };
    said("cannot join through /dns4/first.test/tcp/");
    // In place: another file would not be the one that stands for `/etc/hosts`.
    fs_err::write(&hosts, "127.0.0.1 localhost first.test\n").unwrap();
    said("joined through /dns4/first.test/tcp/");
}
