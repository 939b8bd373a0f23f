//! Which node an operator's command is for, and the key for it.
//!
//! A command that ends a node may mean no other one: it is for a node that is named, or for the
//! only one of this machine's user. What mDNS finds is never meant. The other commands that need a
//! right ask the node that all commands talk to.
//!
//! Such a command connects with the key of the node's operator: the one that `--operator-key`
//! names, or else the one that a node of this machine has left word of. If there is none, the node
//! decides.

use std::path::{Path, PathBuf};

use antiphon::model::NodeId;
use antiphon_node::{
    Client, LocalNode, Multiaddr, Node, OperatorKey, OperatorKeyError,
    client::{ConnectionState, Refusal, RequestError},
};

use crate::{context::Context, exit::Failure, peer::PeerArgument, topic_json::full_addresses};

/// How to name the node.
const HOW_TO_NAME: &str =
    "`antiphon node leave PEER` names it, or `--data DIR`, or `--node MULTIADDR`";

/// The node that is meant, and a connection to it.
pub(super) struct Meant {
    pub(super) node: NodeId,
    pub(super) asked: Operating,
}

/// A connection to a node, with the key of its operator if this user has it.
pub(super) struct Operating {
    pub(super) client: Client,
    /// Why the key that is known was not used.
    unreadable: Option<OperatorKeyError>,
}

impl Operating {
    /// The error of a request. If a right lacks because a key cannot be read, it says that.
    pub(super) fn explain(&self, error: RequestError) -> anyhow::Error {
        match (&error, &self.unreadable) {
            (RequestError::Refused(Refusal::NotAllowed { .. }), Some(unreadable)) => {
                let hint = "run it as the user who runs the node, or name a copy of the key with \
                            `--operator-key FILE`";
                Failure::failed(format!("{error}; {unreadable}")).with_hint(hint).into()
            }
            _ => error.into(),
        }
    }
}

/// Connects to the node that all commands talk to, to alter, delete, forget or repair.
pub(super) async fn operating(context: &mut Context) -> anyhow::Result<Operating> {
    let client = context.client().await?;
    let ConnectionState::Connected(node) = client.connection().state() else {
        return Ok(Operating { client, unreadable: None });
    };
    match key_for(context, node, None)? {
        Ok(Some(key)) => {
            let named = by_node(context.options.nodes());
            let local = LocalNode::all(&context.network()?).unwrap_or_default();
            let nodes = addresses_of(context, node, named.into_iter().chain(local)).await?;
            Ok(Operating { client: connect(context, nodes, Some(key)).await?, unreadable: None })
        }
        Ok(None) => Ok(Operating { client, unreadable: None }),
        Err(unreadable) => Ok(Operating { client, unreadable: Some(unreadable) }),
    }
}

/// The key for a node, if there is one. Why it cannot be read is an error only of a file that was
/// named: without a key the node decides.
fn key_for(
    context: &Context,
    node: NodeId,
    data: Option<&Path>,
) -> Result<Result<Option<OperatorKey>, OperatorKeyError>, Failure> {
    if let Some(file) = &context.options.operator_key {
        let key = OperatorKey::load(file).map_err(|error| {
            let hint = "`--operator-key` names the file `operator` in the data directory of a \
                        node, or a copy of it that only you may read";
            Failure::failed(error.to_string()).with_hint(hint)
        })?;
        return Ok(Ok(Some(key)));
    }
    if context.options.identity.is_some() {
        // Who names an identity means to be nobody else.
        return Ok(Ok(None));
    }
    let known = OperatorKey::of_node(node);
    Ok(match (known, data) {
        (Ok(None), Some(data)) => OperatorKey::of_data(data).map(Some),
        (known, _) => known,
    })
}

async fn connect(
    context: &mut Context,
    nodes: Vec<Multiaddr>,
    key: Option<OperatorKey>,
) -> anyhow::Result<Client> {
    let mut config = context.config()?.nodes(nodes);
    config.operator_key = key;
    Ok(Client::connect(config).await?)
}

/// Finds the node that is meant: this one, the one of this data directory, the one at `--node`, or
/// the only one of this user.
pub(super) async fn meant(
    context: &mut Context,
    peer: Option<PeerArgument>,
    data: Option<PathBuf>,
) -> anyhow::Result<Meant> {
    let named = by_node(context.options.nodes());
    let local = LocalNode::all(&context.network()?);
    let node = match (peer, data.as_deref()) {
        (Some(peer), _) => {
            let near = named.iter().chain(local.iter().flatten()).map(|node| node.node);
            match peer.among(near) {
                Ok(node) => node,
                Err(_) => peer.find(&context.client().await?).await?,
            }
        }
        (None, Some(data)) => Node::id_of(data).map_err(|error| {
            let hint = "`--data` names the directory that the node was started with";
            Failure::failed(error.to_string()).with_hint(hint)
        })?,
        (None, None) if !named.is_empty() => only(&named, "are given by `--node`")?,
        (None, None) => only(local.as_ref().map_err(unreadable)?, "of this user run here")?,
    };
    let known = named.into_iter().chain(local.into_iter().flatten());
    let nodes = addresses_of(context, node, known).await?;
    let (key, unreadable) = match key_for(context, node, data.as_deref())? {
        Ok(key) => (key, None),
        Err(unreadable) => (None, Some(unreadable)),
    };
    let client = connect(context, nodes, key).await?;
    Ok(Meant { node, asked: Operating { client, unreadable } })
}

/// Where a node is: as it was named or entered itself on this machine, or else as the others say.
async fn addresses_of(
    context: &mut Context,
    node: NodeId,
    known: impl Iterator<Item = LocalNode>,
) -> anyhow::Result<Vec<Multiaddr>> {
    let known = known.filter(|known| known.node == node).flat_map(|known| known.addresses);
    let nodes: Vec<_> = known.collect();
    if nodes.is_empty() { ask_for(context, node).await } else { Ok(nodes) }
}

/// Addresses as they are written, each with its peer id, by node.
fn by_node(addresses: Vec<Multiaddr>) -> Vec<LocalNode> {
    let mut nodes: Vec<LocalNode> = Vec::new();
    for address in addresses {
        let text = address.to_string();
        let peer = text.rsplit_once("/p2p/").and_then(|(_, peer)| peer.parse().ok());
        let Some(peer) = peer else { continue };
        match nodes.iter_mut().find(|node| node.node == peer) {
            Some(node) => node.addresses.push(address),
            None => nodes.push(LocalNode { node: peer, addresses: vec![address] }),
        }
    }
    nodes
}

/// The node of a list of one.
fn only(nodes: &[LocalNode], what: &str) -> Result<NodeId, Failure> {
    match nodes {
        [one] => Ok(one.node),
        [] => {
            let message = "no node of this user runs on this machine, and none is named";
            Err(Failure::failed(message).with_hint(HOW_TO_NAME))
        }
        several => {
            let count = several.len();
            let list: Vec<_> = several.iter().map(|node| node.node.to_string()).collect();
            let list = list.join("\n  ");
            let message = format!("{count} nodes {what}; name one of them:\n  {list}");
            Err(Failure::usage(message).with_hint(HOW_TO_NAME))
        }
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    let message = format!("the nodes of this user cannot be found: {error}");
    Failure::failed(message).with_hint(HOW_TO_NAME)
}

/// Where a node is that is neither named by an address nor of this user, as another one knows it.
async fn ask_for(context: &mut Context, node: NodeId) -> anyhow::Result<Vec<Multiaddr>> {
    let peers = context.client().await?.peers().await?;
    let peer = peers.iter().find(|peer| peer.node == node);
    let full = |addresses: &[String]| full_addresses(node, addresses);
    let addresses = peer.map(|peer| full(&peer.addresses)).unwrap_or_default();
    let addresses: Vec<_> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
    if addresses.is_empty() {
        let hint = "`antiphon peers` lists all known nodes; `--node MULTIADDR` names one \
                    by its address";
        return Err(Failure::failed(format!("node {node} is not known")).with_hint(hint).into());
    }
    Ok(addresses)
}
