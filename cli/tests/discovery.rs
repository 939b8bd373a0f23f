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
