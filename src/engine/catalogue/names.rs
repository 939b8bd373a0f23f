//! Names of topics that match a pattern, and reporting changes of them.
//!
//! A digest stands for the names. So any node reports a change, also if the asker asked another
//! node before.

use std::time::Duration;

use crate::{
    engine::{
        core::Core,
        ids::{NamesId, QuestionId},
        numbered::Numbered,
        roster::Visible,
    },
    limits::{NAMES_WAITING_MAX, READ_WAIT_MAX, TOPICS_PER_MESSAGE_MAX},
    model::TopicName,
    wire::{self, NamesWanted, Refusal, Response},
};

/// A question that waits until the names are others.
#[derive(Debug)]
struct Waiting {
    question: QuestionId,
    wanted: NamesWanted,
    visible: Visible,
    deadline: Duration,
    /// Whether a name that matches came or went.
    changed: bool,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(super) struct Names(Numbered<NamesId, Waiting>);

impl Names {
    pub(super) fn on_request(
        &mut self,
        core: &mut Core,
        question: QuestionId,
        wanted: NamesWanted,
        visible: Visible,
    ) {
        let names = names_now(core, &wanted, &visible);
        let wait = Duration::from_millis(u64::from(wanted.wait_ms)).min(READ_WAIT_MAX);
        if wanted.after.is_some() || names.digest != wanted.known || wait.is_zero() {
            return core.answer(question, Response::Names(names));
        }
        if self.0.len() >= NAMES_WAITING_MAX {
            return core.refuse(question, Refusal::Busy);
        }
        let deadline = core.now.elapsed + wait;
        self.0.insert(Waiting { question, wanted, visible, deadline, changed: false });
    }

    pub(super) fn on_abandoned(&mut self, question: QuestionId) {
        self.0.retain(|waiting| waiting.question != question);
    }

    /// A topic has become known, or is no more. Who waits is told at the next tick, once for all
    /// names of that time.
    pub(super) fn on_name(&mut self, name: &TopicName) {
        for waiting in self.0.values_mut() {
            waiting.changed |= waiting.wanted.pattern.matches(name);
        }
    }

    pub(super) fn on_tick(&mut self, core: &mut Core) {
        let now = core.now.elapsed;
        let mut answers = Vec::new();
        self.0.retain(|waiting| {
            if !std::mem::take(&mut waiting.changed) && now < waiting.deadline {
                return true;
            }
            let names = names_now(core, &waiting.wanted, &waiting.visible);
            let waits = names.digest == waiting.wanted.known && now < waiting.deadline;
            if !waits {
                answers.push((waiting.question, names));
            }
            waits
        });
        for (question, names) in answers {
            core.answer(question, Response::Names(names));
        }
    }
}

fn names_now(core: &Core, wanted: &NamesWanted, visible: &Visible) -> wire::Names {
    let is_wanted = |name: &&TopicName| wanted.pattern.matches(name) && visible.shows(name);
    let digest = digest_of_names(core, is_wanted);
    if wanted.after.is_none() && digest == wanted.known {
        return wire::Names { digest, page: Vec::new(), more: false };
    }
    let names = core.topics.names_after(wanted.after.as_ref()).map(|(name, _)| name);
    let matching = names.filter(is_wanted).cloned();
    let mut page: Vec<_> = matching.take(TOPICS_PER_MESSAGE_MAX + 1).collect();
    let more = page.len() > TOPICS_PER_MESSAGE_MAX;
    page.truncate(TOPICS_PER_MESSAGE_MAX);
    wire::Names { digest, page, more }
}

/// A digest of all names that are wanted.
fn digest_of_names(core: &Core, is_wanted: impl Fn(&&TopicName) -> bool) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let names = core.topics.names_after(None).map(|(name, _)| name);
    for name in names.filter(is_wanted) {
        // No name has a NUL.
        hasher.update(name.as_str().as_bytes()).update(&[0]);
    }
    hasher.finalize().into()
}
