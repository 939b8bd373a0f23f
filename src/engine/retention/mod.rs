//! Retention: trimming what a topic does not keep any more.
//!
//! Each node trims by what it received and by its own clock (see `holdings::ledger`), and reports
//! it by the low watermark of each log. What is below it is never accepted again, from any node.
//! The headers of the newest part of it stay, so that a fork there can be proven. Readers below it
//! are moved on and told so, as long as nobody else holds the rest.
//!
//! A node may never have had a range that no home replica holds any more, because one of them
//! trimmed it. It does not look for that range. If it holds what follows, it takes over that low
//! watermark.

mod compaction;
mod lows;
mod trimming;

use self::{compaction::Compaction, trimming::Trimming};
use super::{
    Engine,
    core::Core,
    holdings::{ledger::Part, sweep::Swept},
    ids::{QuestionId, Ticket},
    survey::Then,
    wing::Wing,
};
use crate::{
    model::{Batch, TopicId},
    wire::Refusal,
};

/// What is trimmed and compacted, and when.
#[derive(Debug, Default)]
pub(super) struct State {
    trimming: Trimming,
    compaction: Compaction,
}

impl State {
    /// A batch was stored.
    pub(super) fn on_stored(&mut self, core: &mut Core, batch: &Batch) {
        self.compaction.on_stored(batch);
        self.trimming.on_stored(core, batch);
    }

    /// A stored batch is filed under a branch from now on.
    #[expect(clippy::unused_self, reason = "the ledgers are kept with the topics")]
    pub(super) fn on_filed(&self, core: &mut Core, batch: &Batch) {
        Trimming::on_filed(core, batch);
    }

    /// The store has said how much it holds; nothing where it could not.
    pub(super) fn on_measured(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        parts: Option<Vec<Part>>,
    ) {
        self.trimming.on_measured(core, ticket, parts);
    }

    /// The store has said what may be deleted; nothing where it could not.
    pub(super) fn on_swept(&mut self, core: &mut Core, ticket: Ticket, swept: Option<Swept>) {
        self.compaction.on_swept(core, ticket, swept);
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.retention.trimming.on_tick(&mut engine.core);
        if let Some(topic) = engine.retention.compaction.on_tick(&mut engine.core) {
            engine.survey(topic, Then::Sweep);
        }
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, _: &Refusal) {
        engine.retention.compaction.on_topic_deleted(topic);
        trimming::close_ledger(&mut engine.core, topic);
    }

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}
