//! Connections that take the place of others.

use std::{net::SocketAddr, time::Duration};

use antiphon_node::Multiaddr;
use futures::{
    FutureExt, StreamExt,
    future::LocalBoxFuture,
    stream::{self, FuturesUnordered},
};
use libp2p::multiaddr::Protocol;
use tokio::net::TcpStream;

use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

/// TCP connections that are open at a time.
const HALF_OPEN: usize = 600;

/// Connections that are held; each has a key of its own.
const HELD: usize = 2_000;

/// Connections that are being made at a time.
const AT_A_TIME: usize = 16;

/// Opens TCP connections and says nothing; each is replaced when the node closes it.
pub(super) fn handshakes(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let to = socket(target.first());
        let hold = || async move {
            let Ok(stream) = TcpStream::connect(to).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return false;
            };
            // Until the node has enough of it.
            while let Ok(()) = stream.readable().await {
                match stream.try_read(&mut [0; 64]) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            true
        };
        let mut open: FuturesUnordered<_> = (0..HALF_OPEN).map(|_| hold()).collect();
        let mut opened = 0;
        loop {
            tokio::select! {
                Some(was_open) = open.next() => {
                    opened += usize::from(was_open);
                    open.push(hold());
                }
                () = target.over() => break,
            }
        }
        format!("{HALF_OPEN} TCP connections that say nothing, {opened} replaced")
    }
    .boxed_local()
}

/// Connections that answer pings, and ask for nothing.
pub(super) fn held(target: Target) -> LocalBoxFuture<'static, String> {
    hold(target, Guise::Client).boxed_local()
}

/// The same by peers that never say what they are.
pub(super) fn silent(target: Target) -> LocalBoxFuture<'static, String> {
    hold(target, Guise::Silent).boxed_local()
}

async fn hold(target: Target, guise: Guise) -> String {
    let mut held = Vec::new();
    let connects = stream::iter(0..HELD)
        .map(|_| Peer::connect(target.first(), &target.names, guise))
        .buffer_unordered(AT_A_TIME);
    tokio::pin!(connects);
    loop {
        tokio::select! {
            Some(connected) = connects.next() => held.extend(connected),
            () = target.over() => break,
        }
    }
    let left = held.iter_mut().filter_map(|peer| (!peer.is_closed()).then_some(())).count();
    format!("{} of {HELD} connections made, {left} left at the end", held.len())
}

fn socket(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => (ip, port).into(),
        other => panic!("{other:?}"),
    }
}
