//! Who holds a topic.

use crate::model::NodeId;

/// A topic's replicas, as this node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::engine) struct Placement {
    /// The nearest nodes, the owner first, those included that are away for a short time.
    pub(in crate::engine) home: Vec<NodeId>,
    /// Who is sent what is new: the nearest nodes that are alive, and between them those that
    /// are suspect or whose disk does not take it, in whose place others are sent it too.
    pub(in crate::engine) acting: Vec<NodeId>,
    /// How many of the acting nodes make up the set whose majority acknowledges.
    pub(in crate::engine) size: usize,
}

impl Placement {
    /// Whether `node` is one of the home replicas.
    pub(in crate::engine) fn is_home(&self, node: &NodeId) -> bool {
        self.home.contains(node)
    }

    /// The same without a node.
    pub(in crate::engine) fn without(mut self, node: &NodeId) -> Self {
        self.home.retain(|other| other != node);
        self.acting.retain(|other| other != node);
        self.size = self.size.min(self.acting.len());
        self
    }

    /// All nodes of the placement, home replicas first.
    pub(in crate::engine) fn all(&self) -> impl Iterator<Item = NodeId> + '_ {
        let stand_ins = self.acting.iter().filter(|node| !self.is_home(node));
        self.home.iter().chain(stand_ins).copied()
    }
}
