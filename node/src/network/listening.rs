//! Where a node listens.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use antiphon::engine::Input;
use futures::{FutureExt, StreamExt};
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};

use super::{
    BEAT, Network, NetworkError,
    translate::{Reach, ip_of, wire_addresses},
};

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// At these addresses and nowhere else.
    At(Vec<Multiaddr>),
    /// At every address, IPv4 and IPv6, that this machine has or gets, at this port; 0 for a port
    /// that is free.
    Everywhere(u16),
}

/// Longest time for the operating system to name the addresses that a listener is bound to.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Listen {
    /// Whether others than nodes of this machine may reach it.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::At(addresses) => {
                addresses.iter().any(|address| Reach::of(address) != Reach::Machine)
            }
            Self::Everywhere(_) => true,
        }
    }

    /// Whether it stands for all addresses.
    fn follows_interfaces(&self) -> bool {
        match self {
            Self::At(addresses) => addresses.iter().any(is_unspecified),
            Self::Everywhere(_) => true,
        }
    }
}

impl Network {
    /// Where it listens, without the peer id: the address that others can reach comes first, and
    /// loopback last. Addresses that lead nowhere are left out.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let primary = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(primary);
        let listeners = self.swarm.listeners();
        let mut addresses: Vec<_> =
            listeners.filter(|address| Reach::of(address) != Reach::Nowhere).cloned().collect();
        addresses.sort_by_cached_key(|address| {
            let ip = ip_of(address);
            let is_other = !primary.contains(&ip);
            (Reach::of(address), is_other, ip.is_some_and(|ip| ip.is_ipv6()), address.to_string())
        });
        addresses.dedup();
        addresses
    }

    /// Listens; returns when all addresses are bound.
    pub(super) async fn listen(&mut self, listen: Listen) -> Result<(), NetworkError> {
        let follows_interfaces = listen.follows_interfaces();
        match listen {
            Listen::At(addresses) => self.listen_at(addresses).await?,
            Listen::Everywhere(port) => self.listen_everywhere(port).await?,
        }
        // An unspecified address stands for one of each interface, which come one by one.
        while let Some(Some(event)) = self.swarm.next().now_or_never() {
            self.handle_event(event);
        }
        self.address_news = AddressNews::new(&self.addresses(), follows_interfaces);
        Ok(())
    }

    /// Listens at all addresses of each kind that the kernel knows, at the same port.
    async fn listen_everywhere(&mut self, wanted: u16) -> Result<(), NetworkError> {
        let mut port = wanted;
        let kinds = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let known: Vec<IpAddr> = kinds.into_iter().filter(|ip| can_bind(*ip)).collect();
        // Where the kernel knows neither, listening says why.
        for ip in if known.is_empty() { vec![kinds[0]] } else { known } {
            let at = |port| vec![Multiaddr::from(ip).with(Protocol::Tcp(port))];
            match self.listen_at(at(port)).await {
                // Any port will do, and the one of the other kind is taken here.
                Err(_) if wanted == 0 && port != 0 => self.listen_at(at(0)).await?,
                outcome => outcome?,
            }
            port = if port == 0 { self.port().unwrap_or(0) } else { port };
        }
        Ok(())
    }

    fn port(&self) -> Option<u16> {
        self.swarm.listeners().flat_map(Multiaddr::iter).find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        })
    }

    /// Listens at these addresses; returns when all of them are bound.
    async fn listen_at(&mut self, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        let mut unbound = Vec::new();
        for address in addresses {
            match self.begin_to_listen(&address) {
                // Its addresses may come much later, with an interface.
                Ok(_) if is_unspecified(&address) && !has_loopback(&address) => {}
                Ok(listener) => unbound.push((listener, address)),
                Err(reason) => return Err(NetworkError::Listen { address, reason }),
            }
        }
        let bound = tokio::time::timeout(LISTEN_TIMEOUT, self.all_bound(&mut unbound)).await;
        match (bound, unbound.pop()) {
            (Ok(result), _) => result,
            (Err(_elapsed), Some((_, address))) => {
                let reason = "no interface has this address".to_owned();
                Err(NetworkError::Listen { address, reason })
            }
            (Err(_elapsed), None) => Ok(()),
        }
    }

    /// The addresses have changed: everything that must know is told.
    pub(super) fn tell_addresses(&mut self) {
        let addresses = self.addresses();
        if let Some(nearby) = &self.nearby {
            nearby.announce(&addresses);
        }
        self.address_news.changed(self.beat);
        // What was to be told before is out of date.
        self.ready.retain(|input| !matches!(input, Input::Listening(_)));
        self.ready.push_back(Input::Listening(wire_addresses(&addresses)));
    }

    /// Reports which addresses have come and gone.
    pub(super) fn say_addresses(&mut self) {
        if !self.address_news.is_due(self.beat) {
            return;
        }
        let addresses = self.addresses();
        let news = self.address_news.say(&addresses, self.beat);
        for address in &news.gone {
            tracing::info!("no longer at {address}: its interface or address is gone");
        }
        for address in &news.come {
            tracing::info!("now also at {address}");
        }
        if !news.come.is_empty() {
            // What could not be reached may be reached over the new interface.
            self.bootstrap.hurry();
        }
        if news.is_cut_off {
            tracing::warn!("{CUT_OFF}");
        }
    }

    fn begin_to_listen(&mut self, address: &Multiaddr) -> Result<ListenerId, String> {
        check_free(address).map_err(|error| listen_cause(address, &error))?;
        self.swarm.listen_on(address.clone()).map_err(|error| super::translate::cause(&error))
    }

    async fn all_bound(
        &mut self,
        unbound: &mut Vec<(ListenerId, Multiaddr)>,
    ) -> Result<(), NetworkError> {
        while !unbound.is_empty() {
            let event = self.swarm.select_next_some().await;
            let failed = match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    unbound.retain(|(listener, _)| listener != listener_id);
                    None
                }
                SwarmEvent::ListenerError { listener_id, error } => {
                    Some((*listener_id, error.to_string()))
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    let closed = || "the listener was closed".to_owned();
                    Some((
                        *listener_id,
                        reason.as_ref().map_or_else(io::Error::to_string, |()| closed()),
                    ))
                }
                _ => None,
            };
            self.handle_event(event);
            if let Some((failed, reason)) = failed
                && let Some((_, address)) = unbound.iter().find(|(listener, _)| *listener == failed)
            {
                return Err(NetworkError::Listen { address: address.clone(), reason });
            }
        }
        Ok(())
    }
}

/// The report if nobody else can reach the node.
const CUT_OFF: &str = "no address that others can reach: only nodes of this machine can join";

/// What was reported about the addresses of the node.
#[derive(Debug, Default)]
pub(super) struct AddressNews {
    /// The addresses as last reported.
    said: BTreeSet<Multiaddr>,
    follows_interfaces: bool,
    is_cut_off: bool,
    /// When changes are reported; none while there are none.
    due: Option<u64>,
    /// The earliest time for the next report.
    earliest: u64,
}

/// A report about addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    gone: Vec<Multiaddr>,
    come: Vec<Multiaddr>,
    /// Since the last report, no address is left that others can reach.
    is_cut_off: bool,
}

impl AddressNews {
    /// These addresses are known from the start.
    fn new(addresses: &[Multiaddr], follows_interfaces: bool) -> Self {
        let said: BTreeSet<Multiaddr> = addresses.iter().cloned().collect();
        // Said at the first beat, when whoever started the node has read its addresses.
        Self { said, follows_interfaces, is_cut_off: false, due: Some(0), earliest: 0 }
    }

    /// Addresses have come or gone. Often several do, so the rest is waited for.
    fn changed(&mut self, beat: u64) {
        let due = beat + beats(SETTLING);
        let earliest = self.earliest;
        self.due.get_or_insert_with(|| due.max(earliest));
    }

    fn is_due(&self, beat: u64) -> bool {
        self.due.is_some_and(|due| due <= beat)
    }

    fn say(&mut self, addresses: &[Multiaddr], beat: u64) -> Changes {
        let now: BTreeSet<Multiaddr> = addresses.iter().cloned().collect();
        let was_cut_off = self.is_cut_off;
        self.is_cut_off = self.follows_interfaces
            && !addresses.iter().any(|address| Reach::of(address) <= Reach::Link);
        let changes = Changes {
            gone: self.said.difference(&now).cloned().collect(),
            come: now.difference(&self.said).cloned().collect(),
            is_cut_off: self.is_cut_off && !was_cut_off,
        };
        self.said = now;
        self.due = None;
        if !changes.gone.is_empty() || !changes.come.is_empty() {
            self.earliest = beat + beats(NEWS_INTERVAL);
        }
        changes
    }
}

fn beats(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / BEAT.as_millis()).expect("a short time")
}

/// Time in which an interface gets all of its addresses.
const SETTLING: Duration = Duration::from_secs(2);

/// Shortest time between two reports of addresses: a bad cable must not cause a line a second.
const NEWS_INTERVAL: Duration = Duration::from_secs(15);

fn is_unspecified(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_unspecified())
}

/// Whether the machine has a loopback address of the same kind: then a listener at all addresses
/// has at least that one.
fn has_loopback(address: &Multiaddr) -> bool {
    can_bind(match ip_of(address) {
        Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    })
}

/// Whether the kernel lets sockets have this address.
fn can_bind(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The address of this machine from which it speaks to the rest of the world. Nothing is sent:
/// connecting a datagram socket asks the routing table, and the remote addresses are those that
/// are set aside for documents.
fn primary(unspecified: IpAddr) -> Option<IpAddr> {
    let remote: IpAddr = match unspecified {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((remote, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Checks that nobody else listens at an address. libp2p lets listeners share a port
/// (`SO_REUSEPORT`), and the operating system would then deal connections out between two nodes
/// that were given the same one.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let Some(ip) = ip_of(address) else {
        return Ok(());
    };
    let Some(Protocol::Tcp(port)) = address.iter().nth(1).filter(|part| *part != Protocol::Tcp(0))
    else {
        return Ok(());
    };
    // A listener of the standard library at `::` would take the port of IPv4 as well.
    let every_ipv6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let checked = if ip == every_ipv6 { Ipv6Addr::LOCALHOST.into() } else { ip };
    match TcpListener::bind(SocketAddr::new(checked, port)) {
        Err(error) if ip == every_ipv6 && error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Why an address cannot be listened at, in words.
fn listen_cause(address: &Multiaddr, error: &io::Error) -> String {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    match (error.kind(), ip_of(address), port) {
        (io::ErrorKind::AddrNotAvailable, Some(ip), _) => {
            format!("this machine does not have the address {ip}")
        }
        (io::ErrorKind::AddrInUse, _, Some(port)) => format!("port {port} is in use"),
        (io::ErrorKind::PermissionDenied, _, Some(port)) => {
            format!("this user may not listen at port {port}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(addresses: &[&str]) -> Vec<Multiaddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn changes_of_addresses_are_said_once_they_have_settled_and_not_too_often() {
        let loopback = parse(&["/ip4/127.0.0.1/tcp/1"]);
        let both = parse(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.5/tcp/1"]);
        let mut news = AddressNews::new(&both, true);
        assert!(news.is_due(0));
        assert_eq!(news.say(&both, 0), Changes::default());
        news.changed(100);
        assert!(!news.is_due(103) && news.is_due(104));
        let changes = news.say(&loopback, 104);
        assert_eq!((changes.gone, changes.come.len()), (both[1..].to_vec(), 0));
        assert!(changes.is_cut_off);
        // It comes back at once, and that is said later.
        news.changed(105);
        assert!(!news.is_due(133) && news.is_due(134));
        let changes = news.say(&both, 134);
        assert_eq!((changes.come, changes.is_cut_off), (both[1..].to_vec(), false));
        assert!(!news.is_due(1_000));
    }

    #[test]
    fn a_node_that_is_to_be_reached_from_here_alone_does_not_complain() {
        let loopback = parse(&["/ip4/127.0.0.1/tcp/1"]);
        assert!(!AddressNews::new(&loopback, false).say(&loopback, 0).is_cut_off);
        let mut everywhere = AddressNews::new(&loopback, true);
        assert!(everywhere.say(&loopback, 0).is_cut_off);
        assert!(!everywhere.say(&loopback, 50).is_cut_off, "once");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_in_words() {
        let address = "/ip4/8.8.8.8/tcp/4001".parse().unwrap();
        let cause = |kind| listen_cause(&address, &io::Error::from(kind));
        assert_eq!(
            cause(io::ErrorKind::AddrNotAvailable),
            "this machine does not have the address 8.8.8.8"
        );
        assert_eq!(cause(io::ErrorKind::AddrInUse), "port 4001 is in use");
    }
}
