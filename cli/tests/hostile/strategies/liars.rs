//! Nodes that are nearer to a topic than all others, and hold nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use antiphon::{
    model::{NodeId, TopicId},
    wire::{
        ClientRequest, Compared, MemberState, NodeRequest, Outcome, Peer as Known, Request,
        Response,
    },
};
use antiphon_node::{Client, ClientConfig, Multiaddr};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use libp2p::{identity::Keypair, multiaddr::Protocol};
use tokio::sync::Mutex;

use crate::{
    peer::{Asked, Peer, Requests},
    stage::Target,
};

/// As many as the topic has home replicas.
const LIARS: usize = 3;

/// Three keys are ground until they are the home replicas of the topic. They give a receipt for
/// all that they are sent, and keep none of it. What they say that they hold, and what they show,
/// they have from an honest node, which they ask whenever they are asked.
pub(super) fn lying_homes(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let network = target.names.network().parse().expect("a name");
        let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
        let surveyed = async { Client::connect(config).await.ok()?.survey(&target.topic).await.ok() };
        let Some(surveyed) = surveyed.await else {
            return "the topic is not known".to_owned();
        };
        let nearest = target.nodes.iter().filter_map(|it| Some(distance(surveyed.end.topic, &id_of(it)?)));
        let nearest = nearest.min().expect("there are nodes");
        let (mut keys, mut tries) = (Vec::new(), 0_usize);
        while keys.len() < LIARS {
            tries += 1;
            let key = Keypair::generate_ed25519();
            if distance(surveyed.end.topic, &id_of_key(&key)) < nearest {
                keys.push(key);
            }
        }
        let lies = Arc::new(AtomicUsize::new(0));
        let liars = keys.iter().map(|key| lie(&target, key, &lies));
        let connected: usize = join_all(liars).await.into_iter().sum();
        format!(
            "3 keys ground in {tries} tries say they are home replicas, over {connected} connections; {} batches given a receipt and thrown away",
            lies.load(Relaxed)
        )
    }
    .boxed_local()
}

fn id_of(address: &Multiaddr) -> Option<NodeId> {
    let peer = address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    NodeId::from_peer_id_bytes(&peer?.to_bytes()).ok()
}

fn id_of_key(key: &Keypair) -> NodeId {
    let bytes = key.public().to_peer_id().to_bytes();
    NodeId::from_peer_id_bytes(&bytes).expect("it is an ed25519 key")
}

/// How far a node is from a topic, as placement has it.
fn distance(topic: TopicId, node: &NodeId) -> [u8; 32] {
    let (topic, node) = (topic.place(), node.place());
    std::array::from_fn(|at| topic[at] ^ node[at])
}

/// Connects to every node as one of them, and lies until the time is over. How many connections.
async fn lie(target: &Target, key: &Keypair, lies: &Arc<AtomicUsize>) -> usize {
    // Nobody listens there; nodes have its connections.
    let listens: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let mut peers = Vec::new();
    for node in &target.nodes {
        let peer = Peer::connect_as(node, &target.names, key.clone(), listens.clone());
        peers.extend(peer.await.ok());
    }
    let connected = peers.len();
    // A stream of its own to an honest node, to have answers from.
    let honest = match peers.last() {
        Some(peer) => peer.requests().await.ok(),
        None => None,
    };
    let (me, honest) = (id_of_key(key), Arc::new(Mutex::new(honest)));
    for mut peer in peers {
        let (honest, lies) = (Arc::clone(&honest), Arc::clone(lies));
        let handle = tokio::runtime::Handle::current();
        handle.clone().spawn(async move {
            while let Some(asked) = peer.asked().await {
                let (honest, lies) = (Arc::clone(&honest), Arc::clone(&lies));
                handle.spawn(async move { drop(answer_all(asked, me, &honest, &lies).await) });
            }
        });
    }
    target.over().await;
    connected
}

/// Answers all that comes over a stream.
async fn answer_all(
    mut asked: Asked,
    me: NodeId,
    honest: &Mutex<Option<Requests>>,
    lies: &AtomicUsize,
) -> std::io::Result<()> {
    loop {
        let (number, request) = asked.next().await?;
        let response = answer(request, me, honest, lies).await?;
        asked.answer(number, &response).await?;
    }
}

async fn answer(
    request: Request,
    me: NodeId,
    honest: &Mutex<Option<Requests>>,
    lies: &AtomicUsize,
) -> std::io::Result<Response> {
    Ok(match request {
        Request::Node(NodeRequest::Replicate(replicate)) => {
            lies.fetch_add(replicate.batches.len(), Relaxed);
            Response::Replicated(vec![Outcome::Stored; replicate.batches.len()])
        }
        Request::Client(ClientRequest::Peers) => {
            Response::Peers(vec![Known::new(me, MemberState::Alive, Vec::new())])
        }
        Request::Node(NodeRequest::Compare(..)) => Response::Compared(Compared::InStep, None),
        Request::Node(NodeRequest::Keep(..)) => Response::Kept(None),
        Request::Node(NodeRequest::Leaving(_) | NodeRequest::Stopping) => Response::Noted,
        other => match honest.lock().await.as_mut() {
            Some(requests) => {
                requests.send(&other).await?;
                match requests.answer().await? {
                    Response::Held(mut held) => {
                        held.keeps = true;
                        Response::Held(held)
                    }
                    response => response,
                }
            }
            None => Response::Noted,
        },
    })
}
