//! Proof of possession: other nodes prove that they hold the very batches that this node holds.
//!
//! This node reads a few batches of its own, drawn by a nonce. It asks the other one for a keyed
//! hash of each ([`possession`]), and compares it with its own. A node without the bytes cannot
//! answer. It may still fetch them from another one first. Nothing here tells such a node from an
//! honest one.
//!
//! One question is about a page at most. What was drawn and did not fit is asked for next: a proof
//! of some of it proves nothing of the rest. What others want to be shown is in `prover.rs`.

use std::collections::BTreeSet;

use crate::{
    engine::{
        Engine,
        ids::ChallengeId,
        inflight::{asks::Purpose, stored::ReadPurpose},
        input::Failure,
        numbered::Numbered,
        output::Report,
        survey::Then,
    },
    limits::{ASK_TIMEOUT, PROVE_BATCHES_MAX, PROVE_BYTES_MAX},
    model::{Batch, Hash, NodeId, TopicId},
    wire::{LogRange, NodeRequest, Page, Response, possession},
};

/// What a challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Why {
    /// This node wants to give its copies up: which proof.
    HandOver(u64),
    /// Home replicas look at each other.
    Audit,
}

/// What a node is to prove.
#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) topic: TopicId,
    pub(super) node: NodeId,
    pub(super) nonce: [u8; 32],
    pub(super) why: Why,
    /// Records by which batches were drawn, and whose batches it has not proven yet.
    pub(super) drawn: Vec<LogRange>,
}

/// A challenge that is under way.
#[derive(Debug)]
struct Asked {
    challenge: Challenge,
    /// The batches that the node was asked for, and the proof of each.
    expected: Vec<(LogRange, Hash)>,
}

/// The challenges under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    challenges: Numbered<ChallengeId, Asked>,
}

/// Where a batch is filed.
fn place_of(batch: &Batch) -> LogRange {
    LogRange { log: batch.log(), ..LogRange::of(batch.header()) }
}

/// Whether a record is in a range.
fn is_in(at: &LogRange, range: &LogRange) -> bool {
    at.log == range.log && range.from <= at.from && at.from < range.to
}

/// Draws records of parts of logs, each as likely as any other.
pub(super) fn draw(nonce: &[u8; 32], parts: &[LogRange], count: usize) -> Vec<LogRange> {
    let all: u64 = parts.iter().map(|part| part.to - part.from).sum();
    if all == 0 {
        return Vec::new();
    }
    let mut random =
        blake3::Hasher::new_derive_key("antiphon/drawn/1").update(nonce).finalize_xof();
    let mut drawn = BTreeSet::new();
    for _ in 0..count {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        let mut at = u64::try_from(u128::from_le_bytes(bytes) % u128::from(all)).unwrap_or(0);
        for part in parts {
            let length = part.to - part.from;
            if at < length {
                drawn.insert((part.log, part.from + at));
                break;
            }
            at -= length;
        }
    }
    let one = |(log, from)| LogRange { log, from, to: from + 1 };
    drawn.into_iter().map(one).collect()
}

impl Engine {
    /// Has a node prove that it holds the batches with these records, as this node does.
    pub(super) fn challenge(&mut self, challenge: Challenge) {
        let asked = Asked { challenge, expected: Vec::new() };
        let number = self.replication.possession.challenges.insert(asked);
        self.read_drawn(number);
    }

    fn read_drawn(&mut self, number: ChallengeId) {
        if let Some(Asked { challenge, .. }) = self.replication.possession.challenges.get(number) {
            let (topic, drawn) = (challenge.topic, challenge.drawn.clone());
            self.core.read_store(topic, drawn, PROVE_BYTES_MAX, ReadPurpose::Challenge(number));
        }
    }

    /// The store has read what is held here: the other one is asked for the same.
    pub(in crate::engine) fn challenge_read(&mut self, number: ChallengeId, page: Option<Page>) {
        let Some(asked) = self.replication.possession.challenges.get_mut(number) else {
            debug_assert!(false, "a challenge waits for its own batches");
            return;
        };
        let page = page.unwrap_or_default();
        let Challenge { topic, node, nonce, drawn, .. } = &mut asked.challenge;
        // What compaction took away here cannot be compared.
        let is_compacted =
            |at: &LogRange| page.compacted.iter().any(|part| part.covers(&at.log, at.from));
        drawn.retain(|at| !is_compacted(at));
        if drawn.is_empty() {
            return self.end_challenge(number, true);
        }
        let mut expected = Vec::new();
        // Several records may have been drawn of one batch.
        let mut batches = BTreeSet::new();
        for batch in page.batches.iter().filter(|batch| batch.header().topic == *topic) {
            let place = place_of(batch);
            let is_drawn = drawn.iter().any(|at| is_in(at, &place));
            if is_drawn && expected.len() < PROVE_BATCHES_MAX && batches.insert(batch.hash()) {
                expected.push((place, possession(node, nonce, batch)));
            }
        }
        // What is damaged here, or gone by now, nobody can prove to this node.
        if expected.is_empty() {
            return self.end_challenge(number, false);
        }
        let ranges = expected.iter().map(|(place, _)| *place).collect();
        let (node, request) = (*node, NodeRequest::Prove(*topic, ranges, *nonce));
        asked.expected = expected;
        self.core.ask(node, request, ASK_TIMEOUT, Purpose::Prove(number));
    }

    /// A node has answered with its proofs, or not at all.
    pub(in crate::engine) fn proven_by(
        &mut self,
        number: ChallengeId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        let Some(asked) = self.replication.possession.challenges.get_mut(number) else {
            debug_assert!(false, "a challenge waits for its answers");
            return;
        };
        let is_audit = asked.challenge.why == Why::Audit;
        let is_gone = matches!(result, Err(Failure::Unreachable));
        // One that is over its budget asks to be asked later: handovers and audits come back.
        let Ok(Response::Proven(proofs, compacted)) = result else {
            if is_audit && !is_gone {
                self.note_silence(node);
            }
            return self.end_challenge(number, false);
        };
        let Asked { challenge, expected } = asked;
        let expected = std::mem::take(expected);
        // What compaction took away there cannot be proven.
        let known = self.core.topics.get(&challenge.topic);
        let is_compacted = known.is_some_and(|known| known.tombstones_ms().is_some());
        let is_true = |((place, expected), proof): (&(LogRange, Hash), &Option<Hash>)| match proof {
            Some(proof) => proof == expected,
            None => is_compacted && compacted.contains(place),
        };
        let passed = proofs.len() == expected.len() && expected.iter().zip(&proofs).all(is_true);
        let is_proven = |at: &LogRange| expected.iter().any(|(place, _)| is_in(at, place));
        challenge.drawn.retain(|at| !is_proven(at));
        let (topic, why, is_whole) = (challenge.topic, challenge.why, challenge.drawn.is_empty());
        match (why, expected.first()) {
            // It may lack it, and say so.
            (Why::Audit, Some((place, _))) if !passed => {
                self.survey(topic, Then::Audit(node, *place));
            }
            _ => self.note_proof(node, passed),
        }
        if passed && !is_whole {
            return self.read_drawn(number);
        }
        self.end_challenge(number, passed);
    }

    /// A node has proven that it holds what it says, or failed to.
    pub(super) fn note_proof(&mut self, node: NodeId, passed: bool) {
        if self.core.members.proved(&node, passed) {
            self.core.report(Report::Unproven(node));
        }
    }

    /// A home replica was asked for a proof, and gave none.
    fn note_silence(&mut self, node: NodeId) {
        if self.core.members.gave_no_proof(self.core.now.elapsed, &node) {
            self.core.report(Report::Unproven(node));
        }
    }

    /// A node has proven all that was drawn, or has not.
    fn end_challenge(&mut self, number: ChallengeId, is_proven: bool) {
        let ended = self.replication.possession.challenges.remove(number);
        if let Some(Asked { challenge, .. }) = ended
            && let Why::HandOver(proof) = challenge.why
        {
            self.handover_proven(challenge.topic, proof, challenge.node, is_proven);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, LogId};

    fn part(log: u64, from: u64, to: u64) -> LogRange {
        let writer = NodeId::from_bytes([1; 32]);
        LogRange { log: LogId { writer, incarnation: Incarnation(log) }, from, to }
    }

    #[test]
    fn what_is_drawn_lies_in_the_parts_and_no_record_is_out_of_reach() {
        let parts = [part(1, 5, 8), part(2, 0, 1), part(3, 9, 9)];
        let mut seen = BTreeSet::new();
        for number in 0..100 {
            let drawn = draw(&[number; 32], &parts, 2);
            assert!((1..=2).contains(&drawn.len()));
            assert_eq!(drawn, draw(&[number; 32], &parts, 2), "the nonce decides");
            seen.extend(drawn.iter().map(|one| (one.log.incarnation.0, one.from, one.to)));
        }
        assert_eq!(Vec::from_iter(seen), [(1, 5, 6), (1, 6, 7), (1, 7, 8), (2, 0, 1)]);
        assert_eq!(draw(&[0; 32], &[part(3, 9, 9)], 2), []);
    }
}
