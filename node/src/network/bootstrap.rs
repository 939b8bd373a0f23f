//! The nodes to join through. They are dialled for as long as they are not connected: a node
//! never gives up joining its network.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{Multiaddr, PeerId};

use super::{BEAT, translate::split_peer};

/// The bootstrap list of a node. Time is counted in [`BEAT`]s.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    targets: BTreeMap<PeerId, Target>,
}

#[derive(Debug)]
struct Target {
    addresses: Vec<Multiaddr>,
    /// When to dial next.
    due: u64,
    /// Beats from one attempt to the next.
    pause: u64,
    /// Until when failures are not reported.
    quiet_until: u64,
}

impl Bootstrap {
    /// The list, without the node itself: the same list may be given to all nodes.
    ///
    /// # Errors
    /// The first address that lacks the peer id.
    pub(super) fn new(addresses: Vec<Multiaddr>, local: PeerId) -> Result<Self, Multiaddr> {
        let mut targets: BTreeMap<PeerId, Target> = BTreeMap::new();
        for address in addresses {
            let (bare, Some(peer)) = split_peer(address.clone()) else {
                return Err(address);
            };
            if peer != local {
                targets.entry(peer).or_insert_with(Target::new).addresses.push(bare);
            }
        }
        Ok(Self { targets })
    }

    /// Whom to dial now, and where.
    pub(super) fn due(
        &mut self,
        beat: u64,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (peer, target) in &mut self.targets {
            if is_connected(peer) {
                target.due = 0;
                target.pause = beats(PAUSE_MIN);
            } else if target.due <= beat {
                target.due = beat + target.pause;
                target.pause = (target.pause * 2).min(beats(PAUSE_MAX));
                due.push((*peer, target.addresses.clone()));
            }
        }
        due
    }

    /// A dial failed; if it was one of these nodes, that is reported, but not at each attempt.
    pub(super) fn failed(&mut self, peer: &PeerId, beat: u64, causes: impl Fn() -> Vec<String>) {
        let Some(target) = self.targets.get_mut(peer) else {
            return;
        };
        if beat < target.quiet_until {
            return;
        }
        target.quiet_until = beat + beats(REPORT_INTERVAL);
        for address in &target.addresses {
            let causes = causes().join("; ");
            tracing::warn!(
                %address, %peer, cause = causes,
                "bootstrap address {address} does not answer; still trying",
            );
        }
    }
}

impl Target {
    fn new() -> Self {
        Self { addresses: Vec::new(), due: 0, pause: beats(PAUSE_MIN), quiet_until: 0 }
    }
}

fn beats(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / BEAT.as_millis()).expect("a short time")
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_anew() {
        let peer = PeerId::random();
        let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}").parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address], PeerId::random()).unwrap();
        let mut attempts = Vec::new();
        for beat in 0..130 {
            attempts.extend(bootstrap.due(beat, |_| false).iter().map(|_| beat));
        }
        assert_eq!(attempts, [0, 2, 6, 14, 30, 60, 90, 120]);
        assert!(bootstrap.due(130, |_| true).is_empty());
        assert_eq!(bootstrap.due(131, |_| false).len(), 1);
        assert_eq!(bootstrap.due(133, |_| false).len(), 1);
    }

    #[test]
    fn own_address_is_left_out_and_a_nameless_one_refused() {
        let local = PeerId::random();
        let own = format!("/ip4/127.0.0.1/tcp/1/p2p/{local}").parse().unwrap();
        assert!(Bootstrap::new(vec![own], local).unwrap().targets.is_empty());
        let nameless: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(Bootstrap::new(vec![nameless.clone()], local).unwrap_err(), nameless);
    }
}
