//! Between the words of the model and those of libp2p.

use std::{error::Error, io, net::IpAddr, time::Duration};

use antiphon::{
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    model::NodeId,
    wire::{Address, Contact},
};
use libp2p::{
    Multiaddr, PeerId, core::transport::TransportError, multiaddr::Protocol, swarm::DialError,
};

/// Time for one connection to be set up and secured. On a LAN it takes milliseconds; a machine
/// that is off must not hold up the search for another one.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
    let leads_far = |address: &&Multiaddr| Reach::of(address) <= Reach::Link;
    let leads_near = |address: &&Multiaddr| met_over_loopback && is_loopback(address);
    let far = listening.iter().filter(leads_far);
    let near = listening.iter().filter(leads_near);
    Contact::new(node, wire_addresses(dialled.into_iter().chain(far).chain(near)))
}

/// How far an address leads, the furthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// To other networks, or at least to all of this one.
    Far,
    /// To the machines on the same cable, which have no better IPv4 address either.
    Link,
    /// To this machine alone.
    Machine,
    /// Nowhere: an unspecified address, or one that means something only with the name of an
    /// interface, which an address of libp2p does not have.
    Nowhere,
}

impl Reach {
    pub(super) fn of(address: &Multiaddr) -> Self {
        match ip_of(address) {
            Some(ip) if ip.is_unspecified() => Self::Nowhere,
            Some(ip) if ip.is_loopback() => Self::Machine,
            Some(IpAddr::V4(ip)) if ip.is_link_local() => Self::Link,
            Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Self::Nowhere,
            Some(_) | None => Self::Far,
        }
    }
}

/// Whether an address leads anywhere.
pub(super) fn leads_there(address: &Multiaddr) -> bool {
    Reach::of(address) != Reach::Nowhere
}

/// Whether an address stays within this machine.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    Reach::of(address) == Reach::Machine
}

pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Why a dial failed, for people: each address that was tried, where it is known, and its cause.
pub(super) fn dial_failures(error: &DialError) -> Vec<(Option<Multiaddr>, String)> {
    let at = |address: &Multiaddr| Some(split_peer(address.clone()).0);
    match error {
        DialError::Transport(attempts) => {
            attempts.iter().map(|(address, error)| (at(address), cause(error))).collect()
        }
        DialError::WrongPeerId { obtained, address } => {
            vec![(at(address), format!("the node there is {obtained}"))]
        }
        DialError::LocalPeerId { address } => vec![(at(address), LEADS_BACK.to_owned())],
        // Addresses of its own are not dialled.
        DialError::NoAddresses => vec![(None, LEADS_BACK.to_owned())],
        DialError::Denied { cause } => {
            let cause = layers(cause).last().map_or_else(|| cause.to_string(), ToString::to_string);
            vec![(None, cause)]
        }
        DialError::Aborted => vec![(None, "the attempt was given up".to_owned())],
        other @ DialError::DialPeerConditionFalse(_) => vec![(None, other.to_string())],
    }
}

/// What is said of an address that is the node's own.
const LEADS_BACK: &str = "it leads back to this node";

/// The same as one line for each address.
pub(super) fn dial_causes(peer: &PeerId, error: &DialError) -> Vec<String> {
    let line = |(address, cause): (Option<Multiaddr>, String)| match address {
        Some(address) => format!("{address}: {cause}"),
        None => format!("{peer}: {cause}"),
    };
    dial_failures(error).into_iter().map(line).collect()
}

/// The cause of a failed connection, in words.
pub(super) fn cause(error: &TransportError<io::Error>) -> String {
    let error = match error {
        TransportError::MultiaddrNotSupported(address) => return unsupported(address),
        TransportError::Other(error) => error,
    };
    let layers = || layers(error);
    let text = layers().last().map_or_else(|| error.to_string(), ToString::to_string);
    let io = layers().filter_map(|layer| layer.downcast_ref::<io::Error>()).map(io::Error::kind);
    // Noise shows an I/O error as its own, so that its kind is known by its text alone.
    let hidden = HIDDEN.into_iter().filter(|kind| kind.to_string() == text);
    if let Some(text) = io.chain(hidden).filter_map(io_cause).last() {
        return text;
    }
    match text.as_str() {
        "Timeout has been reached" => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        "Protocol negotiation failed." => NO_NODE.to_owned(),
        "decrypt error" => OTHER_DOOR.to_owned(),
        _ => text,
    }
}

/// What is said of a program that speaks something else.
pub(super) const NO_NODE: &str = "what answers there is no Antiphon node";

/// What is said where the handshake does not fit: the two ends put different things before it.
pub(super) const OTHER_DOOR: &str =
    "one of the two belongs to a closed network, and the other one does not belong to the same";

/// What an I/O error means to people, where its kind says it.
fn io_cause(kind: io::ErrorKind) -> Option<String> {
    let text = match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::TimedOut => "no answer",
        io::ErrorKind::NetworkUnreachable => "this machine has no way to that network",
        io::ErrorKind::HostUnreachable => "no machine answers at that address",
        io::ErrorKind::InvalidData => NO_NODE,
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "the connection was closed at once: is it an Antiphon node?"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// What a program that speaks something else may cause in the middle of a handshake.
const HIDDEN: [io::ErrorKind; 2] = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];

fn unsupported(address: &Multiaddr) -> String {
    let has = |tag| address.iter().any(|part| part.tag() == tag);
    if has("quic") || has("quic-v1") || has("udp") {
        "QUIC is not spoken here; use /tcp/".to_owned()
    } else if has("dnsaddr") {
        "/dnsaddr/ is not looked up here; use /dns/".to_owned()
    } else {
        "an address has a host and a /tcp/ port".to_owned()
    }
}

/// An error and all that it was made of: the layers of a transport wrap it several times.
fn layers<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |layer| {
        let layer: &'a (dyn Error + 'static) = *layer;
        // What an I/O error was made of is not its source: that one's source is.
        let within = layer.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        within.map(|within| within as &(dyn Error + 'static)).or_else(|| layer.source())
    })
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
    fn addresses_lead_far_to_the_same_cable_or_nowhere() {
        let reach = |address: &str| Reach::of(&address.parse().unwrap());
        assert_eq!(reach("/ip4/10.0.0.5/tcp/1"), Reach::Far);
        assert_eq!(reach("/ip6/fd09::1/tcp/1"), Reach::Far);
        assert_eq!(reach("/dns/example.org/tcp/1"), Reach::Far);
        assert_eq!(reach("/ip4/169.254.7.7/tcp/1"), Reach::Link);
        assert_eq!(reach("/ip4/127.0.0.1/tcp/1"), Reach::Machine);
        assert_eq!(reach("/ip6/::1/tcp/1"), Reach::Machine);
        for nowhere in ["/ip6/fe80::1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1"] {
            assert_eq!(reach(nowhere), Reach::Nowhere, "{nowhere}");
        }
    }

    #[test]
    fn causes_are_found_below_all_layers_and_are_words() {
        let wrapped = |kind| cause(&TransportError::Other(io::Error::other(io::Error::from(kind))));
        assert_eq!(wrapped(io::ErrorKind::ConnectionRefused), "connection refused");
        assert_eq!(wrapped(io::ErrorKind::InvalidData), NO_NODE);
        let text = io::Error::other(io::Error::other("nosuchhost.invalid has no address"));
        assert_eq!(cause(&TransportError::Other(text)), "nosuchhost.invalid has no address");
        let quic = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
        let quic = cause(&TransportError::MultiaddrNotSupported(quic));
        assert_eq!(quic, "QUIC is not spoken here; use /tcp/");
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
