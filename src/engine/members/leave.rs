//! Leaving: this node hands over all that it holds, waits for the proof, and goes.
//!
//! It tells the others, so that nothing new is placed here. To itself it is no home replica any
//! more, so what it holds is handed over like any misplaced copy. When nothing is left, the others
//! are told that too: they forget this node as soon as it is away, and nobody waits for what it
//! might hold. If it is started again, it is a node like any other.

use std::time::Duration;

use super::Change;
use crate::{
    engine::{Engine, ids::QuestionId, inflight::asks::Purpose, output::Output},
    limits::ASK_TIMEOUT,
    model::NodeId,
    wire::{Refusal, Remaining, Request, Response},
};

/// Time for the others to hear that nothing is left, and for the last answers to be sent.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often the others are told that this node is leaving.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How far leaving has come.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    leaving: bool,
    /// When the others are told again that this node is leaving.
    tell_at: Duration,
    /// When the others were told that nothing is left.
    told_at: Option<Duration>,
    left: bool,
}

impl State {
    /// Whether this node is leaving.
    pub(in crate::engine) fn is_leaving(&self) -> bool {
        self.leaving
    }
}

impl Engine {
    /// A node is to leave, which must be this one.
    pub(in crate::engine) fn leave(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        node: NodeId,
    ) {
        if from.is_some() {
            // A node leaves when its operator says so.
            return self.refuse(question, Refusal::Unsupported);
        }
        if node != self.me {
            // A client that lost its node asks the next one.
            return self.refuse_invalid(question, "another node was asked to leave");
        }
        if self.members.reachable().is_empty() && !self.leaving.leaving {
            return self.refuse(question, Refusal::Alone);
        }
        if !self.leaving.leaving {
            self.leaving.leaving = true;
            self.members.leave();
            self.tell_all_leaving();
            self.hand_over_soon();
        }
        let remaining = self.remaining();
        self.answer(question, Response::Leaving(remaining));
    }

    /// Tells a node that this one is leaving, if it is.
    pub(in crate::engine) fn tell_leaving(&mut self, node: NodeId) {
        if self.leaving.leaving {
            let finished = self.leaving.told_at.is_some();
            self.ask(node, Request::Leaving(finished), ASK_TIMEOUT, Purpose::Tell);
        }
    }

    fn tell_all_leaving(&mut self) {
        self.leaving.tell_at = self.now.elapsed + TELL_INTERVAL;
        for node in self.members.reachable() {
            self.tell_leaving(node);
        }
    }

    /// What this node has still to hand over.
    fn remaining(&self) -> Remaining {
        let here = self.topics.iter().filter(|topic| {
            topic.holds_batches()
                || !topic.subscriptions.is_empty()
                || self.is_publishing(&topic.id)
        });
        let mut remaining = Remaining::default();
        for topic in here {
            remaining.topics += 1;
            remaining.records += topic.records();
        }
        remaining
    }

    pub(in crate::engine) fn tick_leave(&mut self) {
        if !self.leaving.leaving || self.leaving.left {
            return;
        }
        if self.leaving.tell_at <= self.now.elapsed {
            self.tell_all_leaving();
        }
        if self.remaining() != Remaining::default() || self.written > self.durable {
            self.leaving.told_at = None;
            return;
        }
        match self.leaving.told_at {
            None => {
                self.leaving.told_at = Some(self.now.elapsed);
                self.tell_all_leaving();
            }
            Some(at) if self.now.elapsed.saturating_sub(at) >= FAREWELL => {
                self.leaving.left = true;
                self.outputs.push_back(Output::Left);
            }
            Some(_) => {}
        }
    }

    // --- another node ----------------------------------------------------------------------

    /// Another node is leaving.
    pub(in crate::engine) fn leaves(
        &mut self,
        question: QuestionId,
        from: Option<NodeId>,
        finished: bool,
    ) {
        let Some(from) = from else {
            return self.refuse(question, Refusal::Unsupported);
        };
        self.members.set_leaving(self.now.elapsed, from, finished);
        self.answer(question, Response::Noted);
    }

    /// A node that has left is forgotten when it is away.
    pub(in crate::engine) fn gone_if_left(&mut self, node: NodeId) {
        if self.members.has_left(&node) && self.members.forget(&node) {
            self.changed(Some(Change::Forgotten(node)));
        }
    }
}
