//! Where two chains part: a search between this node and one that holds the other chain.
//!
//! Two nodes hold different chains of one log if heads differ, or if a batch does not follow what
//! is held. A batch names the one before it by its hash. So if both hold the same batch at a
//! position, everything before it is the same too. The first difference is found by bisection, one
//! batch of each side a step: a few dozen steps for a log of any length. The two batches found
//! there are the proof. Nothing else that the other node says counts.
//!
//! Headers of trimmed batches are kept for a while, and are all that a proof needs. So the search
//! continues below the low watermarks of both. A missing header proves nothing against anybody: it
//! may have been trimmed before headers were kept, or be damaged. Then only what comes after it is
//! compared.

use std::{
    collections::{BTreeMap, btree_map},
    time::Duration,
};

use crate::{
    engine::{
        core::Core,
        inflight::{
            asks::{ForkAsk, Purpose},
            stored::{ForkRead, ReadPurpose},
        },
    },
    limits::{ASK_TIMEOUT, HEADERS_KEPT_RECORDS},
    model::{Entry, ForkProof, Header, LogId, NodeId, SignedHeader, TopicId},
    wire::{Held, LogRange, NodeRequest, Page},
};

/// Searches under way at a time. Others wait for the next sign of their fork.
const SEARCHES_MAX: usize = 32;

/// Searches that are remembered, so that none is repeated at once.
const REMEMBERED_MAX: usize = 1_024;

/// Pause before a log is searched again.
const PAUSE: Duration = Duration::from_secs(1);

/// Steps for one part: halving 2^48 records, twice over.
const STEPS_MAX: u32 = 100;

/// A search, or the memory of one.
#[derive(Debug)]
struct Search {
    node: NodeId,
    /// None when it is over; then it may begin again after a while.
    step: Option<Step>,
    again_at: Duration,
}

#[derive(Debug)]
enum Step {
    /// The other node is asked what it holds.
    Asked,
    /// One batch of each side is compared.
    Compared(Halving),
}

/// What is known so far of one part: up to `from` both hold the same, at `to` they do not.
#[derive(Debug, Clone)]
struct Halving {
    /// What both hold after this part, the last first.
    shared: Vec<(u64, u64)>,
    from: u64,
    to: u64,
    /// The earliest two batches that differ.
    differ: Option<(SignedHeader, SignedHeader)>,
    at: u64,
    /// Below it one side may have trimmed what was there, and its header as well.
    low: u64,
    /// Where the log goes on behind what compaction took away there on one side.
    behind: u64,
    /// What each side has there: the header of one batch or none.
    mine: Option<Vec<SignedHeader>>,
    theirs: Option<Vec<SignedHeader>>,
    steps: u32,
}

/// The searches under way, and those that ended lately.
#[derive(Debug, Default)]
pub(super) struct Searches {
    searches: BTreeMap<(TopicId, LogId), Search>,
}

/// What a node may be able to show of a log, in order: what it holds, and before it headers.
fn comparable(entry: &Entry) -> Vec<(u64, u64)> {
    let let_go = (entry.low.saturating_sub(HEADERS_KEPT_RECORDS), entry.low);
    let held = entry.spans.iter().map(|span| (span.first, span.next));
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for (first, next) in std::iter::once(let_go).chain(held).filter(|(first, next)| first < next) {
        match parts.last_mut().filter(|last| last.1 == first) {
            Some(last) => last.1 = next,
            None => parts.push((first, next)),
        }
    }
    parts
}

/// The header of the batch that a page has at a position, held or not.
pub(super) fn header_at(page: &Page, topic: TopicId, log: LogId, at: u64) -> Option<SignedHeader> {
    let is_there = |of: LogId, header: &Header| {
        let there = header.first <= at && at < header.next();
        there && (header.topic, of) == (topic, log)
    };
    let held = page.batches.iter().find(|batch| is_there(batch.log(), batch.header()));
    let held = held.map(SignedHeader::of);
    let mut let_go = page.headers.iter();
    held.or_else(|| let_go.find(|header| is_there(header.log(), header.header())).cloned())
}

impl Halving {
    fn between(mine: &Entry, theirs: &Entry) -> Self {
        let mut shared = Vec::new();
        let others = comparable(theirs);
        for one in comparable(mine) {
            for other in &others {
                let (from, to) = (one.0.max(other.0), one.1.min(other.1));
                if from < to {
                    shared.push((from, to));
                }
            }
        }
        let (from, to) = shared.pop().unwrap_or_default();
        let low = mine.low.max(theirs.low);
        let (differ, mine, theirs) = (None, None, None);
        Self { shared, from, to, differ, at: 0, low, behind: 0, mine, theirs, steps: 0 }
    }

    /// A position in the middle of what is left to compare. Only within a part that both hold
    /// without a gap does one batch speak for those before it.
    fn middle(&mut self) -> Option<u64> {
        while self.from >= self.to && self.differ.is_none() {
            (self.from, self.to) = self.shared.pop()?;
            self.steps = 0;
        }
        (self.from < self.to).then(|| self.from + (self.to - self.from) / 2)
    }

    /// Takes in what both hold at the position; whether that says something.
    fn compare(&mut self) -> bool {
        let one = |side: &mut Option<Vec<_>>| side.take().and_then(|mut found| found.pop());
        let (Some(mine), Some(theirs)) = (one(&mut self.mine), one(&mut self.theirs)) else {
            let is_compacted = self.behind > self.at;
            self.from = self.behind.max(self.at + 1);
            self.steps += 1;
            return (is_compacted || self.at < self.low) && self.steps < STEPS_MAX;
        };
        if mine == theirs {
            self.from = mine.header().next();
        } else {
            // What starts later may differ from what is held before it on the other side.
            self.to = mine.header().first.max(theirs.header().first);
            self.differ = Some((mine, theirs));
        }
        self.steps += 1;
        self.steps < STEPS_MAX
    }
}

/// Whose batch is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Mine,
    Theirs,
}

impl Searches {
    /// Looks for the place where this node's log and that of another one part, unless too much is
    /// looked for, or the same was a moment ago.
    pub(super) fn begin(&mut self, core: &mut Core, topic: TopicId, log: LogId, node: NodeId) {
        if !core.members.is_connected(&node) {
            return;
        }
        let now = core.now.elapsed;
        let under_way = self.searches.values().filter(|search| search.step.is_some()).count();
        let room =
            self.searches.len() < REMEMBERED_MAX || self.searches.contains_key(&(topic, log));
        if under_way >= SEARCHES_MAX || !room {
            return;
        }
        match self.searches.entry((topic, log)) {
            btree_map::Entry::Occupied(known)
                if known.get().step.is_some() || known.get().again_at > now =>
            {
                return;
            }
            entry => {
                let search = Search { node, step: Some(Step::Asked), again_at: now };
                entry.insert_entry(search);
            }
        }
        let purpose = Purpose::Fork(ForkAsk::Frontier, topic, log);
        core.ask(node, NodeRequest::Frontier(topic, None, None), ASK_TIMEOUT, purpose);
    }

    /// The other node has said what it holds.
    pub(super) fn on_frontier(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        held: &Held,
    ) -> Option<ForkProof> {
        let mine = core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let theirs = held.frontier.0.get(&log).filter(|_| held.frontier.is_well_formed());
        let (Some(mine), Some(theirs)) = (mine, theirs) else {
            // Trimmed or filed meanwhile, here or there.
            self.end(core, topic, log);
            return None;
        };
        let halving = Halving::between(&mine.entry(), theirs);
        self.step(core, topic, log, halving)
    }

    /// Compares the next batch of both. The proof, where all is compared that must be.
    fn step(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        mut halving: Halving,
    ) -> Option<ForkProof> {
        let Some(at) = halving.middle() else {
            self.end(core, topic, log);
            let (mine, theirs) = halving.differ?;
            return ForkProof::of_headers(&mine, &theirs).ok();
        };
        halving.at = at;
        // The topic was deleted meanwhile.
        let search = self.searches.get_mut(&(topic, log))?;
        let node = search.node;
        search.step = Some(Step::Compared(halving));
        let range = LogRange::position(log, at);
        let purpose = ReadPurpose::Fork(ForkRead::Search(log), topic);
        core.read_store(topic, vec![range], 1, purpose);
        let purpose = Purpose::Fork(ForkAsk::Batch, topic, log);
        core.ask(node, NodeRequest::Fetch(topic, vec![range], 1), ASK_TIMEOUT, purpose);
        None
    }

    /// One side has given what it holds at the position. The proof, where that was the last batch
    /// to compare.
    pub(super) fn on_page(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        (side, page): (Side, &Page),
    ) -> Option<ForkProof> {
        let search = self.searches.get_mut(&(topic, log));
        let Some(Step::Compared(halving)) = search.and_then(|search| search.step.as_mut()) else {
            // It ended meanwhile: the other side did not answer, or the topic was deleted.
            return None;
        };
        let at = halving.at;
        let found = match side {
            Side::Mine => &mut halving.mine,
            Side::Theirs => &mut halving.theirs,
        };
        *found = Some(header_at(page, topic, log, at).into_iter().collect());
        let part = page.compacted.iter().find(|part| part.covers(&log, at));
        halving.behind = halving.behind.max(part.map_or(0, |part| part.next));
        if halving.mine.is_none() || halving.theirs.is_none() {
            return None;
        }
        let goes_on = halving.compare();
        let halving = halving.clone();
        if goes_on {
            return self.step(core, topic, log, halving);
        }
        self.end(core, topic, log);
        None
    }

    /// A search is over, with or without a proof. It is not repeated at once.
    pub(super) fn end(&mut self, core: &Core, topic: TopicId, log: LogId) {
        if let Some(search) = self.searches.get_mut(&(topic, log)) {
            search.step = None;
            search.again_at = core.now.elapsed + PAUSE;
        }
    }

    pub(super) fn on_tick(&mut self, core: &Core) {
        let now = core.now.elapsed;
        self.searches.retain(|_, search| search.step.is_some() || search.again_at > now);
    }

    /// Asserts that no more are under way or remembered than may be.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        let under_way = self.searches.values().filter(|search| search.step.is_some()).count();
        assert!(under_way <= SEARCHES_MAX, "too many searches");
        assert!(self.searches.len() <= REMEMBERED_MAX, "too many searches are remembered");
    }

    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.searches.retain(|(of, _), _| *of != topic);
    }
}
