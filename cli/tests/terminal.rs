//! What a person at a terminal sees.

use std::{
    fs::File,
    io::Read,
    process::{Command, Stdio},
    thread,
};

use nix::pty::openpty;

use crate::cluster::{Cluster, antiphon};

/// Runs a command at a terminal of its own; what the terminal got, and the exit status.
fn at_terminal(mut command: Command) -> (String, i32) {
    let terminal = openpty(None, None).expect("there are terminals");
    let slave = || Stdio::from(terminal.slave.try_clone().expect("it is open"));
    let mut child =
        command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("the command starts");
    // The terminal ends with its last user, which must not be this test.
    drop(command);
    drop(terminal.slave);
    let mut master = File::from(terminal.master);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        // At its end a terminal fails, or says that there is nothing.
        while let Ok(count @ 1..) = master.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..count]);
        }
        bytes
    });
    let status = child.wait().expect("it ends").code().expect("it ended by itself");
    let bytes = reader.join().expect("it is read");
    (String::from_utf8_lossy(&bytes).into_owned(), status)
}

#[test]
fn an_empty_answer_is_said() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let said = |words: &[&str]| at_terminal(cluster.command(0, words)).0;
    assert!(said(&["fetch", "t"]).contains("no records"));
    cluster.run(0, &["publish", "t", "a", "--key", "eu"]).ok();
    assert!(said(&["fetch", "t", "--key", "us"]).contains("no record matches"));
    assert_eq!(cluster.run(0, &["fetch", "t", "--key", "us"]).ok().stderr, "");
}

#[test]
fn control_characters_of_others_do_not_reach_a_terminal() {
    let cluster = Cluster::start(1);
    cluster.run(0, &["create", "t"]).ok();
    let evil = "a\x1b]0;owned\x07b\u{9b}31mc\rd";
    let words = ["publish", "t", evil, "--key", "k\x1b[2J", "--header", "h=\x1b[8m"];
    cluster.run(0, &words).ok();
    let shown = |words: &[&str]| {
        let (text, status) = at_terminal(cluster.command(0, words));
        assert_eq!(status, 0, "{text}");
        let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        assert!(!text.contains(obeyed), "{text:?}");
        text
    };
    assert!(shown(&["fetch", "t"]).contains(r"a\x1b]0;owned\x07b\u{9b}31mc\rd"));
    assert!(shown(&["subscribe", "t", "-n", "1", "-q"]).contains(r"\x1b]0;owned"));
    let all = shown(&["fetch", "t", "--format", "%k|%h{h}|%v|"]);
    assert!(all.contains(r"k\x1b[2J|\x1b[8m|a\x1b"), "{all:?}");
    let json = shown(&["fetch", "t", "--json"]);
    let value: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(value["payload"], evil);
    // Files and pipes get what was published, and so does who asks for it.
    assert_eq!(cluster.run(0, &["fetch", "t", "--raw"]).ok().stdout, evil.as_bytes());
    let (raw, _) = at_terminal(cluster.command(0, &["fetch", "t", "--raw"]));
    assert!(raw.contains(evil), "{raw:?}");
    let (unknown, status) = at_terminal(cluster.command(0, &["fetch", "x\u{202e}y\u{200b}z"]));
    assert_eq!(status, 1);
    assert!(
        unknown.contains(r"x\u{202e}y\u{200b}z") && !unknown.contains('\u{202e}'),
        "{unknown:?}"
    );
}

#[test]
fn errors_have_colours_at_a_terminal_unless_nobody_wants_them() {
    let said = |no_colour: Option<&str>| {
        let mut command = antiphon(&["nosuch"]);
        command.env("TERM", "xterm").envs(no_colour.map(|value| ("NO_COLOR", value)));
        for variable in ["CLICOLOR", "CLICOLOR_FORCE"]
            .into_iter()
            .chain(no_colour.is_none().then_some("NO_COLOR"))
        {
            command.env_remove(variable);
        }
        at_terminal(command).0
    };
    let coloured = said(None);
    let plain = "error: there is no command `nosuch`";
    assert!(!coloured.contains(plain) && coloured.contains("\u{1b}[31merror:"), "{coloured:?}");
    let bare = said(Some("1"));
    assert!(bare.contains(plain) && !bare.contains('\u{1b}'), "{bare:?}");
    let piped = antiphon(&["nosuch"]).env("TERM", "xterm").output().unwrap().stderr;
    assert!(String::from_utf8(piped).unwrap().contains(plain));
}
