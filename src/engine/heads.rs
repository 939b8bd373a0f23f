//! How long a log is: an end that a node claims counts only with the header of the batch that ends
//! there, which the log's writer signed.
//!
//! Most ends a node knows from batches that it holds, or that came by gossip. For another one it
//! asks the node that claims it for the header. What is not proven is cut off, and the answer of
//! who claimed it is not complete.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Engine,
    ids::QuestionId,
    inflight::stored::{HeadsAsked, ReadPurpose},
};
use crate::{
    limits::{HEADS_BYTES_MAX, HEADS_PAGES_MAX, PAGE_BYTES_MAX},
    model::{LogId, NodeId, SignedHeader, SubscriberName, TopicId},
    wire::{HeadsWanted, Held, LogRange, Page, Response},
};

impl Engine {
    /// Somebody asks what this node holds of a topic.
    pub(super) fn show_held(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        topic: TopicId,
        (subscriber, wanted): (Option<SubscriberName>, Option<HeadsWanted>),
    ) {
        let held = self.held_and_shown(topic, subscriber.as_ref());
        let held = held.unwrap_or_else(|| {
            let members = self.core.members.digest();
            Held { members, ..Held::default() }
        });
        if held.keeps && from.is_some() {
            self.promise_to_keep(topic);
        }
        let HeadsWanted(wanted) = wanted.unwrap_or_default();
        let last = |log: LogId| {
            let to = held.frontier.0.get(&log)?.goes_to();
            Some((log, LogRange { log, from: to.checked_sub(1)?, to }))
        };
        let left = wanted.into_iter().filter_map(last).collect();
        self.read_heads(HeadsAsked { question, topic, held, left, pages: 0 });
    }

    /// Reads the batches in which logs end, as many as fit into a page.
    fn read_heads(&mut self, asked: HeadsAsked) {
        let HeadsAsked { question, topic, left, .. } = &asked;
        if left.is_empty() {
            return self.core.answer_flushed(*question, Response::Held(asked.held));
        }
        let (topic, ranges) = (*topic, left.values().copied().collect());
        let purpose = ReadPurpose::Heads(Box::new(asked));
        self.core.read_store(topic, ranges, PAGE_BYTES_MAX, purpose);
    }

    /// The store gives batches in which logs end.
    pub(super) fn heads_read(&mut self, mut asked: HeadsAsked, page: Option<Page>) {
        let page = page.unwrap_or_default();
        let before = asked.left.len();
        let heads = &mut asked.held.heads;
        let mut bytes: usize = heads.iter().map(|head| head.bytes().len()).sum();
        // Of what was trimmed there are headers.
        let stored = page.batches.iter().map(SignedHeader::of);
        for head in stored.chain(page.headers) {
            if bytes < HEADS_BYTES_MAX && asked.left.remove(&head.log()).is_some() {
                bytes += head.bytes().len();
                heads.push(head);
            }
        }
        asked.pages += 1;
        // What cannot be read is not proven. Who asked may ask for the rest.
        let is_over = page.finished
            || asked.left.len() == before
            || asked.pages >= HEADS_PAGES_MAX
            || bytes >= HEADS_BYTES_MAX;
        if is_over {
            asked.left.clear();
        }
        self.read_heads(asked);
    }

    /// Records what headers prove. One of a writer that does not belong here proves nothing.
    pub(super) fn learn_heads(&mut self, topic: TopicId, heads: &[SignedHeader]) {
        for head in heads.iter().filter(|head| head.header().topic == topic) {
            let (signed, filed) = (head.header().log(), head.log());
            if !self.counts(&topic, &filed).takes(head.header().next(), head.hash()) {
                continue;
            }
            let Some(known) = self.core.topics.get_mut(&topic) else { return };
            let is_of = |branch| known.forks.root(branch).is_some_and(|root| root.of == signed);
            if filed == signed || is_of(&filed) {
                let is_node = self.core.members.is_node(&filed.writer);
                known.prove(filed, head.header().next(), head.hash(), is_node);
            }
        }
    }

    /// The logs of a node whose ends nothing proves.
    pub(super) fn unproven(&self, topic: TopicId, held: &Held) -> Vec<LogId> {
        let Some(known) = self.core.topics.get(&topic) else { return Vec::new() };
        let proven = |log| known.proven(log).map_or(0, |(to, _)| to);
        let logs = held.frontier.0.iter();
        logs.filter(|(log, entry)| entry.goes_to() > proven(log)).map(|(log, _)| *log).collect()
    }

    /// Cuts off what is not proven of what others hold. Returns who said that it holds such a
    /// thing. Of what was trimmed the proof may be gone everywhere, and nobody lacks it.
    pub(super) fn disbelieve(
        &self,
        topic: TopicId,
        held: &mut BTreeMap<NodeId, Held>,
    ) -> BTreeSet<NodeId> {
        let mut claimed = BTreeSet::new();
        let Some(known) = self.core.topics.get(&topic) else { return claimed };
        // What this node said of itself it held, though it may have been filed elsewhere since.
        for (node, held) in held.iter_mut().filter(|(node, _)| **node != self.core.me) {
            for log in self.unproven(topic, held) {
                let Some(entry) = held.frontier.0.get_mut(&log) else { continue };
                let (to, head) = known.proven(&log).unzip();
                let to = to.unwrap_or_default();
                if entry.end().is_some_and(|(next, _)| next > to) {
                    claimed.insert(*node);
                }
                entry.end_at(to, head);
            }
            held.frontier.0.retain(|_, entry| !entry.spans.is_empty() || entry.low > 0);
        }
        claimed
    }
}
