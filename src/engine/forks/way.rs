//! The way to a part that nothing here connects: to which branch it belongs.
//!
//! - First among kept headers. A fork may be proven below the low watermark, where no disk has a
//!   batch any more. What is still held of the log belongs to one of its branches all the same.
//!   Each header names the one before it, back to a root. Nothing trimmed returns: the branch
//!   begins where the log was cut.
//! - Then among what others hold. They give a branch from its root on, and it is followed batch by
//!   batch.

use super::filing::{Filings, PAUSE};
use crate::{
    engine::{
        core::Core,
        inflight::{
            asks::{ForkAsk, Purpose},
            stored::{ForkRead, ReadPurpose, Walk},
        },
        input::Failure,
    },
    limits::{ASK_TIMEOUT, HEADERS_PER_PAGE_MAX, PAGE_BYTES_MAX},
    model::{Batch, Hash, LogId, SignedHeader, TopicId},
    wire::{LogRange, NodeRequest, Response},
};

/// The chain of a branch as others give it, up to a part that is held here.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The first record of the part, and the batch that it follows.
    to: u64,
    base: Hash,
    /// Branches that were not tried yet.
    left: Vec<LogId>,
    pub(super) branch: LogId,
    next: u64,
    head: Option<Hash>,
    found: bool,
}

impl Way {
    /// Whether it was found, and leads to the part that begins here and follows this batch.
    pub(super) fn leads_to(&self, first: u64, base: Option<Hash>) -> bool {
        self.found && (self.to, Some(self.base)) == (first, base)
    }
}

impl Filings {
    /// Looks for the branch of a part that begins with this batch.
    pub(super) fn look_for_way(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        first: &Batch,
    ) {
        if let Some(base) = first.header().previous.map(|previous| previous.hash) {
            let to = first.header().first;
            self.walk_on(core, topic, log, Walk { to, base, next: to, head: base });
        }
    }

    // --- among kept headers ----------------------------------------------------------------

    /// Reads the headers before a position; where none can be there others are asked.
    fn walk_on(&mut self, core: &mut Core, topic: TopicId, log: LogId, walk: Walk) {
        let Some(known) = core.topics.get(&topic) else {
            return;
        };
        // Of a branch that is parted once more they are still where they were.
        let logs = [log, known.forks.origin(log)];
        let logs = if logs[0] == logs[1] { &logs[..1] } else { &logs[..] };
        let keeps =
            |log: &&LogId| known.logs.get(*log).is_some_and(|log| log.keeps_header(walk.next));
        let from = walk.next.saturating_sub((HEADERS_PER_PAGE_MAX / logs.len()) as u64);
        let positions = |log: &LogId| {
            let log = *log;
            (from..walk.next).map(move |at| LogRange::position(log, at))
        };
        let ranges: Vec<_> = logs.iter().filter(keeps).flat_map(positions).collect();
        if ranges.is_empty() {
            return self.ask_for_way(core, topic, log, (walk.to, walk.base));
        }
        // The batches at these positions are gone, so there is no more than headers.
        let purpose = ReadPurpose::Fork(ForkRead::Headers(log, walk), topic);
        core.read_store(topic, ranges, 1, purpose);
    }

    /// Follows the chain back among the headers of a page.
    pub(super) fn on_headers(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        (mut walk, headers): (Walk, &[SignedHeader]),
    ) {
        let Some(forks) = core.topics.get(&topic).map(|known| &known.forks) else {
            return;
        };
        let before = |walk: &Walk| {
            let ends =
                |it: &&SignedHeader| (it.header().next(), it.hash()) == (walk.next, walk.head);
            headers.iter().find(ends)
        };
        let start = walk.next;
        while let Some(header) = before(&walk) {
            if let Some(branch) = forks.branch_of(log.writer, header.hash()) {
                let Walk { to, base, .. } = walk;
                let (left, head) = (Vec::new(), Some(base));
                let way = Way { to, base, left, branch, next: to, head, found: true };
                return self.set_way(core, topic, log, way);
            }
            let first = header.header().first;
            let previous = header.header().previous.filter(|_| first > 0).map(|it| it.hash);
            let (Some(previous), false) = (previous, forks.ends_before(log, first, previous))
            else {
                break;
            };
            (walk.next, walk.head) = (first, previous);
        }
        if walk.next < start && before(&walk).is_none() && walk.next > 0 {
            self.walk_on(core, topic, log, walk);
        } else {
            self.ask_for_way(core, topic, log, (walk.to, walk.base));
        }
    }

    // --- among what others hold ------------------------------------------------------------

    /// Asks others for the branches, one after the other, to see whether a part that is held here
    /// belongs to one of them.
    fn ask_for_way(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        (to, base): (u64, Hash),
    ) {
        let Some(known) = core.topics.get(&topic) else {
            return;
        };
        let below = known.forks.family(log).filter(|(_, root)| root.at < to);
        let mut left: Vec<_> = below.map(|(branch, root)| (branch, root.at)).collect();
        // All branches part behind it: it belongs to none that is known.
        let Some((branch, next)) = left.pop() else {
            return;
        };
        let left = left.into_iter().map(|(branch, _)| branch).collect();
        let way = Way { to, base, left, branch, next, head: None, found: false };
        self.ask_on(core, topic, log, way);
    }

    /// Asks some replica for the next part of a branch.
    fn ask_on(&mut self, core: &mut Core, topic: TopicId, log: LogId, way: Way) {
        let range = LogRange { log: way.branch, from: way.next, to: way.to };
        let Some(known) = core.topics.get_mut(&topic) else {
            return;
        };
        let replicas = known.placement(&core.members).all();
        let replicas: Vec<_> =
            replicas.filter(|node| *node != core.me && core.members.is_connected(node)).collect();
        // Nobody can be asked now.
        let Some(node) = core.random.choice(replicas) else {
            return;
        };
        if let Some(filing) = self.of(topic, log) {
            filing.way = Some(way);
            filing.again_at = core.now.elapsed + ASK_TIMEOUT + PAUSE;
            let bytes_max = u32::try_from(PAGE_BYTES_MAX).expect("a page is below 4 GiB");
            let request = NodeRequest::Fetch(topic, vec![range], bytes_max);
            core.ask(node, request, ASK_TIMEOUT, Purpose::Fork(ForkAsk::Way, topic, log));
        }
    }

    /// Another node gives part of a branch: it is followed batch by batch.
    pub(super) fn on_way(
        &mut self,
        core: &mut Core,
        topic: TopicId,
        log: LogId,
        result: Result<Response, Failure>,
    ) {
        // All was filed meanwhile, or more of the fork has become known.
        let Some(filing) = self.of(topic, log) else {
            return;
        };
        let Some(mut way) = filing.way.take() else {
            return;
        };
        filing.again_at = core.now.elapsed + filing.pause();
        let Ok(Response::Page(page)) = result else {
            return;
        };
        let start = way.next;
        let Some(forks) = core.topics.get(&topic).map(|known| &known.forks) else {
            return;
        };
        let asked = way.branch;
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
            self.next(core, topic, log);
        } else if way.next > start && way.next < way.to {
            self.ask_on(core, topic, log, way);
        } else if let Some(branch) = way.left.pop() {
            let Some(next) = forks.root(&branch).map(|root| root.at) else {
                return;
            };
            self.ask_on(core, topic, log, Way { branch, next, head: None, ..way });
        }
    }
}
