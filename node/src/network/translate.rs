//! Between the words of the model and those of libp2p.

use std::{error::Error, net::IpAddr};

use antiphon::{
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    model::NodeId,
    wire::{Address, Contact},
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::DialError};

/// The node with this peer id; none when its key is not ed25519.
pub(super) fn node_of(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes()).ok()
}

/// The peer id of a node.
pub(super) fn peer_of(node: NodeId) -> PeerId {
    PeerId::from_bytes(&node.to_peer_id_bytes()).expect("a node is named by its peer id")
}

/// Splits the peer id off the end of an address.
pub(super) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (address, Some(peer)),
        Some(other) => (address.with(other), None),
        None => (address, None),
    }
}

/// The addresses of a contact that can be understood.
pub(super) fn multiaddrs(contact: &Contact) -> Vec<Multiaddr> {
    let known = contact.addresses.iter().filter_map(|text| text.parse().ok());
    known.map(|address| split_peer(address).0).collect()
}

/// Addresses as the wire carries them: without peer id, each once, at most as many and as long
/// as the limits allow.
pub(super) fn wire_addresses<'a>(
    addresses: impl IntoIterator<Item = &'a Multiaddr>,
) -> Vec<Address> {
    let mut texts: Vec<Address> = Vec::new();
    for address in addresses {
        let text = split_peer(address.clone()).0.to_string();
        if text.len() <= ADDRESS_BYTES_MAX && !texts.contains(&text) {
            texts.push(text);
        }
        if texts.len() == ADDRESSES_MAX {
            break;
        }
    }
    texts
}

/// What others may be told of a peer: of the addresses that it says it listens at, those that
/// can lead to it.
///
/// An unspecified address leads nowhere. A loopback address leads to the peer from this machine
/// only, so it counts where the peer was met over loopback, and comes last. `dialled` is the
/// address at which it was just reached, and so comes first.
pub(super) fn contact(
    node: NodeId,
    listening: &[Multiaddr],
    dialled: Option<&Multiaddr>,
    met_over_loopback: bool,
) -> Contact {
    let leads_far = |address: &&Multiaddr| match ip_of(address) {
        Some(IpAddr::V4(ip)) => !ip.is_unspecified() && !ip.is_loopback(),
        Some(IpAddr::V6(ip)) => {
            !ip.is_unspecified() && !ip.is_loopback() && !ip.is_unicast_link_local()
        }
        None => true,
    };
    let leads_near = |address: &&Multiaddr| met_over_loopback && is_loopback(address);
    let far = listening.iter().filter(leads_far);
    let near = listening.iter().filter(leads_near);
    Contact { node, addresses: wire_addresses(dialled.into_iter().chain(far).chain(near)) }
}

/// Whether an address stays within this machine.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Why a dial failed, for people: one line for each address that was tried.
pub(super) fn dial_causes(peer: &PeerId, error: &DialError) -> Vec<String> {
    match error {
        DialError::Transport(attempts) => {
            let lines = attempts.iter().map(|(address, error)| {
                format!("{}: {}", split_peer(address.clone()).0, innermost(error))
            });
            lines.collect()
        }
        DialError::WrongPeerId { obtained, address } => {
            vec![format!("{}: the node there is {obtained}", split_peer(address.clone()).0)]
        }
        DialError::Denied { cause } => vec![format!("{peer}: {}", innermost(cause))],
        other => vec![format!("{peer}: {other}")],
    }
}

/// The cause at the bottom: the layers of a transport wrap it several times.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use antiphon::model::NodeKey;

    use super::*;

    fn parse(addresses: &[&str]) -> Vec<Multiaddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn names_go_both_ways() {
        let node = NodeKey::from_secret(&[3; 32]).node();
        assert_eq!(node_of(&peer_of(node)), Some(node));
        assert_eq!(peer_of(node).to_string(), node.to_string());
        let other_kind = PeerId::random();
        assert_eq!(node_of(&other_kind), None);
    }

    #[test]
    fn peer_is_split_off() {
        let peer = peer_of(NodeKey::from_secret(&[3; 32]).node());
        let plain: Multiaddr = "/dns4/example.org/tcp/4001".parse().unwrap();
        let whole = plain.clone().with(Protocol::P2p(peer));
        assert_eq!(split_peer(whole), (plain.clone(), Some(peer)));
        assert_eq!(split_peer(plain.clone()), (plain, None));
    }

    #[test]
    fn contacts_hold_what_leads_to_the_node() {
        let node = NodeKey::from_secret(&[3; 32]).node();
        let listening =
            parse(&["/ip4/127.0.0.1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip4/10.0.0.5/tcp/1"]);
        let from_afar = contact(node, &listening, None, false);
        assert_eq!(from_afar.addresses, ["/ip4/10.0.0.5/tcp/1"]);
        let from_here = contact(node, &listening, None, true);
        assert_eq!(from_here.addresses, ["/ip4/10.0.0.5/tcp/1", "/ip4/127.0.0.1/tcp/1"]);
        let dialled = contact(node, &listening, Some(&listening[0]), true);
        assert_eq!(dialled.addresses, ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.5/tcp/1"]);
    }
}
