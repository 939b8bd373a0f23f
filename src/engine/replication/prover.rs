//! What other nodes may have this one prove.
//!
//! A question is small and its answer is some hashes, but this node reads megabytes for it. So few
//! are read for at a time, in turn for each asker, and each asker has a rate of bytes. What is
//! beyond is refused, and says when to ask again. A handover or an audit comes back by itself.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use crate::{
    engine::{
        Engine,
        ids::QuestionId,
        inflight::stored::{Challenged, ReadPurpose},
    },
    limits::{
        PROVE_AHEAD_MAX, PROVE_BYTES_MAX, PROVE_BYTES_PER_SECOND_MAX, PROVES_MAX,
        PROVES_WAITING_MAX, PROVES_WAITING_PER_ASKER_MAX,
    },
    model::{Batch, Compacted, NodeId},
    wire::{LogRange, Page, Refusal, Response, possession},
};

/// After this time who has too many questions waiting may ask again, in milliseconds.
const RETRY_SOON_MS: u32 = 100;

/// What others want to be shown.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    /// Those who asked lately.
    askers: BTreeMap<NodeId, Asker>,
    /// Whose turn was the last one.
    last: Option<NodeId>,
    waiting: usize,
    reading: usize,
}

/// What one node wants to be shown.
#[derive(Debug, Default)]
struct Asker {
    waiting: VecDeque<Challenged>,
    reading: usize,
    /// When what was read is paid for, at the rate that is allowed.
    paid_at: Duration,
}

fn over_budget(reason: &str, retry_after_ms: u32) -> Refusal {
    Refusal::OverBudget { reason: reason.to_owned(), retry_after_ms }
}

impl State {
    /// A question waits for its turn. When too many do, each asker may still have its part.
    ///
    /// # Errors
    /// When the asker has its part.
    fn wait(&mut self, now: Duration, challenged: Challenged) -> Result<(), Refusal> {
        // Who owes nothing is like one that never asked.
        let is_known =
            |asker: &Asker| asker.paid_at > now || asker.reading > 0 || !asker.waiting.is_empty();
        self.askers.retain(|_, asker| is_known(asker));
        let own = self.askers.get(&challenged.asker).map_or(0, |asker| asker.waiting.len());
        let part = PROVES_WAITING_MAX / (self.askers.len() + 1);
        if own >= PROVES_WAITING_PER_ASKER_MAX
            || self.waiting >= PROVES_WAITING_MAX && own >= part.max(1)
        {
            return Err(over_budget("the asker wants too many proofs at a time", RETRY_SOON_MS));
        }
        self.waiting += 1;
        self.askers.entry(challenged.asker).or_default().waiting.push_back(challenged);
        Ok(())
    }

    /// Nobody waits for the answer any more.
    pub(in crate::engine) fn abandon(&mut self, question: QuestionId) {
        for asker in self.askers.values_mut() {
            let before = asker.waiting.len();
            asker.waiting.retain(|challenged| challenged.question != question);
            self.waiting -= before - asker.waiting.len();
        }
    }

    /// The question whose turn it is, if there is room for one, and whether its asker may have it.
    fn next(&mut self, now: Duration) -> Option<(Challenged, Result<(), Refusal>)> {
        if self.reading >= PROVES_MAX {
            return None;
        }
        let waits = |(_, asker): &(&NodeId, &mut Asker)| !asker.waiting.is_empty();
        let after = self.last.map_or(Unbounded, Excluded);
        let next = self.askers.range_mut((after, Unbounded)).find(waits).map(|(node, _)| *node);
        let first = || self.askers.iter_mut().find(waits).map(|(node, _)| *node);
        let node = next.or_else(first)?;
        let asker = self.askers.get_mut(&node)?;
        let challenged = asker.waiting.pop_front()?;
        self.waiting -= 1;
        self.last = Some(node);
        let ahead = asker.paid_at.saturating_sub(now);
        let wait = ahead.saturating_sub(PROVE_AHEAD_MAX);
        if !wait.is_zero() {
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(RETRY_SOON_MS);
            let reason = "the asker wants proofs of too many bytes at a time";
            return Some((challenged, Err(over_budget(reason, wait_ms))));
        }
        asker.reading += 1;
        self.reading += 1;
        Some((challenged, Ok(())))
    }

    /// These bytes were read for an asker.
    fn read(&mut self, now: Duration, node: NodeId, bytes: usize) {
        let Some(asker) = self.askers.get_mut(&node) else {
            debug_assert!(false, "an asker stays while something is read for it");
            return;
        };
        self.reading -= 1;
        asker.reading -= 1;
        let nanoseconds = bytes as u64 * 1_000_000_000 / PROVE_BYTES_PER_SECOND_MAX;
        asker.paid_at = asker.paid_at.max(now) + Duration::from_nanos(nanoseconds);
    }
}

impl Engine {
    /// Another node wants to be shown that this one holds batches.
    pub(in crate::engine) fn prove(&mut self, challenged: Challenged) {
        let question = challenged.question;
        match self.replication.prover.wait(self.core.now.elapsed, challenged) {
            Ok(()) => self.read_for_proofs(),
            Err(refusal) => self.core.refuse(question, refusal),
        }
    }

    fn read_for_proofs(&mut self) {
        while let Some((challenged, may)) = self.replication.prover.next(self.core.now.elapsed) {
            match may {
                Ok(()) => {
                    let (topic, ranges) = (challenged.topic, challenged.ranges.clone());
                    let purpose = ReadPurpose::Prove(challenged);
                    self.core.read_store(topic, ranges, PROVE_BYTES_MAX, purpose);
                }
                Err(refusal) => self.core.refuse(challenged.question, refusal),
            }
        }
    }

    /// The store has read what was to be shown.
    pub(in crate::engine) fn prove_read(&mut self, challenged: &Challenged, page: Option<Page>) {
        let batches = page.iter().flat_map(|page| &page.batches);
        let bytes = batches.map(|batch| batch.bytes().len()).sum();
        self.replication.prover.read(self.core.now.elapsed, challenged.asker, bytes);
        self.show(challenged, page);
        self.read_for_proofs();
    }

    fn show(&mut self, challenged: &Challenged, page: Option<Page>) {
        let Challenged { question, ranges, nonce, .. } = challenged;
        let Some(page) = page else {
            return self.core.refuse(*question, Refusal::Unreachable);
        };
        let proof = |range: &LogRange| {
            let is_it = |batch: &&Batch| {
                let header = batch.header();
                (batch.log(), header.first, header.next()) == (range.log, range.from, range.to)
            };
            let batch = page.batches.iter().find(is_it)?;
            Some(possession(&self.core.me, nonce, batch))
        };
        let proofs = ranges.iter().map(proof).collect();
        let is_compacted = |range: &&LogRange| {
            let covers = |part: &Compacted| {
                part.log == range.log && part.first <= range.from && range.to <= part.next
            };
            page.compacted.iter().any(covers)
        };
        let compacted = ranges.iter().filter(is_compacted).copied().collect();
        self.core.answer(*question, Response::Proven(proofs, compacted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    fn challenged(node: u8, question: u64) -> Challenged {
        Challenged {
            question: QuestionId(question),
            asker: NodeId::from_bytes([node; 32]),
            topic: TopicId::from_bytes([1; 32]),
            ranges: Vec::new(),
            nonce: [2; 32],
        }
    }

    #[test]
    fn who_wants_more_bytes_than_the_rate_waits_and_nobody_else_does() {
        let (mut state, mut now) = (State::default(), Duration::ZERO);
        let full = u64::try_from(PROVE_BYTES_MAX).unwrap();
        let ask = |state: &mut State, now, node| {
            let asked = challenged(node, 1);
            let asker = asked.asker;
            state.wait(now, asked).unwrap();
            let (_, may) = state.next(now).unwrap();
            may.map(|()| state.read(now, asker, PROVE_BYTES_MAX))
        };
        let mut read = 0;
        let wait_ms = loop {
            match ask(&mut state, now, 1) {
                Ok(()) => read += full,
                Err(Refusal::OverBudget { retry_after_ms, .. }) => break retry_after_ms,
                Err(other) => panic!("{other:?}"),
            }
        };
        let ahead = PROVE_BYTES_PER_SECOND_MAX * PROVE_AHEAD_MAX.as_secs();
        assert!((ahead..=ahead + full).contains(&read), "{read}");
        ask(&mut state, now, 2).unwrap();
        now += Duration::from_millis(u64::from(wait_ms) + 1);
        ask(&mut state, now, 1).unwrap();
        ask(&mut state, now, 1).unwrap_err();
        ask(&mut state, now + Duration::from_mins(1), 3).unwrap();
        assert_eq!(state.askers.len(), 1, "who owes nothing is forgotten");
    }

    #[test]
    fn each_asker_has_its_turn_and_its_part() {
        let (mut state, now) = (State::default(), Duration::ZERO);
        let mut greedy = 1;
        while state.waiting < PROVES_WAITING_MAX {
            let waits = |state: &mut State| state.wait(now, challenged(greedy, 0)).is_ok();
            assert_eq!((0..1_000).filter(|_| waits(&mut state)).count(), 128);
            greedy += 1;
        }
        state.wait(now, challenged(100, 7)).unwrap();
        state.wait(now, challenged(100, 8)).unwrap();
        state.abandon(QuestionId(8));
        let reading: Vec<_> = std::iter::from_fn(|| state.next(now)).collect();
        assert_eq!(reading.len(), PROVES_MAX);
        let mut questions = Vec::new();
        for (challenged, _) in reading {
            state.read(now, challenged.asker, 1);
        }
        for _ in 0..greedy {
            let (challenged, _) = state.next(now).unwrap();
            state.read(now, challenged.asker, 1);
            questions.push(challenged.question.0);
        }
        assert!(questions.contains(&7), "{questions:?}");
        assert!(!questions.contains(&8));
    }
}
