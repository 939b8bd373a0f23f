//! Replication: batches to the replicas, and batches from other writers.
//!
//! Each peer has one queue and one request under way; what is written meanwhile goes with the next.
//! A peer with a full queue gets the rest when there is room, or by repair.

pub(super) mod audit;
pub(super) mod bare;
pub(super) mod closing;
pub(super) mod damage;
pub(super) mod handover;
pub(super) mod handover_proof;
pub(super) mod import;
pub(super) mod pace;
pub(super) mod possession;
pub(super) mod prover;
pub(super) mod repair;
mod shares;
mod store;
pub(super) mod verify;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    Engine,
    forks::Check,
    holdings::log::Added,
    ids::QuestionId,
    inflight::{
        asks::{Purpose, Sent},
        stored::Reply,
    },
    input::Failure,
};
use crate::{
    engine::wing::Wing,
    limits::{
        DESCRIPTORS_PER_MESSAGE_MAX, PAGE_BYTES_MAX, PEER_QUEUE_BYTES_MAX, REPLICATE_TIMEOUT,
    },
    model::{Batch, Compacted, Hash, NodeId, SignedDescriptor, TopicId},
    wire::{NodeRequest, Outcome, Page, Refusal, Replicate, Request, Response},
};

/// Pause before batches go again to a node that did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// The same where it answered that it has no room, or not for this batch.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Batches of this many bytes are not sent to a replica by gossip as well, even if it gets them
/// only after a flush: encrypting and verifying them once more takes as long.
const TWICE_BYTES_MAX: usize = 16 * 1024;

/// A request that is under way for longer than this waits for more than an ordinary flush.
const FLUSH_TIME: Duration = Duration::from_millis(50);

/// A replica that takes longer than this to store something is no longer relied upon alone.
const SLOW_AFTER: Duration = Duration::from_millis(500);

/// Topics of which a peer is remembered to know the terms; beyond it they are sent again.
const KNOWN_TOPICS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Peer {
    queue: VecDeque<(TopicId, Batch)>,
    queued: BTreeSet<Hash>,
    bytes: usize,
    /// Whether something found the queue full.
    missed: bool,
    /// Since when a request is under way.
    under_way: Option<Duration>,
    /// Topics whose terms the peer has shown to know.
    knows: BTreeSet<TopicId>,
    retry_at: Option<Duration>,
}

/// What goes to each peer.
#[derive(Debug, Default)]
pub(super) struct State {
    peers: BTreeMap<NodeId, Peer>,
    pub(super) import: import::State,
    pub(super) repair: repair::State,
    pub(super) handover: handover::State,
    pub(super) damage: damage::State,
    pub(super) possession: possession::State,
    pub(super) prover: prover::State,
    pub(super) audit: audit::State,
    pub(super) bare: bare::State,
    pub(super) closing: closing::State,
    pub(super) verify: verify::State,
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_replication();
        engine.tick_repair();
        engine.tick_handover();
        engine.tick_audits();
        engine.tick_bare();
        engine.tick_closing();
    }

    fn on_flushed(engine: &mut Engine) {
        engine.damage_flushed();
        engine.imports_flushed();
    }

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, _: &Refusal) {
        engine.replication.bare.on_topic_deleted(topic);
        engine.replication.closing.on_topic_deleted(topic);
    }

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.replication.verify.abandon(question);
        engine.replication.prover.abandon(question);
    }
}

impl Engine {
    /// Queues a batch for a peer. Whether the peer has it soon, so that it need not be told of it
    /// in another way: it is sent at once, or it is so large that sending it twice would cost more
    /// time than the wait.
    pub(super) fn send_batch(&mut self, node: NodeId, topic: TopicId, batch: &Batch) -> bool {
        if !self.core.members.is_connected(&node) {
            return false;
        }
        let is_able = self.core.members.get(&node).is_some_and(|member| member.able);
        let peer = self.replication.peers.entry(node).or_default();
        if peer.bytes + batch.bytes().len() > PEER_QUEUE_BYTES_MAX {
            // It is sent when there is room, or found missing by repair.
            peer.missed = true;
            return false;
        }
        if !peer.queued.insert(batch.hash()) {
            return false;
        }
        let is_short = |since: Duration| self.core.now.elapsed.saturating_sub(since) < FLUSH_TIME;
        let is_soon = peer.retry_at.is_none()
            && is_able
            && peer
                .under_way
                .is_none_or(|since| batch.bytes().len() >= TWICE_BYTES_MAX && is_short(since));
        peer.bytes += batch.bytes().len();
        peer.queue.push_back((topic, batch.clone()));
        self.send_queued(node);
        is_soon
    }

    fn send_queued(&mut self, node: NodeId) {
        // Nothing was ever sent there, or the node is forgotten.
        let Some(peer) = self.replication.peers.get_mut(&node) else {
            return;
        };
        if peer.under_way.is_some() || peer.queue.is_empty() {
            return;
        }
        let mut replicate = Replicate::default();
        let mut sent = Vec::new();
        let mut described = BTreeSet::new();
        let mut bytes = 0;
        while let Some((_, next)) = peer.queue.front() {
            let is_full = described.len() >= DESCRIPTORS_PER_MESSAGE_MAX;
            if is_full || bytes > 0 && bytes + next.bytes().len() > PAGE_BYTES_MAX {
                break;
            }
            let Some((topic, batch)) = peer.queue.pop_front() else {
                break;
            };
            bytes += batch.bytes().len();
            peer.queued.remove(&batch.hash());
            if !peer.knows.contains(&topic) && described.insert(topic) {
                let known = self.core.topics.get(&topic);
                let descriptor = known.and_then(|known| known.descriptor.as_ref());
                replicate.descriptors.extend(descriptor.cloned());
            }
            sent.push(Sent { topic, log: batch.log(), hash: batch.hash() });
            replicate.batches.push(batch);
        }
        peer.bytes -= bytes;
        peer.under_way = Some(self.core.now.elapsed);
        replicate.forks = self.proofs_for(&replicate.batches);
        let request = Request::Node(NodeRequest::Replicate(replicate));
        self.core.ask(node, request, REPLICATE_TIMEOUT, Purpose::Replicate(sent));
    }

    /// Sends a page at once: what compaction took away goes with the batches behind it.
    pub(super) fn send_page(&mut self, node: NodeId, topic: TopicId, page: Page) {
        let known = self.core.topics.get(&topic).and_then(|known| known.descriptor.as_ref());
        let descriptors = known.cloned().into_iter().collect();
        let sent = |batch: &Batch| Sent { topic, log: batch.log(), hash: batch.hash() };
        let sent = page.batches.iter().map(sent).collect();
        let forks = self.proofs_for(&page.batches);
        let Page { batches, compacted, .. } = page;
        self.replication.peers.entry(node).or_default();
        let request = Request::Node(NodeRequest::Replicate(Replicate {
            descriptors,
            batches,
            forks,
            compacted,
        }));
        self.core.ask(node, request, REPLICATE_TIMEOUT, Purpose::Replicate(sent));
    }

    pub(super) fn replicated(
        &mut self,
        node: NodeId,
        sent: Vec<Sent>,
        result: Result<Response, Failure>,
    ) {
        // The node was forgotten, or came back, meanwhile.
        let Some(peer) = self.replication.peers.get_mut(&node) else {
            return;
        };
        peer.under_way = None;
        let outcomes = match result {
            Ok(Response::Replicated(outcomes)) if outcomes.len() == sent.len() => outcomes,
            Ok(_) | Err(_) => {
                peer.retry_at = Some(self.core.now.elapsed + RETRY_PAUSE);
                return self.core.members.set_able(node, false);
            }
        };
        self.core.members.set_able(
            node,
            !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(Refusal::Full(_)))),
        );
        for (sent, outcome) in sent.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Stored | Outcome::Present | Outcome::Trimmed => {
                    if let Some(peer) = self.replication.peers.get_mut(&node) {
                        if peer.knows.len() >= KNOWN_TOPICS_MAX {
                            peer.knows.clear();
                        }
                        peer.knows.insert(sent.topic);
                    }
                    // A node that has trimmed a batch, or says so, holds no copy of it.
                    if outcome != Outcome::Trimmed {
                        self.receipt(sent.topic, sent.log, sent.hash, node);
                    }
                    self.handed_over(sent.topic);
                }
                Outcome::Refused(refusal) => {
                    if let Refusal::Forked(Some(proof)) = &refusal {
                        self.learn_fork_from(sent.topic, &proof.0);
                    }
                    if let Refusal::Deleted(bytes) = &refusal
                        && let Ok(deletion) = SignedDescriptor::verify(bytes.0.clone())
                    {
                        self.learn(&deletion);
                    }
                    let Some(peer) = self.replication.peers.get_mut(&node) else {
                        continue;
                    };
                    if let Refusal::UnknownTopic { .. } = refusal {
                        peer.knows.remove(&sent.topic);
                    }
                    let long = matches!(refusal, Refusal::Full(_) | Refusal::OverBudget { .. });
                    let pause = if long { FULL_PAUSE } else { RETRY_PAUSE };
                    peer.retry_at = Some(self.core.now.elapsed + pause);
                }
            }
        }
        if let Some(peer) = self.replication.peers.get_mut(&node)
            && peer.queue.is_empty()
            && std::mem::take(&mut peer.missed)
        {
            self.redispatch_to(node);
        }
        self.send_queued(node);
    }

    /// A node is back, perhaps without its disk: what it gave receipts for is asked of it again.
    pub(super) fn replication_returned(&mut self, node: NodeId) {
        self.replication.peers.remove(&node);
        self.forget_receipts(node);
        self.redispatch_to(node);
    }

    /// The terms of a topic are others than the peers were told.
    pub(super) fn replication_terms(&mut self, topic: &TopicId) {
        for peer in self.replication.peers.values_mut() {
            peer.knows.remove(topic);
        }
    }

    pub(super) fn replication_forget(&mut self, node: &NodeId) {
        self.replication.peers.remove(node);
    }

    pub(super) fn tick_replication(&mut self) {
        let now = self.core.now.elapsed;
        let due = |(node, peer): (&NodeId, &mut Peer)| {
            let due = peer.retry_at.is_some_and(|at| at <= now);
            if due {
                peer.retry_at = None;
            }
            due.then_some(*node)
        };
        let due: Vec<_> = self.replication.peers.iter_mut().filter_map(due).collect();
        let slow = |(node, peer): (&NodeId, &Peer)| {
            peer.under_way
                .is_some_and(|since| now.saturating_sub(since) > SLOW_AFTER)
                .then_some(*node)
        };
        let slow: Vec<_> = self.replication.peers.iter().filter_map(slow).collect();
        for node in slow {
            self.core.members.set_able(node, false);
        }
        for node in due {
            self.redispatch_to(node);
            self.send_queued(node);
        }
    }

    // --- what others send ------------------------------------------------------------------

    pub(super) fn replicate(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        replicate: &Replicate,
    ) {
        self.learn_with(replicate);
        self.store_all(Reply::Replicated(question), from, replicate);
    }

    /// Takes over what compaction took away before a batch that is held.
    pub(super) fn fill_before(&mut self, batch: &Batch, part: Option<&Compacted>) {
        if let Some(part) = part.filter(|part| part.precedes(batch) && self.is_place_taken(batch)) {
            self.fill_compacted(batch.header().topic, part);
        }
    }

    /// Learns what comes with batches: their topics' terms, and proofs of forks.
    pub(super) fn learn_with(&mut self, replicate: &Replicate) {
        for descriptor in &replicate.descriptors {
            self.learn(descriptor);
        }
        if let Some(proofs) = &replicate.forks {
            let branches = replicate.batches.iter().filter(|batch| batch.is_of_branch());
            let topics: BTreeSet<_> = branches.map(|batch| batch.header().topic).collect();
            for bytes in proofs.iter() {
                self.learn_fork_in(&topics, bytes);
            }
        }
    }

    /// Stores batches that a node has sent, and says what became of each.
    pub(super) fn store_all(&mut self, reply: Reply, from: Option<NodeId>, replicate: &Replicate) {
        let Replicate { batches, compacted, .. } = replicate;
        let parts = Compacted::by_end(compacted);
        let believes_parts =
            matches!(reply, Reply::Own(_)) || from.is_some_and(|node| self.believes_parts(&node));
        let mut taken = BTreeMap::new();
        // What follows a batch of the request is stored only if that one is: otherwise it might be
        // the end of a chain that nobody here has the start of.
        let mut unsure: BTreeMap<Hash, usize> = BTreeMap::new();
        let mut followers = Vec::new();
        let store = |(at, batch): (usize, &Batch)| {
            let previous = batch.header().previous;
            let before = previous.and_then(|previous| unsure.get(&previous.hash));
            // Of an import a whole page may be there: all of it is looked at together.
            let is_taken = || !matches!(reply, Reply::Replicated(_)) && self.is_place_taken(batch);
            if before.is_some() && is_taken() {
                unsure.insert(batch.hash(), at);
                taken.insert(at, batch.clone());
                return None;
            }
            if let Some(before) = before {
                followers.push((at, *before, batch.clone()));
                unsure.insert(batch.hash(), at);
                return None;
            }
            let added = self.store(batch, from);
            // At once, for a log is allowed few gaps.
            let part = parts.get(&(batch.log(), batch.header().first)).copied();
            self.fill_before(batch, part.filter(|_| believes_parts));
            match added {
                Ok(Added::New) => Some(Outcome::Stored),
                // Its copies may go elsewhere for this answer, and with them what proves a fork.
                Ok(Added::Held) if self.is_header_kept(batch) => {
                    taken.insert(at, batch.clone());
                    None
                }
                Ok(Added::Held) => Some(self.outcome_of_held(batch)),
                Ok(Added::Taken) => {
                    unsure.insert(batch.hash(), at);
                    taken.insert(at, batch.clone());
                    None
                }
                Err(refusal) => {
                    unsure.insert(batch.hash(), at);
                    Some(Outcome::Refused(refusal))
                }
            }
        };
        let outcomes: Vec<_> = batches.iter().enumerate().map(store).collect();
        self.check_taken(Check::new(reply, from, outcomes, taken, followers));
    }
}
