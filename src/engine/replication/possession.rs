//! Proof of possession: other nodes prove that they hold the very batches that this node holds.
//!
//! This node reads a few batches of its own, drawn by a nonce. It asks the others for a keyed hash
//! of each ([`possession`]), and compares it with its own. A node without the bytes cannot answer.
//! It may still fetch them from another one first. Nothing here tells such a node from an honest
//! one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{
        Engine,
        ids::{ChallengeId, QuestionId},
        inflight::{asks::Purpose, stored::ReadPurpose},
        input::Failure,
        numbered::Numbered,
        output::Report,
        survey::Then,
    },
    limits::{ASK_TIMEOUT, PAGE_BYTES_MAX, PROVE_BATCHES_MAX},
    model::{Batch, Compacted, Hash, NodeId, TopicId},
    wire::{LogRange, NodeRequest, Page, Refusal, Response, possession},
};

/// What a challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Why {
    /// This node wants to give its copies up: which proof.
    HandOver(u64),
    /// Home replicas look at each other.
    Audit,
}

/// Nodes that prove to hold batches.
#[derive(Debug)]
struct Challenge {
    topic: TopicId,
    nonce: [u8; 32],
    why: Why,
    /// The records by which each node's batches were drawn.
    drawn: BTreeMap<NodeId, Vec<LogRange>>,
    /// The batches of which each node is asked.
    batches: BTreeMap<NodeId, Vec<Batch>>,
    /// Who has not proven it, or not yet.
    unproven: BTreeSet<NodeId>,
}

/// The challenges under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    challenges: Numbered<ChallengeId, Challenge>,
}

/// Where a batch is filed.
fn place_of(batch: &Batch) -> LogRange {
    LogRange { log: batch.log(), ..LogRange::of(batch.header()) }
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
    /// Has nodes prove that they hold the batches with these records, as this node does.
    pub(super) fn challenge(
        &mut self,
        topic: TopicId,
        nonce: [u8; 32],
        drawn: BTreeMap<NodeId, Vec<LogRange>>,
        why: Why,
    ) {
        let mut ranges: Vec<LogRange> = drawn.values().flatten().copied().collect();
        ranges.sort_unstable_by_key(|range| (range.log, range.from));
        ranges.dedup();
        let challenge = Challenge {
            topic,
            nonce,
            why,
            drawn,
            batches: BTreeMap::new(),
            unproven: BTreeSet::new(),
        };
        let number = self.replication.possession.challenges.insert(challenge);
        let purpose = ReadPurpose::Challenge(number);
        self.core.read_store(topic, ranges, PAGE_BYTES_MAX, purpose);
    }

    /// The store has read what is held here: the others are asked for the same.
    pub(in crate::engine) fn challenge_read(&mut self, number: ChallengeId, page: Option<Page>) {
        let Some(challenge) = self.replication.possession.challenges.get_mut(number) else {
            debug_assert!(false, "a challenge waits for its own batches");
            return;
        };
        let page = page.unwrap_or_default();
        let of_topic = |batch: &&Batch| batch.header().topic == challenge.topic;
        let held: Vec<_> = page.batches.iter().filter(of_topic).collect();
        let mut asks = Vec::new();
        for (node, drawn) in &challenge.drawn {
            let is_drawn = |batch: &&&Batch| {
                let covers = |at: &LogRange| {
                    let header = batch.header();
                    at.log == batch.log() && header.first <= at.from && at.from < header.next()
                };
                drawn.iter().any(covers)
            };
            let drawn_here = held.iter().filter(is_drawn).map(|batch| (*batch).clone());
            let mut batches: Vec<Batch> = drawn_here.collect();
            // Several records may have been drawn of one batch.
            batches.dedup_by_key(|batch| batch.hash());
            batches.truncate(PROVE_BATCHES_MAX);
            // What compaction took away here cannot be compared.
            let is_compacted =
                |at: &LogRange| page.compacted.iter().any(|part| part.covers(&at.log, at.from));
            if batches.is_empty() {
                if !drawn.iter().all(is_compacted) {
                    challenge.unproven.insert(*node);
                }
                continue;
            }
            challenge.unproven.insert(*node);
            asks.push((*node, batches.iter().map(place_of).collect()));
            challenge.batches.insert(*node, batches);
        }
        let (topic, nonce) = (challenge.topic, challenge.nonce);
        for (node, ranges) in asks {
            let request = NodeRequest::Prove(topic, ranges, nonce);
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::Prove(number));
        }
        self.end_if_told(number);
    }

    /// A node has answered with its proofs, or not at all.
    pub(in crate::engine) fn proven_by(
        &mut self,
        number: ChallengeId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        let Some(challenge) = self.replication.possession.challenges.get_mut(number) else {
            debug_assert!(false, "a challenge waits for its answers");
            return;
        };
        let Some(batches) = challenge.batches.remove(&node) else {
            debug_assert!(false, "a node is asked once");
            return;
        };
        if let Ok(Response::Proven(proofs, compacted)) = result {
            // What compaction took away there cannot be proven.
            let known = self.core.topics.get(&challenge.topic);
            let is_compacted = known.is_some_and(|known| known.tombstones_ms().is_some());
            let is_true = |(batch, proof): (&Batch, &Option<Hash>)| match proof {
                Some(proof) => *proof == possession(&node, &challenge.nonce, batch),
                None => is_compacted && compacted.contains(&place_of(batch)),
            };
            let passed = proofs.len() == batches.len() && batches.iter().zip(&proofs).all(is_true);
            if passed {
                challenge.unproven.remove(&node);
            }
            match challenge.why {
                // It may lack it, and say so.
                Why::Audit if !passed => {
                    let (topic, batch) = (challenge.topic, place_of(&batches[0]));
                    self.survey(topic, Then::Audit(node, batch));
                }
                Why::Audit | Why::HandOver(_) => self.note_proof(node, passed),
            }
        }
        self.end_if_told(number);
    }

    /// A node has proven that it holds what it says, or failed to.
    pub(super) fn note_proof(&mut self, node: NodeId, passed: bool) {
        if self.core.members.proved(&node, passed) {
            self.core.report(Report::Unproven(node));
        }
    }

    fn end_if_told(&mut self, number: ChallengeId) {
        let challenges = &mut self.replication.possession.challenges;
        if challenges.get(number).is_some_and(|challenge| challenge.batches.is_empty())
            && let Some(challenge) = challenges.remove(number)
        {
            match challenge.why {
                Why::Audit => {}
                Why::HandOver(proof) => {
                    self.handover_proven(challenge.topic, proof, &challenge.unproven);
                }
            }
        }
    }

    /// Another node wants to be shown that this one holds batches.
    pub(in crate::engine) fn prove(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        ranges: Vec<LogRange>,
        nonce: [u8; 32],
    ) {
        let purpose = ReadPurpose::Prove(question, ranges.clone(), nonce);
        self.core.read_store(topic, ranges, PAGE_BYTES_MAX, purpose);
    }

    /// The store has read them.
    pub(in crate::engine) fn prove_read(
        &mut self,
        question: QuestionId,
        ranges: &[LogRange],
        nonce: &[u8; 32],
        page: Option<Page>,
    ) {
        let Some(page) = page else {
            return self.core.refuse(question, Refusal::Unreachable);
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
        self.core.answer(question, Response::Proven(proofs, compacted));
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
