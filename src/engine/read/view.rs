//! What a node knows of a topic that is being read through it: how far it goes, who holds it,
//! and its newest batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::tail::Tail;
use crate::{
    engine::ids::ReadId,
    limits::{FRONTIER_LOGS_MAX, STRANGER_LOGS_MAX, WRITER_LOGS_MAX},
    model::{Batch, Cursor, Frontier, Incarnation, LogId, NodeId, Position, TopicId, roster::Cut},
    wire::LogRange,
};

/// Where batches come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Source {
    Tail,
    Store,
    Node(NodeId),
}

/// Time for a batch that was announced to be found. Then its writer has taken it along.
const ANNOUNCED_AGE_MAX: Duration = Duration::from_secs(5);

/// How long a writer's new incarnation is held back until the end of the one before is here.
/// The writer itself holds it, so it is late at most.
const HELD_BACK_MAX: Duration = Duration::from_secs(5);

/// How often all nodes are asked whether anybody holds what readers lack. A hole counts as one
/// that nobody can fill when it was found so often in a row: between two times a copy may have
/// moved from a node that was not asked yet to one that had answered.
const HOLE_SURVEY_INTERVAL: Duration = Duration::from_secs(2);
const HOLE_FOUND_TIMES: u32 = 2;

/// Logs of one writer that become known by gossip: those that a replica takes, and as many
/// branches.
const WRITER_LOGS_IN_VIEW_MAX: usize = 2 * WRITER_LOGS_MAX;

/// Records that nobody holds, by what was told so far.
#[derive(Debug)]
struct Hole {
    range: LogRange,
    times: u32,
}

/// A log whose start waits for the end of the one before.
#[derive(Debug)]
struct HeldBack {
    since: Duration,
    before: LogId,
}

/// What is known of a topic that is being read.
#[derive(Debug)]
pub(in crate::engine) struct View {
    /// What the replicas said they hold.
    pub(in crate::engine) frontiers: BTreeMap<NodeId, Frontier>,
    /// When they last said it.
    pub(in crate::engine) surveyed: Option<Duration>,
    /// Whether they are being asked.
    pub(in crate::engine) surveying: bool,
    /// The newest batches.
    pub(in crate::engine) tail: Tail,
    /// The reads that wait for news.
    pub(in crate::engine) waiting: BTreeSet<ReadId>,
    /// When it was last asked for.
    pub(in crate::engine) used: Duration,
    /// Whether this node has joined the topic's mesh.
    pub(in crate::engine) following: bool,
    /// How far the topic goes by what was told and what came.
    end: Cursor,
    /// Batches that exist by what others say, and since when that is known.
    announced: BTreeMap<LogId, (Position, Duration)>,
    /// Logs whose start waits for the end of the log before.
    held_back: BTreeMap<LogId, HeldBack>,
    /// How many logs of writers that are no nodes became known by gossip.
    strangers: usize,
    holes: Vec<Hole>,
    /// When all nodes were last asked about holes, and whether they are being asked.
    holes_surveyed: Option<Duration>,
    holes_asked: bool,
}

impl View {
    pub(in crate::engine) fn new(topic: TopicId) -> Self {
        Self {
            frontiers: BTreeMap::new(),
            surveyed: None,
            surveying: false,
            tail: Tail::default(),
            waiting: BTreeSet::new(),
            used: Duration::ZERO,
            following: false,
            end: Cursor::start(topic),
            announced: BTreeMap::new(),
            held_back: BTreeMap::new(),
            strangers: 0,
            holes: Vec::new(),
            holes_surveyed: None,
            holes_asked: false,
        }
    }

    /// The end of the hole that starts at `from` or before and nobody can fill, if there is one.
    pub(in crate::engine) fn hole_at(&self, log: LogId, from: u64) -> Option<u64> {
        let at = |hole: &&Hole| {
            let LogRange { log: of, from: start, to } = hole.range;
            of == log && start <= from && from < to && hole.times >= HOLE_FOUND_TIMES
        };
        self.holes.iter().find(at).map(|hole| hole.range.to)
    }

    /// Whether it is time to ask all nodes about gaps. If so, it counts as asked.
    pub(in crate::engine) fn holes_due(&mut self, now: Duration) -> bool {
        let due = |at: Duration| now.saturating_sub(at) >= HOLE_SURVEY_INTERVAL;
        let due = self.holes_surveyed.is_none_or(due);
        if due {
            self.holes_surveyed = Some(now);
            self.holes_asked = true;
        }
        due
    }

    /// Whether it may soon be known that something is a hole.
    pub(in crate::engine) fn suspects_holes(&self) -> bool {
        self.holes_asked || self.holes.iter().any(|hole| hole.times < HOLE_FOUND_TIMES)
    }

    /// Every node has said what it holds, but for those that are gone; these parts nobody does.
    pub(in crate::engine) fn holes_found(&mut self, missing: Vec<LogRange>) {
        let found_before = |range: &LogRange| {
            let covers = |hole: &&Hole| {
                hole.range.log == range.log
                    && hole.range.from <= range.from
                    && range.to <= hole.range.to
            };
            self.holes.iter().filter(covers).map(|hole| hole.times).max().unwrap_or(0)
        };
        self.holes_asked = false;
        self.holes = missing
            .into_iter()
            .map(|range| Hole { times: found_before(&range) + 1, range })
            .collect();
    }

    /// Not every node has answered: nothing is proven.
    pub(in crate::engine) fn holes_unknown(&mut self) {
        self.holes_asked = false;
        self.holes.clear();
    }

    /// An admin says where a log ends: what comes after that is shown no more.
    pub(in crate::engine) fn end_at(&mut self, log: LogId, cut: Cut) {
        let position = Position { next: cut.next, head: cut.head };
        if let Some(end) = self.end.logs.get_mut(&log).filter(|end| end.next > cut.next) {
            *end = position;
        }
        if let Some((end, _)) = self.announced.get_mut(&log).filter(|(end, _)| end.next > cut.next)
        {
            *end = position;
        }
        for entry in self.frontiers.values_mut().filter_map(|held| held.0.get_mut(&log)) {
            entry.end_at(cut.next, cut.head);
        }
        self.tail.end_at(log, cut.next);
    }

    /// A node has said what it holds.
    pub(in crate::engine) fn told(&mut self, node: NodeId, frontier: &Frontier) {
        self.end.join_frontier(frontier);
        self.frontiers.insert(node, frontier.clone());
    }

    /// Whether readers are told of a log that gossip brings. Nobody may have stored it yet, so a
    /// key that somebody made up has the same share here as at a replica.
    pub(in crate::engine) fn takes(&mut self, log: LogId, is_node: bool) -> bool {
        if self.end.logs.contains_key(&log) {
            return true;
        }
        let of = |incarnation| LogId { incarnation: Incarnation(incarnation), ..log };
        let own = self.end.logs.range(of(0)..=of(u64::MAX)).count();
        let has_room = own < WRITER_LOGS_IN_VIEW_MAX
            && (is_node || self.strangers < STRANGER_LOGS_MAX)
            && self.end.logs.len() < FRONTIER_LOGS_MAX;
        self.strangers += usize::from(has_room && !is_node);
        has_room
    }

    /// A batch is here; whether it is new.
    pub(in crate::engine) fn arrived(&mut self, now: Duration, batch: &Batch) -> bool {
        self.link(now, batch);
        self.end.advance(batch);
        self.tail.push(batch)
    }

    /// A batch exists somewhere.
    pub(in crate::engine) fn announced(&mut self, now: Duration, log: LogId, position: Position) {
        if self.announced.len() < FRONTIER_LOGS_MAX || self.announced.contains_key(&log) {
            let known = self.announced.entry(log).or_insert((position, now));
            if known.0.next < position.next {
                *known = (position, now);
            }
        }
    }

    /// What came before the first batch of an incarnation exists, too.
    fn link(&mut self, now: Duration, batch: &Batch) {
        if let Some((log, position)) = predecessor(batch) {
            self.announced(now, log, position);
        }
    }

    /// How far the topic goes.
    pub(in crate::engine) fn join_end_into(&self, end: &mut Cursor) {
        end.join(&self.end);
        for (log, (position, _)) in &self.announced {
            end.advance_to(*log, *position);
        }
    }

    /// Forgets what was announced and is not found.
    pub(in crate::engine) fn expire(&mut self, now: Duration) {
        self.announced.retain(|_, (_, since)| now.saturating_sub(*since) < ANNOUNCED_AGE_MAX);
    }

    /// Whether a batch must wait for a reader that was not shown what its writer wrote before its
    /// restart. As long as that `comes` from somewhere, it waits; otherwise it is late at most.
    pub(in crate::engine) fn holds_back(
        &mut self,
        now: Duration,
        batch: &Batch,
        before: LogId,
        comes: bool,
    ) -> bool {
        self.link(now, batch);
        let held = self.held_back.entry(batch.log());
        let since = held.or_insert(HeldBack { since: now, before }).since;
        comes && !self.is_circular(before) || now.saturating_sub(since) < HELD_BACK_MAX
    }

    /// Whether logs name each other as the one before, which a writer may claim: then nothing of
    /// them would ever be shown.
    fn is_circular(&self, mut log: LogId) -> bool {
        for _ in 0..=self.held_back.len() {
            match self.held_back.get(&log) {
                Some(held) => log = held.before,
                None => return false,
            }
        }
        true
    }

    /// A batch need not wait.
    pub(in crate::engine) fn lets_through(&mut self, batch: &Batch) {
        if predecessor(batch).is_some() {
            self.held_back.remove(&batch.log());
        }
    }
}

/// Where a log ends that a batch continues and a reader at `at` was not shown.
pub(in crate::engine) fn not_shown(at: &Cursor, batch: &Batch) -> Option<(LogId, Position)> {
    let (before, position) = predecessor(batch)?;
    // It may have been filed under a branch since.
    let stands_there =
        |(log, stands): (&LogId, &Position)| log.writer == before.writer && *stands == position;
    let shown = at.next(&before) >= position.next || at.logs.iter().any(stands_there);
    (!shown).then_some((before, position))
}

/// The end of the log that a writer continues with the first batch of a new incarnation, or that
/// a branch continues.
fn predecessor(batch: &Batch) -> Option<(LogId, Position)> {
    let header = batch.header();
    let previous = header.previous?;
    let log = LogId { incarnation: previous.incarnation, ..header.log() };
    let position = Position { next: previous.next, head: Some(previous.hash) };
    let starts = previous.incarnation != header.incarnation || batch.is_root();
    starts.then_some((log, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Draft, Hash, Incarnation, NodeKey, Previous, ProducerId, Realm, Record, Run, Stamp,
        WallClock, encode_record,
    };

    fn topic() -> TopicId {
        TopicId::derive(&Realm::default(), &"t".parse().unwrap())
    }

    /// The first batch of an incarnation that continues another one.
    fn first_of(incarnation: u64, previous: Option<(u64, u64)>) -> Batch {
        let key = NodeKey::from_secret(&[1; 32]);
        let previous = previous.map(|(incarnation, next)| Previous {
            incarnation: Incarnation(incarnation),
            next,
            hash: Hash([7; 32]),
        });
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
        let draft = Draft {
            topic: topic(),
            incarnation: Incarnation(incarnation),
            previous,
            stamp: Stamp::default(),
            runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
        };
        draft.seal(&body.into(), &key)
    }

    #[test]
    fn what_comes_before_is_waited_for_whoever_waited_before() {
        let topic = topic();
        let mut view = View::new(topic);
        let (batch, at) = (first_of(2, Some((1, 3))), Cursor::start(topic));
        let (before, position) = not_shown(&at, &batch).unwrap();
        assert_eq!((before.incarnation, position.next), (Incarnation(1), 3));
        let later = HELD_BACK_MAX * 2;
        assert!(view.holds_back(Duration::ZERO, &batch, before, false));
        // A reader gave up waiting; the next one is given what has come since.
        assert!(!view.holds_back(later, &batch, before, false));
        assert!(view.holds_back(later, &batch, before, true));
        let mut at = at;
        at.advance_to(before, position);
        assert_eq!(not_shown(&at, &batch), None);
    }

    #[test]
    fn logs_that_name_each_other_hide_nothing() {
        let mut view = View::new(topic());
        let (one, two) = (first_of(1, Some((2, 1))), first_of(2, Some((1, 1))));
        for now in [Duration::ZERO, HELD_BACK_MAX] {
            for (batch, before) in [(&one, two.log()), (&two, one.log())] {
                assert_eq!(view.holds_back(now, batch, before, true), now < HELD_BACK_MAX);
            }
        }
    }
}
