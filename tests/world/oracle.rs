//! What is true: everything that was published, every batch that ever appeared, and which disks
//! hold it. The engines know nothing of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use antiphon::{
    model::{Batch, Descriptor, Hash, Incarnation, LogId, RecordId, SignedDescriptor, TopicId},
    wire::LogRange,
};

use crate::world::invariants::compaction::{Keyed, Shelf};

/// A batch that has appeared somewhere.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) batch: Batch,
    /// When it appeared, by a clock that is right.
    pub(crate) sealed: Duration,
    /// The nodes whose flushed disk holds it, readable.
    pub(crate) holders: BTreeSet<usize>,
    /// The nodes that have given their copy up by themselves since.
    pub(crate) given_up: BTreeSet<usize>,
    /// How many flushed copies faults have destroyed.
    pub(crate) losses: usize,
    /// When the last of them was.
    pub(crate) lost_at: Option<Duration>,
    /// Most copies that an acknowledgement spoke of.
    pub(crate) acknowledged: usize,
    /// Whether it was told to be pending: in the outbox of its writer, whose disk has it.
    pub(crate) pending: bool,
}

/// What a user published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) topic: usize,
    pub(crate) payload: Vec<u8>,
    /// The batches that hold it: more than one after a retry.
    pub(crate) batches: Vec<Hash>,
}

/// All that is true.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// What time it is, by a clock that is right.
    pub(crate) now: Duration,
    pub(crate) batches: BTreeMap<Hash, Known>,
    /// By the logs that headers name: more than one at a position where a log has forked.
    pub(crate) positions: BTreeSet<(TopicId, LogId, u64, Hash)>,
    /// What was signed with a node's key, and not by the node.
    pub(crate) twins: BTreeSet<Hash>,
    /// Logs that have such batches.
    pub(crate) forked: BTreeSet<(TopicId, LogId)>,
    /// Forked logs of which some node has a part that it has not filed when time is over: it asks
    /// less and less often for what would connect it to its branch.
    pub(crate) unfiled: BTreeSet<(TopicId, LogId)>,
    /// The incarnations that nodes were started with.
    pub(crate) lives: BTreeSet<Incarnation>,
    pub(crate) ends: BTreeMap<(TopicId, LogId), u64>,
    pub(crate) published: BTreeMap<RecordId, Published>,
    /// All terms of topics that any node ever kept.
    pub(crate) descriptors: BTreeMap<TopicId, Vec<Descriptor>>,
    /// The same as they were signed, in runs with liars.
    pub(crate) signed_terms: Vec<SignedDescriptor>,
    /// What a publisher was told last to be pending: the topic, and where it is.
    pub(crate) latest_pending: Option<(usize, LogRange)>,
    /// The highest low watermark that any node gave a log.
    pub(crate) lows: BTreeMap<(TopicId, LogId), u64>,
    /// Batches that some node has taken away, for newer records have their places.
    pub(crate) compacted: BTreeSet<Hash>,
    /// The records of batches of compacted topics, as far as they were looked at.
    pub(crate) keyed: BTreeMap<Hash, Arc<[Keyed]>>,
    /// What is left where a node took such batches away last.
    pub(crate) shelf: Option<Shelf>,
    /// What each node was given of topics that do not keep their records for ever.
    pub(crate) received: BTreeMap<(usize, TopicId), BTreeMap<Hash, Received>>,
}

/// When a node was given a batch: it may have given its copy up in between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Oracle {
    /// Takes note of a batch; whether it is new.
    pub(crate) fn appeared(&mut self, batch: &Batch) -> bool {
        let header = batch.header();
        let end = self.ends.entry((header.topic, batch.log())).or_default();
        *end = header.next().max(*end);
        if self.batches.contains_key(&batch.hash()) {
            return false;
        }
        let end = self.ends.entry((header.topic, header.log())).or_default();
        *end = header.next().max(*end);
        for id in header.record_ids() {
            if let Some(published) = self.published.get_mut(&id) {
                published.batches.push(batch.hash());
            }
        }
        let known = Known {
            batch: batch.clone(),
            sealed: self.now,
            holders: BTreeSet::new(),
            given_up: BTreeSet::new(),
            losses: 0,
            lost_at: None,
            acknowledged: 0,
            pending: false,
        };
        self.batches.insert(batch.hash(), known);
        true
    }

    /// Notes that a node keeps such terms.
    pub(crate) fn note_terms(&mut self, topic: TopicId, terms: &Descriptor) {
        let of_topic = self.descriptors.entry(topic).or_default();
        if !of_topic.contains(terms) {
            of_topic.push(terms.clone());
        }
    }

    /// Whether some node has let a batch go by the retention of its topic.
    pub(crate) fn is_cut(&self, batch: &Batch) -> bool {
        let (topic, next) = (batch.header().topic, batch.header().next());
        !self.lows.is_empty() && {
            let mut logs = self.logs_of(batch).into_iter().chain([batch.log()]);
            logs.any(|log| self.lows.get(&(topic, log)).is_some_and(|low| next <= *low))
        }
    }

    /// The batch before one, in the same incarnation.
    pub(crate) fn before(&self, batch: &Batch) -> Option<&Known> {
        let header = batch.header();
        let previous = header.previous.filter(|it| it.incarnation == header.incarnation)?;
        self.batches.get(&previous.hash)
    }

    /// The forked logs of which part cannot be filed: something before it is lost, so nobody can
    /// say which branch it belongs to, and it stands in the way of others.
    pub(crate) fn adrift(&self) -> BTreeSet<(TopicId, LogId)> {
        let of_forked = self.batches.values().filter(|known| {
            let header = known.batch.header();
            !known.holders.is_empty() && self.forked.contains(&(header.topic, header.log()))
        });
        // What is known of each, so that no chain is walked along twice.
        let mut adrift: BTreeMap<Hash, bool> = BTreeMap::new();
        let is_adrift = |known: &&Known| {
            let mut path = vec![known.batch.hash()];
            let mut at = self.before(&known.batch);
            let found = loop {
                let Some(before) = at else { break false };
                if before.holders.is_empty() {
                    break true;
                }
                if let Some(found) = adrift.get(&before.batch.hash()) {
                    break *found;
                }
                path.push(before.batch.hash());
                at = self.before(&before.batch);
            };
            adrift.extend(path.into_iter().map(|hash| (hash, found)));
            found
        };
        let log = |known: &Known| (known.batch.header().topic, known.batch.header().log());
        // Where compaction took away what they part at, nobody can prove it any more.
        let compacted = self.compacted.iter().filter_map(|hash| self.batches.get(hash)).map(log);
        let compacted = compacted.filter(|log| self.forked.contains(log));
        let adrift = of_forked.filter(is_adrift).map(log).chain(self.unfiled.iter().copied());
        adrift.chain(compacted).collect()
    }

    /// The logs that a batch may be filed under.
    pub(crate) fn logs_of(&self, batch: &Batch) -> Vec<LogId> {
        let log = batch.header().log();
        let mut logs = vec![log];
        if self.forked.contains(&(batch.header().topic, log)) {
            let mut at = Some(batch);
            while let Some(batch) = at {
                logs.push(LogId { incarnation: Incarnation::of_branch(batch.hash()), ..log });
                at = self.before(batch).map(|known| &known.batch);
            }
        }
        logs
    }

    /// Takes note that a node has a batch flushed.
    pub(crate) fn held(&mut self, node: usize, batch: &Batch) {
        self.appeared(batch);
        if let Some(known) = self.batches.get_mut(&batch.hash()) {
            known.holders.insert(node);
            known.given_up.remove(&node);
        }
    }

    /// A node has lost what it had not flushed: that was never given to it.
    pub(crate) fn crashed(&mut self, node: usize) {
        let batches = &self.batches;
        let was_flushed = |hash: &Hash| {
            batches.get(hash).is_some_and(|known| {
                known.holders.contains(&node) || known.given_up.contains(&node)
            })
        };
        for received in self.received.iter_mut().filter(|((of, _), _)| *of == node) {
            received.1.retain(|hash, _| was_flushed(hash));
        }
    }

    /// Takes note that a node has given a copy up, of its own will.
    pub(crate) fn given_up(&mut self, node: usize, batch: &Batch) {
        if let Some(known) = self.batches.get_mut(&batch.hash()) {
            known.holders.remove(&node);
            known.given_up.insert(node);
        }
    }

    /// A disk is put into a node with damaged copies on it. One of a batch that the node had is
    /// lost with the node's own disk.
    pub(crate) fn brought_damaged(&mut self, node: usize, damaged: &[Hash], now: Duration) {
        for hash in damaged {
            let known = self.batches.get_mut(hash);
            if let Some(known) = known.filter(|known| !known.holders.contains(&node)) {
                known.losses += 1;
                known.lost_at = Some(now);
            }
        }
    }

    /// Takes note of what a node's disk holds after a fault.
    pub(crate) fn replaced(
        &mut self,
        node: usize,
        readable: &BTreeSet<Hash>,
        now: Duration,
    ) -> usize {
        let mut lost = 0;
        for (hash, known) in &mut self.batches {
            if readable.contains(hash) {
                known.holders.insert(node);
            } else if known.holders.remove(&node) {
                known.losses += 1;
                known.lost_at = Some(now);
                lost += 1;
            }
        }
        lost
    }
}

impl Known {
    /// Copies that were promised. More than `kept` of any batch are not kept for ever.
    pub(crate) fn promised(&self, kept: usize) -> usize {
        self.acknowledged.max(usize::from(self.pending)).min(kept)
    }

    /// Whether any publisher was told that it is kept.
    pub(crate) fn promises(&self) -> bool {
        self.acknowledged > 0 || self.pending
    }
}
