//! Verification: comparing what the disks of a topic's replicas really hold.
//!
//! Frontiers say what a node believes that it holds. Here every replica reads a part of a log from
//! its disk, checks every byte, and reports the hash of each batch. Damage counts as if a read had
//! found it. One request compares one part of one log, so that a client sees progress and nothing
//! is held for long.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{
        Engine,
        ids::{ComparisonId, QuestionId, Ticket},
        inflight::{asks::Purpose, found::Found},
        input::Failure,
        numbered::Numbered,
        output::Output,
        survey::Then,
    },
    limits::{ASK_TIMEOUT, PAGE_BYTES_MAX, QUESTIONS_MAX},
    model::{Cursor, Hash, NodeId, Position, TopicId},
    wire::{
        Checked, CheckedBatch, LogRange, NodeRequest, Refusal, Request, Response, Role, Verified,
        VerifiedReplica,
    },
};

/// A part of a log that is being compared.
#[derive(Debug)]
struct Comparison {
    question: QuestionId,
    after: Cursor,
    end: Cursor,
    range: LogRange,
    /// Who is asked, and as what.
    replicas: BTreeMap<NodeId, Role>,
    waiting: BTreeSet<NodeId>,
    checked: BTreeMap<NodeId, Checked>,
}

/// The comparisons under way, and what is read from the disk here.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    comparisons: Numbered<ComparisonId, Comparison>,
    own: BTreeMap<Ticket, ComparisonId>,
    /// Reads for other nodes.
    others: BTreeMap<Ticket, QuestionId>,
}

impl State {
    /// Nobody waits for the answer any more.
    pub(in crate::engine) fn abandon(&mut self, question: QuestionId) {
        self.comparisons.retain(|comparison| comparison.question != question);
    }
}

impl Engine {
    pub(in crate::engine) fn verify(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        after: Cursor,
    ) {
        if after.topic != topic || !after.is_well_formed() {
            return self.core.refuse(question, Refusal::ForeignCursor);
        }
        if self.replication.verify.comparisons.len() >= QUESTIONS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        self.survey(topic, Then::Verify(question, after));
    }

    /// The replicas have said what they hold: the next part is read by all of them.
    pub(in crate::engine) fn verify_found(
        &mut self,
        question: QuestionId,
        after: Cursor,
        found: &Found,
    ) {
        let end = found.end();
        // A node that was there for a moment is not missed, though it was a home where there were too few.
        let counts =
            |node: &&NodeId| found.held.contains_key(node) || !self.core.members.is_newcomer(node);
        let homes = found.placement.home.iter().filter(counts);
        let mut replicas: BTreeMap<_, _> = homes.map(|node| (*node, Role::Home)).collect();
        for (node, held) in &found.held {
            if held.frontier.records() > 0 {
                replicas.entry(*node).or_insert(Role::StandIn);
            }
        }
        let next = end.logs.iter().find(|(log, position)| after.next(log) < position.next);
        let Some((log, position)) = next else {
            let replicas = replicas.into_iter().map(|(node, role)| VerifiedReplica {
                answered: found.held.contains_key(&node),
                ..unheard(node, role)
            });
            let verified = Verified {
                next: after,
                finished: true,
                records: 0,
                lost: 0,
                replicas: replicas.collect(),
            };
            return self.core.answer(question, Response::Verified(verified));
        };
        let entries = found.held.values().filter_map(|held| held.frontier.0.get(log));
        let low = entries.map(|entry| entry.low).min().unwrap_or(0);
        let range = LogRange { log: *log, from: after.next(log).max(low), to: position.next };
        let asked: BTreeSet<_> = replicas
            .keys()
            .copied()
            .filter(|node| *node == self.core.me || self.core.members.is_connected(node))
            .collect();
        let number = self.replication.verify.comparisons.insert(Comparison {
            question,
            after,
            end,
            range,
            replicas,
            waiting: asked.clone(),
            checked: BTreeMap::new(),
        });
        let bytes_max = PAGE_BYTES_MAX;
        for node in asked {
            if node == self.core.me {
                let ticket = self.check_store(found.topic, range, bytes_max);
                self.replication.verify.own.insert(ticket, number);
            } else {
                let bytes_max = u32::try_from(bytes_max).expect("a page is below 4 GiB");
                let request = Request::Node(NodeRequest::Check(found.topic, range, bytes_max));
                self.core.ask(node, request, ASK_TIMEOUT, Purpose::Check(number));
            }
        }
        self.compare_if_told(number);
    }

    fn check_store(&mut self, topic: TopicId, range: LogRange, bytes_max: usize) -> Ticket {
        let (ticket, after) = self.core.next_read();
        self.core.output(Output::Check { ticket, topic, range, bytes_max, after });
        ticket
    }

    /// Another node wants to know what the disk of this one holds.
    pub(in crate::engine) fn check_for(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        range: LogRange,
        bytes_max: u32,
    ) {
        if self.replication.verify.others.len() >= QUESTIONS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(PAGE_BYTES_MAX);
        let ticket = self.check_store(topic, range, bytes_max);
        self.replication.verify.others.insert(ticket, question);
    }

    pub(in crate::engine) fn check_done(&mut self, ticket: Ticket, checked: Option<Checked>) {
        if let Some(question) = self.replication.verify.others.remove(&ticket) {
            match checked {
                Some(checked) => self.core.answer(question, Response::Checked(checked)),
                None => self.core.refuse(question, Refusal::Unreachable),
            }
        } else if let Some(number) = self.replication.verify.own.remove(&ticket) {
            self.take_checked(number, self.core.me, checked);
        }
    }

    pub(in crate::engine) fn check_told(
        &mut self,
        number: ComparisonId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        let checked = match result {
            Ok(Response::Checked(checked)) => Some(checked),
            Ok(_) | Err(_) => None,
        };
        self.take_checked(number, node, checked);
    }

    fn take_checked(&mut self, number: ComparisonId, node: NodeId, checked: Option<Checked>) {
        // Abandoned meanwhile.
        let Some(comparison) = self.replication.verify.comparisons.get_mut(number) else {
            return;
        };
        comparison.waiting.remove(&node);
        if let Some(checked) = checked.filter(|checked| is_of(checked, &comparison.range)) {
            comparison.checked.insert(node, checked);
        }
        self.compare_if_told(number);
    }

    fn compare_if_told(&mut self, number: ComparisonId) {
        let comparisons = &mut self.replication.verify.comparisons;
        if comparisons.get(number).is_some_and(|comparison| comparison.waiting.is_empty())
            && let Some(comparison) = comparisons.remove(number)
        {
            let question = comparison.question;
            match comparison.compare() {
                Some(verified) => self.core.answer(question, Response::Verified(verified)),
                None => self.core.refuse(question, Refusal::Unreachable),
            }
        }
    }
}

/// Whether an answer is one to the question: in order, and within the range.
fn is_of(checked: &Checked, range: &LogRange) -> bool {
    checked.batches.is_sorted_by(|one, two| one.first < one.next && one.next <= two.first)
        && checked.batches.iter().all(|batch| batch.first < batch.next)
        && checked.damaged.iter().all(|part| part.log == range.log && part.from < part.to)
        && checked.compacted.iter().all(|part| part.log == range.log && part.first < part.next)
        && checked.to > range.from
}

fn unheard(node: NodeId, role: Role) -> VerifiedReplica {
    VerifiedReplica {
        node,
        role,
        answered: false,
        records: 0,
        lacking: 0,
        damaged: 0,
        differing: 0,
    }
}

impl Comparison {
    /// Compares what was told; none when nobody told anything.
    fn compare(self) -> Option<Verified> {
        let LogRange { log, from, to } = self.range;
        // As far as all of those have come whose bytes were not enough for more.
        let to = self.checked.values().map(|checked| checked.to).min()?.min(to);
        let within = |batch: &&CheckedBatch| batch.next > from && batch.next <= to;
        let mut known: BTreeMap<(u64, u64), BTreeSet<Hash>> = BTreeMap::new();
        for batch in self.checked.values().flat_map(|checked| &checked.batches).filter(within) {
            known.entry((batch.first, batch.next)).or_default().insert(batch.hash);
        }
        let count = |(first, next): (u64, u64)| next.min(to).saturating_sub(first.max(from));
        let records = known.keys().copied().map(count).sum();
        let replica = |(node, role): (&NodeId, &Role)| {
            let Some(checked) = self.checked.get(node) else {
                return unheard(*node, *role);
            };
            let mut replica = VerifiedReplica { answered: true, ..unheard(*node, *role) };
            let held: BTreeMap<_, _> = checked
                .batches
                .iter()
                .filter(within)
                .map(|batch| ((batch.first, batch.next), batch.hash))
                .collect();
            let damaged: BTreeSet<_> =
                checked.damaged.iter().map(|part| (part.from, part.to)).collect();
            let damaged_here = damaged.iter().filter(|(first, next)| *next > from && *first < to);
            replica.damaged = damaged_here.copied().map(count).sum();
            for (place, hashes) in &known {
                match held.get(place) {
                    Some(_) if hashes.len() > 1 => {
                        replica.records += count(*place);
                        replica.differing += count(*place);
                    }
                    Some(_) => replica.records += count(*place),
                    None if damaged.contains(place) || is_compacted(checked, *place) => {}
                    None => replica.lacking += count(*place),
                }
            }
            // A node that holds a part for others need not hold the rest.
            if *role == Role::StandIn {
                replica.lacking = 0;
            }
            replica
        };
        let replicas = self.replicas.iter().map(replica).collect();
        let mut next = self.after;
        next.advance_to(log, Position { next: to, head: end_of(&self.checked, to) });
        let finished = next.reaches(&self.end);
        let lost = gaps(&self.checked, from, to);
        Some(Verified { next, finished, records, lost, replicas })
    }
}

/// The batch that ends at a record, where somebody has it.
fn end_of(checked: &BTreeMap<NodeId, Checked>, to: u64) -> Option<Hash> {
    let batches = checked.values().flat_map(|checked| &checked.batches);
    batches.into_iter().find(|batch| batch.next == to).map(|batch| batch.hash)
}

/// Whether compaction took a batch away.
fn is_compacted(checked: &Checked, (first, next): (u64, u64)) -> bool {
    checked.compacted.iter().any(|part| part.first <= first && next <= part.next)
}

/// Records from one number up to another that nobody has, and that compaction did not take away.
fn gaps(checked: &BTreeMap<NodeId, Checked>, from: u64, to: u64) -> u64 {
    let batches = checked.values().flat_map(|checked| &checked.batches);
    let batches = batches.map(|batch| (batch.first, batch.next));
    let parts = checked.values().flat_map(|checked| &checked.compacted);
    let known: BTreeSet<_> = batches.chain(parts.map(|part| (part.first, part.next))).collect();
    let mut at = from;
    let mut missing = 0;
    for (first, next) in known {
        missing += first.min(to).saturating_sub(at);
        at = at.max(next);
    }
    missing + to.saturating_sub(at)
}
