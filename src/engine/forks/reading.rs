//! What a fork means for readers: a branch begins where its log ends. A gap is only declared where
//! all nodes file alike.

use std::collections::BTreeSet;

use crate::{
    engine::{Engine, inflight::found::Found},
    model::{Entry, ForkProof, LogId, TopicId},
    wire::{LogRange, Proofs},
};

impl Engine {
    /// The part of a log that follows a reader's position: a branch begins where its log has
    /// forked, and that log ends there.
    pub(in crate::engine) fn readable(
        &self,
        topic: TopicId,
        log: LogId,
        after: u64,
        to: u64,
    ) -> LogRange {
        let forks = self.core.topics.get(&topic).map(|known| &known.forks);
        let start = forks.and_then(|forks| forks.root(&log)).map_or(0, |root| root.at);
        let sealed = forks.and_then(|forks| forks.sealed_at(log));
        LogRange { log, from: after.max(start), to: sealed.unwrap_or(to).min(to) }
    }

    /// The part of a log in which a hole would be one: from where it branches off to where it is
    /// sealed. None where not all nodes file alike what they hold of it, or some have not filed
    /// all of it yet.
    pub(in crate::engine) fn filed_alike(&self, found: &Found, log: LogId) -> Option<(u64, u64)> {
        let Some(forks) = self.core.topics.get(&found.topic).map(|known| &known.forks) else {
            return Some((0, u64::MAX));
        };
        let origin = forks.origin(log);
        let Some(sealed) = forks.sealed_at(origin) else {
            return Some((0, u64::MAX));
        };
        let mut points: BTreeSet<_> = forks.family(origin).map(|(_, root)| root.at).collect();
        points.pop_first();
        if !points.is_empty() {
            // What of a branch belongs to a branch of it, heads do not tell.
            return None;
        }
        let mine: BTreeSet<_> = forks.family(origin).map(|(branch, _)| branch).collect();
        let alike = found.held.iter().all(|(node, held)| {
            let filed = held.frontier.0.get(&origin).and_then(Entry::end);
            let filed = filed.is_none_or(|(next, _)| next <= sealed);
            let branches = || -> BTreeSet<_> {
                let proofs = held.forks.iter().flat_map(Proofs::iter);
                let proofs = proofs.filter_map(|bytes| forks.proof(bytes));
                let of_log = proofs.filter(|proof| proof.log() == origin);
                of_log.flat_map(ForkProof::branches).collect()
            };
            filed && (*node == self.core.me || branches() == mine)
        });
        let start = forks.root(&log).map_or(0, |root| root.at);
        alike.then_some((start, if log == origin { sealed } else { u64::MAX }))
    }
}
