//! `antiphon node`: how it starts, what it refuses, how it stops.

use std::os::unix::fs::PermissionsExt;

use crate::cluster::{Cluster, Finished, antiphon};

/// Runs a node that is expected not to start.
fn refused(words: &[&str]) -> Finished {
    let mut command = antiphon(&["node", "--no-discovery"]);
    command.args(words);
    let output = command.output().expect("the command starts");
    let finished = Finished {
        status: output.status.code().expect("it ended by itself"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    finished.with_status(1).without_data().saying(&["error: ", "hint: "])
}

#[test]
fn stops_cleanly_when_asked() {
    let mut cluster = Cluster::start(1);
    assert_eq!(cluster.stop(0), 0);
}

#[test]
fn keeps_its_name_and_its_key_to_itself() {
    let mut cluster = Cluster::start(1);
    let peer = cluster.node(0).peer.clone();
    cluster.kill(0);
    cluster.restart(0, 0);
    assert_eq!(cluster.node(0).peer, peer);
}

#[test]
fn refuses_a_directory_that_another_node_uses() {
    let cluster = Cluster::start(1);
    let data = cluster.data(0);
    refused(&["--data", data.to_str().unwrap()]).saying(&["used by another node", "--data"]);
}

#[test]
fn refuses_a_key_that_others_can_read() {
    let mut cluster = Cluster::start(1);
    assert_eq!(cluster.stop(0), 0);
    let data = cluster.data(0);
    let secret = fs_err::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        path.is_file() && fs_err::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
    });
    let key = secret.expect("the key is in the data directory, with mode 0600");
    fs_err::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&["--data", data.to_str().unwrap()]).saying(&["chmod 600"]);
}

#[test]
fn refuses_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let data = tempfile::tempdir().unwrap();
    let words = ["--data", data.path().to_str().unwrap(), "--listen", &address];
    refused(&words).saying(&["cannot listen", &address]);
}

#[test]
fn goes_on_when_nobody_reads_its_output() {
    let cluster = Cluster::start(2);
    // A third one whose standard output is closed from the start.
    let data = tempfile::tempdir().unwrap();
    let mut command = antiphon(&["node", "--no-discovery", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.args(["--network", cluster.network(), "--bootstrap", &cluster.node(0).address]);
    let mut child = command.arg("--data").arg(data.path()).spawn().unwrap();
    drop(child.stdout.take());
    cluster.wait_until_alive(3);
    child.kill().unwrap();
    child.wait().unwrap();
}
