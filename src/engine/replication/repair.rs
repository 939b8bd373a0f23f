//! Repair: fetching what this node should hold and does not (anti-entropy).
//!
//! Every few seconds two nodes compare one digest over all topics that both should hold. If it
//! differs, they compare the digests topic by topic; if those differ, the frontiers. Then the
//! missing batches are fetched in pages. What another node holds is known only from what it says of
//! itself, never from what it was sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    engine::{
        Engine,
        holdings::{
            log::{Added, HeldSpan},
            proofs::Forks,
        },
        ids::QuestionId,
        inflight::asks::{Pull, Purpose},
        input::Failure,
    },
    limits::{
        ASK_TIMEOUT, FRONTIER_LOGS_MAX, HEADERS_KEPT_RECORDS, PAGE_BYTES_MAX,
        REPAIR_BYTES_PER_SECOND_MAX, REPAIR_FETCHES_MAX, REPAIR_FETCHES_PER_PEER_MAX,
        REPAIR_INTERVAL, TICK, TOPICS_PER_MESSAGE_MAX,
    },
    model::{Compacted, ForkProof, Hash, LogId, NodeId, TopicId},
    wire::{
        Compared, Held, LogRange, NodeRequest, Page, Proofs, Refusal, Request, Response,
        TopicDigest,
    },
};

/// Logs that are remembered because a batch of them was refused. Others are fetched again.
const REFUSED_MAX: usize = 4_096;

/// For how long they are not fetched again.
const REFUSED_FOR: Duration = Duration::from_secs(15);

/// Topics that comparisons with one peer look at in a tick, on average, while each moment brings a
/// reason to compare.
const COMPARED_PER_TICK: usize = 1_000;

#[derive(Debug, Default)]
struct Peer {
    compare_at: Duration,
    /// When the last comparison began.
    compared_at: Duration,
    comparing: bool,
    /// Topics up to this one were compared in this round already; none at its start.
    after: Option<TopicId>,
    /// Topics in which the peer differs, to be looked at one after the other.
    differing: VecDeque<TopicId>,
    under_way: usize,
    /// Whether this round brought something, so that the next one follows at once.
    progress: bool,
}

/// How this node compares with each peer.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    peers: BTreeMap<NodeId, Peer>,
    /// Topics that are being pulled: from one peer at a time.
    pulling: BTreeSet<TopicId>,
    /// Pulls that wait for their turn; at most one for each such topic.
    waiting: VecDeque<(NodeId, Pull)>,
    /// Pages under way.
    fetching: usize,
    /// When what was fetched is paid for, at the rate that is allowed.
    paid_at: Duration,
    /// Logs of which a batch was refused that a node gave, and until when they are not asked for.
    refused: BTreeMap<(NodeId, TopicId, LogId), Duration>,
}

impl State {
    /// Whether one more page may be fetched now. What is due before the next tick counts as due.
    fn may_fetch(&self, now: Duration) -> bool {
        self.fetching < REPAIR_FETCHES_MAX && self.paid_at <= now + TICK
    }

    /// What a node gave of a log is not taken: it is not asked for again at once.
    fn refuse(&mut self, now: Duration, of: (NodeId, TopicId, LogId)) {
        self.refused.retain(|_, until| now < *until);
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert(of, now + REFUSED_FOR);
        }
    }

    /// Counts a page that came.
    fn pay(&mut self, now: Duration, page: &Page) {
        let bytes: usize = page.batches.iter().map(|batch| batch.bytes().len()).sum();
        let nanoseconds = bytes as u64 * 1_000_000_000 / REPAIR_BYTES_PER_SECOND_MAX;
        self.paid_at = self.paid_at.max(now) + Duration::from_nanos(nanoseconds);
    }
}

impl Engine {
    /// What both nodes should hold of the topics after one, in order of the ids.
    fn shared_digests(&mut self, other: NodeId, after: Option<TopicId>) -> Vec<TopicDigest> {
        let mut digests = Vec::new();
        for topic in self.core.topics.iter_mut().filter(|topic| Some(topic.id) > after) {
            let shared = topic.belongs_to(&self.core.members, &self.core.me)
                && topic.belongs_to(&self.core.members, &other);
            if shared {
                digests.push(TopicDigest { topic: topic.id, digest: topic.digest() });
            }
        }
        digests
    }

    pub(in crate::engine) fn tick_repair(&mut self) {
        self.pull_waiting();
        for node in self.core.members.reachable() {
            let peer = self.replication.repair.peers.entry(node).or_default();
            if peer.comparing || peer.compare_at > self.core.now.elapsed || peer.under_way > 0 {
                continue;
            }
            peer.comparing = true;
            peer.compared_at = self.core.now.elapsed;
            peer.progress = false;
            let jitter = self.core.random.u64(..=1_000);
            peer.compare_at =
                self.core.now.elapsed + REPAIR_INTERVAL + Duration::from_millis(jitter);
            let after = peer.after;
            let digests = self.shared_digests(node, after);
            let digest = digest_of(&digests, self.core.topics.statements().digest());
            self.core.ask(node, NodeRequest::Compare(after, digest), ASK_TIMEOUT, Purpose::Compare);
        }
    }

    /// Compares with everybody at the next tick, or a little later where there are many topics.
    /// Each comparison looks at all of them, and anybody may create one more.
    pub(in crate::engine) fn repair_soon(&mut self) {
        let now = self.core.now.elapsed;
        let topics = self.core.topics.statements().len();
        let ticks = u32::try_from(topics / COMPARED_PER_TICK).unwrap_or(u32::MAX);
        let pause = TICK.saturating_mul(ticks).min(REPAIR_INTERVAL);
        for peer in self.replication.repair.peers.values_mut() {
            peer.compare_at = peer.compare_at.min((peer.compared_at + pause).max(now));
        }
    }

    pub(in crate::engine) fn repair_returned(&mut self, node: NodeId) {
        self.replication.repair.peers.entry(node).or_default().compare_at = self.core.now.elapsed;
    }

    pub(in crate::engine) fn compare(
        &mut self,
        question: QuestionId,
        from: NodeId,
        after: Option<TopicId>,
        digest: [u8; 32],
    ) {
        let mut digests = self.shared_digests(from, after);
        let statements = self.core.topics.statements().digest();
        let compared = if digest_of(&digests, statements) == digest {
            Compared::InStep
        } else {
            digests.truncate(TOPICS_PER_MESSAGE_MAX);
            Compared::Differs(digests, statements)
        };
        let wall = Some(self.core.own_wall());
        self.core.answer_flushed(question, Response::Compared(compared, wall));
    }

    pub(in crate::engine) fn compared(&mut self, node: NodeId, result: Result<Response, Failure>) {
        let mut differing = VecDeque::new();
        let mut after = None;
        if let Ok(Response::Compared(Compared::InStep, _)) = result {
            self.catalogue.on_compared(&mut self.core, node, None);
        }
        if let Ok(Response::Compared(Compared::Differs(digests, statements), _)) = result {
            self.catalogue.on_compared(&mut self.core, node, Some(statements));
            if digests.len() >= TOPICS_PER_MESSAGE_MAX {
                // There may be more than one answer tells of.
                after = digests.last().map(|last| last.topic);
            }
            for TopicDigest { topic, digest } in digests {
                if let Some(known) = self.core.topics.get_mut(&topic)
                    && known.belongs_to(&self.core.members, &self.core.me)
                    && known.digest() != digest
                {
                    differing.push_back(topic);
                }
            }
        }
        let peer = self.replication.repair.peers.entry(node).or_default();
        peer.comparing = false;
        peer.after = after;
        if after.is_some() {
            peer.compare_at = self.core.now.elapsed;
        }
        peer.differing = differing;
        self.repair_next(node);
    }

    fn repair_next(&mut self, node: NodeId) {
        loop {
            let peer = self.replication.repair.peers.entry(node).or_default();
            if peer.under_way >= REPAIR_FETCHES_PER_PEER_MAX {
                return;
            }
            let Some(topic) = peer.differing.pop_front() else {
                if peer.under_way == 0 && peer.progress {
                    // What was fetched may have been all, or the other has more by now.
                    peer.compare_at = self.core.now.elapsed;
                }
                return;
            };
            if self.replication.repair.pulling.insert(topic) {
                peer.under_way += 1;
                let purpose = Purpose::RepairFrontier(topic);
                self.core.ask(node, NodeRequest::Frontier(topic, None, None), ASK_TIMEOUT, purpose);
            }
        }
    }

    pub(in crate::engine) fn repair_frontier(
        &mut self,
        node: NodeId,
        topic: TopicId,
        result: Result<Response, Failure>,
    ) {
        let Ok(Response::Held(mut held)) = result else {
            return self.pulled(node, topic);
        };
        if !held.frontier.is_well_formed() {
            return self.pulled(node, topic);
        }
        self.leave_strangers_out(topic, node, &mut held);
        self.learn_forks(topic, held.forks.as_ref());
        self.lows_told(topic, node, &held.frontier.0);
        let ranges = self.ranges_of(node, topic, &held);
        self.pull(node, Pull { topic, ranges });
        self.core.ask(
            node,
            NodeRequest::Positions(topic, None),
            ASK_TIMEOUT,
            Purpose::RepairPositions(topic),
        );
    }

    /// What another node holds of a topic and may be fetched here. Where it holds another chain of
    /// a log, it is found out where they part.
    fn ranges_of(&mut self, node: NodeId, topic: TopicId, held: &Held) -> Vec<LogRange> {
        let mut theirs = Forks::default();
        for bytes in held.forks.iter().flat_map(Proofs::iter) {
            // Of three branches there are several pairs, so what it tells may not be known as such.
            let known =
                self.core.topics.get(&topic).and_then(|known| known.forks.proof(bytes)).cloned();
            if let Some(proof) = known.or_else(|| ForkProof::verify(bytes).ok()) {
                theirs.add(&proof);
            }
        }
        let Some(known) = self.core.topics.get(&topic) else {
            return Vec::new();
        };
        let mut ranges = Vec::new();
        let mut differing = Vec::new();
        for (log, entry) in &held.frontier.0 {
            let mine = known.logs.get(log);
            let sealed = known.forks.sealed_at(*log);
            let agree = known.forks.agree(*log, &theirs);
            if known.forks.root(log).is_some() && !agree {
                // It files what it holds by fewer branches, and will know of all of them soon.
                continue;
            }
            // Chains that do not touch any more may still be compared by what headers are kept.
            let behind = |held: &HeldSpan| {
                held.next <= entry.low && entry.low - held.next < HEADERS_KEPT_RECORDS
            };
            if sealed.is_none() && mine.is_some_and(|log| log.spans.iter().any(behind)) {
                differing.push(*log);
            }
            for span in &entry.spans {
                let other = |held: &HeldSpan| held.next == span.next && held.head != span.head;
                if agree
                    && sealed.is_none_or(|at| span.next <= at)
                    && mine.is_some_and(|log| log.spans.iter().any(other))
                {
                    differing.push(*log);
                }
                let to = sealed.unwrap_or(u64::MAX).min(span.next);
                if span.first < to {
                    ranges.push(LogRange { log: *log, from: span.first, to });
                }
            }
        }
        for log in differing {
            self.search_fork(topic, log, Some(node));
        }
        ranges
    }

    /// Takes over positions of subscriptions, page by page.
    pub(in crate::engine) fn repair_positions(
        &mut self,
        node: NodeId,
        topic: TopicId,
        result: Result<Response, Failure>,
    ) {
        // It is asked again with the next comparison.
        let Ok(Response::Positions(positions, more)) = result else {
            return;
        };
        self.take_over_positions(&node, topic, &positions);
        if more && let Some((last, _)) = positions.into_iter().next_back() {
            let request = Request::Node(NodeRequest::Positions(topic, Some(last)));
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::RepairPositions(topic));
        }
    }

    pub(in crate::engine) fn repair_forget(&mut self, node: &NodeId) {
        self.replication.repair.peers.remove(node);
    }

    /// Fetches the first page of what of these ranges is missing here.
    fn pull(&mut self, node: NodeId, pull: Pull) {
        let Some(known) = self.core.topics.get(&pull.topic) else {
            return self.pulled(node, pull.topic);
        };
        let missing = |range: LogRange| {
            let log = known.logs.get(&range.log);
            let gaps = log.map_or_else(
                || vec![(range.from, range.to)],
                |log| log.entry().missing(range.from, range.to),
            );
            gaps.into_iter().map(move |(from, to)| LogRange { log: range.log, from, to })
        };
        let (refused, now) = (&self.replication.repair.refused, self.core.now.elapsed);
        let is_wanted = |range: &LogRange| {
            refused.get(&(node, pull.topic, range.log)).is_none_or(|until| *until <= now)
        };
        let ranges = pull.ranges.iter().filter(|range| is_wanted(range));
        let mut ranges: Vec<_> = ranges.copied().flat_map(missing).collect();
        ranges.truncate(FRONTIER_LOGS_MAX);
        if ranges.is_empty() {
            return self.pulled(node, pull.topic);
        }
        if !self.replication.repair.may_fetch(self.core.now.elapsed) {
            self.replication.repair.waiting.push_back((node, pull));
            return;
        }
        self.replication.repair.fetching += 1;
        let bytes_max = u32::try_from(PAGE_BYTES_MAX).expect("a page is below 4 GiB");
        let request = Request::Node(NodeRequest::Fetch(pull.topic, ranges, bytes_max));
        self.core.ask(node, request, ASK_TIMEOUT, Purpose::RepairFetch(pull));
    }

    /// Pulls what waited for its turn.
    fn pull_waiting(&mut self) {
        for _ in 0..self.replication.repair.waiting.len() {
            if !self.replication.repair.may_fetch(self.core.now.elapsed) {
                return;
            }
            if let Some((node, pull)) = self.replication.repair.waiting.pop_front() {
                self.pull(node, pull);
            }
        }
    }

    pub(in crate::engine) fn repair_fetched(
        &mut self,
        node: NodeId,
        pull: Pull,
        result: Result<Response, Failure>,
    ) {
        self.replication.repair.fetching = self.replication.repair.fetching.saturating_sub(1);
        let page = match result {
            Ok(Response::Page(page)) if page.is_of(pull.topic) => page,
            Ok(_) | Err(_) => {
                self.pulled(node, pull.topic);
                return self.pull_waiting();
            }
        };
        self.replication.repair.pay(self.core.now.elapsed, &page);
        let mut progress = false;
        let believed = self.believes_parts(&node);
        let parts = Compacted::by_end(if believed { &page.compacted } else { &[] });
        for batch in &page.batches {
            let added = self.store(batch, Some(node));
            let part = parts.get(&(batch.log(), batch.header().first)).copied();
            let part = part.filter(|part| part.precedes(batch));
            if added.is_ok()
                && let Some(part) = part
            {
                // The batch is there to say where the part ends, and is mostly held already.
                progress |= self.fill_compacted(pull.topic, part) || added == Ok(Added::New);
                continue;
            }
            match added {
                Ok(Added::New) => progress = true,
                // Only what is missing was asked for: it reaches into what is held, as part of
                // another chain, or has come by another way meanwhile.
                Ok(Added::Taken) => self.search_fork(pull.topic, batch.log(), Some(node)),
                Err(Refusal::OverBudget { .. }) => {
                    let of = (node, pull.topic, batch.log());
                    self.replication.repair.refuse(self.core.now.elapsed, of);
                }
                Ok(Added::Held) | Err(_) => {}
            }
        }
        if progress {
            self.replication.repair.peers.entry(node).or_default().progress = true;
        }
        if progress && !page.finished {
            self.pull(node, pull);
        } else {
            self.pulled(node, pull.topic);
        }
        self.pull_waiting();
    }

    /// One topic is done with, for this round.
    fn pulled(&mut self, node: NodeId, topic: TopicId) {
        self.replication.repair.pulling.remove(&topic);
        let peer = self.replication.repair.peers.entry(node).or_default();
        peer.under_way = peer.under_way.saturating_sub(1);
        self.repair_next(node);
    }
}

/// One digest over several topics', and that of all statements.
fn digest_of(digests: &[TopicDigest], statements: Hash) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&statements.0);
    for TopicDigest { topic, digest } in digests {
        hasher.update(topic.as_bytes()).update(digest);
    }
    hasher.finalize().into()
}
