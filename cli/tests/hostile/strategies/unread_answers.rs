//! Answers that nobody reads.

use antiphon::{
    limits::PAGE_BYTES_MAX,
    model::{Cursor, Record, WallClock},
    wire::{ClientRequest, Read, Request},
};
use antiphon_node::{Client, ClientConfig, client::PublishOptions};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};

use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

const CONNECTIONS: usize = 24;
const STREAMS: usize = 4;
const READS: usize = 15;

/// Asks for pages of the largest size over and over, and reads none of them.
pub(super) fn unread_answers(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let Ok(read) = fill(&target).await else {
            return "the topic could not be filled".to_owned();
        };
        let peers = (0..CONNECTIONS).map(|_| async {
            let peer = Peer::connect(target.first(), &target.names, Guise::Client).await.ok()?;
            let mut sent = 0;
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                let mut requests = peer.requests().await.ok()?;
                for _ in 0..READS {
                    sent += usize::from(requests.send(&read).await.is_ok());
                }
                streams.push(requests);
            }
            target.over().await;
            Some(sent)
        });
        let sent: usize = join_all(peers).await.into_iter().flatten().sum();
        format!(
            "{CONNECTIONS} connections with {STREAMS} streams: {sent} pages asked for, none read"
        )
    }
    .boxed_local()
}

/// Publishes some pages of noise; the request that reads the first of them.
async fn fill(target: &Target) -> Result<Request, Box<dyn std::error::Error>> {
    let network = target.names.network().parse()?;
    let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
    let client = Client::connect(config).await?;
    let topic = client.survey(&target.empty).await?.end.topic;
    let mut publisher = client.publisher(target.empty.clone(), PublishOptions::default());
    let mut random = fastrand::Rng::with_seed(1);
    let mut deliveries = Vec::new();
    for _ in 0..12 {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(500_000).collect();
        deliveries.push(publisher.publish(&Record::new(WallClock(1), noise)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(Request::Client(ClientRequest::Read(Read {
        topic: target.empty.clone(),
        after: Cursor::start(topic),
        until: None,
        bytes_max: u32::try_from(PAGE_BYTES_MAX)?,
        wait_ms: 0,
    })))
}
