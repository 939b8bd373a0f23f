//! What of a log counts in a closed network.
//!
//! A batch counts if its writer is a node that may write to the topic, or was one until it was
//! removed. A node does not take others, from any node: not for its store, not by gossip, and
//! not as a proof of how long a log is. So a member with a changed program cannot bring in records
//! that a stranger signed.
//!
//! An admin says where the logs of a removed writer end: at their cuts. Nothing is taken beyond,
//! and what other nodes claim counts up to there. What this node holds beyond goes
//! (`replication::closing`).

use crate::{
    engine::{Engine, input::Asker},
    model::{
        Batch, ForkProof, Frontier, Hash, LogId, NodeId, SubscriberName, TopicId,
        roster::{Cut, Excluded, Grant, Membership, Rights, Standing},
    },
    wire::{Held, Refusal, Right},
};

/// What of a log counts in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Counts {
    /// All of it.
    Whole,
    /// What there is. Its writer is gone, and nobody has said yet where the log ends.
    Frozen,
    /// What comes before the cut.
    To(Cut),
    /// Nothing: its writer never had the right to write there.
    Nothing,
}

impl Counts {
    /// Whether a batch counts that ends at `next` and has this hash.
    pub(in crate::engine) fn takes(self, next: u64, hash: Hash) -> bool {
        match self {
            Self::Whole | Self::Frozen => true,
            Self::To(cut) => cut.takes(next, hash),
            Self::Nothing => false,
        }
    }

    /// Whether such a batch is passed on by gossip. Who is gone writes nothing new.
    pub(in crate::engine) fn admits(self, next: u64, hash: Hash) -> bool {
        self != Self::Frozen && self.takes(next, hash)
    }
}

impl Engine {
    /// What of a log counts in a topic, as far as this node knows. In an open network all does. So
    /// does all of a topic that was imported: its writers need not belong to this network.
    pub(in crate::engine) fn counts(&self, topic: &TopicId, log: &LogId) -> Counts {
        let Some(known) = &self.roster.0 else { return Counts::Whole };
        if let Some(cut) = known.roster.cut(topic, log) {
            return Counts::To(cut);
        }
        if log.writer == self.core.me {
            return Counts::Whole;
        }
        let Some(of) = self.core.topics.get(topic).filter(|topic| !topic.is_imported()) else {
            return Counts::Whole; // nothing is taken of a topic that is not known
        };
        let Some(name) = of.descriptor.as_ref().map(|signed| &signed.descriptor().name) else {
            return Counts::Whole;
        };
        match known.roster.writer((topic, name), log, known.now(&self.core)) {
            Standing::Writes => Counts::Whole,
            Standing::Frozen => Counts::Frozen,
            Standing::Closed(cut) => Counts::To(cut),
            Standing::Stranger => Counts::Nothing,
        }
    }

    /// Whether a batch counts that a node gives. That node may know of more members, or not of a
    /// cut.
    pub(in crate::engine) fn counts_for(&mut self, from: Option<NodeId>, batch: &Batch) -> bool {
        let counts = self.counts(&batch.header().topic, &batch.log());
        let takes = counts.takes(batch.header().next(), batch.hash());
        if let Some(node) = from.filter(|_| !takes) {
            self.ask_who_belongs(node);
        }
        takes
    }

    /// Whether the proof of a fork counts. A log that has a cut was one chain when an admin looked
    /// at it, unless the closure names a branch: who has the key of a removed writer could part
    /// before the cut what was acknowledged.
    pub(in crate::engine) fn takes_fork(&self, proof: &ForkProof) -> bool {
        let (topic, log) = (proof.topic(), proof.log());
        let is_named = |branch: LogId| match self.counts(&topic, &branch) {
            Counts::To(cut) => cut.next > 0,
            Counts::Whole | Counts::Frozen | Counts::Nothing => false,
        };
        match self.counts(&topic, &log) {
            Counts::Whole | Counts::Frozen => true,
            Counts::To(_) => proof.branches().into_iter().any(is_named),
            Counts::Nothing => false,
        }
    }

    /// What this node shows that it holds of a topic.
    pub(in crate::engine) fn held_and_shown(
        &mut self,
        topic: TopicId,
        subscriber: Option<&SubscriberName>,
    ) -> Option<Held> {
        let core = &mut self.core;
        let known = core.topics.get_mut(&topic)?;
        let mut held = known.held(subscriber, &mut core.members, &core.me);
        self.leave_out_unadmitted(topic, &mut held.frontier);
        Some(held)
    }

    /// Leaves out what does not count of what a node says that it holds. If there is any, that node
    /// lies, or it knows of more members, or not of a cut: rosters are compared. Returns whether
    /// its answer is complete: it is not if it names a writer that is unknown here.
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
        held.frontier.0.retain(|log, _| self.counts(&topic, log) != Counts::Nothing);
        let is_whole = held.frontier.0.len() == before;
        let is_cut = self.leave_out_beyond_cuts(topic, &mut held.frontier);
        if !is_whole || is_cut {
            self.ask_who_belongs(node);
        }
        is_whole
    }

    /// Leaves out what lies beyond cuts of what somebody holds; whether there was any.
    pub(in crate::engine) fn leave_out_beyond_cuts(
        &self,
        topic: TopicId,
        frontier: &mut Frontier,
    ) -> bool {
        if !self.roster.is_closed() {
            return false;
        }
        let mut is_any = false;
        frontier.0.retain(|log, entry| {
            let Counts::To(cut) = self.counts(&topic, log) else { return true };
            let ends_there = |next: u64, head: Hash| next != cut.next || Some(head) == cut.head;
            let spans = entry.spans.len();
            entry.spans.retain(|span| ends_there(span.next, span.head));
            is_any |= entry.end_at(cut.next, cut.head) || entry.spans.len() < spans;
            !entry.spans.is_empty() || entry.low > 0
        });
        is_any
    }

    /// Compares rosters with a node that named what does not count here.
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
        let own = match self.roster.member(&self.core, &self.core.me) {
            Some(Ok(own)) => own,
            Some(Err(Excluded::Revoked { .. } | Excluded::Expired(_))) => {
                return self.check_belongs(Asker::Node(self.core.me), Right::Write);
            }
            Some(Err(_)) | None => return Ok(()),
        };
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
