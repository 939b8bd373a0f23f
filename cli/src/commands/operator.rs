//! Which node an operator's command is for.
//!
//! Such a command ends a node, so nobody may mean another one: it is for a node that is named, or
//! for the only one of this machine's user. What mDNS finds is never meant.

use std::path::PathBuf;

use antiphon::model::NodeId;
use antiphon_node::{Client, ClientConfig, LocalNode, Multiaddr, Node};

use crate::{context::Context, exit::Failure, peer::PeerArgument, topic_json::full_addresses};

/// How to name the node.
const HOW_TO_NAME: &str =
    "`antiphon node leave PEER` names it, or `--data DIR`, or `--node MULTIADDR`";

/// The node that is meant, and a connection to it.
pub(super) struct Meant {
    pub(super) node: NodeId,
    pub(super) client: Client,
}

/// Finds the node that is meant: this one, the one of this data directory, the one at `--node`, or
/// the only one of this user.
pub(super) async fn meant(
    context: &mut Context,
    peer: Option<PeerArgument>,
    data: Option<PathBuf>,
) -> anyhow::Result<Meant> {
    let named = by_node(context.options.nodes());
    let local = LocalNode::all(&context.options.network);
    let node = match (peer, data) {
        (Some(peer), _) => {
            let near = named.iter().chain(local.iter().flatten()).map(|node| node.node);
            match peer.among(near) {
                Ok(node) => node,
                Err(_) => peer.find(&context.client().await?).await?,
            }
        }
        (None, Some(data)) => Node::id_of(&data).map_err(|error| {
            let hint = "`--data` names the directory that the node was started with";
            Failure::failed(error.to_string()).with_hint(hint)
        })?,
        (None, None) if !named.is_empty() => only(&named, "are given by `--node`")?,
        (None, None) => only(local.as_ref().map_err(unreadable)?, "of this user run here")?,
    };
    let known = named.into_iter().chain(local.into_iter().flatten());
    let mut nodes: Vec<Multiaddr> =
        known.filter(|known| known.node == node).flat_map(|known| known.addresses).collect();
    if nodes.is_empty() {
        nodes = ask_for(context, node).await?;
    }
    let config = ClientConfig::new().network(context.options.network.clone()).nodes(nodes);
    let client = Client::connect(config.timeout(context.options.timeout)).await?;
    Ok(Meant { node, client })
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
