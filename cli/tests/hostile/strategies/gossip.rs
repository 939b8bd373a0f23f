//! Gossip that is worth nothing.

use std::{cell::Cell, time::Duration};

use antiphon::wire::{ClientRequest, Refusal, Request, Response};
use antiphon_node::{Client, ClientConfig};
use futures::{
    AsyncWriteExt, FutureExt, StreamExt,
    future::{LocalBoxFuture, join_all},
    stream::FuturesUnordered,
};
use libp2p::{Multiaddr, StreamProtocol};

use crate::{
    peer::{Asked, Peer},
    stage::Target,
};

/// Peers, spread over all nodes.
const PEERS: usize = 12;

const MESHSUB: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// Messages of noise, in the mesh of the topic that is read.
pub(super) fn noise(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let Some(mesh) = mesh_of(&target).await else {
            return "the topic is not known".to_owned();
        };
        flood(&target, "messages of noise", |_| {
            let data: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5_000).collect();
            let message = [field(2, &data), field(4, mesh.as_bytes())].concat();
            field(2, &message)
        })
        .await
    }
    .boxed_local()
}

/// Subscriptions to topics that do not exist.
pub(super) fn subscriptions(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let network = target.names.network().to_owned();
        flood(&target, "hundreds of subscriptions", |_| {
            let one = |_| {
                let topic = format!("antiphon/{network}/{:032x}", fastrand::u128(..));
                field(1, &[vec![0x08, 0x01], field(2, topic.as_bytes())].concat())
            };
            (0..100).flat_map(one).collect()
        })
        .await
    }
    .boxed_local()
}

/// Grafts of the mesh over and over, and offers of and wishes for messages that nobody has.
pub(super) fn control(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let Some(mesh) = mesh_of(&target).await else {
            return "the topic is not known".to_owned();
        };
        flood(&target, "messages of control", |_| {
            let ids = |number| {
                let id = |_| field(number, &fastrand::u128(..).to_be_bytes());
                (0..100).flat_map(id).collect::<Vec<_>>()
            };
            let offer = field(1, &[field(1, mesh.as_bytes()), ids(2)].concat());
            let wish = field(2, &ids(1));
            let graft = field(3, &field(1, mesh.as_bytes()));
            field(3, &[offer, wish, graft].concat())
        })
        .await
    }
    .boxed_local()
}

async fn mesh_of(target: &Target) -> Option<String> {
    let network = target.names.network();
    let config = ClientConfig::new().network(network.parse().ok()?).nodes([target.first().clone()]);
    let surveyed = Client::connect(config).await.ok()?.survey(&target.topic).await.ok()?;
    Some(format!("antiphon/{network}/{}", surveyed.end.topic))
}

async fn flood(target: &Target, what: &str, frame: impl Fn(u64) -> Vec<u8>) -> String {
    let (sent, turned_away) = (Cell::new(0_u64), Cell::new(0_u64));
    let peers = target.nodes.iter().cycle().take(PEERS).map(|node| async {
        while !target.is_over() {
            let _: std::io::Result<()> = send(target, node, &sent, &frame).await;
            turned_away.set(turned_away.get() + 1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    tokio::select! {
        _ = join_all(peers) => {}
        () = target.over() => {}
    }
    let (sent, turned_away) = (sent.get(), turned_away.get());
    format!("{PEERS} peers sent {sent} {what}, and were turned away {turned_away} times")
}

async fn send(
    target: &Target,
    node: &Multiaddr,
    sent: &Cell<u64>,
    frame: &impl Fn(u64) -> Vec<u8>,
) -> std::io::Result<()> {
    let own = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let mut peer = Peer::connect_to_answer(node, &target.names, own).await?;
    let mut stream = peer.open(&MESHSUB).await?;
    let sending = async {
        loop {
            let rpc = frame(sent.get());
            stream.write_all(&[length(rpc.len()), rpc].concat()).await?;
            stream.flush().await?;
            sent.set(sent.get() + 1);
        }
    };
    let mut sending = std::pin::pin!(sending);
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            ended = &mut sending => return ended,
            asked = peer.asked() => match asked {
                Some(asked) => answering.push(answer_as_node(asked)),
                None => return Ok(()),
            },
            Some(()) = answering.next() => {}
        }
    }
}

/// Answers what a node is asked at once, so that it is believed to be one.
pub(super) async fn answer_as_node(mut asked: Asked) {
    while let Ok((number, request)) = asked.next().await {
        let response = match request {
            Request::Client(ClientRequest::Peers) => Response::Peers(Vec::new()),
            _ => Response::Refused(Refusal::Unsupported(None)),
        };
        if asked.answer(number, &response).await.is_err() {
            return;
        }
    }
}

/// A field of a protocol buffer, with bytes.
pub(super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], length(bytes.len()), bytes.to_vec()].concat()
}

/// A number of variable length.
pub(super) fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("7 bits"));
    bytes
}
