//! The options that all commands share.

use std::{path::PathBuf, time::Duration};

use antiphon::model::Network;
use antiphon_node::Multiaddr;
use clap::{ArgAction, Args};

use crate::{
    printer::Manner,
    values::{self, NodeAddresses},
};

/// Options of every command; they stand before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_display_order = 900)]
pub(crate) struct GlobalOptions {
    /// Node to talk to; may be repeated [default: one of this machine, else of the LAN]
    #[arg(long, value_name = "MULTIADDR", env = "ANTIPHON_NODE", hide_env_values = true)]
    #[arg(global = true, value_parser = str::parse::<NodeAddresses>)]
    node: Vec<NodeAddresses>,

    /// Network to use
    #[arg(long, value_name = "NAME", env = "ANTIPHON_NETWORK", hide_env_values = true)]
    #[arg(global = true, value_parser = values::network, default_value = Network::DEFAULT)]
    pub(crate) network: Network,

    /// File with the key of a node's operator [default: the node's own, if it is this user's]
    #[arg(long, value_name = "FILE", env = "ANTIPHON_OPERATOR_KEY", hide_env_values = true)]
    #[arg(global = true)]
    pub(crate) operator_key: Option<PathBuf>,

    /// Directory of a client's identity in a closed network; `antiphon join` makes it [default:
    /// none]
    #[arg(long, value_name = "DIR", env = "ANTIPHON_IDENTITY", hide_env_values = true)]
    #[arg(global = true)]
    pub(crate) identity: Option<PathBuf>,

    /// Longest time to find a node, to get its answer, and to publish
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    #[arg(global = true, default_value = "10s")]
    pub(crate) timeout: Duration,

    /// Write one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print errors, and the data that was asked for; nothing else
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

    /// How the command writes.
    pub(crate) fn manner(&self) -> Manner {
        Manner { json: self.json, quiet: self.quiet, verbose: self.verbose > 0 }
    }

    /// Whether a connection that was made with these options serves the others as well.
    pub(crate) fn same_connection(&self, other: &Self) -> bool {
        let place =
            |it: &Self| (it.node.clone(), it.network.clone(), it.identity.clone(), it.timeout);
        place(self) == place(other)
    }

    /// The options as they are written on a command line.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let timeout = humantime::format_duration(self.timeout).to_string();
        let mut words =
            vec!["--network".to_owned(), self.network.to_string(), "--timeout".to_owned(), timeout];
        for node in self.nodes() {
            words.extend(["--node".to_owned(), node.to_string()]);
        }
        if let Some(file) = self.operator_key.as_ref().and_then(|file| file.to_str()) {
            words.extend(["--operator-key".to_owned(), file.to_owned()]);
        }
        if let Some(directory) = self.identity.as_ref().and_then(|directory| directory.to_str()) {
            words.extend(["--identity".to_owned(), directory.to_owned()]);
        }
        let flags = [(self.json, "--json"), (self.quiet, "--quiet")];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
        words.extend((0..self.verbose).map(|_| "--verbose".to_owned()));
        words
    }
}
