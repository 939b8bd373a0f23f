//! Leaving: this node hands over all that it holds, waits for the proof, and goes.
//!
//! It tells the others, so that nothing new is placed here. To itself it is no home replica any
//! more, so what it holds is handed over like any misplaced copy. When nothing is left, and another
//! node knows all terms that this one knows, the others
//! are told that too: they forget this node as soon as it is away, and nobody waits for what it
//! might hold. If it is started again, it is a node like any other.

use std::time::Duration;

use crate::{
    engine::{Engine, ids::QuestionId, inflight::asks::Purpose, members::Change, output::Output},
    limits::ASK_TIMEOUT,
    model::NodeId,
    wire::{NodeRequest, Refusal, Remaining, Response},
};

/// Time for the others to hear that nothing is left, and for the last answers to be sent.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often the others are told that this node is leaving.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How far leaving has come.
#[derive(Debug, Default)]
pub(super) struct State {
    leaving: bool,
    /// When the others are told again that this node is leaving.
    tell_at: Duration,
    /// When the others were told that nothing is left.
    told_at: Option<Duration>,
    left: bool,
}

impl State {
    /// Whether this node is leaving.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }
}

impl Engine {
    /// A node is to leave, which must be this one.
    pub(in crate::engine) fn leave(&mut self, question: QuestionId, node: NodeId) {
        if node != self.core.me {
            // A client that lost its node asks the next one.
            return self.core.refuse_invalid(question, "another node was asked to leave");
        }
        if self.core.members.reachable().is_empty() && !self.membership.leaving.leaving {
            return self.core.refuse(question, Refusal::Alone);
        }
        if !self.membership.leaving.leaving {
            self.membership.leaving.leaving = true;
            self.core.members.leave();
            self.tell_all_leaving();
            self.hand_over_soon();
            self.repair_soon();
        }
        let remaining = self.remaining();
        self.core.answer(question, Response::Leaving(remaining));
    }

    /// Tells a node that this one is leaving, if it is.
    pub(in crate::engine) fn tell_leaving(&mut self, node: NodeId) {
        if self.membership.leaving.leaving {
            let finished = self.membership.leaving.told_at.is_some();
            self.core.ask(node, NodeRequest::Leaving(finished), ASK_TIMEOUT, Purpose::Tell);
        }
    }

    fn tell_all_leaving(&mut self) {
        self.membership.leaving.tell_at = self.core.now.elapsed + TELL_INTERVAL;
        for node in self.core.members.reachable() {
            self.tell_leaving(node);
        }
    }

    /// What this node has still to hand over.
    fn remaining(&self) -> Remaining {
        let here = self.core.topics.iter().filter(|topic| {
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
        if !self.membership.leaving.leaving || self.membership.leaving.left {
            return;
        }
        if self.membership.leaving.tell_at <= self.core.now.elapsed {
            self.tell_all_leaving();
        }
        let is_told = self.catalogue.is_known_elsewhere(&mut self.core);
        let is_flushed = self.core.written == self.core.durable;
        if self.remaining() != Remaining::default() || !is_told || !is_flushed {
            self.membership.leaving.told_at = None;
            return;
        }
        match self.membership.leaving.told_at {
            None => {
                self.membership.leaving.told_at = Some(self.core.now.elapsed);
                self.tell_all_leaving();
            }
            Some(at) if self.core.now.elapsed.saturating_sub(at) >= FAREWELL => {
                self.membership.leaving.left = true;
                self.core.output(Output::Left);
            }
            Some(_) => {}
        }
    }

    // --- another node ----------------------------------------------------------------------

    /// Another node is leaving.
    pub(in crate::engine) fn leaves(&mut self, question: QuestionId, from: NodeId, finished: bool) {
        self.core.members.set_leaving(self.core.now.elapsed, from, finished);
        self.core.answer(question, Response::Noted);
    }

    /// A node that has left is forgotten when it is away.
    pub(in crate::engine) fn gone_if_left(&mut self, node: NodeId) {
        if self.core.members.has_left(&node) && self.core.members.forget(&node) {
            self.changed(Some(Change::Forgotten(node)));
        }
    }
}
