//! Whether a place is taken by another batch: what is held there is read before anything is
//! answered.

use std::collections::BTreeMap;

use super::search::header_at;
use crate::{
    engine::{
        Engine,
        holdings::log::{AddError, Added},
        ids::CheckId,
        inflight::stored::{ForkRead, ReadPurpose, Reply},
    },
    limits::{PAGE_BYTES_MAX, QUESTIONS_MAX},
    model::{Batch, ForkProof, NodeId, SignedHeader, TopicId},
    wire::{LogRange, Outcome, Page, Refusal},
};

/// A request to store batches that waits for what the store says of some of them.
#[derive(Debug)]
pub(in crate::engine) struct Check {
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
    pub(in crate::engine) fn new(
        reply: Reply,
        from: Option<NodeId>,
        outcomes: Vec<Option<Outcome>>,
        taken: BTreeMap<usize, Batch>,
        followers: Vec<(usize, usize, Batch)>,
    ) -> Self {
        Self { reply, from, outcomes, taken, followers, reads: 0 }
    }

    /// Asserts that something is read for it: otherwise it would never be answered.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(self.reads > 0, "a check waits for nothing");
    }
}

impl Engine {
    /// Answers a request to store batches once it is known of each whether it is held itself.
    pub(in crate::engine) fn check_taken(&mut self, mut check: Check) {
        if check.taken.is_empty() || self.forks.checks.len() >= QUESTIONS_MAX {
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
        let number = self.forks.checks.insert(check);
        for (topic, ranges) in topics {
            self.core.read_store(
                topic,
                ranges,
                PAGE_BYTES_MAX,
                ReadPurpose::Fork(ForkRead::Taken(number), topic),
            );
        }
    }

    /// The store gives the batches of a topic whose places were asked for.
    pub(super) fn checked(&mut self, number: CheckId, topic: TopicId, page: Option<Page>) {
        let Some(check) = self.forks.checks.get(number) else {
            debug_assert!(false, "a check waits for all that it reads");
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
                Some(part) if part.names(batch.hash()) => Outcome::Present,
                // It may be of another chain, which nobody can prove any more. Who imports is told
                // that it is not taken in; who replicates is given no receipt for it.
                Some(_) if is_import => Outcome::Trimmed,
                Some(_) => Outcome::Refused(Refusal::Busy),
                None => self.compare_held(&page, &batch, from),
            };
            if let Some(check) = self.forks.checks.get_mut(number)
                && let Some(slot) = check.outcomes.get_mut(at)
            {
                *slot = Some(outcome);
            }
        }
        if let Some(check) = self.forks.checks.get_mut(number) {
            check.reads -= 1;
            if check.reads == 0
                && let Some(check) = self.forks.checks.remove(number)
            {
                self.finish_check(check);
            }
        }
    }

    fn compare_held(&mut self, page: &Page, batch: &Batch, from: Option<NodeId>) -> Outcome {
        let (topic, first) = (batch.header().topic, batch.header().first);
        let is_trimmed = self.is_header_kept(batch);
        let Some(there) = header_at(page, topic, batch.log(), first) else {
            // Nobody may know any more whether a trimmed one was the same. All else could not be
            // read, or was too much at once.
            return if is_trimmed { Outcome::Trimmed } else { Outcome::Refused(Refusal::Busy) };
        };
        let header = SignedHeader::of(batch);
        if there == header {
            return if is_trimmed { Outcome::Trimmed } else { Outcome::Present };
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
    pub(in crate::engine) fn is_header_kept(&self, batch: &Batch) -> bool {
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
}
