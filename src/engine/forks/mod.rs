//! Forks: the writer, or somebody with its key, has signed two batches for one position.
//!
//! A cloned or restored data directory does that, and so does a malicious writer. It cannot be
//! prevented, so it is found, proven, and reported. All replicas come to the same result: the log
//! keeps what came before and is sealed, and the branches are kept as logs of their own
//! ([`Incarnation::of_branch`](crate::model::Incarnation::of_branch)). So repair, handover, surveys
//! and readers treat them as any log.
//!
//! - **Found** by `check` when a batch arrives for a position that is taken. The batch there is
//!   read from the store before anything is answered, so that a receipt never stands for another
//!   batch. If it was trimmed, its header is read if it is kept. If two chains differ and the
//!   position is not at hand, `search` looks for it.
//! - **Reported** with every answer about holdings, with batches of branches, and with the refusal
//!   to a writer that continues. It is part of the topic's digest, so repair finds nodes that do
//!   not know. A proof is verified, never believed.
//! - **Filed** by `filing`: what this node held of the log after the fork moves to branches.
//!
//! A writer that learns that its own log has forked continues in a new incarnation, see `publish`.

mod check;
mod filing;
mod reading;
mod search;
mod way;

use std::collections::BTreeSet;

use bytes::Bytes;

pub(super) use self::check::Check;
use self::{
    filing::Filings,
    search::{Searches, Side},
};
#[cfg(debug_assertions)]
use super::holdings::topics::Topics;
use super::{
    Engine,
    core::Core,
    holdings::{log::AddError, proofs::Learned, topic::Topic},
    ids::CheckId,
    inflight::{asks::ForkAsk, stored::ForkRead},
    input::Failure,
    numbered::Numbered,
    output::{Report, Write},
};
#[cfg(debug_assertions)]
use crate::limits::QUESTIONS_MAX;
use crate::{
    engine::{ids::QuestionId, wing::Wing},
    model::{Batch, Blob, ForkProof, LogId, NodeId, TopicId},
    wire::{Page, Proofs, Refusal, Response},
};

/// What is being found out about forks, and filed.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Requests that wait until it is known what is held.
    checks: Numbered<CheckId, Check>,
    searches: Searches,
    filings: Filings,
}

impl State {
    /// Whether what this node held of a log is still being filed.
    pub(super) fn is_filing(&self, topic: TopicId, log: LogId) -> bool {
        self.filings.is_filing(topic, log)
    }

    /// Nothing of a log and of its branches is filed any more: that it forked does not count.
    pub(super) fn forget(&mut self, core: &Core, topic: TopicId, of: LogId) {
        let forks = core.topics.get(&topic).map(|known| &known.forks);
        let is_of = |log| forks.is_some_and(|forks| forks.origin(log) == of);
        self.filings.retain(|filed, log| filed != topic || !is_of(log));
    }

    /// Asserts that only logs that have forked are filed, and that no table is larger than its
    /// limit.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, topics: &Topics) {
        self.checks.values().for_each(Check::check);
        assert!(self.checks.len() <= QUESTIONS_MAX, "too many checks");
        self.searches.check();
        self.filings.check(topics);
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.forks.searches.on_tick(&engine.core);
        engine.forks.filings.on_tick(&mut engine.core);
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, _: &Refusal) {
        // Checks are answered when the store has read what they ask.
        engine.forks.filings.on_topic_deleted(topic);
        engine.forks.searches.on_topic_deleted(topic);
    }

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}

impl Engine {
    // --- entry points ----------------------------------------------------------------------

    pub(super) fn forks_on_start(&mut self, proofs: &[ForkProof]) {
        // A crash may have interrupted it.
        for proof in proofs {
            self.forks.filings.begin(&mut self.core, proof.topic(), proof.log());
        }
    }

    pub(super) fn forks_on_response(
        &mut self,
        ask: ForkAsk,
        (topic, log): (TopicId, LogId),
        result: Result<Response, Failure>,
    ) {
        let State { searches, filings, .. } = &mut self.forks;
        match (ask, result) {
            (ForkAsk::Way, result) => filings.on_way(&mut self.core, topic, log, result),
            (ForkAsk::Frontier, Ok(Response::Held(held))) => {
                // It may know already.
                self.learn_forks(topic, held.forks.as_ref());
                let searches = &mut self.forks.searches;
                let found = searches.on_frontier(&mut self.core, topic, log, &held);
                self.learn_found(found);
            }
            (ForkAsk::Batch, Ok(Response::Page(page))) => {
                let given = (Side::Theirs, &page);
                let found = searches.on_page(&mut self.core, topic, log, given);
                self.learn_found(found);
            }
            (ForkAsk::Frontier | ForkAsk::Batch, _) => searches.end(&self.core, topic, log),
        }
    }

    pub(super) fn forks_on_store_read(
        &mut self,
        read: ForkRead,
        topic: TopicId,
        page: Option<Page>,
    ) {
        let State { searches, filings, .. } = &mut self.forks;
        match read {
            ForkRead::Taken(check) => self.checked(check, topic, page),
            ForkRead::Search(log) => {
                let page = page.unwrap_or_default();
                let found = searches.on_page(&mut self.core, topic, log, (Side::Mine, &page));
                self.learn_found(found);
            }
            ForkRead::File(log) => self.part_to_file_read(topic, log, page),
            ForkRead::Headers(log, walk) => {
                let headers = page.unwrap_or_default().headers;
                filings.on_headers(&mut self.core, topic, log, (walk, &headers));
            }
        }
    }

    /// Looks for the place where this node's log and that of another one part.
    pub(super) fn search_fork(&mut self, topic: TopicId, log: LogId, node: Option<NodeId>) {
        // A client's batches are from nobody who could be asked.
        if let Some(node) = node {
            self.forks.searches.begin(&mut self.core, topic, log, node);
        }
    }

    fn learn_found(&mut self, proof: Option<ForkProof>) {
        if let Some(proof) = proof {
            self.learn_fork(&proof);
        }
    }

    // --- knowing of forks ------------------------------------------------------------------

    /// Why a log that has forked takes nothing more.
    pub(super) fn refusal_of_fork(&self, topic: TopicId, log: LogId) -> Refusal {
        let known = self.core.topics.get(&topic);
        let proof = known.and_then(|known| known.forks.proofs_of(log).min_by_key(|p| p.at()));
        Refusal::Forked(proof.map(|proof| Blob(proof.bytes().clone())))
    }

    /// Learns proofs that another node reports, if they are valid and new.
    pub(super) fn learn_forks(&mut self, topic: TopicId, proofs: Option<&Proofs>) {
        for bytes in proofs.iter().flat_map(|proofs| proofs.iter()) {
            self.learn_fork_from(topic, bytes);
        }
    }

    /// Learns one such proof.
    pub(super) fn learn_fork_from(&mut self, topic: TopicId, bytes: &Bytes) {
        self.learn_fork_in(&[topic].into(), bytes);
    }

    /// Learns a proof that concerns one of these topics.
    pub(super) fn learn_fork_in(&mut self, topics: &BTreeSet<TopicId>, bytes: &Bytes) {
        let mut known = topics.iter().filter_map(|topic| self.core.topics.get(topic));
        if known.any(|known| known.forks.proof(bytes).is_some()) {
            return;
        }
        if let Ok(proof) = ForkProof::verify(bytes)
            && topics.contains(&proof.topic())
        {
            self.learn_fork(&proof);
        }
    }

    /// Learns a fork.
    pub(super) fn learn_fork(&mut self, proof: &ForkProof) {
        let (topic, log) = (proof.topic(), proof.log());
        let is_writer = self.takes_fork(proof);
        let known = self.core.topics.get_mut(&topic);
        let is_of = |known: &&mut Topic| known.is_known() && known.admits(&log.writer);
        let Some(known) = known.filter(is_of).filter(|_| is_writer) else {
            return;
        };
        match known.add_fork(proof) {
            Learned::Nothing => return,
            Learned::Branch => {}
            Learned::Fork => {
                let report = Report::Fork(topic, log, AddError::Fork { at: proof.at() });
                self.core.report(report);
            }
        }
        self.core.write(Write::Fork(proof.clone()));
        self.forks.filings.begin(&mut self.core, topic, log);
        self.go_on_after_fork(topic, log);
        // Those who do not know are found by comparing.
        self.repair_soon();
        self.serve_waiting(topic);
    }

    /// The proofs that go with batches, so that who is sent them can file them.
    pub(super) fn proofs_for(&self, batches: &[Batch]) -> Option<Proofs> {
        let mut proofs: Vec<&ForkProof> = Vec::new();
        for batch in batches.iter().filter(|batch| batch.is_of_branch()) {
            let known = self.core.topics.get(&batch.header().topic);
            for proof in known.into_iter().flat_map(|known| known.forks.proofs_of(batch.log())) {
                if !proofs.contains(&proof) {
                    proofs.push(proof);
                }
            }
        }
        Proofs::of(proofs.into_iter())
    }
}
