//! Where a node listens.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use antiphon::engine::Input;
use futures::{FutureExt, StreamExt};
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};

use super::{Network, NetworkError, translate::wire_addresses};

/// Longest time for the operating system to name the addresses that a listener is bound to.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Network {
    /// Where it listens, without the peer id.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.swarm.listeners().cloned().collect()
    }

    /// Listens at these addresses; returns when all of them are bound.
    pub(super) async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        let mut unbound = Vec::new();
        for address in addresses {
            match self.begin_to_listen(&address) {
                Ok(listener) => unbound.push((listener, address)),
                Err(reason) => return Err(NetworkError::Listen { address, reason }),
            }
        }
        let bound = tokio::time::timeout(LISTEN_TIMEOUT, self.all_bound(&mut unbound)).await;
        match (bound, unbound.pop()) {
            (Ok(result), _) => result?,
            (Err(_elapsed), Some((_, address))) => {
                let reason = "no interface has this address".to_owned();
                return Err(NetworkError::Listen { address, reason });
            }
            (Err(_elapsed), None) => {}
        }
        // An unspecified address stands for one of each interface, which come one by one.
        while let Some(Some(event)) = self.swarm.next().now_or_never() {
            self.handle_event(event);
        }
        Ok(())
    }

    /// The addresses have changed: those who must know are told.
    pub(super) fn tell_addresses(&mut self) {
        let addresses = self.addresses();
        if let Some(nearby) = &self.nearby {
            nearby.announce(&addresses);
        }
        // What was to be told before is out of date.
        self.ready.retain(|input| !matches!(input, Input::Listening(_)));
        self.ready.push_back(Input::Listening(wire_addresses(&addresses)));
    }

    fn begin_to_listen(&mut self, address: &Multiaddr) -> Result<ListenerId, String> {
        check_free(address).map_err(|error| error.to_string())?;
        self.swarm.listen_on(address.clone()).map_err(|error| error.to_string())
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

/// Checks that nobody else listens at an address. libp2p lets listeners share a port
/// (`SO_REUSEPORT`), and the operating system would then deal connections out between two nodes
/// that were given the same one.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            TcpListener::bind(SocketAddr::new(ip, port)).map(drop)
        }
        _ => Ok(()),
    }
}
