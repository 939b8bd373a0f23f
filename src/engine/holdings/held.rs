//! What this node knows and holds of one topic.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    log::{Log, TooManyLogs},
    proofs::Forks,
};
use crate::{
    limits::{FRONTIER_LOGS_MAX, SUBSCRIPTIONS_MAX, WRITER_LOGS_MAX},
    model::{
        Batch, Cursor, Frontier, Hash, Incarnation, LogId, NodeId, Position, SignedDescriptor,
        SubscriberName, Subscription, TopicId,
    },
};

/// What this node knows and holds of one topic. All may read it, and only `Topic` changes it: two
/// nodes compare a digest of it.
#[derive(Debug)]
pub(in crate::engine) struct Holdings {
    pub(in crate::engine) id: TopicId,
    /// None for the catalogue, and for a topic of which only batches are held so far.
    pub(in crate::engine) descriptor: Option<SignedDescriptor>,
    pub(in crate::engine) logs: BTreeMap<LogId, Log>,
    pub(in crate::engine) subscriptions: BTreeMap<SubscriberName, Subscription>,
    pub(in crate::engine) forks: Forks,
    /// Where other home replicas have cut logs: what is missing below need not be looked for.
    pub(super) told_lows: BTreeMap<LogId, (u64, Option<Hash>)>,
    /// The furthest ends of logs that signed headers prove. The batches may be elsewhere.
    pub(super) proven: BTreeMap<LogId, (u64, Hash)>,
}

impl Holdings {
    pub(super) fn new(id: TopicId) -> Self {
        Self {
            id,
            descriptor: None,
            logs: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            forks: Forks::default(),
            told_lows: BTreeMap::new(),
            proven: BTreeMap::new(),
        }
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

    /// Whether the beginning of a log was trimmed: that is always remembered.
    pub(super) fn is_cut(&self, id: &LogId) -> bool {
        let begins = self.forks.root(id).map_or(0, |root| root.at);
        self.logs.get(id).is_some_and(|log| log.low > begins)
    }

    /// Whether there is no room for this log beside the others.
    pub(in crate::engine) fn is_full(&self, log: &LogId) -> bool {
        self.logs.len() >= FRONTIER_LOGS_MAX && !self.logs.contains_key(log)
    }

    /// Whether this log may begin here, if it is new. What retention left nothing of takes no room
    /// of its writer's share. A branch of a fork takes none either: proofs bound their number.
    pub(in crate::engine) fn room_for(&self, log: &LogId) -> Result<(), TooManyLogs> {
        if self.logs.contains_key(log) {
            return Ok(());
        }
        if self.logs.len() >= FRONTIER_LOGS_MAX {
            return Err(TooManyLogs::InTopic);
        }
        let is_full = self.counted_of(log.writer).count() >= WRITER_LOGS_MAX;
        if is_full && self.forks.root(log).is_none() {
            return Err(TooManyLogs::OfWriter);
        }
        Ok(())
    }

    /// The logs of one writer that count as part of its share.
    fn counted_of(&self, writer: NodeId) -> impl Iterator<Item = &LogId> {
        let counts = |(id, log): &(&LogId, &Log)| {
            (!log.spans.is_empty() || !self.is_cut(id)) && self.forks.root(id).is_none()
        };
        self.logs_of(writer).filter(counts).map(|(id, _)| id)
    }

    /// The last of these that has not forked.
    pub(in crate::engine) fn last_log_of(&self, writer: NodeId) -> Option<LogId> {
        let is_whole = |log: &&LogId| self.forks.sealed_at(**log).is_none();
        self.counted_of(writer).filter(is_whole).max().copied()
    }

    /// The logs of one writer.
    pub(in crate::engine) fn logs_of(
        &self,
        writer: NodeId,
    ) -> impl Iterator<Item = (&LogId, &Log)> {
        let log = |incarnation| LogId { writer, incarnation: Incarnation(incarnation) };
        self.logs.range(log(0)..=log(u64::MAX))
    }

    /// Whether there is no room for this subscription beside the others.
    pub(in crate::engine) fn is_full_of_subscriptions(&self, name: &SubscriberName) -> bool {
        self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains_key(name)
    }

    /// Where other home replicas have cut a log, and nobody holds what is missing here below it.
    pub(in crate::engine) fn told_low(&self, log: &LogId) -> (u64, Option<Hash>) {
        self.told_lows.get(log).copied().unwrap_or_default()
    }

    /// The logs of a writer that are held here, or of which a header proves how long they are.
    pub(in crate::engine) fn known_logs_of(&self, writer: NodeId) -> BTreeSet<LogId> {
        let proven = self.proven.keys().filter(|log| log.writer == writer);
        self.logs_of(writer).map(|(log, _)| log).chain(proven).copied().collect()
    }

    /// The furthest end of a log that is proven: by what is held here, or by a header.
    pub(in crate::engine) fn proven(&self, log: &LogId) -> Option<(u64, Hash)> {
        let held = self.logs.get(log).and_then(Log::known_end);
        held.into_iter().chain(self.proven.get(log).copied()).max_by_key(|(to, _)| *to)
    }

    /// Moves a cursor to all ends that are proven.
    pub(in crate::engine) fn join_proven_into(&self, end: &mut Cursor) {
        for (log, (next, head)) in &self.proven {
            end.advance_to(*log, Position { next: *next, head: Some(*head) });
        }
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

    /// A digest that is equal where the same is held.
    pub(super) fn computed_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
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
        self.forks.digest_into(&mut hasher);
        for kept in &self.subscriptions {
            hasher.update(&crate::model::encode_to_bytes(&kept));
        }
        hasher.finalize().into()
    }
}
