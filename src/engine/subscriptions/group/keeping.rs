//! What a group's coordinator keeps on the topic's replicas: one write at a time, in which all goes
//! that came while the one before it was under way.

use super::{Key, dispatch::Dispatch};
use crate::{
    engine::{Engine, ids::QuestionId, subscriptions::position::Keeper},
    wire::{Refusal, Response, small},
};

/// What must be stored, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether something has changed since the last write was begun.
    dirty: bool,
    under_way: bool,
    /// Who waits for the write that is under way, and for the next one.
    now: Vec<QuestionId>,
    next: Vec<QuestionId>,
    /// On how many replicas the last one is.
    copies: u16,
}

impl State {
    /// Something has changed that must be stored.
    pub(super) fn has_changed(&mut self) {
        self.dirty = true;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way || self.dirty
    }

    pub(super) fn into_waiting(self) -> impl Iterator<Item = QuestionId> {
        self.now.into_iter().chain(self.next)
    }
}

impl Engine {
    /// Answers a question once all is kept that came before it.
    pub(super) fn answer_when_kept(&mut self, key: &Key, question: QuestionId) {
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else {
            return self.core.refuse(question, Refusal::Unreachable);
        };
        let keeping = &mut group.keeping;
        if keeping.dirty {
            keeping.next.push(question);
        } else if keeping.under_way {
            keeping.now.push(question);
        } else {
            let copies = keeping.copies;
            self.core.answer_flushed(question, Response::Settled(copies));
        }
    }

    /// Keeps what has changed, unless another write is under way: then after that.
    pub(super) fn keep_group(&mut self, key: &Key) {
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let Some(dispatch) = &group.dispatch else { return };
        let keeping = &mut group.keeping;
        if keeping.under_way || !keeping.dirty {
            return;
        }
        (keeping.under_way, keeping.dirty) = (true, false);
        keeping.now.append(&mut keeping.next);
        let subscription = dispatch.snapshot();
        let (topic, name) = key;
        self.keep_on_replicas(*topic, name, &subscription, Keeper::Group(key.clone()));
    }

    /// The state of a group is stored, on this many replicas.
    pub(in crate::engine) fn group_kept(&mut self, key: &Key, copies: usize) {
        // Another node coordinates the group by now.
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let keeping = &mut group.keeping;
        keeping.under_way = false;
        keeping.copies = small(copies);
        let copies = keeping.copies;
        for question in std::mem::take(&mut keeping.now) {
            if copies > 0 {
                self.core.answer_flushed(question, Response::Settled(copies));
            } else {
                self.core.refuse(question, Refusal::Unreachable);
            }
        }
        self.keep_group(key);
    }

    /// Another node has told what is kept of a subscription.
    pub(in crate::engine) fn position_told(&mut self, key: &Key) {
        let (topic, name) = key;
        let generation = |dispatch: &Dispatch| dispatch.generation();
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let Some(dispatch) = &mut group.dispatch else { return };
        let known = self.core.topics.get(topic).and_then(|known| known.subscriptions.get(name));
        let Some(kept) = known else { return };
        if kept.generation > generation(dispatch) {
            self.reload_group(key);
        } else if kept.generation == generation(dispatch) {
            dispatch.absorb(kept);
            self.serve_members(key);
        }
    }
}
