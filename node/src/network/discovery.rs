//! Nodes of this machine, found through the runtime directories. (Those of the LAN come from
//! mDNS, which is part of the swarm.)

use std::{path::PathBuf, time::Duration};

use antiphon::model::{Network, NodeId};
use libp2p::{Multiaddr, PeerId};
use tokio::{sync::mpsc, task::JoinHandle, time::MissedTickBehavior};

use super::{
    runtime_directory::{Entry, Found, Places, RuntimeDirectory},
    translate,
};
use crate::platform::tasks;

/// This node's place among the nodes of its machine, and the watch for others.
#[derive(Debug)]
pub(super) struct Nearby {
    entry: Entry,
    found: mpsc::Receiver<Found>,
    watch: JoinHandle<()>,
}

/// How often the directories are looked through.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// After this many looks every node counts as new again: the engine may have given up one that did
/// not answer for long.
const LOOKS_TO_FORGET: u32 = 60;

/// Nodes that were found and are not yet handed out. When it is full the watch waits.
const FOUND_MAX: usize = 64;

/// Whether a node of this name runs on this machine already.
pub(crate) fn runs_here(network: &Network, node: NodeId) -> bool {
    let places = Places::of(network);
    // A node that ends holds its lock for a moment more.
    for _ in 0..LOOKS_AT_LOCK {
        if !places.is_held(translate::peer_of(node)) {
            return false;
        }
        std::thread::sleep(LOOK_INTERVAL / LOOKS_AT_LOCK);
    }
    true
}

/// How often one looks, within [`LOOK_INTERVAL`], whether a node of the same name runs.
const LOOKS_AT_LOCK: u32 = 10;

impl Nearby {
    /// Enters the node, and starts to watch for others. None, with a warning, if the directory
    /// cannot be used: a node can run without it.
    pub(super) async fn start(
        network: &Network,
        place: Option<PathBuf>,
        local: PeerId,
    ) -> Option<Self> {
        let entered = async {
            let (directory, places) = match place {
                Some(place) => {
                    let directory = RuntimeDirectory::open_in(&place, network)?;
                    (directory, Places::only(&place, network))
                }
                None => (RuntimeDirectory::open(network)?, Places::of(network)),
            };
            let entry = directory.enter(local).await?;
            Ok::<_, std::io::Error>((places, entry))
        };
        match entered.await {
            Ok((places, entry)) => {
                let (sender, found) = mpsc::channel(FOUND_MAX);
                let watch = tasks::spawn("runtime directory", watch(places, local, sender));
                Some(Self { entry, found, watch })
            }
            Err(error) => {
                tracing::warn!(%error, "nodes of this machine cannot be found by themselves");
                None
            }
        }
    }

    /// Tells the others where this node listens.
    pub(super) fn announce(&self, addresses: &[Multiaddr]) {
        if let Err(error) = self.entry.write(addresses) {
            tracing::warn!(%error, "nodes of this machine cannot find this one");
        }
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The next node that was found. Cancel-safe.
pub(super) async fn next(nearby: &mut Option<Nearby>) -> Option<Found> {
    nearby.as_mut()?.found.recv().await
}

/// Hands out every node that is new or whose addresses have changed, and from time to time all.
async fn watch(places: Places, local: PeerId, found: mpsc::Sender<Found>) {
    let mut known: Vec<Found> = Vec::new();
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0_u32.. {
        interval.tick().await;
        if look % LOOKS_TO_FORGET == 0 {
            known.clear();
        }
        let looked_at = places.clone();
        let Ok(nodes) = tokio::task::spawn_blocking(move || looked_at.nodes()).await else {
            return;
        };
        for node in &nodes {
            let is_news = !node.addresses.is_empty() && !known.contains(node);
            if node.peer != local && is_news && found.send(node.clone()).await.is_err() {
                return;
            }
        }
        known = nodes;
    }
}
