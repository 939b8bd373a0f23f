//! Names of topics that match a pattern, and reporting changes of them.
//!
//! A digest stands for the names. So any node reports a change, also if the asker asked another
//! node before.

use std::time::Duration;

use crate::{
    engine::{
        Engine,
        ids::{NamesId, QuestionId},
        numbered::Numbered,
    },
    limits::{NAMES_WAITING_MAX, READ_WAIT_MAX, TOPICS_PER_MESSAGE_MAX},
    model::{TopicName, TopicPattern},
    wire::{Names, NamesWanted, Refusal, Response},
};

/// A question that waits until the names are others.
#[derive(Debug)]
struct Waiting {
    question: QuestionId,
    wanted: NamesWanted,
    deadline: Duration,
    /// Whether a name that matches came or went.
    changed: bool,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    waiting: Numbered<NamesId, Waiting>,
}

impl State {
    pub(in crate::engine) fn abandon(&mut self, question: QuestionId) {
        self.waiting.retain(|waiting| waiting.question != question);
    }
}

impl Engine {
    pub(in crate::engine) fn names(&mut self, question: QuestionId, wanted: NamesWanted) {
        let names = self.names_now(&wanted);
        let wait = Duration::from_millis(u64::from(wanted.wait_ms)).min(READ_WAIT_MAX);
        if wanted.after.is_some() || names.digest != wanted.known || wait.is_zero() {
            return self.core.answer(question, Response::Names(names));
        }
        if self.catalogue.names.waiting.len() >= NAMES_WAITING_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        let deadline = self.core.now.elapsed + wait;
        self.catalogue.names.waiting.insert(Waiting { question, wanted, deadline, changed: false });
    }

    /// A topic has become known, or is no more. Who waits is told at the next tick, once for all
    /// names of that time.
    pub(in crate::engine) fn name_changed(&mut self, name: &TopicName) {
        for waiting in self.catalogue.names.waiting.values_mut() {
            waiting.changed |= waiting.wanted.pattern.matches(name);
        }
    }

    pub(in crate::engine) fn tick_names(&mut self) {
        let now = self.core.now.elapsed;
        let due = |waiting: &Waiting| waiting.changed || waiting.deadline <= now;
        let waiting = &self.catalogue.names.waiting;
        let due = waiting.iter().filter(|(_, waiting)| due(waiting)).map(|(number, _)| number);
        for number in due.collect::<Vec<_>>() {
            let Some(waiting) = self.catalogue.names.waiting.get(number) else {
                continue;
            };
            let names = self.names_now(&waiting.wanted);
            if names.digest == waiting.wanted.known && now < waiting.deadline {
                if let Some(waiting) = self.catalogue.names.waiting.get_mut(number) {
                    waiting.changed = false;
                }
            } else if let Some(waiting) = self.catalogue.names.waiting.remove(number) {
                self.core.answer(waiting.question, Response::Names(names));
            }
        }
    }

    fn names_now(&self, wanted: &NamesWanted) -> Names {
        let digest = self.digest_of_names(&wanted.pattern);
        if wanted.after.is_none() && digest == wanted.known {
            return Names { digest, page: Vec::new(), more: false };
        }
        let names = self.core.topics.names_after(wanted.after.as_ref()).map(|(name, _)| name);
        let matching = names.filter(|name| wanted.pattern.matches(name)).cloned();
        let mut page: Vec<_> = matching.take(TOPICS_PER_MESSAGE_MAX + 1).collect();
        let more = page.len() > TOPICS_PER_MESSAGE_MAX;
        page.truncate(TOPICS_PER_MESSAGE_MAX);
        Names { digest, page, more }
    }

    /// A digest of all names that match.
    fn digest_of_names(&self, pattern: &TopicPattern) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let names = self.core.topics.names_after(None).map(|(name, _)| name);
        for name in names.filter(|name| pattern.matches(name)) {
            // No name has a NUL.
            hasher.update(name.as_str().as_bytes()).update(&[0]);
        }
        hasher.finalize().into()
    }
}
