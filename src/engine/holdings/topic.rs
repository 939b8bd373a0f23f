//! The topics that this node knows, and what it holds of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Damage,
    ledger::Ledger,
    log::{AddError, Added, Log},
    placement::Placement,
    proofs::{Forks, Learned},
};
use crate::{
    engine::planted::{Bug, planted},
    limits::{FRONTIER_LOGS_MAX, REPLICAS_DEFAULT, REPLICAS_MAX, SUBSCRIPTIONS_MAX},
    model::{
        Batch, Compacted, Cursor, Descriptor, ForkProof, Frontier, Hash, LogId, Network, NodeId,
        Retention, SignedDescriptor, Stamp, SubscriberName, Subscription, TopicId, TopicName,
    },
};

/// A topic as this node knows it.
#[derive(Debug)]
pub(in crate::engine) struct Topic {
    pub(in crate::engine) id: TopicId,
    /// None for the catalogue, and for a topic of which only batches are held so far.
    pub(in crate::engine) descriptor: Option<SignedDescriptor>,
    pub(in crate::engine) logs: BTreeMap<LogId, Log>,
    pub(in crate::engine) subscriptions: BTreeMap<SubscriberName, Subscription>,
    pub(in crate::engine) forks: Forks,
    /// What was received when, where the topic does not keep its records for ever.
    pub(in crate::engine) ledger: Option<Ledger>,
    /// Where other home replicas have cut logs: what is missing below need not be looked for.
    told_lows: BTreeMap<LogId, (u64, Option<Hash>)>,
    pub(in crate::engine) place: [u8; 32],
    is_catalogue: bool,
    /// Whether a later topic has its name.
    is_outlived: bool,
    digest: Option<[u8; 32]>,
    placement: (u64, Placement),
    /// Until when nothing is given up here, for another node may be giving its copy up since this
    /// one said that it keeps all.
    pub(in crate::engine) keeps_until: Duration,
}

impl Topic {
    fn new(id: TopicId, is_catalogue: bool) -> Self {
        Self {
            id,
            descriptor: None,
            logs: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            forks: Forks::default(),
            ledger: None,
            told_lows: BTreeMap::new(),
            place: id.place(),
            is_catalogue,
            is_outlived: false,
            digest: None,
            placement: (0, Placement::default()),
            keeps_until: Duration::ZERO,
        }
    }

    /// Whether its terms are known, and it is not deleted.
    pub(in crate::engine) fn is_known(&self) -> bool {
        self.is_catalogue || self.descriptor.is_some() && !self.is_deleted()
    }

    /// Whether it was deleted, or its name is that of a later topic, which says so as well.
    pub(in crate::engine) fn is_deleted(&self) -> bool {
        let deleted = |signed: &SignedDescriptor| signed.descriptor().deleted;
        self.is_outlived || self.descriptor.as_ref().is_some_and(deleted)
    }

    /// How long it keeps its records, where that is not for ever.
    pub(in crate::engine) fn retention(&self) -> Option<Retention> {
        let terms = self.descriptor.as_ref()?.descriptor();
        Some(terms.retention).filter(Retention::has_limits)
    }

    /// How long a tombstone is kept, in milliseconds, where of each key the newest record is kept.
    pub(in crate::engine) fn tombstones_ms(&self) -> Option<u64> {
        self.descriptor.as_ref()?.descriptor().retention.tombstones_ms
    }

    /// Whether its records were imported, and are signed for an id that is not its name's.
    pub(in crate::engine) fn is_imported(&self) -> bool {
        let descriptor = self.descriptor.as_ref();
        descriptor.is_some_and(|signed| signed.descriptor().origin.is_some())
    }

    /// Replicas wanted.
    pub(in crate::engine) fn replicas(&self) -> u16 {
        if self.is_catalogue {
            return REPLICAS_MAX;
        }
        self.descriptor.as_ref().map_or(REPLICAS_DEFAULT, |signed| signed.descriptor().replicas)
    }

    /// Whether a node may write to it.
    pub(in crate::engine) fn admits(&self, writer: &NodeId) -> bool {
        let admits = |signed: &SignedDescriptor| signed.descriptor().writers.admit(writer);
        self.descriptor.as_ref().is_none_or(admits)
    }

    /// Whether it is the catalogue, which every node holds.
    pub(in crate::engine) fn is_catalogue(&self) -> bool {
        self.is_catalogue
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
            self.told_lows.clear();
            self.digest = None;
        }
        self.placement = (version, placement);
    }

    /// Adds a batch to its log.
    pub(in crate::engine) fn add(&mut self, batch: &Batch) -> Result<Added, AddError> {
        let log = batch.log();
        if self.is_full(&log) {
            return Err(AddError::TooManyLogs);
        }
        // A branch starts where it parts.
        let low = self.forks.root(&log).map_or(0, |root| root.at);
        let known = self.logs.entry(log).or_insert_with(|| Log { low, ..Log::default() });
        let added = known.add(batch)?;
        if added == Added::New {
            self.told_lows.remove(&log);
            self.digest = None;
        }
        Ok(added)
    }

    /// Whether a batch does not belong where it is filed: its log is sealed there, or it is no
    /// part of that branch.
    pub(in crate::engine) fn is_misfiled(&self, batch: &Batch) -> bool {
        if self.forks.is_empty() && !batch.is_of_branch() {
            return false;
        }
        let (header, log) = (batch.header(), batch.log());
        if !batch.is_of_branch() {
            return self.forks.sealed_at(log).is_some_and(|at| header.next() > at);
        }
        let Some(root) = self.forks.root(&log).filter(|root| root.of == header.log()) else {
            return true;
        };
        if header.first <= root.at {
            return batch.hash() != root.hash;
        }
        // The root of another branch, or one more that would be: they are filed by themselves.
        let previous = header.previous.map(|previous| previous.hash);
        self.forks.ends_before(log, header.first, previous)
    }

    /// Learns that a log has forked.
    pub(in crate::engine) fn add_fork(&mut self, proof: &ForkProof) -> Learned {
        let learned = self.forks.add(proof);
        if learned != Learned::Nothing {
            self.digest = None;
        }
        learned
    }

    /// Whether the beginning of a log was trimmed: that is always remembered.
    fn is_cut(&self, id: &LogId) -> bool {
        let begins = self.forks.root(id).map_or(0, |root| root.at);
        self.logs.get(id).is_some_and(|log| log.low > begins)
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
        let Some(log) = self.logs.get_mut(id) else {
            return false;
        };
        if !log.lose(from, to, head, before) {
            return false;
        }
        log.tip = None;
        if log.spans.is_empty() && !self.is_cut(id) {
            self.logs.remove(id);
        }
        self.told_lows.remove(id);
        self.digest = None;
        true
    }

    /// Whether there is no room for this log beside the others.
    pub(in crate::engine) fn is_full(&self, log: &LogId) -> bool {
        self.logs.len() >= FRONTIER_LOGS_MAX && !self.logs.contains_key(log)
    }

    /// Whether there is no room for this subscription beside the others.
    pub(in crate::engine) fn is_full_of_subscriptions(&self, name: &SubscriberName) -> bool {
        self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains_key(name)
    }

    /// Takes over a subscription's position; whether that changed anything.
    pub(in crate::engine) fn merge_subscription(
        &mut self,
        name: &SubscriberName,
        subscription: &Subscription,
    ) -> bool {
        let full = self.is_full_of_subscriptions(name);
        let changed = match self.subscriptions.get_mut(name) {
            Some(kept) => kept.merge(subscription),
            None if full => false,
            None => self.subscriptions.insert(name.clone(), subscription.clone()).is_none(),
        };
        if changed {
            self.digest = None;
        }
        changed
    }

    /// Forgets all that is held, which is given back.
    pub(in crate::engine) fn clear(
        &mut self,
    ) -> (BTreeMap<LogId, Log>, BTreeMap<SubscriberName, Subscription>) {
        self.digest = None;
        (std::mem::take(&mut self.logs), std::mem::take(&mut self.subscriptions))
    }

    /// Forgets the position of a subscription.
    pub(in crate::engine) fn forget_subscription(&mut self, name: &SubscriberName) {
        self.digest = None;
        self.subscriptions.remove(name);
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
        self.digest = None;
        let log = self.logs.get_mut(id)?;
        log.forget(to, Some(head));
        if log.spans.is_empty() && !continued && !self.is_cut(id) {
            self.logs.remove(id);
        }
        self.logs.get(id).cloned()
    }

    /// Records where other home replicas have cut logs, and nobody holds what is missing here below
    /// that. It holds while the log stays as it is.
    pub(in crate::engine) fn set_told_lows(&mut self, lows: BTreeMap<LogId, (u64, Option<Hash>)>) {
        if self.told_lows != lows {
            self.told_lows = lows;
            self.digest = None;
        }
    }

    /// Where other home replicas have cut a log, and nobody holds what is missing here below it.
    pub(in crate::engine) fn told_low(&self, log: &LogId) -> (u64, Option<Hash>) {
        self.told_lows.get(log).copied().unwrap_or_default()
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
        let log = self.logs.entry(*id).or_insert_with(|| Log { low, ..Log::default() });
        if !log.cut(to, head) {
            return None;
        }
        self.digest = None;
        Some(log.clone())
    }

    /// Fills what is missing of a log with what compaction took away: each part that was filled,
    /// and the log with it.
    pub(in crate::engine) fn fill(&mut self, part: &Compacted) -> Vec<(Compacted, Log)> {
        let Some(log) = self.logs.get_mut(&part.log) else { return Vec::new() };
        let filled = log.fill(part).unwrap_or_default();
        if !filled.is_empty() {
            self.digest = None;
        }
        filled
    }

    /// Takes out a batch that can no longer be read: the log without it, if it was held.
    pub(in crate::engine) fn lose(&mut self, damage: &Damage) -> Option<Log> {
        self.told_lows.remove(&damage.log);
        let log = self.logs.get_mut(&damage.log)?;
        if !log.lose(damage.first, damage.next, damage.hash, damage.previous) {
            return None;
        }
        self.digest = None;
        Some(log.clone())
    }

    /// What is held.
    pub(in crate::engine) fn frontier(&self) -> Frontier {
        let held = self.logs.iter().filter(|(id, log)| !log.spans.is_empty() || self.is_cut(id));
        Frontier(held.map(|(id, log)| (*id, log.entry())).collect())
    }

    /// The end of what is held.
    pub(in crate::engine) fn end(&self) -> Cursor {
        let mut cursor = Cursor::start(self.id);
        cursor.join_frontier(&self.frontier());
        cursor
    }

    /// Whether any batch is held.
    pub(in crate::engine) fn holds_batches(&self) -> bool {
        self.logs.values().any(|log| !log.spans.is_empty())
    }

    /// Number of records held.
    pub(in crate::engine) fn records(&self) -> u64 {
        self.logs.values().map(Log::records).sum()
    }

    /// The highest sequence number of each writer, over all its logs: what a planted bug compares.
    fn newest_numbers(&self) -> BTreeMap<NodeId, u64> {
        let mut newest: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (id, log) in &self.logs {
            let next = log.spans.last().map_or(0, |span| span.next);
            let highest = newest.entry(id.writer).or_default();
            *highest = next.max(*highest);
        }
        newest
    }

    /// A digest that is equal where the same is held.
    pub(in crate::engine) fn digest(&mut self) -> [u8; 32] {
        if let Some(digest) = self.digest {
            return digest;
        }
        let digest = self.computed_digest();
        self.digest = Some(digest);
        digest
    }

    /// Asserts that logs are in order, that tables are within their bounds, and that the kept
    /// digest is the one of what is held.
    #[cfg(debug_assertions)]
    pub(in crate::engine) fn check(&self) {
        assert!(self.logs.values().all(Log::is_well_formed), "a log is not well formed");
        assert!(self.subscriptions.len() <= SUBSCRIPTIONS_MAX, "too many subscriptions");
        if let Some(kept) = self.digest {
            assert!(kept == self.computed_digest(), "the digest of {:?} is stale", self.id);
        }
    }

    fn computed_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        if planted(Bug::DigestByNumbers) {
            hasher.update(&crate::model::encode_to_bytes(&self.newest_numbers()));
        } else {
            // Beyond a fork a log has what nobody can file any more, for what came before is lost:
            // nobody else takes it, so there is nothing to compare.
            let mut frontier = self.frontier();
            for (log, entry) in &mut frontier.0 {
                if let Some(at) = self.forks.sealed_at(*log) {
                    entry.spans.retain(|span| span.first < at);
                }
            }
            for log in self.told_lows.keys() {
                frontier.0.entry(*log).or_default();
            }
            // Each node cuts at its own time, which is no difference worth looking into.
            frontier.0.retain(|log, entry| {
                let (told, base) = self.told_low(log);
                let low = told.max(entry.low);
                entry.overlook_cut(told, base);
                // One that has forked may have been cut before that was known.
                low == 0 || self.forks.sealed_at(*log).is_none_or(|at| low < at)
            });
            frontier.0.retain(|_, entry| !entry.spans.is_empty() || entry.low > 0);
            hasher.update(&frontier.digest());
        }
        self.forks.digest_into(&mut hasher);
        for kept in &self.subscriptions {
            hasher.update(&crate::model::encode_to_bytes(&kept));
        }
        hasher.finalize().into()
    }
}

/// Which of two topics of one id and two names it is. An imported topic brings its id along, which
/// must not be that of another one; where two nodes import the same records under two names at the
/// same time, all settle on one.
fn has_better_claim(terms: &Descriptor, current: &Descriptor) -> bool {
    let rank = |terms: &Descriptor| (terms.origin.is_some(), terms.name.clone());
    rank(terms) < rank(current)
}

/// All topics that this node knows.
#[derive(Debug)]
pub(in crate::engine) struct Topics {
    network: Network,
    catalogue: TopicId,
    known: BTreeMap<TopicId, Topic>,
    /// The newest topic of each name, those included that are deleted.
    names: BTreeMap<TopicName, TopicId>,
    /// Topics that were found to be deleted, of which something may be held.
    deleted: BTreeSet<TopicId>,
}

impl Topics {
    pub(in crate::engine) fn new(network: Network) -> Self {
        let catalogue = TopicId::derive(&network, &TopicName::catalogue());
        let known = [(catalogue, Topic::new(catalogue, true))].into();
        Self { network, catalogue, known, names: BTreeMap::new(), deleted: BTreeSet::new() }
    }

    /// The id of the catalogue.
    pub(in crate::engine) fn catalogue(&self) -> TopicId {
        self.catalogue
    }

    /// The id of the topic that a descriptor describes.
    pub(in crate::engine) fn id_of(&self, descriptor: &Descriptor) -> TopicId {
        descriptor.id(&self.network)
    }

    /// The newest descriptor of a name, be it that of a topic or of the deletion of one.
    pub(in crate::engine) fn newest(&self, name: &TopicName) -> Option<&Descriptor> {
        self.newest_signed(name).map(SignedDescriptor::descriptor)
    }

    /// The same with its signature.
    pub(in crate::engine) fn newest_signed(&self, name: &TopicName) -> Option<&SignedDescriptor> {
        self.known.get(self.names.get(name)?)?.descriptor.as_ref()
    }

    /// The name of the topic with this id, be it deleted.
    pub(in crate::engine) fn name_of(&self, id: &TopicId) -> Option<&TopicName> {
        let descriptor = self.known.get(id)?.descriptor.as_ref();
        descriptor.map(|signed| &signed.descriptor().name)
    }

    /// The topic with this id.
    pub(in crate::engine) fn get(&self, id: &TopicId) -> Option<&Topic> {
        self.known.get(id)
    }

    /// The topic with this id, to change it.
    pub(in crate::engine) fn get_mut(&mut self, id: &TopicId) -> Option<&mut Topic> {
        self.known.get_mut(id)
    }

    /// The topic with this id, made if it is not there: batches or subscriptions are held of it.
    pub(in crate::engine) fn entry(&mut self, id: TopicId) -> &mut Topic {
        self.known.entry(id).or_insert_with(|| Topic::new(id, false))
    }

    /// The created topic of this name.
    pub(in crate::engine) fn named(&self, name: &TopicName) -> Option<TopicId> {
        self.names.get(name).copied().filter(|id| self.is_there(id))
    }

    fn is_there(&self, id: &TopicId) -> bool {
        self.known.get(id).is_some_and(Topic::is_known)
    }

    /// The names of created topics after one, in order.
    pub(in crate::engine) fn names_after(
        &self,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = (&TopicName, TopicId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        let names = self.names.range::<TopicName, _>((start, Unbounded));
        names.map(|(name, id)| (name, *id)).filter(|(_, id)| self.is_there(id))
    }

    /// All topics, in order of their ids.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.known.values()
    }

    /// All topics, to change them.
    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.known.values_mut()
    }

    /// Adopts a descriptor. Returns whether it is new.
    pub(in crate::engine) fn adopt(&mut self, signed: &SignedDescriptor) -> bool {
        let terms = signed.descriptor();
        if terms.name.is_reserved() {
            return false;
        }
        let id = self.id_of(terms);
        self.entry(id);
        let known = self.known.get(&id).and_then(|topic| topic.descriptor.as_ref());
        if let Some(current) = known.map(SignedDescriptor::descriptor) {
            let renames = current.name != terms.name;
            if renames && !has_better_claim(terms, current)
                || !renames && !terms.supersedes(current)
                || !current.may_alter(&terms.creator)
            {
                return false;
            }
            if renames && self.names.get(&current.name) == Some(&id) {
                let name = current.name.clone();
                self.names.remove(&name);
            }
        }
        let named = self.newest(&terms.name).filter(|named| named.generation < terms.generation);
        if named.is_some_and(|named| !named.deleted && !named.may_alter(&terms.creator)) {
            return false;
        }
        let topic = self.entry(id);
        topic.descriptor = Some(signed.clone());
        topic.digest = None;
        // The number of replicas may be another one.
        topic.placement.0 = 0;
        let newest = self.newest(&terms.name);
        let is_newest = newest.is_none_or(|other| !other.supersedes(terms));
        // Of two that were made at the same time nobody deleted one: what it has is kept.
        let is_later = newest.is_some_and(|other| other.generation != terms.generation);
        let outlived = if is_newest { self.names.insert(terms.name.clone(), id) } else { Some(id) };
        let outlived = outlived.filter(|outlived| is_later && (!is_newest || *outlived != id));
        if let Some(outlived) = outlived {
            self.entry(outlived).is_outlived = true;
            self.deleted.insert(outlived);
        }
        let topic = self.entry(id);
        topic.is_outlived = is_later && !is_newest;
        if topic.is_deleted() {
            self.deleted.insert(id);
        } else {
            // It may have been, and is restored.
            self.deleted.remove(&id);
        }
        true
    }

    /// What says that a topic was deleted: its descriptor, or that of a later one of its name.
    pub(in crate::engine) fn deletion_of(&self, id: &TopicId) -> Option<&SignedDescriptor> {
        let topic = self.known.get(id).filter(|topic| topic.is_deleted())?;
        let own = topic.descriptor.as_ref()?;
        self.newest_signed(&own.descriptor().name).or(Some(own))
    }

    /// The topics that were found to be deleted since this was asked last.
    pub(in crate::engine) fn take_deleted(&mut self) -> BTreeSet<TopicId> {
        std::mem::take(&mut self.deleted)
    }

    /// The created name that is most like `name`, if one is like it at all.
    pub(in crate::engine) fn nearest_name(&self, name: &TopicName) -> Option<String> {
        let likeness = |other: &TopicName| strsim::jaro_winkler(other.as_str(), name.as_str());
        self.names_after(None)
            .map(|(other, _)| other)
            .map(|other| (likeness(other), other))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|one, two| one.0.total_cmp(&two.0))
            .map(|(_, other)| other.to_string())
    }
}
