//! Whose batches count in a closed network.
//!
//! A batch counts if its writer is a node that may write to the topic, or was one until it was
//! removed. A node does not take others, from any node: not for its store, not by gossip, and
//! not as a proof of how long a log is. So a member with a changed program cannot bring in records
//! that a stranger signed.

use crate::{
    engine::Engine,
    model::{
        LogId, NodeId, TopicId,
        roster::{Grant, Membership, Rights, Standing},
    },
    wire::{Held, Refusal, Right},
};

impl Engine {
    /// Whether batches of a log count in a topic, as far as this node knows. In an open network all
    /// do. So do those of a topic that was imported: its writers need not belong to this network.
    pub(in crate::engine) fn takes_writer(&self, topic: &TopicId, log: &LogId) -> bool {
        let Some(known) = &self.roster.0 else { return true };
        if log.writer == self.core.me {
            return true;
        }
        let Some(of) = self.core.topics.get(topic).filter(|topic| !topic.is_imported()) else {
            return true; // nothing is taken of a topic that is not known
        };
        let Some(name) = of.descriptor.as_ref().map(|signed| &signed.descriptor().name) else {
            return true;
        };
        let standing = known.roster.writer((topic, name), log, known.now(&self.core));
        // Where a log of a removed writer ends nobody says yet, so all of it counts.
        standing != Standing::Stranger
    }

    /// The same of a batch that a node gives, which may know of more members.
    pub(in crate::engine) fn takes_writer_from(
        &mut self,
        from: Option<NodeId>,
        topic: &TopicId,
        log: &LogId,
    ) -> bool {
        let takes = self.takes_writer(topic, log);
        if let Some(node) = from.filter(|_| !takes) {
            self.ask_who_belongs(node);
        }
        takes
    }

    /// Leaves the logs out of what a node holds whose batches do not count here. If there are any,
    /// that node lies, or it knows of more members: rosters are compared, and its answer is not
    /// complete. Returns whether it is.
    pub(in crate::engine) fn leave_strangers_out(
        &mut self,
        topic: TopicId,
        node: NodeId,
        held: &mut Held,
    ) -> bool {
        if !self.roster.is_closed() {
            return true;
        }
        let before = held.frontier.0.len();
        held.frontier.0.retain(|log, _| self.takes_writer(&topic, log));
        let is_whole = held.frontier.0.len() == before;
        if !is_whole {
            self.ask_who_belongs(node);
        }
        is_whole
    }

    /// Compares rosters with a node that named an unknown writer.
    fn ask_who_belongs(&mut self, node: NodeId) {
        if self.core.members.is_connected(&node) {
            self.begin_comparison(node);
        }
    }

    /// Whether rosters are being compared with a node.
    #[cfg(test)]
    pub(in crate::engine) fn is_comparing(&self, node: &NodeId) -> bool {
        self.roster.0.as_ref().is_some_and(|known| known.rounds.is_under_way(node))
    }

    /// Refuses a publish if this node may not write to the topic: no other node would take it.
    pub(in crate::engine) fn check_own_right(&self, topic: &TopicId) -> Result<(), Refusal> {
        let Some(Ok(own)) = self.roster.member(&self.core, &self.core.me) else { return Ok(()) };
        let Some(name) = self.core.topics.name_of(topic) else { return Ok(()) };
        let gives = |grant: &Grant| grant.gives(Rights::WRITE, name);
        if own.grants.iter().any(gives) {
            return Ok(());
        }
        Err(lacks(&own, Rights::WRITE, Right::Write, name.as_str()))
    }
}

/// `laptop` lacks the right; an admin can grant it.
pub(in crate::engine) fn lacks(
    member: &Membership,
    rights: Rights,
    right: Right,
    place: &str,
) -> Refusal {
    let label = &member.label;
    let text = format!(
        "`{label}` lacks the grant `{rights} {place}`; an admin of the network can give it"
    );
    Refusal::NotAllowed { text, right }
}
