//! What peers say of others: where this node may be made to dial by somebody's word.
//!
//! A peer tells of what it can reach itself. So addresses of this machine are believed of a peer on
//! this machine, private ones of a peer at a private address, and public ones of all. A name has
//! to be looked up first, so it is believed only of a node that the operator named. How many are
//! tried, and how fast, the engine decides.

use std::net::{IpAddr, Ipv4Addr};

use antiphon::wire::Peer;
use libp2p::{Multiaddr, PeerId};

use super::{Network, translate::ip_of};

/// Where an address is, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Machine,
    Private,
    Public,
}

impl Scope {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => {
                Self::Private
            }
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            _ => Self::Public,
        }
    }
}

/// Whether an address is one of those that providers and VPNs give out behind one of their own.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && (64..128).contains(&second)
}

/// Whether two addresses are of one IPv6 network.
fn are_neighbours(one: IpAddr, other: IpAddr) -> bool {
    let (IpAddr::V6(one), IpAddr::V6(other)) = (one, other) else { return false };
    one.octets()[..8] == other.octets()[..8]
}

/// Where a teller is: as near as any of its connections shows.
fn scope_of<'a>(met_at: impl Iterator<Item = &'a Multiaddr>, own: &[IpAddr]) -> Scope {
    let scopes = met_at.filter_map(ip_of).map(|ip| {
        let is_near = own.iter().any(|own| are_neighbours(*own, ip));
        if is_near { Scope::of(ip).min(Scope::Private) } else { Scope::of(ip) }
    });
    scopes.min().unwrap_or(Scope::Public)
}

/// Whether a node may be dialled at an address because somebody at `teller` says so.
fn is_believed(teller: Scope, are_names_believed: bool, address: &str) -> bool {
    let Ok(address) = address.parse::<Multiaddr>() else { return false };
    match ip_of(&address) {
        Some(ip) => Scope::of(ip) >= teller,
        None => are_names_believed,
    }
}

impl Network {
    /// Leaves of an answer only the addresses at which its teller may make this node dial.
    pub(super) fn weigh(&self, teller: &PeerId, peers: &mut [Peer]) {
        let own: Vec<_> = self.swarm.listeners().filter_map(ip_of).collect();
        let scope = scope_of(self.peers.met_at(teller), &own);
        let is_named = self.bootstrap.names(teller);
        for peer in peers {
            peer.addresses.retain(|address| is_believed(scope, is_named, address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(met_at: &str) -> Scope {
        let own = ["2001:db8:0:1::1".parse().unwrap()];
        scope_of([met_at.parse().unwrap()].iter(), &own)
    }

    #[test]
    fn nobody_is_sent_further_in_than_the_teller_is() {
        let (machine, private) = ("/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1");
        let public = "/ip4/203.0.113.9/tcp/1";
        let tellers = [
            (machine, [true, true, true]),
            ("/ip4/10.0.0.8/tcp/1", [false, true, true]),
            ("/ip4/169.254.1.1/tcp/1", [false, true, true]),
            ("/ip4/100.64.0.1/tcp/1", [false, true, true]),
            ("/ip6/fd00::1/tcp/1", [false, true, true]),
            ("/ip6/2001:db8:0:1::7/tcp/1", [false, true, true]),
            ("/ip6/2001:db8:0:2::7/tcp/1", [false, false, true]),
            ("/ip4/198.51.100.1/tcp/1", [false, false, true]),
        ];
        for (teller, believed) in tellers {
            let told = [machine, private, public];
            let is = told.map(|address| is_believed(scope(teller), false, address));
            assert_eq!(is, believed, "{teller}");
        }
    }

    #[test]
    fn names_are_believed_of_those_whom_the_operator_named() {
        let scope = Scope::Machine;
        assert!(is_believed(scope, true, "/dns/example.org/tcp/1"));
        assert!(!is_believed(scope, false, "/dns/example.org/tcp/1"));
        assert!(!is_believed(scope, false, "no address"));
    }
}
