//! The nodes that a client's link is connected to, and which of them is asked.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{PeerId, swarm::ConnectionId};

use super::patience::SILENCE_MAX;
use crate::network::rpc::ASKS_PER_PEER_MAX;

/// The connected nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    table: BTreeMap<PeerId, Node>,
    /// The one that is asked first.
    main: Option<PeerId>,
}

#[derive(Debug)]
struct Node {
    connection: ConnectionId,
    since: Duration,
    /// When it last gave a sign of life.
    heard: Duration,
    /// Pings that it left unanswered since.
    unanswered: u32,
    /// Exchanges under way.
    open: usize,
    /// Whether another node was quicker with a publish that this one was late with.
    overtaken: bool,
}

/// Nodes that a link is connected to: the one it uses, one to go on with, and one more, which may
/// be silent and come back.
pub(super) const NODES_MAX: usize = 3;

/// A node that leaves more pings unanswered in a row is given up.
const UNANSWERED_PINGS_MAX: u32 = 1;

impl Nodes {
    /// A node was connected. The one to part with, if there are too many now.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        now: Duration,
    ) -> Option<PeerId> {
        let node =
            Node { connection, since: now, heard: now, unanswered: 0, open: 0, overtaken: false };
        self.table.insert(peer, node);
        self.main.get_or_insert(peer);
        if self.table.len() <= NODES_MAX {
            return None;
        }
        let others = self.table.iter().filter(|(other, _)| **other != peer);
        others.max_by_key(|(other, node)| self.rank(other, node, now)).map(|(other, _)| *other)
    }

    /// A node is lost; since when it was connected.
    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Duration> {
        if self.main == Some(*peer) {
            self.main = None;
        }
        self.table.remove(peer).map(|node| node.since)
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.table.contains_key(peer)
    }

    /// Whether this is the connection to the node.
    pub(super) fn is_at(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.table.get(peer).is_some_and(|node| node.connection == connection)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The node that is asked first, unless it is silent.
    pub(super) fn speaking_main(&self, now: Duration) -> Option<PeerId> {
        self.main.filter(|main| !self.is_silent(main, now))
    }

    /// A node that gives signs of life: the one that is asked first, if it does.
    pub(super) fn speaking(&self, now: Duration) -> Option<PeerId> {
        let others = self.table.keys().copied();
        self.speaking_main(now)
            .or_else(|| others.into_iter().find(|peer| !self.is_silent(peer, now)))
    }

    /// That the nodes that are connected do not answer: one line for each.
    pub(super) fn silences(&self) -> impl Iterator<Item = String> {
        self.table.keys().map(|peer| format!("{peer}: it gives no sign of life"))
    }

    /// How many nodes would do.
    pub(super) fn usable(&self, now: Duration) -> usize {
        let usable = |node: &&Node| !node.overtaken && !node.is_silent(now);
        self.table.values().filter(usable).count()
    }

    /// A node gave a sign of life.
    pub(super) fn heard(&mut self, peer: &PeerId, now: Duration) {
        if let Some(node) = self.table.get_mut(peer) {
            node.heard = now;
            node.unanswered = 0;
        }
    }

    /// A node left a ping unanswered. Returns whether to give it up.
    pub(super) fn left_ping_unanswered(&mut self, peer: &PeerId) -> bool {
        self.table.get_mut(peer).is_some_and(|node| {
            node.unanswered += 1;
            node.unanswered > UNANSWERED_PINGS_MAX
        })
    }

    /// Nobody can be called silent: it was this process that did not listen.
    pub(super) fn forgive(&mut self, now: Duration) {
        for node in self.table.values_mut() {
            node.heard = now;
        }
    }

    /// Whether a node gives no sign of life. One that is not connected gives none.
    pub(super) fn is_silent(&self, peer: &PeerId, now: Duration) -> bool {
        self.table.get(peer).is_none_or(|node| node.is_silent(now))
    }

    /// When the next node would be called silent.
    pub(super) fn next_silence(&self, now: Duration) -> Option<Duration> {
        self.table.values().map(|node| node.heard + SILENCE_MAX).filter(|due| *due >= now).min()
    }

    /// Whom to ask, but for those that were asked already.
    pub(super) fn choose(&self, asked: &[PeerId], now: Duration) -> Option<PeerId> {
        let free = |(peer, node): &(&PeerId, &Node)| {
            node.open < ASKS_PER_PEER_MAX && !asked.contains(peer)
        };
        let free = self.table.iter().filter(free);
        free.min_by_key(|(peer, node)| self.rank(peer, node, now)).map(|(peer, _)| *peer)
    }

    /// An exchange with a node has begun. It is asked first from now on if the one before is
    /// silent.
    pub(super) fn asked(&mut self, peer: &PeerId, now: Duration) {
        if let Some(node) = self.table.get_mut(peer) {
            node.open += 1;
            if self.speaking_main(now).is_none() && !self.is_silent(peer, now) {
                self.main = Some(*peer);
            }
        }
    }

    /// An exchange with a node has ended.
    pub(super) fn answered(&mut self, peer: &PeerId) {
        if let Some(node) = self.table.get_mut(peer) {
            node.open = node.open.saturating_sub(1);
        }
    }

    /// A node acknowledged a publish, while these others were late with it: it is asked first
    /// from now on, and they last.
    pub(super) fn won(&mut self, peer: &PeerId, late: &[PeerId]) {
        for other in late {
            if let Some(node) = self.table.get_mut(other) {
                node.overtaken = true;
            }
        }
        if self.table.contains_key(peer) {
            self.main = Some(*peer);
        }
    }

    /// A node acknowledged a publish, late or not: it is none to be avoided.
    pub(super) fn proved(&mut self, peer: &PeerId) {
        if let Some(node) = self.table.get_mut(peer) {
            node.overtaken = false;
        }
    }

    /// The lowest is asked first.
    fn rank(&self, peer: &PeerId, node: &Node, now: Duration) -> (bool, bool, bool) {
        (node.is_silent(now), node.overtaken, self.main != Some(*peer))
    }
}

impl Node {
    fn is_silent(&self, now: Duration) -> bool {
        self.heard + SILENCE_MAX < now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn connected(count: usize) -> (Nodes, Vec<PeerId>) {
        let mut nodes = Nodes::default();
        let mut peers: Vec<PeerId> = (0..count).map(|_| PeerId::random()).collect();
        // Among equals the order of their names decides.
        peers.sort();
        for (number, peer) in peers.iter().enumerate() {
            let added = nodes.add(*peer, ConnectionId::new_unchecked(number), seconds(0));
            assert_eq!(added, None);
        }
        (nodes, peers)
    }

    #[test]
    fn a_silent_node_is_asked_last_and_comes_back() {
        let (mut nodes, peers) = connected(2);
        assert_eq!(nodes.choose(&[], seconds(1)), Some(peers[0]));
        assert_eq!(nodes.choose(&peers[..1], seconds(1)), Some(peers[1]));
        nodes.heard(&peers[1], seconds(4));
        assert_eq!(nodes.choose(&[], seconds(4)), Some(peers[1]));
        assert_eq!(nodes.choose(&peers[1..], seconds(4)), Some(peers[0]), "better than none");
        nodes.heard(&peers[0], seconds(4));
        assert_eq!(nodes.choose(&[], seconds(4)), Some(peers[0]));
        // Whoever was asked in its place keeps it.
        nodes.heard(&peers[1], seconds(8));
        nodes.asked(&peers[1], seconds(8));
        nodes.heard(&peers[0], seconds(8));
        assert_eq!(nodes.choose(&[], seconds(8)), Some(peers[1]));
    }

    #[test]
    fn who_was_overtaken_is_the_first_to_go() {
        let (mut nodes, peers) = connected(NODES_MAX);
        nodes.won(&peers[2], &peers[..2]);
        nodes.proved(&peers[1]);
        assert_eq!(nodes.choose(&[], seconds(1)), Some(peers[2]));
        assert_eq!(nodes.choose(&peers[2..], seconds(1)), Some(peers[1]));
        assert_eq!(nodes.usable(seconds(1)), 2);
        let another = PeerId::random();
        let parted = nodes.add(another, ConnectionId::new_unchecked(9), seconds(1));
        assert_eq!(parted, Some(peers[0]));
    }

    #[test]
    fn a_node_has_so_many_exchanges_and_no_more() {
        let (mut nodes, peers) = connected(1);
        (0..ASKS_PER_PEER_MAX).for_each(|_| nodes.asked(&peers[0], seconds(0)));
        assert_eq!(nodes.choose(&[], seconds(0)), None);
        nodes.answered(&peers[0]);
        assert_eq!(nodes.choose(&[], seconds(0)), Some(peers[0]));
    }
}
