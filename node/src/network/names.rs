//! Dialling by name.
//!
//! The operating system looks names up, so its settings hold as they are at that moment: a
//! `resolv.conf` that is written after the node has started, `/etc/hosts`, another network.
//! `/dnsaddr/` needs TXT records, which the operating system does not look up, and is refused.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
    multiaddr::Protocol,
};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::translate::cause;

/// Longest time for a name to be looked up. Where the first name server is down, the operating
/// system asks the second one after 5 s.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Names that are looked up at the same time. Each takes a thread, for as long as the operating
/// system needs.
const LOOKUPS_MAX: usize = 8;

/// Addresses of one name that are dialled.
const ADDRESSES_PER_NAME_MAX: usize = 8;

/// A connection that is secured.
type Secured = (PeerId, StreamMuxerBox);

/// A transport that dials names as well as addresses.
pub(super) struct Names {
    inner: Arc<Mutex<Boxed<Secured>>>,
    lookups: Arc<Semaphore>,
}

/// A name at the start of an address.
struct Name {
    text: String,
    is_wanted: fn(&IpAddr) -> bool,
    kind: &'static str,
}

/// Why a name leads nowhere.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub(super) enum NameError {
    /// There is no such name, or it has no address of the wanted kind.
    #[error("{name} has no {kind}")]
    Unknown {
        /// The name.
        name: String,
        /// The kind of address.
        kind: &'static str,
    },
    /// Nobody could be asked, or nobody answered.
    #[error("{name} cannot be looked up: {reason}")]
    Unanswered {
        /// The name.
        name: String,
        /// What the operating system says.
        reason: String,
    },
}

impl Names {
    /// Looks names up before `inner` dials.
    pub(super) fn over(inner: Boxed<Secured>) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { inner: Arc::new(Mutex::new(inner)), lookups }
    }
}

fn locked(inner: &Mutex<Boxed<Secured>>) -> MutexGuard<'_, Boxed<Secured>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for Names {
    type Output = Secured;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Secured> as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Secured>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        locked(&self.inner).listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        locked(&self.inner).remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        match Name::of(&address) {
            None => locked(&self.inner).dial(address, options),
            Some(name) => {
                let (inner, lookups) = (Arc::clone(&self.inner), Arc::clone(&self.lookups));
                Ok(dial(inner, lookups, name, address, options).boxed())
            }
        }
    }

    fn poll(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *locked(&self.inner)).poll(context)
    }
}

/// Dials all addresses of a name; the first that answers counts.
async fn dial(
    inner: Arc<Mutex<Boxed<Secured>>>,
    lookups: Arc<Semaphore>,
    name: Name,
    address: Multiaddr,
    options: DialOpts,
) -> io::Result<Secured> {
    let found = look_up(lookups, name).await.map_err(io::Error::other)?;
    let mut dials: FuturesUnordered<_> = found
        .into_iter()
        .map(|ip| {
            let address = address.replace(0, |_| Some(ip.into())).expect("it begins with a name");
            let dial = locked(&inner).dial(address, options);
            async move {
                match dial {
                    Ok(dial) => {
                        dial.await.map_err(|error| (ip, cause(&TransportError::Other(error))))
                    }
                    Err(error) => Err((ip, cause(&error))),
                }
            }
        })
        .collect();
    let mut causes = Vec::new();
    while let Some(outcome) = dials.next().await {
        match outcome {
            Ok(connection) => return Ok(connection),
            Err((ip, cause)) => causes.push(format!("{ip}: {cause}")),
        }
    }
    Err(io::Error::other(causes.join(", ")))
}

/// The addresses of a name, at least one.
async fn look_up(lookups: Arc<Semaphore>, name: Name) -> Result<Vec<IpAddr>, NameError> {
    let unanswered = |reason: String| NameError::Unanswered { name: name.text.clone(), reason };
    let lookup = async {
        let permit = lookups.acquire_owned().await.map_err(|error| error.to_string())?;
        let text = name.text.clone();
        let lookup = tokio::task::spawn_blocking(move || {
            // Its place is free when the thread is, not when nobody waits any more.
            let _permit = permit;
            (text.as_str(), 0).to_socket_addrs().map(Vec::from_iter)
        });
        lookup.await.map_err(|error| error.to_string())
    };
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(found)) => name.resolved(found.map(|addresses| {
            addresses.into_iter().map(|address| address.ip()).collect::<Vec<_>>()
        })),
        Ok(Err(reason)) => Err(unanswered(reason)),
        Err(_elapsed) => Err(unanswered("no name server answers".to_owned())),
    }
}

impl Name {
    /// The name that an address begins with; none where it begins with something else.
    fn of(address: &Multiaddr) -> Option<Self> {
        let (text, is_wanted, kind): (_, fn(&IpAddr) -> bool, _) = match address.iter().next()? {
            Protocol::Dns(name) => (name, |_| true, "address"),
            Protocol::Dns4(name) => (name, IpAddr::is_ipv4, "IPv4 address"),
            Protocol::Dns6(name) => (name, IpAddr::is_ipv6, "IPv6 address"),
            _ => return None,
        };
        Some(Self { text: text.into_owned(), is_wanted, kind })
    }

    /// What the operating system's answer means.
    fn resolved(self, found: io::Result<Vec<IpAddr>>) -> Result<Vec<IpAddr>, NameError> {
        let Self { text: name, is_wanted, kind } = self;
        match found {
            Ok(mut found) => {
                found.retain(is_wanted);
                found.truncate(ADDRESSES_PER_NAME_MAX);
                if found.is_empty() { Err(NameError::Unknown { name, kind }) } else { Ok(found) }
            }
            Err(error) => {
                let text = error.to_string();
                let reason = text.rsplit_once(": ").map_or(text.as_str(), |(_, reason)| reason);
                if NO_SUCH_NAME.iter().any(|known| reason.starts_with(known)) {
                    return Err(NameError::Unknown { name, kind: "address" });
                }
                Err(NameError::Unanswered { name, reason: reason.to_owned() })
            }
        }
    }
}

/// How operating systems say that a name does not exist, or has no address. There is no other
/// sign: `std` hands on their text alone.
const NO_SUCH_NAME: [&str; 5] = [
    "Name or service not known",
    "Name does not resolve",
    "No address associated with",
    "Name has no usable address",
    "nodename nor servname provided",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: &str) -> Name {
        Name::of(&address.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_names_are_looked_up() {
        for address in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/dnsaddr/example.org"] {
            assert!(Name::of(&address.parse().unwrap()).is_none(), "{address}");
        }
        assert_eq!(name("/dns4/example.org/tcp/1").text, "example.org");
    }

    #[test]
    fn a_name_leads_to_addresses_of_the_wanted_kind() {
        let [four, six]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let found = |address: &str| name(address).resolved(Ok(vec![four, six]));
        assert_eq!(found("/dns/example.org/tcp/1"), Ok(vec![four, six]));
        assert_eq!(found("/dns4/example.org/tcp/1"), Ok(vec![four]));
        assert_eq!(found("/dns6/example.org/tcp/1"), Ok(vec![six]));
        let none = name("/dns6/example.org/tcp/1").resolved(Ok(vec![four])).unwrap_err();
        assert_eq!(none.to_string(), "example.org has no IPv6 address");
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_one_that_nobody_answers_for() {
        let error = |reason: &str| {
            let text = format!("failed to lookup address information: {reason}");
            let error =
                name("/dns4/nosuchhost.invalid/tcp/1").resolved(Err(io::Error::other(text)));
            error.unwrap_err().to_string()
        };
        assert_eq!(error("Name or service not known"), "nosuchhost.invalid has no address");
        assert_eq!(
            error("Temporary failure in name resolution"),
            "nosuchhost.invalid cannot be looked up: Temporary failure in name resolution"
        );
    }

    #[tokio::test]
    async fn the_operating_system_knows_localhost() {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let found = look_up(lookups, name("/dns/localhost/tcp/1")).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
