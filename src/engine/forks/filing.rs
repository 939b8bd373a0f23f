//! Filing: what this node held of a forked log after the fork becomes part of branches.
//!
//! It goes page by page, from the fork on. A batch is stored under its branch, and then taken out
//! of the log. A crash between the two leaves it twice, and the next start continues from there; at
//! no point is it nowhere. One write for all of it would be as large as the log.
//!
//! The chain decides to which branch a batch belongs: it is the branch's root, or it follows a
//! batch of the branch. A node that stood in may hold a later part without the batches that connect
//! it. Then `way` finds the branch. Until it is found, the part stays where it is: held, and not
//! lost. What lies beyond the cut of a closed branch goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::way::Way;
#[cfg(debug_assertions)]
use crate::engine::holdings::topics::Topics;
use crate::{
    engine::{
        Engine,
        core::Core,
        holdings::{
            log::{Added, HeldSpan, Log},
            proofs::Root,
            topic::Topic,
        },
        inflight::stored::{ForkRead, ReadPurpose},
        output::Write,
        roster::Counts,
    },
    limits::PAGE_BYTES_MAX,
    model::{Batch, ForkProof, LogId, TopicId},
    wire::{LogRange, Page},
};

/// Pause before what could not be filed is tried again; twice as long each time, up to a bound.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
const DOUBLINGS_MAX: u32 = 3;

/// What must be filed of one log.
#[derive(Debug, Default)]
pub(super) struct Filing {
    /// Where branches part within a branch: not looked at yet.
    points: BTreeSet<u64>,
    /// From where on a read is under way.
    reading: Option<u64>,
    /// Whether only the next batch is read, for a page did not hold what was needed.
    narrow: bool,
    /// The way to a part that nothing here connects.
    pub(super) way: Option<Way>,
    /// When it is tried again, if nothing is under way for it.
    pub(super) again_at: Duration,
    /// How often it could not be filed since anything was.
    tries: u32,
}

impl Filing {
    /// How long it is left alone after it could not be filed.
    pub(super) fn pause(&self) -> Duration {
        PAUSE * 2_u32.pow(self.tries.min(DOUBLINGS_MAX))
    }

    /// Reads one batch at a time from now on, or a page again where that did not help either. Says
    /// whether it is worth while to read at once.
    fn read_narrower(&mut self) -> bool {
        self.narrow = !self.narrow;
        self.narrow
    }
}

/// All that is being filed.
#[derive(Debug, Default)]
pub(super) struct Filings {
    filings: BTreeMap<(TopicId, LogId), Filing>,
}

impl Filings {
    /// What is filed of a log, if anything is.
    pub(super) fn of(&mut self, topic: TopicId, log: LogId) -> Option<&mut Filing> {
        self.filings.get_mut(&(topic, log))
    }

    /// Whether what this node held of a log is still being filed.
    pub(super) fn is_filing(&self, topic: TopicId, log: LogId) -> bool {
        self.filings.contains_key(&(topic, log))
    }

    /// Files no more of these logs.
    pub(super) fn retain(&mut self, stays: impl Fn(TopicId, LogId) -> bool) {
        self.filings.retain(|(topic, log), _| stays(*topic, *log));
    }

    /// The way to a part was found. It is of no use where the log is read again by now.
    pub(super) fn set_way(&mut self, core: &mut Core, topic: TopicId, log: LogId, way: Way) {
        if let Some(filing) = self.of(topic, log).filter(|filing| filing.reading.is_none()) {
            filing.way = Some(way);
            self.next(core, topic, log);
        }
    }

    /// Asserts that only logs that have forked, and their branches, are filed.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, topics: &Topics) {
        for (topic, log) in self.filings.keys() {
            let forks = topics.get(topic).map(|known| &known.forks);
            let has_forked = forks.is_some_and(|forks| forks.family(*log).next().is_some());
            assert!(has_forked, "{log:?} is filed and has not forked");
        }
    }

    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.filings.retain(|(of, _), _| *of != topic);
    }

    /// Continues what a crash interrupted, and what could not be filed.
    pub(super) fn on_tick(&mut self, core: &mut Core) {
        let now = core.now.elapsed;
        let due = |(key, filing): (&(TopicId, LogId), &Filing)| {
            let idle = filing.reading.is_none() && filing.again_at <= now;
            idle.then_some(*key)
        };
        let due: Vec<_> = self.filings.iter().filter_map(due).collect();
        for (topic, log) in due {
            self.next(core, topic, log);
        }
    }

    /// A fork of this log has become known: it is filed, and so are its branches.
    pub(super) fn begin(&mut self, core: &mut Core, topic: TopicId, of: LogId) {
        let Some(known) = core.topics.get(&topic) else {
            return;
        };
        let points: BTreeSet<_> = known.forks.family(of).map(|(_, root)| root.at).collect();
        let branches = known.forks.family(of).map(|(branch, _)| branch);
        let logs: Vec<_> =
            branches.chain([of]).filter(|log| known.logs.contains_key(log)).collect();
        for log in logs {
            let filing = self.filings.entry((topic, log)).or_default();
            filing.points.clone_from(&points);
            // A way that was found may lead past a fork that was not known then.
            filing.way = None;
            if filing.reading.is_none() {
                self.next(core, topic, log);
            }
        }
    }

    /// Reads the next part that belongs elsewhere or may do so; without one, the log is filed.
    pub(super) fn next(&mut self, core: &mut Core, topic: TopicId, log: LogId) {
        let key = (topic, log);
        if !core.room {
            // What moves is in both places for a moment.
            if let Some(filing) = self.filings.get_mut(&key) {
                filing.again_at = core.now.elapsed + PAUSE;
            }
            return;
        }
        // All of it was filed meanwhile.
        let Some(filing) = self.filings.get_mut(&key) else {
            return;
        };
        let known = core.topics.get(&topic);
        let next = known.and_then(|known| Some((known, next_to_file(known, log, &filing.points)?)));
        let Some((known, (from, to))) = next else {
            self.filings.remove(&key);
            return;
        };
        let to = if filing.narrow { from + 1 } else { to };
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
        filing.reading = Some(from);
        core.read_store(
            topic,
            ranges,
            PAGE_BYTES_MAX,
            ReadPurpose::Fork(ForkRead::File(log), topic),
        );
    }
}

/// The next part of a log that belongs elsewhere or may do so.
fn next_to_file(known: &Topic, log: LogId, points: &BTreeSet<u64>) -> Option<(u64, u64)> {
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

impl Engine {
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
            self.forks.filings.begin(&mut self.core, topic, origin);
        }
    }

    /// The next part of a log that has forked was read: it moves to its branch.
    pub(super) fn part_to_file_read(&mut self, topic: TopicId, log: LogId, page: Option<Page>) {
        let now = self.core.now.elapsed;
        // The topic was deleted meanwhile, or all of the log moved as part of a branch.
        let Some(filing) = self.forks.filings.of(topic, log) else {
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
        let own = chained_from(&page, log, from);
        let Some(first) = own.first() else {
            return self.read_narrower(topic, log);
        };
        let Some(branch) = self.branch_for(topic, log, first, &page) else {
            if let Some(filing) = self.forks.filings.of(topic, log) {
                filing.tries += 1;
            }
            return self.forks.filings.look_for_way(&mut self.core, topic, log, first);
        };
        if branch == log {
            return self.nothing_parts(topic, log, from);
        }
        let before = page.iter().find(|batch| batch.log() == log && batch.header().next() == from);
        let before = before.map(|batch| (batch.hash(), batch.header().stamp));
        self.cut_branch(topic, log, branch, from);
        let moved = self.file(topic, branch, &own, &page);
        let Some(last) = moved.last() else {
            return self.read_narrower(topic, log);
        };
        let (to, head) = (last.header().next(), last.hash());
        if let Some(known) = self.core.topics.get_mut(&topic)
            && known.take_out(&log, from, to, head, before)
        {
            let rest = known.logs.get(&log).cloned();
            self.core.write(Write::Drop { topic, log_id: log, from, to, log: rest });
            if let Some(filing) = self.forks.filings.of(topic, log) {
                filing.narrow = false;
                filing.way = None;
                filing.tries = 0;
            }
            for batch in &moved {
                if !self.is_void(batch) {
                    self.arrived(batch);
                }
            }
            self.forks.filings.next(&mut self.core, topic, log);
        }
    }

    fn read_narrower(&mut self, topic: TopicId, log: LogId) {
        if self.forks.filings.of(topic, log).is_some_and(Filing::read_narrower) {
            self.forks.filings.next(&mut self.core, topic, log);
        }
    }

    /// Nothing parts where this part begins, nor in what is missing before it. A point that has
    /// become known while it was read is still to be looked at.
    fn nothing_parts(&mut self, topic: TopicId, log: LogId, from: u64) {
        let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let spans = known.map(|log| log.spans.as_slice()).unwrap_or_default();
        let looked_at = |at: u64| first_held(spans, at).is_some_and(|(first, _)| first == from);
        if let Some(filing) = self.forks.filings.of(topic, log) {
            filing.points.retain(|at| !looked_at(*at));
        }
        self.forks.filings.next(&mut self.core, topic, log);
    }

    /// Whether a batch lies beyond the cut of its log.
    fn is_void(&self, batch: &Batch) -> bool {
        let counts = self.counts(&batch.header().topic, &batch.log());
        matches!(counts, Counts::To(cut) if !cut.takes(batch.header().next(), batch.hash()))
    }

    /// Stores batches of one chain under their branches, as far as that is possible; these. What
    /// lies beyond the cut of a branch is void: it is among them, and is not stored.
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
            if self.is_void(&filed) {
                moved.push(filed);
                continue;
            }
            let Some(known) = self.core.topics.get_mut(&topic) else {
                break;
            };
            match known.add(&filed) {
                Ok(Added::New) => {
                    let log = known.logs[&branch].clone();
                    self.append(filed.clone(), log);
                    self.retention.on_filed(&mut self.core, &filed);
                }
                Ok(Added::Held) => {}
                Ok(Added::Taken) => {
                    let same = |held: &&Batch| held.log() == branch && *held == batch;
                    if !page.iter().any(|held| same(&held)) {
                        let at = |held: &&Batch| {
                            held.log() == branch && held.header().first == batch.header().first
                        };
                        let other = page.iter().find(at);
                        let proof = other.and_then(|held| ForkProof::of(held, batch).ok());
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
        let way = self.forks.filings.of(topic, log).and_then(|filing| filing.way.as_ref());
        if let Some(branch) = known_branch(known, log, batch, page, way) {
            return Some(branch);
        }
        // One more branch of the same fork.
        let proof = known.forks.proofs_of(log).find_map(|proof| proof.with(batch).ok())?;
        self.learn_fork(&proof);
        self.core.topics.get(&topic)?.forks.branch_of(log.writer, batch.hash())
    }

    /// A part of a log moves to a branch: what was trimmed before it stays trimmed there, too.
    fn cut_branch(&mut self, topic: TopicId, log: LogId, branch: LogId, from: u64) {
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let (Some(root), Some(held)) = (known.forks.root(&branch), known.logs.get(&log)) else {
            return;
        };
        let (low, base) = (held.low, held.base);
        let first = known.logs.get(&branch).and_then(|branch| branch.spans.first());
        let holds_before = first.is_some_and(|span| span.first < low);
        if root.at < low && low == from && !holds_before {
            self.core.cut_log(topic, branch, low, base);
        }
    }
}

/// The branch that a batch of this log belongs to by what is known.
fn known_branch(
    known: &Topic,
    log: LogId,
    batch: &Batch,
    page: &[Batch],
    way: Option<&Way>,
) -> Option<LogId> {
    let forks = &known.forks;
    if let Some(branch) = forks.branch_of(log.writer, batch.hash()) {
        return Some(branch);
    }
    let (first, base) = (batch.header().first, batch.header().previous.map(|it| it.hash));
    // Where a chain ends, what follows belongs to no branch that is known.
    if forks.ends_before(log, first, base) {
        return None;
    }
    let follows = known
        .logs
        .get(&log)
        .is_some_and(|log| log.spans.iter().any(|span| span.first < first && first <= span.next));
    if forks.root(&log).is_some() && follows {
        return Some(log);
    }
    let joins = |(branch, _): &(LogId, &Root)| {
        let ends = known.logs.get(branch).is_some_and(|log| {
            log.spans.iter().any(|span| span.next == first && Some(span.head) == base)
        });
        // Still: it may have been filed elsewhere since this was read.
        let holds =
            |from: u64| known.logs.get(branch).is_some_and(|log| log.entry().covers(from, first));
        let passes = |held: &Batch| {
            let header = held.header();
            (held.log(), header.next(), Some(held.hash())) == (*branch, first, base)
                && holds(header.first)
        };
        ends || page.iter().any(passes)
    };
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
    let way = way.filter(|way| way.leads_to(first, base));
    way.map(|way| way.branch)
}

/// The batches of a log in a page from one record on, without a hole.
fn chained_from(page: &[Batch], log: LogId, from: u64) -> Vec<Batch> {
    let mut next = from;
    let mut chained = Vec::new();
    for batch in page.iter().filter(|batch| batch.log() == log) {
        if batch.header().first == next {
            next = batch.header().next();
            chained.push(batch.clone());
        }
    }
    chained
}

/// What is held from a point on, without a hole, or of what comes after it.
fn first_held(spans: &[HeldSpan], at: u64) -> Option<(u64, u64)> {
    let span = spans.iter().find(|span| span.next > at)?;
    Some((span.first.max(at), span.next))
}
