//! The port of last time, at which the other nodes know this one.

use std::sync::Arc;

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::store::{Store, StoreError};

/// The fact that holds it.
const PORT_FACT: &str = "port";

/// The port of last time; zero if there is none.
pub(super) fn of_last_time(store: &impl Store) -> Result<u16, StoreError> {
    let port = store.fact(PORT_FACT)?.and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
    Ok(port.map_or(0, u16::from_be_bytes))
}

/// Keeps the port, so that the node is at the same place next time. If that fails, it is found
/// by other means.
pub(super) fn remember(store: &Arc<dyn Store>, addresses: &[Multiaddr]) {
    let port = addresses.iter().flat_map(Multiaddr::iter).find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    if let Some(port) = port
        && let Err(error) = store.put_fact(PORT_FACT, &port.to_be_bytes())
    {
        tracing::warn!(%error, "the port was not kept");
    }
}
