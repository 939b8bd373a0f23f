//! Where connections come from.

use std::{collections::BTreeMap, net::IpAddr};

use libp2p::{Multiaddr, core::ConnectedPoint};

use super::translate::{ip_of, is_loopback};

/// Where a connection comes from, as far as it is told apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// This machine.
    Machine,
    /// An IPv4 address.
    Address([u8; 4]),
    /// The upper half of an IPv6 address: one customer of one provider has all of the lower half.
    Network([u8; 8]),
    /// Something else.
    Unknown,
}

impl Source {
    /// Where an incoming connection comes from.
    pub(super) fn of(local: &Multiaddr, remote: &Multiaddr) -> Self {
        let (local_addr, send_back_addr) = (local.clone(), remote.clone());
        Self::of_endpoint(&ConnectedPoint::Listener { local_addr, send_back_addr })
    }

    /// Where the other end of a connection is.
    pub(super) fn of_endpoint(endpoint: &ConnectedPoint) -> Self {
        if is_of_this_machine(endpoint) {
            return Self::Machine;
        }
        match ip_of(endpoint.get_remote_address()).map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::Address(ip.octets()),
            Some(IpAddr::V6(ip)) => {
                let octets = ip.octets();
                Self::Network(*octets.first_chunk().expect("16 bytes are more than 8"))
            }
            None => Self::Unknown,
        }
    }
}

impl Source {
    /// Which of two limits holds: that of an address, or that of this machine, where many nodes and
    /// clients may run.
    pub(super) fn limit(self, per_address: usize, per_machine: usize) -> usize {
        match self {
            Self::Machine => per_machine,
            Self::Address(_) | Self::Network(_) | Self::Unknown => per_address,
        }
    }
}

/// How many of something each source has.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<Source, usize>);

impl Counts {
    pub(super) fn add(&mut self, source: Source) {
        *self.0.entry(source).or_default() += 1;
    }

    pub(super) fn remove(&mut self, source: Source) {
        if let Some(count) = self.0.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&source);
            }
        }
    }

    pub(super) fn of(&self, source: Source) -> usize {
        self.0.get(&source).copied().unwrap_or(0)
    }

    /// The source that has most.
    pub(super) fn heaviest(&self) -> Option<Source> {
        self.0.iter().max_by_key(|(_, count)| **count).map(|(source, _)| *source)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the other end of a connection is on this machine: it came over loopback, or from the
/// very address at which it arrived.
fn is_of_this_machine(endpoint: &ConnectedPoint) -> bool {
    match endpoint {
        ConnectedPoint::Dialer { address, .. } => is_loopback(address),
        ConnectedPoint::Listener { local_addr, send_back_addr } => {
            let (local, remote) = (ip_of(local_addr), ip_of(send_back_addr));
            is_loopback(send_back_addr) || remote.is_some() && remote == local
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_machines_and_networks() {
        let of = |local: &str, remote: &str| {
            Source::of(&local.parse().unwrap(), &remote.parse().unwrap())
        };
        assert_eq!(of("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"), Source::Machine);
        assert_eq!(of("/ip4/10.0.0.7/tcp/1", "/ip4/10.0.0.7/tcp/2"), Source::Machine);
        let far = Source::Address([10, 0, 0, 8]);
        assert_eq!(of("/ip4/10.0.0.7/tcp/1", "/ip4/10.0.0.8/tcp/2"), far);
        assert_eq!(of("/ip6/fd00::1/tcp/1", "/ip6/::ffff:10.0.0.8/tcp/2"), far);
        let one = of("/ip6/fd00::1/tcp/1", "/ip6/2001:db8::1/tcp/2");
        assert_eq!(one, of("/ip6/fd00::1/tcp/1", "/ip6/2001:db8::2/tcp/2"));
        assert_ne!(one, of("/ip6/fd00::1/tcp/1", "/ip6/2001:db8:0:1::1/tcp/2"));
    }
}
