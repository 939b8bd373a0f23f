//! Counting copies: when there are enough, or the time is over, publishers are answered.
//!
//! A receipt is the word of a node. So enough receipts acknowledge a record only in two cases: as
//! many come from nodes that are acquainted ([`probation`](crate::engine::members)), or this node
//! has flushed a copy of its own, which stays until acquainted nodes have proven theirs.

use std::collections::BTreeSet;

use crate::{
    engine::{Engine, ids::QuestionId},
    limits::UNACKNOWLEDGED_BYTES_MAX,
    model::{Hash, LogId, NodeId, TopicId},
    wire::{Acks, LogRange, Published, Response, small},
};

impl Engine {
    /// A replica has a batch flushed.
    pub(in crate::engine) fn receipt(
        &mut self,
        topic: TopicId,
        log: LogId,
        hash: Hash,
        node: NodeId,
    ) {
        if log.writer != self.core.me {
            return;
        }
        // Nothing is under way: the receipt came twice, or the topic was deleted.
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let sealed = outgoing.unacknowledged.iter_mut().find(|other| other.batch.hash() == hash);
        if sealed.is_some_and(|sealed| sealed.receipts.insert(node)) {
            self.settle(topic);
        }
    }

    /// This node's own disk counts where it is one of the replicas.
    pub(in crate::engine) fn publishing_flushed(&mut self) {
        while let Some((number, topic, log, hash)) = self.publish.unflushed.front().copied() {
            if number > self.core.durable {
                break;
            }
            self.publish.unflushed.pop_front();
            if self.is_acting(topic) {
                self.receipt(topic, log, hash, self.core.me);
            } else {
                self.settle(topic);
            }
        }
        self.searches_flushed();
    }

    /// This node may have become a replica of what it wrote before.
    pub(super) fn own_receipts(&mut self, topic: TopicId) {
        if !self.is_acting(topic) {
            return;
        }
        let unflushed: BTreeSet<_> =
            self.publish.unflushed.iter().map(|(.., hash)| *hash).collect();
        // The topic was deleted meanwhile.
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        for sealed in &mut outgoing.unacknowledged {
            if !unflushed.contains(&sealed.batch.hash()) {
                sealed.receipts.insert(self.core.me);
            }
        }
    }

    pub(super) fn is_acting(&mut self, topic: TopicId) -> bool {
        let me = self.core.me;
        let known = self.core.topics.get_mut(&topic);
        known.is_some_and(|known| known.placement(&self.core.members).acting.contains(&me))
    }

    /// Answers the publishers whose copies are reached, or whose time is over.
    pub(in crate::engine) fn settle(&mut self, topic: TopicId) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        let wanted = |acks| known.wanted(&self.core.members, acks);
        let wanted = [Acks::One, Acks::Quorum, Acks::All].map(wanted);
        let wanted = |acks| match acks {
            Acks::One => wanted[0],
            Acks::Quorum => wanted[1],
            Acks::All => wanted[2],
        };
        let quorum = wanted(Acks::Quorum);
        let home = known.placement(&self.core.members).home.clone();
        let there = known.placement(&self.core.members).acting.len();
        let replicas = known.replicas();
        // Nothing was ever published here, or the topic was deleted.
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let (mut answers, mut pending) = (Vec::new(), Vec::new());
        let before = outgoing.bytes();
        // Copies that all batches have up to the one that is looked at.
        let mut throughout = if outgoing.behind.is_some() { 0 } else { usize::MAX };
        // The same of copies at nodes that are acquainted, and whether all are flushed here.
        let (mut vouched, mut is_kept) = (usize::MAX, true);
        let (members, now) = (&self.core.members, self.core.now.elapsed);
        outgoing.unacknowledged.retain_mut(|sealed| {
            let own = sealed.receipts.len();
            throughout = throughout.min(own);
            let copies = throughout.min(own);
            let acquainted = |node: &&NodeId| members.is_acquainted(now, node);
            vouched = vouched.min(sealed.receipts.iter().filter(acquainted).count());
            is_kept &= sealed.written.is_some_and(|write| write <= self.core.durable);
            let mut told = false;
            let stand_ins = sealed.receipts.iter().filter(|node| !home.contains(node)).count();
            sealed.waiting.retain(|waiting| {
                let wanted = wanted(waiting.acks);
                let over = waiting.deadline <= self.core.now.elapsed;
                let acknowledged = copies >= wanted && (is_kept || vouched >= wanted);
                // Of a batch that is pending it is told how many there are of itself.
                let copies = if acknowledged { copies } else { own };
                let stand_ins = stand_ins.min(copies);
                if acknowledged || over {
                    let place = LogRange::of(sealed.batch.header());
                    let published = Published {
                        acknowledged,
                        copies: small(copies),
                        stand_ins: small(stand_ins),
                        replicas,
                        wanted: small(wanted),
                        duplicate: waiting.duplicate,
                        place: (!acknowledged).then_some(place),
                        too_few_nodes: !acknowledged && there < wanted,
                    };
                    answers.push((waiting.question, published));
                    told |= !acknowledged;
                }
                !acknowledged && !over
            });
            let lacking = copies < quorum || !is_kept && vouched < quorum;
            if told && lacking {
                sealed.is_pending = true;
                pending.push((sealed.batch.clone(), own));
            }
            lacking || !sealed.waiting.is_empty()
        });
        let too_much = self.publish.bytes > UNACKNOWLEDGED_BYTES_MAX / 2;
        outgoing.leave_behind(self.core.now.elapsed, too_much);
        self.publish.bytes -= before - outgoing.bytes();
        if outgoing.is_idle() {
            self.publish.active.remove(&topic);
        }
        for (batch, copies) in pending {
            self.publish.outbox.put(&mut self.core, topic, &batch, copies);
        }
        if let Some(outgoing) = self.publish.topics.get(&topic) {
            self.publish.outbox.on_receipts(&mut self.core, topic, outgoing);
        }
        self.answer_publishers(answers);
        self.seal_ready(topic);
    }

    pub(super) fn answer_publishers(&mut self, answers: Vec<(QuestionId, Published)>) {
        for (question, published) in answers {
            let is_acknowledged = published.acknowledged;
            let response = Response::Published(published);
            if is_acknowledged {
                self.core.answer(question, response);
            } else {
                // It is in the outbox, and so on this node's disk.
                self.core.answer_flushed(question, response);
            }
        }
    }
}
