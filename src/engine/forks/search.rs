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
        Engine,
        inflight::{asks::Purpose, stored::ReadPurpose},
        input::Failure,
    },
    limits::{ASK_TIMEOUT, HEADERS_KEPT_RECORDS},
    model::{Entry, ForkProof, Header, LogId, NodeId, SignedHeader, TopicId},
    wire::{LogRange, Page, Request, Response},
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

/// The searches under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    searches: BTreeMap<(TopicId, LogId), Search>,
}

impl State {
    /// Forgets what is being looked for in a topic.
    pub(in crate::engine) fn stop(&mut self, topic: TopicId) {
        self.searches.retain(|(of, _), _| *of != topic);
    }
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
pub(in crate::engine) fn header_at(
    page: &Page,
    topic: TopicId,
    log: LogId,
    at: u64,
) -> Option<SignedHeader> {
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

impl Engine {
    /// Looks for the place where this node's log and that of another one part.
    pub(in crate::engine) fn search_fork(
        &mut self,
        topic: TopicId,
        log: LogId,
        node: Option<NodeId>,
    ) {
        let Some(node) = node.filter(|node| self.core.members.is_connected(node)) else {
            return;
        };
        let now = self.core.now.elapsed;
        let searches = &mut self.forks.searches.searches;
        let under_way = searches.values().filter(|search| search.step.is_some()).count();
        let room = searches.len() < REMEMBERED_MAX || searches.contains_key(&(topic, log));
        if under_way >= SEARCHES_MAX || !room {
            return;
        }
        match searches.entry((topic, log)) {
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
        let request = Request::Frontier(topic, None);
        self.core.ask(node, request, ASK_TIMEOUT, Purpose::ForkFrontier(topic, log));
    }

    pub(in crate::engine) fn fork_frontier(
        &mut self,
        topic: TopicId,
        log: LogId,
        result: Result<Response, Failure>,
    ) {
        let Ok(Response::Held(held)) = result else {
            return self.end_fork_search(topic, log);
        };
        // It may know already.
        self.learn_forks(topic, held.forks.as_ref());
        let mine = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let theirs = held.frontier.0.get(&log).filter(|_| held.frontier.is_well_formed());
        let (Some(mine), Some(theirs)) = (mine, theirs) else {
            return self.end_fork_search(topic, log);
        };
        let halving = Halving::between(&mine.entry(), theirs);
        self.step_fork_search(topic, log, halving);
    }

    fn step_fork_search(&mut self, topic: TopicId, log: LogId, mut halving: Halving) {
        let Some(at) = halving.middle() else {
            self.end_fork_search(topic, log);
            if let Some((mine, theirs)) = halving.differ
                && let Ok(proof) = ForkProof::of_headers(&mine, &theirs)
            {
                self.learn_fork(&proof);
            }
            return;
        };
        halving.at = at;
        let Some(search) = self.forks.searches.searches.get_mut(&(topic, log)) else {
            return;
        };
        let node = search.node;
        search.step = Some(Step::Compared(halving));
        let range = LogRange::position(log, at);
        self.core.read_store(topic, vec![range], 1, ReadPurpose::ForkSearch(topic, log));
        let request = Request::Fetch(topic, vec![range], 1);
        self.core.ask(node, request, ASK_TIMEOUT, Purpose::ForkFetch(topic, log));
    }

    pub(in crate::engine) fn fork_fetched(
        &mut self,
        topic: TopicId,
        log: LogId,
        result: Result<Response, Failure>,
    ) {
        match result {
            Ok(Response::Page(page)) => self.fork_compared(topic, log, &page, false),
            Ok(_) | Err(_) => self.end_fork_search(topic, log),
        }
    }

    /// One side has given what it holds at the position.
    pub(in crate::engine) fn fork_compared(
        &mut self,
        topic: TopicId,
        log: LogId,
        page: &Page,
        mine: bool,
    ) {
        let search = self.forks.searches.searches.get_mut(&(topic, log));
        let Some(Step::Compared(halving)) = search.and_then(|search| search.step.as_mut()) else {
            return;
        };
        let at = halving.at;
        let side = if mine { &mut halving.mine } else { &mut halving.theirs };
        *side = Some(header_at(page, topic, log, at).into_iter().collect());
        let part = page.compacted.iter().find(|part| part.covers(&log, at));
        halving.behind = halving.behind.max(part.map_or(0, |part| part.next));
        if halving.mine.is_none() || halving.theirs.is_none() {
            return;
        }
        let goes_on = halving.compare();
        let halving = halving.clone();
        if goes_on {
            self.step_fork_search(topic, log, halving);
        } else {
            self.end_fork_search(topic, log);
        }
    }

    fn end_fork_search(&mut self, topic: TopicId, log: LogId) {
        if let Some(search) = self.forks.searches.searches.get_mut(&(topic, log)) {
            search.step = None;
            search.again_at = self.core.now.elapsed + PAUSE;
        }
    }

    pub(in crate::engine) fn tick_fork_searches(&mut self) {
        let now = self.core.now.elapsed;
        let searches = &mut self.forks.searches.searches;
        searches.retain(|_, search| search.step.is_some() || search.again_at > now);
    }
}
