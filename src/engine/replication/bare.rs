//! Bare compacted parts: the batch behind the part was lost.
//!
//! A replica takes a compacted part only with the batch that follows, whose writer signed where the
//! part ends. Faults may destroy that batch at every node. Then a home replica that holds the part
//! cannot give it to those that lack it, and they would differ from it for ever.
//!
//! So the home forgets the part. It does so on its own proof, and on nobody's word: another home
//! replica lacks some of the part, and every node that any node knows has said twice that it does
//! not hold what follows. That is the proof by which readers skip a gap (`read::holes`). Every
//! record of the part has a newer record of its key, so no record is lost. If all homes hold the
//! part, it stays.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{
        Engine,
        holdings::{Damage, log::HeldSpan},
        inflight::{found::Found, stored::ReadPurpose},
        output::Write,
        survey::Then,
    },
    limits::ODD_MEMBERS_FOR,
    model::{Batch, Compacted, Hash, LogId, NodeId, Stamp, TopicId},
    wire::{LogRange, Page},
};

/// Parts that are remembered at a time. Others are noted when there is room.
const PARTS_MAX: usize = 1_024;

/// How often all nodes must say that they do not hold what follows.
const PROOFS: u32 = 2;

/// Time from one survey about a part to the next.
const SURVEY_PAUSE: Duration = Duration::from_secs(2);

/// The same after several that proved nothing: the pause doubles up to this.
const SURVEY_PAUSE_MAX: Duration = Duration::from_secs(16);

/// A part that may be bare.
#[derive(Debug)]
struct Bare {
    part: Compacted,
    /// Surveys in a row that proved it.
    proofs: u32,
    pause: Duration,
    due: Duration,
}

/// What a survey says of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nobody holds what follows.
    Proven,
    /// Somebody may hold it.
    Unproven,
    /// It is not bare any more, or all homes have it.
    Settled,
}

/// A part, by its log and its end.
type Key = (TopicId, LogId, u64);

/// The hash and the stamp of the batch before a part, where they are of one span.
type Before = Option<(Hash, Stamp)>;

/// The parts that may be bare.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    parts: BTreeMap<Key, Bare>,
    is_asking: bool,
}

impl State {
    pub(in crate::engine) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.parts.retain(|(of, ..), _| *of != topic);
    }

    /// Parts of one topic.
    fn of_topic(&mut self, topic: TopicId) -> impl Iterator<Item = &mut Bare> {
        self.parts.iter_mut().filter(move |((of, ..), _)| *of == topic).map(|(_, bare)| bare)
    }
}

impl Engine {
    /// A node has fetched a page. If it is a home replica and lacks a part, and nothing follows the
    /// part here, the part may be bare.
    pub(in crate::engine) fn note_bare(&mut self, topic: TopicId, from: NodeId, page: &Page) {
        let follows = |part: &Compacted| page.batches.iter().any(|batch| part.precedes(batch));
        for part in page.compacted.iter().filter(|part| !follows(part)) {
            let Some(known) = self.core.topics.get_mut(&topic) else {
                return;
            };
            let is_shared = known.belongs_to(&self.core.members, &self.core.me)
                && known.belongs_to(&self.core.members, &from);
            if !is_shared || self.span_that_ends_with(topic, part).is_none() {
                continue;
            }
            let parts = &mut self.replication.bare.parts;
            let key = (topic, part.log, part.next);
            if let Some(bare) = parts.get_mut(&key) {
                // It may be a longer one by now.
                bare.part = part.unnamed();
            } else if parts.len() < PARTS_MAX {
                let (part, due) = (part.unnamed(), self.core.now.elapsed);
                parts.insert(key, Bare { part, proofs: 0, pause: SURVEY_PAUSE, due });
            }
        }
    }

    /// The span of a log that ends with a part: nothing follows it here.
    fn span_that_ends_with(&self, topic: TopicId, part: &Compacted) -> Option<HeldSpan> {
        let log = self.core.topics.get(&topic)?.logs.get(&part.log)?;
        let ends = |span: &&HeldSpan| (span.next, span.head) == (part.next, part.head);
        log.spans.iter().find(ends).copied()
    }

    pub(in crate::engine) fn tick_bare(&mut self) {
        let now = self.core.now.elapsed;
        let state = &mut self.replication.bare;
        let due = state.parts.iter().filter(|(_, bare)| bare.due <= now);
        let due = due.min_by_key(|(_, bare)| bare.due).map(|((topic, ..), _)| *topic);
        let Some(topic) = due.filter(|_| !state.is_asking) else {
            return;
        };
        state.of_topic(topic).for_each(|bare| bare.due = now + bare.pause);
        // A node that is away may hold what follows, and cannot be asked.
        let members = &self.core.members;
        if members.iter().all(|(node, _)| members.is_connected(node)) {
            self.replication.bare.is_asking = true;
            self.survey(topic, Then::Bare);
        }
    }

    /// All nodes that can be asked have said what they hold.
    pub(in crate::engine) fn bare_found(&mut self, found: &Found) {
        self.replication.bare.is_asking = false;
        let (topic, now) = (found.topic, self.core.now.elapsed);
        let is_exhaustive = self.is_exhaustive(found, ODD_MEMBERS_FOR);
        let parts: Vec<_> =
            self.replication.bare.of_topic(topic).map(|bare| bare.part.clone()).collect();
        for part in parts {
            let verdict = self.judge_bare(found, &part, is_exhaustive);
            let key = (topic, part.log, part.next);
            let Some(bare) = self.replication.bare.parts.get_mut(&key) else {
                continue;
            };
            let (proofs, pause) = match verdict {
                Verdict::Proven => (bare.proofs + 1, SURVEY_PAUSE),
                Verdict::Unproven => (0, (bare.pause * 2).min(SURVEY_PAUSE_MAX)),
                Verdict::Settled => (0, bare.pause),
            };
            (bare.proofs, bare.pause, bare.due) = (proofs, pause, now + pause);
            if verdict == Verdict::Settled {
                self.replication.bare.parts.remove(&key);
            } else if proofs >= PROOFS {
                self.forget_proven_bare(key);
            }
        }
    }

    fn judge_bare(&mut self, found: &Found, part: &Compacted, is_exhaustive: bool) -> Verdict {
        let Some(known) = self.core.topics.get_mut(&found.topic) else {
            return Verdict::Settled;
        };
        let is_mine = known.belongs_to(&self.core.members, &self.core.me);
        let low = known.logs.get(&part.log).map_or(0, |log| log.low);
        let range = LogRange { log: part.log, from: part.first.max(low), to: part.next };
        let is_lacked = found.placement.home.iter().any(|home| !found.holds(home, range));
        if !is_mine || !is_lacked || self.span_that_ends_with(found.topic, part).is_none() {
            return Verdict::Settled;
        }
        // What another node trimmed is not lost: this log is about to be trimmed, too.
        let mut entries = found.held.values().filter_map(|held| held.frontier.0.get(&part.log));
        let is_nowhere =
            entries.all(|entry| !entry.missing(part.next, part.next.saturating_add(1)).is_empty());
        if is_exhaustive && is_nowhere && self.filed_alike(found, part.log).is_some() {
            Verdict::Proven
        } else {
            Verdict::Unproven
        }
    }

    /// All behind a part is proven to be lost: it is forgotten, once it is known which batch the
    /// span ends with then.
    fn forget_proven_bare(&mut self, key: Key) {
        let (topic, log, _) = key;
        let Some(part) = self.replication.bare.parts.get(&key).map(|bare| bare.part.clone()) else {
            return;
        };
        match self.span_that_ends_with(topic, &part) {
            Some(span) if span.first < part.first => {
                let before = LogRange { log, from: part.first - 1, to: part.first };
                self.core.read_store(topic, vec![before], 1, ReadPurpose::Bare(topic, log, key.2));
            }
            Some(span) => self.lose_bare(key, &part, span.first, None),
            None => {
                self.replication.bare.parts.remove(&key);
            }
        }
    }

    /// The store has read what lies before a part whose loss is proven.
    pub(in crate::engine) fn before_bare_read(&mut self, key: Key, page: Option<Page>) {
        let Some(bare) = self.replication.bare.parts.get_mut(&key) else {
            return;
        };
        let (part, page) = (bare.part.clone(), page.unwrap_or_default());
        let is_longer = |other: &&Compacted| {
            (other.log, other.next, other.head) == (part.log, part.next, part.head)
                && other.first < part.first
        };
        let is_before = |batch: &&Batch| {
            let header = batch.header();
            (batch.log(), header.next()) == (part.log, part.first)
                && Some(batch.hash()) == part.base
        };
        if let Some(longer) = page.compacted.iter().find(is_longer) {
            // Another part lies right before it: both go.
            bare.part = longer.unnamed();
            self.forget_proven_bare(key);
        } else if let Some(batch) = page.batches.iter().find(is_before) {
            let before = (batch.hash(), batch.header().stamp);
            self.lose_bare(key, &part, part.first, Some(before));
        } else {
            // It cannot be read. Once that is known, the part stands alone.
            bare.proofs = 0;
        }
    }

    /// Forgets a part, which is lost with what followed it.
    fn lose_bare(&mut self, key: Key, part: &Compacted, first: u64, previous: Before) {
        self.replication.bare.parts.remove(&key);
        let &Compacted { log, next, head, .. } = part;
        if self.span_that_ends_with(key.0, part).is_none() {
            return;
        }
        let topic = key.0;
        let damage = Damage { topic, log, first, next, hash: head, previous };
        let known = self.core.topics.get_mut(&topic);
        if let Some(rest) = known.and_then(|known| known.lose(&damage)) {
            // Retention may have trimmed its start.
            let from = part.first.min(first);
            self.core.write(Write::Drop { topic, log_id: log, from, to: next, log: Some(rest) });
            self.serve_waiting(topic);
            self.repair_soon();
        }
    }
}
