//! Forks: the writer, or somebody with its key, has signed two batches for one position.
//!
//! A cloned or restored data directory does that, and so does a malicious writer. It cannot be
//! prevented, so it is found, proven, and reported. All replicas come to the same result: the log
//! keeps what came before and is sealed, and the branches are kept as logs of their own
//! ([`Incarnation::of_branch`](crate::model::Incarnation::of_branch)). So repair, handover, surveys
//! and readers treat them as any log.
//!
//! - **Found** when a batch arrives for a position that is taken. The batch there is read from the
//!   store before anything is answered, so that a receipt never stands for another batch. If it was
//!   trimmed, its header is read if it is kept. If two chains differ and the position is not at
//!   hand, `search` looks for it.
//! - **Reported** with every answer about holdings, with batches of branches, and with the refusal
//!   to a writer that continues. It is part of the topic's digest, so repair finds nodes that do
//!   not know. A proof is verified, never believed.
//! - **Filed** by `filing`: what this node held of the log after the fork moves to branches.
//!
//! A writer that learns that its own log has forked continues in a new incarnation, see `publish`.

pub(super) mod filing;
pub(super) mod headers;
pub(super) mod reading;
pub(super) mod search;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use self::search::header_at;
use super::{
    Engine,
    holdings::{
        log::{AddError, Added},
        proofs::Learned,
    },
    inflight::stored::{ReadPurpose, Reply},
    numbered::Numbered,
    output::{Report, Write},
    planted::{Bug, planted},
};
use crate::{
    limits::{PAGE_BYTES_MAX, QUESTIONS_MAX},
    model::{Batch, Blob, ForkProof, LogId, NodeId, SignedHeader, TopicId},
    wire::{LogRange, Outcome, Page, Proofs, Refusal},
};

/// A request to store batches that waits for what the store says of some of them.
#[derive(Debug)]
pub(super) struct Check {
    reply: Reply,
    from: Option<NodeId>,
    outcomes: Vec<Option<Outcome>>,
    /// The batches whose places are taken, by their number in the request.
    taken: BTreeMap<usize, Batch>,
    /// What follows a batch of the request that is not stored, or not yet: its number, the number
    /// of the one before, and itself.
    followers: Vec<(usize, usize, Batch)>,
    reads: usize,
}

impl Check {
    pub(super) fn new(
        reply: Reply,
        from: Option<NodeId>,
        outcomes: Vec<Option<Outcome>>,
        taken: BTreeMap<usize, Batch>,
        followers: Vec<(usize, usize, Batch)>,
    ) -> Self {
        Self { reply, from, outcomes, taken, followers, reads: 0 }
    }
}

/// The checks under way.
#[derive(Debug, Default)]
pub(super) struct State {
    checks: Numbered<Check>,
    pub(super) searches: search::State,
    pub(super) filing: filing::State,
}

impl Engine {
    // --- whether a place is taken by another batch -----------------------------------------

    /// Answers a request to store batches once it is known of each whether it is held itself.
    pub(super) fn check_taken(&mut self, mut check: Check) {
        if check.taken.is_empty() || self.forks.checks.things.len() >= QUESTIONS_MAX {
            return self.finish_check(check);
        }
        let mut topics: BTreeMap<TopicId, Vec<LogRange>> = BTreeMap::new();
        for batch in check.taken.values() {
            let header = batch.header();
            let range = if self.is_header_kept(batch) {
                LogRange::position(batch.log(), header.first)
            } else {
                LogRange { log: batch.log(), from: header.first, to: header.next() }
            };
            topics.entry(header.topic).or_default().push(range);
        }
        check.reads = topics.len();
        let number = self.forks.checks.put(check);
        for (topic, ranges) in topics {
            self.core.read_store(topic, ranges, PAGE_BYTES_MAX, ReadPurpose::Check(number, topic));
        }
    }

    /// The store gives the batches of a topic whose places were asked for.
    pub(super) fn checked(&mut self, number: u64, topic: TopicId, page: Option<Page>) {
        let Some(check) = self.forks.checks.things.get(&number) else {
            return;
        };
        let from = check.from;
        let is_import = !matches!(check.reply, Reply::Replicated(_));
        let of_topic = |(_, batch): &(&usize, &Batch)| batch.header().topic == topic;
        let taken: Vec<_> =
            check.taken.iter().filter(of_topic).map(|(at, batch)| (*at, batch.clone())).collect();
        let page = page.unwrap_or_default();
        for (at, batch) in taken {
            let (log, first) = (batch.log(), batch.header().first);
            let outcome = match page.compacted.iter().find(|part| part.covers(&log, first)) {
                Some(part) if part.names(batch.hash()) || planted(Bug::CompactedIsAny) => {
                    Outcome::Present
                }
                // It may be of another chain, which nobody can prove any more. Who imports is told
                // that it is not taken in; who replicates is given no receipt for it.
                Some(_) if is_import => Outcome::Trimmed,
                Some(_) => Outcome::Refused(Refusal::Busy),
                None => self.compare_held(&page, &batch, from),
            };
            if let Some(check) = self.forks.checks.things.get_mut(&number)
                && let Some(slot) = check.outcomes.get_mut(at)
            {
                *slot = Some(outcome);
            }
        }
        if let Some(check) = self.forks.checks.things.get_mut(&number) {
            check.reads -= 1;
            if check.reads == 0
                && let Some(check) = self.forks.checks.things.remove(&number)
            {
                self.finish_check(check);
            }
        }
    }

    fn compare_held(&mut self, page: &Page, batch: &Batch, from: Option<NodeId>) -> Outcome {
        let (topic, first) = (batch.header().topic, batch.header().first);
        let is_let_go = self.is_header_kept(batch);
        let Some(there) = header_at(page, topic, batch.log(), first) else {
            // Of what was let go nobody may know any more whether it is the same. All else could not
            // be read, or was too much at once.
            return if is_let_go { Outcome::Trimmed } else { Outcome::Refused(Refusal::Busy) };
        };
        let header = SignedHeader::of(batch);
        if there == header {
            return if is_let_go { Outcome::Trimmed } else { Outcome::Present };
        }
        match ForkProof::of_headers(&there, &header) {
            Ok(proof) => {
                self.learn_fork(&proof);
                Outcome::Refused(self.refusal_of_fork(topic, batch.log()))
            }
            Err(_elsewhere) => {
                self.search_fork(topic, batch.log(), from);
                Outcome::Refused(Refusal::Invalid(AddError::Fork { at: first }.to_string()))
            }
        }
    }

    /// Whether a batch comes for a place of which no more is left than, perhaps, a header.
    pub(super) fn is_header_kept(&self, batch: &Batch) -> bool {
        let known = self.core.topics.get(&batch.header().topic);
        let log = known.and_then(|known| known.logs.get(&batch.log()));
        log.is_some_and(|log| log.keeps_header(batch.header().next()))
    }

    fn finish_check(&mut self, check: Check) {
        let Check { reply, from, mut outcomes, followers, .. } = check;
        for (at, before, batch) in followers {
            let before = outcomes.get(before).cloned().flatten();
            let outcome = match before {
                Some(Outcome::Stored | Outcome::Present | Outcome::Trimmed) => {
                    match self.store(&batch, from) {
                        Ok(Added::New) => Outcome::Stored,
                        Ok(Added::Held) => self.outcome_of_held(&batch),
                        Ok(Added::Taken) => Outcome::Refused(Refusal::Busy),
                        Err(refusal) => Outcome::Refused(refusal),
                    }
                }
                Some(refused) => refused,
                None => Outcome::Refused(Refusal::Busy),
            };
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome);
            }
        }
        // The proof goes with the first refusal only: there may be thousands.
        let mut told = false;
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            Some(Outcome::Refused(Refusal::Forked(proof))) => {
                let proof = proof.filter(|_| !std::mem::replace(&mut told, true));
                Outcome::Refused(Refusal::Forked(proof))
            }
            Some(outcome) => outcome,
            None => Outcome::Refused(Refusal::Busy),
        });
        let outcomes = outcomes.collect();
        self.reply(reply, outcomes);
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
        let known = self.core.topics.get_mut(&topic);
        let Some(known) = known.filter(|known| known.is_known() && known.admits(&log.writer))
        else {
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
        self.file_branches(topic, log);
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
