//! Planning a read: what is read of which log, and who gives it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Lane,
    holes::Passed,
    view::{Source, View},
};
use crate::{
    engine::{Engine, ids::ReadId, survey::Then},
    model::{NodeId, TopicId},
    wire::{LogRange, MemberState},
};

impl Engine {
    /// Plans where the answer to a read comes from, and asks there.
    pub(in crate::engine) fn plan_read(&mut self, number: ReadId) {
        // Abandoned meanwhile.
        let Some(job) = self.read.jobs.get(number) else {
            return;
        };
        let (topic, surveyed, job_ends) = (job.topic, job.surveyed, job.until.is_some());
        let fresh = |view: &View| view.surveyed.is_some();
        if job.until.is_none() && !self.read.views.get(&topic).is_some_and(fresh) && !surveyed {
            return self.survey_for_read(number);
        }
        let target = job.until.clone().unwrap_or_else(|| self.visible_end(topic));
        let needed: Vec<LogRange> = target
            .logs
            .iter()
            .map(|(log, end)| self.readable(topic, *log, job.after.next(log), end.next))
            .filter(|range| range.from < range.to)
            .collect();
        let met = job.met.clone();
        let (needed, later): (Vec<_>, Vec<_>) =
            needed.into_iter().partition(|range| !met.later.contains(&range.log));
        let mut lanes: BTreeMap<Source, Vec<LogRange>> = BTreeMap::new();
        let (mut whole, mut sourceless) = (later.is_empty(), false);
        let (mut passed, mut lacking) = (Vec::new(), later.clone());
        for mut range in needed {
            match self.pass_over(topic, &mut range, &met, &lanes, &mut passed) {
                Some((source, end)) => {
                    whole &= end >= range.to;
                    let to = end.min(range.to);
                    lanes.entry(source).or_default().push(LogRange { to, ..range });
                }
                None if range.from < range.to => {
                    sourceless = true;
                    lacking.push(range);
                }
                None => {}
            }
        }
        if sourceless {
            self.ask_about_holes(topic);
        }
        let trims = passed.iter().any(|passed: &Passed| passed.trimmed);
        let unsure = sourceless || trims && !self.is_surveyed(topic);
        if unsure && !surveyed && job_ends {
            return self.survey_for_read(number);
        }
        if let Some(job) = self.read.jobs.get_mut(number) {
            (job.passed, job.lacking) = (passed, lacking);
        }
        if lanes.is_empty() {
            // Nobody holds it any more: it was trimmed or lost.
            let waits = sourceless || !later.is_empty();
            return if waits { self.try_again(number) } else { self.wait_or_end(number) };
        }
        whole &= !sourceless;
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|(source, ranges)| Lane { source, ranges, page: None, is_bare: false })
            .collect();
        if !self.may_start(number, &lanes) {
            return self.wait_or_end(number);
        }
        self.start_lanes(number, lanes, whole);
    }

    /// Who can give a range, or its start, and up to where.
    pub(in crate::engine) fn source_for(
        &self,
        topic: TopicId,
        range: LogRange,
        failed: &BTreeSet<Source>,
        chosen: &BTreeMap<Source, Vec<LogRange>>,
    ) -> Option<(Source, u64)> {
        let view = self.read.views.get(&topic);
        let recent = view.map(|view| view.tail.run(range.log, range.from, range.to));
        let recent = recent.and_then(|run| run.last().map(|last| last.header().next()));
        let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        let held = held.and_then(|log| log.entry().held_from(range.from));
        let held = held.filter(|_| !failed.contains(&Source::Store));
        // Part of a range is taken only where nobody has all of it: what other logs have would be
        // shown before the rest, though it was written later.
        let recent = recent.map(|end| (Source::Tail, end));
        let held = held.map(|end| (Source::Store, end));
        let is_whole = |(_, end): &(Source, u64)| *end >= range.to;
        if let Some(whole) = recent.filter(is_whole).or_else(|| held.filter(is_whole)) {
            return Some(whole);
        }
        let holders =
            view.into_iter().flat_map(|view| &view.frontiers).filter_map(|(node, held)| {
                let end = held.0.get(&range.log)?.held_from(range.from)?;
                let source = Source::Node(*node);
                let usable = self.core.members.is_connected(node)
                    && self.core.members.state(node) <= MemberState::Suspect
                    && !failed.contains(&source);
                usable.then_some((source, *node, end))
            });
        // One source for many logs is better than the nearest for each; then the nearest.
        let rank = |(source, node, end): &(Source, NodeId, u64)| {
            let member = self.core.members.get(node);
            let round_trip = member.and_then(|member| member.round_trip).unwrap_or(Duration::MAX);
            let is_doubted =
                self.read.doubted.get(node).is_some_and(|until| self.core.now.elapsed < *until);
            (
                is_doubted,
                *end < range.to,
                !chosen.contains_key(source),
                self.core.members.state(node),
                round_trip,
            )
        };
        let other = holders.min_by_key(rank).map(|(source, _, end)| (source, end));
        other.filter(is_whole).or(recent).or(held).or(other)
    }

    pub(super) fn survey_for_read(&mut self, number: ReadId) {
        let Some(job) = self.read.jobs.get_mut(number) else {
            debug_assert!(false, "a read that is planned is there");
            return;
        };
        job.surveyed = true;
        let topic = job.topic;
        self.survey(topic, Then::Read(number));
    }
}
