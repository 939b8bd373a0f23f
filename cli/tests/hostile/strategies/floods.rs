//! Requests that cost the nodes more than they cost the asker.

use std::{cell::Cell, time::Duration};

use antiphon::{
    model::{Cursor, Subscription},
    wire::{ClientRequest, Request},
};
use antiphon_node::{Client, ClientConfig};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};

use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

/// Peers, each with its key.
const PEERS: usize = 50;

/// Requests that each has under way.
const UNDER_WAY: usize = 64;

/// Asks for topics that nobody knows: each node asks all others.
pub(super) fn unknown_topics(target: Target) -> LocalBoxFuture<'static, String> {
    flood(target, "unknown topics", |number| {
        let name = format!("nothing.{number}").parse().expect("a name");
        Request::Client(ClientRequest::Survey(name))
    })
    .boxed_local()
}

/// Asks for all topics: each node asks all others how many records they have.
pub(super) fn topics_listed(target: Target) -> LocalBoxFuture<'static, String> {
    flood(target, "lists of topics", |_| Request::Client(ClientRequest::Topics(None))).boxed_local()
}

/// Asks how far a topic goes: each node asks all replicas.
pub(super) fn surveys(target: Target) -> LocalBoxFuture<'static, String> {
    let topic = target.topic.clone();
    let request = move |_| Request::Client(ClientRequest::Survey(topic.clone()));
    flood(target, "the end of a topic", request).boxed_local()
}

/// Asks where subscriptions stand that nobody has: each node asks all replicas.
pub(super) fn positions(target: Target) -> LocalBoxFuture<'static, String> {
    let topic = target.topic.clone();
    let request = move |number| {
        let name = format!("nobody-{number}").parse().expect("a name");
        Request::Client(ClientRequest::Position(topic.clone(), name))
    };
    flood(target, "positions of nobody", request).boxed_local()
}

/// Keeps positions under ever new names.
pub(super) fn commits(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let network = target.names.network().parse().expect("a name");
        let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
        let surveyed =
            async { Client::connect(config).await.ok()?.survey(&target.topic).await.ok() };
        let Some(surveyed) = surveyed.await else {
            return "the topic is not known".to_owned();
        };
        let (topic, id) = (target.topic.clone(), surveyed.end.topic);
        let request = move |number| {
            let name = format!("nobody-{number}").parse().expect("a name");
            let position = Subscription::new(0, Some(Cursor::start(id)));
            Request::Client(ClientRequest::Commit(topic.clone(), name, position, None))
        };
        flood(target, "new positions to be kept", request).await
    }
    .boxed_local()
}

async fn flood(target: Target, what: &str, request: impl Fn(u64) -> Request) -> String {
    let (asked, answered) = (Cell::new(0), Cell::new(0));
    let peers = (0..PEERS).map(|_| async {
        let peer = Peer::connect(target.first(), &target.names, Guise::Client).await.ok()?;
        let mut requests = peer.requests().await.ok()?;
        for _ in 0..UNDER_WAY {
            asked.set(asked.get() + 1);
            requests.send(&request(fastrand::u64(..))).await.ok()?;
        }
        loop {
            requests.answer().await.ok()?;
            answered.set(answered.get() + 1);
            asked.set(asked.get() + 1);
            requests.send(&request(fastrand::u64(..))).await.ok()?;
        }
        #[expect(unreachable_code, reason = "it names the type")]
        Some(())
    });
    tokio::select! {
        _ = join_all(peers) => target.over().await,
        () = target.over() => {}
    }
    let (asked, answered) = (asked.get(), answered.get());
    format!("{PEERS} peers asked {asked} times for {what}, and got {answered} answers")
}

/// Sends frames that are no requests.
pub(super) fn garbage(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let (sent, turned_away) = (Cell::new(0_u64), Cell::new(0_u64));
        let peers = (0..PEERS).map(|_| async {
            while !target.is_over() {
                let sending = async {
                    let peer = Peer::connect(target.first(), &target.names, Guise::Client).await?;
                    let mut requests = peer.requests().await?;
                    loop {
                        requests.send_raw(300, &[0xff; 300]).await?;
                        sent.set(sent.get() + 1);
                        requests.answer().await?;
                    }
                    #[expect(unreachable_code, reason = "it names the type")]
                    std::io::Result::Ok(())
                };
                let _: std::io::Result<()> = sending.await;
                turned_away.set(turned_away.get() + 1);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        tokio::select! {
            _ = join_all(peers) => {}
            () = target.over() => {}
        }
        let (sent, turned_away) = (sent.get(), turned_away.get());
        format!(
            "{PEERS} peers sent {sent} frames of noise, and were turned away {turned_away} times"
        )
    }
    .boxed_local()
}
