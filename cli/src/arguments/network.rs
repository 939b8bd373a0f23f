//! Closed networks: founding one, inviting others, joining.

use std::{path::PathBuf, time::Duration};

use antiphon::{
    limits::{LABEL_BYTES_MAX, REVOCATION_REASON_BYTES_MAX},
    model::{
        Network,
        roster::{Grant, GrantError},
    },
};
use antiphon_node::Multiaddr;
use clap::Args;

use crate::{exit::Failure, shown, values};

/// Found a closed network, and make this machine its first node
///
/// Only who has a ticket or a pass gets into a closed network. Two keys are made. The admin's key
/// signs tickets. The root's key names the admins: move its file to a safe place, off this machine.
///
/// With `--from-open` the nodes of the open network become members. The command makes a ticket for
/// each of them, and changes nothing else. On each machine, one after the other, stop the node,
/// join with its ticket, and start the node again. Records that were published meanwhile count,
/// too.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network create lab
  antiphon network create lab --data /var/lib/antiphon --name rack-1
  antiphon network create lab --from-open      while a node of the open network `lab` runs

Files:
  ~/.config/antiphon/NAME.root      signs who the admins are
  ~/.config/antiphon/NAME.admin     signs tickets
  ~/.config/antiphon/NAME.tickets/  with `--from-open`, a ticket for each node
  DIR/network                       what the node of the data directory belongs to")]
pub(crate) struct FoundNetwork {
    /// Name of the new network
    #[arg(value_parser = values::network)]
    pub(crate) called: Network,

    #[command(flatten)]
    pub(crate) place: NetworkPlace,

    /// Name of this machine, for people [default: its host name]
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) name: Option<String>,

    /// Close the open network of this name, whose records count
    #[arg(long, conflicts_with = "data")]
    pub(crate) from_open: bool,
}

/// Print a ticket, with which others join
///
/// A ticket is a secret until it is used: who has it may join. It admits nodes, unless `--client`
/// is given. The command needs the admin's key and works while no node runs.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network invite --network lab
  antiphon network invite --network lab --uses 3 --expires 1h
  antiphon network invite --network lab --client --grant 'read sensors.>'

Rights of `--grant`: read, write, create, manage, operate, hold. Without it a node may do all but
operate others, and a client may read, write and create.

To keep a ticket in a file that nobody else can read: `(umask 077; antiphon network invite
--network lab > ticket)`")]
pub(crate) struct Invite {
    #[command(flatten)]
    pub(crate) place: NetworkPlace,

    /// Admit clients, and not nodes
    #[arg(long)]
    pub(crate) client: bool,

    /// Name of the newcomer, for people, if it is one alone [default: what it says itself]
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) name: Option<String>,

    /// How many may use it
    #[arg(long, value_name = "N", value_parser = values::number::<u32>(1..=10_000))]
    #[arg(default_value = "1")]
    pub(crate) uses: u32,

    /// How long it may be used
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "24h")]
    pub(crate) expires: Duration,

    /// What newcomers may do, such as `read,write sensors.>`; may be repeated [default: see below]
    #[arg(long, value_name = "GRANT", value_parser = grant)]
    pub(crate) grant: Vec<Grant>,

    /// Node through which they join, with its peer id; may be repeated [default: the node of this
    /// machine]
    #[arg(long, value_name = "MULTIADDR", value_parser = values::node_address)]
    pub(crate) contact: Vec<Multiaddr>,
}

/// Where a network's files are on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct NetworkPlace {
    /// Data directory of the node [default: ~/.local/share/antiphon/NETWORK]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Directory of the root's and the admin's key [default: ~/.config/antiphon]
    #[arg(long, value_name = "DIR", env = "ANTIPHON_KEYS", hide_env_values = true)]
    pub(crate) keys: Option<PathBuf>,
}

/// A name for people: of a machine, of a client.
pub(crate) fn label(text: &str) -> Result<String, Failure> {
    let is_line = !text.chars().any(char::is_control);
    if is_line && (1..=LABEL_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let hint = format!("a name has 1 to {LABEL_BYTES_MAX} bytes, such as `rack-1`");
    Err(Failure::usage(format!("`{}` cannot be a name", shown::text(text))).with_hint(hint))
}

/// Why a member is removed.
pub(super) fn reason(text: &str) -> Result<String, Failure> {
    let is_line = !text.chars().any(char::is_control);
    if is_line && text.len() <= REVOCATION_REASON_BYTES_MAX {
        return Ok(text.to_owned());
    }
    let hint = format!("a reason is one line of {REVOCATION_REASON_BYTES_MAX} bytes at most");
    Err(Failure::usage("the reason is too long").with_hint(hint))
}

/// Rights in topics.
pub(super) fn grant(text: &str) -> Result<Grant, Failure> {
    text.parse().map_err(|error: GrantError| {
        Failure::usage(error.to_string()).with_hint("a grant is written `read,write sensors.>`")
    })
}
