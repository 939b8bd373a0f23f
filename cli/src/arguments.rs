//! The command line as types.

use std::{path::PathBuf, time::Duration};

use antiphon::{
    model::{Network, NodeId, SubscriberName, TopicName},
    wire::Acks,
};
use antiphon_node::Multiaddr;
use bytes::Bytes;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::{
    place::Place,
    template::Template,
    values::{self, NodeAddresses},
};

/// Durable publish/subscribe without a broker.
///
/// Every process is a libp2p node; topics are kept on several of them, and any may fail.
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

const EXAMPLES: &str = "\
Examples:
  antiphon demo                      see a cluster lose its owner and no record
  antiphon node                      run a node; nodes on the LAN find each other
  antiphon create quakes             create a topic with three replicas
  antiphon publish quakes 'hello'    publish a record
  antiphon fetch quakes              print all records
  antiphon subscribe quakes          print all records and then those to come

Exit status: 0 done, 1 failed, 2 wrong usage, 3 published but not acknowledged in time.";

/// Options of every command; they stand before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Node to talk to, with its peer id; may be repeated: the next is tried when one fails
    ///
    /// Without it the node that runs on this machine is found, else one on the LAN. In the
    /// variable several are separated by commas or spaces.
    #[arg(long, value_name = "MULTIADDR", env = "ANTIPHON_NODE", hide_env_values = true)]
    #[arg(global = true, value_parser = str::parse::<NodeAddresses>)]
    node: Vec<NodeAddresses>,

    /// Network to use; nodes of another one never join
    #[arg(long, value_name = "NAME", env = "ANTIPHON_NETWORK", hide_env_values = true)]
    #[arg(global = true, value_parser = values::network, default_value = Network::DEFAULT)]
    pub(crate) network: Network,

    /// Longest time to find a node, for it to answer, and for a publish to be acknowledged
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    #[arg(global = true, default_value = "10s")]
    pub(crate) timeout: Duration,

    /// Write one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Say more; twice for debugging
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
    Publish(Publish),
    Fetch(Fetch),
    Subscribe(Subscribe),
    Topics(Topics),
    Info(Info),
    Peers(Peers),
    Verify(Verify),
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
  antiphon node --data n2 --bootstrap /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…")]
pub(crate) struct Node {
    /// Directory for its topics and its key [default: the user's data directory, per network]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Address to listen at; may be repeated [default: all interfaces, the port of last time]
    #[arg(long, value_name = "MULTIADDR", value_parser = values::listen_address)]
    pub(crate) listen: Vec<Multiaddr>,

    /// Node to join through, with its peer id; may be repeated
    #[arg(long, value_name = "MULTIADDR", value_parser = values::node_address)]
    pub(crate) bootstrap: Vec<Multiaddr>,

    /// Find no nodes by mDNS or through this machine's runtime directory
    #[arg(long)]
    pub(crate) no_discovery: bool,
}

/// Create a topic
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon create quakes
  antiphon create quakes --replicas 5 --min-copies 3
  antiphon create quakes --if-not-exists --json")]
pub(crate) struct Create {
    /// Name of the topic: up to 255 bytes in any script
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Nodes that keep the topic [default: 3]
    ///
    /// It is a target: with fewer nodes the topic fills up as others join.
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub(crate) replicas: Option<u16>,

    /// Copies below which nothing is acknowledged [default: 2 with three or more nodes, else 1]
    #[arg(long, value_name = "M", value_parser = values::replicas)]
    pub(crate) min_copies: Option<u16>,

    /// Take the topic that is there already
    #[arg(long)]
    pub(crate) if_not_exists: bool,
}

/// Publish records: the arguments, or one a line from standard input, or a file
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon publish quakes 'M 5.3, 50km NNW of Sangiang' --key us2000crkq
  antiphon publish quakes < events.ndjson
  tail -f log | antiphon publish logs --receipts --json
  antiphon publish images --file map.png --header type=image/png

A record has at most 1 MiB, key and headers counted.")]
pub(crate) struct Publish {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Records; without any, each line of standard input is one
    #[arg(value_name = "MESSAGE", allow_negative_numbers = true)]
    pub(crate) messages: Vec<String>,

    /// What the records are about
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Header of the records; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub(crate) headers: Vec<(String, Bytes)>,

    /// Copies to wait for; never fewer than the topic's floor
    #[arg(long, value_enum, default_value = "quorum")]
    pub(crate) acks: AcksWanted,

    /// Publish a file as one record; `-` for all of standard input
    #[arg(long, value_name = "PATH", conflicts_with = "messages")]
    pub(crate) file: Option<PathBuf>,

    /// Print a line per record of standard input
    #[arg(long, conflicts_with_all = ["messages", "file"])]
    pub(crate) receipts: bool,
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

/// How `fetch` and `subscribe` choose and write records.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Reading {
    /// Where to start: start, end, -N, @-1h, @TIME or a cursor [default: start]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<Place>,

    /// Where to stop: end, -N (before the last N), @-1h, @TIME or a cursor
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) to: Option<Place>,

    /// Stop after this many records
    #[arg(short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Only records with this key
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Only records that this node has signed
    #[arg(long, value_name = "PEER")]
    pub(crate) writer: Option<NodeId>,

    /// Write the payloads alone, with nothing between them
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Write records so: %t topic, %k key, %v payload, %h{NAME} header, %d time, %w writer, …
    ///
    /// Also %T milliseconds since 1970, %s sequence number, %i id, %% and \n \t \r \0 \\ \xHH. What a
    /// record has not is written as nothing; no newline is added.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "raw"])]
    pub(crate) format: Option<Template>,
}

/// Print the stored records of a topic, then exit
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon fetch quakes
  antiphon fetch quakes --from -10
  antiphon fetch quakes --from @-1h --json | jq .payload
  antiphon fetch quakes --from @2026-11-22T10:00 --to @2026-11-22T11:00
  antiphon fetch quakes --key us --format '%d %k %h{source} %v\\n'
  antiphon fetch images -n 1 --raw > map.png")]
pub(crate) struct Fetch {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Print the stored records of a topic, and then those to come
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon subscribe quakes
  antiphon subscribe quakes --from end
  antiphon subscribe quakes --as alice          goes on where alice stopped, at any node
  antiphon subscribe quakes --as alice --to end  what alice has not seen yet, and no more
  antiphon subscribe quakes -n 100 --idle 30s")]
pub(crate) struct Subscribe {
    /// Name of the topic
    #[arg(value_parser = values::topic)]
    pub(crate) topic: TopicName,

    /// Keep the position under this name; `--from` counts only while the name is new
    #[arg(long = "as", value_name = "NAME", value_parser = values::subscriber)]
    pub(crate) name: Option<SubscriberName>,

    #[command(flatten)]
    pub(crate) reading: Reading,

    /// Stop when no record came for this long
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle: Option<Duration>,
}

/// List all topics of the network
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon topics
  antiphon topics --json | jq -r .topic

On a terminal the columns are aligned under a header; elsewhere they are separated by tabs:
topic, replicas, nodes that hold it, records.")]
pub(crate) struct Topics {}

/// Show the replicas of a topic, what they hold, and the cursor at its end
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

/// List the nodes that the node knows, itself first
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers
  antiphon peers --json | jq -r 'select(.state == \"alive\") | .addresses[0]'

On a terminal the columns are aligned under a header; elsewhere they are separated by tabs:
peer, state, round-trip time in milliseconds, addresses.")]
pub(crate) struct Peers {}

/// Compare what the replicas of topics really have on their disks
///
/// Every replica reads all of it and checks every byte. What is found damaged is fetched again from
/// another replica by itself. Fails unless all replicas hold the same, whole.
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

/// Let a node hand over all that it holds, and end
///
/// The node is the one that this command talks to: name it by `--node` where several run here. It
/// ends when other nodes hold all that it held. Ctrl-C ends this command; the node goes on. Started
/// again, it is a member like any other.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon leave
  antiphon leave --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…")]
pub(crate) struct Leave {
    /// Longest time to wait for it
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "30m")]
    pub(crate) within: Duration,
}

/// Say that a node will not come back
///
/// Its topics are copied to other nodes at once, not only after ten minutes, and readers no longer
/// wait for what it may hold. A node that comes back all the same is a member like any other.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers                                shows who is away
  antiphon forget 12D3KooW…")]
pub(crate) struct Forget {
    /// Peer id of the node
    pub(crate) peer: NodeId,
}

/// The same actions from a prompt, with a menu, history and completion
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
    #[arg(value_parser = clap::value_parser!(u16).range(4..=64))]
    pub(crate) nodes: u16,

    /// File whose lines are published [default: 1,707 earthquakes]
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// End after the checks; without it the cluster keeps running
    #[arg(long)]
    pub(crate) exit: bool,
}

/// Measure publishing, reading, live delivery, failures and many topics
///
/// Starts nodes of its own on this machine, each a process, unless `--node` names a running one: there
/// it creates topics whose names begin with `bench-`. What was published is fetched and counted, so
/// that no figure is one of records that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon bench
  antiphon bench publish --size 1KiB --in-flight 8192 --rounds 5
  antiphon bench publish fetch --json
  antiphon bench fanout --subscribers 20 --nodes 5 --rate 20000
  antiphon bench publish --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…
  antiphon bench all --plot plots --csv figures.csv

Times are in milliseconds. Where the load has a given pace they count from when a record was due,
not from when it was sent, so that a pause is felt by all that was due in it. On a terminal the
columns are aligned under a header; elsewhere they are separated by tabs: case, records, records per
second, MB/s, p50, p90, p99, p99.9, longest, range of the rounds, what else there is to tell.")]
pub(crate) struct Bench {
    /// What to measure [default: publish, latency, fetch and fanout]
    #[arg(value_enum, value_name = "CASE")]
    pub(crate) cases: Vec<BenchCase>,

    /// Bytes of a record's payload [default: 128; catch-up and restart 1KiB]
    #[arg(long, value_name = "BYTES", value_parser = values::payload_bytes)]
    pub(crate) size: Option<u32>,

    /// Fill the records with what this file holds, in place of noise that no compression makes smaller
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_from: Option<PathBuf>,

    /// Records, or topics for `create` and `topics` [default: what takes some seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,

    /// Records that a publisher has under way at a time [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight: Option<u32>,

    /// Publishers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) publishers: u16,

    /// Subscribers of `fanout`, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) subscribers: u16,

    /// Records per second: fanout and failover [default: 1000], publish [default: all it can]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,

    /// Seconds of a paced load [default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: Option<u32>,

    /// Nodes to start [default: 3; join 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) nodes: Option<u16>,

    /// Replicas of the topics
    #[arg(long, value_name = "N", value_parser = values::replicas, default_value = "3")]
    pub(crate) replicas: u16,

    /// How often each case is measured; the median is told, with the least and the most
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,

    /// Do a hundredth of the work: shows that it works, not how fast
    #[arg(long)]
    pub(crate) short: bool,

    /// Write the figures to a file as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Draw the figures into a directory, as SVG and PNG
    ///
    /// With `publish` the load is varied as well: by record size, records in flight, nodes and replicas.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
}

/// What `bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum BenchCase {
    /// Topics created one after the other
    Create,
    /// Records acknowledged per second
    Publish,
    /// One record at a time, and the `publish` command from start to exit
    Latency,
    /// Stored records read, through the library and by `fetch --raw`
    Fetch,
    /// Live delivery: at a pace, and as fast as it goes
    Fanout,
    /// A paced load while the topic's owner is killed
    Failover,
    /// A replica that was away gets what it missed
    CatchUp,
    /// Many topics at once, and what they cost an idle node
    Topics,
    /// Many nodes find each other
    Join,
    /// The start of a node with data
    Restart,
    /// All of these
    All,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn definitions_are_consistent() {
        Arguments::command().debug_assert();
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
        assert_eq!(parsed.command, Command::Forget(Forget { peer: node }));
        assert!(parsed.global.nodes().is_empty());
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
