//! Nodes: running one, listing them, and ending their membership.

use std::{path::PathBuf, time::Duration};

use antiphon_node::Multiaddr;
use clap::Args;

use crate::{peer::PeerArgument, values};

/// Run a node
///
/// It prints one line per address and then `ready`. Ctrl-C stops it cleanly.
#[derive(Debug, Default, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon node
  antiphon node --data /var/lib/antiphon --listen /ip4/0.0.0.0/tcp/4001
  antiphon node --data n2 --bootstrap 192.168.1.10:4001
  antiphon node --data n2 --bootstrap /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…

Files:
  ~/.local/share/antiphon/NETWORK  its keys and its topics, unless --data names a directory
  $XDG_RUNTIME_DIR/antiphon        addresses of this user's nodes; /tmp/antiphon-UID where the
                                   variable is not set

RUST_LOG says what the node logs, in place of --verbose.")]
pub(crate) struct Node {
    /// Directory for its topics and its key [default: ~/.local/share/antiphon/NETWORK]
    ///
    /// The disk needs at least 128 MiB: 64 MiB are set aside for a full disk, and 16 MiB stay free.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Address to listen at; may be repeated [default: IPv4 and IPv6 of all interfaces, the port of
    /// last time]
    #[arg(long, value_name = "MULTIADDR", value_parser = values::listen_address)]
    pub(crate) listen: Vec<Multiaddr>,

    /// Node to join through: an address that it printed, or `HOST:PORT`; may be repeated [default:
    /// nodes of this machine and of the LAN]
    ///
    /// An address with a peer id leads to that node only. An address without one leads to any node
    /// of the network that answers there.
    #[arg(long, value_name = "ADDRESS", value_parser = values::bootstrap_address)]
    pub(crate) bootstrap: Vec<Multiaddr>,

    /// Accept new topics although no bootstrap address answers: for the first node of a network
    #[arg(long)]
    pub(crate) alone: bool,

    /// Do not look for nodes by mDNS or in this machine's runtime directory
    #[arg(long)]
    pub(crate) no_discovery: bool,

    /// Most bytes that topics may use on the disk, such as `10GB` [default: the whole disk]
    ///
    /// When they are used up, the node refuses new records and serves those that it has. It accepts
    /// records again when there is space.
    #[arg(long, value_name = "SIZE", value_parser = values::max_disk)]
    pub(crate) max_disk: Option<u64>,

    /// Let any client alter and delete topics through this node [default: only its operator]
    ///
    /// The operator is the user who can read the file `operator` in the data directory, or the file
    /// that `--operator-key` names. The node creates the file if it is missing.
    #[arg(long)]
    pub(crate) open_admin: bool,

    /// How long no copy is deleted on a new node's word [default: 24h]
    ///
    /// That is the time of all its connections. Until then this node keeps its copies, which takes
    /// space. With `0s` it believes every node at once: use that only where nobody else gets into
    /// the network.
    #[arg(long, value_name = "DURATION", value_parser = values::duration_or_zero)]
    pub(crate) probation: Option<Duration>,
}

/// List the nodes that the connected node knows, itself first
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers
  antiphon peers --json | jq -r 'select(.state == \"alive\") | .addresses[0]'

A terminal shows the last eight characters of each peer id, which commands accept, and one address of \
each node. `--verbose` shows whole ids and all addresses. In a pipe, columns are separated by tabs and \
have no header: peer id, state, round-trip time in milliseconds, clock, addresses.")]
pub(crate) struct Peers {}

/// Hand over all that a node holds, and end it
///
/// The node ends when other nodes hold all that it held. Ctrl-C ends this command only; the node
/// goes on handing over. A node that left can be started again, and is then a node like any other.
///
/// Only the operator of the node may do this: the user who runs it, or `--operator-key`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon node leave
  antiphon node leave --data /var/lib/antiphon --yes
  antiphon node leave Fw5bx3pN                       its last characters are enough
  antiphon node leave --node /ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…")]
pub(crate) struct Leave {
    /// Peer id of the node, or its last characters [default: the node at `--node`, else the only
    /// node of this user on this machine]
    pub(crate) peer: Option<PeerArgument>,

    /// Data directory of the node [default: see PEER]
    #[arg(long, value_name = "DIR", conflicts_with = "peer")]
    pub(crate) data: Option<PathBuf>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Longest time to wait until it has ended
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "30m")]
    pub(crate) within: Duration,
}

/// Declare a node lost
///
/// Other nodes copy its topics at once, not after ten minutes. Readers no longer wait for records
/// that it alone may hold. If it comes back, it is a node like any other.
///
/// Only the operator of the connected node may do this: the user who runs it, or `--operator-key`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon peers                                  shows who is away
  antiphon node forget Fw5bx3pN                   its last characters are enough
  antiphon node forget Fw5bx3pN --yes             does not ask, for scripts")]
pub(crate) struct Forget {
    /// Peer id of the node, or its last characters
    pub(crate) peer: PeerArgument,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
