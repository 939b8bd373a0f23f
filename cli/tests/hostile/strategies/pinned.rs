//! Publishes that wait for what cannot come.

use antiphon::{
    model::{Blob, ProducerId, Record, WallClock, encode_record},
    wire::{Acks, ClientRequest, Create, Publish, Request},
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

const PEERS: usize = 8;
const PUBLISHES: usize = 12;

/// Publishes a megabyte over and over to a topic that wants more copies than there are nodes, with
/// the longest time that a request can name.
pub(super) fn publishes_for_weeks(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let network = target.names.network().parse().expect("a name");
        let config = ClientConfig::new().network(network).nodes([target.first().clone()]);
        let create = async {
            let create = Create {
                replicas: Some(32),
                min_copies: Some(32),
                ..Create::new("pinned".parse().expect("a name"))
            };
            Client::connect(config).await.ok()?.create(create).await.ok()
        };
        if create.await.is_none() {
            return "the topic could not be created".to_owned();
        }
        let mut records = Vec::new();
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(900_000).collect();
        encode_record(&Record::new(WallClock(1), noise), &mut records).expect("it is small");
        let records = &records;
        let peers = (0..PEERS).map(|_| async {
            let peer = Peer::connect(target.first(), &target.names, Guise::Client).await.ok()?;
            let mut requests = peer.requests().await.ok()?;
            let producer = ProducerId(fastrand::u128(..).to_be_bytes());
            for first in 0..PUBLISHES {
                let publish = Publish {
                    topic: "pinned".parse().expect("a name"),
                    producer,
                    first: u64::try_from(first).expect("it fits"),
                    records: Blob(records.clone().into()),
                    acks: Acks::Quorum,
                    timeout_ms: u32::MAX,
                    retried: false,
                };
                requests.send(&Request::Client(ClientRequest::Publish(publish))).await.ok()?;
            }
            let mut answered = 0;
            loop {
                tokio::select! {
                    answer = requests.answer() => {
                        answer.ok()?;
                        answered += 1;
                    }
                    () = target.over() => return Some(answered),
                }
            }
        });
        let answered: usize = join_all(peers).await.into_iter().flatten().sum();
        let all = PEERS * PUBLISHES;
        format!("{all} publishes of 0.9 MB with 49 days' time that cannot have their copies; {answered} were answered")
    }
    .boxed_local()
}
