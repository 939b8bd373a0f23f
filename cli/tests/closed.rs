//! Output that nobody reads any more: who waits for something else notices it all the same.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command},
};

use crate::cluster::{Cluster, SOON, eventually};

/// Starts a command, reads one line of it and closes the pipe; its exit status.
fn after_one_line(mut command: Command) -> i32 {
    let mut child = command.spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it is readable");
    assert!(!line.is_empty());
    assert_eq!(child.try_wait().expect("it is a child"), None, "it waits for more");
    drop(output);
    ended(child)
}

fn ended(mut child: Child) -> i32 {
    let status = eventually("the command ends", SOON, || child.try_wait().expect("it is a child"));
    status.code().expect("it ended by itself")
}

#[test]
fn subscribers_of_a_quiet_topic_end_with_their_readers() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run_with(0, &["publish", "t"], b"1\n2\n3\n").ok();
    for options in
        [&["t"][..], &["t", "--json"], &["t", "--as", "alice"], &["t", "--group", "g"], &["*"]]
    {
        let words = [&["subscribe"], options].concat();
        assert_eq!(after_one_line(cluster.command(0, &words)), 0, "{options:?}");
    }
}

#[test]
fn a_subscriber_without_a_node_ends_with_its_reader() {
    let mut cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "1"]).ok();
    let mut child = cluster.command(0, &["subscribe", "t"]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    cluster.kill(0);
    drop(output);
    assert_eq!(ended(child), 0);
}

#[test]
fn who_waits_for_an_outbox_ends_with_its_reader() {
    let mut cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    cluster.kill(1);
    cluster.kill(2);
    cluster.run(0, &["publish", "t", "1", "--timeout", "1s"]).with_status(3);
    let mut child = cluster.command(0, &["outbox", "--wait"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(ended(child), 0);
}

#[test]
fn a_file_and_nothing_are_never_closed() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "1"]).ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let mut child = cluster
        .command(0, &["subscribe", "t", "-n", "2"])
        .stdout(fs_err::File::create(&path).unwrap().into_file())
        .spawn()
        .unwrap();
    eventually("the first record is there", SOON, || {
        (fs_err::read(&path).unwrap() == b"1\n").then_some(())
    });
    let nowhere = cluster
        .command(0, &["subscribe", "t", "-n", "2"])
        .stdout(std::process::Stdio::null())
        .spawn();
    assert_eq!(child.try_wait().unwrap(), None);
    cluster.run(0, &["publish", "t", "2"]).ok();
    assert_eq!(ended(child), 0);
    assert_eq!(ended(nowhere.unwrap()), 0);
    assert_eq!(fs_err::read(&path).unwrap(), b"1\n2\n");
}
