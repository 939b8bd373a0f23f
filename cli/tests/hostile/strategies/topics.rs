//! Topics that nobody needs, by the ten thousand.

use std::{cell::Cell, io};

use antiphon::{
    model::{Descriptor, NodeKey, Stamp},
    wire::{ClientRequest, Create, NodeRequest, Request, Response},
};
use antiphon_node::Multiaddr;
use futures::{
    FutureExt, StreamExt,
    future::{LocalBoxFuture, join, join_all},
    stream::FuturesUnordered,
};
use libp2p::identity::Keypair;

use super::gossip::answer_as_node;
use crate::{
    peer::{Guise, Peer, Requests},
    stage::Target,
};

/// Clients that create topics, and requests that each has under way.
const CLIENTS: usize = 4;
const UNDER_WAY: usize = 64;

/// Creates topics at the first node, and announces others to all nodes as a node does that signs
/// them.
pub(super) fn flooded(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let (created, announced) = (Cell::new(0_usize), Cell::new(0_usize));
        let clients = join_all((0..CLIENTS).map(|_| create(&target, &created)));
        let nodes = join_all(target.nodes.iter().map(|node| announce(&target, node, &announced)));
        tokio::select! {
            _ = join(clients, nodes) => target.over().await,
            () = target.over() => {}
        }
        let (created, announced) = (created.get(), announced.get());
        format!(
            "{CLIENTS} clients created {created} topics, and {} keys announced {announced} that \
             they signed",
            target.nodes.len()
        )
    }
    .boxed_local()
}

async fn create(target: &Target, created: &Cell<usize>) -> io::Result<()> {
    let peer = Peer::connect(target.first(), &target.names, Guise::Client).await?;
    let mut requests = peer.requests().await?;
    for _ in 0..UNDER_WAY {
        requests.send(&another()).await?;
    }
    loop {
        let answer = requests.answer().await?;
        created.set(created.get() + usize::from(matches!(answer, Response::Created(..))));
        requests.send(&another()).await?;
    }
}

fn another() -> Request {
    let name = format!("flood.{}", fastrand::u64(..)).parse().expect("a name");
    Request::Client(ClientRequest::Create(Create::new(name)))
}

async fn announce(target: &Target, node: &Multiaddr, announced: &Cell<usize>) -> io::Result<()> {
    let mut secret = [0; 32];
    fastrand::fill(&mut secret);
    let key = NodeKey::from_secret(&secret);
    let pair = Keypair::ed25519_from_bytes(secret).map_err(io::Error::other)?;
    let listens = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let mut peer = Peer::connect_as(node, &target.names, pair, listens).await?;
    let mut requests = peer.requests().await?;
    let mut telling = std::pin::pin!(tell(&mut requests, &key, announced));
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            ended = &mut telling => return ended,
            asked = peer.asked() => match asked {
                Some(asked) => answering.push(answer_as_node(asked)),
                None => return Ok(()),
            },
            Some(()) = answering.next() => {}
        }
    }
}

async fn tell(requests: &mut Requests, key: &NodeKey, announced: &Cell<usize>) -> io::Result<()> {
    for under_way in 0_usize.. {
        let name = format!("flood.{}", fastrand::u64(..)).parse().expect("a name");
        let terms = Descriptor::new(name, key.node(), Stamp::default());
        let signed = terms.sign(key).map_err(io::Error::other)?;
        let request = Request::Node(NodeRequest::Announce(Some(Box::new(signed))));
        requests.send(&request).await?;
        if under_way >= UNDER_WAY {
            let is_kept = matches!(requests.answer().await?, Response::Described(Some(_)));
            announced.set(announced.get() + usize::from(is_kept));
        }
    }
    Ok(())
}
