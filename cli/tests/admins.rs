//! What admins say of the members of a closed network.

use serde_json::Value;

use crate::networks::Machines;

#[test]
fn a_key_that_was_admitted_joins_and_no_other() {
    let machines = Machines::new("admitted");
    let first = machines.founded();
    let id = machines.run("second", &["network", "id", "--json"]).ok().object();
    let peer = id["peer"].as_str().unwrap();
    let admit = ["network", "admit", peer, "--name", "second", "--contact", &first.address];
    let admitted = machines.ask(&first, &[&admit[..], &["--json"]].concat()).ok().object();
    assert_eq!((text(&admitted, "name"), text(&admitted, "kind")), ("second", "node"));
    machines.ask(&first, &admit).with_status(1).saying(&["is a member already", "network grant"]);
    let wrong = ["network", "admit", "Fw5bx3pN"];
    machines.ask(&first, &wrong).with_status(2).saying(&["is no whole peer id", "hint: "]);

    let ticket = admitted["ticket"].as_str().unwrap();
    let refused = machines.run("third", &["join", ticket]).with_status(1);
    refused.saying(&["the ticket is for", "`antiphon network id`"]);
    let third = machines.home("third").join("share/antiphon").join(&machines.network);
    assert!(!third.exists(), "nothing is left of it");
    machines.run("second", &["join", ticket]).ok();
    let second = machines.start("second", &[]);
    machines.wait_until_alive(&first, 2);
    machines.wait_until_alive(&second, 2);

    // Who was removed is admitted again, and its ticket still leads there.
    machines.ask(&first, &["network", "revoke", "second", "--reason", "sold"]).ok();
    machines.wait_until_alive(&first, 1);
    let again = machines.ask(&first, &["network", "revoke", "second"]).ok();
    again.saying(&["`second` was removed already", "no logs are left to close"]);
    machines.ask(&first, &admit).ok();
    machines.wait_until_alive(&first, 2);
    let log = machines.ask(&first, &["network", "log", "--json"]).ok().objects();
    let said: Vec<_> = log.iter().map(|it| (text(it, "event"), text(it, "name"))).collect();
    let expected = [("admitted", "first"), ("removed", "second"), ("admitted", "second")];
    assert_eq!(said, expected);
    assert_eq!((text(&log[1], "detail"), text(&log[1], "peer")), ("sold", peer));
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("it is text")
}

#[test]
fn rights_are_granted_and_a_node_keeps_those_that_its_records_need() {
    let machines = Machines::new("granted");
    let first = machines.founded();
    let grant = |words: &[&str]| machines.ask(&first, &[&["network", "grant"], words].concat());
    let granted = grant(&["first", "operate >", "--json"]).ok().object();
    assert_eq!(granted["grants"], serde_json::json!(["read,write,create,manage,operate,hold >"]));
    for less in ["read,hold >", "write >"] {
        grant(&["first", "--only", less]).with_status(2).saying(&["does not lose", "revoke"]);
    }
    let granted = grant(&["first", "--only", "write,hold >", "--json"]).ok().object();
    assert_eq!(granted["grants"], serde_json::json!(["write,hold >"]));
    grant(&["second", "read >"]).with_status(1).saying(&["no member has the name", "hint: "]);
    grant(&["first", "fly >"]).with_status(2).saying(&["there is no right `fly`"]);
    // Without the admin's key nobody grants anything.
    let keys = machines.path("first", "elsewhere");
    grant(&["first", "read >", "--keys", &keys]).with_status(1).saying(&["`--keys DIR`"]);
    let members = machines.ask(&first, &["network", "members", "--json"]).ok().object();
    assert_eq!(members["grants"], serde_json::json!(["write,hold >"]), "as before");
}

#[test]
fn a_ticket_is_closed_and_who_came_by_it_stays() {
    let machines = Machines::new("closing");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &["--uses", "3"]);
    machines.run("second", &["join", &ticket, "--name", "second"]).ok();
    let second = machines.start("second", &[]);
    machines.wait_until_alive(&first, 2);
    let close = ["network", "revoke", &ticket, "--keep-members", "--json"];
    assert_eq!(machines.ask(&first, &close).ok().object()["status"], "closed");
    let again = machines.ask(&first, &["network", "revoke", &ticket]).ok();
    again.saying(&["warning: who has a pass of its own stays: `second`", "hint: "]);
    let member = ["network", "revoke", "second", "--keep-members"];
    machines.ask(&first, &member).with_status(2).saying(&["is no ticket", "hint: "]);

    let third = ["join", &ticket, "--name", "third"];
    machines.run("third", &third).ok();
    let _third = machines.start("third", &[]);
    machines.wait_until_said("third", "its ticket was withdrawn");
    machines.wait_until_alive(&first, 2);
    machines.wait_until_alive(&second, 2);
    let members = machines.ask(&second, &["network", "members", "--json"]).ok().objects();
    let said: Vec<_> = members.iter().map(|it| (text(it, "name"), text(it, "kind"))).collect();
    assert_eq!(said, [("first", "node"), ("second", "node")]);
}
