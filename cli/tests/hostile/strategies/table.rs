//! Messages of the distributed table.

use std::{cell::Cell, io};

use antiphon_node::Multiaddr;
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt,
    future::{LocalBoxFuture, join_all},
};

use super::gossip::{field, length};
use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

/// Peers, and messages that each sends at a time.
const PEERS: usize = 4;
const AT_A_TIME: usize = 100;

/// Looks up random keys, and announces that it holds each of them.
pub(super) fn flooded(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let answered = Cell::new(0_usize);
        let peers = target.nodes.iter().take(1).cycle().take(PEERS);
        let peers = peers.map(|node| flood(&target, node, &answered));
        tokio::select! {
            _ = join_all(peers) => target.over().await,
            () = target.over() => {}
        }
        let answered = answered.get();
        format!(
            "{PEERS} peers looked up random keys and announced them; {answered} bytes of answers"
        )
    }
    .boxed_local()
}

async fn flood(target: &Target, node: &Multiaddr, answered: &Cell<usize>) -> io::Result<()> {
    let peer = Peer::connect(node, &target.names, Guise::Node).await?;
    let lookups = async {
        let (mut answers, mut stream) = peer.open(&target.names.kad).await?.split();
        let asks = async {
            loop {
                let one = |_| message(4, &random(), &[]);
                stream.write_all(&(0..AT_A_TIME).flat_map(one).collect::<Vec<_>>()).await?;
                stream.flush().await?;
            }
        };
        let reads = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = answers.read(&mut buffer).await {
                answered.set(answered.get() + read);
            }
        };
        tokio::select! {
            failed = asks => failed,
            () = reads => io::Result::Ok(()),
        }
    };
    let announcements = async {
        let provider = field(9, &field(1, &peer.id.to_bytes()));
        let mut stream = peer.open(&target.names.kad).await?;
        loop {
            let one = |_| message(2, &random(), &provider);
            stream.write_all(&(0..AT_A_TIME).flat_map(one).collect::<Vec<_>>()).await?;
            stream.flush().await?;
        }
        #[expect(unreachable_code, reason = "it names the type")]
        io::Result::Ok(())
    };
    let (looked_up, announced) = futures::future::join(lookups, announcements).await;
    looked_up.and(announced)
}

fn random() -> [u8; 32] {
    let mut key = [0; 32];
    fastrand::fill(&mut key);
    key
}

/// A message of some kind about a key, with its length before it.
fn message(kind: u8, key: &[u8], rest: &[u8]) -> Vec<u8> {
    let message = [&[1 << 3, kind], field(2, key).as_slice(), rest].concat();
    [length(message.len()), message].concat()
}
