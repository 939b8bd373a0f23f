//! Following: live batches reach the readers that wait for them.

use super::view::{View, not_shown};
use crate::{
    engine::{Engine, ids::ReadId, output::Output, survey::Then},
    limits::{
        FOLLOW_LINGER, FOLLOW_SURVEY_INTERVAL, FOLLOW_SURVEYS_MAX, TAIL_BYTES_MAX, TAILS_BYTES_MAX,
    },
    model::{Batch, LogId, Position, TopicId},
    wire::{Gossip, Page},
};

impl Engine {
    /// Somebody reads a topic here, and perhaps follows it.
    pub(in crate::engine) fn look_at(&mut self, topic: TopicId, follows: bool) {
        let view = self.read.views.entry(topic).or_insert_with(|| View::new(topic));
        view.used = self.core.now.elapsed;
        if follows && !view.following {
            view.following = true;
            self.core.output(Output::Follow(topic));
        }
    }

    /// Whether a message that came over gossip is of a topic that is known here, of a writer that
    /// the topic takes, and not stamped too far ahead. Others are not passed on.
    pub fn admits(&self, gossip: &Gossip) -> bool {
        let header = gossip.header();
        let topic = self.core.topics.get(&header.topic);
        topic.is_some_and(|known| {
            known.is_known()
                && known.is_understood()
                && known.admits(&header.writer)
                && self.counts(&header.topic, &header.log()).admits(header.next(), gossip.hash())
                && self.core.too_early(header, None).is_none()
        })
    }

    pub(in crate::engine) fn gossiped(&mut self, gossip: Gossip) {
        if !self.admits(&gossip) {
            return;
        }
        let (topic, log) = (gossip.header().topic, gossip.header().log());
        let is_held = self.core.topics.get(&topic).is_some_and(|it| it.logs.contains_key(&log));
        let is_node = self.core.members.is_node(&log.writer);
        let view = self.read.views.get_mut(&topic);
        if !is_held && view.is_some_and(|view| !view.takes(log, is_node)) {
            return;
        }
        if let Some(known) = self.core.topics.get_mut(&topic) {
            known.prove(log, gossip.header().next(), gossip.hash(), is_node);
        }
        let sealed = |log: &LogId| self.core.topics.get(&topic)?.forks.sealed_at(*log);
        match gossip {
            Gossip::Batch(batch)
                if sealed(&batch.log()).is_some_and(|at| batch.header().next() > at) => {}
            Gossip::Announcement(told)
                if sealed(&told.header.log()).is_some_and(|at| told.header.next() > at) => {}
            Gossip::Batch(batch) => self.arrived(&batch),
            Gossip::Announcement(told) => {
                let Some(view) = self.read.views.get_mut(&topic) else {
                    return;
                };
                let position = Position { next: told.header.next(), head: Some(told.hash) };
                view.announced(self.core.now.elapsed, told.header.log(), position);
                // Somebody holds it; a survey says who.
                self.refresh(topic);
            }
        }
    }

    /// A batch is here: from a writer, by gossip, or by repair. Who waits just for it is served
    /// from memory.
    pub(in crate::engine) fn arrived(&mut self, batch: &Batch) {
        let header = batch.header();
        let topic = header.topic;
        let now = self.core.now.elapsed;
        // Nobody follows the topic here.
        let Some(view) = self.read.views.get_mut(&topic).filter(|view| view.following) else {
            return;
        };
        if !view.arrived(now, batch) {
            return;
        }
        let mut served = Vec::new();
        for number in std::mem::take(&mut view.waiting) {
            let Some(job) = self.read.jobs.get(number) else {
                debug_assert!(false, "who waits has a read");
                continue;
            };
            let next = job.after.next(&batch.log());
            // A read that has an end waits for what it lacks before that, not for what comes after.
            let ends_before =
                job.until.as_ref().is_some_and(|until| until.next(&batch.log()) < header.next());
            if !ends_before
                && (next == header.first || next == 0 && batch.is_root())
                && not_shown(&job.after, batch).is_none()
            {
                served.push(number);
            } else {
                view.waiting.insert(number);
            }
        }
        for number in served {
            let page = Page { batches: vec![batch.clone()], ..Page::default() };
            self.finish_read(number, page);
        }
        if self.read.views.get(&topic).is_some_and(|view| !view.waiting.is_empty()) {
            self.serve_waiting(topic);
        }
    }

    /// Looks again whether there is something for those who wait.
    pub(in crate::engine) fn serve_waiting(&mut self, topic: TopicId) {
        // Nobody reads the topic any more.
        let Some(view) = self.read.views.get_mut(&topic) else {
            return;
        };
        for number in std::mem::take(&mut view.waiting) {
            self.plan_read(number);
        }
    }

    fn refresh(&mut self, topic: TopicId) {
        let Some(view) = self.read.views.get_mut(&topic) else {
            return;
        };
        if !view.surveying {
            view.surveying = true;
            self.survey(topic, Then::Refresh);
        }
    }

    pub(in crate::engine) fn tick_reads(&mut self) {
        let now = self.core.now.elapsed;
        let mut stale = Vec::new();
        let mut over = Vec::new();
        let mut unused = Vec::new();
        let tail_bytes = (TAILS_BYTES_MAX / self.read.views.len().max(1)).min(TAIL_BYTES_MAX);
        for (topic, view) in &mut self.read.views {
            view.expire(now);
            if tail_bytes < TAIL_BYTES_MAX {
                view.tail.keep(tail_bytes);
            }
            let overdue = |number: &&ReadId| {
                self.read.jobs.get(**number).is_none_or(|job| job.deadline <= now)
            };
            over.extend(view.waiting.iter().filter(overdue).map(|number| (*topic, *number)));
            let old =
                view.surveyed.is_none_or(|at| now.saturating_sub(at) >= FOLLOW_SURVEY_INTERVAL);
            if !view.waiting.is_empty() && old && !view.surveying {
                stale.push((view.surveyed, *topic));
            }
            if view.waiting.is_empty() && now.saturating_sub(view.used) > FOLLOW_LINGER {
                unused.push(*topic);
            }
        }
        for (topic, number) in over {
            if let Some(view) = self.read.views.get_mut(&topic) {
                view.waiting.remove(&number);
            }
            if self.read.jobs.get(number).is_some_and(|job| job.until.is_some()) {
                // It waits only where something is lacking.
                self.give_up(number);
            } else {
                self.finish_read(number, Page { finished: true, ..Page::default() });
            }
        }
        // Those first that were not looked for yet, or not for longest.
        stale.sort_unstable();
        for (_, topic) in stale.into_iter().take(FOLLOW_SURVEYS_MAX) {
            self.refresh(topic);
        }
        for topic in unused {
            if self.read.views.remove(&topic).is_some_and(|view| view.following) {
                self.core.output(Output::Unfollow(topic));
            }
        }
        self.tick_read_many();
    }
}
