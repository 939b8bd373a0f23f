//! Receipts that no longer hold, and batches that are sent again.

use super::outgoing::Unacknowledged;
use crate::{
    engine::Engine,
    model::{Hash, NodeId, TopicId},
};

impl Engine {
    /// What a node had flushed it may have no longer.
    pub(in crate::engine) fn forget_receipts(&mut self, node: NodeId) {
        for topic in &self.publish.active {
            let outgoing = self.publish.topics.get_mut(topic);
            for sealed in outgoing.into_iter().flat_map(|outgoing| &mut outgoing.unacknowledged) {
                sealed.receipts.remove(&node);
            }
        }
    }

    /// This node's disk has lost a batch.
    pub(in crate::engine) fn forget_own_receipt(&mut self, topic: TopicId, hash: Hash) {
        let me = self.core.me;
        let outgoing = self.publish.topics.get_mut(&topic);
        for sealed in outgoing.into_iter().flat_map(|outgoing| &mut outgoing.unacknowledged) {
            if sealed.batch.hash() == hash {
                sealed.receipts.remove(&me);
                sealed.written = None;
            }
        }
    }

    /// The unacknowledged batches that a node should have and gave no receipt for are sent to
    /// it again.
    pub(in crate::engine) fn redispatch_to(&mut self, node: NodeId) {
        for topic in self.publish.active.clone() {
            let Some(known) = self.core.topics.get_mut(&topic) else {
                continue;
            };
            if !known.placement(&self.core.members).acting.contains(&node) {
                continue;
            }
            let Some(outgoing) = self.publish.topics.get(&topic) else {
                continue;
            };
            let lacking = |sealed: &&Unacknowledged| !sealed.receipts.contains(&node);
            let batches: Vec<_> = outgoing
                .unacknowledged
                .iter()
                .filter(lacking)
                .map(|sealed| sealed.batch.clone())
                .collect();
            for batch in batches {
                self.send_batch(node, topic, &batch);
            }
        }
    }
}
