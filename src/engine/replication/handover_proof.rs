//! Proof that the home replicas hold what this node is about to give up.
//!
//! A home replica reports a range of numbers and the hash of its last batch. If that range ends
//! elsewhere than the own one, the numbers alone do not prove that it is the same chain. The log
//! may have forked, and then this copy may be the last one of its branch. So one batch of each is
//! compared: the own batch where the home replica's range ends, or the home replica's batch where
//! the own range ends.
//!
//! All of that can be copied from another node. So each home replica then proves possession of
//! batches that are drawn from what is to go (`possession.rs`). And a majority of them must be
//! acquainted with this node (`members/probation.rs`). A leaving node does without the latter: its
//! operator wants it to go. So does a node without room on its disk.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::possession::{Challenge, Why, draw};
use crate::{
    engine::{
        Engine,
        inflight::{asks::Purpose, found::Found, stored::ReadPurpose},
        input::Failure,
    },
    limits::{FRONTIER_LOGS_MAX, PAGE_BYTES_MAX, PROVE_BATCHES_MAX, SURVEY_TIMEOUT},
    model::{Compacted, Entry, Frontier, Hash, LogId, NodeId, Span, TopicId},
    wire::{LogRange, NodeRequest, Page, Request, Response},
};

const _: () =
    assert!(PROMISE.as_millis() > 2 * SURVEY_TIMEOUT.as_millis(), "a survey, and the proof");

/// How often it is looked whether home replicas are acquainted by now, where only that is missing.
const PROBATION_LOOK: Duration = Duration::from_mins(1);

/// A batch: where it starts and ends, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    first: u64,
    next: u64,
    hash: Hash,
}

impl Seen {
    fn is(&self, next: u64, hash: Hash) -> bool {
        (self.next, self.hash) == (next, hash)
    }

    /// Whether it is where a batch of this hash would end, and is not that one.
    fn excludes(&self, next: u64, hash: Hash) -> bool {
        self.first < next && next <= self.next && !self.is(next, hash)
    }
}

/// A proof that is being looked for.
#[derive(Debug)]
pub(in crate::engine) struct Proving {
    number: u64,
    mine: Frontier,
    homes: BTreeMap<NodeId, Option<Frontier>>,
    /// Own batches.
    own: BTreeMap<LogId, Vec<Seen>>,
    /// What compaction took away, here and at homes.
    compacted: Vec<(Option<NodeId>, Compacted)>,
    /// Batches that homes have shown to hold.
    shown: BTreeMap<(NodeId, LogId), Vec<Seen>>,
    waiting: usize,
    begun: Duration,
}

/// Copies that are removed once the home replicas have proven to hold them.
#[derive(Debug)]
pub(in crate::engine) struct Removing {
    number: u64,
    begun: Duration,
    homes: Vec<NodeId>,
    copies: Vec<Copy>,
    /// The home replicas that have not proven it yet.
    unproven: BTreeSet<NodeId>,
}

/// A copy of the start of what is held of a log, and where it ends.
#[derive(Debug)]
struct Copy {
    log: LogId,
    first: u64,
    to: u64,
    head: Hash,
}

impl Proving {
    /// What the home replicas must show, and what must be read here.
    fn questions(&self) -> (BTreeMap<NodeId, Vec<LogRange>>, Vec<LogRange>) {
        let (mut asks, mut reads) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        let ending_at = |log: &LogId, next: u64| LogRange { log: *log, from: next - 1, to: next };
        for (log, entry) in &self.mine.0 {
            let Some(first) = entry.spans.first() else {
                continue;
            };
            let spans: Option<Vec<_>> = self
                .homes
                .iter()
                .filter(|(_, held)| !held.as_ref().is_some_and(|held| is_cut(held, log, first)))
                .map(|(home, held)| Some((*home, covering(held.as_ref()?, log, first)?)))
                .collect();
            // If one lacks it altogether, the others need prove nothing.
            for (home, span) in spans.into_iter().flatten() {
                if span.next > first.next {
                    asks.entry(home).or_default().push(ending_at(log, first.next));
                } else if span.next < first.next {
                    reads.push(ending_at(log, span.next));
                }
            }
        }
        reads.dedup();
        reads.truncate(FRONTIER_LOGS_MAX);
        for ranges in asks.values_mut() {
            ranges.truncate(FRONTIER_LOGS_MAX);
        }
        (asks, reads)
    }

    /// Up to where every home holds the chain that this node holds of a log's first span, and the
    /// batch that ends there. A home replica that did not answer proves nothing.
    fn proven_to(&self, log: &LogId, mine: &Entry) -> Option<(u64, Hash)> {
        let first = mine.spans.first()?;
        let mut proven = (first.next, first.head);
        for (home, held) in &self.homes {
            let held = held.as_ref()?;
            if is_cut(held, log, first) {
                continue;
            }
            let span = covering(held, log, first)?;
            let end = if span.next < first.next {
                self.is_own(log, span.next, span.head).then_some((span.next, span.head))?
            } else {
                let same = span.next == first.next && span.head == first.head
                    || self.is_shown(home, log, first.next, first.head);
                same.then_some((first.next, first.head))?
            };
            proven = proven.min(end);
        }
        (!self.homes.is_empty()).then_some(proven)
    }
}

impl Proving {
    fn is_own(&self, log: &LogId, next: u64, hash: Hash) -> bool {
        self.own.get(log).is_some_and(|seen| seen.iter().any(|seen| seen.is(next, hash)))
            || self.is_compacted(None, log, next, hash)
    }

    /// Whether a batch that ends at a record was taken away by compaction: it is named, not shown.
    fn is_compacted(&self, at: Option<NodeId>, log: &LogId, next: u64, hash: Hash) -> bool {
        let mut parts = self.compacted.iter().filter(|(node, _)| *node == at);
        parts.any(|(_, part)| part.covers(log, next - 1) && part.names(hash))
    }

    fn is_shown(&self, home: &NodeId, log: &LogId, next: u64, hash: Hash) -> bool {
        let shown = self.shown.get(&(*home, *log));
        shown.is_some_and(|seen| seen.iter().any(|seen| seen.is(next, hash)))
            || self.is_compacted(Some(*home), log, next, hash)
    }

    /// The homes that hold another chain of a log where this node holds this one.
    fn differing(&self, log: &LogId, mine: &Entry) -> Vec<NodeId> {
        let Some(first) = mine.spans.first() else {
            return Vec::new();
        };
        let differs = |(home, held): (&NodeId, &Option<Frontier>)| {
            let span = covering(held.as_ref()?, log, first)?;
            let excluded = |seen: Option<&Vec<Seen>>, next: u64, hash: Hash| {
                seen.into_iter().flatten().any(|seen| seen.excludes(next, hash))
            };
            let differs = match span.next.cmp(&first.next) {
                Ordering::Equal => span.head != first.head,
                Ordering::Greater => {
                    excluded(self.shown.get(&(*home, *log)), first.next, first.head)
                }
                Ordering::Less => excluded(self.own.get(log), span.next, span.head),
            };
            differs.then_some(*home)
        };
        self.homes.iter().filter_map(differs).collect()
    }
}

/// The part of a log that holds the start of this span, or where that was cut off what follows.
fn covering(held: &Frontier, log: &LogId, first: &Span) -> Option<Span> {
    let entry = held.0.get(log)?;
    let start = first.first.max(entry.low);
    entry.spans.iter().find(|span| span.first <= start && start < span.next).copied()
}

/// Whether all of this span was cut off a log.
fn is_cut(held: &Frontier, log: &LogId, first: &Span) -> bool {
    held.0.get(log).is_some_and(|entry| first.next <= entry.low)
}

/// For how long a node gives nothing up that has said that it keeps all: as long as another one
/// takes that has heard it to give its own copy up, and a moment more.
const PROMISE: Duration = Duration::from_secs(4);

impl Engine {
    /// This node says that it keeps all of a topic. It may find at the next moment that it is no
    /// home any more; then it must not rely on the node that it said so to, which relies on this
    /// one.
    pub(in crate::engine) fn promise_to_keep(&mut self, topic: TopicId) {
        if let Some(known) = self.core.topics.get_mut(&topic) {
            known.keeps_until = self.core.now.elapsed + PROMISE;
        }
    }

    /// Removes the copies that every home holds, once that is proven.
    pub(in crate::engine) fn prove_handed_over(&mut self, found: &Found, mine: Frontier) {
        let topic = found.topic;
        // One that takes another node for the home would give its copy up as well.
        let keeps = |home: &NodeId| found.held.get(home).filter(|held| held.keeps);
        let held = |home: &NodeId| keeps(home).map(|held| held.frontier.clone());
        let homes = found.placement.home.iter().map(|home| (*home, held(home))).collect();
        self.replication.handover.proofs += 1;
        let number = self.replication.handover.proofs;
        let (own, shown, compacted) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let begun = self.core.now.elapsed;
        let mut proving = Proving { number, mine, homes, own, compacted, shown, waiting: 0, begun };
        let (asks, reads) = proving.questions();
        proving.waiting = asks.len() + usize::from(!reads.is_empty());
        if proving.waiting == 0 {
            return self.remove_proven(topic, &proving);
        }
        self.replication.handover.topics.entry(topic).or_default().proving = Some(proving);
        if !reads.is_empty() {
            let purpose = ReadPurpose::HandOverProof(topic, number);
            self.core.read_store(topic, reads, PAGE_BYTES_MAX, purpose);
        }
        let bytes_max = u32::try_from(PAGE_BYTES_MAX).expect("a page is below 4 GiB");
        for (home, ranges) in asks {
            let request = Request::Node(NodeRequest::Fetch(topic, ranges, bytes_max));
            self.core.ask(home, request, SURVEY_TIMEOUT, Purpose::HandOverProof(topic, number));
        }
    }

    /// A home has shown what it holds, or the store what is held here.
    pub(in crate::engine) fn handed_over_shown(
        &mut self,
        topic: TopicId,
        number: u64,
        node: Option<NodeId>,
        result: Result<Response, Failure>,
    ) {
        // The topic belongs here by now.
        let Some(handover) = self.replication.handover.topics.get_mut(&topic) else {
            return;
        };
        // Another proof has begun meanwhile.
        let Some(proving) = handover.proving.as_mut().filter(|it| it.number == number) else {
            return;
        };
        let page = match result {
            Ok(Response::Page(page)) => page,
            Ok(_) | Err(_) => Page::default(),
        };
        for batch in page.batches.iter().filter(|batch| batch.header().topic == topic) {
            let (first, next) = (batch.header().first, batch.header().next());
            let (log, seen) = (batch.log(), Seen { first, next, hash: batch.hash() });
            match node {
                Some(node) => proving.shown.entry((node, log)).or_default().push(seen),
                None => proving.own.entry(log).or_default().push(seen),
            }
        }
        proving.compacted.extend(page.compacted.iter().map(|part| (node, part.clone())));
        proving.waiting -= 1;
        // What was true then need not be now: this node may have been stopped meanwhile.
        let fresh = self.core.now.elapsed.saturating_sub(proving.begun) <= SURVEY_TIMEOUT;
        if proving.waiting == 0
            && let Some(proving) = handover.proving.take()
            && fresh
        {
            self.remove_proven(topic, &proving);
        }
    }

    fn remove_proven(&mut self, topic: TopicId, proving: &Proving) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        // It may have become a home meanwhile, or others may have.
        if self.core.now.elapsed < known.keeps_until
            || known.belongs_to(&self.core.members, &self.core.me)
            || !known
                .placement(&self.core.members)
                .home
                .iter()
                .all(|home| proving.homes.contains_key(home))
        {
            return;
        }
        let mut copies = Vec::new();
        for (log, entry) in &proving.mine.0 {
            for home in proving.differing(log, entry) {
                self.search_fork(topic, *log, Some(home));
            }
            let first = entry.spans.first().map(|span| span.first);
            if let Some(first) = first
                && let Some((to, head)) = proving.proven_to(log, entry)
            {
                copies.push(Copy { log: *log, first, to, head });
            }
        }
        let homes: Vec<NodeId> = proving.homes.keys().copied().collect();
        if copies.is_empty() {
            return;
        }
        if !self.are_enough_past_probation(topic, &homes) {
            let members = self.core.members.version();
            let handover = self.replication.handover.topics.entry(topic).or_default();
            handover.on_probation = Some(members);
            handover.next = self.core.now.elapsed + PROBATION_LOOK;
            return;
        }
        self.have_proven(topic, proving, homes, copies);
    }

    /// Whether enough of these home replicas are past their probation: then a copy can go once all
    /// have proven that they hold it.
    pub(in crate::engine) fn are_enough_past_probation(
        &mut self,
        topic: TopicId,
        homes: &[NodeId],
    ) -> bool {
        if self.membership.is_leaving() || !self.core.room {
            return true;
        }
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return false;
        };
        let quorum = known.quorum(&self.core.members);
        let now = self.core.now.elapsed;
        let is_past = |home: &&NodeId| self.core.members.is_past_probation(now, home);
        homes.iter().filter(is_past).count() >= quorum
    }

    /// Has the home replicas prove that they hold what this node wants to remove.
    fn have_proven(
        &mut self,
        topic: TopicId,
        proving: &Proving,
        homes: Vec<NodeId>,
        copies: Vec<Copy>,
    ) {
        let nonce = self.core.nonce();
        let why = Why::HandOver(proving.number);
        let mut challenges = Vec::new();
        for (home, held) in &proving.homes {
            let held_there = |copy: &Copy| {
                let low = held.as_ref()?.0.get(&copy.log)?.low;
                let from = copy.first.max(low);
                (from < copy.to).then_some(LogRange { log: copy.log, from, to: copy.to })
            };
            let parts: Vec<_> = copies.iter().filter_map(held_there).collect();
            let mut drawn = draw(&nonce, &parts, PROVE_BATCHES_MAX);
            // What compaction took away there is named, and cannot be shown.
            let is_compacted = |at: &LogRange| {
                let mut parts = proving.compacted.iter().filter(|(node, _)| *node == Some(*home));
                parts.any(|(_, part)| part.covers(&at.log, at.from))
            };
            drawn.retain(|at| !is_compacted(at));
            if !drawn.is_empty() {
                challenges.push(Challenge { topic, node: *home, nonce, why, drawn });
            }
        }
        let unproven = challenges.iter().map(|challenge| challenge.node).collect();
        let (number, begun) = (proving.number, self.core.now.elapsed);
        let removing = Removing { number, begun, homes, copies, unproven };
        if challenges.is_empty() {
            return self.remove_handed_over(topic, removing);
        }
        let handover = self.replication.handover.topics.entry(topic).or_default();
        handover.removing = Some(removing);
        for challenge in challenges {
            self.challenge(challenge);
        }
    }

    /// A home replica has proven that it holds what this node wants to remove, or has not.
    pub(super) fn handover_proven(
        &mut self,
        topic: TopicId,
        number: u64,
        home: NodeId,
        is_proven: bool,
    ) {
        // The topic belongs here by now, or another proof has begun.
        let handover = self.replication.handover.topics.get_mut(&topic);
        let Some(handover) = handover else { return };
        let Some(removing) = handover.removing.as_mut().filter(|it| it.number == number) else {
            return;
        };
        if !is_proven {
            handover.removing = None;
            return;
        }
        removing.unproven.remove(&home);
        if let Some(removing) = handover.removing.take_if(|it| it.unproven.is_empty()) {
            self.remove_handed_over(topic, removing);
        }
    }

    /// Removes what all home replicas have proven that they hold.
    fn remove_handed_over(&mut self, topic: TopicId, removing: Removing) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        // What was true then need not be now: this node may have been stopped meanwhile.
        let fresh = self.core.now.elapsed.saturating_sub(removing.begun) <= SURVEY_TIMEOUT;
        let homes = &known.placement(&self.core.members).home;
        if !fresh
            || !removing.unproven.is_empty()
            || !homes.iter().all(|home| removing.homes.contains(home))
            || self.core.now.elapsed < known.keeps_until
            || known.belongs_to(&self.core.members, &self.core.me)
        {
            return;
        }
        for Copy { log, first, to, head } in removing.copies {
            let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
            let first_held = held.and_then(|log| log.spans.first()).map(|span| span.first);
            if first_held == Some(first) {
                self.remove_copies(topic, log, to, head);
            }
        }
    }
}
