//! What a node knows of a topic that is being read through it: how far it goes, who holds it,
//! and its newest batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::tail::Tail;
use crate::{
    limits::FRONTIER_LOGS_MAX,
    model::{Batch, Cursor, Frontier, LogId, NodeId, Position, TopicId},
    wire::LogRange,
};

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

/// Records that nobody holds, by what was told so far.
#[derive(Debug)]
struct Hole {
    range: LogRange,
    times: u32,
}

/// What is known of a topic that is being read.
#[derive(Debug)]
pub(super) struct View {
    /// What the replicas said they hold.
    pub(super) frontiers: BTreeMap<NodeId, Frontier>,
    /// When they last said it.
    pub(super) surveyed: Option<Duration>,
    /// Whether they are being asked.
    pub(super) surveying: bool,
    /// The newest batches.
    pub(super) tail: Tail,
    /// The reads that wait for news.
    pub(super) waiting: BTreeSet<u64>,
    /// When it was last asked for.
    pub(super) used: Duration,
    /// Whether this node has joined the topic's mesh.
    pub(super) following: bool,
    /// How far the topic goes by what was told and what came.
    end: Cursor,
    /// Batches that exist by what others say, and since when that is known.
    announced: BTreeMap<LogId, (Position, Duration)>,
    /// Logs whose start waits for the end of the log before.
    held_back: BTreeMap<LogId, Duration>,
    holes: Vec<Hole>,
    /// When all nodes were last asked about holes, and whether they are being asked.
    holes_surveyed: Option<Duration>,
    holes_asked: bool,
}

impl View {
    pub(super) fn new(topic: TopicId) -> Self {
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
            holes: Vec::new(),
            holes_surveyed: None,
            holes_asked: false,
        }
    }

    /// The end of the hole that starts at `from` or before and nobody can fill, if there is one.
    pub(super) fn hole_at(&self, log: LogId, from: u64) -> Option<u64> {
        let at = |hole: &&Hole| {
            let LogRange { log: of, from: start, to } = hole.range;
            of == log && start <= from && from < to && hole.times >= HOLE_FOUND_TIMES
        };
        self.holes.iter().find(at).map(|hole| hole.range.to)
    }

    /// Whether it is time to ask all nodes about holes; then that is taken note of.
    pub(super) fn holes_due(&mut self, now: Duration) -> bool {
        let due = |at: Duration| now.saturating_sub(at) >= HOLE_SURVEY_INTERVAL;
        let due = self.holes_surveyed.is_none_or(due);
        if due {
            self.holes_surveyed = Some(now);
            self.holes_asked = true;
        }
        due
    }

    /// Whether it may soon be known that something is a hole.
    pub(super) fn suspects_holes(&self) -> bool {
        self.holes_asked || self.holes.iter().any(|hole| hole.times < HOLE_FOUND_TIMES)
    }

    /// Every node has said what it holds, but for those that are gone; these parts nobody does.
    pub(super) fn holes_found(&mut self, missing: Vec<LogRange>) {
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
    pub(super) fn holes_unknown(&mut self) {
        self.holes_asked = false;
        self.holes.clear();
    }

    /// A node has said what it holds.
    pub(super) fn told(&mut self, node: NodeId, frontier: &Frontier) {
        self.end.join_frontier(frontier);
        self.frontiers.insert(node, frontier.clone());
    }

    /// A batch is here; whether it is new.
    pub(super) fn arrived(&mut self, now: Duration, batch: &Batch) -> bool {
        self.link(now, batch);
        self.end.advance(batch);
        self.tail.push(batch)
    }

    /// A batch exists somewhere.
    pub(super) fn announced(&mut self, now: Duration, log: LogId, position: Position) {
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
    pub(super) fn join_end_into(&self, end: &mut Cursor) {
        end.join(&self.end);
        for (log, (position, _)) in &self.announced {
            end.advance_to(*log, *position);
        }
    }

    /// Forgets what was announced and is not found.
    pub(super) fn expire(&mut self, now: Duration) {
        self.announced.retain(|_, (_, since)| now.saturating_sub(*since) < ANNOUNCED_AGE_MAX);
    }

    /// Whether a batch must wait, for a reader at `at`, until what its writer wrote before its
    /// restart is here.
    pub(super) fn holds_back(&mut self, now: Duration, at: &Cursor, batch: &Batch) -> bool {
        let Some((before, position)) = predecessor(batch) else {
            return false;
        };
        // What a branch of a branch continues is filed under that one.
        let stands_there = |(log, stands): (&LogId, &Position)| {
            batch.is_root() && log.writer == before.writer && *stands == position
        };
        if at.next(&before) >= position.next || at.logs.iter().any(stands_there) {
            self.held_back.remove(&batch.log());
            return false;
        }
        self.link(now, batch);
        let since = *self.held_back.entry(batch.log()).or_insert(now);
        now.saturating_sub(since) < HELD_BACK_MAX
    }
}

/// The end of the log that a writer continues with the first batch of a new incarnation, or that
/// a branch continues.
fn predecessor(batch: &Batch) -> Option<(LogId, Position)> {
    let header = batch.header();
    let previous = header.previous?;
    let log = LogId { incarnation: previous.incarnation, ..header.log() };
    let position = Position { next: previous.next, head: previous.hash };
    let starts = previous.incarnation != header.incarnation || batch.is_root();
    starts.then_some((log, position))
}
