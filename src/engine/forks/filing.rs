//! Filing: what this node held of a forked log after the fork becomes part of branches.
//!
//! It goes page by page, from the fork on. A batch is stored under its branch, and then taken out
//! of the log. A crash between the two leaves it twice, and the next start continues from there; at
//! no point is it nowhere. One write for all of it would be as large as the log.
//!
//! The chain decides to which branch a batch belongs: it is the branch's root, or it follows a
//! batch of the branch. A node that stood in may hold a later part without the batches that connect
//! it. Then those are fetched from others and checked one by one; if they were trimmed, `headers`
//! looks among headers first. Until the branch is found, the part stays where it is: held, and not
//! lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::way::Way;
use crate::{
    engine::{
        Engine,
        holdings::{
            log::{Added, HeldSpan, Log},
            proofs::Root,
        },
        inflight::{asks::Purpose, stored::ReadPurpose},
        input::Failure,
        output::Write,
        planted::{Bug, planted},
    },
    limits::{ASK_TIMEOUT, PAGE_BYTES_MAX},
    model::{Batch, Hash, LogId, TopicId},
    wire::{LogRange, Page, Request, Response},
};

/// Pause before what could not be filed is tried again; twice as long each time, up to a bound.
const PAUSE: Duration = Duration::from_secs(2);
const DOUBLINGS_MAX: u32 = 3;

/// What must be filed of one log.
#[derive(Debug, Default)]
struct Filing {
    /// Where branches part within a branch: not looked at yet.
    points: BTreeSet<u64>,
    /// From where on a read is under way.
    reading: Option<u64>,
    /// Whether only the next batch is read, for a page did not hold what was needed.
    narrow: bool,
    /// The way to a part that nothing here connects.
    way: Option<Way>,
    again_at: Duration,
    /// How often it could not be filed since anything was.
    tries: u32,
}

impl Filing {
    /// How long it is left alone after it could not be filed.
    fn pause(&self) -> Duration {
        PAUSE * 2_u32.pow(self.tries.min(DOUBLINGS_MAX))
    }
}

/// All that is being filed.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    filings: BTreeMap<(TopicId, LogId), Filing>,
}

impl State {
    /// The way to a part was found; whether that is still of use.
    pub(in crate::engine) fn set_way(&mut self, of: (TopicId, LogId), way: Way) -> bool {
        let filing = self.filings.get_mut(&of).filter(|filing| filing.reading.is_none());
        filing.is_some_and(|filing| {
            filing.way = Some(way);
            true
        })
    }

    /// Forgets what is being filed of a topic.
    pub(in crate::engine) fn stop(&mut self, topic: TopicId) {
        self.filings.retain(|(of, _), _| *of != topic);
    }

    /// Whether what a node held of a log is still being filed.
    pub(in crate::engine) fn is_filing(&self, topic: TopicId, log: LogId) -> bool {
        self.filings.contains_key(&(topic, log))
    }
}

impl Engine {
    /// A fork of this log has become known.
    pub(in crate::engine) fn file_branches(&mut self, topic: TopicId, of: LogId) {
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let points: BTreeSet<_> = known.forks.family(of).map(|(_, root)| root.at).collect();
        let branches = known.forks.family(of).map(|(branch, _)| branch);
        let logs: Vec<_> =
            branches.chain([of]).filter(|log| known.logs.contains_key(log)).collect();
        for log in logs {
            let filing = self.forks.filing.filings.entry((topic, log)).or_default();
            filing.points.clone_from(&points);
            // A way that was found may lead past a fork that was not known then.
            filing.way = None;
            if filing.reading.is_none() {
                self.file_next(topic, log);
            }
        }
    }

    /// A part of a branch has come in. If it does not follow what is held of the branch, the branch
    /// may end in between, and the part belongs to a branch of that one.
    pub(in crate::engine) fn file_if_apart(&mut self, batch: &Batch) {
        let (topic, log, first) = (batch.header().topic, batch.log(), batch.header().first);
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let (Some(root), Some(held)) = (known.forks.root(&log), known.logs.get(&log)) else {
            return;
        };
        let apart = first > root.at && held.spans.iter().any(|span| span.first == first);
        let between = |at: u64| root.at < at && at <= first;
        if apart && known.forks.family(log).any(|(_, other)| between(other.at)) {
            let origin = known.forks.origin(log);
            self.file_branches(topic, origin);
        }
    }

    /// All that a crash interrupted, and all that could not be filed.
    pub(in crate::engine) fn tick_fork_filing(&mut self) {
        let now = self.core.now.elapsed;
        let due = |(key, filing): (&(TopicId, LogId), &Filing)| {
            let idle = filing.reading.is_none() && filing.again_at <= now;
            idle.then_some(*key)
        };
        let due: Vec<_> = self.forks.filing.filings.iter().filter_map(due).collect();
        for (topic, log) in due {
            self.file_next(topic, log);
        }
    }

    /// The next part of a log that belongs elsewhere or may do so.
    fn next_to_file(
        &self,
        topic: TopicId,
        log: LogId,
        points: &BTreeSet<u64>,
    ) -> Option<(u64, u64)> {
        let known = self.core.topics.get(&topic)?;
        let spans = &known.logs.get(&log)?.spans;
        let start = known.forks.root(&log).map(|root| root.at);
        let from = match start {
            None => known.forks.sealed_at(log)?,
            // Also what is held after it: a part that came in before the fork there was known.
            Some(start) => {
                let held = |at: u64| first_held(spans, at).is_some();
                points.iter().copied().find(|at| *at > start && held(*at))?
            }
        };
        first_held(spans, from)
    }

    pub(in crate::engine) fn file_next(&mut self, topic: TopicId, log: LogId) {
        let key = (topic, log);
        if !self.core.room {
            // What moves is in both places for a moment.
            if let Some(filing) = self.forks.filing.filings.get_mut(&key) {
                filing.again_at = self.core.now.elapsed + PAUSE;
            }
            return;
        }
        let Some(filing) = self.forks.filing.filings.get(&key) else {
            return;
        };
        let Some((from, to)) = self.next_to_file(topic, log, &filing.points) else {
            self.forks.filing.filings.remove(&key);
            return;
        };
        let to = if filing.narrow { from + 1 } else { to };
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        // What branches hold there already, and the batch before.
        let branches = known.forks.family(log).map(|(branch, _)| branch);
        let read = branches.chain([log]).collect::<BTreeSet<_>>();
        let read = read.into_iter().flat_map(|log| {
            let entry = known.logs.get(&log).map(Log::entry).unwrap_or_default();
            let start = from.saturating_sub(1);
            let part = move |first: u64, next: u64| {
                let (from, to) = (first.max(start), next.min(to));
                (from < to).then_some(LogRange { log, from, to })
            };
            entry.spans.into_iter().filter_map(move |span| part(span.first, span.next))
        });
        let ranges: Vec<_> = read.collect();
        self.core.read_store(topic, ranges, PAGE_BYTES_MAX, ReadPurpose::File(key.0, key.1));
        if let Some(filing) = self.forks.filing.filings.get_mut(&key) {
            filing.reading = Some(from);
        }
    }

    pub(in crate::engine) fn filing_read(
        &mut self,
        topic: TopicId,
        log: LogId,
        page: Option<Page>,
    ) {
        let now = self.core.now.elapsed;
        let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) else {
            return;
        };
        let Some(from) = filing.reading.take() else {
            return;
        };
        filing.again_at = now + filing.pause();
        if !self.core.room {
            return;
        }
        let page = page.unwrap_or_default().batches;
        let mut own = Vec::new();
        let mut next = from;
        for batch in page.iter().filter(|batch| batch.log() == log) {
            if batch.header().first == next {
                next = batch.header().next();
                own.push(batch.clone());
            }
        }
        let Some(first) = own.first() else {
            filing.narrow = !filing.narrow;
            if filing.narrow {
                self.file_next(topic, log);
            }
            return;
        };
        let Some(branch) = self.branch_for(topic, log, first, &page) else {
            if let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) {
                filing.tries += 1;
            }
            return self.look_for_way(topic, log, first);
        };
        if branch == log {
            // Nothing parts here, nor in what is missing before it. A point that has become known
            // while this was read is still to be looked at.
            let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
            let spans = known.map_or_else(Vec::new, |log| log.spans.clone());
            let looked_at =
                |at: u64| first_held(&spans, at).is_some_and(|(first, _)| first == from);
            if let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) {
                filing.points.retain(|at| !looked_at(*at));
            }
            return self.file_next(topic, log);
        }
        let before = page.iter().find(|batch| batch.log() == log && batch.header().next() == from);
        let before = before.map(|batch| (batch.hash(), batch.header().stamp));
        self.cut_branch(topic, log, branch, from);
        let moved = self.file(topic, branch, &own, &page);
        let Some(last) = moved.last() else {
            let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) else {
                return;
            };
            filing.narrow = !filing.narrow;
            if filing.narrow {
                self.file_next(topic, log);
            }
            return;
        };
        let (to, head) = (last.header().next(), last.hash());
        if let Some(known) = self.core.topics.get_mut(&topic)
            && known.take_out(&log, from, to, head, before)
        {
            let rest = known.logs.get(&log).cloned();
            self.core.write(Write::Drop { topic, log_id: log, from, to, log: rest });
            if let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) {
                filing.narrow = false;
                filing.way = None;
                filing.tries = 0;
            }
            for batch in &moved {
                self.arrived(batch);
            }
            self.file_next(topic, log);
        }
    }

    /// Stores batches of one chain under their branches, as far as that is possible; these.
    fn file(
        &mut self,
        topic: TopicId,
        mut branch: LogId,
        own: &[Batch],
        page: &[Batch],
    ) -> Vec<Batch> {
        let mut moved = Vec::new();
        for batch in own {
            let Some(known) = self.core.topics.get_mut(&topic) else {
                break;
            };
            let (first, previous) = (batch.header().first, batch.header().previous);
            if let Some(root) = known.forks.branch_of(branch.writer, batch.hash()) {
                branch = root;
            } else if known.forks.ends_before(branch, first, previous.map(|it| it.hash)) {
                // The branch ends with the batch before, by a fork that became known while this
                // was read. What follows is looked at by itself.
                break;
            }
            let filed = batch.clone().filed(branch.incarnation);
            if planted(Bug::BranchThrownAway) {
                let first = known.forks.family(branch).next();
                if first.is_some_and(|(first, _)| first != branch) {
                    moved.push(filed);
                    continue;
                }
            }
            match known.add(&filed) {
                Ok(Added::New) => {
                    let log = known.logs[&branch].clone();
                    self.append(filed.clone(), log);
                    self.note_filed(&filed);
                }
                Ok(Added::Held) => {}
                Ok(Added::Taken) => {
                    let same = |held: &&Batch| held.log() == branch && *held == batch;
                    if !page.iter().any(|held| same(&held)) {
                        let at = |held: &&Batch| {
                            held.log() == branch && held.header().first == batch.header().first
                        };
                        let other = page.iter().find(at);
                        let proof =
                            other.and_then(|held| crate::model::ForkProof::of(held, batch).ok());
                        if let Some(proof) = proof {
                            self.learn_fork(&proof);
                        }
                        break;
                    }
                }
                Err(_) => break,
            }
            moved.push(filed);
        }
        moved
    }

    /// The branch that a batch of this log belongs to; the log itself where it is no root of
    /// another one.
    fn branch_for(
        &mut self,
        topic: TopicId,
        log: LogId,
        batch: &Batch,
        page: &[Batch],
    ) -> Option<LogId> {
        let known = self.core.topics.get(&topic)?;
        let forks = &known.forks;
        if let Some(branch) = forks.branch_of(log.writer, batch.hash()) {
            return Some(branch);
        }
        let (first, base) = (batch.header().first, batch.header().previous.map(|it| it.hash));
        let parts = forks.ends_before(log, first, base);
        let follows = known.logs.get(&log).is_some_and(|log| {
            log.spans.iter().any(|span| span.first < first && first <= span.next)
        });
        if forks.root(&log).is_some() && !parts && follows {
            return Some(log);
        }
        let joins = |(branch, _): &(LogId, &Root)| {
            let ends = known.logs.get(branch).is_some_and(|log| {
                log.spans.iter().any(|span| span.next == first && Some(span.head) == base)
            });
            // Still: it may have been filed elsewhere since this was read.
            let holds = |from: u64| {
                known.logs.get(branch).is_some_and(|log| log.entry().covers(from, first))
            };
            let passes = |held: &Batch| {
                let header = held.header();
                (held.log(), header.next(), Some(held.hash())) == (*branch, first, base)
                    && holds(header.first)
            };
            ends || page.iter().any(passes)
        };
        // Where a chain ends, what follows belongs to no branch that is known.
        if !parts {
            if let Some((branch, _)) = forks.family(log).find(joins) {
                return Some(branch);
            }
            // It may have come as part of a branch from a node that knew the way.
            let is_there = |branch: &LogId| {
                let held = known.logs.get(branch).map(Log::entry).unwrap_or_default();
                *branch != log && held.covers(first, batch.header().next())
            };
            let same = page.iter().filter(|held| *held == batch).map(Batch::log).find(is_there);
            if forks.root(&log).is_none() && same.is_some() {
                return same;
            }
            let filing = self.forks.filing.filings.get(&(topic, log));
            let way = filing.and_then(|filing| filing.way.as_ref()).filter(|way| way.found);
            if let Some(way) = way.filter(|way| (way.to, Some(way.base)) == (first, base)) {
                return Some(way.branch);
            }
        }
        // One more branch of the same fork.
        let proof = forks.proofs_of(log).find_map(|proof| proof.with(batch).ok())?;
        self.learn_fork(&proof);
        self.core.topics.get(&topic)?.forks.branch_of(log.writer, batch.hash())
    }

    // --- the way to a part that nothing connects -------------------------------------------

    /// Finds out to which branch a part belongs: by what headers say that are kept here, or by what
    /// others hold.
    fn look_for_way(&mut self, topic: TopicId, log: LogId, first: &Batch) {
        if let Some(base) = first.header().previous.map(|previous| previous.hash) {
            self.walk_back(topic, log, first.header().first, base);
        }
    }

    /// Asks others for a branch, to see whether a part that is held here belongs to it.
    pub(in crate::engine) fn ask_for_way(
        &mut self,
        topic: TopicId,
        log: LogId,
        to: u64,
        base: Hash,
    ) {
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let below = known.forks.family(log).filter(|(_, root)| root.at < to);
        let mut left: Vec<_> = below.map(|(branch, root)| (branch, root.at)).collect();
        let Some((branch, next)) = left.pop() else {
            return;
        };
        let left = left.into_iter().map(|(branch, _)| branch).collect();
        let way = Way { to, base, left, branch, next, head: None, found: false };
        self.ask_way(topic, log, way);
    }

    fn ask_way(&mut self, topic: TopicId, log: LogId, way: Way) {
        let range = LogRange { log: way.branch, from: way.next, to: way.to };
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let replicas = known.placement(&self.core.members).all();
        let replicas: Vec<_> = replicas
            .filter(|node| *node != self.core.me && self.core.members.is_connected(node))
            .collect();
        let Some(node) = self.core.random.choice(replicas) else {
            return;
        };
        if let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) {
            filing.way = Some(way);
            filing.again_at = self.core.now.elapsed + ASK_TIMEOUT + PAUSE;
            let bytes_max = u32::try_from(PAGE_BYTES_MAX).expect("a page is below 4 GiB");
            let request = Request::Fetch(topic, vec![range], bytes_max);
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::ForkWay(topic, log));
        }
    }

    /// Another node gives part of a branch: it is followed batch by batch.
    pub(in crate::engine) fn way_fetched(
        &mut self,
        topic: TopicId,
        log: LogId,
        result: Result<Response, Failure>,
    ) {
        let now = self.core.now.elapsed;
        let Some(filing) = self.forks.filing.filings.get_mut(&(topic, log)) else {
            return;
        };
        let Some(mut way) = filing.way.take() else {
            return;
        };
        filing.again_at = now + filing.pause();
        let Ok(Response::Page(page)) = result else {
            return;
        };
        let (start, asked) = (way.next, way.branch);
        let Some(forks) = self.core.topics.get(&topic).map(|known| &known.forks) else {
            return;
        };
        for batch in &page.batches {
            let header = batch.header();
            let base = header.previous.map(|previous| previous.hash);
            let chained = match way.head {
                None => batch.is_root(),
                Some(head) => base == Some(head),
            };
            let here = (header.topic, batch.log(), header.first) == (topic, asked, way.next);
            if !here || !chained || header.next() > way.to {
                break;
            }
            // The other node may not know yet that branches part here.
            match forks.branch_of(log.writer, batch.hash()) {
                Some(branch) => way.branch = branch,
                None if forks.ends_before(log, header.first, base) => break,
                None => {}
            }
            way.next = header.next();
            way.head = Some(batch.hash());
        }
        if way.next == way.to && way.head == Some(way.base) {
            way.found = true;
            filing.way = Some(way);
            self.file_next(topic, log);
        } else if way.next > start && way.next < way.to {
            self.ask_way(topic, log, way);
        } else if let Some(branch) = way.left.pop() {
            let known = self.core.topics.get(&topic);
            let root = known.and_then(|known| known.forks.root(&branch));
            let Some(next) = root.map(|root| root.at) else {
                return;
            };
            self.ask_way(topic, log, Way { branch, next, head: None, ..way });
        }
    }
}

/// What is held from a point on, without a hole, or of what comes after it.
fn first_held(spans: &[HeldSpan], at: u64) -> Option<(u64, u64)> {
    let span = spans.iter().find(|span| span.next > at)?;
    Some((span.first.max(at), span.next))
}
