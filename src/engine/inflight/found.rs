//! What a survey found.

use std::collections::BTreeMap;

use crate::{
    engine::holdings::placement::Placement,
    model::{Cursor, Entry, Frontier, Hash, LogId, NodeId, Subscription, TopicId},
    wire::{Held, LogRange},
};

/// What a survey found.
#[derive(Debug)]
pub(in crate::engine) struct Found {
    pub(in crate::engine) topic: TopicId,
    /// Who answered, this node included, and what it holds.
    pub(in crate::engine) held: BTreeMap<NodeId, Held>,
    pub(in crate::engine) placement: Placement,
    /// How many home replicas must answer to know of every acknowledged record.
    pub(in crate::engine) needed: usize,
    /// Whether that many did.
    pub(in crate::engine) complete: bool,
}

impl Found {
    /// The end of all that was told of.
    pub(in crate::engine) fn end(&self) -> Cursor {
        let mut end = Cursor::start(self.topic);
        self.held.values().for_each(|held| end.join_frontier(&held.frontier));
        end
    }

    /// The end of a log, by all that was told of it.
    pub(in crate::engine) fn end_of(&self, log: &LogId) -> Option<(u64, Hash)> {
        let entries = self.held.values().filter_map(|held| held.frontier.0.get(log));
        entries.filter_map(Entry::end).max()
    }

    /// Whether a node holds a part of a log.
    pub(in crate::engine) fn holds(&self, node: &NodeId, part: LogRange) -> bool {
        let entry = self.held.get(node).and_then(|held| held.frontier.0.get(&part.log));
        entry.is_some_and(|entry| entry.covers(part.from, part.to))
    }

    /// Whether a node holds all that any node holds of a log between two records. Of an older part,
    /// faults may have destroyed some everywhere.
    pub(in crate::engine) fn holds_all(
        &self,
        log: LogId,
        from: u64,
        to: u64,
    ) -> impl Fn(&NodeId) -> bool {
        let entries = self.held.values().filter_map(|held| held.frontier.0.get(&log));
        let spans = entries.flat_map(|entry| &entry.spans);
        let parts: Vec<_> = spans.map(|span| (span.first.max(from), span.next.min(to))).collect();
        move |node| {
            let entry = self.held.get(node).and_then(|held| held.frontier.0.get(&log));
            entry.is_some_and(|entry| parts.iter().all(|(from, to)| entry.covers(*from, *to)))
        }
    }

    /// Where the subscription stands that was asked for, by all that was told of it.
    pub(in crate::engine) fn position(&self) -> Option<Subscription> {
        let kept = self.held.values().filter_map(|held| held.position.as_ref());
        let mut kept = kept.filter(|kept| kept.is_well_formed(self.topic));
        let mut position = kept.next()?.clone();
        for other in kept {
            position.merge(other);
        }
        Some(position)
    }
}

/// What `mine` has and `theirs` lacks.
pub(in crate::engine) fn lacking(mine: &Frontier, theirs: &Frontier) -> Vec<LogRange> {
    let mut lacking = Vec::new();
    for (log, entry) in &mine.0 {
        let theirs = theirs.0.get(log).cloned().unwrap_or_default();
        for span in &entry.spans {
            let gaps = theirs.missing(span.first, span.next).into_iter();
            lacking.extend(gaps.map(|(from, to)| LogRange { log: *log, from, to }));
        }
    }
    lacking
}
