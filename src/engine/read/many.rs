//! Reading many topics with one question.
//!
//! Each topic is a read like any other ([`Job`]). What the first of them find answers the request,
//! and the others are dropped. What is in memory goes into one answer. Only one read at a time
//! looks elsewhere, because most of what several would fetch would be fetched in vain: the asker
//! asks again, from its next position.

use std::{collections::BTreeMap, time::Duration};

use super::{For, Job, Lane, State, view::Source};
use crate::{
    engine::{
        Engine,
        ids::{ManyId, QuestionId, ReadId},
    },
    limits::{
        COMPACTED_START_BYTES_MAX, GATHER_WAIT_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX, READ_WAIT_MAX,
        READS_MAX,
    },
    model::{Cursor, TopicId},
    wire::{Page, ReadMany, Refusal, Response, TopicPage},
};

/// A question for many topics.
#[derive(Debug)]
pub(in crate::engine) struct Many {
    question: QuestionId,
    /// The reads that have not ended, and which topic of the question each is for.
    reads: BTreeMap<ReadId, u32>,
    /// The read that looks elsewhere than in memory.
    under_way: Option<ReadId>,
    found: Vec<TopicPage>,
    /// Bytes of batches that were found, and that are wanted.
    bytes: usize,
    bytes_max: usize,
    /// When what was found is told at the latest.
    due: Option<Duration>,
    /// Whether reads are still being begun.
    beginning: bool,
}

impl Many {
    /// The read that looks elsewhere than in memory.
    #[cfg(test)]
    pub(in crate::engine) fn under_way(&self) -> Option<ReadId> {
        self.under_way
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    fn is_answered(&self, now: Duration) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        let enough = self.under_way.is_none() || self.is_full() || is_due;
        !self.beginning && (self.reads.is_empty() || !self.found.is_empty() && enough)
    }
}

impl State {
    /// Reads that are questions of their own.
    pub(in crate::engine) fn single(&self) -> usize {
        let parts: usize = self.many.values().map(|many| many.reads.len()).sum();
        self.jobs.len().saturating_sub(parts)
    }

    /// Gives up a question for many topics, if it is one; whether it is.
    pub(in crate::engine) fn abandon_many(&mut self, question: QuestionId) -> bool {
        let found = self.many.iter().find(|(_, many)| many.question == question);
        let Some(number) = found.map(|(number, _)| number) else {
            return false;
        };
        self.end_many(number);
        true
    }

    /// Takes a question out, and drops its reads.
    fn end_many(&mut self, number: ManyId) -> Option<Many> {
        let many = self.many.remove(number)?;
        for read in many.reads.keys() {
            let job = self.jobs.remove(*read);
            if let Some(view) = job.and_then(|job| self.views.get_mut(&job.topic)) {
                view.waiting.remove(read);
            }
        }
        Some(many)
    }
}

impl Engine {
    /// Reads these topics, which are those of the request.
    pub(in crate::engine) fn read_many(
        &mut self,
        question: QuestionId,
        ids: Vec<TopicId>,
        read: ReadMany,
    ) {
        debug_assert_eq!(ids.len(), read.topics.len(), "each name is one topic");
        let mut topics: Vec<(TopicId, Cursor)> = Vec::with_capacity(ids.len());
        for (topic, of) in ids.into_iter().zip(read.topics) {
            let after = of.after.unwrap_or_else(|| Cursor::start(topic));
            if after.topic != topic || !after.is_well_formed() {
                let what = format!("the cursor for topic `{}` belongs to another topic", of.topic);
                return self.core.refuse_invalid(question, what);
            }
            topics.push((topic, after));
        }
        let is_busy = self.read.many.len() >= QUESTIONS_MAX
            || self.read.jobs.len() + topics.len() > READS_MAX;
        if is_busy {
            return self.core.refuse(question, Refusal::Busy);
        }
        let wait = Duration::from_millis(u64::from(read.wait_ms)).min(READ_WAIT_MAX);
        let bytes_max = usize::try_from(read.bytes_max).unwrap_or(usize::MAX);
        let number = self.read.many.insert(Many {
            question,
            reads: BTreeMap::new(),
            under_way: None,
            found: Vec::new(),
            bytes: 0,
            // What is in memory and what is fetched may both be as much.
            bytes_max: bytes_max.clamp(1, PAGE_BYTES_MAX / 2),
            due: None,
            beginning: true,
        });
        let deadline = self.core.now.elapsed + wait;
        for (which, (topic, after)) in (0..).zip(topics) {
            // All of it was read at once.
            let Some(many) = self.read.many.get_mut(number) else {
                return;
            };
            if many.is_full() {
                break;
            }
            let bytes_max = many.bytes_max - many.bytes;
            let job = Job { bytes_max, deadline, ..Job::new(For::Part(number), topic, after) };
            // Topics that were not surveyed yet are, one after the other, while this one waits.
            let job = self.read.jobs.insert(Job { surveyed: true, ..job });
            many.reads.insert(job, which);
            self.look_at(topic, true);
            self.plan_read(job);
        }
        if let Some(many) = self.read.many.get_mut(number) {
            many.beginning = false;
        }
        self.answer_many(number);
    }

    /// Whether a read may ask its sources now: one of a question for many topics waits while
    /// another one does.
    pub(in crate::engine) fn may_start(&mut self, number: ReadId, lanes: &[Lane]) -> bool {
        let of = self.read.jobs.get(number).and_then(Job::part_of);
        let Some(many) = of.and_then(|of| self.read.many.get_mut(of)) else {
            return true;
        };
        if lanes.iter().all(|lane| lane.source == Source::Tail) {
            return true;
        }
        *many.under_way.get_or_insert(number) == number
    }

    /// A read of a question for many topics waits, though it was under way: another one may be.
    pub(in crate::engine) fn not_under_way(&mut self, number: ReadId) {
        let of = self.read.jobs.get(number).and_then(Job::part_of);
        let many = of.and_then(|of| Some((of, self.read.many.get_mut(of)?)));
        if let Some((of, many)) = many.filter(|(_, many)| many.under_way == Some(number)) {
            many.under_way = None;
            self.answer_many(of);
        }
    }

    /// A read has ended that is part of a question for many topics.
    pub(in crate::engine) fn part_read(&mut self, of: ManyId, number: ReadId, page: Page) {
        // The question was answered or abandoned meanwhile.
        let Some(many) = self.read.many.get_mut(of) else {
            return;
        };
        let which = many.reads.remove(&number);
        many.under_way.take_if(|under_way| *under_way == number);
        if let Some(which) = which.filter(|_| !page.batches.is_empty()) {
            many.bytes += page.batches.iter().map(|batch| batch.bytes().len()).sum::<usize>();
            many.bytes += page.compacted.len() * COMPACTED_START_BYTES_MAX;
            many.found.push(TopicPage { which, page });
            many.due.get_or_insert(self.core.now.elapsed + GATHER_WAIT_MAX);
        }
        self.answer_many(of);
    }

    /// Ends a read that gives nothing.
    pub(in crate::engine) fn refuse_read(&mut self, number: ReadId, refusal: Refusal) {
        // It ended as a part of a question that was refused.
        let Some(job) = self.read.jobs.remove(number) else {
            return;
        };
        if let Some(view) = self.read.views.get_mut(&job.topic) {
            view.waiting.remove(&number);
        }
        match job.reader {
            For::Client(question) => self.core.refuse(question, refusal),
            // Other topics of the question may be read all the same.
            For::Part(of) if refusal == Refusal::Unreachable => {
                self.part_read(of, number, Page::default());
            }
            For::Part(of) => self.refuse_many(of, refusal),
            For::Group(name) => self.group_read(job.topic, name, number, None),
        }
    }

    /// A topic of a question cannot be read: all of it is refused, and says why.
    fn refuse_many(&mut self, of: ManyId, refusal: Refusal) {
        if let Some(many) = self.read.end_many(of) {
            self.core.refuse(many.question, refusal);
        }
    }

    fn answer_many(&mut self, number: ManyId) {
        let now = self.core.now.elapsed;
        let is_answered = self.read.many.get(number).is_some_and(|it| it.is_answered(now));
        if is_answered && let Some(many) = self.read.end_many(number) {
            self.core.answer(many.question, Response::Pages(many.found));
        }
    }

    /// Tells what has waited for long enough.
    pub(in crate::engine) fn tick_read_many(&mut self) {
        for number in self.read.many.ids() {
            self.answer_many(number);
        }
    }
}
