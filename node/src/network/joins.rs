//! How fast nodes may join: each one that is new may change which nodes hold which topics.
//!
//! A peer that says that it is a node counts as one at once while its source has joins left, and
//! all sources together have. Otherwise it is a client until there are some. Nodes that this one
//! has dialled have joins of their own, so nobody who comes from outside delays them.

use std::collections::{BTreeMap, VecDeque};

use libp2p::{Multiaddr, PeerId};

use super::{
    limits::{
        JOINS_MAX, JOINS_PER_ADDRESS_MAX, JOINS_PER_ADDRESS_PER_BEAT, JOINS_PER_BEAT,
        JOINS_PER_MACHINE_MAX, JOINS_PER_MACHINE_PER_BEAT, JOINS_WAITING_MAX,
    },
    source::Source,
};

/// What has joined lately, and what waits.
#[derive(Debug, Default)]
pub(super) struct Joins {
    /// Joins that are used up of those that came: for each source, and in all.
    used: BTreeMap<Source, usize>,
    used_by_all: usize,
    used_by_dialled: usize,
    /// Those that wait, first those that came first, and where they listen.
    waiting: VecDeque<(PeerId, Vec<Multiaddr>)>,
}

impl Joins {
    /// Whether a node may join now. It came from `source`, or this node has dialled it.
    pub(super) fn admit(&mut self, source: Option<Source>) -> bool {
        let Some(source) = source else {
            let may = self.used_by_dialled < JOINS_MAX;
            self.used_by_dialled += usize::from(may);
            return may;
        };
        let used = self.used.get(&source).copied().unwrap_or(0);
        let max = source.limit(JOINS_PER_ADDRESS_MAX, JOINS_PER_MACHINE_MAX);
        let may = used < max && self.used_by_all < JOINS_MAX;
        if may {
            self.used.insert(source, used + 1);
            self.used_by_all += 1;
        }
        may
    }

    /// A node waits until it may join. With too many, the first one is no longer waited for.
    pub(super) fn wait(&mut self, peer: PeerId, listening: Vec<Multiaddr>) {
        self.waiting.retain(|(waiting, _)| *waiting != peer);
        if self.waiting.len() >= JOINS_WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((peer, listening));
    }

    /// There are joins again. Who waits is asked for once more, in the order in which they came.
    pub(super) fn beat(&mut self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        self.used.retain(|source, used| {
            let more = source.limit(JOINS_PER_ADDRESS_PER_BEAT, JOINS_PER_MACHINE_PER_BEAT);
            *used = used.saturating_sub(more);
            *used > 0
        });
        self.used_by_all = self.used_by_all.saturating_sub(JOINS_PER_BEAT);
        self.used_by_dialled = self.used_by_dialled.saturating_sub(JOINS_PER_BEAT);
        std::mem::take(&mut self.waiting).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_joins_slowly_and_leaves_joins_to_others() {
        let mut joins = Joins::default();
        let far = Source::Address([203, 0, 113, 9]);
        let mut joined = 0;
        for beat in 0..100 {
            joined += (0..1_000).filter(|_| joins.admit(Some(far))).count();
            let most = JOINS_PER_ADDRESS_MAX + beat * JOINS_PER_ADDRESS_PER_BEAT;
            assert_eq!(joined, most);
            assert!(joins.admit(Some(Source::Machine)));
            joins.beat();
        }
    }

    #[test]
    fn all_sources_together_leave_joins_to_those_that_were_dialled() {
        let mut joins = Joins::default();
        let sources = (0_u32..).map(|number| Source::Address(number.to_be_bytes()));
        let joined = sources.take(10_000).filter(|source| joins.admit(Some(*source))).count();
        assert_eq!(joined, JOINS_MAX);
        assert!(joins.admit(None));
        (0..200).for_each(|_| drop(joins.beat()));
        assert!(joins.used.is_empty() && joins.used_by_all == 0 && joins.used_by_dialled == 0);
    }

    #[test]
    fn those_that_wait_keep_their_order_and_are_not_too_many() {
        let mut joins = Joins::default();
        let peers: Vec<_> = (0..=JOINS_WAITING_MAX).map(|_| PeerId::random()).collect();
        peers.iter().chain([&peers[7]]).for_each(|peer| joins.wait(*peer, Vec::new()));
        let waiting: Vec<_> = joins.beat().into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(waiting.len(), JOINS_WAITING_MAX);
        assert_eq!((waiting[0], waiting.last()), (peers[1], Some(&peers[7])));
        assert!(joins.beat().is_empty());
    }
}
