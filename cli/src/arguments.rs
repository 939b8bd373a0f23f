//! The command line as types.

mod archives;
mod bench;
mod outbox;
mod reading;
mod terms;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use antiphon::{
    model::{Network, TopicName, TopicPattern},
    wire::Acks,
};
use antiphon_node::Multiaddr;
use bytes::Bytes;
use clap::{
    Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub(crate) use self::{
    archives::{Export, ExportFormat, Import},
    bench::{Bench, BenchCase},
    outbox::{Outbox, Patience},
    reading::{
        Fetch, NamedSubscription, Reading, Subscribe, Subscription, SubscriptionAction,
        Subscriptions,
    },
    terms::{Alter, Delete, Retain},
};
use crate::{
    peer::PeerArgument,
    values::{self, Floor, NodeAddresses},
};

/// Durable publish/subscribe without a broker.
///
/// Every process is a libp2p node. Topics are stored on several of them, and any one may fail.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    propagate_version = true,
    arg_required_else_help = false,
    after_help = EXAMPLES
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads a command line, whose first word is the program's name.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        let mut definition = definition();
        let arguments = match definition.try_get_matches_from_mut(words) {
            Ok(mut matches) => Self::from_arg_matches_mut(&mut matches)
                .map_err(|error| error.format(&mut definition)),
            Err(error) => Err(error),
        };
        let waits = match &arguments {
            Ok(arguments) => match &arguments.command {
                Command::Publish(publish) => publish.wait.is_some(),
                Command::Outbox(outbox) => outbox.wait.is_some(),
                _ => false,
            },
            // What is not known may be the time itself.
            Err(error) => match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(unknown)) => unknown != "--wait",
                _ => false,
            },
        };
        match Patience::detached(words).filter(|_| waits) {
            Some(failure) => Err(definition.error(ErrorKind::TooManyValues, failure)),
            None => arguments,
        }
    }
}

/// All commands and options. Those that all commands share are described once, with the program.
pub(crate) fn definition() -> clap::Command {
    let program = Arguments::command();
    let shared = program.get_arguments().filter(|option| option.is_global_set());
    let shared: Vec<_> = shared.map(|option| option.clone().hide(true)).collect();
    with_shared(program, &shared)
}

fn with_shared(command: clap::Command, shared: &[Arg]) -> clap::Command {
    let is_a_number = |argument: &Arg| {
        const NAMES: [&str; 6] = ["N", "M", "S", "SIZE", "BYTES", "DURATION"];
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().any(|name| NAMES.contains(&name.as_str()))
    };
    let command = command.mut_args(|argument| {
        let may_be_negative = is_a_number(&argument) && !argument.is_require_equals_set();
        // What is said of `-1` is then what is wrong with the number.
        if may_be_negative { argument.allow_hyphen_values(true) } else { argument }
    });
    command.mut_subcommands(|subcommand| {
        let after = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
        let after = format!("{after}\n\n{SHARED}");
        with_shared(subcommand.args(shared).after_help(after.trim_start().to_owned()), shared)
    })
}

const SHARED: &str = "\
Options of all commands, which `antiphon --help` describes:
  --node, --network, --timeout, --json, --quiet, --verbose";

const EXAMPLES: &str = "\
Examples:
  antiphon demo                    see a cluster lose its owner and no record
  antiphon node                    run a node; nodes on the LAN find each other
  antiphon create quakes           create a topic with three replicas
  antiphon publish quakes 'hello'  publish a record
  antiphon fetch quakes            print all records
  antiphon subscribe quakes        print all records and then those to come

Environment:
  ANTIPHON_NODE     nodes to talk to, as --node; separated by commas or spaces
  ANTIPHON_NETWORK  network, as --network
  NO_COLOR          no colours, whatever its value
  RUST_LOG          what a node logs, in place of --verbose

Files:
  ~/.local/share/antiphon/NETWORK  a node's key and its topics (node --data DIR)
  ~/.local/state/antiphon/history  what was typed in `antiphon shell`
  $XDG_RUNTIME_DIR/antiphon        addresses of this user's nodes; where the
                                   variable is not set, /tmp/antiphon-UID

Exit status: 0 done, 1 failed, 2 wrong usage, 3 published but not acknowledged in time, 130 \
interrupted by Ctrl-C.";

/// Options of every command; they stand before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Node to talk to; may be repeated [default: one of this machine, else of the LAN]
    #[arg(long, value_name = "MULTIADDR", env = "ANTIPHON_NODE", hide_env_values = true)]
    #[arg(global = true, value_parser = str::parse::<NodeAddresses>)]
    node: Vec<NodeAddresses>,

    /// Network to use
    #[arg(long, value_name = "NAME", env = "ANTIPHON_NETWORK", hide_env_values = true)]
    #[arg(global = true, value_parser = values::network, default_value = Network::DEFAULT)]
    pub(crate) network: Network,

    /// Longest time to find a node, for its answer, and for a publish
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    #[arg(global = true, default_value = "10s")]
    pub(crate) timeout: Duration,

    /// Write one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Print more; twice for debugging
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl GlobalOptions {
    /// The nodes to talk to, in order.
    pub(crate) fn nodes(&self) -> Vec<Multiaddr> {
        self.node.iter().flat_map(|addresses| addresses.0.iter().cloned()).collect()
    }

    /// Whether a connection that was made with these options serves the others as well.
    pub(crate) fn same_connection(&self, other: &Self) -> bool {
        (&self.node, &self.network, self.timeout) == (&other.node, &other.network, other.timeout)
    }

    /// The options as they are written on a command line.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let timeout = humantime::format_duration(self.timeout).to_string();
        let mut words =
            vec!["--network".to_owned(), self.network.to_string(), "--timeout".to_owned(), timeout];
        for node in self.nodes() {
            words.extend(["--node".to_owned(), node.to_string()]);
        }
        let flags = [(self.json, "--json"), (self.quiet, "--quiet")];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
        words.extend((0..self.verbose).map(|_| "--verbose".to_owned()));
        words
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    Node(Node),
    Create(Create),
    Alter(Alter),
    Delete(Delete),
    Publish(Publish),
    Fetch(Fetch),
    Subscribe(Subscribe),
    Subscriptions(Subscriptions),
    Subscription(Subscription),
    Topics(Topics),
    Info(Info),
    Outbox(Outbox),
    Peers(Peers),
    Verify(Verify),
    Export(Export),
    Import(Import),
    Leave(Leave),
    Forget(Forget),
    Shell(Shell),
    Demo(Demo),
    Bench(Bench),
}

/// Run a node
///
/// Prints one line per address and then `ready`. Ctrl-C stops it cleanly.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon node
  antiphon node --data /var/lib/antiphon --listen /ip4/0.0.0.0/tcp/4001
  antiphon node --data n2 --bootstrap 192.168.1.10:4001
  antiphon node --data n2 --bootstrap /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…")]
pub(crate) struct Node {
    /// Directory for its topics and its key [default: the user's data directory, per network]
    ///
    /// Its disk has 128 MiB at least: 64 MiB are set aside for a full disk, and 16 MiB are kept free.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Address to listen at; may be repeated [default: IPv4 and IPv6 of all interfaces, the port of
    /// last time]
    #[arg(long, value_name = "MULTIADDR", value_parser = values::listen_address)]
    pub(crate) listen: Vec<Multiaddr>,

    /// Node to join through: an address that it printed, or `HOST:PORT`; may be repeated
    ///
    /// With the peer id at the end no other node is taken for it. Without one, whatever node of the
    /// network answers there will do.
    #[arg(long, value_name = "ADDRESS", value_parser = values::bootstrap_address)]
    pub(crate) bootstrap: Vec<Multiaddr>,

    /// Take new topics though nothing was reached at the bootstrap addresses: the first node of its
    /// network
    #[arg(long)]
    pub(crate) alone: bool,

    /// Do not look for nodes by mDNS or in this machine's runtime directory
    #[arg(long)]
    pub(crate) no_discovery: bool,

    /// Most bytes that topics may use on the disk: `10GB` [default: all of it]
    ///
    /// When they are used up, the node refuses new records and serves those that it has. It accepts
    /// records again when there is space.
    #[arg(long, value_name = "SIZE", value_parser = values::max_disk)]
    pub(crate) max_disk: Option<u64>,
}

/// Create a topic
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon create quakes
  antiphon create quakes --replicas 5 --min-copies 3
  antiphon create quakes --retain-age 7d --retain-bytes 1GB
  antiphon create stations --compact
  antiphon create quakes --if-not-exists --json

Retention: each replica deletes whole batches, the oldest first. It may keep up to 1/32 more than the \
limits say.

Compaction: a batch is deleted once each of its records has a newer record with the same key. Records \
without a key stay.")]
pub(crate) struct Create {
    /// Name of the topic: up to 255 bytes in any script
    #[arg(value_parser = values::new_topic)]
    pub(crate) topic: TopicName,

    /// Nodes that store the topic [default: 3]
    ///
    /// With fewer nodes the topic spreads as others join.
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Least copies that acknowledge a record: `M`, or `auto` [default: auto]
    ///
    /// `auto` is 2 as long as three or more nodes belong to the network, those included that are
    /// away and not forgotten; else 1.
    #[arg(long, value_name = "M", value_parser = values::floor)]
    pub(crate) min_copies: Option<Floor>,

    #[command(flatten)]
    pub(crate) retain: Retain,

    /// Succeed if the topic exists already, with the terms that are given
    #[arg(long)]
    pub(crate) if_not_exists: bool,
}

/// Publish records: the arguments, the lines of standard input, or a file
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon publish quakes 'M 5.3, 50km NNW of Sangiang' --key us2000crkq
  antiphon publish quakes < events.ndjson
  tail -f log | antiphon publish logs --receipts --json
  antiphon publish images --file map.png --header type=image/png
  antiphon publish orders '12.50' --id order-7       # safe to run again
  antiphon publish quakes --id-from id --key-from net < events.ndjson
  antiphon publish quakes --wait < events.ndjson     even while replicas are away

A record has at most 1 MiB, with its key and headers.")]
pub(crate) struct Publish {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Records; without any, each line of standard input is one
    ///
    /// A line ends before its LF. A CR before that stays in the record: `tr -d '\r'` takes it out.
    /// A byte order mark before the first line is left out; `--file` publishes all bytes.
    #[arg(value_name = "MESSAGE", allow_negative_numbers = true)]
    pub(crate) messages: Vec<String>,

    /// Key of the records: what they are about
    ///
    /// In a compacted topic, an empty record deletes its key.
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Use this field of each line, which is a JSON object, as the key
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["key", "messages", "file"])]
    pub(crate) key_from: Option<String>,

    /// Header of the records; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub(crate) headers: Vec<(String, Bytes)>,

    /// Copies to wait for; never fewer than the topic's `--min-copies`
    #[arg(long, value_enum, default_value = "quorum")]
    pub(crate) acks: AcksWanted,

    /// Publish a file as one record; `-` for all of standard input
    #[arg(long, value_name = "PATH", conflicts_with = "messages")]
    pub(crate) file: Option<PathBuf>,

    /// Print a line for each record of standard input
    #[arg(long, conflicts_with_all = ["messages", "file"])]
    pub(crate) receipts: bool,

    /// Id of the record: publish it again under the same id, and it is stored once
    ///
    /// For one record: a single argument, or a file. Ids are remembered for ten minutes, at all
    /// nodes. Readers find the id in the header `antiphon-id`.
    #[arg(long, value_parser = values::record_id)]
    pub(crate) id: Option<String>,

    /// Use this field of each line, which is a JSON object, as the id
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["id", "messages", "file"])]
    pub(crate) id_from: Option<String>,
    /// Wait until pending records are acknowledged [default: no limit]
    ///
    /// While too few replicas are in reach, records go into the node's outbox at once. Ctrl-C ends
    /// the wait with exit status 3. The records stay in the outbox and are delivered.
    #[arg(long, value_name = "DURATION", value_parser = str::parse::<Patience>)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = Patience::ENDLESS)]
    pub(crate) wait: Option<Patience>,
}

/// How many copies to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksWanted {
    /// One copy
    #[value(name = "1")]
    One,
    /// A majority of the replicas that are alive
    Quorum,
    /// Every replica that is alive
    All,
}

impl From<AcksWanted> for Acks {
    fn from(wanted: AcksWanted) -> Self {
        match wanted {
            AcksWanted::One => Self::One,
            AcksWanted::Quorum => Self::Quorum,
            AcksWanted::All => Self::All,
        }
    }
}

/// List the topics of the network, or those that match a pattern
///
/// In a pattern, the part `*` stands for any one part of a name, and `>` at the end for one or more
/// parts.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topics
  antiphon topics 'sensors.*.temp'
  antiphon topics 'sensors.>' --json | jq -r .topic

Elsewhere than on a terminal, columns are separated by tabs and have no header: topic, replicas, \
nodes that hold it, records.")]
pub(crate) struct Topics {
    /// Only topics whose names match [default: all topics]
    #[arg(value_parser = values::pattern)]
    pub(crate) pattern: Option<TopicPattern>,
}

/// Show the replicas of a topic and what they hold
///
/// `--verbose` and `--json` add addresses, the topic's id, and the cursor at its end.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon info quakes
  antiphon info quakes --json | jq -r .cursor")]
pub(crate) struct Info {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,
}

/// List the nodes that this command's node knows, itself first
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers
  antiphon peers --json | jq -r 'select(.state == \"alive\") | .addresses[0]'

On a terminal a peer id is its last eight characters, which commands accept, and of several addresses \
one is shown. `--verbose` shows all of both. Elsewhere columns are separated by tabs and have no \
header: peer id, state, round-trip time in milliseconds, addresses.")]
pub(crate) struct Peers {}

/// Compare what the replicas of topics have on their disks
///
/// Every replica reads all its records and checks every byte. Damaged records are fetched again from
/// another replica. Fails unless all replicas hold the same.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon verify quakes
  antiphon verify                               all topics
  antiphon verify quakes --repair               wait for the repair, and compare again

Columns: replica, role, records held, lacking, damaged, differing.")]
pub(crate) struct Verify {
    /// Name of the topic [default: all topics]
    #[arg(value_parser = values::topic)]
    pub(crate) topic: Option<TopicName>,

    /// Where replicas differ, wait until they are repaired, and compare again
    #[arg(long)]
    pub(crate) repair: bool,

    /// Longest time to wait for the repair of a topic
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "5m")]
    pub(crate) within: Duration,
}

/// Hand over all that a node holds, and end it
///
/// Without a name it is the only node of this user on this machine. It ends when other nodes hold
/// all that it held. Ctrl-C ends this command; the node goes on. Started again, it is a member like
/// any other.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon leave
  antiphon leave --data /var/lib/antiphon --yes
  antiphon leave Fw5bx3pN                       its last characters are enough
  antiphon leave --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…")]
pub(crate) struct Leave {
    /// Peer id of the node [default: the one at `--node`, or the only one of this user]
    pub(crate) peer: Option<PeerArgument>,

    /// The node with this data directory
    #[arg(long, value_name = "DIR", conflicts_with = "peer")]
    pub(crate) data: Option<PathBuf>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Longest time to wait for it
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "30m")]
    pub(crate) within: Duration,
}

/// Declare a node lost
///
/// Its topics are copied to other nodes at once, not after ten minutes, and readers no longer wait
/// for what it may hold. If it comes back nevertheless, it is a member like any other.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers                                shows who is away
  antiphon forget Fw5bx3pN                      its last characters are enough
  antiphon forget Fw5bx3pN --yes                without being asked, for scripts")]
pub(crate) struct Forget {
    /// Peer id of the node, or its last characters
    pub(crate) peer: PeerArgument,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Type commands at a prompt, with a menu, history and completion
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon shell
  echo 'create quakes --if-not-exists' | antiphon shell")]
pub(crate) struct Shell {}

/// Start nodes on this machine, kill a topic's owner, and check that no record is lost
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon demo
  antiphon demo --nodes 5 --exit
  antiphon demo --file events.ndjson --exit --json")]
pub(crate) struct Demo {
    /// Nodes to start
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = values::number::<u16>(4..=64))]
    pub(crate) nodes: u16,

    /// File whose lines are published [default: 1,707 earthquakes]
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// End after the checks [default: the cluster keeps running]
    #[arg(long)]
    pub(crate) exit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn definitions_are_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        let before = parse("antiphon --json --timeout 2s --network lab -v topics").unwrap();
        let after = parse("antiphon topics --json --timeout 2s --network lab -v").unwrap();
        assert_eq!(before.global, after.global);
        assert!(after.global.json && after.global.verbose == 1);
        assert_eq!(after.global.timeout, Duration::from_secs(2));
    }

    #[test]
    fn a_node_that_is_forgotten_is_none_to_talk_to() {
        let node = antiphon::model::NodeKey::from_secret(&[1; 32]).node();
        let parsed = parse(&format!("antiphon forget {node}")).unwrap();
        let forget = Forget { peer: PeerArgument::Whole(node), yes: false };
        assert_eq!(parsed.command, Command::Forget(forget));
        assert!(parsed.global.nodes().is_empty());
    }

    #[test]
    fn a_time_right_behind_wait_is_not_taken_for_a_message() {
        let read = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            Arguments::read(&words)
        };
        for line in [
            "antiphon publish t a --wait 5s",
            "antiphon publish t --wait 10 a",
            "antiphon publish --wait forever t a",
            "antiphon --json outbox --wait 10m",
        ] {
            assert_eq!(read(line).unwrap_err().kind(), ErrorKind::TooManyValues, "{line}");
        }
        for line in [
            "antiphon publish t a --wait=5s",
            "antiphon publish t 5s --wait",
            "antiphon publish t --wait -- 5s",
            "antiphon publish t --wait a",
            "antiphon publish t -- --wait 5s",
            "antiphon outbox --wait=10m",
        ] {
            read(line).unwrap();
        }
        assert_eq!(
            read("antiphon topics --wait 5s x").unwrap_err().kind(),
            ErrorKind::UnknownArgument
        );
    }

    #[test]
    fn places_and_messages_may_start_with_a_hyphen() {
        let Command::Fetch(fetch) = parse("antiphon fetch t --from -10 -n 5").unwrap().command
        else {
            panic!("not a fetch");
        };
        assert_eq!((fetch.reading.from, fetch.reading.count), (Some(Place::Last(10)), Some(5)));
        let Command::Publish(publish) = parse("antiphon publish t -5 -- -x").unwrap().command
        else {
            panic!("not a publish");
        };
        assert_eq!(publish.messages, ["-5", "-x"]);
    }
}
