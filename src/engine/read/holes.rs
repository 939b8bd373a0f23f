//! Gaps (here *holes*): ranges of a log that nobody holds any more, and how readers skip them.
//!
//! Faults may destroy every copy of a batch while later ones are whole. Readers skip it only on
//! proof: every node that any node knows, those that are away included, has said twice that it does
//! not hold it. Then readers are told what is lost. A node that does not come back is waited for
//! until its operator says so (`forget`).

use std::collections::{BTreeMap, BTreeSet};

use super::view::Source;
use crate::{
    engine::{Engine, inflight::found::Found, survey::Then},
    limits::ODD_MEMBERS_FOR,
    model::{Batch, Compacted, LogId, TopicId},
    wire::LogRange,
};

/// A part of a log that a read passes over.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Passed {
    pub(in crate::engine) range: LogRange,
    /// Whether retention let it go; else nobody holds it.
    pub(in crate::engine) trimmed: bool,
}

/// What a read has met with so far.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Met {
    /// Sources that failed.
    pub(in crate::engine) failed: BTreeSet<Source>,
    /// Logs whose first batch waits for another log, and that filled the page: they come later.
    pub(in crate::engine) later: BTreeSet<LogId>,
    /// Compacted parts that were given alone: the next batch is missing behind them. Readers are
    /// told that they were trimmed, for their cursors cannot stand at their ends.
    pub(in crate::engine) bare: Vec<Compacted>,
}

/// What of that a reader is told with these batches: only what one of them follows, be it over more
/// that is passed over, for a reader's cursor stands at the end of a batch.
///
/// A part may end within a batch of another source, where the writer signed two batches for one
/// number and nobody has seen both yet. What is told ends where the batch begins.
pub(in crate::engine) fn told_with(
    batches: &[Batch],
    compacted: &[Compacted],
    mut passed: Vec<Passed>,
) -> Vec<Passed> {
    let shown: BTreeMap<_, _> = batches
        .iter()
        .map(|batch| ((batch.log(), batch.header().first), batch.header().next()))
        .collect();
    let mut followed: BTreeSet<_> = shown.keys().copied().collect();
    for Passed { range, .. } in &mut passed {
        let before = shown.range((range.log, range.from)..(range.log, range.to)).next_back();
        if let Some(((_, first), _)) = before.filter(|(_, next)| range.to < **next) {
            range.to = *first;
        }
    }
    passed.retain(|Passed { range, .. }| range.from < range.to);
    let mut told = passed;
    told.reverse();
    told.retain(|Passed { range, .. }| {
        // What was let go elsewhere may end within what was compacted here.
        let is_followed = followed.contains(&(range.log, range.to))
            || compacted.iter().any(|part| part.covers(&range.log, range.to));
        if is_followed {
            followed.insert((range.log, range.from));
        }
        is_followed
    });
    told.reverse();
    told
}

impl Engine {
    /// Takes off the start of a range what nobody holds and what was trimmed, whichever comes
    /// first, and records it. Returns who gives the rest, or its start, and up to where. None if
    /// nothing is left, or nobody does.
    pub(in crate::engine) fn pass_over(
        &mut self,
        topic: TopicId,
        range: &mut LogRange,
        met: &Met,
        chosen: &BTreeMap<Source, Vec<LogRange>>,
        passed: &mut Vec<Passed>,
    ) -> Option<(Source, u64)> {
        while range.from < range.to {
            let view = self.read.views.get(&topic);
            let hole = view.and_then(|view| view.hole_at(range.log, range.from));
            let part = met.bare.iter().find(|part| part.covers(&range.log, range.from));
            let (to, trimmed) = match (hole, part) {
                (Some(to), _) => (to, false),
                (None, Some(part)) => (part.next.min(range.to), true),
                (None, None) => match self.source_for(topic, *range, &met.failed, chosen) {
                    Some(source) => return Some(source),
                    None => (self.trimmed_to(topic, *range)?, true),
                },
            };
            passed.push(Passed { range: LogRange { to, ..*range }, trimmed });
            range.from = to;
        }
        None
    }

    /// Whether this node holds all of a range that readers do not skip: what was not trimmed, and
    /// is not proven to be lost.
    pub(in crate::engine) fn is_whole(&mut self, topic: TopicId, mut range: LogRange) -> bool {
        while range.from < range.to {
            let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
            let held = held.and_then(|log| log.held_to(range.from));
            let view = self.read.views.get(&topic);
            let hole = || view.and_then(|view| view.hole_at(range.log, range.from));
            let to = held.or_else(hole).or_else(|| self.trimmed_to(topic, range));
            let Some(to) = to else { return false };
            range.from = to;
        }
        true
    }

    /// Nobody is known to hold what comes next in a log: all are asked, now and then.
    pub(in crate::engine) fn ask_about_holes(&mut self, topic: TopicId) {
        let view = self.read.views.get_mut(&topic);
        if view.is_some_and(|view| view.holes_due(self.core.now.elapsed)) {
            self.survey(topic, Then::Hole);
        }
    }

    /// All nodes that can be asked have said what they hold.
    pub(in crate::engine) fn look_for_holes(&mut self, found: &Found) {
        let topic = found.topic;
        let end = self.visible_end_with(found);
        // One that is away may hold it, and brings it when it is back, however long that takes.
        let exhaustive = self.is_exhaustive(found, ODD_MEMBERS_FOR);
        let mut parts = BTreeMap::new();
        for log in end.logs.keys() {
            if let Some((start, sealed)) = self.filed_alike(found, *log) {
                parts.insert(*log, (start, sealed, self.known_low(topic, log)));
            }
        }
        let Some(view) = self.read.views.get_mut(&topic) else {
            return;
        };
        if !exhaustive {
            return view.holes_unknown();
        }
        let mut missing = Vec::new();
        for (log, position) in &end.logs {
            let Some((start, sealed, low)) = parts.get(log).copied() else {
                continue;
            };
            // What is below was let go, and readers are told that. A node that is no home may have let
            // go more: of that counts what others hold.
            let mut gaps = vec![(start.max(low), position.next.min(sealed))];
            for held in found.held.values() {
                if let Some(entry) = held.frontier.0.get(log) {
                    let not_held = |(from, to)| entry.not_held(from, to);
                    gaps = gaps.into_iter().flat_map(not_held).collect();
                }
            }
            // What nothing follows may be on its way.
            gaps.retain(|(_, to)| *to < position.next);
            missing.extend(gaps.into_iter().map(|(from, to)| LogRange { log: *log, from, to }));
        }
        view.holes_found(missing);
        self.serve_waiting(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Draft, Hash, Incarnation, NodeKey, Previous, ProducerId, Realm, Record, Run, Stamp,
        WallClock, encode_record,
    };

    fn batch(first: u64, count: u32) -> Batch {
        let incarnation = Incarnation(1);
        let previous = Previous { incarnation, next: first, hash: Hash([7; 32]) };
        let draft = Draft {
            topic: TopicId::derive(&Realm::default(), &"t".parse().unwrap()),
            incarnation,
            previous: (first > 0).then_some(previous),
            stamp: Stamp::default(),
            runs: vec![Run { producer: ProducerId([1; 16]), first, count }],
        };
        let mut body = Vec::new();
        for _ in 0..count {
            encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
        }
        draft.seal(&body.into(), &NodeKey::from_secret(&[1; 32]))
    }

    #[test]
    fn a_part_that_ends_within_a_batch_is_told_up_to_its_first_record() {
        let shown = batch(27, 2);
        let log = shown.log();
        let passed = |from, to, trimmed| Passed { range: LogRange { log, from, to }, trimmed };
        let told = |passed: Vec<Passed>| {
            let told = told_with(std::slice::from_ref(&shown), &[], passed);
            told.iter().map(|it| (it.range.from, it.range.to, it.trimmed)).collect::<Vec<_>>()
        };
        assert_eq!(told(vec![passed(24, 27, true)]), [(24, 27, true)]);
        assert_eq!(told(vec![passed(24, 28, true)]), [(24, 27, true)]);
        assert_eq!(
            told(vec![passed(20, 24, false), passed(24, 28, true)]),
            [(20, 24, false), (24, 27, true)]
        );
        assert_eq!(told(vec![passed(24, 27, false), passed(27, 28, true)]), [(24, 27, false)]);
        // Behind the batch, or not next to it.
        assert_eq!(told(vec![passed(29, 31, true)]), []);
        assert_eq!(told(vec![passed(24, 26, true)]), []);
    }
}
