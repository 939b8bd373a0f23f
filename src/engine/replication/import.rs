//! Imports: storing batches that were exported, on the topic's replicas.
//!
//! The asked node passes a page of batches on to the acting replicas, itself among them if it is
//! one. Each stores them like replicated batches, and answers after the flush. A batch is imported
//! when as many replicas have flushed it as an acknowledgement needs. The request is answered when
//! that is so of the whole page, or when all replicas have answered. Batches may be sent again and
//! again: what is held already is recognised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    engine::{
        Engine,
        ids::{ImportId, QuestionId, WriteNumber},
        inflight::{asks::Purpose, stored::Reply},
        input::Failure,
        numbered::Numbered,
    },
    limits::{ASK_TIMEOUT, IMPORTS_MAX, IMPORTS_PER_NODE_MAX, PAGE_BYTES_MAX},
    model::{NodeId, TopicId},
    wire::{Acks, ClientRequest, Import, LogRange, Outcome, Refusal, Request, Response},
};

/// A page of batches that is being imported for a client.
#[derive(Debug)]
struct Page {
    question: QuestionId,
    topic: TopicId,
    batches: usize,
    waiting: BTreeSet<NodeId>,
    outcomes: BTreeMap<NodeId, Vec<Outcome>>,
}

/// The imports under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    pages: Numbered<ImportId, Page>,
    /// Pages that were sent to each node and not answered, those included that are done with.
    sent: BTreeMap<NodeId, usize>,
    /// What became of pages here, which counts once it is flushed.
    unflushed: VecDeque<(WriteNumber, ImportId, Vec<Outcome>)>,
}

impl Engine {
    /// Another node has a client that imports: the batches are stored here.
    pub(in crate::engine) fn import_from(
        &mut self,
        question: QuestionId,
        node: NodeId,
        import: &Import,
    ) {
        self.store_imported(Reply::Imported(question), Some(node), import);
    }

    pub(in crate::engine) fn import(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        mut import: Import,
    ) {
        let batches = &import.replicate.batches;
        if batches.iter().any(|batch| batch.header().topic != topic) {
            return self.core.refuse_invalid(question, "the batches are signed for another topic");
        }
        let bytes: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
        if bytes > PAGE_BYTES_MAX {
            return self.core.refuse_invalid(question, "too many bytes in one request");
        }
        let mut early = batches.iter().map(|batch| self.core.too_early(batch.header(), None));
        if let Some(refusal) = early.find_map(|refusal| refusal) {
            // Other replicas would take it from this node, which is established there.
            return self.core.refuse(question, refusal);
        }
        if self.replication.import.pages.len() >= IMPORTS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let acting = known.placement(&self.core.members).acting.clone();
        import.replicate.descriptors = known.descriptor.iter().cloned().collect();
        let (me, sent) = (self.core.me, &self.replication.import.sent);
        let takes = |node: &NodeId| {
            let under_way = sent.get(node).copied().unwrap_or(0);
            *node == me || self.core.members.is_connected(node) && under_way < IMPORTS_PER_NODE_MAX
        };
        let waiting: BTreeSet<_> = acting.into_iter().filter(takes).collect();
        let number = self.replication.import.pages.insert(Page {
            question,
            topic,
            batches: import.replicate.batches.len(),
            waiting: waiting.clone(),
            outcomes: BTreeMap::new(),
        });
        for node in waiting.iter().copied().filter(|node| *node != me) {
            *self.replication.import.sent.entry(node).or_default() += 1;
            let request = Request::Client(ClientRequest::Import(import.clone()));
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::Import(number));
        }
        if waiting.contains(&me) {
            self.store_imported(Reply::Own(number), None, &import);
        }
        self.settle_import(number);
    }

    /// Stores a page here.
    fn store_imported(&mut self, reply: Reply, from: Option<NodeId>, import: &Import) {
        self.learn_with(&import.replicate);
        self.take_over_lows(&import.replicate, &import.trimmed);
        self.store_all(reply, from, &import.replicate);
    }

    /// Records what was trimmed before the export. If nothing is held of it, and nothing before it,
    /// nobody looks for it. That is believed only up to the first batch of the page: nothing that
    /// comes later can be called trimmed.
    fn take_over_lows(&mut self, page: &crate::wire::Replicate, trimmed: &[LogRange]) {
        let topics: BTreeSet<_> = page.batches.iter().map(|batch| batch.header().topic).collect();
        for (topic, range) in
            topics.iter().flat_map(|topic| trimmed.iter().map(move |it| (*topic, *it)))
        {
            let Some(known) = self.core.topics.get(&topic).filter(|known| known.is_known()) else {
                continue;
            };
            let of_log = page.batches.iter().filter(|batch| batch.log() == range.log);
            let first = of_log.map(|batch| batch.header().first).min();
            let held = known.logs.get(&range.log).and_then(|log| log.spans.first());
            if first.is_some_and(|first| range.to <= first)
                && held.is_none_or(|span| span.first >= range.to)
            {
                // Nothing is cut in two, so nobody asks for the batch that ends there.
                self.core.cut_log(topic, range.log, range.to, None);
            }
        }
    }

    /// This node has stored a page of its own import.
    pub(in crate::engine) fn imported_here(&mut self, number: ImportId, outcomes: Vec<Outcome>) {
        match self.core.unflushed() {
            Some(write) => self.replication.import.unflushed.push_back((write, number, outcomes)),
            None => self.imported_at(number, self.core.me, outcomes),
        }
    }

    pub(in crate::engine) fn imports_flushed(&mut self) {
        while let Some((_, number, outcomes)) = self
            .replication
            .import
            .unflushed
            .pop_front_if(|(write, ..)| *write <= self.core.durable)
        {
            self.imported_at(number, self.core.me, outcomes);
        }
    }

    /// A replica has answered.
    pub(in crate::engine) fn imported(
        &mut self,
        number: ImportId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        if let Some(sent) = self.replication.import.sent.get_mut(&node) {
            *sent = sent.saturating_sub(1);
            if *sent == 0 {
                self.replication.import.sent.remove(&node);
            }
        }
        let outcomes = match result {
            Ok(Response::Replicated(outcomes)) => outcomes,
            Ok(_) | Err(_) => Vec::new(),
        };
        self.imported_at(number, node, outcomes);
    }

    fn imported_at(&mut self, number: ImportId, node: NodeId, outcomes: Vec<Outcome>) {
        if let Some(page) = self.replication.import.pages.get_mut(number) {
            page.waiting.remove(&node);
            if outcomes.len() == page.batches {
                page.outcomes.insert(node, outcomes);
            }
            self.settle_import(number);
        }
    }

    /// Answers where enough replicas of now hold the whole page, or nobody is left to be heard.
    fn settle_import(&mut self, number: ImportId) {
        // Answered meanwhile.
        let Some(page) = self.replication.import.pages.get(number) else {
            return;
        };
        let Some(known) = self.core.topics.get_mut(&page.topic) else {
            return;
        };
        let wanted = known.wanted(&self.core.members, Acks::Quorum);
        let acting = &known.placement(&self.core.members).acting;
        let told: Vec<_> = acting.iter().filter_map(|node| page.outcomes.get(node)).collect();
        let outcome = |at| outcome(told.iter().filter_map(|outcomes| outcomes.get(at)), wanted);
        let outcomes: Vec<_> = (0..page.batches).map(outcome).collect();
        let lacks = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        if page.waiting.is_empty() || !outcomes.iter().any(lacks) {
            let question = page.question;
            self.replication.import.pages.remove(number);
            self.core.answer(question, Response::Replicated(outcomes));
        }
    }
}

/// What became of a batch, by what each replica says.
fn outcome<'a>(told: impl Iterator<Item = &'a Outcome>, wanted: usize) -> Outcome {
    let (mut copies, mut best, mut refused) = (0, Outcome::Trimmed, None);
    for outcome in told {
        match outcome {
            Outcome::Refused(refusal) => {
                refused.get_or_insert(refusal);
                continue;
            }
            // What anybody had before is not new.
            Outcome::Present => best = Outcome::Present,
            Outcome::Stored if best == Outcome::Trimmed => best = Outcome::Stored,
            Outcome::Stored | Outcome::Trimmed => {}
        }
        copies += 1;
    }
    if copies >= wanted {
        return best;
    }
    Outcome::Refused(refused.cloned().unwrap_or(Refusal::Unreachable))
}
