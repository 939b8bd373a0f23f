//! Clients of closed networks: who they are, and how they stay.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, time::SystemTime};

use antiphon::model::{
    NodeKey, WallClock,
    roster::{Invitation, MemberKind, Pass, Ticket},
};
use antiphon_node::{
    load_network_key,
    membership::{Membership, contact},
};

use crate::{
    cluster::{Finished, finish},
    networks::Machines,
};

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_client_uses_a_network_from_a_machine_without_a_node() {
    let machines = Machines::new("identity");
    let first = machines.founded();
    for topic in ["quakes", "orders"] {
        machines.ask(&first, &["create", topic]).ok();
    }
    machines.ask(&first, &["publish", "quakes", "M 5.3"]).ok();
    let options = ["--client", "--name", "laptop", "--grant", "read quakes"];
    let ticket = machines.secret_file("laptop", &machines.ticket(&first, &options));
    let me = machines.path("laptop", "me");
    let join = ["join", "--ticket-file", &ticket, "--identity", &me, "--json"];
    let joined = machines.run("laptop", &join).ok().object();
    assert_eq!(joined["kind"], "client");
    assert_eq!(joined["network"], machines.network);
    for file in ["key", "network"] {
        assert_eq!(mode(&Path::new(&me).join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(Path::new(&me)), 0o700);

    // Neither the network nor a node is named.
    let run = |words: &[&str]| {
        let mut command = machines.command("laptop", words);
        command.env_remove("ANTIPHON_NETWORK").env("ANTIPHON_IDENTITY", &me);
        finish(command, b"")
    };
    assert_eq!(run(&["fetch", "quakes", "--raw"]).ok().stdout, b"M 5.3");
    let refused = run(&["publish", "quakes", "hello"]).with_status(1);
    refused.saying(&["lacks the grant `write quakes`", "network grant laptop 'write quakes'"]);
    run(&["fetch", "orders"]).with_status(1).saying(&["lacks the grant `read orders`"]);
    let members = run(&["network", "members", "--json"]).ok().objects();
    assert!(members.iter().any(|it| it["name"] == "laptop" && it["kind"] == "client"));

    machines.ask(&first, &["network", "grant", "laptop", "write quakes"]).ok();
    run(&["publish", "quakes", "hello"]).ok();
    machines.ask(&first, &["network", "revoke", "laptop"]).ok();
    run(&["fetch", "quakes", "--timeout", "2s"])
        .with_status(1)
        .saying(&["was removed from the network", "hint: an admin can admit it again"]);
}

#[test]
fn an_identity_that_cannot_be_used_is_named_with_what_helps() {
    let machines = Machines::new("strangers");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &["--client"]);
    let file = machines.secret_file("laptop", &ticket);
    let me = machines.path("laptop", "me");
    let run = |words: &[&str]| machines.run("laptop", words);
    let said = |finished: Finished, status, parts: &[&str]| {
        finished.with_status(status).without_data().saying(parts).saying(&["hint: "]);
    };
    said(run(&["topics", "--identity", &me]), 1, &["belongs to no closed network"]);
    said(run(&["join"]), 2, &["the ticket is missing"]);
    said(run(&["join", &ticket, "--ticket-file", &file]), 2, &["two tickets"]);
    said(run(&["join", "--ticket-file", &file, "--data", &me]), 2, &["admits clients"]);
    let set = |path: &str, mode| {
        fs_err::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set(&file, 0o644);
    said(run(&["join", "--ticket-file", &file]), 1, &["can be read by others", "chmod 600"]);
    set(&file, 0o600);
    run(&["join", "--ticket-file", &file, "--identity", &me]).ok();

    let topics = ["topics", "--identity", &me];
    run(&topics).ok();
    said(run(&[&topics[..], &["--network", "else"]].concat()), 2, &["is of the network"]);
    for name in ["key", "network"] {
        let path = format!("{me}/{name}");
        set(&path, 0o640);
        said(run(&topics), 1, &["others can use it", "chmod 600"]);
        set(&path, 0o600);
    }
    let data = machines.path("first", &format!("share/antiphon/{}", machines.network));
    said(run(&["topics", "--identity", &data]), 2, &["is the data directory of a node"]);
    let ticket = machines.secret_file("laptop", &machines.ticket(&first, &[]));
    let for_node = ["join", "--ticket-file", &ticket, "--identity", &me];
    said(run(&for_node), 2, &["admits nodes"]);
    // It ended long ago.
    let ticket = machines.secret_file("late", &ends_after(&machines, &first.address, 0));
    let late = machines.path("late", "me");
    machines.run("late", &["join", "--ticket-file", &ticket, "--identity", &late]).ok();
    let topics = ["topics", "--identity", &late, "--timeout", "2s"];
    let ended = ["its pass or its ticket has ended", "network grant"];
    said(machines.run("late", &topics), 1, &ended);
    // An admin is no client.
    let grant = ["network", "grant", "first", "--identity", &me];
    said(machines.ask(&first, &grant), 2, &["as its operator"]);
    // Without an identity, the hint names what is missing.
    let node = ["topics", "--node", &first.address, "--timeout", "2s"];
    said(run(&node), 1, &["belongs to a closed network", "`--identity DIR`"]);
}

/// A ticket for a client whose membership ends after some days.
fn ends_after(machines: &Machines, address: &str, days: u64) -> String {
    let home = machines.home("first");
    let network = &machines.network;
    let data = Membership::load(home.join("share/antiphon").join(network)).expect("it is founded");
    let admin = load_network_key(&home.join(format!("config/antiphon/{network}.admin")));
    let admin = admin.expect("it has an admin");
    #[expect(clippy::disallowed_methods, reason = "a ticket of a real network")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(now.expect("it is after 1970").as_millis()).expect("it is not far");
    let kept = data.kept();
    let invite = NodeKey::from_secret(&[7; 32]);
    let subject = (invite.node(), MemberKind::Invite);
    let mut pass = Pass::new(kept.network(), subject, admin.node(), WallClock(now));
    // An hour more, so that the day does not end while the test runs. None: it has ended.
    let until = if days == 0 { 1 } else { now + days * 86_400_000 + 3_600_000 };
    let until = Some(WallClock(until));
    pass.invitation = Some(Invitation { admits: MemberKind::Client, uses: 1, until });
    let contact = contact(&address.parse().expect("it is an address"));
    let contacts = vec![contact.expect("it has a peer id")];
    let pass = (pass.sign(&admin).expect("it is short"), [7; 32]);
    Ticket::invitation(kept.charter.clone(), kept.door.clone(), contacts, pass).to_string()
}

#[test]
fn a_client_is_warned_before_its_end_and_takes_a_later_pass_by_itself() {
    let machines = Machines::new("renewed");
    let first = machines.founded();
    let ticket = machines.secret_file("laptop", &ends_after(&machines, &first.address, 13));
    let me = machines.path("laptop", "me");
    let join = ["join", "--ticket-file", &ticket, "--identity", &me, "--name", "laptop"];
    machines.run("laptop", &join).ok();
    let topics = || machines.run("laptop", &["topics", "--identity", &me]).ok();
    topics().saying(&["warning: this membership ends in 13 days", "network grant"]);
    let members = machines.ask(&first, &["network", "members"]).ok();
    members.saying(&["warning: memberships end soon: `laptop` in 13 days"]);

    let before = Membership::load(&me).unwrap().expires().unwrap();
    machines.ask(&first, &["network", "grant", "laptop"]).ok();
    assert!(!topics().stderr.contains("warning"), "it has a later pass");
    let after = Membership::load(&me).unwrap();
    assert!(after.expires().unwrap() > before);
    assert_eq!(after.kept().own.claim(), None);
    assert_eq!(machines.ask(&first, &["network", "members"]).ok().stderr, "");
}
