//! Holes: parts of a log that nobody holds any more, and readers past them.
//!
//! Faults may destroy every copy of a batch while later ones are whole. Readers are not led past it
//! on suspicion: only when every node that anybody knows, those included that are away, has said
//! that it does not hold it, twice. Then they are told what is lost. A node that does not come back
//! is waited for until its operator says so (`forget`).

use std::collections::BTreeMap;

use super::{
    Engine,
    planted::{Bug, planted},
    survey::{Found, Then},
};
use crate::{model::TopicId, wire::LogRange};

impl Engine {
    /// Takes out of ranges what nobody holds; what that is.
    pub(super) fn pass_holes(&self, topic: TopicId, ranges: &mut Vec<LogRange>) -> Vec<LogRange> {
        let mut lost = Vec::new();
        if let Some(view) = self.reads.views.get(&topic) {
            for range in &mut *ranges {
                if let Some(end) = view.hole_at(range.log, range.from) {
                    lost.push(LogRange { to: end, ..*range });
                    range.from = end;
                }
            }
            ranges.retain(|range| range.from < range.to);
        }
        lost
    }

    /// Nobody is known to hold what comes next in a log: all are asked, now and then.
    pub(super) fn ask_about_holes(&mut self, topic: TopicId) {
        let view = self.reads.views.get_mut(&topic);
        if view.is_some_and(|view| view.holes_due(self.now.elapsed)) {
            self.survey(topic, Then::Hole);
        }
    }

    /// All nodes that can be asked have said what they hold.
    pub(super) fn look_for_holes(&mut self, found: &Found) {
        let topic = found.topic;
        let end = self.end_with(found);
        // One that is away may hold it, and brings it when it is back, however long that takes.
        let exhaustive = self.is_exhaustive(found) || planted(Bug::HolePassedUnproven);
        let parts: BTreeMap<_, _> = end
            .logs
            .keys()
            .filter_map(|log| Some((*log, self.filed_alike(found, *log)?)))
            .collect();
        let Some(view) = self.reads.views.get_mut(&topic) else {
            return;
        };
        if !exhaustive {
            return view.holes_unknown();
        }
        let mut missing = Vec::new();
        for (log, position) in &end.logs {
            let Some((start, sealed)) = parts.get(log).copied() else {
                continue;
            };
            let mut gaps = vec![(start, position.next.min(sealed))];
            for held in found.held.values() {
                if let Some(entry) = held.frontier.0.get(log) {
                    gaps =
                        gaps.into_iter().flat_map(|(from, to)| entry.missing(from, to)).collect();
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
