//! Closed networks: founded, joined with tickets, and shut to everybody else.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::cluster::{Finished, Process, SOON, antiphon, eventually, finish};

/// Machines of one network, each with a user of its own.
pub(crate) struct Machines {
    pub(crate) network: String,
    homes: TempDir,
    /// The network namespaces of those that are in one.
    hosts: BTreeMap<&'static str, String>,
}

/// A node of a machine.
pub(crate) struct Running {
    process: Process,
    pub(crate) machine: &'static str,
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn pid(&self) -> String {
        self.process.pid().as_raw_nonzero().to_string()
    }
}

impl Machines {
    pub(crate) fn new(purpose: &str) -> Self {
        let homes = tempfile::tempdir().expect("a temporary directory");
        let network = format!("test-{purpose}-{}", std::process::id());
        Self { network, homes, hosts: BTreeMap::new() }
    }

    /// Puts a machine into a network namespace.
    pub(crate) fn put(&mut self, machine: &'static str, host: &str) {
        self.hosts.insert(machine, host.to_owned());
    }

    pub(crate) fn home(&self, machine: &str) -> PathBuf {
        let home = self.homes.path().join(machine);
        fs_err::create_dir_all(home.join("run")).expect("it is writable");
        home
    }

    pub(crate) fn command(&self, machine: &str, words: &[&str]) -> Command {
        let home = self.home(machine);
        let mut command = match self.hosts.get(machine) {
            Some(host) => within(host, &antiphon(words)),
            None => antiphon(words),
        };
        command.env("XDG_RUNTIME_DIR", home.join("run")).env("XDG_DATA_HOME", home.join("share"));
        command.env("XDG_CONFIG_HOME", home.join("config"));
        for variable in ["ANTIPHON_TICKET", "ANTIPHON_IDENTITY", "ANTIPHON_KEYS"] {
            command.env_remove(variable);
        }
        command.env("ANTIPHON_NETWORK", &self.network);
        command
    }

    pub(crate) fn run(&self, machine: &str, words: &[&str]) -> Finished {
        finish(self.command(machine, words), b"")
    }

    fn log(&self, machine: &str) -> PathBuf {
        self.home(machine).join("node.log")
    }

    pub(crate) fn start(&self, machine: &'static str, options: &[&str]) -> Running {
        self.start_at(machine, "/ip4/127.0.0.1/tcp/0", options)
    }

    /// Starts a node that listens at this address.
    pub(crate) fn start_at(
        &self,
        machine: &'static str,
        address: &str,
        options: &[&str],
    ) -> Running {
        let words = ["node", "--json", "--no-discovery", "--listen", address];
        let mut command = self.command(machine, &words);
        command.args(options);
        let mut process = Process::start(command, &self.log(machine));
        let (_, address) = process.ready();
        Running { process, machine, address }
    }

    /// Runs a command that asks a node of the same machine.
    pub(crate) fn ask(&self, node: &Running, words: &[&str]) -> Finished {
        self.run(node.machine, &[words, &["--node", &node.address]].concat())
    }

    /// The first machine of the network, with a node.
    pub(crate) fn founded(&self) -> Running {
        self.run("first", &["network", "create", &self.network, "--name", "first"]).ok();
        self.start("first", &[])
    }

    /// A ticket of the first machine.
    pub(crate) fn ticket(&self, first: &Running, options: &[&str]) -> String {
        let words = ["network", "invite", "--json", "--contact", &first.address];
        let invited = self.run(first.machine, &[&words, options].concat()).ok().object();
        invited["ticket"].as_str().expect("it is text").to_owned()
    }

    /// A file of a machine that nobody else can read.
    pub(crate) fn secret_file(&self, machine: &str, text: &str) -> String {
        let path = self.home(machine).join("ticket");
        fs_err::write(&path, text).expect("it is writable");
        fs_err::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is the user's");
        path.into_os_string().into_string().expect("it is text")
    }

    /// A path of a machine, as text.
    pub(crate) fn path(&self, machine: &str, name: &str) -> String {
        self.home(machine).join(name).into_os_string().into_string().expect("it is text")
    }

    pub(crate) fn wait_until_alive(&self, node: &Running, count: usize) {
        eventually("the members know each other", SOON, || {
            let peers = self.ask(node, &["peers", "--json"]);
            let peers = (peers.status == 0).then(|| peers.objects())?;
            (peers.iter().filter(|peer| peer["state"] == "alive").count() == count).then_some(())
        });
    }

    pub(crate) fn wait_until_said(&self, machine: &str, what: &str) {
        eventually(what, SOON, || {
            let said = fs_err::read_to_string(self.log(machine)).unwrap_or_default();
            said.contains(what).then_some(())
        });
    }
}

/// A command in a network namespace.
pub(crate) fn within(host: &str, inner: &Command) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The commands of the README that make a closed network, without their comments.
fn commands_of_the_readme() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs_err::read_to_string(path).expect("it is there");
    let section = readme.split("\n## ").find(|it| it.starts_with("Only your own machines"));
    let block = section.and_then(|section| section.split("```sh\n").nth(1)).expect("a block");
    let block = block.split("```").next().expect("it ends");
    block.lines().map(|line| line.split(" # ").next().expect("a start").trim().to_owned()).collect()
}

/// Runs a command of a document on a machine, by a shell, in this network instead of `lab`.
fn run_as_written(machines: &Machines, machine: &str, text: &str) -> Finished {
    let text = text.replace(" lab", &format!(" {}", machines.network));
    let like = machines.command(machine, &[]);
    let program = like.get_program().to_str().expect("it is text");
    let mut shell = Command::new("sh");
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.args(["-c", &text.replace("antiphon ", &format!("{program} "))]);
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(shell, b"")
}

#[test]
fn the_six_commands_of_the_readme_make_a_closed_network_with_a_reader() {
    let commands = commands_of_the_readme();
    let [create, node, invite, join_and_node, invite_client, join] = commands.as_slice() else {
        panic!("there are six: {commands:#?}")
    };
    let machines = Machines::new("readme");
    let run = |machine: &str, text: &str| run_as_written(&machines, machine, text).ok();
    run("first", create);
    assert_eq!(node, "antiphon node --network lab");
    let first = machines.start("first", &[]);
    // Nodes of tests are not found by themselves, so a ticket names this one.
    let ticket = |text: &str| {
        let invited = run("first", &format!("{text} --contact {}", first.address));
        String::from_utf8(invited.stdout).expect("it is text").trim().to_owned()
    };
    let for_two = ticket(invite);
    let (join_node, then) = join_and_node.split_once(" && ").expect("two in one line");
    assert_eq!(then, node);
    let others = ["second", "third"].map(|machine| {
        run(machine, &join_node.replace("TICKET", &for_two));
        machines.start(machine, &[])
    });
    for node in others.iter().chain([&first]) {
        machines.wait_until_alive(node, 3);
    }
    let used_up = run_as_written(&machines, "fourth", &join_node.replace("TICKET", &for_two));
    used_up.ok();
    let _fourth = machines.start("fourth", &[]);
    machines.wait_until_said("fourth", "its ticket is used up");

    let for_client = ticket(invite_client);
    run("laptop", &join.replace("TICKET", &for_client));
    for topic in ["orders", "wages"] {
        machines.ask(&first, &["create", topic, "--replicas", "3"]).ok();
        machines.ask(&first, &["publish", topic, "one"]).ok();
    }
    let own = format!("config/antiphon/{}.client", machines.network);
    let own = machines.path("laptop", &own);
    let client = |words: &[&str]| {
        machines.run("laptop", &[words, &["--identity", &own, "--node", &first.address]].concat())
    };
    assert_eq!(client(&["fetch", "orders", "--raw"]).ok().stdout, b"one");
    client(&["fetch", "wages"]).with_status(1).saying(&["lacks the grant `read wages`"]);
    client(&["publish", "orders", "two"])
        .with_status(1)
        .saying(&["lacks the grant `write orders`"]);
    let topics = client(&["topics", "--json"]).ok().objects();
    assert_eq!(topics.len(), 1, "it sees the one topic alone: {topics:?}");
    let stranger = ["topics", "--node", &first.address, "--timeout", "2s"];
    machines.run("stranger", &stranger).with_status(1);
}

#[test]
fn machines_with_tickets_get_in_and_nobody_else() {
    let machines = Machines::new("closed");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &[]);

    let joined = machines.run("second", &["join", &ticket, "--name", "second", "--json"]);
    assert_eq!(joined.ok().object()["network"], machines.network);
    let second = machines.start("second", &[]);
    machines.wait_until_alive(&first, 2);
    machines.wait_until_alive(&second, 2);
    machines.ask(&first, &["create", "quakes", "--replicas", "2"]).ok();
    machines.ask(&first, &["publish", "quakes", "M 5.3"]).ok();
    let read = machines.ask(&second, &["fetch", "quakes", "--raw"]).ok();
    assert_eq!(read.stdout, b"M 5.3");

    // The ticket was for one machine.
    machines.run("third", &["join", &ticket]).ok();
    let third = machines.start("third", &[]);
    machines.wait_until_said("third", "its ticket is used up");
    // Who has no ticket has no door.
    let stranger = machines.start("stranger", &["--bootstrap", &first.address]);
    let asked = machines.run("guest", &["topics", "--node", &first.address, "--timeout", "2s"]);
    asked.with_status(1).without_data();
    machines.wait_until_alive(&first, 2);
    for outside in [&third, &stranger] {
        let peers = machines.ask(outside, &["peers", "--json"]).ok().objects();
        assert_eq!(peers.len(), 1, "{} knows itself alone", outside.machine);
    }
}

#[test]
fn a_member_that_is_put_out_stays_out_and_its_records_stay() {
    let machines = Machines::new("revoked");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &["--uses", "2"]);
    for machine in ["second", "third"] {
        machines.run(machine, &["join", &ticket, "--name", machine]).ok();
    }
    let (second, third) = (machines.start("second", &[]), machines.start("third", &[]));
    for node in [&first, &second, &third] {
        machines.wait_until_alive(node, 3);
    }
    machines.ask(&first, &["create", "quakes", "--replicas", "3"]).ok();
    machines.ask(&third, &["publish", "quakes", "M 5.3"]).ok();
    let removed = ["network", "revoke", "third", "--reason", "sold"];
    machines.ask(&first, &removed).ok();
    for node in [&first, &second] {
        eventually("every member knows it", SOON, || {
            let members = machines.ask(node, &["network", "members", "--json"]).ok().objects();
            let is_out = |it: &serde_json::Value| it["kind"] == "removed" && it["reason"] == "sold";
            members.iter().any(is_out).then_some(())
        });
        machines.wait_until_alive(node, 2);
    }
    // It does not come back, not even after a restart of all.
    drop((first, second, third));
    let first = machines.start("first", &[]);
    let through = ["--bootstrap", &first.address];
    let (second, third) = (machines.start("second", &through), machines.start("third", &through));
    machines.wait_until_said("third", "removed from the network");
    machines.wait_until_alive(&first, 2);
    machines.wait_until_alive(&second, 2);
    let peers = machines.ask(&third, &["peers", "--json"]).ok().objects();
    assert!(peers.iter().filter(|peer| peer["state"] == "alive").count() < 2, "{peers:?}");
    let read = machines.ask(&second, &["fetch", "quakes", "--raw"]).ok();
    assert_eq!(read.stdout, b"M 5.3");
}

#[test]
fn a_member_comes_back_after_a_restart_of_all() {
    let machines = Machines::new("restarted");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &[]);
    machines.run("second", &["join", &ticket]).ok();
    let second = machines.start("second", &[]);
    machines.wait_until_alive(&first, 2);
    machines.ask(&first, &["create", "quakes", "--replicas", "2"]).ok();
    machines.ask(&second, &["publish", "quakes", "M 5.3"]).ok();
    drop((first, second));
    let first = machines.start("first", &[]);
    let second = machines.start("second", &["--bootstrap", &first.address]);
    machines.wait_until_alive(&first, 2);
    machines.wait_until_alive(&second, 2);
    let read = machines.ask(&first, &["fetch", "quakes", "--raw"]).ok();
    assert_eq!(read.stdout, b"M 5.3");
}

#[test]
fn what_cannot_be_meant_changes_nothing() {
    let machines = Machines::new("misused");
    let first = machines.founded();
    let name = machines.network.clone();
    let said = |finished: Finished, status, parts: &[&str]| {
        finished.with_status(status).without_data().saying(parts).saying(&["hint: "]);
    };
    said(machines.run("first", &["network", "create", &name]), 1, &["belongs to"]);
    said(machines.run("other", &["network", "invite"]), 1, &["belongs to no closed network"]);
    let wrong = ["network", "invite", "--grant", "fly >"];
    said(machines.run("first", &wrong), 2, &["there is no right `fly`"]);
    let bare = ["network", "invite", "--contact", "/ip4/127.0.0.1/tcp/4001"];
    said(machines.run("first", &bare), 2, &["peer id"]);

    let ticket = machines.ticket(&first, &[]);
    let cut = &ticket[..ticket.len() - 9];
    said(machines.run("other", &["join", cut]), 2, &["cut short"]);
    said(machines.run("other", &["join", "lab"]), 2, &["a ticket begins with"]);
    said(machines.run("first", &["join", &ticket]), 1, &["already"]);
    let brief = machines.ticket(&first, &["--expires", "1ms"]);
    eventually("the ticket has expired", SOON, || {
        let joined = machines.run("other", &["join", &brief]);
        (joined.status == 1).then(|| said(joined, 1, &["the ticket has expired"]))
    });
    assert!(!machines.home("other").join("share/antiphon").join(&name).join("network").exists());
}

/// All files below a directory, but for logs.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(directory).expect("it is readable") {
            let path = entry.expect("it is listed").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_none_or(|ending| ending != "log") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_network_that_was_not_founded_leaves_no_file() {
    let machines = Machines::new("halfway");
    let network = machines.network.clone();
    let create = ["network", "create", &network];
    // Fails, with what it says, and changes nothing.
    let fails = |machine: &str, options: &[&str], parts: &[&str]| {
        let before = files(&machines.home(machine));
        let failed = machines.run(machine, &[&create, options].concat());
        failed.with_status(1).without_data().saying(parts).saying(&["hint: "]);
        assert_eq!(files(&machines.home(machine)), before, "{options:?}");
    };
    let open = machines.start("open", &[]);
    machines.ask(&open, &["create", "quakes"]).ok();
    fails("open", &[], &["is used by another node"]);
    drop(open);
    fails("open", &[], &["of a node of an open network"]);

    let file = machines.secret_file("keys", "no directory");
    fails("keys", &["--data", &format!("{file}/data")], &["cannot be used"]);
    fails("keys", &["--keys", &file], &["cannot be made"]);
    let keys = machines.path("keys", "old");
    fs_err::create_dir_all(&keys).unwrap();
    fs_err::write(Path::new(&keys).join(format!("{network}.admin")), "of another one").unwrap();
    fails("keys", &["--keys", &keys], &["was not made"]);
    // The last step fails: something is in the way of the file.
    let data = machines.path("keys", "data");
    fs_err::create_dir_all(Path::new(&data).join("network.new/in the way")).unwrap();
    fails("keys", &["--data", &data], &["was not kept"]);
    fs_err::remove_dir_all(&data).unwrap();
    machines.run("keys", &[&create[..], &["--data", &data]].concat()).ok();
}
