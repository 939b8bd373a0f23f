//! Questions that nobody can answer yet, and all at once then.

use std::{cell::Cell, time::Duration};

use antiphon::{
    model::{Cursor, Record, WallClock},
    wire::{ClientRequest, Read, Request},
};
use antiphon_node::{Client, ClientConfig, Multiaddr, client::PublishOptions};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join, join_all},
};

use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

/// Connections to each node, streams of each, and questions on each.
const CONNECTIONS: usize = 9;
const STREAMS: usize = 4;
const QUESTIONS: usize = 128;

/// Time between two records that answer questions.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Holds as many questions as it can at every node.
pub(super) fn all_nodes(target: Target) -> LocalBoxFuture<'static, String> {
    hold(target, usize::MAX).boxed_local()
}

/// The same at the node of the honest programs.
pub(super) fn one_node(target: Target) -> LocalBoxFuture<'static, String> {
    hold(target, 1).boxed_local()
}

/// The same, and publishes records that answer all of them at once.
pub(super) fn answered(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let published = Cell::new(0);
        let (held, ()) = join(hold(target.clone(), usize::MAX), publish(&target, &published)).await;
        format!("{held}; {} records that answer all", published.get())
    }
    .boxed_local()
}

async fn publish(target: &Target, published: &Cell<usize>) {
    let Ok(network) = target.names.network().parse() else { return };
    let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
    let Ok(client) = Client::connect(config).await else { return };
    let mut publisher = client.publisher(target.empty.clone(), PublishOptions::default());
    while !target.is_over() {
        tokio::time::sleep(PUBLISH_EVERY).await;
        if let Ok(delivery) = publisher.publish(&Record::new(WallClock(1), "news")).await {
            drop(delivery.await);
            published.set(published.get() + 1);
        }
    }
}

async fn hold(target: Target, nodes: usize) -> String {
    let network = target.names.network().parse().expect("a name");
    let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
    let surveyed = async { Client::connect(config).await.ok()?.survey(&target.empty).await.ok() };
    let Some(surveyed) = surveyed.await else {
        return "the topic is not known".to_owned();
    };
    let question = Request::Client(ClientRequest::Read(Read {
        topic: target.empty.clone(),
        after: Cursor::start(surveyed.end.topic),
        until: None,
        bytes_max: 1_000_000,
        wait_ms: 30_000,
    }));
    let peers = target.nodes.iter().take(nodes).flat_map(|node| [node; CONNECTIONS]);
    let peers = peers.map(|node| hold_at(&target, node, &question));
    let sent: usize = join_all(peers).await.into_iter().flatten().sum();
    format!(
        "{sent} reads of an empty topic that wait for its first record, each answer asked for again"
    )
}

async fn hold_at(target: &Target, node: &Multiaddr, question: &Request) -> Option<usize> {
    let peer = Peer::connect(node, &target.names, Guise::Client).await.ok()?;
    let streams = (0..STREAMS).map(|_| async {
        let mut requests = peer.requests().await.ok()?;
        let mut sent = 0;
        for _ in 0..QUESTIONS {
            requests.send(question).await.ok()?;
            sent += 1;
        }
        // What is refused is asked again.
        loop {
            tokio::select! {
                answer = requests.answer() => {
                    if answer.is_err() || requests.send(question).await.is_err() {
                        return Some(sent);
                    }
                    sent += 1;
                }
                () = target.over() => return Some(sent),
            }
        }
    });
    Some(join_all(streams).await.into_iter().flatten().sum())
}
