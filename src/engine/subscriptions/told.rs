//! Positions that other nodes tell. Nobody can take one back: a position that stands ahead of its
//! log skips records that are yet to come, and spreads.
//!
//! So of what a node on probation tells, as much counts in each log as is proven to exist. The rest
//! is told again with the next comparison, and counts once the batch or its header is here. A node
//! that is acquainted is believed: it took over no more than was proven, and that may since have
//! been lost everywhere. Without that the home replicas would never agree on such a position.

use std::collections::BTreeMap;

use crate::{
    engine::Engine,
    model::{Cursor, NodeId, SubscriberName, Subscription, TopicId},
    wire::Held,
};

impl Engine {
    /// Whether a node is believed where a position stands.
    fn is_believed_of_positions(&self, node: &NodeId) -> bool {
        *node == self.core.me || self.core.members.is_acquainted(self.core.now.elapsed, node)
    }

    /// Takes over positions that another home replica keeps.
    pub(in crate::engine) fn take_over_positions(
        &mut self,
        from: &NodeId,
        topic: TopicId,
        positions: &[(SubscriberName, Subscription)],
    ) {
        let end = (!self.is_believed_of_positions(from)).then(|| self.proven_end(topic));
        for (name, told) in positions.iter().filter(|(_, told)| told.is_well_formed(topic)) {
            let mut subscription = told.clone();
            if let Some(end) = &end {
                subscription.limit(end);
            }
            self.keep_told(topic, name, &subscription);
        }
    }

    /// Limits the positions that nodes told in a survey. What these nodes proved to hold exists.
    pub(in crate::engine) fn limit_told_positions(
        &self,
        topic: TopicId,
        held: &mut BTreeMap<NodeId, Held>,
    ) {
        let is_doubted = |node: &NodeId| !self.is_believed_of_positions(node);
        if !held.iter().any(|(node, held)| held.position.is_some() && is_doubted(node)) {
            return;
        }
        let mut end: Cursor = self.proven_end(topic);
        for held in held.values() {
            end.join_frontier(&held.frontier);
        }
        for (_, held) in held.iter_mut().filter(|(node, _)| is_doubted(node)) {
            if let Some(position) = &mut held.position {
                position.limit(&end);
            }
        }
    }
}
