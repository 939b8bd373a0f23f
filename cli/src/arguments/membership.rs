//! Closed networks: joining one, and what admins say of its members.

use std::path::PathBuf;

use antiphon::model::{NodeId, roster::Grant};
use antiphon_node::Multiaddr;
use clap::Args;

use super::network::{NetworkPlace, grant, label, reason};
use crate::{exit::Failure, shown, values};

/// Join a closed network with a ticket
///
/// With a ticket for nodes it writes the file `network` in the data directory. `antiphon node` then
/// runs a node of that network. With a ticket for clients it makes the directory of an identity,
/// which commands take with `--identity DIR`.
///
/// Other users of this machine see its command lines. So name a file, or set
/// `ANTIPHON_TICKET`: a ticket is a secret until it is used.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon join --ticket-file ticket
  antiphon join - < ticket             reads it from standard input
  antiphon join --data /var/lib/antiphon   takes it from ANTIPHON_TICKET
  antiphon join antiphon1AaFj…         is seen by other users of this machine
  antiphon join --ticket-file ticket --identity me   with a ticket for clients")]
pub(crate) struct Join {
    /// The ticket, or `-` for standard input
    #[arg(env = "ANTIPHON_TICKET", hide_env_values = true)]
    pub(crate) ticket: Option<String>,

    /// File with the ticket, or `-` for standard input [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_file: Option<PathBuf>,

    /// Data directory of the node [default: ~/.local/share/antiphon/NETWORK]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Name of this machine, for people [default: its host name]
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) name: Option<String>,
}

/// Print the peer id of a machine that wants to join
///
/// `antiphon network admit` admits it by that id. A key is made if there is none. It stays in the
/// directory, and `antiphon join` uses it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network id --network lab
  antiphon network id --identity me      of a client")]
pub(crate) struct OwnId {
    /// Data directory of the node [default: ~/.local/share/antiphon/NETWORK]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Admit one machine, by its peer id
///
/// The admin's key signs a pass, and the connected node tells it to all. The ticket that is printed
/// is of use to that machine alone. It has the network's door, so show it to nobody else. Who was
/// removed is admitted again.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network admit 12D3KooW… --network lab --name pi-4
  antiphon network admit 12D3KooW… --network lab --client --grant 'read sensors.>'
  antiphon network admit 12D3KooW… --network lab --former

A network that was open has records of nodes that are gone. With `--former` their records count,
and no ticket is printed.

`antiphon network id` prints the peer id on the machine that wants to join.")]
pub(crate) struct Admit {
    /// Peer id of the machine
    #[arg(value_parser = whole_peer)]
    pub(crate) peer: NodeId,

    #[command(flatten)]
    pub(crate) place: NetworkPlace,

    /// It is a client, and no node
    #[arg(long)]
    pub(crate) client: bool,

    /// It is gone, and the records that it wrote count
    #[arg(long, conflicts_with_all = ["client", "grant", "contact"])]
    pub(crate) former: bool,

    /// Name of the member, for people [default: the end of its peer id]
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) name: Option<String>,

    /// What it may do, such as `read,write sensors.>`; may be repeated [default: as with `invite`]
    #[arg(long, value_name = "GRANT", value_parser = grant)]
    pub(crate) grant: Vec<Grant>,

    /// Node through which it joins, with its peer id; may be repeated [default: the node of this
    /// machine]
    #[arg(long, value_name = "MULTIADDR", value_parser = values::node_address)]
    pub(crate) contact: Vec<Multiaddr>,
}

/// Give a member rights, or renew its membership
///
/// Rights are added to those that it has. A client is then a member for 90 days from now. Without a
/// right it is only renewed. A client takes the new pass by itself, when it connects.
///
/// A removal holds against a grant that did not know of it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network grant pi-4 'write orders' --network lab
  antiphon network grant pi-4 --only 'read sensors.>' 'read orders' --network lab
  antiphon network grant laptop --network lab             renews it

No node loses `write` or `hold`, because the logs of a former writer cannot be closed yet. To end its
membership, use `antiphon network revoke`.")]
pub(crate) struct GrantRights {
    /// Name of the member, or its peer id, or the last characters of that
    pub(crate) member: String,

    /// Rights and topics, such as `read,write sensors.>`
    #[arg(value_name = "GRANT", value_parser = grant)]
    pub(crate) grants: Vec<Grant>,

    /// It has these rights then, and no others
    #[arg(long, requires = "grants")]
    pub(crate) only: bool,

    /// Directory of the admin's key [default: ~/.config/antiphon]
    #[arg(long, value_name = "DIR", env = "ANTIPHON_KEYS", hide_env_values = true)]
    pub(crate) keys: Option<PathBuf>,
}

/// List who admitted and removed whom
///
/// One line for each signed statement that holds, in the order of the times that the admins' clocks
/// had. What a later statement replaced is not listed. Who joined with a ticket follows the ticket.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network log --network lab
  antiphon network log --network lab --json | jq -r 'select(.event == \"removed\") | .name'

In a pipe, columns are separated by tabs and have no header: time, admin or ticket, what, name, peer \
id, rights or the reason of the removal.")]
pub(crate) struct NetworkLog {}

/// List the members of a closed network
///
/// Only the operator of the connected node may do this: the user who runs it, or `--operator-key`.
/// A client with an `--identity` may, too. It warns of memberships that end within 14 days.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network members --network lab
  antiphon network members --network lab --json | jq -r 'select(.kind == \"node\") | .name'

In a pipe, columns are separated by tabs and have no header: name, peer id, `node`, `client`, \
`ticket`, `removed` or `expired`, and then rights, the reason of the removal, or how often the \
ticket was used.")]
pub(crate) struct Members {}

/// Put a member out of a closed network, or withdraw a ticket
///
/// All nodes close their connections to it at once. Nodes that are away learn it when they are
/// back. If a ticket is withdrawn, all who came by it are out. The command needs the admin's key,
/// and the operator's right at the connected node.
///
/// What the member wrote stays. Then the command closes its logs in each topic: they end where
/// they end now, at all nodes, and what comes later is void. While a node is away, the logs stay
/// open, with exit status 3. The same command goes on when that node is back.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  antiphon network revoke pi-4 --network lab
  antiphon network revoke Fw5bx3pN --network lab --reason 'sold'
  antiphon network revoke pi-4 --network lab --now                 a node is lost
  antiphon network revoke Fw5bx3pN --network lab --keep-members    a ticket")]
pub(crate) struct Revoke {
    /// Name of the member, or its peer id, or the last characters of that; or a ticket
    pub(crate) member: String,

    /// Withdraw the ticket only: who came by it stays, with a pass of its own
    #[arg(long)]
    pub(crate) keep_members: bool,

    /// Do not wait for nodes that are away: records that only they hold are void then
    #[arg(long, conflicts_with = "keep_members")]
    pub(crate) now: bool,

    /// Why, for people [default: none]
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,

    /// Directory of the admin's key [default: ~/.config/antiphon]
    #[arg(long, value_name = "DIR", env = "ANTIPHON_KEYS", hide_env_values = true)]
    pub(crate) keys: Option<PathBuf>,
}

/// A whole peer id.
fn whole_peer(text: &str) -> Result<NodeId, Failure> {
    let id = text.rsplit_once("/p2p/").map_or(text, |(_, id)| id);
    id.parse().map_err(|_error| {
        let hint = "`antiphon network id` prints it, on the machine that wants to join";
        Failure::usage(format!("`{}` is no whole peer id", shown::text(text))).with_hint(hint)
    })
}
