//! Filing by headers: the branch of a part whose beginning was trimmed.
//!
//! A fork may be proven below the low watermark, where no disk has a batch any more. What is still
//! held of the log belongs to one of its branches all the same. The kept headers show which: each
//! names the one before it, back to a root. Nothing trimmed returns: the branch begins where the
//! log was cut.

use super::way::Way;
use crate::{
    engine::{
        Engine,
        inflight::{asks::Walk, stored::ReadPurpose},
    },
    limits::HEADERS_PER_PAGE_MAX,
    model::{Hash, LogId, SignedHeader, TopicId},
    wire::{LogRange, Page},
};

impl Engine {
    /// Looks among headers for the branch of a part that follows a trimmed batch.
    pub(in crate::engine) fn walk_back(&mut self, topic: TopicId, log: LogId, to: u64, base: Hash) {
        let walk = Walk { to, base, next: to, head: base };
        self.walk_on(topic, log, walk);
    }

    /// Reads the headers before a position; where none can be there others are asked.
    fn walk_on(&mut self, topic: TopicId, log: LogId, walk: Walk) {
        let Some(known) = self.core.topics.get(&topic) else {
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
            return self.ask_for_way(topic, log, walk.to, walk.base);
        }
        // The batches at these positions are gone, so there is no more than headers.
        self.core.read_store(topic, ranges, 1, ReadPurpose::Headers(topic, log, walk));
    }

    /// Follows the chain back among the headers of a page.
    pub(in crate::engine) fn headers_read(
        &mut self,
        topic: TopicId,
        log: LogId,
        mut walk: Walk,
        page: Option<Page>,
    ) {
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let forks = &known.forks;
        let headers = page.unwrap_or_default().headers;
        let before = |walk: &Walk| {
            let ends =
                |it: &&SignedHeader| (it.header().next(), it.hash()) == (walk.next, walk.head);
            headers.iter().find(ends).cloned()
        };
        let start = walk.next;
        while let Some(header) = before(&walk) {
            if let Some(branch) = forks.branch_of(log.writer, header.hash()) {
                let Walk { to, base, .. } = walk;
                let way = Way::found(branch, to, base);
                if self.forks.filing.set_way((topic, log), way) {
                    self.file_next(topic, log);
                }
                return;
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
            self.walk_on(topic, log, walk);
        } else {
            self.ask_for_way(topic, log, walk.to, walk.base);
        }
    }

    /// A part of a log moves to a branch: what was trimmed before it stays trimmed there, too.
    pub(in crate::engine) fn cut_branch(
        &mut self,
        topic: TopicId,
        log: LogId,
        branch: LogId,
        from: u64,
    ) {
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
            self.cut_log(topic, branch, low, base);
        }
    }
}
