//! Frames whose last byte never comes.

use std::time::Duration;

use antiphon::limits::MESSAGE_BYTES_MAX;
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};

use crate::{
    peer::{Guise, Peer},
    stage::Target,
};

/// Connections, each with its key, and streams of each.
const CONNECTIONS: usize = 60;
const STREAMS: usize = 4;

/// All bytes of the largest frame but one.
pub(super) fn half_frames(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let bytes = vec![7; MESSAGE_BYTES_MAX - 1];
        let (begun, ended) = on_all_streams(&target, |mut requests| {
            let bytes = &bytes;
            async move {
                let claimed = u32::try_from(MESSAGE_BYTES_MAX).expect("it fits");
                let sent = requests.send_raw(claimed, bytes).await.is_ok();
                if sent {
                    requests.ended().await;
                }
                sent
            }
            .boxed_local()
        })
        .await;
        let size = bytes.len() / 1_000_000;
        format!(
            "{CONNECTIONS} connections with {STREAMS} streams, {begun} begun: {size} MB of a frame \
             and never its last byte; the node ended {ended} streams"
        )
    }
    .boxed_local()
}

/// A byte of a frame every now and then.
pub(super) fn dribbled(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let (begun, ended) = on_all_streams(&target, |mut requests| {
            async move {
                let claimed = u32::try_from(MESSAGE_BYTES_MAX).expect("it fits");
                let mut sent = requests.send_raw(claimed, &vec![7; 1_000_000]).await.is_ok();
                while sent {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    sent = requests.send_more(&[7]).await.is_ok();
                }
                true
            }
            .boxed_local()
        })
        .await;
        format!(
            "{CONNECTIONS} connections with {STREAMS} streams: a MB of a frame each, and then a \
             byte every 0.2 s ({begun} begun); the node ended {ended} streams"
        )
    }
    .boxed_local()
}

/// Does something on many streams, until the attack is over: how often it said that it did, and
/// how often it came to an end before.
async fn on_all_streams<'a>(
    target: &Target,
    act: impl Fn(crate::peer::Requests) -> LocalBoxFuture<'a, bool>,
) -> (usize, usize) {
    let counts = std::cell::RefCell::new((0, 0));
    let peers = (0..CONNECTIONS).map(|_| async {
        let peer = Peer::connect(target.first(), &target.names, Guise::Client).await.ok()?;
        let streams = (0..STREAMS).map(|_| async {
            let requests = peer.requests().await.ok()?;
            counts.borrow_mut().0 += 1;
            act(requests).await;
            counts.borrow_mut().1 += 1;
            Some(())
        });
        join_all(streams).await;
        target.over().await;
        Some(())
    });
    tokio::select! {
        _ = join_all(peers) => {}
        () = target.over() => {}
    }
    counts.into_inner()
}
