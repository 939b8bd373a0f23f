//! One topic that this node knows: its terms, its replicas, and all that changes what is held.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use super::{
    Damage,
    early::EarlyPart,
    held::Holdings,
    ledger::Ledger,
    log::{AddError, Added, HeldSpan, Log},
    placement::Placement,
    proofs::Learned,
};
use crate::{
    limits::{FRONTIER_LOGS_MAX, REPLICAS_DEFAULT},
    model::{
        Batch, Compacted, Descriptor, ForkProof, Hash, LogId, NodeId, Retention, SignedDescriptor,
        Stamp, SubscriberName, Subscription, TopicId, WallClock,
    },
    wire::LogRange,
};

/// A topic as this node knows it. It reads as what is held of it, which only the methods here
/// change.
#[derive(Debug)]
pub(in crate::engine) struct Topic {
    holdings: Holdings,
    /// The digest of the holdings; none since they changed.
    digest: Option<[u8; 32]>,
    /// What was received when, where the topic does not keep its records for ever.
    ledger: Option<Ledger>,
    place: [u8; 32],
    /// Whether a later topic has its name.
    is_outlived: bool,
    placement: (u64, Placement),
    /// How many logs are of writers that are no nodes, of how many logs, and the version of the
    /// member table that they were counted by.
    strangers: (usize, usize, u64),
    /// Until when nothing is given up here, for another node may be giving its copy up since this
    /// one said that it keeps all.
    pub(in crate::engine) keeps_until: Duration,
}

impl Deref for Topic {
    type Target = Holdings;

    fn deref(&self) -> &Holdings {
        &self.holdings
    }
}

impl Topic {
    pub(super) fn new(id: TopicId) -> Self {
        Self {
            holdings: Holdings::new(id),
            digest: None,
            ledger: None,
            place: id.place(),
            is_outlived: false,
            placement: (0, Placement::default()),
            strangers: (0, 0, 0),
            keeps_until: Duration::ZERO,
        }
    }

    /// What is held, to change it: its digest is another one from now on.
    fn change(&mut self) -> &mut Holdings {
        self.digest = None;
        &mut self.holdings
    }

    /// These are its terms from now on.
    pub(super) fn set_terms(&mut self, signed: SignedDescriptor) {
        self.change().descriptor = Some(signed);
        // The number of replicas may be another one.
        self.placement.0 = 0;
    }

    /// Whether a later topic has its name.
    pub(super) fn set_outlived(&mut self, is_outlived: bool) {
        self.is_outlived = is_outlived;
    }

    /// Its place in the key space.
    pub(in crate::engine) fn place(&self) -> &[u8; 32] {
        &self.place
    }

    // --- the ledger ------------------------------------------------------------------------

    /// Its ledger, where it has one.
    pub(in crate::engine) fn ledger(&mut self) -> Option<&mut Ledger> {
        self.ledger.as_mut()
    }

    /// Its ledger, which it gets if it has none.
    pub(in crate::engine) fn open_ledger(&mut self) -> &mut Ledger {
        self.ledger.get_or_insert_default()
    }

    /// The ledger that it had; it keeps its records for ever.
    pub(in crate::engine) fn close_ledger(&mut self) -> Option<Ledger> {
        self.ledger.take()
    }

    /// The parts of logs that its ledger does not account for, which the store is asked for; none
    /// without a ledger.
    pub(in crate::engine) fn not_accounted(&mut self) -> Option<Vec<LogRange>> {
        let ledger = self.ledger.as_mut()?;
        ledger.is_asked();
        let logs = &self.holdings.logs;
        for (id, log) in logs {
            log.spans.iter().for_each(|span| ledger.is_stored(*id, span.first, span.next));
        }
        let unknown = logs.iter().flat_map(|(id, log)| {
            let start = ledger.end(id).max(log.low);
            let range = move |span: &HeldSpan| {
                let range = LogRange { log: *id, from: span.first.max(start), to: span.next };
                (range.from < range.to).then_some(range)
            };
            log.spans.iter().filter_map(range)
        });
        Some(unknown.collect())
    }

    // --- terms -----------------------------------------------------------------------------

    /// Whether its terms are known, and it is not deleted.
    pub(in crate::engine) fn is_known(&self) -> bool {
        self.descriptor.is_some() && !self.is_deleted()
    }

    /// Whether it was deleted, or its name is that of a later topic, which says so as well.
    pub(in crate::engine) fn is_deleted(&self) -> bool {
        let deleted = |signed: &SignedDescriptor| signed.descriptor().deleted;
        self.is_outlived || self.descriptor.as_ref().is_some_and(deleted)
    }

    /// Whether this program understands its terms. If not, it keeps what it holds of the topic and
    /// its terms, and does nothing else for it.
    pub(in crate::engine) fn is_understood(&self) -> bool {
        self.terms().is_none_or(Descriptor::is_understood)
    }

    /// Its terms, where they are known.
    fn terms(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref().map(SignedDescriptor::descriptor)
    }

    /// What this program does not understand of it, in words.
    pub(in crate::engine) fn not_understood(&self) -> Option<String> {
        self.terms()?.not_understood()
    }

    /// By which limits each replica trims it, on its own; none where its records are kept for ever.
    /// Nothing else says who trims what.
    pub(in crate::engine) fn retention(&self) -> Option<Retention> {
        let terms = self.terms().filter(|terms| terms.is_understood())?;
        Some(terms.retention).filter(Retention::has_limits)
    }

    /// How long a tombstone is kept, in milliseconds, where of each key the newest record is kept.
    pub(in crate::engine) fn tombstones_ms(&self) -> Option<u64> {
        self.terms().filter(|terms| terms.is_understood())?.retention.tombstones_ms
    }

    /// Whether its records were imported, and are signed for an id that is not its name's.
    pub(in crate::engine) fn is_imported(&self) -> bool {
        let descriptor = self.descriptor.as_ref();
        descriptor.is_some_and(|signed| signed.descriptor().origin.is_some())
    }

    /// Replicas wanted.
    pub(in crate::engine) fn replicas(&self) -> u16 {
        self.descriptor.as_ref().map_or(REPLICAS_DEFAULT, |signed| signed.descriptor().replicas)
    }

    /// Whether a node may write to it.
    pub(in crate::engine) fn admits(&self, writer: &NodeId) -> bool {
        let admits = |signed: &SignedDescriptor| signed.descriptor().writers.admit(writer);
        self.descriptor.as_ref().is_none_or(admits)
    }

    /// Its replicas as they were found last.
    pub(in crate::engine) fn last_placement(&self) -> &Placement {
        &self.placement.1
    }

    /// The version of the member table that they were found by.
    pub(in crate::engine) fn placed_at(&self) -> u64 {
        self.placement.0
    }

    /// Its replicas are these, by this version of the member table.
    pub(in crate::engine) fn place_at(&mut self, version: u64, placement: Placement) {
        if placement.home != self.placement.1.home && !self.told_lows.is_empty() {
            // They were told by other homes.
            self.change().told_lows.clear();
        }
        self.placement = (version, placement);
    }

    /// How many logs are of writers that are no nodes, by this version of the member table.
    pub(in crate::engine) fn strangers(
        &mut self,
        version: u64,
        is_node: impl Fn(&NodeId) -> bool,
    ) -> usize {
        let of = self.logs.len();
        if (of, version) != (self.strangers.1, self.strangers.2) {
            let count = self.logs.keys().filter(|log| !is_node(&log.writer)).count();
            self.strangers = (count, of, version);
        }
        self.strangers.0
    }

    /// Adds a batch to its log.
    pub(in crate::engine) fn add(&mut self, batch: &Batch) -> Result<Added, AddError> {
        let log = batch.log();
        self.room_for(&log)?;
        // A branch starts where it parts.
        let low = self.forks.root(&log).map_or(0, |root| root.at);
        let held = self.change();
        let known = held.logs.entry(log).or_insert_with(|| Log { low, ..Log::default() });
        let added = known.add(batch)?;
        if added == Added::New {
            held.told_lows.remove(&log);
        }
        Ok(added)
    }

    /// Learns that a log has forked.
    pub(in crate::engine) fn add_fork(&mut self, proof: &ForkProof) -> Learned {
        self.change().forks.add(proof)
    }

    /// Takes a part out of a log that is held elsewhere from now on; whether that was done.
    /// `before` is the hash and the stamp of the batch before the part. Nothing changes where the
    /// log would have too many gaps.
    pub(in crate::engine) fn take_out(
        &mut self,
        id: &LogId,
        from: u64,
        to: u64,
        head: Hash,
        before: Option<(Hash, Stamp)>,
    ) -> bool {
        let held = self.change();
        let Some(log) = held.logs.get_mut(id) else {
            return false;
        };
        let end = log.known_end();
        if !log.lose(from, to, head, before) {
            return false;
        }
        log.tip = None;
        // Others may know it by this log for a while.
        if let Some(end) = end {
            held.proven.insert(*id, end);
        }
        if log.spans.is_empty() && !held.is_cut(id) {
            held.logs.remove(id);
        }
        held.told_lows.remove(id);
        true
    }

    /// Takes over a subscription's position; whether that changed anything.
    pub(in crate::engine) fn merge_subscription(
        &mut self,
        name: &SubscriberName,
        subscription: &Subscription,
    ) -> bool {
        let full = self.is_full_of_subscriptions(name);
        let kept = &mut self.change().subscriptions;
        match kept.get_mut(name) {
            Some(kept) => kept.merge(subscription),
            None if full => false,
            None => kept.insert(name.clone(), subscription.clone()).is_none(),
        }
    }

    /// A header proves how long a log is. What is not held here is no part of the digest. Half of
    /// the room is reserved for logs of nodes.
    pub(in crate::engine) fn prove(&mut self, log: LogId, to: u64, head: Hash, is_node: bool) {
        let proven = &mut self.holdings.proven;
        let room = FRONTIER_LOGS_MAX * if is_node { 2 } else { 1 };
        if proven.len() >= room && !proven.contains_key(&log) {
            return;
        }
        let known = proven.entry(log).or_insert((to, head));
        if known.0 < to {
            *known = (to, head);
        }
    }

    /// Forgets all that is held, which is given back.
    pub(in crate::engine) fn clear(
        &mut self,
    ) -> (BTreeMap<LogId, Log>, BTreeMap<SubscriberName, Subscription>) {
        let held = self.change();
        held.proven.clear();
        (std::mem::take(&mut held.logs), std::mem::take(&mut held.subscriptions))
    }

    /// Takes away what of a log comes after `to`, where a batch of this hash ends: the log without
    /// it, if anything is left. Its stamp must be known if part of a span is taken away.
    pub(in crate::engine) fn end_log_at(
        &mut self,
        id: &LogId,
        to: u64,
        head: Option<(Hash, Stamp)>,
    ) -> Option<Log> {
        if let Some(ledger) = &mut self.ledger {
            ledger.end_at(id, to, head.map(|(head, _)| head));
        }
        let held = self.change();
        held.told_lows.remove(id);
        let log = held.logs.get_mut(id)?;
        log.end_at(to, head);
        if log.spans.is_empty() && !held.is_cut(id) {
            held.logs.remove(id);
        }
        held.logs.get(id).cloned()
    }

    /// Forgets what headers prove of a log after `to`, where a batch of this hash ends.
    pub(in crate::engine) fn limit_proven(&mut self, id: &LogId, to: u64, head: Option<Hash>) {
        let proven = &mut self.holdings.proven;
        let is_beyond =
            |(next, hash): &(u64, Hash)| *next > to || *next == to && Some(*hash) != head;
        if proven.get(id).is_some_and(is_beyond) {
            proven.remove(id);
        }
    }

    /// Forgets the fork of a log.
    pub(in crate::engine) fn forget_fork(&mut self, of: LogId) {
        self.change().forks.forget(of);
    }

    /// Forgets a log altogether.
    pub(in crate::engine) fn let_go(&mut self, id: &LogId) {
        let held = self.change();
        held.logs.remove(id);
        held.proven.remove(id);
        held.told_lows.remove(id);
    }

    /// Forgets the position of a subscription.
    pub(in crate::engine) fn forget_subscription(&mut self, name: &SubscriberName) {
        self.change().subscriptions.remove(name);
    }

    /// Forgets what of a log ends at or before `to`, where the batch `head` ends. If the log will
    /// be continued, its end is remembered.
    pub(in crate::engine) fn forget(
        &mut self,
        id: &LogId,
        to: u64,
        head: Hash,
        continued: bool,
    ) -> Option<Log> {
        let held = self.change();
        let log = held.logs.get_mut(id)?;
        // Others hold it, and say so.
        if let Some(end) = log.known_end() {
            held.proven.insert(*id, end);
        }
        log.forget(to, Some(head));
        if log.spans.is_empty() && !continued && !held.is_cut(id) {
            held.logs.remove(id);
        }
        held.logs.get(id).cloned()
    }

    /// Records where other home replicas have cut logs, and nobody holds what is missing here below
    /// that. It holds while the log stays as it is.
    pub(in crate::engine) fn set_told_lows(&mut self, lows: BTreeMap<LogId, (u64, Option<Hash>)>) {
        if self.told_lows != lows {
            self.change().told_lows = lows;
        }
    }

    /// Cuts a log off where a batch ends. Returns the log, if that changed it. A log that is not
    /// known is recorded, and a forked one ends at its fork.
    pub(in crate::engine) fn cut(
        &mut self,
        id: &LogId,
        to: u64,
        head: Option<Hash>,
    ) -> Option<Log> {
        if self.is_full(id) {
            return None;
        }
        let to = self.forks.sealed_at(*id).map_or(to, |at| at.min(to));
        let low = self.forks.root(id).map_or(0, |root| root.at);
        let log = self.change().logs.entry(*id).or_insert_with(|| Log { low, ..Log::default() });
        log.cut(to, head).then(|| log.clone())
    }

    /// Fills what is missing of a log with what compaction took away: each part that was filled,
    /// and the log with it.
    pub(in crate::engine) fn fill(&mut self, part: &Compacted) -> Vec<(Compacted, Log)> {
        let log = self.change().logs.get_mut(&part.log);
        log.and_then(|log| log.fill(part).ok()).unwrap_or_default()
    }

    /// Takes out a batch that can no longer be read: the log without it, if it was held.
    pub(in crate::engine) fn lose(&mut self, damage: &Damage) -> Option<Log> {
        let held = self.change();
        held.told_lows.remove(&damage.log);
        let log = held.logs.get_mut(&damage.log)?;
        let was_held = log.lose(damage.first, damage.next, damage.hash, damage.previous);
        was_held.then(|| log.clone())
    }

    /// The parts that are known to be stamped in the future.
    pub(in crate::engine) fn early(&self) -> impl Iterator<Item = LogRange> + '_ {
        let of_log = |(id, log): (&LogId, &Log)| {
            let range = |part: &EarlyPart| (part.first, part.next);
            let (id, parts): (_, Vec<_>) = (*id, log.early.iter().map(range).collect());
            parts.into_iter().map(move |(from, to)| LogRange { log: id, from, to })
        };
        self.logs.iter().flat_map(of_log)
    }

    /// Remembers that a part of a log is stamped in the future: the log with it, if that is news.
    pub(in crate::engine) fn mark_early(
        &mut self,
        range: &LogRange,
        since: WallClock,
    ) -> Option<Log> {
        let log = self.change().logs.get_mut(&range.log)?;
        log.mark_early(range.from, range.to, since).then(|| log.clone())
    }

    /// Takes over the logs that the store holds.
    pub(in crate::engine) fn recover(&mut self, logs: BTreeMap<LogId, Log>) {
        self.change().logs.extend(logs);
    }

    /// Takes over the ledger that the store holds.
    pub(in crate::engine) fn recover_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    /// A digest that is equal where the same is held.
    pub(in crate::engine) fn digest(&mut self) -> [u8; 32] {
        *self.digest.get_or_insert_with(|| self.holdings.computed_digest())
    }

    /// Asserts that logs are in order, that tables are within their bounds, and that the kept
    /// digest is the one of what is held.
    #[cfg(debug_assertions)]
    pub(in crate::engine) fn check(&self) {
        assert!(self.logs.values().all(Log::is_well_formed), "a log is not well formed");
        let most = crate::limits::SUBSCRIPTIONS_MAX;
        assert!(self.subscriptions.len() <= most, "too many subscriptions");
        if let Some(kept) = self.digest {
            assert!(kept == self.computed_digest(), "the digest of {:?} is stale", self.id);
        }
    }
}
